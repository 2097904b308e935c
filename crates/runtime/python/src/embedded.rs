//! Embedded mode: the engine in an Apache child, behind the C tables of [`wsgi_protocol::abi`].

use std::cell::RefCell;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use wsgi_protocol::abi::{ABI_VERSION, Bytes, EngineTable, HostTable, Level, RawHead, Record, SERVED, Sent, TRUNCATED};
use wsgi_protocol::consult::{Advice, Consultation};
use wsgi_protocol::launch;
use wsgi_protocol::request::Facts;
use wsgi_protocol::scoreboard::{self, Snapshot};

use crate::engine::{Engine, Worker};
use crate::forks::is_forked;
use crate::gateway::{Gateway, Head, Outcome, Process, ReadFailure, SendFailure};
use crate::thread::gilstate;
use crate::wsgi::session;

static HOST: OnceLock<Host> = OnceLock::new();
static ENGINE: OnceLock<&'static Engine> = OnceLock::new();

/// Apache's threads are numbered as they begin to serve.
static NEXT_THREAD: AtomicU32 = AtomicU32::new(1);

thread_local! {
    static WORKER: Own = const { Own(RefCell::new(None)) };
    /// Workers of requests inside of requests.
    static SPARE: Spare = const { Spare(RefCell::new(Vec::new())) };
}

/// A thread's worker; retired when the thread ends.
struct Own(RefCell<Option<Worker>>);

impl Drop for Own {
    fn drop(&mut self) {
        self.0.get_mut().take().into_iter().for_each(retire);
    }
}

/// The same for its further ones.
struct Spare(RefCell<Vec<Worker>>);

impl Drop for Spare {
    fn drop(&mut self) {
        self.0.get_mut().drain(..).for_each(retire);
    }
}

fn retire(worker: Worker) {
    if let Some(engine) = ENGINE.get() {
        guarded((), || engine.retire(worker));
    }
}

static TABLE: EngineTable = EngineTable {
    version: ABI_VERSION,
    #[expect(clippy::cast_possible_truncation, reason = "a table of a few pointers")]
    size: size_of::<EngineTable>() as u32,
    python_version: Bytes::new(env!("ENGINE_PYTHON_VERSION").as_bytes()),
    start,
    serve,
    stop,
    consult,
    interrupt,
};

/// The engine's entry ([`wsgi_protocol::abi::ENGINE_SYMBOL`]).
///
/// # Safety
/// `host` is null or points to a table that lives as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mod_wsgi_rs_engine(host: *const HostTable) -> *const EngineTable {
    // SAFETY: promised by the caller; the version is looked at before anything else of the table.
    let Some(host) = (unsafe { host.as_ref() }) else {
        return std::ptr::null();
    };
    if host.version != ABI_VERSION || (host.size as usize) < size_of::<HostTable>() {
        return std::ptr::null();
    }
    HOST.get_or_init(|| Host(host));
    &raw const TABLE
}

/// Runs a callback of the table; a panic becomes `failure`.
fn guarded<R>(failure: R, work: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        if let Some(host) = HOST.get() {
            let text = format!("Internal error of mod_wsgi: {}", crate::slot::panic_text(&*panic));
            host.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
        }
        failure
    })
}

unsafe extern "C" fn start(config: Bytes<'_>) -> i32 {
    guarded(1, || {
        let Some(host) = HOST.get() else { return 1 };
        let config = match launch::decode::<launch::Python>(config.or_empty()) {
            Ok(config) => config,
            Err(malformed) => {
                let text = format!("WSGI0036: Python interpreter configuration failed in embedded mode: {malformed}");
                host.log(&crate::logging::record(Level::Critical, text.as_bytes(), None));
                return 1;
            }
        };
        let Ok(engine) = Engine::start(config, host) else { return 1 };
        if ENGINE.set(engine).is_err() {
            return 1;
        }
        with_worker(engine, |worker| engine.import_with(worker));
        end_if_forked();
        0
    })
}

unsafe extern "C" fn serve(facts: *const Facts<'_>) -> u16 {
    guarded(500, || {
        // SAFETY: the host passes the facts of the request that it serves on this thread.
        let (Some(engine), Some(host), Some(facts)) = (ENGINE.get(), HOST.get(), unsafe { facts.as_ref() }) else {
            return 500;
        };
        let mut gateway = HostGateway { table: host.0, request: facts.host };
        let outcome = with_worker(engine, |worker| {
            if worker.number() == 0 {
                worker.renumber(NEXT_THREAD.fetch_add(1, Ordering::Relaxed));
            }
            engine.serve(worker, facts, &mut gateway)
        });
        end_if_forked();
        match outcome {
            Outcome::Complete => SERVED,
            Outcome::Truncated => TRUNCATED,
            Outcome::Status(status) => status,
            Outcome::Rejected => 503,
        }
    })
}

unsafe extern "C" fn consult(consultation: *const Consultation<'_>) -> Advice {
    guarded(Advice::Failed, || {
        // SAFETY: the host passes a consultation that lives during the call, on the thread of its request.
        let (Some(engine), Some(host), Some(asked)) = (ENGINE.get(), HOST.get(), unsafe { consultation.as_ref() })
        else {
            return Advice::Unavailable;
        };
        let request = asked.facts.host;
        let mut gateway = HostGateway { table: host.0, request };
        let (advice, texts) = with_worker(engine, |worker| engine.consult(worker, asked, &mut gateway));
        end_if_forked();
        for text in &texts {
            let text = text.as_deref().map_or(Bytes::NONE, Bytes::new);
            // SAFETY: the host's function; it copies the text.
            unsafe { (host.0.answer)(request, text) };
        }
        advice
    })
}

unsafe extern "C" fn stop() {
    guarded((), || {
        if let Some(engine) = ENGINE.get() {
            engine.stop("");
        }
    });
}

unsafe extern "C" fn interrupt() {
    guarded((), || {
        if let Some(engine) = ENGINE.get() {
            engine.interrupt_all();
        }
    });
}

/// Ends a process that the application has forked and that returned from the application: what follows is its parent's.
fn end_if_forked() {
    if is_forked() {
        // SAFETY: nothing of Apache may run in this process any more.
        unsafe { libc::_exit(0) };
    }
}

/// Uses this thread's worker, made on first use. A filter of the response that an application is sending may make
/// requests of its own on the same thread (`<!--#include virtual="…" -->`): they get a second worker.
fn with_worker<R>(engine: &'static Engine, work: impl FnOnce(&mut Worker) -> R) -> R {
    WORKER.with(|own| match own.0.try_borrow_mut() {
        Ok(mut worker) => work(worker.get_or_insert_with(|| engine.worker(0))),
        Err(_) => {
            let spare = SPARE.with(|spare| spare.0.borrow_mut().pop());
            let mut worker = spare.unwrap_or_else(|| engine.worker(0));
            let result = gilstate::kept(|| session::kept(|| work(&mut worker)));
            SPARE.with(|spare| spare.0.borrow_mut().push(worker));
            result
        }
    })
}

/// The Apache child.
struct Host(&'static HostTable);

impl Process for Host {
    fn interpreters(&self, count: usize) {
        // SAFETY: the host's function, which takes a number from any thread.
        unsafe { (self.0.interpreters)(u32::try_from(count).unwrap_or(u32::MAX)) };
    }

    fn log(&self, record: &Record<'_>) {
        // SAFETY: the host's function, which takes a record from any thread.
        unsafe { (self.0.log)(record) };
    }

    fn scoreboard(&self) -> Option<Snapshot> {
        let mut taken: Option<Vec<u8>> = None;
        // SAFETY: `take` is called during this call or not at all, with the context that it expects.
        unsafe { (self.0.scoreboard)(take, (&raw mut taken).cast()) };
        scoreboard::decode(&taken?).ok()
    }

    fn logs(&self, level: Level) -> bool {
        // SAFETY: null asks for the server's level.
        level as u8 <= unsafe { (self.0.log_level)(std::ptr::null_mut()) }
    }
}

/// Keeps what the host gives.
unsafe extern "C" fn take(context: *mut c_void, bytes: Bytes<'_>) {
    // SAFETY: the context is that of `scoreboard` below.
    unsafe { *context.cast::<Option<Vec<u8>>>() = Some(bytes.or_empty().to_vec()) };
}

/// One request of the Apache child.
struct HostGateway {
    table: &'static HostTable,
    request: *mut c_void,
}

// SAFETY: the host's functions for a request may be called from any thread while `serve` is running, one at a time,
// which the session's lock sees to.
unsafe impl Send for HostGateway {}

impl HostGateway {
    fn reason(&self) -> String {
        // SAFETY: valid until the next call of the host, and copied at once.
        String::from_utf8_lossy(unsafe { (self.table.error_text)(self.request) }.or_empty()).into_owned()
    }

    fn sent(&self, sent: Sent) -> Result<(), SendFailure> {
        match sent {
            Sent::Ok => Ok(()),
            Sent::ClientGone => Err(SendFailure::ClientGone),
            Sent::Failed => Err(SendFailure::Failed(self.reason())),
        }
    }
}

impl Gateway for HostGateway {
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, ReadFailure> {
        if is_forked() {
            return Err(ReadFailure("Connection was terminated".to_owned()));
        }
        // SAFETY: writable for its length.
        let count = unsafe { (self.table.read_body)(self.request, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => Ok(count.min(buffer.len())),
            Err(_) => Err(ReadFailure(self.reason())),
        }
    }

    fn send_head(&mut self, head: &Head<'_>) -> Result<(), SendFailure> {
        if is_forked() {
            return Err(SendFailure::ClientGone);
        }
        let raw = RawHead {
            status: head.status,
            line: Bytes::new(head.line),
            fields: head.fields.as_ptr(),
            count: head.fields.len(),
        };
        // SAFETY: the head and what it points to live during the call.
        self.sent(unsafe { (self.table.send_head)(self.request, &raw const raw) })
    }

    fn send_body(&mut self, data: &[u8], _last: bool) -> Result<(), SendFailure> {
        if is_forked() {
            return Err(SendFailure::ClientGone);
        }
        // Flushed in any case: then Apache writes at once and the connection stays on its thread, which is faster than
        // leaving the response to be written with the request's end.
        // SAFETY: the data lives during the call.
        self.sent(unsafe { (self.table.send_body)(self.request, Bytes::new(data), 1) })
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), SendFailure> {
        if is_forked() {
            return Err(SendFailure::ClientGone);
        }
        // SAFETY: the descriptor is open during the call.
        self.sent(unsafe { (self.table.send_file)(self.request, file.as_raw_fd(), offset, length) })
    }

    fn log(&mut self, record: &Record<'_>) {
        // SAFETY: the record lives during the call.
        unsafe { (self.table.request_log)(self.request, record) };
    }

    fn logs(&mut self, level: Level) -> bool {
        // SAFETY: the request is being served.
        level as u8 <= unsafe { (self.table.log_level)(self.request) }
    }

    fn request_id(&mut self) -> Vec<u8> {
        // SAFETY: copied at once.
        unsafe { (self.table.request_id)(self.request) }.or_empty().to_vec()
    }

    fn is_https(&mut self) -> bool {
        // SAFETY: the request is alive.
        unsafe { (self.table.is_https)(self.request) != 0 }
    }

    fn ssl_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: the request is alive; copied at once.
        unsafe { (self.table.ssl_variable)(self.request, Bytes::new(name)) }.get().map(<[u8]>::to_vec)
    }
}
