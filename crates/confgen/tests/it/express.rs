//! `confgen import express` and `confgen express`, beside the real `mod_wsgi-express`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use confgen::import::express::{OPTIONS, parse, spec};

use crate::fixture::workspace;
use crate::place::{Place, port};

/// The names that `mod_wsgi-express start-server --help` of 6.1.1 prints.
const NAMES: &str = include_str!("express-options.txt");

const SCRIPT: &str = r#"
import json, os, sys

def answer(name):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json"), ("X-Called", name)])
        names = ("SCRIPT_NAME", "PATH_INFO", "REQUEST_METHOD", "QUERY_STRING", "mod_wsgi.application_group")
        more = {key: environ.get(key) for key in ("HTTP_AUTHORIZATION", "SHOP", "REMOTE_ADDR", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess")}
        body = environ["wsgi.input"].read()
        return [json.dumps([name, os.getcwd(), "extra" in sys.path[0] or "extra" in sys.path[1], len(body)] + [environ[key] for key in names] + [more]).encode()]
    return application

application = answer("application")
other = answer("other")

def allow_access(environ, host):
    return True

def check_password(environ, user, password):
    return user == "joe" and password == "secret"
"#;

/// Command lines, and URLs beyond those that all are asked for.
const LINES: &[(&str, &[&str])] = &[
    ("app.wsgi", &[]),
    ("app.wsgi --processes 2", &[]),
    ("app.wsgi --threads 1", &[]),
    ("app.wsgi --processes 3 --threads 2", &[]),
    ("app.wsgi --callable-object other", &[]),
    ("--entry-point app.wsgi", &[]),
    ("--application-type module package.wsgi", &[]),
    ("--application-type module package.wsgi --callable-object other", &[]),
    ("app.wsgi --application-group named", &[]),
    ("app.wsgi --application-group %{GLOBAL}", &[]),
    ("app.wsgi --setenv SHOP blue", &[]),
    ("app.wsgi --setenv SHOP 'a \"quoted\" value'", &[]),
    ("app.wsgi --url-alias /static static", &["/static/a.txt", "/static/none", "/staticx"]),
    ("app.wsgi --url-alias /one.txt static/a.txt", &["/one.txt"]),
    ("app.wsgi --url-alias /static static --url-alias /static/deep other", &["/static/deep/b.txt", "/static/a.txt"]),
    ("app.wsgi --python-path extra", &[]),
    ("app.wsgi --working-directory extra", &[]),
    ("app.wsgi --limit-request-body 10", &[]),
    ("app.wsgi --limit-request-body 1000", &[]),
    ("app.wsgi --maximum-requests 100 --request-timeout 20", &[]),
    ("app.wsgi --startup-timeout 10 --shutdown-timeout 3 --graceful-timeout 5 --deadlock-timeout 20", &[]),
    ("app.wsgi --queue-timeout 10 --connect-timeout 5 --socket-timeout 30 --inactivity-timeout 60", &[]),
    ("app.wsgi --keep-alive-timeout 0", &[]),
    ("app.wsgi --keep-alive-timeout 10", &[]),
    ("app.wsgi --server-backlog 100 --daemon-backlog 50 --max-clients 30", &[]),
    ("app.wsgi --send-buffer-size 65536 --receive-buffer-size 65536 --response-buffer-size 131072", &[]),
    ("app.wsgi --disable-reloading", &[]),
    ("app.wsgi --embedded-mode", &[]),
    ("app.wsgi --map-head-to-get Off", &[]),
    ("app.wsgi --map-head-to-get On", &[]),
    ("app.wsgi --trust-proxy-header X-Forwarded-For --trust-proxy 127.0.0.1", &[]),
    ("app.wsgi --trust-proxy-header X-Forwarded-Proto --trust-proxy 10.0.0.1", &[]),
    ("app.wsgi --chunked-request", &[]),
    ("app.wsgi --host-access-script app.wsgi", &[]),
    ("app.wsgi --auth-user-script app.wsgi", &[]),
    ("app.wsgi --log-level info --access-log", &[]),
    ("app.wsgi --server-metrics --switch-interval 0.01", &[]),
    ("app.wsgi --server-mpm worker", &[]),
    ("app.wsgi --enable-sendfile --locale C.UTF-8", &[]),
    ("--application-type static static", &["/a.txt", "/none.txt"]),
];

fn project(place: &Place) {
    let put = |name: &str, text: &str| {
        let file = place.site().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    put("app.wsgi", SCRIPT);
    put("package/__init__.py", "");
    put("package/wsgi.py", SCRIPT);
    put("static/a.txt", "a");
    put("other/b.txt", "b");
    put("extra/x.py", "");
}

fn ask(number: u16, method: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", number)).unwrap();
    let body = if method == "POST" { "Content-Length: 12\r\n\r\nhello, world" } else { "\r\n" };
    // `joe:secret`.
    write!(connection, "{method} {path} HTTP/1.0\r\nHost: localhost:{number}\r\nAuthorization: Basic am9lOnNlY3JldA==\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n{body}").unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines = head.lines();
    let mut kept = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        if ["location", "x-called", "www-authenticate"].contains(&name.as_str()) {
            kept += &format!("\n{}", line.split(" realm=").next().unwrap());
        }
    }
    let body = if body.contains("<!DOCTYPE") { "(a page of httpd)" } else { body };
    format!("{kept}\n{body}").replace(&format!(":{number}"), ":PORT")
}

/// A server of the real program, which ends with this.
struct Real {
    child: std::process::Child,
}

impl Real {
    #[expect(clippy::disallowed_methods, reason = "the peer")]
    fn start(program: &Path, words: &[String], folder: &Path, root: &Path, number: u16) -> Self {
        let mut command = Command::new(program);
        command.arg("start-server").args(words).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            &number.to_string(),
            "--server-root",
            &root.display().to_string(),
        ]);
        command.args(["--user", "www-data", "--group", "www-data"]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let child = command.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !answers(number) {
            assert!(Instant::now() < end, "mod_wsgi-express does not answer: {words:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let Ok(handle) = confgen::httpd::Handle::open(self.child.id()) {
            let _ = handle.signal(confgen::httpd::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

fn answers(number: u16) -> bool {
    let Ok(mut connection) = TcpStream::connect(("127.0.0.1", number)) else { return false };
    let _ = write!(connection, "GET / HTTP/1.0\r\n\r\n");
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    !answer.is_empty()
}

/// What differs for a command line.
fn compared(program: &Path, line: &str, more: &[&str]) -> Vec<String> {
    let place = Place::new();
    project(&place);
    let (real, ours) = (port(), port());
    let words = shlex_of(line);
    let root = place.folder().join("express");
    fs::create_dir(&root).unwrap();
    let server = Real::start(program, &words, &place.site(), &root, real.port());
    let number = ours.port().to_string();
    let mut arguments = vec!["express", "start-server"];
    arguments.extend(words.iter().map(String::as_str));
    arguments.extend(["--host", "127.0.0.1", "--port", &number, "--user", "www-data", "--group", "www-data"]);
    let started = place.launch(&arguments);
    let mut differences = Vec::new();
    for path in ["/", "/a/b?c=d", "/a%20b//c"].iter().chain(more) {
        for method in ["GET", "HEAD", "POST"] {
            let (mut before, after) = (ask(real.port(), method, path), ask(ours.port(), method, path));
            if line.contains("--embedded-mode") {
                // Of httpd's own processes the working directory is the root, which a note says.
                before = before.replace(&format!("\"{}\"", place.site().display()), "\"/\"");
            }
            if before != after {
                differences
                    .push(format!("{line}: {method} {path}\n--- mod_wsgi-express\n{before}\n--- confgen\n{after}"));
            }
        }
    }
    started.interrupt();
    let _ = started.end();
    drop(server);
    differences
}

fn shlex_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some((word, after)) = next_word(rest) {
        words.push(word);
        rest = after;
    }
    words
}

/// The next word of a line of this file: plain, or in single quotes.
fn next_word(line: &str) -> Option<(String, &str)> {
    let line = line.trim_start();
    if let Some(quoted) = line.strip_prefix('\'') {
        let (word, after) = quoted.split_once('\'')?;
        return Some((word.to_owned(), after));
    }
    let end = line.find(' ').unwrap_or(line.len());
    (end > 0).then(|| (line[..end].to_owned(), &line[end..]))
}

#[test]
fn servers_answer_as_those_of_mod_wsgi_express() {
    let program = workspace().join("target/peer/bin/mod_wsgi-express");
    if !program.is_file() || !nix::unistd::Uid::effective().is_root() {
        // `make peer` installs it; only root may name users.
        return;
    }
    assert!(LINES.len() >= 40);
    let next = AtomicUsize::new(0);
    let differences = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((line, more)) = LINES.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let found = compared(&program, line, more);
                    differences.lock().unwrap().extend(found);
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n\n"));
}

#[test]
fn every_option_is_known() {
    let names: Vec<&str> = NAMES.lines().map(|line| line.trim_start_matches("--")).collect();
    assert_eq!(names.len(), 147);
    for name in names {
        assert!(OPTIONS.iter().any(|option| option.name == name), "{name}");
    }
    assert!(OPTIONS.is_sorted_by_key(|option| option.name));
}

#[test]
fn every_option_becomes_a_key_or_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for option in OPTIONS {
        let values = |word: &str| vec![word.to_owned(); option.values];
        let mut seen = false;
        // Some value of each kind fits.
        for word in ["5", "/srv", "script", "unix:/run/x", "10.0.0.1", "On", "X-Forwarded-For"] {
            let mut words = vec!["start-server".to_owned(), "app.wsgi".to_owned(), format!("--{}", option.name)];
            words.extend(values(word));
            match spec(&parse(&words, PathBuf::from(folder.path()))) {
                Ok(made) => seen = made.spec["schema"] == "confgen/1",
                Err(diagnostics) => {
                    let text: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
                    let helped = diagnostics
                        .iter()
                        .all(|diagnostic| diagnostic.code.id() == "CG166" && diagnostic.span().is_some());
                    assert!(helped, "{text:?}");
                    seen |= text.iter().any(|line| {
                        line.contains(&format!("`--{}`", option.name))
                            || line.contains("TLS needs")
                            || line.contains("no port")
                            || line.contains("believed")
                    });
                }
            }
        }
        assert!(seen, "{}", option.name);
    }
}

#[test]
fn mistakes_are_reported_all_at_once() {
    let place = Place::new();
    let line =
        "mod_wsgi-express start-server app.wsgi --thread 3 --http2 --port=70000 --request-timeout soon --setenv A";
    let (code, out, errors) = place.run(&["import", "express", line]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{errors}");
    for expected in [
        "unknown option `--thread`",
        "write the whole name: `--threads`",
        "`--http2` has no counterpart",
        "`70000` is no port",
        "`soon` is no value for `--request-timeout`",
        "`--setenv` takes 2 values",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let (code, _, errors) = place.run(&["import", "express", "module-config"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("`module-config` starts no server"), "{errors}");
    let (code, _, errors) = place.run(&["express", "setup-server", "app.wsgi"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("--server-root /srv/www"), "{errors}");
    let (code, out, errors) = place.run(&["express", "setup-server", "app.wsgi", "--server-root", "tree"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("httpd.conf") && place.site().join("tree/httpd.conf").is_file(), "{out}");
}
