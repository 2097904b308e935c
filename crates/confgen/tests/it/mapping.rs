//! Which part of a site answers which URL, asked of a real httpd.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confgen::httpd::{HeldPort, Launch, Readiness, Server, ServerRoot, Signal};
use confgen::render::{RenderOptions, WriteOptions};
use serde_json::{Value, json};

use crate::fixture::{rendered, this_machine};

const GENEROUS: Duration = Duration::from_secs(20);

const APPLICATION: &str = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [('app %s|%s' % (environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]\n";

/// Another server: it answers with its name and the path that it was asked for.
struct Backend {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Backend {
    fn new(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(mut connection) = connection else { continue };
                let mut line = String::new();
                let _ = BufReader::new(&connection).read_line(&mut line);
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push(path.clone());
                let body = format!("{name} {path}");
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = connection.write_all((head + &body).as_bytes());
            }
        });
        Self { address, asked }
    }
}

/// A running server with one site for each name.
pub(crate) struct Site {
    pub(crate) root: ServerRoot,
    server: Server,
    address: SocketAddr,
}

impl Site {
    /// `DIR` in the sites stands for the folder with `app.wsgi` and `files/`.
    pub(crate) fn start(folder: &std::path::Path, sites: &Value, more: &Value) -> Self {
        let root = ServerRoot::temporary(None).unwrap();
        let port = HeldPort::loopback().unwrap();
        let mut spec = json!({"server": {"listen": {"http": port.address().to_string()}}, "sites": sites});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text =
            spec.to_string().replace("DIR", folder.to_str().unwrap()).replace("LISTEN", &port.address().to_string());
        let options =
            RenderOptions { server_root: Some(root.path().to_owned()), check_files: None, ..RenderOptions::default() };
        let tree = rendered(&text, &this_machine(), &options).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        tree.write(&WriteOptions::default()).unwrap();
        let server = Launch::new(&tree.choice.httpd, root.path())
            .ready_when(Readiness::Answers(port.address()))
            .proxy_protocol(tree.choice.proxy_protocol)
            .within(GENEROUS)
            .start()
            .unwrap();
        Self { root, server, address: port.address() }
    }

    /// Status and body.
    pub(crate) fn get(&self, host: &str, path: &str) -> (String, String) {
        let (status, _, body) = self.ask("GET", host, path);
        (status, body)
    }

    /// What is answered to these bytes.
    pub(crate) fn talk(&self, bytes: &str) -> String {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that refuses may reset.
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Status, head and body.
    pub(crate) fn ask(&self, method: &str, host: &str, path: &str) -> (String, String, String) {
        let mut connection = TcpStream::connect(self.address).unwrap();
        write!(connection, "{method} {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        (status, head.to_owned(), body.to_owned())
    }

    pub(crate) fn end(mut self) {
        self.server.stop(Signal::SIGTERM, GENEROUS, |_| {}).unwrap();
        drop(self.root);
    }
}

fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("app.wsgi"), APPLICATION).unwrap();
    for path in ["files/in", "files/s/in", "files/$1&d/app"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    for path in ["files/x", "files/in/x", "files/app.txt", "files/$1&d/x", "files/$1&d/app/x"] {
        fs::write(folder.path().join(path), format!("file {path}")).unwrap();
    }
    folder
}

#[test]
fn a_client_never_chooses_the_host_of_an_upstream() {
    let (backend, other) = (Backend::new("backend"), Backend::new("other"));
    let folder = folder();
    let mut sites = serde_json::Map::new();
    let mut expected = Vec::new();
    for (index, mount) in ["/", "/u", "/u/"].iter().enumerate() {
        for (number, path) in ["", "/", "/base", "/base/"].iter().enumerate() {
            let host = format!("s{index}{number}.example");
            let to = format!("http://{}{path}", backend.address);
            sites.insert(format!("s{index}{number}"), json!({"hosts": [host], "upstreams": {*mount: {"to": to}}}));
            expected.push((host, mount.trim_end_matches('/'), path.trim_end_matches('/')));
        }
    }
    let site = Site::start(folder.path(), &sites.into(), &json!({}));
    let evil = other.address;
    for (host, mount, base) in expected {
        for (asked, passed) in [
            (format!("{mount}/@{evil}/x"), format!("{base}/@{evil}/x")),
            (format!("{mount}/zz"), format!("{base}/zz")),
            (format!("{mount}/..;/x"), format!("{base}/..;/x")),
            (format!("{mount}/"), format!("{base}/")),
            (format!("{mount}//"), format!("{base}/")),
            (format!("/{mount}//zz"), format!("{base}/zz")),
            (format!("{mount}/:{}/", evil.port()), format!("{base}/:{}/", evil.port())),
            (format!("{mount}/zz?q=/@{evil}"), format!("{base}/zz?q=/@{evil}")),
        ] {
            let (status, body) = site.get(&host, &asked);
            assert_eq!(
                (status.as_str(), body.as_str()),
                ("200", format!("backend {passed}").as_str()),
                "{host} {asked}"
            );
        }
        if !mount.is_empty() {
            assert_ne!(site.get(&host, &format!("{mount}@{evil}/x")).0, "200");
            let (status, body) = site.get(&host, mount);
            assert_eq!(status, "200");
            assert!(body == format!("backend {base}") || body == "backend /", "{body}");
        }
    }
    assert!(other.asked.lock().unwrap().is_empty(), "{:?}", other.asked);
    assert!(backend.asked.lock().unwrap().iter().all(|path| !path.starts_with("//")));
    site.end();
}

#[test]
fn the_longest_path_wins_whatever_it_serves() {
    let backend = Backend::new("backend");
    let folder = folder();
    let to = format!("http://{}", backend.address);
    let (app, files, up) =
        (json!({"script": "DIR/app.wsgi"}), json!({"dir": "DIR/files"}), json!({"to": format!("{to}/b")}));
    let sites = json!({
        "a": {
            "hosts": ["a.example"],
            "upstreams": {"/": up, "/s/up": up, "/app/up": up},
            "static": {"/s": {"dir": "DIR/files", "cache": "1d"}, "/app/in": files, "/s/app/in": files, "/one": {"file": "DIR/files/x"}},
            "apps": {"/app": app, "/s/app": app, "/s/app/in/deep.er": app, "~ ^/re/[0-9]+": app},
            "health": {"path": "/healthz"},
        },
        "b": {
            "hosts": ["b.example"],
            "apps": {"/": app, "/healthz/app": app, "/h/app": app},
            "static": {"/files": {"dir": "DIR/files/$1&d"}, "/h": {"dir": "DIR/files", "handler": "md"}},
            "handlers": {"md": {"script": "DIR/app.wsgi"}},
            "upstreams": {"/files/up": up, "/h/up": up},
            "health": {"path": "/healthz"},
        },
        "c": {"hosts": ["c.example"], "static": {"/": files}, "apps": {"/app": app}, "upstreams": {"/in/up": up}},
        "d": {"hosts": ["d.example"], "apps": {"/": app, "/files/app": app}, "static": {"/files": {"dir": "DIR/files/$1&d"}}},
    });
    let site = Site::start(folder.path(), &sites, &json!({}));
    let wrong: Vec<String> = [
        ("a", "/zz", "backend /b/zz"),
        ("a", "/apple", "backend /b/apple"),
        ("a", "/app", "app /app|"),
        ("a", "/app/zz", "app /app|/zz"),
        ("a", "/app/up/zz", "backend /b/zz"),
        ("a", "/app/in/x", "file files/x"),
        ("a", "/s/x", "file files/x"),
        ("a", "/s/in/x", "file files/in/x"),
        ("a", "/s/app.txt", "file files/app.txt"),
        ("a", "/s/app", "app /s/app|"),
        ("a", "/s/app/zz", "app /s/app|/zz"),
        ("a", "/s/app/in/x", "file files/x"),
        ("a", "/s/app/in/deep.er/x", "app /s/app/in/deep.er|/x"),
        ("a", "/s/up/zz", "backend /b/zz"),
        ("a", "/one", "file files/x"),
        ("a", "/healthz", "ok\n"),
        ("a", "/re/12", "app /re/12|"),
        ("b", "/zz", "app |/zz"),
        ("b", "/files/x", "file files/$1&d/x"),
        ("b", "/files/up/x", "backend /b/x"),
        ("b", "/healthz", "ok\n"),
        ("b", "/healthz/app/x", "app /healthz/app|/x"),
        ("b", "/h/app/x", "app /h/app|/x"),
        ("b", "/h/up/x", "backend /b/x"),
        ("c", "/x", "file files/x"),
        ("c", "/app/x", "app /app|/x"),
        ("c", "/in/x", "file files/in/x"),
        ("c", "/in/up/x", "backend /b/x"),
        ("d", "/files/x", "file files/$1&d/x"),
        ("d", "/files/app/x", "app /files/app|/x"),
        ("d", "//files//app//x", "app /files/app|/x"),
    ]
    .iter()
    .filter_map(|(host, path, expected)| {
        let (status, body) = site.get(&format!("{host}.example"), path);
        (body != *expected).then(|| format!("{host} {path}: expected {expected:?}, got {status} {body:?}"))
    })
    .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What files say of themselves does not hold for an application or a server below them.
    for (path, cached) in [("/s/x", true), ("/s/app/zz", false), ("/s/up/zz", false), ("/s/app/in/x", false)] {
        let (_, head, _) = site.ask("GET", "a.example", path);
        assert_eq!(head.contains("Expires:"), cached, "{path}\n{head}");
    }
    site.end();
}

#[test]
fn what_would_never_be_reached_is_refused() {
    for (text, words) in [
        (
            "sites: {s: {upstreams: {/u: {to: 'http://h'}}, apps: {'~ ^/u/x[0-9]+/y': {script: /a}}}}",
            "the upstream at `/u` comes first",
        ),
        (
            "sites: {s: {static: {/st: {dir: /d}}, apps: {'~ ^/st/[a-z]+': {script: /a}}}}",
            "the static path at `/st` comes first",
        ),
        (
            "sites: {s: {static: {/st: {dir: /d}}, apps: {/: {script: /a}}, health: {path: /st/ok, answers: app}}}",
            "`sites.s.static./st` comes first",
        ),
        ("sites: {s: {apps: {/a%20b: {script: /a}}}}", "write `/a b`"),
        ("sites: {s: {apps: {/a/../b: {script: /a}}}}", "write `/b`"),
        ("sites: {s: {static: {//x: {dir: /a}}}}", "write `/x`"),
        ("sites: {s: {health: {path: /a/./ok}}}", "write `/a/ok`"),
        ("sites: {s: {upstreams: {/u: {to: 'http://user@h'}}}}", "error[CG126]"),
    ] {
        let errors = rendered(text, &crate::fixture::machine(), &RenderOptions::default()).expect_err(text);
        assert!(errors.contains(words), "{text}\n{errors}");
    }
    for text in [
        "sites: {s: {upstreams: {/u: {to: 'http://h'}}, apps: {'~ ^/ux': {script: /a}}}}",
        "sites: {s: {upstreams: {/: {to: 'http://h'}}, apps: {'~ ^/ux/y': {script: /a}}}}",
        "sites: {s: {static: {/st: {dir: /d}}, apps: {/: {script: /a}, /st/ok: {script: /b}}, health: {path: /st/ok/x, answers: app}}}",
        "sites: {s: {apps: {'/100%': {script: /a}}}}",
    ] {
        rendered(text, &crate::fixture::machine(), &RenderOptions::default())
            .unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    }
}

#[test]
fn names_are_those_that_clients_send() {
    let folder = folder();
    let sites = json!({
        "idna": {"hosts": ["münchen.example", "*.bücher.example"], "static": {"/": {"dir": "DIR/files/in"}}},
        "dot": {"hosts": ["Dot.example."], "apps": {"/": {"script": "DIR/app.wsgi"}}},
        "wild": {"hosts": ["*.shop.example", "*.other.example"], "static": {"/": {"dir": "DIR/files"}}},
        "exact": {"hosts": ["one.shop.example"], "apps": {"/": {"script": "DIR/app.wsgi"}}},
    });
    let site = Site::start(folder.path(), &sites, &json!({}));
    for (host, path, body) in [
        ("xn--mnchen-3ya.example", "/x", "file files/in/x"),
        ("a.xn--bcher-kva.example", "/x", "file files/in/x"),
        ("dot.example", "/x", "app |/x"),
        ("any.shop.example", "/x", "file files/x"),
        ("deep.any.other.example", "/x", "file files/x"),
        ("one.shop.example", "/x", "app |/x"),
    ] {
        assert_eq!(site.get(host, path), ("200".to_owned(), body.to_owned()), "{host}");
    }
    // The domain itself is none of the names below it.
    assert_ne!(site.get("shop.example", "/x").0, "200");
    site.end();
}

#[test]
fn connections_through_a_load_balancer_name_their_client() {
    let folder = folder();
    let application = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [environ['REMOTE_ADDR'].encode()]\n";
    fs::write(folder.path().join("app.wsgi"), application).unwrap();
    let sites = json!({"s": {"apps": {"/": {"script": "DIR/app.wsgi"}}}});
    let by_key = json!({"server": {"listen": {"http": "LISTEN", "proxy-protocol": true}}});
    let by_raw = json!({
        "server": {"listen": {"http": "LISTEN"}, "modules": ["remoteip"]},
        "raw": [{"at": "server.end", "text": "RemoteIPProxyProtocol On"}],
    });
    for more in [by_key, by_raw] {
        // It would never be ready if it were asked without the header.
        let site = Site::start(folder.path(), &sites, &more);
        let request = "GET / HTTP/1.0\r\nHost: x\r\n\r\n";
        let answer = site.talk(&format!("PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n{request}"));
        assert!(answer.ends_with("\r\n\r\n192.0.2.7"), "{answer}");
        assert!(!site.talk(request).starts_with("HTTP/"), "without the header");
        site.end();
    }
}
