//! `confgen start --debug` on a real terminal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::time::Duration;

use confgen::httpd::Handle;
use nix::pty::openpty;

use crate::place::{Place, get, module};

const APPLICATION: &str = r#"def application(environ, start_response):
    if environ["PATH_INFO"] == "/stop":
        breakpoint()
        number = 1
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("asked to fail")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"multithread {environ['wsgi.multithread']}".encode()]
"#;

/// `confgen start --debug` with a terminal of its own.
struct Session {
    place: Place,
    child: Child,
    terminal: File,
    shown: String,
    seen: usize,
    port: u16,
    httpd: Handle,
}

impl Session {
    fn start() -> Self {
        let place = Place::new();
        fs::write(place.site().join("app.wsgi"), APPLICATION).unwrap();
        let pty = openpty(None, None).unwrap();
        let module = module();
        let mut command = place.confgen(&["start", "app.wsgi", "--port", "0", "--debug", "--module", &module]);
        let slave = || pty.slave.try_clone().unwrap();
        command.stdin(slave()).stdout(slave()).stderr(slave());
        // SAFETY: both are system calls that a child may make between fork and exec.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command);
        drop(pty.slave);
        let terminal = File::from(pty.master);
        let httpd = Handle::open(std::process::id()).unwrap();
        let mut session = Self { place, child, terminal, shown: String::new(), seen: 0, port: 0, httpd };
        let serving = session.until(", pid ");
        let url = serving.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        session.port = url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        session.httpd = session.place.httpd();
        session
    }

    /// Reads on until a text has come that was not seen before; what came up to its end.
    fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(found) = self.shown[self.seen..].find(text) {
                let from = self.seen;
                self.seen += found + text.len();
                return self.shown[from..self.seen].to_owned();
            }
            let mut ready = libc::pollfd { fd: self.terminal.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives as long as the call.
            let count = unsafe { libc::poll(&mut ready, 1, 60_000) };
            assert!(count > 0, "{text} does not come: {}", self.shown);
            let read = self.terminal.read(&mut buffer).unwrap_or(0);
            assert!(read > 0, "{text} does not come: {}", self.shown);
            self.shown += &String::from_utf8_lossy(&buffer[..read]);
        }
    }

    fn type_in(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Ctrl-C as typed; then nothing may be left.
    fn interrupted(mut self, times: usize) {
        let root = self.place.server_root();
        for _ in 0..times {
            self.type_in("\u{3}");
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.shown);
        assert!(self.httpd.wait(Duration::ZERO), "httpd is still there");
        assert!(!root.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_prompt_at_a_time_and_q_ends_the_request() {
    let mut session = Session::start();
    let port = session.port;
    assert!(get(port, "/", "localhost").ends_with("multithread False"));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| get(port, "/stop", "localhost"));
        session.until("(Pdb) ");
        // While the first one is at its prompt, the second one waits.
        let second = scope.spawn(|| get(port, "/fail", "localhost"));
        session.type_in("p 40 + 2\n");
        let between = session.until("42");
        assert!(!between.contains("LookupError"), "{between}");
        session.until("(Pdb) ");
        session.type_in("q\n");
        assert!(first.join().unwrap().starts_with("HTTP/1.1 500"));
        let between = session.until("LookupError: asked to fail");
        assert!(!between.contains("bdb.py"), "no second prompt for the same request: {between}");
        session.until("(Pdb) ");
        session.type_in("q\n");
        assert!(second.join().unwrap().starts_with("HTTP/1.1 500"));
    });
    assert!(get(port, "/", "localhost").starts_with("HTTP/1.1 200"), "the next request is served");
    session.interrupted(1);
}

#[test]
fn an_interrupt_at_the_prompt_ends_the_server() {
    for times in [1, 2] {
        let mut session = Session::start();
        let port = session.port;
        let asking = std::thread::spawn(move || get(port, "/stop", "localhost"));
        session.until("(Pdb) ");
        session.interrupted(times);
        asking.join().unwrap();
    }
}
