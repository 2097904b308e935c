//! The executable `wsgi-daemon` with a real Python, spoken to as the Apache module does: frames on its socket, packets
//! from its log, signals and pipes around it.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use wsgi_protocol::abi::{Bytes, Entry};
use wsgi_protocol::frame::{self, END_LAST, FailureCode, HEADER, Kind, Secret};
use wsgi_protocol::launch::{self, Descriptors, LEAVE, Python, Timeouts};
use wsgi_protocol::page::{Layout, Page, State, Wish};
use wsgi_protocol::request::{self, BODY_INCLUDED, Facts};
use wsgi_protocol::{head, keys, line, scripts};

const SECRET: Secret = [42; 32];
const PAGE: u64 = 4711;
const PATIENCE: Duration = Duration::from_secs(30);

const APPLICATION: &str = r#"
import os, time

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        open(environ["QUERY_STRING"]).read()
    if path == "/boom":
        raise ValueError("boom")
    if path == "/fds":
        body = "\n".join(sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}"))).encode()
    elif path == "/large":
        body = b"x" * 3_000_000
    else:
        data = environ["wsgi.input"].read()
        body = b"%s got %d" % (environ["REQUEST_METHOD"].encode(), len(data))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// A folder of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wsgi-daemon-it-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn memory(seals: i32, size: usize, bytes: &[u8]) -> OwnedFd {
    // SAFETY: a constant name and a fresh descriptor.
    unsafe {
        let descriptor = libc::memfd_create(c"test".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC);
        assert!(descriptor >= 0, "a memfd can be made");
        let file = std::fs::File::from(OwnedFd::from_raw_fd(descriptor));
        file.set_len(size as u64).expect("it has room");
        file.write_all_at(bytes, 0).expect("it has room");
        assert_eq!(libc::fcntl(descriptor, libc::F_ADD_SEALS, seals), 0);
        file.into()
    }
}

/// A daemon process and the server's ends of everything.
struct Daemon {
    child: Child,
    folder: Folder,
    script: PathBuf,
    log: OwnedFd,
    control: Option<OwnedFd>,
    page: Page,
    /// With `rolling=On`: where it rings, and its list of scripts.
    bell: OwnedFd,
    scripts: OwnedFd,
    lines: std::cell::RefCell<Vec<String>>,
}

impl Daemon {
    fn start(name: &str, change: impl FnOnce(&mut launch::Daemon)) -> Self {
        Self::start_after(name, b"", change)
    }

    /// Starts one whose predecessor had this list of scripts.
    fn start_after(name: &str, inherited: &[u8], change: impl FnOnce(&mut launch::Daemon)) -> Self {
        let folder = Folder::new(name);
        let script = folder.0.join("app.wsgi");
        std::fs::write(&script, APPLICATION).expect("own folder");
        let layout = Layout::new(1, 2, 0).expect("small");
        let page_memory = memory(libc::F_SEAL_SHRINK | libc::F_SEAL_GROW, layout.size(), b"");
        // SAFETY: the whole file is mapped and stays so.
        let page = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let base =
                libc::mmap(std::ptr::null_mut(), layout.size(), access, libc::MAP_SHARED, page_memory.as_raw_fd(), 0);
            assert_ne!(base, libc::MAP_FAILED);
            Page::new(base.cast(), layout)
        };
        page.initialise(PAGE);
        let listener = UnixListener::bind(folder.0.join("socket")).expect("own folder");
        let (log, their_log) = packets();
        let (their_control, control) = std::io::pipe().expect("a pipe");
        let (bell, their_bell) = std::io::pipe().expect("a pipe");
        let scripts = memory(libc::F_SEAL_SHRINK | libc::F_SEAL_GROW, scripts::SIZE, b"");
        let inherited = memory(libc::F_SEAL_SHRINK | libc::F_SEAL_GROW, scripts::SIZE, inherited);
        let mut daemon = launch::Daemon {
            python: Python {
                process_group: b"web".to_vec(),
                threads_per_process: 2,
                multithread: true,
                ..Python::default()
            },
            group: b"web".to_vec(),
            page_processes: 1,
            threads: 2,
            timeouts: Timeouts { shutdown: 10_000, graceful: 10_000, deadlock: 300_000, ..Timeouts::default() },
            descriptors: Descriptors {
                listener: 4,
                overflow: None,
                log: 5,
                page: 6,
                control: 7,
                ..Descriptors::default()
            },
            secret: SECRET,
            log_level: 7,
            dumpable: true,
            ..launch::Daemon::default()
        };
        change(&mut daemon);
        let bytes = launch::encode(&daemon).expect("small");
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
        let launch = memory(seals, bytes.len(), &bytes);
        let optional = |wanted: Option<i32>, source: &dyn AsRawFd| wanted.map_or(-1, |_| source.as_raw_fd());
        let sources: [RawFd; 8] = [
            launch.as_raw_fd(),
            listener.as_raw_fd(),
            their_log.as_raw_fd(),
            page_memory.as_raw_fd(),
            their_control.as_raw_fd(),
            optional(daemon.descriptors.bell, &their_bell),
            optional(daemon.descriptors.scripts, &scripts),
            optional(daemon.descriptors.inherited_scripts, &inherited),
        ];
        let child = spawn(&sources);
        let lines = std::cell::RefCell::default();
        Self {
            child,
            folder,
            script,
            log,
            control: Some(OwnedFd::from(control)),
            page,
            bell: bell.into(),
            scripts,
            lines,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.0.join("socket")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a plain socket");
        stream
    }

    fn greeted(&self) -> UnixStream {
        let mut stream = self.connect();
        let mut out = Vec::new();
        frame::put(Kind::Hello, &SECRET, &mut out).expect("fits");
        stream.write_all(&out).expect("it listens");
        stream
    }

    fn request(&self, path: &str, query: &str, body: &[u8], length: i64) -> Vec<u8> {
        self.request_with_ticket(path, query, body, length, (0, 0))
    }

    fn request_with_ticket(&self, path: &str, query: &str, body: &[u8], length: i64, ticket: (u64, u64)) -> Vec<u8> {
        let entry = |key, value| Entry { key, name: Bytes::NONE, value: Bytes::new(value) };
        let method: &[u8] = if length == 0 { b"GET" } else { b"POST" };
        let uri = format!("{path}?{query}");
        let entries = [
            entry(keys::id("REQUEST_METHOD"), method),
            entry(keys::id("REQUEST_URI"), uri.as_bytes()),
            entry(keys::id("PATH_INFO"), path.as_bytes()),
            entry(keys::id("QUERY_STRING"), query.as_bytes()),
            entry(keys::id("SERVER_NAME"), b"localhost"),
            entry(keys::id("SERVER_PORT"), b"80"),
        ];
        let mut facts = Facts::new(&entries);
        let script = self.script.as_os_str().as_encoded_bytes().to_vec();
        facts.script = Bytes::new(&script);
        facts.application_group = Bytes::new(b"");
        facts.callable = Bytes::new(b"application");
        facts.content_length = length;
        (facts.ticket, facts.page) = ticket;
        if length == 0 || !body.is_empty() {
            facts.flags |= BODY_INCLUDED;
        }
        let mut out = Vec::new();
        let open = frame::begin(Kind::Request, &mut out);
        request::encode(&facts, body, &mut out).expect("fits");
        frame::finish(open, &mut out).expect("fits");
        out
    }

    /// Waits for a line of its log.
    fn wait_for_line(&self, wanted: &str) -> String {
        if let Some(known) = self.lines.borrow().iter().find(|line| line.contains(wanted)) {
            return known.clone();
        }
        loop {
            let mut buffer = [0u8; line::MAX_LINE];
            let mut entry = libc::pollfd { fd: self.log.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry; room for as many bytes as it says.
            let count = unsafe {
                assert!(libc::poll(&raw mut entry, 1, 30_000) > 0, "no line {wanted:?} in {:?}", self.lines);
                libc::recv(self.log.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
            };
            let count = usize::try_from(count).expect("the log can be read");
            assert!(count > 0, "the process ended without {wanted:?}: {:?}", self.lines);
            let (_, record) = line::decode(&buffer[..count]).expect("a packet");
            let text = String::from_utf8_lossy(record.text.or_empty()).into_owned();
            self.lines.borrow_mut().push(text.clone());
            if text.contains(wanted) {
                return text;
            }
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child was not waited for.
        unsafe { libc::kill(libc::pid_t::try_from(self.child.id()).expect("a pid"), signal) };
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("own child")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn packets() -> (OwnedFd, OwnedFd) {
    let mut ends = [-1; 2];
    // SAFETY: room for two fresh descriptors.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

/// Starts the executable with these descriptors at 3 and the numbers that follow; -1 leaves one out.
#[expect(clippy::disallowed_methods, reason = "the crate's tests start the daemon here only")]
fn spawn(sources: &[RawFd; 8]) -> Child {
    let sources = *sources;
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-daemon"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: only duplicates descriptors, above the numbers first that are to be taken.
    unsafe {
        command.pre_exec(move || {
            let above = sources.map(|source| libc::fcntl(source, libc::F_DUPFD_CLOEXEC, 30));
            for (number, source) in (3..).zip(above) {
                libc::dup2(source, number);
            }
            Ok(())
        });
    }
    command.spawn().expect("the daemon was built")
}

/// A frame from the daemon.
fn next(stream: &mut UnixStream) -> Option<(Kind, Vec<u8>)> {
    let mut header = [0u8; HEADER];
    stream.read_exact(&mut header).ok()?;
    let (kind, length) = frame::header(header).expect("a frame");
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).expect("a whole frame");
    Some((kind, payload))
}

/// Everything up to the end of an exchange: kinds in their order, the status, the body, what was logged.
#[derive(Debug, Default)]
struct Response {
    kinds: Vec<Kind>,
    status: u16,
    body: Vec<u8>,
    log: String,
    last: bool,
    failure: Option<(FailureCode, String)>,
}

fn answer(stream: &mut UnixStream, upload: &[u8]) -> Response {
    let mut response = Response::default();
    let mut upload = upload;
    loop {
        let (kind, payload) = next(stream).unwrap_or_else(|| panic!("the connection ended: {response:?}"));
        response.kinds.push(kind);
        match kind {
            Kind::Head => {
                let mut fields = Vec::new();
                response.status = head::decode(&payload, &mut fields).expect("a head").0;
            }
            Kind::Data => response.body.extend(payload),
            Kind::Log => {
                let record = frame::log(&payload).expect("a record");
                response.log.push_str(&String::from_utf8_lossy(record.text.or_empty()));
                response.log.push('\n');
            }
            Kind::Pull => {
                let wanted = frame::number(&payload).expect("a number") as usize;
                let (part, rest) = upload.split_at(wanted.min(upload.len()));
                upload = rest;
                let mut out = Vec::new();
                frame::put(Kind::Body, part, &mut out).expect("fits");
                stream.write_all(&out).expect("it reads");
            }
            Kind::End => {
                response.last = payload[0] & END_LAST != 0;
                return response;
            }
            Kind::Failure => {
                let (code, flags, text) = frame::failure(&payload).expect("a failure");
                response.last = flags & END_LAST != 0;
                response.failure = Some((code, String::from_utf8_lossy(text).into_owned()));
                return response;
            }
            _ => {}
        }
    }
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let daemon = Daemon::start("kept", |_| ());
    let mut stream = daemon.greeted();
    for _ in 0..3 {
        stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
        let response = answer(&mut stream, b"");
        assert_eq!((response.status, &response.body[..]), (200, &b"GET got 0"[..]));
        let transport: Vec<Kind> = response.kinds.into_iter().filter(|kind| *kind != Kind::Log).collect();
        assert_eq!(transport, [Kind::Accepted, Kind::Head, Kind::Data, Kind::End]);
        assert!(!response.last);
    }
    let slot = daemon.page.process(0).expect("is there");
    assert_eq!(State::from_number(slot.state.load(Ordering::Relaxed)), State::Ready);
    assert_eq!(slot.requests.load(Ordering::Relaxed), 3);
}

#[test]
fn a_ticket_says_without_a_frame_that_a_request_was_taken() {
    let daemon = Daemon::start("ticket", |_| ());
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request_with_ticket("/", "", b"", 0, (77, PAGE))).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.status, 200);
    assert!(!response.kinds.contains(&Kind::Accepted), "{:?}", response.kinds);
    assert!(daemon.page.has_taken(77));
    // A child that looks at another page is told by a frame.
    stream.write_all(&daemon.request_with_ticket("/", "", b"", 0, (78, PAGE + 1))).expect("it reads");
    assert!(answer(&mut stream, b"").kinds.contains(&Kind::Accepted));
    assert!(!daemon.page.has_taken(78));
}

#[test]
fn bodies_travel_along_or_are_pulled() {
    let daemon = Daemon::start("bodies", |_| ());
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/", "", &[b'x'; 9000], 9000)).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.body, b"POST got 9000");
    assert!(!response.kinds.contains(&Kind::Pull));

    let upload = vec![b'x'; 500_000];
    stream.write_all(&daemon.request("/", "", b"", 500_000)).expect("it reads");
    let response = answer(&mut stream, &upload);
    assert_eq!(response.body, b"POST got 500000");
    assert!(response.kinds.contains(&Kind::Pull));
}

#[test]
fn a_large_response_arrives_whole() {
    let daemon = Daemon::start("large", |_| ());
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/large", "", b"", 0)).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.body.len(), 3_000_000);
    assert_eq!(response.kinds.last(), Some(&Kind::End));
}

// Covers: rule:adapter/exception-before-headers
#[test]
fn an_exception_is_logged_to_the_request_and_answered() {
    let daemon = Daemon::start("exception", |_| ());
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/boom", "", b"", 0)).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.failure, Some((FailureCode::Status, "500".to_owned())));
    assert!(response.log.contains("ValueError: boom"), "{}", response.log);
}

// Covers: rule:daemon/start-secret, code:WSGI0033, code:WSGI0034
#[test]
fn another_program_of_the_same_user_cannot_speak_to_it() {
    let daemon = Daemon::start("secret", |_| ());
    let mut stream = daemon.connect();
    let mut out = Vec::new();
    frame::put(Kind::Hello, &[1; 32], &mut out).expect("fits");
    out.extend(daemon.request("/", "", b"", 0));
    stream.write_all(&out).expect("it listens");
    assert!(next(&mut stream).is_none(), "it answered");
    daemon.wait_for_line("WSGI0034");
    let mut stream = daemon.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it listens");
    assert!(next(&mut stream).is_none(), "it answered");
    daemon.wait_for_line("WSGI0033");
}

// Covers: rule:daemon/nothing-inherited
#[test]
fn nothing_of_the_start_is_left_open() {
    let daemon = Daemon::start("descriptors", |_| ());
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/fds", "", b"", 0)).expect("it reads");
    let body = String::from_utf8(answer(&mut stream, b"").body).expect("text");
    assert!(!body.contains("memfd"), "launch configuration or status page: {body}");
}

#[test]
fn it_runs_only_for_the_server() {
    let folder = Folder::new("alone");
    let plain = std::fs::File::create(folder.0.join("file")).expect("own folder").as_raw_fd();
    let mut child = spawn(&[plain; 8]);
    assert_eq!(child.wait().expect("own child").code(), Some(64));
}

/// A FIFO whose opening for reading waits for the writer.
fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

/// Begins a request that lasts until the returned file is dropped.
fn long_request(daemon: &Daemon, stream: &mut UnixStream) -> std::fs::File {
    let path = fifo(&daemon.folder.0);
    let query = path.to_str().expect("plain");
    stream.write_all(&daemon.request("/wait", query, b"", 0)).expect("it reads");
    assert_eq!(next(stream).map(|(kind, _)| kind), Some(Kind::Accepted));
    std::fs::OpenOptions::new().write(true).open(path).expect("the application reads")
}

#[test]
fn the_status_page_names_the_request_that_is_served() {
    let daemon = Daemon::start("page", |_| ());
    let mut stream = daemon.greeted();
    let waits = long_request(&daemon, &mut stream);
    let serving: Vec<String> = (0..2)
        .filter_map(|thread| daemon.page.thread(0, thread))
        .filter(|thread| thread.request_start.load(Ordering::Acquire) != 0)
        .map(wsgi_protocol::page::ThreadSlot::description)
        .collect();
    assert_eq!(serving.len(), 1);
    assert!(serving[0].starts_with("GET /wait?"), "{serving:?}");
    drop(waits);
    assert_eq!(answer(&mut stream, b"").status, 200);
}

// Covers: rule:daemon/stop-finishes-requests, rule:daemon/sigterm, rule:daemon/shutdown-lines
#[test]
fn a_termination_lets_the_request_finish() {
    let mut daemon = Daemon::start("term", |_| ());
    let mut stream = daemon.greeted();
    let waits = long_request(&daemon, &mut stream);
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_line("Shutdown requested for daemon process 'web'.");
    drop(waits);
    let response = answer(&mut stream, b"");
    assert_eq!((response.status, response.last), (200, true));
    daemon.wait_for_line("Exiting daemon process 'web'.");
    assert_eq!(daemon.wait().code(), Some(0));
    let lines = daemon.lines.borrow();
    let at =
        |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:?}"));
    assert!(at("Shutdown requested for daemon process") < at("Stopping process 'web'."), "{lines:?}");
    assert!(at("Stopping process 'web'.") < at("Exiting daemon process 'web'."), "{lines:?}");
}

// Covers: rule:daemon/shutdown-timeout
#[test]
fn a_request_that_never_ends_is_aborted() {
    let mut daemon = Daemon::start("abort", |launch| launch.timeouts.shutdown = 100);
    let mut stream = daemon.greeted();
    let _waits = long_request(&daemon, &mut stream);
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_line("Shutdown timeout expired; aborting daemon process 'web'.");
    assert_eq!(daemon.wait().code(), Some(255));
    assert!(next(&mut stream).is_none(), "the child sees the end of the connection");
}

// Covers: rule:daemon/graceful-keeps-requests
#[test]
fn a_successor_makes_it_leave_without_losing_a_request() {
    let mut daemon = Daemon::start("leave", |_| ());
    let mut idle = daemon.greeted();
    idle.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut idle, b"").status, 200);
    let mut busy = daemon.greeted();
    let waits = long_request(&daemon, &mut busy);
    let control = daemon.control.take().expect("is open");
    std::fs::File::from(control.try_clone().expect("a descriptor")).write_all(&[LEAVE]).expect("it reads");
    daemon.wait_for_line("Successor is serving");
    // The kept connection takes no further request: it can be given to the successor, whatever its method.
    assert!(next(&mut idle).is_none());
    assert!(idle.write_all(&daemon.request("/", "", b"", 0)).is_err());
    drop(waits);
    let response = answer(&mut busy, b"");
    assert_eq!((response.status, response.last), (200, true));
    daemon.wait_for_line("Requests have completed");
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:daemon/parent-gone
#[test]
fn it_ends_with_the_server() {
    let mut daemon = Daemon::start("orphan", |_| ());
    drop(daemon.control.take());
    daemon.wait_for_line("Exiting daemon process 'web'.");
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:daemon/maximum-requests
#[test]
fn maximum_requests_end_the_process() {
    let mut daemon = Daemon::start("maximum", |launch| launch.maximum_requests = 2);
    let mut stream = daemon.greeted();
    for _ in 0..2 {
        stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
        assert_eq!(answer(&mut stream, b"").status, 200);
    }
    daemon.wait_for_line("Maximum requests reached; triggering immediate shutdown of daemon process 'web'.");
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:mapping/reload-daemon-restart
#[test]
fn a_changed_script_sends_the_request_to_another_process() {
    let mut daemon = Daemon::start("changed", |_| ());
    let mut stream = daemon.greeted();
    let with_time = |time: i64| {
        let mut bytes = daemon.request("/", "", b"", 0);
        // Flags first, then the script's time.
        let flags = HEADER..HEADER + 4;
        let old = u32::from_le_bytes(bytes[flags.clone()].try_into().expect("four bytes"));
        bytes[flags].copy_from_slice(&(old | request::RELOAD).to_le_bytes());
        bytes[HEADER + 4..HEADER + 12].copy_from_slice(&time.to_le_bytes());
        bytes
    };
    stream.write_all(&with_time(1_000_000)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200);
    stream.write_all(&with_time(2_000_000)).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.failure.map(|(code, _)| code), Some(FailureCode::Rejected));
    assert_eq!(response.kinds, [Kind::Failure], "it was not accepted");
    daemon.wait_for_line("Forcing restart of daemon process 'web' due to modification of script");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// What a process gets with `rolling=On`.
fn rolling(launch: &mut launch::Daemon) {
    launch.rolling = true;
    (launch.descriptors.bell, launch.descriptors.scripts) = (Some(8), Some(9));
}

// Covers: rule:daemon/rolling
#[test]
fn a_rolling_process_serves_what_it_has_and_rings() {
    let mut daemon = Daemon::start("rolling", rolling);
    let mut stream = daemon.greeted();
    let with_time = |time: i64| {
        let mut bytes = daemon.request("/", "", b"", 0);
        let flags = HEADER..HEADER + 4;
        let old = u32::from_le_bytes(bytes[flags.clone()].try_into().expect("four bytes"));
        bytes[flags].copy_from_slice(&(old | request::RELOAD).to_le_bytes());
        bytes[HEADER + 4..HEADER + 12].copy_from_slice(&time.to_le_bytes());
        bytes
    };
    // One ring says that it serves.
    let mut bell = std::fs::File::from(daemon.bell.try_clone().expect("a descriptor"));
    assert_eq!(bell.read(&mut [0; 8]).expect("it rings"), 1);
    for time in [1_000_000, 2_000_000, 2_000_000] {
        stream.write_all(&with_time(time)).expect("it reads");
        assert_eq!(answer(&mut stream, b"").status, 200);
    }
    assert_eq!(bell.read(&mut [0; 8]).expect("it rings"), 1, "once for one change");
    let wish = &daemon.page.process(0).expect("its place").wish;
    assert_eq!(Wish::from_number(wish.load(Ordering::Acquire)), Wish::Script);
    daemon.wait_for_line("Rolling restart of daemon process 'web' due to modification of script");

    let mut list = vec![0; scripts::SIZE];
    let file = std::fs::File::from(daemon.scripts.try_clone().expect("a descriptor"));
    file.read_exact_at(&mut list, 0).expect("as large as it was made");
    let listed: Vec<_> = scripts::entries(&list).map(|entry| entry.path.to_vec()).collect();
    assert_eq!(listed, [daemon.script.as_os_str().as_encoded_bytes()]);

    let control = daemon.control.take().expect("is open");
    std::fs::File::from(control.try_clone().expect("a descriptor")).write_all(&[LEAVE]).expect("it reads");
    drop(stream);
    daemon.wait_for_line("Requests have completed");
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:daemon/rolling-broken
#[test]
fn a_successor_that_cannot_load_ends_before_it_serves() {
    let folder = Folder::new("broken-script");
    let script = folder.0.join("broken.wsgi");
    std::fs::write(&script, "this is a mistake\n").expect("own folder");
    let entry = scripts::Entry { path: script.as_os_str().as_encoded_bytes(), group: b"" };
    let (lengths, bytes) = entry.encode(0).expect("room");
    let mut daemon = Daemon::start_after("broken", &[&lengths[..], &bytes].concat(), |launch| {
        rolling(launch);
        launch.descriptors.inherited_scripts = Some(10);
    });
    daemon.wait_for_line("WSGI0934: Rolling restart of daemon process 'web' was given up as script '");
    assert_eq!(daemon.wait().code(), Some(launch::GIVEN_UP));
    let state = daemon.page.process(0).expect("its place").state.load(Ordering::Acquire);
    assert_eq!(State::from_number(state), State::Starting, "it never served");
    assert_ne!(daemon.page.header().given_up.load(Ordering::Acquire), 0);
}

// Covers: code:WSGI0080
#[test]
fn what_is_no_request_is_logged_and_the_connection_closed() {
    let daemon = Daemon::start("malformed", |_| ());
    let mut stream = daemon.greeted();
    stream.write_all(&[0xff; 64]).expect("it listens");
    assert!(next(&mut stream).is_none(), "it answered");
    daemon.wait_for_line("WSGI0080: Unable to read request");
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200, "others are served");
}

// Covers: code:WSGI0079, rule:daemon/lang-locale
#[test]
fn a_locale_that_the_system_lacks_is_named() {
    let daemon = Daemon::start("locale", |launch| launch.locale = Some(b"xx_YY.nonsense".to_vec()));
    daemon.wait_for_line(
        "WSGI0079: Unsupported locale setting 'xx_YY.nonsense' specified for daemon process group 'web'",
    );
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200);
}

// Covers: code:WSGI0028, rule:daemon/python-failed
#[test]
fn a_process_without_python_stays_and_answers_500() {
    let daemon = Daemon::start("no-python", |launch| launch.python.home = Some(b"/nonexistent".to_vec()));
    daemon.wait_for_line("WSGI0028: ");
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.failure.map(|(_, text)| text), Some("500".to_owned()));
}

// Covers: code:WSGI0029
#[test]
fn a_process_whose_interpreter_cannot_be_set_up_stays_too() {
    let home = crate::faults::environment("daemon", "refuse('threading', ValueError('broken'))");
    let daemon = Daemon::start("no-interpreter", |launch| launch.python.home = Some(home.into_bytes()));
    daemon.wait_for_line("WSGI0029: ");
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").failure.map(|(_, text)| text), Some("500".to_owned()));
}
