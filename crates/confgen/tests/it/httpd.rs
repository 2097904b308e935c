//! Launching, watching and ending httpd, and programs that behave as badly as one can.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use confgen::httpd::{
    Account, ConfigTest, ConfigTestError, Handle, HeldPort, Httpd, Instance, Launch, LaunchError, LogTail, Readiness,
    Server, ServerRoot, Signal, Stale, process,
};

const GENEROUS: Duration = Duration::from_secs(20);

fn httpd() -> Httpd {
    Httpd::locate(None, None).expect("apache2-bin is installed by `make setup`")
}

/// A configuration that serves nothing but httpd's own answers.
fn configure(root: &ServerRoot, httpd: &Httpd, port: &HeldPort, more: &str) {
    let mut text = String::new();
    let mut load = |name: &str| {
        if let Some(file) = httpd.module_file(name) {
            text.push_str(&format!("LoadModule {name}_module {}\n", file.display()));
        }
    };
    load("mpm_event");
    load("unixd");
    load("authz_core");
    load("log_config");
    for address in port.addresses() {
        let address = std::net::SocketAddr::new(*address, port.port());
        text.push_str(&format!("Listen {address}\n"));
    }
    if Account::current().is_root() {
        let account = Account::of_web_server().expect("some unprivileged account");
        text.push_str(&format!("User {}\nGroup {}\n", account.name, account.group_name));
    }
    text.push_str(
        "ServerName localhost\nPidFile run/httpd.pid\nErrorLog logs/error.log\nLogLevel info\nMutex file:run\n",
    );
    text.push_str(more);
    fs::write(root.path().join("httpd.conf"), text).unwrap();
}

struct Site {
    root: ServerRoot,
    port: HeldPort,
    httpd: Httpd,
}

impl Site {
    fn new(more: &str) -> Self {
        let (root, port, httpd) = (ServerRoot::temporary(None).unwrap(), HeldPort::loopback().unwrap(), httpd());
        configure(&root, &httpd, &port, more);
        Self { root, port, httpd }
    }

    fn launch(&self) -> Launch {
        Launch::new(&self.httpd.binary, self.root.path())
            .ready_when(Readiness::Answers(self.port.address()))
            .within(GENEROUS)
    }

    fn get(&self) -> String {
        let mut connection = TcpStream::connect(self.port.address()).unwrap();
        connection.write_all(b"GET /none HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        text
    }
}

fn stop(server: &mut Server) -> confgen::httpd::StopReport {
    server.stop(Signal::SIGTERM, GENEROUS, |_| {}).unwrap()
}

#[test]
fn a_server_starts_answers_and_leaves_nothing_behind() {
    let site = Site::new("");
    let mut server = site.launch().start().unwrap();
    assert!(site.get().starts_with("HTTP/1.1 404"));
    let stat = process::stat(server.pid()).unwrap();
    assert_eq!((stat.group, stat.session), (server.pid(), server.pid()), "it has its own process group and session");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", server.pid())).unwrap(), Path::new("/"));
    assert!(!server.children().is_empty());
    assert!(server.daemons().is_empty());
    let members = server.members();
    let report = stop(&mut server);
    assert!(!report.forced);
    assert_eq!(report.leaks, []);
    assert!(report.status.unwrap().success());
    assert!(members.iter().all(|stat| !stat.id().is_alive()));
    assert!(!site.root.run().join("httpd.pid").exists());
}

#[test]
fn all_signals_do_what_they_say() {
    let site = Site::new("");
    let mut server = site.launch().start().unwrap();
    let mut log = LogTail::from_end(&site.root.logs().join("error.log"));
    for signal in [Instance::graceful, Instance::restart] {
        let before = server.children();
        signal(&server).unwrap();
        let (resumed, lines) =
            log.wait_for(GENEROUS, |line| line.message.contains("resuming normal operations")).unwrap();
        assert!(resumed, "{lines:?}");
        assert!(lines.iter().all(|line| line.pid == Some(server.pid()) || line.pid.is_some()));
        assert!(site.get().starts_with("HTTP/1.1 404"));
        for old in before {
            let gone = Handle::open(old.pid).map_or(true, |handle| handle.id() != old.id() || handle.wait(GENEROUS));
            assert!(gone, "the old child {} stayed", old.pid);
        }
    }
    // A child that is just starting can miss that it has to end.
    assert!(server.wait_until_idle(GENEROUS));
    server.graceful_stop().unwrap();
    assert!(server.wait(GENEROUS).is_some());
    assert_eq!(stop(&mut server).leaks, []);
}

#[test]
fn another_process_finds_it_by_what_was_written_down() {
    let site = Site::new("");
    let mut server = site.launch().start().unwrap();
    let identity = server.identity();
    let pid_file = site.root.run().join("httpd.pid");
    assert_eq!(Instance::attach(&identity).unwrap().pid(), server.pid());
    assert_eq!(Instance::from_pid_file(&pid_file, site.root.path()).unwrap().pid(), server.pid());
    assert!(matches!(Instance::from_pid_file(&pid_file, Path::new("/elsewhere")), Err(Stale::Another { .. })));
    let left = fs::read(&pid_file).unwrap();
    stop(&mut server);
    fs::write(&pid_file, left).unwrap();
    assert!(Instance::attach(&identity).is_err());
    assert!(Instance::from_pid_file(&pid_file, site.root.path()).is_err(), "a stale pid file is no server");
}

#[test]
fn an_announced_start_leaves_no_trace_in_the_access_log() {
    let site = Site::new("CustomLog logs/access.log \"%r\"\n");
    let mut server = site.launch().ready_when(Readiness::Announces(site.port.address())).start().unwrap();
    assert!(site.get().starts_with("HTTP/1.1 404"));
    assert!(!server.children().is_empty());
    stop(&mut server);
    assert_eq!(fs::read_to_string(site.root.logs().join("access.log")).unwrap(), "GET /none HTTP/1.0\n");
}

#[test]
fn single_process_mode_has_no_children() {
    let site = Site::new("");
    let mut server = site.launch().single_process().start().unwrap();
    assert!(site.get().starts_with("HTTP/1.1 404"));
    assert!(server.children().is_empty());
    assert!(!stop(&mut server).forced);
}

#[test]
fn a_configuration_error_is_told_with_its_place_and_stops_the_start() {
    let site = Site::new("Frobnicate on\n");
    let config = site.root.path().join("httpd.conf");
    let line = fs::read_to_string(&config).unwrap().lines().count();
    let test = ConfigTest {
        binary: &site.httpd.binary,
        root: site.root.path(),
        config: &config,
        environment: &BTreeMap::new(),
    };
    let Err(ConfigTestError::Refused { complaints, .. }) = test.run() else { panic!("accepted") };
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert_eq!(
        (complaints[0].file.as_deref(), complaints[0].line, complaints[0].code.as_deref()),
        (Some(config.as_path()), Some(line), Some("AH00526"))
    );
    assert!(complaints[0].message.starts_with("Invalid command 'Frobnicate'"));
    let started = Instant::now();
    let error = site.launch().start().unwrap_err();
    assert!(started.elapsed() < GENEROUS, "the end is noticed, not waited for");
    let LaunchError::Died { complaints, .. } = &error else { panic!("{error}") };
    assert_eq!(complaints[0].line, Some(line));
}

#[test]
fn a_failure_after_the_configuration_was_read_is_told_from_the_error_log() {
    let site = Site::new("Listen 203.0.113.7:1\n");
    let error = site.launch().start().unwrap_err();
    assert!(error.to_string().contains("could not bind to address 203.0.113.7:1"), "{error}");
    assert!(!error.to_string().contains("AH00015"), "{error}");
}

#[test]
fn the_environment_is_clean_but_for_what_is_given() {
    let site = Site::new("");
    let mut server = site.launch().environment([("HOME", "/weird/home")]).start().unwrap();
    assert_eq!(process::environment(server.pid(), "HOME").as_deref(), Some("/weird/home"));
    let names: Vec<String> = fs::read(format!("/proc/{}/environ", server.pid()))
        .unwrap()
        .split(|&byte| byte == 0)
        .filter_map(|entry| Some(std::str::from_utf8(entry).ok()?.split_once('=')?.0.to_owned()))
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    stop(&mut server);
}

#[test]
fn launching_costs_little_beyond_httpd_itself() {
    // Compared within one run: the time from the fork to the first answer, and the part of it after the listener was open.
    let site = Site::new("");
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let mut server = site.launch().start().unwrap();
        best = best.min(started.elapsed());
        stop(&mut server);
    }
    assert!(best < Duration::from_millis(500), "{best:?}");
}

/// A program in the place of httpd.
fn fake(root: &ServerRoot, script: &str) -> PathBuf {
    let path = root.path().join("fake-httpd");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_server_that_never_gets_ready_is_ended_with_its_processes() {
    let (root, port) = (ServerRoot::temporary(None).unwrap(), HeldPort::loopback().unwrap());
    let script = fake(
        &root,
        "sleep 300 & echo $! > \"$2/grandchild\"; echo $$ > \"$2/parent\"; echo 'waiting for Godot' >&2; wait",
    );
    let error = Launch::new(&script, root.path())
        .ready_when(Readiness::Answers(port.address()))
        .within(Duration::from_millis(400))
        .start()
        .unwrap_err();
    assert!(matches!(error, LaunchError::NotReady { .. }), "{error}");
    assert!(error.to_string().contains("waiting for Godot"), "{error}");
    for name in ["parent", "grandchild"] {
        let pid: u32 = fs::read_to_string(root.path().join(name)).unwrap().trim().parse().unwrap();
        assert!(process::stat(pid).is_none_or(|stat| stat.is_zombie()), "{name} still runs");
    }
}

#[test]
fn a_server_that_ignores_the_signal_is_killed_after_its_time() {
    let root = ServerRoot::temporary(None).unwrap();
    let script = fake(&root, "trap '' TERM; echo up > \"$2/logs/error.log\"; while :; do sleep 1; done");
    let mut log = LogTail::from_start(&root.logs().join("error.log"));
    let mut server = Launch::new(&script, root.path()).start().unwrap();
    assert!(log.wait_for(GENEROUS, |line| line.raw == "up").unwrap().0);
    let mut looked_at = None;
    let report =
        server.stop(Signal::SIGTERM, Duration::from_millis(200), |instance| looked_at = Some(instance.pid())).unwrap();
    assert!(report.forced);
    assert!(report.duration >= Duration::from_millis(200));
    assert_eq!(looked_at, Some(server.pid()));
    assert!(server.members().iter().all(process::Stat::is_zombie));
}

#[test]
fn a_signal_that_a_server_forgets_is_sent_again() {
    let root = ServerRoot::temporary(None).unwrap();
    // As httpd does with one that comes just as it begins to stop gracefully.
    let script =
        fake(&root, "trap 'trap \"exit 0\" TERM' TERM; echo up > \"$2/logs/error.log\"; while :; do sleep 0.05; done");
    let mut log = LogTail::from_start(&root.logs().join("error.log"));
    let mut server = Launch::new(&script, root.path()).start().unwrap();
    assert!(log.wait_for(GENEROUS, |line| line.raw == "up").unwrap().0);
    let report = stop(&mut server);
    assert!(!report.forced && report.status.unwrap().success(), "{report:?}");
}

#[test]
fn what_a_server_leaves_behind_is_named_and_killed() {
    let root = ServerRoot::temporary(None).unwrap();
    // Both leave the session; the second one also cleans its environment but is seen while the parent lives.
    let script = fake(
        &root,
        "trap 'exit 0' TERM; setsid sleep 301 & env -i setsid sleep 302 & echo up > \"$2/logs/error.log\"; while :; do sleep 0.05; done",
    );
    let mut log = LogTail::from_start(&root.logs().join("error.log"));
    let mut server = Launch::new(&script, root.path()).start().unwrap();
    assert!(log.wait_for(GENEROUS, |line| line.raw == "up").unwrap().0);
    // The sleeps exist once they have been executed; wait for that, not for a time.
    let deadline = Instant::now() + GENEROUS;
    let commands = |server: &Server| {
        server
            .members()
            .iter()
            .filter_map(|stat| process::command_line(stat.pid))
            .filter(|command| command.starts_with("sleep 30"))
            .count()
    };
    while commands(&server) < 2 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let report = stop(&mut server);
    assert!(!report.forced);
    let mut leaked: Vec<&str> = report.leaks.iter().map(|leak| leak.command.as_str()).collect();
    leaked.sort_unstable();
    assert_eq!(leaked, ["sleep 301", "sleep 302"]);
    assert!(report.leaks.iter().all(|leak| process::stat(leak.pid).is_none_or(|stat| stat.is_zombie())));
}

#[test]
fn dropping_a_server_ends_it() {
    let site = Site::new("");
    let server = site.launch().start().unwrap();
    let members: Vec<_> = server.members().iter().map(process::Stat::id).collect();
    let parent = Handle::open(server.pid()).unwrap();
    drop(server);
    assert!(!parent.id().is_alive());
    assert!(members.iter().all(|id| !id.is_alive()));
}

#[test]
fn a_server_tied_to_a_thread_ends_with_it() {
    let site = Site::new("");
    let launch = site.launch().tied_to_thread();
    let server = std::thread::spawn(move || launch.start().unwrap()).join().unwrap();
    assert!(server.handle().wait(GENEROUS));
}
