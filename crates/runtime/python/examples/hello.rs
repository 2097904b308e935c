//! Serves hello-world requests to nowhere, for profilers: `valgrind --tool=callgrind hello 2000`. A second
//! argument names another script, such as one that subscribes to events.

use std::os::fd::BorrowedFd;

use wsgi_protocol::abi::{Bytes, Entry, Level, Record};
use wsgi_protocol::keys;
use wsgi_protocol::launch::Python;
use wsgi_protocol::request::{Facts, RELOAD};
use wsgi_python::engine::Engine;
use wsgi_python::gateway::{Gateway, Head, Outcome, Process, ReadFailure, SendFailure};

const SCRIPT: &str = "def application(environ, start_response):\n    body = b'Hello World!\\n'\n    \
                      start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])\n    \
                      return [body]\n";

struct Nowhere;

impl Process for Nowhere {
    fn log(&self, _: &Record<'_>) {}

    fn logs(&self, level: Level) -> bool {
        level <= Level::Warning
    }
}

impl Gateway for Nowhere {
    fn read_body(&mut self, _: &mut [u8]) -> Result<usize, ReadFailure> {
        Ok(0)
    }

    fn send_head(&mut self, _: &Head<'_>) -> Result<(), SendFailure> {
        Ok(())
    }

    fn send_body(&mut self, _: &[u8], _: bool) -> Result<(), SendFailure> {
        Ok(())
    }

    fn send_file(&mut self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), SendFailure> {
        Ok(())
    }

    fn log(&mut self, _: &Record<'_>) {}

    fn logs(&mut self, level: Level) -> bool {
        level <= Level::Warning
    }

    fn request_id(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

const ENTRIES: &[(&str, &str)] = &[
    ("REQUEST_METHOD", "GET"),
    ("SCRIPT_NAME", ""),
    ("PATH_INFO", "/"),
    ("QUERY_STRING", ""),
    ("REQUEST_URI", "/"),
    ("SERVER_NAME", "localhost"),
    ("SERVER_PORT", "8000"),
    ("SERVER_ADDR", "127.0.0.1"),
    ("SERVER_PROTOCOL", "HTTP/1.1"),
    ("SERVER_SOFTWARE", "Apache/2.4.71 (Debian)"),
    ("SERVER_ADMIN", "[no address given]"),
    ("REMOTE_ADDR", "127.0.0.1"),
    ("REMOTE_PORT", "54321"),
    ("DOCUMENT_ROOT", "/var/www/html"),
    ("CONTEXT_PREFIX", ""),
    ("CONTEXT_DOCUMENT_ROOT", "/var/www/html"),
    ("SCRIPT_FILENAME", "/srv/hello.wsgi"),
    ("REQUEST_SCHEME", "http"),
    ("HTTP_HOST", "localhost:8000"),
    ("mod_wsgi.script_name", ""),
    ("mod_wsgi.path_info", "/"),
    ("mod_wsgi.listener_host", "127.0.0.1"),
    ("mod_wsgi.listener_port", "8000"),
    ("mod_wsgi.server_pid", "4711"),
    ("mod_wsgi.request_id", "w2XJaxDWxxo"),
];

fn main() {
    let count: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1000);
    let script = std::env::temp_dir().join(format!("hello-{}.wsgi", std::process::id()));
    let source = match std::env::args().nth(2) {
        Some(path) => std::fs::read_to_string(path).expect("the script that was named"),
        None => SCRIPT.to_owned(),
    };
    std::fs::write(&script, source).expect("a script");
    let engine = Engine::start(Python::default(), &Nowhere).expect("Python starts");
    let entries: Vec<Entry<'_>> = ENTRIES
        .iter()
        .map(|(key, value)| Entry { key: keys::id(key), name: Bytes::NONE, value: Bytes::new(value.as_bytes()) })
        .collect();
    let mut facts = Facts::new(&entries);
    facts.script = Bytes::new(script.as_os_str().as_encoded_bytes());
    facts.script_version = 1;
    facts.application_group = Bytes::new(b"");
    facts.callable = Bytes::new(b"application");
    facts.handler = Bytes::new(b"wsgi-script");
    facts.flags = RELOAD;
    let mut worker = engine.worker(1);
    let started = std::time::Instant::now();
    for _ in 0..count {
        assert_eq!(engine.serve(&mut worker, &facts, &mut Nowhere), Outcome::Complete);
    }
    let each = started.elapsed() / count;
    std::fs::remove_file(&script).expect("the script is there");
    // To standard error by hand: this is a program for a terminal.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{each:?} per request\n"));
}
