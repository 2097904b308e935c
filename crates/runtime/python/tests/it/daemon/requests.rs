//! Requests and their responses.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use wsgi_protocol::frame::{FailureCode, Kind};
use wsgi_protocol::page::State;

use super::conversation::{answer, long_request};
use super::launched::{Daemon, PAGE};

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

// Covers: code:WSGI0946
#[test]
fn a_full_table_of_descriptors_is_said_once_and_waited_out() {
    let daemon = Daemon::start("descriptors", |_| ());
    let mut first = daemon.greeted();
    first.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut first, b"").status, 200);
    let pid = libc::pid_t::try_from(daemon.child.id()).expect("a pid");
    let limit = |soft: u64| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both structures live across the calls; the process is the test's own child.
        unsafe {
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit), 0);
            limit.rlim_cur = soft;
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()), 0);
        }
    };
    limit(3);
    let mut second = daemon.greeted();
    second.write_all(&daemon.request("/", "", b"", 0)).expect("it has room");
    daemon.wait_for_line("WSGI0946: Unable to accept connections in daemon process 'web' (Too many open files");
    // Kept connections need no new descriptor.
    first.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut first, b"").status, 200);
    limit(1024);
    assert_eq!(answer(&mut second, b"").status, 200);
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_line("Exiting daemon process 'web'.");
    let said = daemon.lines.borrow().iter().filter(|line| line.contains("WSGI0946")).count();
    assert_eq!(said, 1);
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

// Covers: rule:daemon/slow-client-thread
#[test]
fn clients_that_do_not_read_keep_no_thread() {
    let mut daemon = Daemon::start("slow", |_| ());
    // More of them than threads.
    let mut slow = [daemon.greeted(), daemon.greeted(), daemon.greeted()];
    for stream in &mut slow {
        stream.write_all(&daemon.request("/large", "", b"", 0)).expect("it reads");
    }
    let mut other = daemon.greeted();
    other.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut other, b"").body, b"GET got 0");
    // They are in hand all the same.
    daemon.signal(libc::SIGTERM);
    daemon.wait_for_line("Shutdown requested for daemon process 'web'.");
    for stream in &mut slow {
        let response = answer(stream, b"");
        assert!(response.body.len() == 3_000_000 && response.body.iter().all(|byte| *byte == b'x'));
        assert!(response.failure.is_none(), "{:?}", response.failure);
    }
    daemon.wait_for_line("Exiting daemon process 'web'.");
    assert_eq!(daemon.wait().code(), Some(0));
}

// Covers: rule:daemon/slow-client-thread
#[test]
fn a_connection_whose_response_waited_takes_further_requests() {
    let daemon = Daemon::start("slow-kept", |launch| launch.timeouts.socket = 20_000);
    let mut slow = daemon.greeted();
    let mut other = daemon.greeted();
    for _ in 0..2 {
        slow.write_all(&daemon.request("/large", "", b"", 0)).expect("it reads");
        for _ in 0..3 {
            other.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
            assert_eq!(answer(&mut other, b"").status, 200);
        }
        let response = answer(&mut slow, b"");
        assert!(response.body.len() == 3_000_000 && !response.last, "{:?}", response.failure);
    }
}

// Covers: rule:daemon/slow-client-thread
#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let daemon = Daemon::start("slow-never", |launch| launch.timeouts.socket = 300);
    let mut slow = daemon.greeted();
    slow.write_all(&daemon.request("/large", "", b"", 0)).expect("it reads");
    let mut entry = libc::pollfd { fd: slow.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry.
    unsafe { assert_eq!(libc::poll(&raw mut entry, 1, 30_000), 1, "it closes the connection") };
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
