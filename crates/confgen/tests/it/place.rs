//! A folder with an application, and servers that `confgen start` runs in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use confgen::httpd::{Handle, HeldPort, Signal};

use crate::fixture::this_machine;

pub(crate) const APPLICATION: &str = r#"import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getcwd()} {os.getuid()} {environ['PATH_INFO']}".encode()]
"#;

/// A folder with an application, and a place for the records of running servers.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// A server in the foreground of a child process.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) errors: BufReader<ChildStderr>,
    /// What was said until it served.
    pub(crate) said: String,
    pub(crate) url: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("site")).unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        fs::set_permissions(folder.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(folder.path().join("site/app.wsgi"), APPLICATION).unwrap();
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    #[expect(clippy::disallowed_methods, reason = "the program under test is read from while it runs")]
    pub(crate) fn confgen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confgen"));
        command.args(arguments).current_dir(self.site()).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("XDG_RUNTIME_DIR", self.folder.path().join("run"));
        // Logs that are kept go with the folder.
        command.env("TMPDIR", self.folder.path().join("tmp"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.confgen(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let module = module();
        let mut all = vec!["start", "app.wsgi", "--port", "0", "--module", &module];
        all.extend(arguments);
        self.launch(&all)
    }

    /// Starts a spec that stands in the folder of the application.
    pub(crate) fn start_spec(&self, spec: &str, arguments: &[&str]) -> Started {
        fs::write(self.site().join("spec.yaml"), spec).unwrap();
        self.launch(&[&["start", "--spec", "spec.yaml"], arguments].concat())
    }

    pub(crate) fn launch(&self, arguments: &[&str]) -> Started {
        self.launch_in(&self.site(), arguments)
    }

    pub(crate) fn launch_in(&self, folder: &Path, arguments: &[&str]) -> Started {
        let mut command = self.confgen(arguments);
        let mut child = command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        // Warnings may come first; the line with the address comes when every application has answered.
        while !said.contains("serving ") {
            assert!(errors.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let serving = said.lines().last().unwrap();
        let url = serving
            .split_whitespace()
            .find(|word| word.starts_with("http://") || word.starts_with("https://"))
            .unwrap()
            .to_owned();
        Started { child, errors, said, url }
    }

    /// The server root of the only server that runs.
    pub(crate) fn server_root(&self) -> PathBuf {
        let (_, out, _) = self.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&out).unwrap();
        PathBuf::from(status["servers"][0]["server-root"].as_str().unwrap_or_else(|| panic!("{out}")))
    }

    /// The parent process of the only server that runs.
    pub(crate) fn httpd(&self) -> Handle {
        let (_, out, _) = self.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&out).unwrap();
        let pid = status["servers"][0]["pid"].as_u64().unwrap_or_else(|| panic!("{out}"));
        Handle::open(u32::try_from(pid).unwrap()).unwrap()
    }
}

/// The wsgi module of this machine.
pub(crate) fn module() -> String {
    this_machine().wsgi.module.expect("asserted there").display().to_string()
}

/// A port for a spec. It is bound and not listened on, so that only who asks for this very port gets it.
pub(crate) fn port() -> HeldPort {
    HeldPort::loopback().unwrap()
}

/// The whole answer to a request, or what came of it.
pub(crate) fn get(port: u16, path: &str, host: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A server that is killed resets the connection.
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Waits until a file is there; an application makes it to say how far it is.
pub(crate) fn wait_for(path: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !path.exists() {
        assert!(std::time::Instant::now() < end, "{} does not come", path.display());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

impl Started {
    pub(crate) fn get(&self, path: &str) -> String {
        self.get_from(path, "localhost")
    }

    pub(crate) fn get_from(&self, path: &str, host: &str) -> String {
        get(self.port(), path, host)
    }

    /// The port that is announced.
    pub(crate) fn port(&self) -> u16 {
        let address = self.url.split('/').nth(2).unwrap();
        address.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        Handle::open(self.child.id()).unwrap().signal(signal).unwrap();
    }

    pub(crate) fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Reads on until a text has come.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.said.contains(text) {
            assert!(self.errors.read_line(&mut self.said).unwrap() > 0, "{text} does not come: {}", self.said);
        }
    }

    /// Waits for the end, which has to have this status.
    #[track_caller]
    pub(crate) fn ends_with(self, expected: i32) {
        let said = self.said.clone();
        let (code, rest) = self.end();
        assert_eq!(code, Some(expected), "{said}{rest}");
    }

    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// A failed assertion must not leave a server behind: it is tied to the thread of `confgen start`.
impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
