//! One process, or one version of the module, after the other, with a real httpd and a process that stands in for the
//! engine and does not leave when it is asked to.

use std::time::{Duration, Instant};

use crate::server::Server;

const GROUP: &str = "WSGIRestrictEmbedded On\nWSGISocketPrefix ROOT/s\n\
                     WSGIScriptAlias / ROOT/app.wsgi process-group=web application-group=%{GLOBAL}\n";

fn start(name: &str, options: &str) -> Server {
    Server::start(name, &["app.wsgi"], &format!("WSGIDaemonProcess web threads=2 {options}\n{GROUP}"))
}

fn pid(server: &Server) -> libc::pid_t {
    let answer = server.get("/");
    assert_eq!(answer.status(), 200, "{}", server.log());
    answer.entry("pid").and_then(|pid| pid.parse().ok()).expect("a pid")
}

fn runs(pid: libc::pid_t) -> bool {
    // SAFETY: no pointers; nothing is sent.
    unsafe { libc::kill(pid, 0) == 0 }
}

// Covers: code:WSGI0971, rule:daemon/handover-late, rule:daemon/handover-sequential
#[test]
fn in_turn_a_process_that_does_not_end_is_killed_so_that_its_successor_starts() {
    let server = start("late", "handover=sequential graceful-timeout=0 shutdown-timeout=1");
    let before = pid(&server);
    server.signal(libc::SIGUSR1);
    server.wait_for_log("resuming normal operations", 2);
    assert_eq!(pid(&server), before, "nobody else is started while it runs");
    // The server looks when a child of it ends, at the latest after ten seconds. Before the time is up it would look in vain.
    std::thread::sleep(Duration::from_millis(3100));
    assert!(runs(before) && !server.log().contains("WSGI0971"), "{}", server.log());
    // SAFETY: a process of this server.
    unsafe { libc::kill(server.child_named("wsgi:log"), libc::SIGKILL) };
    server.wait_for_log("WSGI0971", 1);
    assert_ne!(pid(&server), before);
    let log = server.stop();
    assert!(
        log.contains(&format!("WSGI0971: Daemon process 'web' (pid={before}) was asked to end 3 seconds ago")),
        "{log}"
    );
}

/// Replaces the module's file by one of another version, with these bytes in place of others.
fn replace_module(server: &Server, changes: &[(&str, &str)]) {
    let file = server.root().join("mod_wsgi_rs.so");
    let mut code = std::fs::read(&file).expect("own folder");
    for (from, to) in changes {
        assert_eq!(from.len(), to.len());
        let found: Vec<usize> =
            (0..code.len() - from.len()).filter(|at| code[*at..].starts_with(from.as_bytes())).collect();
        assert_eq!(found.len(), 1, "{from} is there once");
        code[found[0]..found[0] + to.len()].copy_from_slice(to.as_bytes());
    }
    let new = server.root().join("new.so");
    std::fs::write(&new, code).expect("own folder");
    std::fs::rename(new, file).expect("own folder");
}

const VERSION: (&str, &str) = ("mod_wsgi_rs retained 00", "mod_wsgi_rs retained 90");

// Covers: code:WSGI0972, rule:daemon/upgrade
#[test]
fn what_another_version_has_started_ends_with_the_server_at_the_latest() {
    let server = start("upgrade", "processes=2");
    let before = pid(&server);
    replace_module(&server, &[VERSION]);
    server.signal(libc::SIGUSR1);
    server.wait_for_log("WSGI0972: 2 daemon processes were started by version", 1);
    server.wait_for_log("resuming normal operations", 2);
    let after = pid(&server);
    assert_ne!(after, before);
    // The one that stands in for the engine does not leave.
    assert!(runs(before));
    server.stop();
    assert!(!runs(before) && !runs(after));
}

// Covers: code:WSGI0973
#[test]
fn a_version_that_left_no_list_is_named() {
    let server = start("no-list", "");
    let before = pid(&server);
    replace_module(&server, &[VERSION, ("mod_wsgi_rs kept\0", "mod_wsgi_rs none\0")]);
    server.signal(libc::SIGUSR1);
    server.wait_for_log("WSGI0973: Another version of the module has started daemon processes", 1);
    server.wait_for_log("resuming normal operations", 2);
    assert_ne!(pid(&server), before);
    server.stop();
    // Nobody ends it but the end of its control pipe.
    let end = Instant::now() + Duration::from_secs(20);
    while runs(before) {
        assert!(Instant::now() < end, "{before} outlives the server");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// Covers: rule:daemon/fork-after-load
#[test]
fn a_server_that_restarts_as_the_bell_ends_hangs_another_one() {
    // Apache says that it stops from the moment in which it is told to restart, also while it hears of an ended child.
    let server = start("bell", "rolling=On");
    let _ = pid(&server);
    for round in 0..120 {
        let before = server.child_named("wsgi:bell");
        // SAFETY: a process of this server.
        unsafe { libc::kill(before, libc::SIGKILL) };
        // Some of these moments meet the server as it hears of the end.
        let moment = Instant::now() + Duration::from_micros(3) * round;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        server.signal(libc::SIGUSR1);
        server.wait_for_log("resuming normal operations", round as usize + 2);
        let end = Instant::now() + Duration::from_secs(20);
        // One that has ended keeps its name until the server has heard of it.
        while server.child_named("wsgi:bell") == before {
            assert!(Instant::now() < end, "round {round}: {}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let _ = pid(&server);
}
