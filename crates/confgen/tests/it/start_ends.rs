//! How `confgen start` ends, and what it shows and keeps: signals, logs on the terminal, logs that are kept.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use confgen::httpd::{Signal, process};

use crate::place::{Place, module, port, wait_for};

/// Answers when a file `go` stands beside it, and says by a file `asked` that it was asked; `/fail` raises an exception.
const WAITING: &str = r#"import os, time
here = os.path.dirname(__file__)
def application(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("asked to fail")
    if environ["PATH_INFO"] == "/wait":
        open(os.path.join(here, "asked"), "w").close()
        while not os.path.exists(os.path.join(here, "go")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"whole"]
"#;

fn waiting_place() -> Place {
    let place = Place::new();
    fs::set_permissions(place.site(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(place.site().join("app.wsgi"), WAITING).unwrap();
    place
}

fn spec(place: &Place, port: u16, log: &str) -> String {
    format!(
        "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{port}'}}, log: {{to: {log}}}}}\nruntime: {{module: {}}}\ndaemons: {{d: {{}}}}\nsites: {{s: {{apps: {{/: {{script: {}, daemon: d}}}}}}}}\n",
        module(),
        place.site().join("app.wsgi").display()
    )
}

/// Nothing listens any more once a stop has begun.
fn until_refused(port: u16) {
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sigterm_lets_running_requests_finish() {
    let place = waiting_place();
    let started = place.start(&["--grace", "60"]);
    let root = place.server_root();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| started.get("/wait"));
        wait_for(&place.site().join("asked"));
        started.signal(Signal::SIGTERM);
        until_refused(started.port());
        File::create(place.site().join("go")).unwrap();
        let answer = answer.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("whole"), "{answer}");
    });
    started.ends_with(0);
    assert!(!root.exists());
}

#[test]
fn requests_that_do_not_finish_within_the_grace_are_cut_off() {
    let place = waiting_place();
    let port = port();
    let spec = spec(&place, port.port(), "files").replace("d: {}", "d: {timeouts: {shutdown: 1s}}");
    let started = place.start_spec(&spec, &["--grace", "0"]);
    let handle = place.httpd();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| started.get("/wait"));
        wait_for(&place.site().join("asked"));
        started.signal(Signal::SIGTERM);
        assert!(handle.wait(Duration::from_secs(60)));
        assert!(!answer.join().unwrap().ends_with("whole"));
    });
    started.ends_with(0);
}

#[test]
fn a_second_interrupt_ends_everything_at_once_and_leaves_nothing() {
    let place = waiting_place();
    let started = place.start(&[]);
    let (root, handle) = (place.server_root(), place.httpd());
    let members = process::descendants(handle.id().pid);
    std::thread::scope(|scope| {
        scope.spawn(|| started.get("/wait"));
        wait_for(&place.site().join("asked"));
        started.interrupt();
        until_refused(started.port());
        started.interrupt();
        assert!(handle.wait(Duration::from_secs(60)));
    });
    let (code, said) = started.end();
    assert_eq!((code, said.contains("error[")), (Some(0), false), "{said}");
    assert!(!root.exists());
    let left: Vec<_> = members.iter().filter(|stat| stat.id().is_alive()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(place.run(&["status"]).1, "no server is running\n");
}

#[test]
fn errors_of_a_served_spec_are_shown_and_their_log_is_kept() {
    let place = waiting_place();
    let port = port();
    let mut started = place.start_spec(&spec(&place, port.port(), "files"), &[]);
    assert!(started.get("/fail").starts_with("HTTP/1.1 500"));
    started.until("LookupError: asked to fail");
    started.interrupt();
    let (code, said) = started.end();
    assert_eq!(code, Some(0), "{said}");
    let log = said.lines().last().unwrap().split("the log is kept: ").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(fs::read_to_string(log).unwrap().contains("LookupError: asked to fail"));
    let root = Path::new(log).ancestors().nth(2).unwrap();
    assert!(!root.join("httpd.conf").exists(), "nothing but the log is kept");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_log_on_the_terminal_works_where_standard_error_is_a_socket() {
    let place = waiting_place();
    let port = port();
    fs::write(place.site().join("spec.yaml"), spec(&place, port.port(), "terminal")).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = place.confgen(&["start", "--spec", "spec.yaml"]);
    let child = command.stdout(Stdio::null()).stderr(OwnedFd::from(theirs)).spawn().unwrap();
    drop(command);
    shows_errors(place, child, BufReader::new(ours), port.port());
}

#[test]
fn a_log_on_the_terminal_works_where_standard_error_is_the_pipe_of_another_user() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can start a process of another user.
        return;
    }
    let place = waiting_place();
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(place.folder().join("run"), fs::Permissions::from_mode(0o777)).unwrap();
    let port = port();
    fs::write(place.site().join("spec.yaml"), spec(&place, port.port(), "terminal")).unwrap();
    let mut command = place.confgen(&["start", "--spec", "spec.yaml"]);
    let mut child = command.uid(65_534).gid(65_534).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    shows_errors(place, child, errors, port.port());
}

fn shows_errors(place: Place, child: std::process::Child, errors: BufReader<impl Read>, port: u16) {
    let mut child = Guarded(child);
    let mut errors = errors;
    let mut said = String::new();
    let mut until = |text: &str| {
        while !said.contains(text) {
            assert!(errors.read_line(&mut said).unwrap() > 0, "{text}: {said}");
        }
    };
    until("serving ");
    let answer = crate::place::get(port, "/fail", "localhost");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    until("LookupError: asked to fail");
    confgen::httpd::Handle::open(child.0.id()).unwrap().signal(Signal::SIGINT).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    drop(place);
}

/// A failed assertion must not leave a server behind.
struct Guarded(std::process::Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_on_the_terminal_that_is_a_file_keeps_every_line() {
    let place = waiting_place();
    let port = port();
    fs::write(place.site().join("spec.yaml"), spec(&place, port.port(), "terminal")).unwrap();
    let path = place.site().join("said");
    // As a shell opens it for `2>said`: not for appending.
    let file = File::create(&path).unwrap();
    let mut command = place.confgen(&["start", "--spec", "spec.yaml"]);
    let mut child = Guarded(command.stdout(Stdio::null()).stderr(file).spawn().unwrap());
    let until = |text: &str| {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while !fs::read_to_string(&path).unwrap().contains(text) {
            assert!(std::time::Instant::now() < end, "{text}: {}", fs::read_to_string(&path).unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until("serving ");
    crate::place::get(port.port(), "/fail", "localhost");
    until("LookupError: asked to fail");
    confgen::httpd::Handle::open(child.0.id()).unwrap().signal(Signal::SIGINT).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let said = fs::read_to_string(&path).unwrap();
    for line in ["resuming normal operations", "\nserving spec.yaml on ", "caught SIGTERM, shutting down"] {
        assert!(said.contains(line), "{line} was overwritten: {said}");
    }
}

#[test]
fn a_graceful_stop_by_name_lets_running_requests_finish() {
    let place = waiting_place();
    let started = place.start(&[]);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| started.get("/wait"));
        wait_for(&place.site().join("asked"));
        let stop = scope.spawn(|| place.run(&["stop", "--graceful", "--timeout", "60"]));
        until_refused(started.port());
        File::create(place.site().join("go")).unwrap();
        assert!(answer.join().unwrap().ends_with("whole"));
        assert_eq!(stop.join().unwrap().0, Some(0));
    });
    started.ends_with(0);
}

#[test]
fn a_server_whose_log_is_no_file_is_restarted_and_waited_for() {
    let place = waiting_place();
    let port = port();
    let started = place.start_spec(&spec(&place, port.port(), "terminal"), &[]);
    let before: Vec<_> = process::descendants(place.httpd().id().pid).iter().map(|stat| stat.id()).collect();
    let (code, _, err) = place.run(&["restart"]);
    assert_eq!(code, Some(0), "{err}");
    let after: Vec<_> = process::descendants(place.httpd().id().pid).iter().map(|stat| stat.id()).collect();
    assert!(after.iter().any(|id| !before.contains(id)), "{before:?} {after:?}");
    started.interrupt();
    started.ends_with(0);
}
