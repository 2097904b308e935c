//! How a process ends.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use wsgi_protocol::frame::{FailureCode, Kind};
use wsgi_protocol::launch::{DESCRIPTORS_LOST, LEAVE};

use super::conversation::{answer, long_request, next};
use super::launched::Daemon;

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

// Covers: rule:daemon/retry-safe
#[test]
fn what_a_child_has_taken_back_is_not_served_by_a_process_that_leaves() {
    let mut daemon = Daemon::start("given-up", |_| ());
    let mut kept = daemon.greeted();
    kept.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut kept, b"").status, 200);
    let mut busy = [daemon.greeted(), daemon.greeted()];
    let waits: Vec<_> = busy.iter_mut().map(|stream| long_request(&daemon, stream)).collect();
    // No thread is free: it lies in its socket when the child gives it up.
    let mark = daemon.folder.0.join("served");
    kept.write_all(&daemon.request("/mark", mark.to_str().expect("plain"), b"", 0)).expect("it has room");
    drop(kept);
    let control = daemon.control.take().expect("is open");
    std::fs::File::from(control.try_clone().expect("a descriptor")).write_all(&[LEAVE]).expect("it reads");
    daemon.wait_for_line("Successor is serving");
    drop(waits);
    for stream in &mut busy {
        assert_eq!(answer(stream, b"").status, 200);
    }
    daemon.wait_for_line("Requests have completed");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!mark.exists(), "it may have been served elsewhere meanwhile");
}

// Covers: rule:daemon/inactivity-timeout
#[test]
fn answers_without_a_body_are_activity_too() {
    let mut daemon = Daemon::start("inactive", |launch| launch.timeouts.inactivity = 1000);
    let mut stream = daemon.greeted();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        stream.write_all(&daemon.request("/empty", "", b"", 0)).expect("it has not ended");
        assert_eq!(answer(&mut stream, b"").status, 204);
    }
    let last = Instant::now();
    daemon.wait_for_line("idle inactivity timer expired");
    assert!(last.elapsed() > Duration::from_millis(800), "it counts from the last answer: {:?}", last.elapsed());
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:daemon/graceful-keeps-requests
#[test]
fn a_request_that_waits_while_it_leaves_is_served_or_goes_elsewhere() {
    let mut daemon = Daemon::start("waiting", |launch| launch.threads = 1);
    let mut kept: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = daemon.greeted();
            stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
            assert_eq!(answer(&mut stream, b"").status, 200);
            stream
        })
        .collect();
    let mut busy = daemon.greeted();
    let waits = long_request(&daemon, &mut busy);
    // No thread is there for these yet: one has its body with it, the other's is to be asked for.
    kept[0].write_all(&daemon.request("/", "", &[b'x'; 9000], 9000)).expect("it has room");
    kept[1].write_all(&daemon.request("/", "", b"", 100_000)).expect("it has room");
    let control = daemon.control.take().expect("is open");
    std::fs::File::from(control.try_clone().expect("a descriptor")).write_all(&[LEAVE]).expect("it reads");
    daemon.wait_for_line("Successor is serving");
    drop(waits);
    assert_eq!(answer(&mut busy, b"").status, 200);
    let response = answer(&mut kept[0], b"");
    assert_eq!((response.status, &response.body[..]), (200, &b"POST got 9000"[..]));
    let response = answer(&mut kept[1], b"");
    assert_eq!(response.failure.map(|(code, _)| code), Some(FailureCode::Rejected));
    assert_eq!(response.kinds, [Kind::Failure], "no application saw it");
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
    stream.write_all(&daemon.request_of_version(daemon.changed_at(1))).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200);
    stream.write_all(&daemon.request_of_version(daemon.changed_at(2))).expect("it reads");
    let response = answer(&mut stream, b"");
    assert_eq!(response.failure.map(|(code, _)| code), Some(FailureCode::Rejected));
    assert_eq!(response.kinds, [Kind::Failure], "it was not accepted");
    daemon.wait_for_line("Forcing restart of daemon process 'web' due to modification of script");
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:mapping/reload-daemon-restart
#[test]
fn a_request_from_before_a_change_ends_no_process_that_has_the_new_script() {
    let mut daemon = Daemon::start("older", |_| ());
    let (older, newer) = (daemon.changed_at(1), daemon.changed_at(2));
    let mut stream = daemon.greeted();
    // The second one was looked up before the change and has come from a process that is no more.
    for version in [newer, older, newer] {
        stream.write_all(&daemon.request_of_version(version)).expect("it reads");
        assert_eq!(answer(&mut stream, b"").status, 200, "{version}");
    }
    // A file of an earlier time is a change as well.
    stream.write_all(&daemon.request_of_version(daemon.changed_at(1))).expect("it reads");
    assert_eq!(answer(&mut stream, b"").failure.map(|(code, _)| code), Some(FailureCode::Rejected));
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: code:WSGI0956, rule:daemon/signals-taken-over
#[test]
fn a_signal_that_c_code_takes_over_is_logged_once() {
    let mut daemon = Daemon::start("taken-over", |launch| launch.python.restrict.signal = true);
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/take-signal", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200);
    // Any signal of its own has the monitor look.
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_line("WSGI0956: SIGUSR1 is handled by something else in daemon process 'web'");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:daemon/descriptors-lost
#[test]
fn a_process_whose_descriptors_the_application_closes_exits() {
    // Everything, the listener, the log, the control pipe. Without a deadlock timer the process looks all the same.
    for (range, deadlock) in [("3-200", 300_000), ("4-5", 300_000), ("5-6", 0), ("7-8", 0)] {
        let mut daemon = Daemon::start(&format!("close-{range}"), |launch| launch.timeouts.deadlock = deadlock);
        let mut stream = daemon.greeted();
        stream.write_all(&daemon.request("/close", range, b"", 0)).expect("it reads");
        if range == "3-200" {
            // Until the end of the connection, which tells the child that the request is lost.
            while next(&mut stream).is_some() {}
        } else {
            assert_eq!(answer(&mut stream, b"").status, 200, "{range}");
        }
        if range == "7-8" {
            // What has waited at the pipe still does.
            daemon.signal(libc::SIGHUP);
        }
        let status = daemon.wait();
        // In a debug build Rust's library ends a process that closes a descriptor of its own twice, which a worker may do first.
        let aborted = cfg!(debug_assertions) && range == "3-200" && status.signal() == Some(libc::SIGABRT);
        assert!(aborted || status.code() == Some(DESCRIPTORS_LOST), "{range}: {status}");
    }
}
