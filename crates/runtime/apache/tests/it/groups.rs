//! Groups of daemon processes as a whole: their start and end, their sockets, who may use them, and the files they read.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::daemon::start_in_closed_folder;
use crate::httpd::{Folder, module};
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
    // Before that a signal just kills httpd, which listens already.
    server.wait_for_log("resuming normal operations", 1);
    server.signal(libc::SIGTERM);
    let end = Instant::now() + Duration::from_secs(20);
    while !sockets(&server).is_empty() {
        assert!(Instant::now() < end, "sockets are left: {:?}", sockets(&server));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The level of the first line with this text.
fn level_of(server: &Server, text: &str) -> String {
    let log = server.log();
    let line = log.lines().find(|line| line.contains(text)).expect("it was waited for");
    let level = line.split("[wsgi:").nth(1).and_then(|rest| rest.split(']').next());
    level.unwrap_or_else(|| panic!("no level of ours: {line}")).to_owned()
}

// Covers: code:WSGI0013, rule:logs/levels, rule:logs/code-prefix
#[test]
fn a_socket_that_cannot_be_bound_stops_its_group_only() {
    let server = start(
        "unbound",
        &format!(
            "WSGISocketPrefix ROOT/missing/s\nWSGIDaemonProcess web connect-timeout=1\n{ALIAS}Alias /plain ROOT/app.wsgi\n"
        ),
    );
    server.wait_for_log("WSGI0013: Unable to bind unix domain socket '", 1);
    assert_eq!(level_of(&server, "WSGI0013"), "alert");
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
    assert_eq!(level_of(&server, "WSGI0064"), "warn");
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
    assert_eq!(level_of(&server, "WSGI0152"), "error");
    assert_eq!(level_of(&server, "Starting daemon process 'web'"), "info");
}

// Covers: option:WSGIDaemonProcess/environment-file, rule:extensions/environment-file, rule:logs/secrets-not-logged
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

fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// This program's own, which httpd inherits.
#[expect(clippy::disallowed_methods, reason = "what a server of the tests is started with")]
fn path() -> Option<String> {
    std::env::var("PATH").ok()
}

/// A user of the system by whether its home is there: name, number, group, home. Not root, and not the server's user.
fn account(with_home: bool) -> (String, u32, u32, String) {
    let text = std::fs::read_to_string("/etc/passwd").expect("the system has users");
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (id, group) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
            Some((fields[0].to_owned(), id, group, (*fields.get(5)?).to_owned()))
        })
        .find(|(_, id, _, home)| *id != 0 && *id != 65_534 && std::path::Path::new(home).is_dir() == with_home)
        .expect("a system has users with and without a home")
}

// Covers: option:WSGIDaemonProcess/user, option:WSGIDaemonProcess/group, option:WSGIDaemonProcess/supplementary-groups,
// option:WSGIDaemonProcess/socket-user, rule:daemon/user-group, rule:daemon/supplementary-groups,
// rule:daemon/socket-user, rule:daemon/home-default, rule:daemon/environment, rule:daemon/starting-environment
#[test]
fn processes_and_sockets_belong_to_whom_the_options_name() {
    if !is_root() {
        return;
    }
    let (name, id, _, home) = account(true);
    let server = start(
        "accounts",
        &format!(
            "WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web user={name} group=#54321 supplementary-groups=#54322,#54323\n\
             WSGIDaemonProcess other socket-user={name}\n{ALIAS}"
        ),
    );
    let answer = server.get("/");
    let four = |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join(" ");
    assert_eq!(answer.entry("Uid"), Some(four(id).as_str()), "{}", server.log());
    assert_eq!(answer.entry("Gid"), Some(four(54_321).as_str()));
    assert_eq!(answer.entry("Groups"), Some("54321 54322 54323"), "the primary group is among them");
    assert_eq!(answer.entry("cwd"), Some(home.as_str()), "the user's home, as it is not Apache's user");
    assert_eq!(answer.entry("env-HOME"), Some(home.as_str()));
    assert_eq!(answer.entry("env-PATH").map(str::to_owned), path(), "what Apache was started with");
    let owners: Vec<u32> = sockets(&server)
        .iter()
        .filter(|path| path.to_string_lossy().contains(".other."))
        .map(|path| std::fs::metadata(path).expect("it is there").uid())
        .collect();
    assert!(!owners.is_empty() && owners.iter().all(|owner| *owner == id), "{owners:?}");
}

// Covers: code:WSGI0010, rule:daemon/home-default
#[test]
fn a_home_that_nobody_asked_for_may_be_missing() {
    if !is_root() {
        return;
    }
    let (name, ..) = account(false);
    let server = start("no-home", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web user={name}\n{ALIAS}"));
    let answer = server.get("/");
    assert_eq!((answer.status(), answer.entry("cwd")), (200, Some("/")), "{}", server.log());
    server.wait_for_log("WSGI0010: ", 1);
    assert_eq!(level_of(&server, "WSGI0010: "), "warn");
}

// Covers: rule:daemon/home-default
#[test]
fn the_daemons_of_an_ordinary_user_work_in_the_users_home() {
    if !is_root() {
        return;
    }
    let (_, user, group, home) = account(true);
    let folder = Folder::new("ordinary");
    std::fs::write(folder.path().join("app.wsgi"), "").expect("own folder");
    let configuration = format!("WSGIRestrictEmbedded On\nWSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\n{ALIAS}");
    let server = Server::launch_as(folder, &module(), &configuration, Some((user, group)));
    let answer = server.get("/");
    assert_eq!(answer.entry("cwd"), Some(home.as_str()), "{}", server.log());
}

// Covers: code:WSGI0930
#[test]
fn a_service_takes_no_requests() {
    let server = start("service", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web threads=0\n{ALIAS}"));
    assert_eq!(server.get("/").status(), 500);
    server.wait_for_log("WSGI0930: ", 1);
}

// Covers: code:WSGI0932, rule:daemon/failing-start-throttled
#[test]
fn starts_that_fail_in_a_row_are_spaced() {
    let server = start_in_closed_folder("row");
    server.wait_for_log("WSGI0932: ", 2);
    let log = server.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("WSGI0932: ")).collect();
    assert!(said[0].contains(" 2 processes of group 'web' have ended in a row right after their start; "), "{log}");
    assert!(said[0].ends_with("the next one is started in 2 seconds."), "{log}");
    assert!(said[1].ends_with("the next one is started in 4 seconds."), "{log}");
    let gap = (second_of_day(said[1]) - second_of_day(said[0])).rem_euclid(86_400.0);
    assert!(gap >= 2.0, "{gap} seconds:\n{log}");
}

/// When a line was written: `[Sat Nov 28 10:17:23.720053 2026] …`.
fn second_of_day(line: &str) -> f64 {
    let time = line.split(' ').nth(3).unwrap_or_default();
    let parts: Vec<f64> = time.split(':').filter_map(|part| part.parse().ok()).collect();
    assert_eq!(parts.len(), 3, "no time: {line}");
    parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
}

// Covers: code:WSGI0025, rule:daemon/failing-start-throttled
#[test]
fn processes_that_cannot_have_their_descriptors_are_spaced() {
    let server = start("crowded", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\n{ALIAS}"));
    let first = server.get("/").entry("pid").and_then(|pid| pid.parse::<i32>().ok()).expect("a pid");
    // Enough for the server to start a process, too few for that to sort its own.
    let before = server.limit_descriptors(server.descriptors() + 5);
    // SAFETY: a daemon of this server.
    unsafe { libc::kill(first, libc::SIGKILL) };
    server.wait_for_log("WSGI0025: Unable to collect the inherited descriptors for daemon process 'web' (", 2);
    let ends = server.log().matches("ended with exit code 71").count();
    assert!(ends <= 3, "{ends} processes within three seconds:\n{}", server.log());
    // The one that waits has its limits already; the one after it comes after eight seconds more.
    server.limit_descriptors(before);
    server.wait_for_log("Starting daemon process 'web'", 2);
    assert_eq!(server.get("/").status(), 200);
}

// Covers: code:WSGI0124
#[test]
fn a_request_that_every_process_turns_away_is_503() {
    let server = start("rejected", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web processes=2\n{ALIAS}"));
    assert_eq!(server.get("/reject").status(), 503, "{}", server.log());
    server.wait_for_log("WSGI0124: ", 1);
}

// Covers: code:WSGI0118, option:WSGIDaemonProcess/socket-timeout
#[test]
fn a_process_that_stalls_in_a_response_is_given_up() {
    let server = start("stalls", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web socket-timeout=1\n{ALIAS}"));
    let answer = server.get("/stall");
    assert_eq!(answer.status(), 200);
    assert!(!answer.body().ends_with("0\r\n\r\n"), "it looks complete: {}", answer.body());
    server.wait_for_log("WSGI0118: ", 1);
}

// Covers: code:WSGI0129
#[test]
fn a_body_that_cannot_be_handed_over_is_dropped() {
    let server = start("deaf", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\n{ALIAS}"));
    let length = 300_000;
    let head = format!("POST /deaf HTTP/1.1\nHost: localhost:PORT\nContent-Length: {length}");
    let answer = server.ask(&head, &vec![b'x'; length]);
    assert_eq!(answer.status(), 200, "{}", server.log());
    server.wait_for_log("WSGI0129: ", 1);
}

// Covers: code:WSGI0210
#[test]
fn children_without_their_engine_answer_500() {
    let server =
        Server::start("no-engine", &["app.wsgi"], "WSGIScriptAlias / ROOT/app.wsgi\nAlias /plain ROOT/app.wsgi\n");
    assert_eq!(server.get("/").status(), 200);
    let engine = server.root().join("wsgi_python-3.11.so");
    std::fs::rename(&engine, server.root().join("moved")).expect("own folder");
    std::fs::write(&engine, "this is no library").expect("own folder");
    server.signal(libc::SIGUSR1);
    server.wait_for_log("resuming normal operations", 2);
    server.wait_for_log("WSGI0001: ", 1);
    assert_eq!(server.get("/").status(), 500, "{}", server.log());
    server.wait_for_log("WSGI0210: ", 1);
    assert_eq!(server.get("/plain").status(), 200);
}

// Covers: code:WSGI0147, rule:daemon/read-error-502
#[test]
fn a_connection_that_breaks_before_the_answer_is_502() {
    let server = start("reset", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\n{ALIAS}"));
    let length = 100_000;
    let head = format!("POST /reset HTTP/1.1\nHost: localhost:PORT\nContent-Length: {length}");
    assert_eq!(server.ask(&head, &vec![b'x'; length]).status(), 502, "{}", server.log());
    server.wait_for_log("WSGI0147: ", 1);
}

// Covers: rule:daemon/chroot-errors
#[test]
fn only_root_may_confine_processes() {
    use std::os::unix::process::CommandExt;
    let folder = crate::httpd::Folder::new("confined");
    let root = folder.path().display().to_string();
    let text = format!(
        "ServerName localhost\nServerRoot {root}\nPidFile {root}/pid\nErrorLog {root}/error.log\n\
         LoadModule mpm_event_module {}/mod_mpm_event.so\nLoadModule wsgi_module {}\nWSGIDaemonProcess web chroot=/tmp\n",
        env!("HTTPD_MODULES"),
        crate::httpd::module().display()
    );
    let file = folder.path().join("httpd.conf");
    std::fs::write(&file, text).expect("own folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("own folder");
    #[expect(clippy::disallowed_methods, reason = "httpd as another user than the test's")]
    let mut command = std::process::Command::new(env!("HTTPD"));
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.arg("-t").arg("-f").arg(&file).output().expect("httpd is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Cannot chroot WSGI daemon process when not root."), "{said}");
}

// Covers: rule:daemon/group-secret
#[test]
fn a_group_does_not_know_the_secret_of_another() {
    let server = Server::start(
        "secrets",
        &["app.wsgi"],
        "WSGIRestrictEmbedded On\nWSGISocketPrefix ROOT/s\nWSGIDaemonProcess web processes=2\nWSGIDaemonProcess other\n\
         WSGIScriptAlias /web ROOT/app.wsgi process-group=web application-group=%{GLOBAL}\n\
         WSGIScriptAlias /other ROOT/app.wsgi process-group=other application-group=%{GLOBAL}\n",
    );
    let secret = |target: &str| server.get(target).entry("secret").expect("a process answers").to_owned();
    let before = secret("/web");
    assert_ne!(before, secret("/other"));
    // Children and processes of two generations understand each other.
    server.signal(libc::SIGUSR1);
    server.wait_for_log("resuming normal operations", 2);
    assert_eq!(secret("/web"), before);
}

/// The socket of a group's first process.
fn socket_of(server: &Server, group: &str) -> PathBuf {
    let own = format!(".{group}.0.sock");
    let found = sockets(server).into_iter().find(|path| path.to_string_lossy().ends_with(&own));
    found.unwrap_or_else(|| panic!("{group} has no socket: {:?}", sockets(server)))
}

// Covers: rule:daemon/listener-checked, code:WSGI0965
#[test]
fn a_program_that_puts_itself_in_the_place_of_a_daemon_learns_nothing() {
    let server = start("impostor", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\n{ALIAS}"));
    server.wait_for_log("resuming normal operations", 1);
    let path = socket_of(&server, "web");
    std::fs::rename(&path, path.with_extension("moved")).expect("own folder");
    let impostor = std::os::unix::net::UnixListener::bind(&path).expect("own folder");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("own file");
    let heard = std::thread::spawn(move || {
        let (mut connection, _) = impostor.accept().expect("a child connects");
        let mut heard = Vec::new();
        let _ = std::io::Read::read_to_end(&mut connection, &mut heard);
        heard
    });
    assert_eq!(server.get_with("/", "Cookie: session=1").status(), 503, "{}", server.log());
    assert_eq!(heard.join().expect("ends"), b"", "neither the secret nor the request");
    server.wait_for_log("WSGI0965: Nothing was sent to WSGI daemon process 'web' on '", 1);
    assert_eq!(level_of(&server, "WSGI0965"), "alert");
    // The right one again.
    std::fs::rename(path.with_extension("moved"), &path).expect("own folder");
    assert_eq!(server.get("/").status(), 200, "{}", server.log());
}

// Covers: rule:daemon/listener-checked
#[test]
fn a_request_does_not_go_to_the_processes_of_another_group() {
    let other = ALIAS.replace("/ ROOT", "/other ROOT").replace("group=web", "group=other");
    let server = start(
        "exchanged",
        &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\nWSGIDaemonProcess other\n{other}{ALIAS}"),
    );
    server.wait_for_log("resuming normal operations", 1);
    std::fs::rename(socket_of(&server, "other"), socket_of(&server, "web")).expect("own folder");
    assert_eq!(server.get("/").status(), 503, "{}", server.log());
    server.wait_for_log("the socket there was made for '", 1);
}

// Covers: rule:daemon/socket-folder, code:WSGI0964
#[test]
fn a_folder_that_others_may_write_to_is_no_place_for_sockets() {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        // Then there is nobody whom the folder would have to be kept from.
        return;
    }
    let folder = crate::httpd::Folder::new("unsafe-folder");
    let inside = folder.path().join("open");
    std::fs::create_dir(&inside).expect("own folder");
    std::fs::set_permissions(&inside, PermissionsExt::from_mode(0o775)).expect("own folder");
    let server = start(
        "unsafe",
        &format!("WSGISocketPrefix {}/s\nWSGIDaemonProcess web connect-timeout=1\n{ALIAS}", inside.display()),
    );
    server.wait_for_log("WSGI0964: Unix domain socket '", 1);
    assert_eq!(level_of(&server, "WSGI0964"), "alert");
    assert!(server.log().contains("can be written by group or others (mode 0775)"), "{}", server.log());
    server.wait_for_log("resuming normal operations", 1);
    assert_eq!(server.get("/").status(), 503, "{}", server.log());
    // One that belongs to the user who serves.
    std::fs::set_permissions(&inside, PermissionsExt::from_mode(0o755)).expect("own folder");
    std::os::unix::fs::chown(&inside, Some(65_534), None).expect("root may");
    server.signal(libc::SIGUSR1);
    server.wait_for_log("belongs to uid 65534, who is neither root nor the user that starts the server", 1);
    server.wait_for_log("resuming normal operations", 2);
    std::os::unix::fs::chown(&inside, Some(0), None).expect("root may");
    server.signal(libc::SIGUSR1);
    server.wait_for_log("resuming normal operations", 3);
    assert_eq!(server.get("/").status(), 200, "{}", server.log());
}

// Covers: rule:daemon/own-place
#[test]
fn no_two_processes_that_run_share_a_place() {
    let server =
        start("places", &format!("WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web setenv=PROBE_SAYS_PLACE=1\n{ALIAS}"));
    // This daemon does not leave when it is asked to, as one with a request that takes long.
    for generation in 1..=5 {
        server.wait_for_log("resuming normal operations", generation);
        server.wait_for_log("place ", generation);
        if generation < 5 {
            server.signal(libc::SIGUSR1);
        }
    }
    let log = server.log();
    let places: Vec<&str> = log.lines().filter_map(|line| line.split("place ").nth(1)).collect();
    let different: std::collections::HashSet<&str> = places.iter().copied().collect();
    assert_eq!((places.len(), different.len()), (5, 5), "{places:?}");
    assert_eq!(server.get("/").status(), 200, "{}", server.log());
}

/// What a process has open, but for its standard streams.
fn open_files(pid: libc::pid_t) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let file = |entry: std::fs::DirEntry| {
        let number: i32 = entry.file_name().to_string_lossy().parse().ok()?;
        (number > 2).then(|| std::fs::read_link(entry.path()).ok().map(|target| target.display().to_string())).flatten()
    };
    entries.filter_map(file).collect()
}

fn name_of(pid: libc::pid_t) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Waits until a condition holds that nothing announces.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// Covers: rule:daemon/siblings-hold-nothing
#[test]
fn a_process_that_another_module_forks_holds_nothing_of_the_daemons() {
    let modules = env!("HTTPD_MODULES");
    let server = start(
        "siblings",
        &format!(
            "LoadModule cgid_module {modules}/mod_cgid.so\nScriptSock ROOT/cgid\nWSGISocketPrefix ROOT/s\n\
             WSGIDaemonProcess web threads=2\n{ALIAS}"
        ),
    );
    for starts in 1..=2 {
        server.wait_for_log("AH00489", starts);
        let pid: libc::pid_t = server.get("/").entry("pid").expect("it is told").parse().expect("a number");
        // The other ends of most of these are the server's.
        let own: Vec<String> = open_files(pid).into_iter().filter(|file| !file.starts_with("/memfd")).collect();
        assert!(own.len() >= 3, "{own:?}");
        let holds = |other: libc::pid_t| {
            let open = open_files(other);
            open.iter().any(|file| own.contains(file) || file.contains("wsgi status"))
        };
        // mod_cgid's process and Apache's children are forks of the server. So is, for a moment, each process of ours.
        wait_until("no fork of the server holds anything", || {
            let all = server.children().into_iter();
            let forks: Vec<_> = all.filter(|pid| name_of(*pid).starts_with("apache2")).collect();
            forks.len() >= 2 && !forks.into_iter().any(holds)
        });
        if starts == 1 {
            server.signal(libc::SIGUSR1);
        }
    }
    let all = server.children();
    let named = all.iter().map(|pid| (*pid, name_of(*pid)));
    let daemons: Vec<_> = named.filter(|(_, name)| !name.is_empty() && !name.starts_with("apache2")).collect();
    assert!(daemons.len() >= 2, "a daemon and the log writer: {daemons:?}");
    server.signal(libc::SIGKILL);
    wait_until("the daemons end with the server", || !daemons.iter().any(|(pid, name)| name_of(*pid) == *name));
    for pid in all {
        // SAFETY: processes of this server, which has gone.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}
