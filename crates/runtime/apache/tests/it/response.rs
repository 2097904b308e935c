//! The response's way out, and the life of children.

use crate::server::Server;

fn server(name: &str, more: &str) -> Server {
    Server::start(name, &["app.wsgi"], &format!("WSGIScriptAlias /a ROOT/app.wsgi\n{more}"))
}

// Covers: rule:adapter/set-cookie-separate, rule:adapter/empty-body-length
#[test]
fn responses_keep_their_status_and_fields() {
    let server = server("fields", "");
    let answer = server.get("/a?cookies");
    assert!(answer.head().starts_with("HTTP/1.1 404 Gone Fishing\r\n"), "{}", answer.head());
    assert!(answer.head().contains("Set-Cookie: a=1\r\nSet-Cookie: b=2"), "{}", answer.head());
    assert_eq!(answer.body(), "no");
    let answer = server.get("/a?empty");
    assert!(answer.head().contains("Content-Length: 0"), "{}", answer.head());
}

// Covers: rule:adapter/hop-by-hop-dropped
#[test]
fn fields_of_the_connection_are_the_servers() {
    let server = server("hop-by-hop", "");
    // The second request comes over the same connection: neither the field that closes it nor the framing is the engine's.
    let answer =
        server.ask("GET /a?connection HTTP/1.1\nHost: localhost\n\nGET /a?empty HTTP/1.1\nHost: localhost", b"");
    let head = answer.head();
    assert!(head.contains("X-Own: kept") && !head.contains("Upgrade") && !head.contains("Connection"), "{head}");
    assert_eq!(head.matches("Transfer-Encoding: chunked").count(), 1, "{head}");
    assert!(answer.body().starts_with("2\r\nno\r\n0\r\n\r\nHTTP/1.1 200 OK"), "{}", answer.body());
}

// Covers: rule:adapter/exception-after-headers
#[test]
fn a_cut_response_does_not_look_complete() {
    let server = server("cut", "");
    let answer = server.get("/a?cut");
    assert_eq!(answer.status(), 200);
    assert!(answer.head().contains("Transfer-Encoding: chunked"), "{}", answer.head());
    assert_eq!(answer.body(), "4\r\npart\r\n", "no final chunk");
}

// Covers: rule:daemon/python-not-in-parent, rule:mapping/import-embedded, rule:config/restart-many,
// directive:WSGIImportScript
#[test]
fn the_engine_lives_in_children_only_and_ends_with_them() {
    let server = server("life", "WSGIImportScript ROOT/app.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}");
    server.wait_for_log("engine started", 1);
    assert!(server.log().contains("import "), "{}", server.log());
    assert_eq!(server.get("/a").status(), 200);
    // Each generation's only child is up before the next signal: one that is still starting may be ended unheard.
    for generation in [2, 3] {
        server.signal(libc::SIGUSR1);
        server.wait_for_log("resuming normal operations", generation);
        server.wait_for_log("engine stopped", generation - 1);
        server.wait_for_log("engine started", generation);
        assert_eq!(server.get("/a").status(), 200, "{}", server.log());
    }
    let log = server.stop_gracefully();
    let count = |text: &str| log.matches(text).count();
    assert_eq!((count("engine started"), count("engine stopped")), (3, 3), "{log}");
    assert!(!log.contains("[wsgi:crit]") && !log.contains("exit signal"), "{log}");
}

#[test]
fn children_that_have_served_enough_end_their_engine() {
    // Room for a child beside the one that is ending.
    let server = server("enough", "ServerLimit 4\nMaxRequestWorkers 16\nMaxConnectionsPerChild 3");
    server.wait_for_log("engine started", 1);
    for _ in 0..12 {
        assert_eq!(server.get("/a").status(), 200, "{}", server.log());
    }
    server.wait_for_log("engine stopped", 1);
    assert!(!server.stop_gracefully().contains("exit signal"));
}
