//! Daemon mode with a real httpd and a process that stands in for the engine (`examples/probe_daemon.rs`): how daemons
//! are started, and what becomes of requests when they misbehave.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use crate::httpd::{Folder, module};
use crate::server::Server;

const GROUP: &str = "WSGIRestrictEmbedded On\nWSGISocketPrefix ROOT/s\n\
                     WSGIScriptAlias / ROOT/app.wsgi process-group=web application-group=%{GLOBAL}\n";

fn start(name: &str, options: &str) -> Server {
    // The group has to be there before it is named.
    Server::start(name, &["app.wsgi"], &format!("WSGIDaemonProcess web threads=2 {options}\n{GROUP}"))
}

fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

// Covers: rule:daemon/nothing-inherited, rule:daemon/fresh-program
#[test]
fn a_daemon_inherits_what_it_needs_and_nothing_else() {
    let server = start("inherits", "");
    let answer = server.get("/");
    assert_eq!(answer.status(), 200, "{}", server.log());
    let open: Vec<&str> = answer.body().lines().filter(|line| line.starts_with("fd")).collect();
    let expected = [
        "fd0=/dev/null",
        "fd1=pipe",
        "fd2=pipe",
        "fd3=/memfd:wsgi launch (deleted)",
        "fd4=socket",
        "fd5=socket",
        "fd6=/memfd:wsgi status (deleted)",
        "fd7=pipe",
    ];
    assert_eq!(open, expected);
    let all_seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    assert_eq!(answer.entry("seals"), Some(all_seals.to_string().as_str()));
    assert_eq!(answer.entry("page-shrinks"), Some("false"));
    assert_eq!(answer.entry("SigBlk"), Some("0000000000000000"));
    assert_eq!(answer.entry("own-process-group"), Some("true"));
}

// Covers: rule:daemon/user-group, rule:daemon/umask, rule:daemon/home, rule:daemon/setenv-option,
// rule:extensions/setenv, option:WSGIDaemonProcess/umask, option:WSGIDaemonProcess/home,
// option:WSGIDaemonProcess/setenv
#[test]
fn privileges_are_given_up_before_the_engine_runs() {
    let server = start("privileges", "umask=0027 home=ROOT setenv=A=1 setenv=B=x=y");
    let answer = server.get("/");
    if is_root() {
        for name in ["Uid", "Gid"] {
            assert_eq!(answer.entry(name), Some("65534 65534 65534 65534"));
        }
        assert_eq!(answer.entry("Groups"), Some("65534"));
        assert_eq!(
            (answer.entry("CapEff"), answer.entry("CapPrm")),
            (Some("0000000000000000"), Some("0000000000000000"))
        );
    }
    assert_eq!(answer.entry("Umask"), Some("0027"));
    assert_eq!(answer.entry("cwd"), Some("ROOT"));
    assert_eq!((answer.entry("env-A"), answer.entry("env-B")), (Some("1"), Some("x=y")));
    assert_eq!(answer.entry("argument0"), Some("wsgi-daemon-3.11"));
}

// Covers: rule:daemon/socket-private, rule:daemon/socket-prefix, directive:WSGISocketPrefix
#[test]
fn the_socket_is_for_the_serving_user_alone() {
    let server = start("socket", "");
    assert_eq!(server.get("/").status(), 200);
    let sockets: Vec<_> = std::fs::read_dir(server.root())
        .expect("own folder")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".sock"))
        .map(|entry| entry.metadata().expect("it is there"))
        .collect();
    assert_eq!(sockets.len(), 1);
    assert_eq!(sockets[0].permissions().mode() & 0o777, 0o600);
    if is_root() {
        assert_eq!(sockets[0].uid(), 65534);
    }
    let root = server.root().to_owned();
    drop(server);
    assert!(!root.exists(), "the folder goes with the server");
}

/// Starts a server whose daemons may not enter their folder.
pub(crate) fn start_in_closed_folder(name: &str) -> Server {
    let folder = Folder::new(name);
    std::fs::write(folder.path().join("app.wsgi"), "").expect("own folder");
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("own folder");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).expect("own folder");
    let options = "threads=2 home=ROOT/closed connect-timeout=1";
    let server = Server::launch(folder, &module(), &format!("WSGIDaemonProcess web {options}\n{GROUP}"));
    server.wait_for_log("WSGI0009: ", 1);
    server
}

// Covers: rule:daemon/privileges-or-nothing, rule:daemon/failing-start-throttled, code:WSGI0902, code:WSGI0009,
// code:WSGI0025
#[test]
fn a_daemon_that_cannot_be_set_up_is_not_run_at_all() {
    let server = start_in_closed_folder("setup");
    server.wait_for_log("WSGI0025: ", 1);
    // Between two tries nothing of the group runs, and requests are told so.
    server.wait_for_log("WSGI0902", 2);
    assert_eq!(server.get("/").status(), 503, "{}", server.log());
}

// Covers: rule:daemon/respawn
#[test]
fn the_engine_that_was_checked_is_the_one_that_is_executed() {
    let server = start("replaced", "");
    let first = server.get("/").entry("pid").map(str::to_owned);
    let engine = server.root().join("wsgi-daemon-3.11");
    std::fs::rename(&engine, server.root().join("moved")).expect("own folder");
    std::fs::write(&engine, "#!/bin/sh\ntouch ROOT/executed\n").expect("own folder");
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).expect("own folder");
    assert_eq!(server.get("/exit").status(), 502);
    let answer = server.get("/");
    assert_eq!(answer.status(), 200, "{}", server.log());
    assert_ne!(answer.entry("pid").map(str::to_owned), first, "it was started again");
}

// Covers: rule:daemon/exit-status-logged, rule:daemon/closed-before-head-502, code:WSGI0146
#[test]
fn the_log_tells_exit_statuses_from_signals_and_names_the_request() {
    let server = start("deaths", "");
    assert_eq!(server.get("/die").status(), 502);
    server.wait_for_log("of group 'web' died of signal 6 (SIGABRT) while serving GET /die", 1);
    assert_eq!(server.get("/exit").status(), 502);
    server.wait_for_log("of group 'web' ended with exit code 11 while serving GET /exit", 1);
    server.wait_for_log(
        "WSGI0146: Daemon process 'web' closed connection before sending complete response headers. (Truncated or \
         oversized response headers received from daemon process 'web') It was ",
        2,
    );
    // The first one is known; the second may have come and gone before anybody noted its pid.
    server.wait_for_log(", serving GET /die.", 1);
    server.wait_for_log("serving GET /exit.", 1);
}

const POST: &str = "Host: localhost:PORT\nContent-Length: 100000";

// Covers: code:WSGI0147, rule:logs/exception-old-phrase
#[test]
fn a_connection_that_is_reset_has_a_code_of_its_own() {
    let server = start("reset", "");
    let answer = server.ask(&format!("POST /reset HTTP/1.1\n{POST}"), &[b'x'; 100_000]);
    assert_eq!(answer.status(), 502, "{}", server.log());
    server.wait_for_log("WSGI0147: Error reading response headers from daemon process 'web' (", 1);
    server.wait_for_log("(Truncated or oversized response headers received from daemon process 'web')", 1);
}

// Covers: code:WSGI0146
#[test]
fn a_process_that_takes_no_body_and_answers_nothing_is_one_line() {
    let server = start("mute", "");
    let answer = server.ask(&format!("POST /mute HTTP/1.1\n{POST}"), &[b'x'; 100_000]);
    assert_eq!(answer.status(), 502, "{}", server.log());
    server.wait_for_log("WSGI0146: ", 1);
    assert!(!server.log().contains("WSGI0129"), "{}", server.log());
}

// Covers: rule:daemon/queue-timeout
#[test]
fn the_time_in_which_a_client_sends_its_form_is_no_time_in_the_queue() {
    let server = start("slow-form", "queue-timeout=1");
    let mut stream = server.connect();
    let head = "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it reads");
    // The client's slowness is what is tried.
    std::thread::sleep(Duration::from_millis(1300));
    stream.write_all(b"0123456789").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("POST 10"), "{answer}\n{}", server.log());
}

// Covers: rule:daemon/retry-safe
#[test]
fn a_request_whose_body_was_read_goes_to_no_other_process() {
    let server = start("begun", "processes=2");
    for (path, status) in [("/leave-with-body", 502), ("/reject-with-body", 500)] {
        let answer = server.ask(&format!("POST {path} HTTP/1.1\n{POST}"), &[b'x'; 100_000]);
        assert_eq!(answer.status(), status, "{path}: {}", server.log());
    }
    server.wait_for_log("WSGI0146: ", 1);
    server.wait_for_log("WSGI0148: Daemon process 'web' turned a request away whose body it had read.", 1);
}

// Covers: code:WSGI0118
#[test]
fn a_response_that_stalls_is_cut_at_the_socket_timeout() {
    let server = start("stall", "socket-timeout=1");
    let answer = server.get("/stall");
    assert!(answer.body().contains("the first half") && !answer.body().ends_with("0\r\n\r\n"), "{}", answer.body());
    server.wait_for_log("WSGI0118: Unable to proxy response from daemon to client. (", 1);
}

// Covers: rule:daemon/tickets
#[test]
fn a_request_that_was_turned_away_is_sent_again_under_another_ticket() {
    let server = start("turned-away", "");
    let answer = server.get("/reject-once");
    assert_eq!(answer.status(), 200, "{}", server.log());
    // The worker that turned it away may have noted the first one, by which the request would count as taken.
    let (first, second) = (answer.entry("first"), answer.entry("second"));
    assert!(first.is_some() && first != second, "{first:?} {second:?}");
}

// Covers: code:WSGI0124
#[test]
fn a_request_that_every_process_turns_away_is_given_up() {
    let server = start("rejected", "");
    assert_eq!(server.get("/reject").status(), 503, "{}", server.log());
    server.wait_for_log("Reconnecting after WSGI daemon process 'web' restart, attempt #1.", 1);
    server.wait_for_log("WSGI0124: Maximum number of WSGI daemon process restart connects reached", 1);
}

// Covers: rule:daemon/died-mid-body, code:WSGI0119
#[test]
fn a_response_that_breaks_off_does_not_look_complete() {
    let server = start("half", "");
    let answer = server.get("/half");
    assert_eq!(answer.status(), 200);
    assert!(answer.body().contains("the first half"), "{}", answer.body());
    assert!(!answer.body().ends_with("0\r\n\r\n"), "{}", answer.body());
    server.wait_for_log("WSGI0119", 1);
}

// Covers: rule:daemon/announced-length
#[test]
fn the_announced_length_decides_what_is_whole() {
    let server = start("lengths", "");
    let answer = server.get("/whole");
    assert_eq!((answer.status(), answer.body()), (200, "the whole body"), "the process ended after the last byte");
    assert!(!server.log().contains("WSGI0119"), "{}", server.log());
    let answer = server.get("/too-short");
    assert_eq!(answer.body(), "the first", "closed by Apache, so that the client notices");
    server.wait_for_log("WSGI0119: Unable to proxy response from daemon to client. (fewer bytes than", 1);
    let answer = server.get("/too-long");
    assert!(!answer.body().contains("stolen"), "{}", answer.body());
    server.wait_for_log("longer than its Content-Length", 1);
    let answer = server.get("/headless");
    assert!(answer.status() == 500 && !answer.body().contains("stolen"), "{}", answer.body());
    server.wait_for_log("WSGI0148", 1);
}

// Covers: rule:daemon/malformed-head, code:WSGI0148
#[test]
fn heads_of_daemons_are_not_trusted() {
    let server = start("heads", "");
    for path in ["/split-head", "/no-frame", "/informational"] {
        let answer = server.get(path);
        assert_eq!(answer.status(), 500, "{path}");
        assert!(!answer.head().contains("stolen"), "{}", answer.head());
    }
    server.wait_for_log("WSGI0148", 3);
}

#[test]
fn a_status_page_full_of_garbage_hurts_nobody() {
    let server = start("garbage", "");
    assert_eq!(server.get("/garbage").status(), 200);
    for _ in 0..3 {
        assert_eq!(server.get("/").status(), 200, "{}", server.log());
    }
    assert_eq!(server.get("/exit").status(), 502);
    assert_eq!(server.get("/").status(), 200, "{}", server.log());
}

// Covers: code:WSGI0933, code:WSGI0117
#[test]
fn a_socket_that_was_removed_comes_back_with_a_graceful_restart() {
    let server = start("removed", "");
    let before = server.get("/").entry("pid").map(str::to_owned);
    let run = std::fs::read_dir(server.root()).expect("own folder").map(|entry| entry.expect("readable").path());
    let sockets: Vec<_> = run.filter(|path| path.extension().is_some_and(|extension| extension == "sock")).collect();
    assert!(!sockets.is_empty(), "no sockets in {}", server.root().display());
    for socket in sockets {
        std::fs::remove_file(socket).expect("own folder");
    }
    server.signal(libc::SIGUSR1);
    server.wait_for_log("resuming normal operations", 2);
    assert!(server.log().contains("WSGI0933"), "{}", server.log());
    let answer = server.get("/");
    assert_eq!(answer.status(), 200, "{}", server.log());
    assert_ne!(answer.entry("pid").map(str::to_owned), before, "{}", server.log());
}

// Covers: rule:daemon/retry-safe
#[test]
fn a_kept_connection_to_a_process_that_has_gone_is_no_failure() {
    let server = start("kept", "");
    let pid = server.get("/").entry("pid").and_then(|pid| pid.parse().ok()).expect("a pid");
    // SAFETY: a daemon of this server.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let body = vec![b'x'; 100_000];
    let head = format!("POST /body HTTP/1.1\nHost: localhost:PORT\nContent-Length: {}", body.len());
    let answer = server.ask(&head, &body);
    assert_eq!((answer.status(), answer.body().contains("POST 100000")), (200, true), "{}", server.log());
}

// Covers: rule:daemon/slow-upload
#[test]
fn bodies_reach_the_daemon_whole() {
    let server = start("bodies", "");
    for length in [1, 16_384, 16_385, 300_000] {
        let head = format!("POST /body HTTP/1.1\nHost: localhost:PORT\nContent-Length: {length}");
        let answer = server.ask(&head, &vec![b'x'; length]);
        assert!(answer.body().contains(&format!("POST {length}")), "{length}: {}", answer.body());
    }
}

// Covers: rule:extensions/engine-unsafe
#[test]
fn an_engine_that_others_can_write_is_refused() {
    if !is_root() {
        return;
    }
    let server = start("writable", "");
    let engine = server.root().join("wsgi-daemon-3.11");
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o775)).expect("own folder");
    let output = server.check();
    assert!(output.contains("can be written by group or others"), "{output}");
}

#[test]
fn a_packet_without_content_does_not_silence_a_group() {
    let server = start("empty-packet", "");
    for number in 0..3 {
        assert_eq!(server.get(&format!("/empty-line?line-{number}")).status(), 200);
        server.wait_for_log(&format!("line-{number}"), 1);
    }
}

#[test]
fn beginnings_of_lines_outlive_the_writer_of_the_log() {
    // That word is a question on another channel.
    let server = start("partial", "");
    assert_eq!(server.get("/print?scoreboard").status(), 200);
    // Whoever has read that has read what was printed before.
    assert_eq!(server.get("/empty-line?read").status(), 200);
    server.wait_for_log("] read\n", 1);
    let line = "[wsgi:error] scoreboard\n";
    assert!(!server.log().contains(line), "{}", server.log());
    server.signal(libc::SIGUSR1);
    server.wait_for_log(line, 1);
}

// Covers: code:WSGI0902
#[test]
fn a_writer_of_the_log_that_dies_is_named_and_replaced() {
    let server = start("writer", "");
    for times in 1..=2 {
        // SAFETY: a process of this server.
        unsafe { libc::kill(server.child_named("wsgi:log"), libc::SIGKILL) };
        server.wait_for_log("which writes the log of daemon processes, died of signal 9 (SIGKILL)", times);
    }
    assert_eq!(server.get("/empty-line?heard").status(), 200);
    server.wait_for_log("] heard\n", 1);
}
