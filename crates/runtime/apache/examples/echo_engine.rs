//! An engine without Python, for the tests with httpd: it answers each request with its environ, or does what the query
//! string says. Built as a library that the module loads like `wsgi_python-X.Y.so`.

use std::ffi::c_void;
use std::fmt::Write as _;
use std::sync::OnceLock;

use wsgi_protocol::abi::{
    ABI_VERSION, Bytes, EngineTable, Field, HostTable, Outcome, RawHead, Record, SERVED, Sent, TRUNCATED,
};
use wsgi_protocol::consult::{Advice, Consultation};
use wsgi_protocol::keys;
use wsgi_protocol::launch::{self, Python};
use wsgi_protocol::request::Facts;

static HOST: OnceLock<&'static HostTable> = OnceLock::new();

static TABLE: EngineTable = EngineTable {
    version: ABI_VERSION,
    #[expect(clippy::cast_possible_truncation, reason = "a small table")]
    size: size_of::<EngineTable>() as u32,
    python_version: Bytes::NONE,
    start,
    serve,
    stop,
    consult,
    interrupt,
};

/// The entry that the module looks for.
///
/// # Safety
/// `host` is the module's table, which lives as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mod_wsgi_rs_engine(host: *const HostTable) -> *const EngineTable {
    // SAFETY: the caller promises it.
    let host: &'static HostTable = unsafe { &*host };
    let _ = HOST.set(host);
    &raw const TABLE
}

fn host() -> &'static HostTable {
    HOST.get().copied().unwrap_or_else(|| std::process::abort())
}

fn notice(text: &str) {
    let record = Record { level: 5, line: 0, file: Bytes::NONE, text: Bytes::new(text.as_bytes()), json: 0 };
    // SAFETY: a live record.
    unsafe { (host().log)(&raw const record) };
}

unsafe extern "C" fn start(config: Bytes<'_>) -> i32 {
    match launch::decode::<Python>(config.or_empty()) {
        // As Python does that finds no standard library.
        Ok(python) if python.warnings.contains(&b"no-python".to_vec()) => 1,
        Ok(python) => {
            for import in &python.imports {
                notice(&format!("import {}", String::from_utf8_lossy(&import.script)));
            }
            notice("engine started");
            0
        }
        Err(_) => 1,
    }
}

unsafe extern "C" fn interrupt() {}

unsafe extern "C" fn stop() {
    notice("engine stopped");
}

/// Says what the user or host is called: `yes`, `no`, `nothing`; all else fails.
unsafe extern "C" fn consult(consultation: *const Consultation<'_>) -> Advice {
    // SAFETY: the module passes a consultation that lives during the call.
    let consultation = unsafe { &*consultation };
    match consultation.subject.or_empty() {
        b"yes" => Advice::Yes,
        b"no" => Advice::No,
        b"nothing" => Advice::Nothing,
        _ => Advice::Failed,
    }
}

unsafe extern "C" fn serve(facts: *const Facts<'_>) -> Outcome {
    // SAFETY: the module passes facts that live during the call.
    let facts = unsafe { &*facts };
    let mut entries: Vec<(String, String)> = facts
        .entries()
        .iter()
        .map(|entry| {
            let name = keys::name(entry.key).map_or_else(|| text(entry.name), str::to_owned);
            (name, text(entry.value))
        })
        .collect();
    for (name, value) in [
        ("application_group", facts.application_group),
        ("callable", facts.callable),
        ("handler", facts.handler),
        ("script", facts.script),
    ] {
        entries.push((format!("facts.{name}"), text(value)));
    }
    let query = entries.iter().rev().find(|(name, _)| name == "QUERY_STRING").map_or("", |(_, value)| value);
    match query {
        "fail" => 500,
        "cut" => {
            head(facts, "200 OK", &[]);
            body(facts, b"part");
            TRUNCATED
        }
        "read" => {
            let mut total = 0usize;
            let mut buffer = [0; 4096];
            loop {
                // SAFETY: the buffer has the given length.
                let count = unsafe { (host().read_body)(facts.host, buffer.as_mut_ptr(), buffer.len()) };
                match usize::try_from(count) {
                    Ok(0) => break,
                    Ok(count) => total += count,
                    Err(_) => return 500,
                }
            }
            head(facts, "200 OK", &[]);
            body(facts, total.to_string().as_bytes());
            SERVED
        }
        "empty" => {
            head(facts, "200 OK", &[]);
            SERVED
        }
        "connection" => {
            let fields =
                [("Transfer-Encoding", "chunked"), ("connection", "close"), ("Upgrade", "x"), ("X-Own", "kept")];
            head(facts, "200 OK", &fields);
            body(facts, b"no");
            SERVED
        }
        "cookies" => {
            head(facts, "404 Gone Fishing", &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "2")]);
            body(facts, b"no");
            SERVED
        }
        _ => {
            let mut answer = String::new();
            for (name, value) in &entries {
                let _ = writeln!(answer, "{name}={value}");
            }
            let length = answer.len().to_string();
            let method = entries.iter().rev().find(|(name, _)| name == "REQUEST_METHOD");
            let method = method.map_or("", |(_, value)| value);
            let fields = [("X-Method", method), ("Content-Type", "text/plain"), ("Content-Length", &length)];
            head(facts, "200 OK", &fields);
            body(facts, answer.as_bytes());
            SERVED
        }
    }
}

fn text(bytes: Bytes<'_>) -> String {
    String::from_utf8_lossy(bytes.or_empty()).into_owned()
}

fn head(facts: &Facts<'_>, line: &str, fields: &[(&str, &str)]) {
    let fields: Vec<Field<'_>> = fields
        .iter()
        .map(|(name, value)| Field { name: Bytes::new(name.as_bytes()), value: Bytes::new(value.as_bytes()) })
        .collect();
    let status = line.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(500);
    let head = RawHead { status, line: Bytes::new(line.as_bytes()), fields: fields.as_ptr(), count: fields.len() };
    let request: *mut c_void = facts.host;
    // SAFETY: request and head are alive.
    let _: Sent = unsafe { (host().send_head)(request, &raw const head) };
}

fn body(facts: &Facts<'_>, data: &[u8]) {
    // SAFETY: the request is alive.
    let _: Sent = unsafe { (host().send_body)(facts.host, Bytes::new(data), 1) };
}
