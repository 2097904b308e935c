//! A daemon process, started by the test as the server starts one.

use std::cell::RefCell;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use wsgi_protocol::abi::{Bytes, Entry};
use wsgi_protocol::frame::{self, HEADER, Kind, Secret};
use wsgi_protocol::launch::{self, Descriptors, Import, Python, Timeouts};
use wsgi_protocol::page::{Layout, Page};
use wsgi_protocol::request::{self, BODY_INCLUDED, Facts};
use wsgi_protocol::script_file::ScriptFile;
use wsgi_protocol::{keys, line, scripts};

const SECRET: Secret = [42; 32];
pub(super) const PAGE: u64 = 4711;
const PATIENCE: Duration = Duration::from_secs(30);

const APPLICATION: &str = r#"
import os, sys, time

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/fork", "/fork-and-return"):
        child = os.fork()
        if child == 0 and path == "/fork":
            print("said by the child", file=environ["wsgi.errors"])
            print("printed by the child", file=sys.stderr)
            os._exit(0)
        if child:
            os.waitpid(child, 0)
        start_response("200 OK", [])
        return [b"of the daemon" if child else b"of the child"]
    if path == "/fork-and-live":
        child = os.fork()
        if child == 0:
            open(environ["QUERY_STRING"]).read()
            print("said after the daemon's death", file=environ["wsgi.errors"])
            os._exit(0)
        os.waitpid(child, 0)
    if path == "/fork-and-read":
        child = os.fork()
        if child == 0:
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                print("the child:", error, file=sys.stderr)
            os._exit(0)
        os.waitpid(child, 0)
    if path == "/take-signal":
        import faulthandler, signal
        faulthandler.register(signal.SIGUSR1)
        body = b"taken"
    if path == "/fork-and-close":
        child = os.fork()
        if child == 0:
            os.closerange(3, 200)
            files = [os.open(environ["QUERY_STRING"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(40)]
            child = os.fork()
            if child == 0:
                for file in files:
                    os.write(file, b"x")
                os._exit(0)
            os._exit(os.waitpid(child, 0)[1])
        body = b"status %d" % os.waitpid(child, 0)[1]
        start_response("200 OK", [])
        return [body]
    if path == "/close":
        os.closerange(*map(int, environ["QUERY_STRING"].split("-")))
    if path == "/wait":
        open(environ["QUERY_STRING"]).read()
    if path == "/mark":
        open(environ["QUERY_STRING"], "w").close()
    if path == "/empty":
        start_response("204 No Content", [])
        return []
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
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
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
pub(super) struct Daemon {
    pub(super) child: Child,
    pub(super) folder: Folder,
    pub(super) script: PathBuf,
    pub(super) log: OwnedFd,
    pub(super) control: Option<OwnedFd>,
    pub(super) listener: Option<UnixListener>,
    pub(super) page: Page,
    /// With `rolling=On`: where it rings, and its list of scripts.
    pub(super) bell: OwnedFd,
    pub(super) scripts: OwnedFd,
    /// What it tells its predecessor.
    pub(super) predecessor: OwnedFd,
    pub(super) lines: RefCell<Vec<String>>,
}

impl Daemon {
    pub(super) fn start(name: &str, change: impl FnOnce(&mut launch::Daemon)) -> Self {
        Self::start_after(name, b"", change)
    }

    /// Starts one whose predecessor had this list of scripts.
    pub(super) fn start_after(name: &str, inherited: &[u8], change: impl FnOnce(&mut launch::Daemon)) -> Self {
        Self::start_with(name, APPLICATION, inherited, change)
    }

    /// Starts a loader that loads the application, after these lines.
    pub(super) fn start_loader(name: &str, lines: &str, change: impl FnOnce(&mut launch::Daemon)) -> Self {
        Self::start_with(name, &format!("{lines}\n{APPLICATION}"), b"", |daemon| {
            daemon.loader = true;
            (daemon.descriptors.listener, daemon.descriptors.bell) = (-1, Some(8));
            change(daemon);
        })
    }

    fn start_with(name: &str, text: &str, inherited: &[u8], change: impl FnOnce(&mut launch::Daemon)) -> Self {
        let folder = Folder::new(name);
        let script = folder.0.join("app.wsgi");
        std::fs::write(&script, text).expect("own folder");
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
        let (bell, their_bell) = std::io::pipe().expect("a pipe");
        let (predecessor, to_predecessor) = std::io::pipe().expect("a pipe");
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
            // SAFETY: cannot fail.
            peers: vec![unsafe { libc::geteuid() }],
            log_level: 7,
            dumpable: true,
            ..launch::Daemon::default()
        };
        change(&mut daemon);
        let (their_control, control) = if daemon.loader {
            if daemon.python.imports.is_empty() {
                let script = script.as_os_str().as_encoded_bytes().to_vec();
                daemon.python.imports.push(Import { script, application_group: Vec::new() });
            }
            packets()
        } else {
            let (reading, writing) = std::io::pipe().expect("a pipe");
            (OwnedFd::from(reading), OwnedFd::from(writing))
        };
        let bytes = launch::encode(&daemon).expect("small");
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
        let launch = memory(seals, bytes.len(), &bytes);
        let optional = |wanted: Option<i32>, source: &dyn AsRawFd| wanted.map_or(-1, |_| source.as_raw_fd());
        let sources: [RawFd; 9] = [
            launch.as_raw_fd(),
            listener.as_raw_fd(),
            their_log.as_raw_fd(),
            page_memory.as_raw_fd(),
            their_control.as_raw_fd(),
            optional(daemon.descriptors.bell, &their_bell),
            optional(daemon.descriptors.scripts, &scripts),
            optional(daemon.descriptors.inherited_scripts, &inherited),
            optional(daemon.descriptors.predecessor, &to_predecessor),
        ];
        let child = spawn(&sources);
        let lines = RefCell::default();
        Self {
            child,
            folder,
            script,
            log,
            control: Some(control),
            listener: Some(listener),
            page,
            bell: bell.into(),
            scripts,
            predecessor: predecessor.into(),
            lines,
        }
    }

    pub(super) fn listener(&self) -> &UnixListener {
        self.listener.as_ref().expect("is open")
    }

    pub(super) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.0.join("socket")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a plain socket");
        stream
    }

    pub(super) fn greeted(&self) -> UnixStream {
        let mut stream = self.connect();
        let mut out = Vec::new();
        frame::put(Kind::Hello, &SECRET, &mut out).expect("fits");
        stream.write_all(&out).expect("it listens");
        stream
    }

    pub(super) fn request(&self, path: &str, query: &str, body: &[u8], length: i64) -> Vec<u8> {
        self.request_with_ticket(path, query, body, length, (0, 0))
    }

    pub(super) fn request_with_ticket(
        &self,
        path: &str,
        query: &str,
        body: &[u8],
        length: i64,
        ticket: (u64, u64),
    ) -> Vec<u8> {
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

    /// Changes the script's file to this second of its last change; its version after that.
    pub(super) fn changed_at(&self, second: u64) -> u64 {
        let file = std::fs::File::options().append(true).open(&self.script).expect("own folder");
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second)).expect("own file");
        ScriptFile::from(&file.metadata().expect("own file")).version()
    }

    /// A request of a script with this version, which the process is to compare.
    pub(super) fn request_of_version(&self, version: u64) -> Vec<u8> {
        let mut bytes = self.request("/", "", b"", 0);
        // Flags first, then the script's version.
        let flags = HEADER..HEADER + 4;
        let old = u32::from_le_bytes(bytes[flags.clone()].try_into().expect("four bytes"));
        bytes[flags].copy_from_slice(&(old | request::RELOAD).to_le_bytes());
        bytes[HEADER + 4..HEADER + 12].copy_from_slice(&version.to_le_bytes());
        bytes
    }

    /// Waits for a line of its log.
    pub(super) fn wait_for_line(&self, wanted: &str) -> String {
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

    pub(super) fn signal(&self, signal: i32) {
        // SAFETY: the child was not waited for.
        unsafe { libc::kill(libc::pid_t::try_from(self.child.id()).expect("a pid"), signal) };
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
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
pub(super) fn spawn(sources: &[RawFd; 9]) -> Child {
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
