//! What a process refuses, and what it does without.

use std::io::Write;
use std::os::fd::AsRawFd;

use wsgi_protocol::frame::{self, Kind};

use super::conversation::{answer, next};
use super::launched::{Daemon, Folder, spawn};

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

// Covers: rule:daemon/peer-checked, code:WSGI0966
#[test]
fn another_user_is_not_listened_to() {
    let daemon = Daemon::start("peers", |launch| launch.peers = vec![54_321]);
    // The greeting alone is right.
    let mut stream = daemon.greeted();
    assert!(next(&mut stream).is_none(), "it answered");
    daemon.wait_for_line("WSGI0966: Connection to daemon process 'web' was closed: a process of uid ");
}

// Covers: rule:daemon/silent-connections, code:WSGI0967
#[test]
fn connections_that_say_nothing_leave_room_for_others() {
    let daemon = Daemon::start("silent", |_| ());
    let silent: Vec<_> = (0..300).map(|_| daemon.connect()).collect();
    daemon.wait_for_line("WSGI0967: Connection to daemon process 'web' was closed: more than 128 of them were silent.");
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/fds", "", b"", 0)).expect("it reads");
    let body = String::from_utf8(answer(&mut stream, b"").body).expect("text");
    let sockets = body.matches("socket:").count();
    assert!((1..150).contains(&sockets), "{sockets} sockets: {body}");
    // The others go too, with nobody in their place.
    for mut stream in silent {
        assert!(next(&mut stream).is_none(), "it answered");
    }
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("a connection with the secret stays");
    assert_eq!(answer(&mut stream, b"").status, 200);
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
    let mut child = spawn(&[plain; 9]);
    assert_eq!(child.wait().expect("own child").code(), Some(64));
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
