//! What is served on every port and for every name, and which ports redirects name, asked of a real httpd.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use confgen::httpd::{HeldPort, Launch, Readiness, ServerRoot, Signal};
use confgen::render::RenderOptions;
use confgen::render::WriteOptions;
use serde_json::json;

use crate::fixture::{rendered, this_machine, workspace};

const GENEROUS: Duration = Duration::from_secs(20);

/// Status, Location and body.
fn get(address: SocketAddr, host: &str, path: &str) -> (String, String, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
    let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_default();
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), location.to_owned(), body.to_owned())
}

#[test]
fn health_checks_and_challenges_are_not_redirected() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let dir = folder.path().to_str().unwrap();
    for path in ["acme", "docs/.well-known/acme-challenge", "files"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    for path in ["acme/token", "docs/.well-known/acme-challenge/token", "docs/x", "files/x"] {
        fs::write(folder.path().join(path), path).unwrap();
    }
    let data = workspace().join("crates/confgen/tests/data");
    let tls = json!({"cert": data.join("ec.pem"), "key": data.join("ec.key")});
    let (http, https) = (HeldPort::loopback().unwrap(), HeldPort::loopback().unwrap());
    let acme = json!({"dir": format!("{dir}/acme")});
    let files = json!({"dir": format!("{dir}/files")});
    let text = json!({
        "server": {
            "listen": {"http": http.address().to_string(), "https": https.address().to_string()},
            "public": {"http": 80, "https": 443},
        },
        "sites": {
            "a": {
                "hosts": ["a.example"], "tls": tls, "health": {"path": "/healthz"},
                "static": {"/.well-known/acme-challenge": acme, "/files": files},
            },
            "b": {
                "hosts": ["b.example", "www.b.example"], "tls": tls, "redirect": "canonical-https",
                "static": {"/": {"dir": format!("{dir}/docs")}},
            },
            "c": {"hosts": ["c.example"], "static": {"/files": files}},
        },
    })
    .to_string();
    let root = ServerRoot::temporary(None).unwrap();
    let options =
        RenderOptions { server_root: Some(root.path().to_owned()), check_files: None, ..RenderOptions::default() };
    let tree = rendered(&text, &this_machine(), &options).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    tree.write(&WriteOptions::default()).unwrap();
    let mut server = Launch::new(&tree.choice.httpd, root.path())
        .ready_when(Readiness::Answers(http.address()))
        .within(GENEROUS)
        .start()
        .unwrap();
    let mut wrong = Vec::new();
    for (host, path, status, location, body) in [
        ("a.example", "/healthz", "200", "", "ok\n"),
        ("a.example", "//healthz", "200", "", "ok\n"),
        ("127.0.0.1", "/healthz", "200", "", "ok\n"),
        ("unknown.example", "/healthz", "200", "", "ok\n"),
        ("127.0.0.1", "/healthz/x", "404", "", ""),
        ("127.0.0.1", "/", "404", "", ""),
        ("a.example", "/", "301", "https://a.example/", ""),
        ("a.example", "/healthz/x", "301", "https://a.example/healthz/x", ""),
        ("a.example", "/files/x?q=1&r=%20", "301", "https://a.example/files/x?q=1&r=%20", ""),
        ("a.example", "/a%20b%3fc", "301", "https://a.example/a%20b%3fc", ""),
        ("a.example", "//evil.example/x", "301", "https://a.example//evil.example/x", ""),
        ("a.example", "/.well-known/acme-challenge/token", "200", "", "acme/token"),
        ("a.example", "/.well-known/other", "301", "https://a.example/.well-known/other", ""),
        ("b.example", "/.well-known/acme-challenge/token", "200", "", "docs/.well-known/acme-challenge/token"),
        ("www.b.example", "/.well-known/acme-challenge/token", "200", "", "docs/.well-known/acme-challenge/token"),
        (
            "b.example",
            "/.well-known/acme-challenge/../../x",
            "301",
            "https://b.example/.well-known/acme-challenge/../../x",
            "",
        ),
        ("www.b.example", "/x", "301", "https://b.example/x", ""),
        // httpd's own redirect to the folder.
        ("c.example", "/files", "301", "http://c.example/files/", ""),
    ] {
        let found = get(http.address(), host, path);
        if (found.0.as_str(), found.1.as_str()) != (status, location) || (status == "200" && found.2 != body) {
            wrong.push(format!("{host} {path}: {found:?}"));
        }
    }
    server.stop(Signal::SIGTERM, GENEROUS, |_| {}).unwrap();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), tree.text("httpd.conf").unwrap());
    assert_eq!(conf_lines(&tree, "SSLSessionCache "), 1);
    // On the https port other names have the health check, too.
    let conf = tree.text("httpd.conf").unwrap();
    let unknown: Vec<_> = conf.split("<VirtualHost").filter(|host| host.contains("\"default.invalid\"")).collect();
    assert_eq!(unknown.len(), 2, "{conf}");
    assert!(unknown.iter().all(|host| host.contains("Alias \"/healthz\"")), "{conf}");
}

fn conf_lines(tree: &confgen::render::Tree, start: &str) -> usize {
    tree.text("httpd.conf").unwrap().lines().filter(|line| line.starts_with(start)).count()
}

#[test]
fn an_upstream_takes_no_plain_request_of_a_site_that_redirects() {
    let text = "server: {listen: {http: 80, https: 443}}\nsites: {s: {hosts: [a.example], tls: {cert: /c, key: /k}, upstreams: {/: {to: 'http://127.0.0.1:1'}, /.well-known/acme-challenge: {to: 'http://127.0.0.1:2'}}}}";
    let conf = crate::fixture::httpd_conf(text);
    let plain = conf.split("<VirtualHost").find(|host| host.contains("RewriteRule")).unwrap();
    assert!(plain.contains("127.0.0.1:2") && !plain.contains("127.0.0.1:1\""), "{plain}");
}
