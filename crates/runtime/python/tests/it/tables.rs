//! Embedded mode's C tables, called as the Apache module calls them.

use std::ffi::c_void;
use std::os::unix::ffi::OsStrExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use wsgi_protocol::abi::{
    ABI_VERSION, Bytes, Entry, HostTable, Level, RawHead, Record, SERVED, Sent, TRUNCATED, TakeBytes,
};
use wsgi_protocol::consult::{Advice, Consultation, Question};
use wsgi_protocol::keys;
use wsgi_protocol::launch::{self, Import, Python};
use wsgi_protocol::request::{Facts, JSON_LOG};
use wsgi_protocol::scoreboard::{self, Snapshot};
use wsgi_python::embedded::mod_wsgi_rs_engine;

use crate::server::file;

/// What the host was told, a line each.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn tell(text: String) {
    TOLD.lock().expect("nobody panics here").push(text);
}

fn told() -> Vec<String> {
    std::mem::take(&mut TOLD.lock().expect("nobody panics here"))
}

fn shown(bytes: Bytes<'_>) -> String {
    String::from_utf8_lossy(bytes.or_empty()).into_owned()
}

unsafe extern "C" fn log(record: *const Record<'_>) {
    // SAFETY: the engine passes a record.
    let record = unsafe { &*record };
    if record.level <= Level::Warning as u8 {
        tell(format!("log {}", shown(record.text)));
    }
}

unsafe extern "C" fn request_log(_: *mut c_void, record: *const Record<'_>) {
    // SAFETY: the engine passes a record.
    tell(format!("request log {}", shown(unsafe { &*record }.text)));
}

unsafe extern "C" fn log_level(_: *mut c_void) -> u8 {
    Level::Info as u8
}

unsafe extern "C" fn read_body(_: *mut c_void, buffer: *mut u8, length: usize) -> isize {
    if length < 4 {
        return -1;
    }
    // SAFETY: room for `length` bytes.
    unsafe { std::ptr::copy_nonoverlapping(b"body".as_ptr(), buffer, 4) };
    4
}

unsafe extern "C" fn send_head(_: *mut c_void, head: *const RawHead<'_>) -> Sent {
    // SAFETY: the engine passes a head with `count` fields.
    let (head, fields) = unsafe { (&*head, std::slice::from_raw_parts((*head).fields, (*head).count)) };
    let fields: Vec<String> =
        fields.iter().map(|field| format!("{}={}", shown(field.name), shown(field.value))).collect();
    tell(format!("head {} {} {}", head.status, shown(head.line), fields.join(" ")));
    Sent::Ok
}

unsafe extern "C" fn send_body(request: *mut c_void, data: Bytes<'_>, flush: u8) -> Sent {
    tell(format!("body {} {flush}", shown(data)));
    if request.is_null() { Sent::Ok } else { Sent::ClientGone }
}

unsafe extern "C" fn send_file(_: *mut c_void, _: i32, offset: u64, length: u64) -> Sent {
    tell(format!("file {offset} {length}"));
    Sent::Failed
}

unsafe extern "C" fn error_text(_: *mut c_void) -> Bytes<'static> {
    Bytes::new(b"the disk is on fire")
}

unsafe extern "C" fn request_id(_: *mut c_void) -> Bytes<'static> {
    Bytes::new(b"id")
}

static INTERPRETERS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn interpreters(count: u32) {
    INTERPRETERS.store(count, Ordering::Relaxed);
}

unsafe extern "C" fn answer(_: *mut c_void, answer: Bytes<'_>) {
    tell(answer.get().map_or("no answer".to_owned(), |_| format!("answer {}", shown(answer))));
}

unsafe extern "C" fn is_https(_: *mut c_void) -> u8 {
    1
}

unsafe extern "C" fn ssl_variable(_: *mut c_void, name: Bytes<'_>) -> Bytes<'static> {
    if name.or_empty() == b"SSL_PROTOCOL" { Bytes::new(b"TLSv1.3") } else { Bytes::NONE }
}

unsafe extern "C" fn scoreboard(take: TakeBytes, context: *mut c_void) {
    let snapshot = Snapshot { server_limit: 7, ..Snapshot::default() };
    // SAFETY: the engine's function with its own context.
    unsafe { take(context, Bytes::new(&scoreboard::encode(&snapshot).expect("small"))) };
}

static HOST: HostTable = HostTable {
    version: ABI_VERSION,
    size: size_of::<HostTable>() as u32,
    log,
    request_log,
    log_level,
    read_body,
    send_head,
    send_body,
    send_file,
    error_text,
    request_id,
    interpreters,
    answer,
    is_https,
    ssl_variable,
    scoreboard,
};

#[test]
fn another_version_gets_no_engine() {
    let other = HostTable { version: ABI_VERSION + 1, ..HOST };
    // SAFETY: a table, and no table.
    unsafe {
        assert!(mod_wsgi_rs_engine(&raw const other).is_null());
        assert!(mod_wsgi_rs_engine(std::ptr::null()).is_null());
    }
}

// Covers: code:WSGI0036
#[test]
fn the_tables_serve() {
    crate::process::passed("tables::serve_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn serve_inside() {
    // SAFETY: the table is static.
    let engine = unsafe { &*mod_wsgi_rs_engine(&raw const HOST) };
    assert_eq!(engine.version, ABI_VERSION);
    let script = file(
        "tables.wsgi",
        b"print('loaded')\ndef application(e, s):\n    p = e['PATH_INFO']\n    s('200 OK', [('A', 'b')])\n    if p == '/file': return \
          e['wsgi.file_wrapper'](open(__file__, 'rb'))\n    return [e['wsgi.input'].read(4), e['mod_wsgi.request_id'].encode(), \
          b' %d' % e['mod_wsgi.thread_id']]\n",
    );
    // SAFETY: the engine's functions, called with what they ask for.
    unsafe {
        assert_ne!((engine.start)(Bytes::new(b"no configuration")), 0);
        assert!(told()[0].starts_with("log WSGI0036: "), "a broken configuration is logged");
        let imports = vec![Import { script: script.as_os_str().as_bytes().to_vec(), application_group: Vec::new() }];
        let config = Python { imports, destroy_interpreter: true, ..Python::default() };
        assert_eq!((engine.start)(Bytes::new(&launch::encode(&config).expect("small"))), 0);
        assert_eq!(told(), ["log loaded"]);
        assert_eq!(INTERPRETERS.load(Ordering::Relaxed), 1);
        let serve = |path: &[u8], host: *mut c_void| {
            let entries = [Entry { key: keys::id("PATH_INFO"), name: Bytes::NONE, value: Bytes::new(path) }];
            let mut facts = Facts::new(&entries);
            facts.host = host;
            facts.script = Bytes::new(script.as_os_str().as_bytes());
            facts.callable = Bytes::new(b"application");
            facts.content_length = -1;
            ((engine.serve)(&raw const facts), told())
        };
        let gone = std::ptr::dangling_mut::<u8>().cast();
        assert_eq!(
            serve(b"/", std::ptr::null_mut()),
            (SERVED, vec!["head 200 200 OK A=b".into(), "body bodyid 1 1".into()])
        );
        assert_eq!(serve(b"/", gone).0, TRUNCATED);
        let length = std::fs::metadata(&script).expect("is there").len();
        let (outcome, lines) = serve(b"/file", std::ptr::null_mut());
        assert_eq!(outcome, TRUNCATED);
        assert_eq!(lines[..2], [format!("head 200 200 OK A=b Content-Length={length}"), format!("file 0 {length}")]);
        assert!(lines[2].ends_with("The file of the response could not be sent: the disk is on fire"), "{lines:?}");
        (engine.stop)();
        assert_eq!(serve(b"/", std::ptr::null_mut()).0, 503);
    }
}

#[test]
fn deciding_scripts_answer() {
    crate::process::passed("tables::consult_inside", "");
}

const DECIDING: &[u8] = br#"
import weakref
last = []
seen = []
def check_password(environ, user, password):
    last.append(environ)
    if user == 'error': raise ValueError('no')
    if user == 'ssl':
        lookup = environ['mod_ssl.var_lookup']
        return '%s %s %s' % (environ['mod_ssl.is_https'](), lookup('SSL_PROTOCOL'), lookup(b'OTHER'))
    if user == 'expired':
        try: last[0]['mod_ssl.is_https']()
        except RuntimeError as error: return str(error)
    if user == 'late':
        try: print('x', file=last[0]['wsgi.errors'])
        except RuntimeError as error: return str(error)
    if user == 'stream': return environ['wsgi.errors'].name
    if user == 'nobody':
        import mod_wsgi
        try: mod_wsgi.request_data()
        except RuntimeError as error: return str(error)
    return {'yes': True, 'no': False, 'nothing': None, 'other': '\xe9', 'empty': '', 'bytes': b'x', 'one': 1,
            'cut': 'root\0x'}[user]
def get_realm_hash(environ, user, realm):
    return {'text': user + realm, 'bytes': b'ab', 'nothing': None, 'empty': b'', 'true': True}[user]
def groups_for_user(environ, user):
    if user == 'same':
        before = seen and seen.pop()()
        seen.append(weakref.ref(environ['wsgi.errors']))
        return ['again' if before is environ['wsgi.errors'] else 'first']
    if user == 'changes': environ['wsgi.errors'].reconfigure(encoding='ascii')
    if user in ('changes', 'encoding'): return [environ['wsgi.errors'].encoding]
    def broken():
        yield 'a'
        raise ValueError
    return {'list': ['a', b'b'], 'text': 'ab', 'none': None, 'wide': ['\u20ac'], 'number': [1], 'broken': broken(),
            'empty': ()}[user]
def allow_access(environ, host):
    return {'yes': True, 'no': False, 'nothing': None}.get(host, host)
def process_group(environ):
    return environ.get('PATH_INFO') or None
def callable_object(environ):
    return {'/wide': '\u20ac', '/number': 1}.get(environ.get('PATH_INFO'), b'other')
"#;

// Covers: api:mod_wsgi.request_data
#[test]
#[ignore = "runs in a process of its own"]
fn consult_inside() {
    // SAFETY: the table is static.
    let engine = unsafe { &*mod_wsgi_rs_engine(&raw const HOST) };
    let script = file("deciding.wsgi", DECIDING);
    let unfit = file("unfit.wsgi", b"1 / 0");
    // SAFETY: the engine's functions, called with what they ask for.
    unsafe {
        let config = Python { destroy_interpreter: true, ..Python::default() };
        assert_eq!((engine.start)(Bytes::new(&launch::encode(&config).expect("small"))), 0);
        let ask_about = |script: &std::path::Path, question: Question, subject: &str, entries: &[Entry<'_>], flags| {
            let mut facts = Facts::new(entries);
            facts.script = Bytes::new(script.as_os_str().as_bytes());
            facts.flags = flags;
            let asked = Consultation {
                facts,
                resource: Bytes::new(b"/srv/page"),
                question,
                subject: Bytes::new(subject.as_bytes()),
                detail: Bytes::new(b"detail"),
            };
            let advice = (engine.consult)(&raw const asked);
            (advice, told())
        };
        let ask = |script: &std::path::Path, question: Question, subject: &str, path: &[u8]| {
            let entries = [Entry { key: keys::id("PATH_INFO"), name: Bytes::NONE, value: Bytes::new(path) }];
            ask_about(script, question, subject, &entries, 0)
        };
        let quiet = |question, subject, advice, answers: &[&str]| {
            let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
            assert_eq!(ask(&script, question, subject, b""), (advice, answers), "{question:?} {subject}");
        };
        let logged = |question, subject, path: &[u8], text: &str| {
            let (advice, lines) = ask(&script, question, subject, path);
            assert_eq!(advice, Advice::Failed, "{question:?} {subject}");
            assert!(lines.iter().any(|line| line.contains(text)), "{question:?} {subject}: {lines:?}");
        };
        use Question::{Access, Dispatch, Groups, Password, RealmHash};
        quiet(Password, "yes", Advice::Yes, &[]);
        quiet(Password, "no", Advice::No, &[]);
        quiet(Password, "nothing", Advice::Nothing, &[]);
        quiet(Password, "other", Advice::Yes, &["answer \u{e9}"]);
        quiet(Password, "ssl", Advice::Yes, &["answer 1 TLSv1.3 None"]);
        quiet(Password, "expired", Advice::Yes, &["answer request object has expired"]);
        quiet(Password, "late", Advice::Yes, &["answer write() called on wsgi.errors after request completed"]);
        // What a script does not keep or change serves the next question.
        quiet(Groups, "same", Advice::Yes, &["answer first"]);
        // Without a lock nobody can tell that an object is not shared, so each question gets its own.
        let second = if cfg!(Py_GIL_DISABLED) { "answer first" } else { "answer again" };
        quiet(Groups, "same", Advice::Yes, &[second]);
        quiet(Groups, "changes", Advice::Yes, &["answer ascii"]);
        quiet(Groups, "encoding", Advice::Yes, &["answer utf-8"]);
        quiet(Password, "stream", Advice::Yes, &["answer <log>"]);
        quiet(Password, "nobody", Advice::Yes, &["answer no active request for thread"]);
        logged(Password, "empty", b"", "[script /srv/page] WSGI0176: ");
        logged(Password, "bytes", b"", "WSGI0177: ");
        logged(Password, "one", b"", "WSGI0177: ");
        logged(Password, "cut", b"", "WSGI0177: ");
        logged(
            Password,
            "error",
            b"",
            "WSGI0174: [script /srv/page] ValueError exception raised processing WSGI script",
        );
        quiet(RealmHash, "text", Advice::Yes, &["answer textdetail"]);
        quiet(RealmHash, "bytes", Advice::Yes, &["answer ab"]);
        quiet(RealmHash, "nothing", Advice::Nothing, &[]);
        logged(RealmHash, "empty", b"", "WSGI0178: ");
        logged(RealmHash, "true", b"", "WSGI0179: ");
        quiet(Groups, "list", Advice::Yes, &["answer a", "answer b"]);
        quiet(Groups, "text", Advice::Yes, &["answer a", "answer b"]);
        quiet(Groups, "empty", Advice::Yes, &[]);
        logged(Groups, "none", b"", "WSGI0051: ");
        logged(Groups, "wide", b"", "WSGI0049: ");
        logged(Groups, "number", b"", "WSGI0050: ");
        logged(Groups, "broken", b"", "ValueError exception raised");
        quiet(Access, "yes", Advice::Yes, &[]);
        quiet(Access, "no", Advice::No, &[]);
        quiet(Access, "nothing", Advice::Nothing, &[]);
        logged(Access, "1", b"", "WSGI0055: ");
        quiet(Dispatch, "", Advice::Yes, &["no answer", "no answer", "answer other"]);
        logged(Dispatch, "", b"/number", "TypeError: Callable object must be a string object");
        logged(Dispatch, "", b"/wide", "Callable object must be a byte string, value containing non 'latin-1'");
        let client = [Entry { key: keys::id("REMOTE_ADDR"), name: Bytes::NONE, value: Bytes::new(b"192.0.2.7") }];
        let (advice, lines) = ask_about(&script, Password, "error", &client, JSON_LOG);
        assert_eq!((advice, lines.len()), (Advice::Failed, 1), "{lines:?}");
        for part in ["request log {", r#""request_id":"id","client":"192.0.2.7","script":"/srv/page""#, "WSGI0174"] {
            assert!(lines[0].contains(part), "{part}: {lines:?}");
        }
        let (_, lines) = ask(&script, Password, "error", b"");
        assert!(lines.iter().all(|line| !line.contains('{')), "the next one is no JSON again: {lines:?}");
        let (advice, lines) = ask(&unfit, Access, "yes", b"");
        assert_eq!(advice, Advice::NotLoaded);
        assert!(lines[0].contains("[script /srv/page] WSGI0109: "), "{lines:?}");
        (engine.stop)();
        assert_eq!(ask(&script, Access, "yes", b"").0, Advice::Unavailable);
    }
}

#[test]
fn threads_that_end_leave_nothing_behind() {
    crate::process::passed("tables::threads_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn threads_inside() {
    // SAFETY: the table is static.
    let engine = unsafe { &*mod_wsgi_rs_engine(&raw const HOST) };
    let script = file(
        "threads.wsgi",
        b"import threading\nlocal = threading.local()\nended = []\nclass Kept:\n    def __del__(self):\n        \
          ended.append(1)\n        print('closed')\ndef application(e, s):\n    local.kept = Kept()\n    \
          s('200 %d %d' % (e['mod_wsgi.thread_id'], len(ended)), [])\n    return []\n",
    );
    // SAFETY: the engine's functions, called with what they ask for.
    unsafe {
        let config = Python { destroy_interpreter: true, ..Python::default() };
        assert_eq!((engine.start)(Bytes::new(&launch::encode(&config).expect("small"))), 0);
        for ended in 0..20 {
            let path = script.clone();
            let thread = std::thread::spawn(move || {
                let mut facts = Facts::new(&[]);
                facts.script = Bytes::new(path.as_os_str().as_bytes());
                facts.application_group = Bytes::new(if ended % 2 == 0 { b"" } else { b"sub" });
                facts.callable = Bytes::new(b"application");
                (engine.serve)(&raw const facts)
            });
            assert_eq!(thread.join().expect("serves"), SERVED);
            let lines = told();
            let wanted = format!("head 200 200 1 {}", ended / 2);
            assert!(lines.iter().any(|line| line.trim_end() == wanted), "{wanted}: {lines:?}");
        }
        (engine.stop)();
    }
}
