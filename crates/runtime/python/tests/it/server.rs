//! The engine of this process, and a gateway that records.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use wsgi_protocol::abi::{Bytes, Entry, Level, Record};
use wsgi_protocol::keys;
use wsgi_protocol::launch::{Python, Restrict, Scope, Server};
use wsgi_protocol::request::{Facts, RELOAD};
use wsgi_protocol::script_file::ScriptFile;
use wsgi_python::engine::{Engine, Worker};
use wsgi_python::gateway::{Gateway, Head, Outcome, Process, ReadFailure, SendFailure};

/// The process's log.
pub(crate) struct Journal(Mutex<Vec<Line>>);

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) level: u8,
    pub(crate) text: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl Line {
    fn new(record: &Record<'_>) -> Self {
        let text = |bytes: Bytes<'_>| String::from_utf8_lossy(bytes.or_empty()).into_owned();
        Self { level: record.level, text: text(record.text), file: text(record.file), line: record.line }
    }
}

/// A log that stalls at the record `log waits for FILE`, until another thread of Python has made that file.
fn stall(record: &Record<'_>) {
    let text = String::from_utf8_lossy(record.text.or_empty());
    let Some((_, file)) = text.split_once("log waits for ") else { return };
    std::fs::write(format!("{file}.waiting"), "").expect("own file");
    let end = Instant::now() + Duration::from_secs(10);
    // Python has no other way to say that it runs.
    while !std::path::Path::new(file).exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Process for Journal {
    fn log(&self, record: &Record<'_>) {
        stall(record);
        self.0.lock().expect("no test panics while logging").push(Line::new(record));
    }

    fn logs(&self, level: Level) -> bool {
        level <= Level::Info
    }
}

pub(crate) static JOURNAL: Journal = Journal(Mutex::new(Vec::new()));

/// The records of the process so far whose text contains `part`.
pub(crate) fn journal(part: &str) -> Vec<Line> {
    JOURNAL
        .0
        .lock()
        .expect("no test panics while logging")
        .iter()
        .filter(|line| line.text.contains(part))
        .cloned()
        .collect()
}

/// The configuration of the tests' process: embedded mode, and some application groups with restrictions.
pub(crate) fn configuration() -> Python {
    let scope = |group: &str| Scope { application_group: Some(group.as_bytes().to_vec()), ..Scope::default() };
    Python {
        restrict: Restrict::default(),
        scopes: vec![
            Scope { restrict_stdout: Some(true), ..scope("no-stdout") },
            Scope { restrict_stdin: Some(true), ..scope("no-stdin") },
            Scope { restrict_signal: Some(false), ..scope("signals") },
            Scope { own_gil: Some(true), ..scope("own-gil") },
        ],
        server: Server {
            version: (2, 4, 71),
            description: b"Apache/2.4.71 (Test)".to_vec(),
            build_date: b"2026-01-01T00:00:00".to_vec(),
            mpm_name: b"event".to_vec(),
            maximum_processes: 3,
            threads_per_process: 25,
        },
        maximum_processes: 3,
        threads_per_process: 25,
        multithread: true,
        maximum_interpreters: 64,
        destroy_interpreter: true,
        ..Python::default()
    }
}

static ENGINE: OnceLock<&'static Engine> = OnceLock::new();

/// Starts the engine of this process with another configuration than the usual one: in a process of the test's own.
pub(crate) fn start(config: Python) -> Option<&'static Engine> {
    let engine = Engine::start(config, &JOURNAL).ok()?;
    assert!(ENGINE.set(engine).is_ok(), "Python starts once per process");
    Some(engine)
}

pub(crate) fn engine() -> &'static Engine {
    ENGINE.get_or_init(|| Engine::start(configuration(), &JOURNAL).expect("Python starts"))
}

/// A file in this run's own folder.
pub(crate) fn file(name: &str, content: &[u8]) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = folder().join(number.to_string());
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file for the test");
    path
}

/// This run's folder, emptied when the next run starts.
pub(crate) fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
            std::fs::create_dir_all(&folder).expect("a folder for the run");
            folder
        })
        .clone()
}

/// What the client does.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) method: &'static str,
    /// Pieces in which the body arrives.
    pub(crate) body: Vec<Vec<u8>>,
    /// `Content-Length`, -1 for a chunked body.
    pub(crate) length: i64,
    /// Reading fails with this text when the body is used up.
    pub(crate) read_failure: Option<&'static str>,
    /// Sending fails from this write on, counted from 0.
    pub(crate) send_failure: Option<(usize, SendFailure)>,
    pub(crate) group: &'static str,
    pub(crate) callable: &'static str,
    /// Variables of the configuration, whose names are spelled out; they come before all other entries.
    pub(crate) variables: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) entries: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) reload: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            method: "GET",
            body: Vec::new(),
            length: 0,
            read_failure: None,
            send_failure: None,
            group: "",
            callable: "application",
            variables: Vec::new(),
            entries: Vec::new(),
            reload: false,
        }
    }
}

impl Client {
    /// A request with a body.
    pub(crate) fn post(body: &[&[u8]]) -> Self {
        let body: Vec<Vec<u8>> = body.iter().map(|piece| piece.to_vec()).collect();
        let length = i64::try_from(body.iter().map(Vec::len).sum::<usize>()).expect("small");
        Self { method: "POST", body, length, ..Self::default() }
    }

    pub(crate) fn group(group: &'static str) -> Self {
        Self { group, ..Self::default() }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) status: u16,
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Sizes of the pieces in which the body was sent, with whether the piece was said to be the last.
    pub(crate) writes: Vec<(usize, bool)>,
    pub(crate) files: usize,
    pub(crate) log: Vec<Line>,
    /// How often the body was asked for.
    pub(crate) reads: usize,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The texts of the error records.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.log.iter().filter(|line| line.level == 3).map(|line| line.text.as_str()).collect()
    }

    pub(crate) fn logged(&self, part: &str) -> bool {
        self.log.iter().any(|line| line.text.contains(part))
    }
}

struct Recorder {
    client: Client,
    reply: Reply,
    sends: usize,
}

impl Recorder {
    fn sending(&mut self) -> Result<(), SendFailure> {
        let number = self.sends;
        self.sends += 1;
        match &self.client.send_failure {
            Some((from, failure)) if number >= *from => Err(failure.clone()),
            _ => Ok(()),
        }
    }
}

impl Gateway for Recorder {
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, ReadFailure> {
        self.reply.reads += 1;
        if buffer.is_empty() {
            return Ok(0);
        }
        let Some(piece) = self.client.body.first_mut() else {
            return match self.client.read_failure {
                Some(text) => Err(ReadFailure(text.to_owned())),
                None => Ok(0),
            };
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            self.client.body.remove(0);
        }
        Ok(count)
    }

    fn send_head(&mut self, head: &Head<'_>) -> Result<(), SendFailure> {
        assert_eq!(self.reply.status, 0, "the head is sent once");
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        self.reply.status = head.status;
        self.reply.line = text(head.line);
        let fields = head.fields.iter();
        self.reply.fields = fields.map(|field| (text(field.name.or_empty()), text(field.value.or_empty()))).collect();
        Ok(())
    }

    fn send_body(&mut self, data: &[u8], last: bool) -> Result<(), SendFailure> {
        assert_ne!(self.reply.status, 0, "the head comes first");
        self.sending()?;
        self.reply.writes.push((data.len(), last));
        self.reply.body.extend_from_slice(data);
        Ok(())
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), SendFailure> {
        use std::os::unix::fs::FileExt;
        assert_ne!(self.reply.status, 0, "the head comes first");
        self.sending()?;
        let file = std::fs::File::from(file.try_clone_to_owned().expect("a descriptor"));
        let mut data = vec![0; usize::try_from(length).expect("small")];
        file.read_exact_at(&mut data, offset).expect("the file is that long");
        self.reply.files += 1;
        self.reply.body.extend_from_slice(&data);
        Ok(())
    }

    fn log(&mut self, record: &Record<'_>) {
        stall(record);
        self.reply.log.push(Line::new(record));
    }

    fn logs(&mut self, level: Level) -> bool {
        level <= Level::Info
    }

    fn request_id(&mut self) -> Vec<u8> {
        b"request-id".to_vec()
    }
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// The number of this thread's worker.
pub(crate) fn with_worker<R>(work: impl FnOnce(&mut Worker) -> R) -> R {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    WORKER.with_borrow_mut(|worker| {
        work(worker.get_or_insert_with(|| engine().worker(NUMBER.fetch_add(1, Ordering::Relaxed))))
    })
}

/// Serves a request to a script file.
pub(crate) fn request(script: &std::path::Path, client: Client) -> Reply {
    let mut pairs: Vec<(String, Option<Vec<u8>>)> = vec![
        ("REQUEST_METHOD".into(), Some(client.method.into())),
        ("SCRIPT_NAME".into(), Some(Vec::new())),
        ("PATH_INFO".into(), Some(b"/".to_vec())),
        ("QUERY_STRING".into(), Some(Vec::new())),
        ("SERVER_PROTOCOL".into(), Some(b"HTTP/1.1".to_vec())),
        ("HTTP_HOST".into(), Some(b"localhost".to_vec())),
    ];
    pairs.extend(client.entries.iter().cloned());
    let variables = client.variables.clone();
    let variables = variables.iter().map(|(name, text)| Entry {
        key: keys::LITERAL,
        name: Bytes::new(name.as_bytes()),
        value: bytes(text),
    });
    let others = pairs.iter().map(|(name, text)| {
        let number = keys::KEYS.iter().position(|key| key == name);
        let key = number.map_or(keys::LITERAL, |index| u8::try_from(index + 1).expect("few keys"));
        let name = if number.is_some() { Bytes::NONE } else { Bytes::new(name.as_bytes()) };
        Entry { key, name, value: bytes(text) }
    });
    let entries: Vec<Entry<'_>> = variables.chain(others).collect();
    let mut facts = Facts::new(&entries);
    let path = script.as_os_str().as_bytes();
    facts.script = Bytes::new(path);
    facts.script_version = version(script);
    facts.application_group = Bytes::new(client.group.as_bytes());
    facts.callable = Bytes::new(client.callable.as_bytes());
    facts.handler = Bytes::new(b"wsgi-script");
    facts.content_length = client.length;
    facts.request_start = 1_700_000_000_250_000;
    facts.flags = if client.reload { RELOAD } else { 0 };
    let reply = Reply {
        outcome: Outcome::Complete,
        status: 0,
        line: String::new(),
        fields: Vec::new(),
        body: Vec::new(),
        writes: Vec::new(),
        files: 0,
        log: Vec::new(),
        reads: 0,
    };
    let mut recorder = Recorder { client, reply, sends: 0 };
    recorder.reply.outcome = with_worker(|worker| engine().serve(worker, &facts, &mut recorder));
    recorder.reply
}

fn bytes(value: &Option<Vec<u8>>) -> Bytes<'_> {
    value.as_deref().map_or(Bytes::NONE, Bytes::new)
}

fn version(script: &std::path::Path) -> u64 {
    std::fs::metadata(script).map_or(ScriptFile::UNKNOWN, |status| ScriptFile::from(&status).version())
}

/// Serves a request to a script with this source.
pub(crate) fn serve(source: &str, client: Client) -> Reply {
    request(&file("app.wsgi", source.as_bytes()), client)
}

/// A plain GET.
pub(crate) fn get(source: &str) -> Reply {
    serve(source, Client::default())
}

/// A script that evaluates each expression in the middle of a request and answers with one line for each: its `repr`, or
/// `Type: text` of what it raised. `environ`, `start_response`, `body` (wsgi.input) and `errors` are in scope.
pub(crate) fn evaluating(prelude: &str, expressions: &[&str]) -> String {
    let list = expressions.iter().map(|expression| format!("{expression:?}, ")).collect::<String>();
    format!(
        "import sys, io\n{prelude}\ndef application(environ, start_response):\n    body = environ['wsgi.input']; \
         errors = environ['wsgi.errors']\n    scope = dict(globals(), environ=environ, start_response=start_response, \
         body=body, errors=errors)\n    lines = []\n    for expression in [{list}]:\n        try:\n            \
         lines.append(repr(eval(expression, scope)))\n        except BaseException as error:\n            \
         lines.append(type(error).__name__ + ': ' + str(error))\n    start_response('200 OK', [('Content-Type', \
         'text/plain')])\n    return ['\\n'.join(lines).encode('utf-8', 'backslashreplace')]\n"
    )
}

/// Evaluates a table of expressions in one request and compares each line.
pub(crate) fn check(prelude: &str, client: Client, table: &[(&str, &str)]) {
    let expressions: Vec<&str> = table.iter().map(|(expression, _)| *expression).collect();
    let reply = serve(&evaluating(prelude, &expressions), client);
    assert_eq!(reply.outcome, Outcome::Complete, "{:#?}", reply.log);
    let text = reply.text();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.len(), table.len(), "{text}");
    for ((expression, expected), line) in table.iter().zip(lines) {
        assert_eq!(line, *expected, "{expression}");
    }
}
