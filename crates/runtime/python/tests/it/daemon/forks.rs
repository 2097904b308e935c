//! Processes that the application forks.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use wsgi_protocol::launch::Import;
use wsgi_protocol::loader::Report;

use super::conversation::{answer, long_request_to};
use super::launched::{Daemon, Folder};
use super::loader::{forked, order, report};

// Covers: rule:extensions/forked-children
#[test]
fn a_process_that_the_application_forks_does_not_write_into_its_request() {
    let daemon = Daemon::start("fork", |_| ());
    let mut stream = daemon.greeted();
    // The second one does not end its child, which returns from the application as well.
    for path in ["/fork", "/fork-and-return"] {
        stream.write_all(&daemon.request(path, "", b"", 0)).expect("it reads");
        let response = answer(&mut stream, b"");
        assert_eq!((response.status, &response.body[..], &*response.log), (200, &b"of the daemon"[..], ""), "{path}");
    }
    daemon.wait_for_line("said by the child");
    daemon.wait_for_line("printed by the child");
}

// Covers: rule:extensions/forked-children
#[test]
fn a_process_that_the_application_forks_does_not_read_from_its_request() {
    let daemon = Daemon::start("fork-reads", |_| ());
    let mut stream = daemon.greeted();
    let upload = vec![b'x'; 300_000];
    stream.write_all(&daemon.request("/fork-and-read", "", b"", 300_000)).expect("it reads");
    let response = answer(&mut stream, &upload);
    assert_eq!(response.body, b"POST got 300000");
    daemon.wait_for_line("the child: mod_wsgi request data read error: Connection was terminated");
}

/// Whether the other end is closed and sends nothing more; waits for it.
fn ends(stream: &mut UnixStream) -> bool {
    stream.read(&mut [0]).expect("the end of the connection, at once") == 0
}

// Covers: rule:extensions/forked-children-outlive
#[test]
fn a_process_that_the_application_forks_keeps_nothing_open_that_its_daemon_had() {
    for by_loader in [false, true] {
        let mut daemon = if by_loader {
            Daemon::start_loader("outlived-newborn", "", |_| ())
        } else {
            Daemon::start("outlived", |_| ())
        };
        let born = by_loader.then(|| (order(&daemon, 1), forked(&daemon, 1)));
        let mut idle = daemon.greeted();
        idle.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
        assert_eq!(answer(&mut idle, b"").status, 200);
        let mut busy = daemon.greeted();
        let lives = long_request_to(&daemon, "/fork-and-live", &mut busy);
        if let Some((_, pid)) = &born {
            // SAFETY: the test's own grandchild, whose parent has not waited for it.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
            assert_eq!(report(&daemon), Report::Ended { start: 1, status: libc::SIGKILL });
        } else {
            daemon.signal(libc::SIGKILL);
            daemon.wait();
        }
        assert!(ends(&mut idle) && ends(&mut busy));
        let control = born.map_or_else(|| daemon.control.take().expect("is open"), |(control, _)| control);
        let error = std::fs::File::from(control).write(b"?").expect_err("nobody can read it");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        if !by_loader {
            daemon.listener = None;
            let refused = UnixStream::connect(daemon.folder.0.join("socket")).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        drop(lives);
        daemon.wait_for_line("said after the daemon's death");
    }
}

#[test]
fn a_forked_process_may_use_the_numbers_that_it_has_closed() {
    let daemon = Daemon::start("fork-closes", |_| ());
    let mut stream = daemon.greeted();
    let file = daemon.folder.0.join("written");
    let query = file.to_str().expect("plain");
    stream.write_all(&daemon.request("/fork-and-close", query, b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").body, b"status 0");
    assert_eq!(std::fs::read_to_string(file).expect("own folder").len(), 40);
    // The daemon's own are untouched.
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200);
}

/// Waits for a process that does not end itself.
const FORKS: &str = "import os\nchild = os.fork()\nif child:\n    print('status', os.waitpid(child, 0)[1])\n";

// Covers: rule:extensions/forked-children
#[test]
fn a_process_that_is_forked_while_the_application_is_loaded_ends_when_it_returns() {
    let folder = Folder::new("fork-loads-script");
    let script = folder.0.join("forks.wsgi");
    std::fs::write(&script, FORKS).expect("own folder");
    let script = script.as_os_str().as_encoded_bytes().to_vec();
    let daemon = Daemon::start("fork-loads", |launch| {
        launch.python.imports = vec![Import { script, application_group: Vec::new() }];
    });
    daemon.wait_for_line("status 0");

    let daemon = Daemon::start_loader("fork-loads-loader", FORKS, |_| ());
    daemon.wait_for_line("status 0");
    let _control = order(&daemon, 1);
    forked(&daemon, 1);
}
