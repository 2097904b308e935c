//! A running httpd with the module and the engine that stands in for Python (`examples/echo_engine.rs`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::httpd::{Folder, module};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that is held, never listened on, so that nobody else gets it while httpd binds it too.
struct Port {
    number: u16,
    _held: OwnedFd,
}

impl Port {
    fn held() -> Self {
        // SAFETY: plain calls on a descriptor that this function owns; the address is a zeroed, then filled structure.
        unsafe {
            let raw = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            assert!(raw >= 0, "a socket can be made");
            let held = OwnedFd::from_raw_fd(raw);
            let on: libc::c_int = 1;
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, (&raw const on).cast(), size);
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
            let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            assert_eq!(libc::bind(held.as_raw_fd(), (&raw const address).cast(), length), 0, "a port can be had");
            libc::getsockname(held.as_raw_fd(), (&raw mut address).cast(), &raw mut length);
            Self { number: u16::from_be(address.sin_port), _held: held }
        }
    }
}

/// An engine beside this test program.
pub(crate) fn example(name: &str) -> PathBuf {
    let module = module();
    let deps = module.parent().expect("it lies in a folder");
    let root = if deps.ends_with("deps") { deps.parent().expect("deps lies in a folder") } else { deps };
    root.join("examples").join(name)
}

/// A server of one test, stopped when it is dropped.
pub(crate) struct Server {
    folder: Folder,
    port: Port,
    child: Child,
}

impl Server {
    /// Starts httpd with these lines; `ROOT` in them is the server's folder. Files are made in it first.
    pub(crate) fn start(name: &str, files: &[&str], configuration: &str) -> Self {
        let folder = Folder::new(name);
        let root = folder.path().to_owned();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("own folder");
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("own folder");
            std::fs::write(path, "").expect("own folder");
        }
        Self::launch(folder, &module(), configuration)
    }

    /// Starts httpd with a module file, which may be another one than ours, in a folder that was made.
    pub(crate) fn launch(folder: Folder, module: &Path, configuration: &str) -> Self {
        Self::launch_as(folder, module, configuration, None)
    }

    /// The same as a user and group, whom the folder is given to.
    pub(crate) fn launch_as(folder: Folder, module: &Path, configuration: &str, user: Option<(u32, u32)>) -> Self {
        let root = folder.path().to_owned();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("own folder");
        let files = [
            (module.to_owned(), "mod_wsgi_rs.so"),
            (example("libecho_engine.so"), "wsgi_python-3.11.so"),
            (example("probe_daemon"), "wsgi-daemon-3.11"),
        ];
        for (from, to) in files {
            std::fs::copy(&from, root.join(to)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        let port = Port::held();
        std::fs::write(root.join("httpd.conf"), text(&root, port.number, configuration)).expect("own folder");
        if let Some((user, group)) = user {
            let all = std::fs::read_dir(&root).expect("own folder").flatten().map(|entry| entry.path());
            for path in all.chain([root.clone()]) {
                std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may do so");
            }
        }
        let child = launch(&root, user);
        let mut server = Self { folder, port, child };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            if TcpStream::connect(("127.0.0.1", self.port.number)).is_ok() {
                return;
            }
            let over = self.child.try_wait().expect("own child");
            assert!(over.is_none() && Instant::now() < end, "httpd does not listen:\n{}", self.log());
            // httpd says nothing when it begins to listen.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The error log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// The server's folder.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A connection of a client.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port.number)).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a plain socket");
        stream
    }

    /// Sends a request head (without the empty line) and a body on a connection of its own; `PORT` is the port.
    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let head = head.replace("PORT", &self.port.number.to_string()).replace('\n', "\r\n");
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).expect("the server reads");
        // A server that refuses a body may close before it has all of it.
        let _ = stream.write_all(body);
        let mut raw = Vec::new();
        let _ = stream.read_to_end(&mut raw);
        let raw = String::from_utf8_lossy(&raw).replace(&self.port.number.to_string(), "PORT");
        Answer { raw: raw.replace(&self.root().display().to_string(), "ROOT") }
    }

    /// A GET request.
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\nHost: localhost:PORT"), b"")
    }

    /// A GET request with header fields, one per line.
    pub(crate) fn get_with(&self, target: &str, fields: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\nHost: localhost:PORT\n{fields}"), b"")
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: the child was not waited for, so its pid is its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Waits for a process of the server's own with this short name.
    pub(crate) fn child_named(&self, name: &str) -> libc::pid_t {
        let parent = self.child.id();
        let end = Instant::now() + PATIENCE;
        loop {
            let all = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            let named = |pid: &&str| {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
            };
            if let Some(pid) = all.split_whitespace().find(named) {
                return pid.parse().expect("a pid");
            }
            assert!(Instant::now() < end, "{parent} has no child {name}:\n{}", self.log());
            // Nobody says when it has its name.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The server's child processes.
    pub(crate) fn children(&self) -> Vec<libc::pid_t> {
        let parent = self.child.id();
        let all = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        all.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    /// Lets the server's process have so many descriptors open; returns how many it might have before.
    pub(crate) fn limit_descriptors(&self, most: u64) -> u64 {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is writable, then readable; the child was not waited for, so its pid is its own.
        unsafe {
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit), 0);
            let before = std::mem::replace(&mut limit.rlim_cur, most);
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()), 0);
            before
        }
    }

    /// How many descriptors the server's process has open.
    pub(crate) fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("own child").count() as u64
    }

    /// Waits until the log holds a text so many times.
    pub(crate) fn wait_for_log(&self, wanted: &str, times: usize) {
        let end = Instant::now() + PATIENCE;
        while self.log().matches(wanted).count() < times {
            assert!(Instant::now() < end, "the log has no {times} × {wanted:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What httpd says when it checks the configuration, and its log.
    pub(crate) fn check(&self) -> String {
        self.command(&["-t"]) + &self.log()
    }

    /// What httpd says when it is called with this server's configuration and more arguments.
    #[expect(clippy::disallowed_methods, reason = "the crate's tests start servers here only")]
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let file = self.root().join("httpd.conf");
        let output = Command::new(env!("HTTPD")).arg("-f").arg(file).args(arguments).output();
        let output = output.expect("httpd is installed");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Stops the server and returns its log.
    pub(crate) fn stop(self) -> String {
        self.end(libc::SIGTERM)
    }

    /// Lets the server finish and returns its log: for tests that look at how children end. At an immediate stop the
    /// event MPM closes the sockets of its workers without asking whether they are just done with them, and a child
    /// that has answered a moment ago may crash.
    pub(crate) fn stop_gracefully(self) -> String {
        self.end(libc::SIGWINCH)
    }

    fn end(mut self, signal: i32) -> String {
        self.signal(signal);
        self.child.wait().expect("own child");
        self.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(libc::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the crate's tests start servers here only")]
fn launch(root: &Path, user: Option<(u32, u32)>) -> Child {
    let mut command = Command::new(env!("HTTPD"));
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
        .arg("-f")
        .arg(root.join("httpd.conf"))
        .arg("-DFOREGROUND")
        .stdin(Stdio::null())
        .spawn()
        .expect("httpd is installed")
}

fn text(root: &Path, port: u16, configuration: &str) -> String {
    // SAFETY: a plain call.
    let user = if unsafe { libc::geteuid() } == 0 { "User #65534\nGroup #65534" } else { "" };
    let modules = env!("HTTPD_MODULES");
    let load: String = ["mpm_event", "authz_core", "alias", "mime", "dir", "env", "setenvif", "filter", "deflate"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
        .collect();
    let fixed = format!(
        "ServerRoot ROOT\nServerName localhost\nPidFile ROOT/pid\nErrorLog ROOT/error.log\nLogLevel warn wsgi:info\nListen 127.0.0.1:{port}\n\
         {load}LoadModule wsgi_module ROOT/mod_wsgi_rs.so\n{user}\nDefaultRuntimeDir ROOT\nTypesConfig /dev/null\n\
         StartServers 1\nServerLimit 1\nThreadsPerChild 4\nMaxRequestWorkers 4\nDocumentRoot ROOT\n\
         <Directory />\nRequire all granted\nAllowOverride None\n</Directory>\n"
    );
    (fixed + configuration).replace("ROOT", &root.display().to_string())
}

/// What came back.
pub(crate) struct Answer {
    raw: String,
}

impl Answer {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.raw.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// The head.
    pub(crate) fn head(&self) -> &str {
        self.raw.split("\r\n\r\n").next().unwrap_or_default()
    }

    /// The bytes behind the head, chunks and all.
    pub(crate) fn body(&self) -> &str {
        self.raw.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The value of a `Key: value` line.
    pub(crate) fn entry_of(&self, key: &str) -> Option<&str> {
        self.body().lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }

    /// An environ entry; the last one counts.
    pub(crate) fn entry(&self, name: &str) -> Option<&str> {
        self.body().lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}
