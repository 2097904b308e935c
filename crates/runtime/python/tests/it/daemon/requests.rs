//! Requests and their responses.

use std::io::Write;
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
