//! Metrics and the section on the status page, with a real httpd.

use crate::server::{Answer, Server};

const CONFIGURATION: &str = "LoadModule status_module MODULES/mod_status.so\n\
    LoadModule remoteip_module MODULES/mod_remoteip.so\nRemoteIPHeader X-Client\n\
    LoadModule authz_host_module MODULES/mod_authz_host.so\n\
    WSGIDaemonProcess web threads=3 processes=2\nWSGISocketPrefix ROOT/s\n\
    WSGIScriptAlias /app ROOT/app.wsgi process-group=web application-group=%{GLOBAL}\n\
    WSGIScriptAlias /own ROOT/app.wsgi application-group=%{GLOBAL}\n\
    <Location /metrics>\nSetHandler wsgi-metrics\n</Location>\n\
    <Location /open>\nSetHandler wsgi-metrics\nRequire ip 127.0.0.1 10.0.0.0/8\n</Location>\n\
    <Location /status>\nSetHandler server-status\n</Location>\n";

fn start(name: &str) -> Server {
    Server::start(name, &["app.wsgi"], &CONFIGURATION.replace("MODULES", env!("HTTPD_MODULES")))
}

fn value<'a>(answer: &'a Answer, series: &str) -> Option<&'a str> {
    answer.body().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

/// The value of a series, once it is what it has to become.
fn becomes(server: &Server, series: &str, wanted: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let answer = server.get("/metrics");
        if value(&answer, series) == Some(wanted) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{series} is not {wanted}:\n{}", answer.body());
        // The page has no event to wait for.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

// Covers: rule:extensions/metrics-values
#[test]
fn metrics_show_groups_processes_and_failures() {
    let server = start("metrics");
    assert_eq!(server.get("/app").status(), 200, "{}", server.log());
    assert_eq!(server.get("/own").status(), 200, "{}", server.log());
    for process in ["0", "1"] {
        becomes(&server, &format!("mod_wsgi_process_up{{mode=\"daemon\",group=\"web\",process=\"{process}\"}}"), "1");
    }
    let answer = server.get("/metrics");
    assert!(answer.head().contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{}", answer.head());
    assert!(answer.head().contains("Cache-Control: no-store"), "{}", answer.head());
    for (series, expected) in [
        ("mod_wsgi_group_processes{mode=\"daemon\",group=\"web\"}", "2"),
        ("mod_wsgi_group_threads{mode=\"daemon\",group=\"web\"}", "3"),
        ("mod_wsgi_process_state{mode=\"daemon\",group=\"web\",process=\"0\",state=\"ready\"}", "1"),
        ("mod_wsgi_process_up{mode=\"embedded\",group=\"\",process=\"0\"}", "1"),
        ("mod_wsgi_requests_total{mode=\"embedded\",group=\"\",process=\"0\"}", "1"),
        ("mod_wsgi_process_busy_threads{mode=\"embedded\",group=\"\",process=\"0\"}", "0"),
        ("mod_wsgi_request_failures_total{mode=\"daemon\",group=\"web\",kind=\"process_lost\"}", "0"),
    ] {
        assert_eq!(value(&answer, series), Some(expected), "{series}\n{}", answer.body());
    }
    for series in ["mod_wsgi_process_resident_memory_bytes", "mod_wsgi_process_cpu_seconds_total"] {
        let series = format!("{series}{{mode=\"daemon\",group=\"web\",process=\"0\"}}");
        assert!(value(&answer, &series).is_some(), "{series}\n{}", answer.body());
    }
    assert_eq!(server.get("/app/die").status(), 502);
    becomes(&server, "mod_wsgi_request_failures_total{mode=\"daemon\",group=\"web\",kind=\"process_lost\"}", "1");
    becomes(&server, "mod_wsgi_process_stops_total{mode=\"daemon\",group=\"web\",reason=\"crash\"}", "1");
}

#[test]
fn a_status_page_full_of_garbage_is_still_a_page_of_metrics() {
    let server = start("hostile");
    assert_eq!(server.get("/app/garbage").status(), 200);
    let answer = server.get("/metrics");
    assert_eq!(answer.status(), 200);
    for line in answer.body().lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').expect("a name and a value");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
    }
    assert_eq!(server.get("/status").status(), 200);
}

#[test]
fn metrics_go_on_across_a_graceful_restart() {
    let server = start("graceful");
    assert_eq!(server.get("/app").status(), 200);
    server.signal(libc::SIGUSR1);
    server.wait_for_log("resuming normal operations", 2);
    becomes(&server, "mod_wsgi_process_restarts_total{mode=\"daemon\",group=\"web\",process=\"0\"}", "1");
    becomes(&server, "mod_wsgi_process_up{mode=\"daemon\",group=\"web\",process=\"0\"}", "1");
}

#[test]
fn a_restarted_process_is_counted_as_such() {
    let server = start("restarts");
    assert_eq!(server.get("/app/die").status(), 502);
    let restarts = |server: &Server| -> u64 {
        let answer = server.get("/metrics");
        let series = "mod_wsgi_process_restarts_total{mode=\"daemon\"";
        let lines = answer.body().lines().filter(|line| line.starts_with(series));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    server.wait_for_log("deregistering and restarting it", 1);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while restarts(&server) == 0 {
        assert!(std::time::Instant::now() < end, "{}", server.get("/metrics").body());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(restarts(&server), 1);
}

// Covers: rule:extensions/metrics-text
#[test]
fn collectors_that_ask_for_it_get_openmetrics() {
    let server = start("openmetrics");
    let answer = server.get_with("/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(answer.head().contains("application/openmetrics-text; version=1.0.0"), "{}", answer.head());
    assert!(answer.body().ends_with("# EOF\n"), "{}", answer.body());
    let head = server.ask("HEAD /metrics HTTP/1.1\nHost: localhost:PORT", b"");
    assert_eq!((head.status(), head.body()), (200, ""));
    assert!(head.head().contains("Content-Length: "), "{}", head.head());
    let post = server.ask("POST /metrics HTTP/1.1\nHost: localhost:PORT\nContent-Length: 1", b"x");
    assert_eq!(post.status(), 405);
    assert!(post.head().contains("GET") && !post.head().contains("POST"), "{}", post.head());
}

// Covers: rule:extensions/metrics-local, code:WSGI0920
#[test]
fn only_local_requests_are_answered_unless_the_section_says_who() {
    let server = start("admission");
    assert_eq!(server.get("/metrics").status(), 200);
    for field in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 proxy", "X-Client: 192.0.2.7"] {
        assert_eq!(server.get_with("/metrics", field).status(), 403, "{field}");
    }
    server.wait_for_log("WSGI0920: Client denied access to the metrics: it came through a proxy.", 3);
    server.wait_for_log("WSGI0920: Client denied access to the metrics: it does not come from this machine.", 1);
    assert_eq!(server.get_with("/open", "X-Client: 10.1.2.3").status(), 200);
    assert_eq!(server.get_with("/open", "X-Client: 192.0.2.7").status(), 403);
    assert_eq!(
        server.get_with("/open", "X-Forwarded-For: 10.1.2.3").status(),
        200,
        "who says Require decides alone: {}",
        server.log()
    );
}

// Covers: rule:extensions/metrics-local
#[test]
fn a_require_beside_another_handler_admits_nobody() {
    let server = Server::start(
        "other-handlers",
        &["htaccess/x", "files/x", "added/y.x"],
        "<Directory ROOT/htaccess>\nSetHandler none\nRequire all granted\nAllowOverride FileInfo\n</Directory>\n\
         <Directory ROOT/added>\nSetHandler none\nRequire all granted\nAllowOverride FileInfo\n</Directory>\n\
         <Directory ROOT/files>\nSetHandler none\nRequire all granted\n<Files x>\nSetHandler wsgi-metrics\n</Files>\n\
         </Directory>\n\
         <Location /if>\nSetHandler none\nRequire all granted\n<If true>\nSetHandler wsgi-metrics\n</If>\n</Location>\n\
         <Location /inner>\nSetHandler wsgi-metrics\nRequire all granted\n</Location>\n\
         <Location /inner/x>\nSetHandler wsgi-metrics\n</Location>\n",
    );
    for (folder, lines) in [("htaccess", "SetHandler wsgi-metrics\n"), ("added", "AddHandler wsgi-metrics .x\n")] {
        std::fs::write(server.root().join(folder).join(".htaccess"), lines).expect("own folder");
    }
    let proxy = "X-Forwarded-For: 192.0.2.7";
    for target in ["/htaccess/x", "/files/x", "/added/y.x", "/if", "/inner/x"] {
        assert!(server.get(target).body().contains("mod_wsgi_build"), "{target}: {}", server.log());
        assert_eq!(server.get_with(target, proxy).status(), 403, "{target}: {}", server.log());
    }
    for target in ["/inner", "/inner/y"] {
        assert_eq!(server.get_with(target, proxy).status(), 200, "{target}: {}", server.log());
    }
}

// Covers: code:WSGI0001, code:WSGI0210
#[test]
fn a_child_without_python_says_so() {
    let server = Server::start(
        "no-python",
        &["app.wsgi"],
        "WSGIPythonWarnings no-python\nWSGIScriptAlias / ROOT/app.wsgi\n\
         <Location /metrics>\nSetHandler wsgi-metrics\n</Location>\n",
    );
    assert_eq!(server.get("/").status(), 500);
    server.wait_for_log("WSGI0001: Python initialisation failed in embedded mode: ", 1);
    server.wait_for_log("WSGI0210: ", 1);
    let metrics = server.get("/metrics");
    let state = "mod_wsgi_process_state{mode=\"embedded\",group=\"\",process=\"0\",state=\"broken\"}";
    assert_eq!(value(&metrics, state), Some("1"), "{}", metrics.body());
}

// Covers: rule:extensions/status-section
#[test]
fn the_status_page_has_a_section() {
    let server = start("status");
    assert_eq!(server.get("/app").status(), 200);
    let page = server.get("/status");
    assert!(page.body().contains("Daemon process group 'web'"), "{}", page.body());
    assert!(page.body().contains("Embedded mode"), "{}", page.body());
    let lines = server.get("/status?auto");
    assert_eq!(lines.entry_of("WSGIGroup[0]Name"), Some("web"), "{}", lines.body());
    assert_eq!(lines.entry_of("WSGIGroup[0]Processes"), Some("2"), "{}", lines.body());
}
