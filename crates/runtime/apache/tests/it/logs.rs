//! Logs that accept nothing, and what has to be in a log whatever happens.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::httpd::{Folder, module};
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// A FIFO that stands in for a piped log: the test is its reader, and stops when it likes.
struct Fifo(File);

impl Fifo {
    fn make(path: &Path) -> Self {
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o666) }, 0, "a FIFO can be made");
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
        Self(file.expect("own FIFO"))
    }

    /// Nothing more goes into it.
    fn fill(&mut self) {
        while self.0.write(&[b'\n'; 4096]).is_ok() {}
        while self.0.write(b"\n").is_ok() {}
    }

    /// Reads until the text holds something, and returns all of it.
    fn read_until(&mut self, wanted: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut text = Vec::new();
        let mut buffer = [0u8; 65536];
        loop {
            match self.0.read(&mut buffer) {
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            let read = String::from_utf8_lossy(&text);
            if read.contains(wanted) {
                return read.into_owned();
            }
            let shown = read.chars().rev().take(2000).collect::<String>();
            assert!(Instant::now() < end, "no {wanted:?}:\n{}", shown.chars().rev().collect::<String>());
            let mut entry = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry.
            unsafe { libc::poll(&raw mut entry, 1, 100) };
        }
    }
}

const GROUP: &str = "WSGIRestrictEmbedded On\nWSGISocketPrefix ROOT/s\n";

fn alias(group: &str) -> String {
    format!("WSGIScriptAlias / ROOT/app.wsgi process-group={group} application-group=%{{GLOBAL}}\n")
}

fn with_fifo(name: &str, configuration: &str) -> (Server, Fifo) {
    let folder = Folder::new(name);
    std::fs::write(folder.path().join("app.wsgi"), "").expect("own folder");
    let fifo = Fifo::make(&folder.path().join("stalled"));
    (Server::launch(folder, &module(), configuration), fifo)
}

// Covers: rule:logs/stalled-log, code:WSGI0959
#[test]
fn a_stalled_log_delays_no_daemon_of_another_one() {
    let configuration = format!(
        "{GROUP}WSGIDaemonProcess quiet threads=2\nServerName quiet\n\
         <VirtualHost *>\nServerName quiet\n{}</VirtualHost>\n\
         <VirtualHost *>\nServerName loud\nErrorLog ROOT/stalled\nWSGIDaemonProcess loud threads=2\n{}</VirtualHost>\n",
        alias("quiet"),
        alias("loud")
    );
    let (server, mut fifo) = with_fifo("stalled", &configuration);
    let lines = 3000;
    let answer = server.ask(&format!("GET /flood?{lines} HTTP/1.1\nHost: loud"), b"");
    assert_eq!(answer.status(), 200, "who writes to it waits for a while only\n{}", server.log());
    assert_eq!(server.ask("GET /empty-line?heard HTTP/1.1\nHost: quiet", b"").status(), 200);
    server.wait_for_log("] heard\n", 1);
    // What was written and what was counted is all.
    let mut text = fifo.read_until("] [wsgi:error] WSGI0959: ");
    let (written, lost) = loop {
        if !text.ends_with('\n') {
            text += &fifo.read_until("\n");
        }
        // A log that takes some lines and stalls again has more than one count.
        let counts = text.split("WSGI0959: ").skip(1).map(|rest| rest.split(' ').next().unwrap_or_default());
        let lost: usize = counts.map(|count| count.parse::<usize>().expect("a count")).sum();
        let written = text.matches(" xxxxx").count();
        if written + lost >= lines {
            break (written, lost);
        }
        text += &fifo.read_until("\n");
    };
    assert_eq!(written + lost, lines, "{written} + {lost}");
    assert!(written > 900, "a megabyte waits: {written}");
}

// Covers: rule:logs/stalled-log
#[test]
fn a_daemon_is_replaced_although_the_main_log_is_stalled() {
    // At this level neither httpd nor a child has anything to say; of most other signals httpd itself writes a notice.
    let configuration = format!(
        "LogLevel crit wsgi:error\nErrorLog ROOT/stalled\n{GROUP}WSGIDaemonProcess web threads=2\n{}",
        alias("web")
    );
    let (server, mut fifo) = with_fifo("stalled-main", &configuration);
    let pid = server.get("/").entry("pid").expect("it is told").parse().expect("a number");
    fifo.fill();
    // SAFETY: a process of this server.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let answer = server.get("/");
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.entry("pid"), Some(pid.to_string().as_str()));
    // What the server had to say about it has waited for the log.
    fifo.read_until(&format!("WSGI0902: pid {pid} of group 'web' died of signal 9 (SIGKILL)"));
}

// Covers: rule:logs/output-has-no-level
#[test]
fn what_a_process_prints_is_logged_whatever_the_level() {
    let configuration = format!("LogLevel crit wsgi:crit\n{GROUP}WSGIDaemonProcess web threads=2\n{}", alias("web"));
    let server = Server::start("printed", &["app.wsgi"], &configuration);
    assert_eq!(server.get("/print?Fatal").status(), 200);
    let pid = server.get("/").entry("pid").expect("it is told").parse().expect("a number");
    // SAFETY: a process of this server.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(server.get("/print?%0A").status(), 200);
    server.signal(libc::SIGUSR1);
    server.wait_for_log("[wsgi:error] Fatal", 1);
    assert!(!server.log().contains("WSGI0902"), "a record has a level:\n{}", server.log());
}

// Covers: code:WSGI0004
#[test]
fn a_group_that_nobody_can_be_in_is_named() {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let configuration = format!("Group #-1\n{GROUP}WSGIDaemonProcess web threads=2\n{}", alias("web"));
    let server = Server::start("no-group", &["app.wsgi"], &configuration);
    server.wait_for_log("WSGI0004: Unable to set group id to gid=4294967295 for the process that writes the log", 2);
    server.wait_for_log("another one takes its place in 2 s.", 1);
}

// Covers: code:WSGI0902
#[test]
fn a_daemon_that_crashes_while_the_server_stops_is_named() {
    let configuration = format!("{GROUP}WSGIDaemonProcess web threads=2\n{}", alias("web"));
    let server = Server::start("crash-at-stop", &["app.wsgi"], &configuration);
    let answer = server.get("/crash-at-stop");
    let pid = answer.entry("pid").expect("it is told");
    let log = server.stop();
    let said = format!("WSGI0902: pid {pid} of group 'web' died of signal 6 (SIGABRT)");
    assert!(log.lines().any(|text| text.contains("[wsgi:error] [pid ") && text.contains(&said)), "{said}\n{log}");
}
