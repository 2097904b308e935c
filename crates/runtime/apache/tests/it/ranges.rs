//! Byte ranges of responses in daemon mode, with the process that stands in for the engine.

use crate::server::{Answer, Server};

const WHOLE: usize = 5_000_000;

fn start(name: &str) -> Server {
    start_with(name, "")
}

fn start_with(name: &str, more: &str) -> Server {
    let lines = "WSGIDaemonProcess web threads=2\nWSGIRestrictEmbedded On\nWSGISocketPrefix ROOT/s\n\
                 WSGIScriptAlias / ROOT/app.wsgi process-group=web application-group=%{GLOBAL}\n";
    Server::start(name, &["app.wsgi"], &format!("{lines}{more}"))
}

fn ask(server: &Server, path: &str, fields: &str) -> Answer {
    server.ask(&format!("GET {path} HTTP/1.1\nHost: localhost\n{fields}"), b"")
}

// Covers: rule:daemon/byte-ranges
#[test]
fn httpd_serves_ranges_of_what_a_daemon_sends() {
    let server = start("ranges");
    for (range, field, body) in [
        ("bytes=0-9", "bytes 0-9/5000000", "aaaaaaaaa\n"),
        ("bytes=2000005-2000024", "bytes 2000005-2000024/5000000", "aaaa\naaacaaaab\naaaca"),
        ("bytes=-10", "bytes 4999990-4999999/5000000", "aaaejjjjj\n"),
    ] {
        let answer = ask(&server, "/lines", &format!("Range: {range}"));
        assert_eq!((answer.status(), answer.body()), (206, body), "{range}: {}", server.log());
        assert!(answer.head().contains(&format!("Content-Range: {field}")), "{}", answer.head());
    }
    let answer = ask(&server, "/lines", "Range: bytes=1000000-");
    assert_eq!((answer.status(), answer.body().len()), (206, 4_000_000));
    assert!(answer.body().starts_with("aaabaaaaa\n") && answer.body().ends_with("aaaejjjjj\n"));
    let number = |line: &str| line.bytes().fold(0, |number, letter| number * 10 + usize::from(letter - b'a'));
    assert!(answer.body().lines().map(number).eq(100_000..500_000), "every byte stands in its place");
    let answer = ask(&server, "/lines", "Range: bytes=9000000-");
    assert_eq!(answer.status(), 416, "{}", answer.head());
    assert!(!server.log().contains("WSGI0"), "{}", server.log());
}

// Covers: rule:daemon/byte-ranges
#[test]
fn several_ranges_are_served_when_they_follow_each_other() {
    let server = start("multipart");
    let answer = ask(&server, "/lines", "Range: bytes=10-18,30-38,-10");
    assert_eq!(answer.status(), 206, "{}", answer.head());
    assert!(answer.head().contains("multipart/byteranges"), "{}", answer.head());
    for line in ["aaaaaaaab", "aaaaaaaad", "aaaejjjjj"] {
        assert!(answer.body().contains(line), "{}", answer.body());
    }
    assert!(!answer.body().contains("aaaaaaaac"), "{}", answer.body());
    let answer = ask(&server, "/lines", "Range: bytes=30-38,10-18");
    assert_eq!((answer.status(), answer.body().len()), (200, WHOLE), "whole: reading goes forward only");
}

// Covers: rule:daemon/byte-ranges
#[test]
fn conditions_and_other_methods_decide_whether_there_are_ranges() {
    let server = start("range-conditions");
    let answer = ask(&server, "/lines", "Range: bytes=0-9\nIf-Range: \"one\"");
    assert_eq!((answer.status(), answer.body()), (206, "aaaaaaaaa\n"));
    let answer = ask(&server, "/lines", "Range: bytes=0-9\nIf-Range: \"two\"");
    assert_eq!((answer.status(), answer.body().len()), (200, WHOLE));
    assert!(answer.body().ends_with("aaaejjjjj\n"));
    let answer = server.ask("HEAD /lines HTTP/1.1\nHost: localhost\nRange: bytes=0-9", b"");
    assert_eq!((answer.status(), answer.body()), (200, ""));
    // The second request comes over the same connection, whose daemon may have to be given up.
    let answer = server.ask(
        "GET /lines HTTP/1.1\nHost: localhost\nRange: bytes=0-9\n\nGET /lines HTTP/1.1\nHost: localhost\nRange: bytes=10-19",
        b"",
    );
    assert!(answer.body().starts_with("aaaaaaaaa\nHTTP/1.1 206"), "{}", answer.body());
    assert!(answer.body().ends_with("\r\n\r\naaaaaaaab\n"), "{}", answer.body());
}

// Covers: rule:daemon/byte-ranges
#[test]
fn a_range_that_breaks_off_does_not_look_complete() {
    let deflate =
        format!("LoadModule deflate_module {}/mod_deflate.so\nSetOutputFilter DEFLATE\n", env!("HTTPD_MODULES"));
    let server = start_with("range-cut", &deflate);
    let answer = ask(&server, "/lines-cut", "Range: bytes=10-19");
    assert_eq!((answer.status(), answer.body()), (206, "aaaaaaaab\n"), "all of it came before the break");
    assert!(!server.log().contains("WSGI0119"), "{}", server.log());
    // The core's own filter gives the client up when a read fails; mod_deflate does not. With either, the client must not
    // take the next response for the rest of this one.
    for (breaks, coding) in [(1, "identity"), (2, "gzip")] {
        let head = format!(
            "GET /lines-cut HTTP/1.1\nHost: localhost\nAccept-Encoding: {coding}\nRange: bytes=10-4000000\n\n\
             GET /lines HTTP/1.1\nHost: localhost\nRange: bytes=0-9"
        );
        let answer = server.ask(&head, b"");
        assert!(!answer.body().contains("HTTP/1.1 ") && !answer.head().contains("bytes 0-9/"), "{}", answer.head());
        server.wait_for_log("WSGI0119", breaks);
    }
    assert_eq!(ask(&server, "/lines", "Range: bytes=0-9").body(), "aaaaaaaaa\n");
}
