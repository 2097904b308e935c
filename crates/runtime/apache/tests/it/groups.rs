//! Groups of daemon processes as a whole: their start and end, their sockets, who may use them, and the files they read.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::server::Server;

const ALIAS: &str = "WSGIScriptAlias / ROOT/app.wsgi process-group=web application-group=%{GLOBAL}\n";

fn start(name: &str, configuration: &str) -> Server {
    Server::start(name, &["app.wsgi"], &format!("WSGIRestrictEmbedded On\n{configuration}"))
}

fn sockets(server: &Server) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.root()).expect("own folder").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "sock")).collect()
}

// Covers: rule:daemon/started-unasked, rule:logs/starting-line, rule:daemon/sockets-unlinked
#[test]
fn processes_start_unasked_and_leave_no_sockets() {
    let server = start("unasked", "WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web processes=2 threads=3\n");
    server.wait_for_log("Starting daemon process 'web' with ", 2);
    assert!(server.log().contains("threads=3."), "{}", server.log());
    assert!(!sockets(&server).is_empty());
    server.signal(libc::SIGTERM);
    let end = Instant::now() + Duration::from_secs(20);
    while !sockets(&server).is_empty() {
        assert!(Instant::now() < end, "sockets are left: {:?}", sockets(&server));
        std::thread::sleep(Duration::from_millis(5));
    }
}

// Covers: code:WSGI0013
#[test]
fn a_socket_that_cannot_be_bound_stops_its_group_only() {
    let server = start(
        "unbound",
        &format!(
            "WSGISocketPrefix ROOT/missing/s\nWSGIDaemonProcess web connect-timeout=1\n{ALIAS}Alias /plain ROOT/app.wsgi\n"
        ),
    );
    server.wait_for_log("WSGI0013: Unable to bind unix domain socket '", 1);
    assert_eq!(server.get("/").status(), 503, "{}", server.log());
    assert_eq!(server.get("/plain").status(), 200);
}

// Covers: code:WSGI0064
#[test]
fn a_path_that_is_too_long_for_a_socket_is_reported() {
    let long = "x".repeat(120);
    let server =
        start("too-long", &format!("WSGISocketPrefix ROOT/{long}\nWSGIDaemonProcess web connect-timeout=1\n{ALIAS}"));
    server.wait_for_log("WSGI0064: ", 1);
    assert_eq!(server.get("/").status(), 503, "{}", server.log());
}

// Covers: code:WSGI0117, rule:daemon/connect-refused-at-once
#[test]
fn a_socket_that_is_gone_is_503_at_once() {
    let server = start("gone", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web connect-timeout=60\n{ALIAS}"));
    server.wait_for_log("Starting daemon process 'web' with ", 1);
    for socket in sockets(&server) {
        std::fs::remove_file(socket).expect("own folder");
    }
    let began = Instant::now();
    assert_eq!(server.get("/").status(), 503, "{}", server.log());
    assert!(began.elapsed().as_secs() < 30, "it did not wait for connect-timeout");
    server.wait_for_log("WSGI0117: Unable to connect to WSGI daemon process 'web' on '", 1);
}

// Covers: code:WSGI0152, rule:daemon/visibility, rule:mapping/process-group-scope, rule:config/daemons-global
#[test]
fn a_group_of_a_virtual_host_serves_that_host_only() {
    let server = start(
        "visibility",
        "WSGISocketPrefix ROOT/s
WSGIDaemonProcess everybody
<VirtualHost *>
  ServerName one.example
  WSGIDaemonProcess web
  WSGIScriptAlias /own ROOT/app.wsgi
  <Location /own>
    WSGIProcessGroup web
  </Location>
</VirtualHost>
<VirtualHost *>
  ServerName two.example
  WSGIScriptAlias /foreign ROOT/app.wsgi
  <Location /foreign>
    WSGIProcessGroup web
  </Location>
  WSGIScriptAlias /shared ROOT/app.wsgi
  <Location /shared>
    WSGIProcessGroup everybody
  </Location>
</VirtualHost>
",
    );
    for (host, target, status) in
        [("one.example", "/own", 200), ("two.example", "/foreign", 500), ("two.example", "/shared", 200)]
    {
        let answer = server.ask(&format!("GET {target} HTTP/1.1\nHost: {host}"), b"");
        assert_eq!(answer.status(), status, "{host}{target}: {}", server.log());
    }
    server.wait_for_log("WSGI0152: Daemon process called 'web' cannot be accessed by this WSGI application", 1);
}

// Covers: option:WSGIDaemonProcess/environment-file, rule:extensions/environment-file
#[test]
fn a_file_for_the_environment_need_be_readable_by_root_only() {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secrets");
    std::fs::write(&file, "# of the shop\nA=from the file\n\nB=b=c\n").expect("own folder");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("own folder");
    let line = format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web environment-file={}\n{ALIAS}", file.display());
    let server = start("environment-file", &line);
    let answer = server.get("/");
    assert_eq!(
        (answer.entry("env-A"), answer.entry("env-B")),
        (Some("from the file"), Some("b=c")),
        "{}",
        answer.body()
    );
    let log = server.log();
    assert!(!log.contains("from the file"), "secrets stay out of the log: {log}");
}
