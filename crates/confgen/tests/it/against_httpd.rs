//! Rendered trees read by the real httpd: what it accepts, what it refuses and where, and that values arrive as they were.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use confgen::httpd::{ConfigTest, ConfigTestError, HeldPort, Launch, Readiness, ServerRoot, Signal};
use confgen::render::{RenderOptions, Tree, WriteOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{rendered, shown, this_machine};

const GENEROUS: Duration = Duration::from_secs(20);

/// Renders and writes into a fresh root, and lets httpd read it.
fn tested(text: &str) -> (ServerRoot, Tree, Result<(), String>) {
    let root = ServerRoot::temporary(None).unwrap();
    let options =
        RenderOptions { server_root: Some(root.path().to_owned()), check_files: None, ..RenderOptions::default() };
    let tree = rendered(text, &this_machine(), &options).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    tree.write(&WriteOptions::default()).unwrap();
    let config = tree.config();
    let test =
        ConfigTest { binary: &tree.choice.httpd, root: root.path(), config: &config, environment: &tree.environment };
    let result = match test.run() {
        Ok(_) => Ok(()),
        Err(ConfigTestError::Refused { complaints, .. }) => {
            let errors: Vec<_> = complaints
                .iter()
                .map(|complaint| tree.explain(root.path(), complaint))
                .filter(confgen::diagnostic::Diagnostic::is_error)
                .collect();
            Err(shown(&errors))
        }
        Err(error) => panic!("{error}"),
    };
    (root, tree, result)
}

/// Mistakes that only httpd sees: the spec, the line and the text under the caret, and words of httpd's message.
const SEEDED: &[(&str, &str, u32, &str, &str)] = &[
    (
        "an unknown directive in a raw text",
        "raw:\n  - at: server.end\n    text: |\n      Timeout 60\n      Timout 70\n",
        5,
        "Timout 70",
        "Invalid command 'Timout'",
    ),
    (
        "an argument too few in a raw text of a site",
        "sites: {main: {}}\nraw: [{at: site.main.end, text: 'KeepAlive'}]\n",
        2,
        "KeepAlive",
        "KeepAlive must be On or Off",
    ),
    (
        "a directive where it is not allowed",
        "sites: {main: {}}\nraw: [{at: site.main.start, text: 'Listen 1'}]\n",
        2,
        "Listen 1",
        "cannot occur within <VirtualHost>",
    ),
    (
        "a regular expression that is none",
        "sites:\n  main:\n    apps:\n      '~ ^/a(': {script: /etc/hostname}\n",
        4,
        "'~ ^/a('",
        "Regular expression could not be compiled",
    ),
    (
        "a log format with an unknown letter",
        "server:\n  log:\n    access: {format: '%h %!'}\n",
        3,
        "'%h %!'",
        "LogFormat",
    ),
    (
        "a level for a module that is not loaded",
        "server:\n  log:\n    level: {wsgi: info, nosuch: debug}\n",
        3,
        "debug",
        "nosuch",
    ),
    ("a backlog of zero", "server:\n  mpm-settings:\n    listen-backlog: 0\n", 3, "0", "ListenBacklog must be > 0"),
    ("a stack of zero bytes", "daemons:\n  d:\n    threads: 2\n    stack-size: 0\n", 4, "0", "nvalid stack size"),
    (
        "a document type for no file at all",
        "sites:\n  main: {}\nraw: [{at: site.main.end, text: 'AddType'}]\n",
        3,
        "AddType",
        "AddType requires at least two arguments",
    ),
    (
        "a file that is no module",
        "runtime:\n  module: /etc/hostname\n",
        2,
        "/etc/hostname",
        "Cannot load /etc/hostname into server",
    ),
];

#[test]
fn ten_mistakes_are_shown_where_they_were_made() {
    assert!(SEEDED.len() >= 10);
    let wrong: Vec<String> = SEEDED
        .iter()
        .filter_map(|(what, text, line, caret, words)| {
            let (_, _, result) = tested(text);
            let Err(errors) = result else { return Some(format!("{what}: httpd accepts it")) };
            let at = errors.lines().find(|shown| shown.starts_with(&format!("{line} |")));
            let carets = errors.lines().find(|shown| shown.trim_start().starts_with('|') && shown.contains('^'));
            let under = at.zip(carets).map(|(at, carets)| {
                let start = carets.find('^').unwrap_or_default();
                let length = carets[start..].chars().take_while(|character| *character == '^').count();
                at.chars().skip(start).take(length).collect::<String>()
            });
            let right = errors.contains("error[CG401]")
                && errors.contains(words)
                && errors.contains(&format!("--> spec.yaml:{line}:"))
                && under.as_deref() == Some(caret);
            (!right).then(|| format!("{what}: expected {words:?} at line {line} under {caret:?}\n{errors}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_rendered_is_accepted_under_every_mpm() {
    let app = tempfile::tempdir().unwrap();
    fs::write(app.path().join("it's [an] \"app\".wsgi"), "").unwrap();
    fs::create_dir(app.path().join("static")).unwrap();
    for mpm in this_machine().httpd.mpms {
        let text = serde_json::json!({
            "server": {
                "mpm": mpm,
                "mpm-settings": {"start-servers": 1, "max-connections-per-child": 5, "threads-per-child": 4, "max-request-workers": 8},
                "log": {"access": "json"},
                "keep-alive": "3s",
                "timeout": 30,
                "modules": ["rewrite"],
            },
            "daemons": {"d": {"processes": 2, "threads": 2, "home": app.path(), "python-path": [app.path()], "display-name": "%{GROUP}", "timeouts": {"request": 5}}},
            "sites": {
                "main": {
                    "env": {"A": "b c"},
                    "apps": {
                        "/": {"script": app.path().join("it's [an] \"app\".wsgi"), "daemon": "d", "pass-authorization": true, "env": {"X": "${HOME} \"q\" \\"}},
                        "/m": {"module": "json.decoder:JSONDecoder", "daemon": "d", "preload": false},
                        "/e": {"module": "json:loads", "interpreter": "own"},
                    },
                    "static": {"/s": {"dir": app.path().join("static"), "cache": "1d", "compress": true, "listing": true}},
                    "upstreams": {"/u": {"to": "http://127.0.0.1:9", "websocket": true, "timeout": "5s"}},
                    "limits": {"body": "1M", "header-timeout": "5s", "body-timeout": "5s"},
                    "proxies": {"trust": ["10.0.0.0/8", "::1"], "headers": ["X-Forwarded-For"]},
                    "health": {"path": "/healthz"},
                },
                "named": {"hosts": ["a.example", "*.b.example"], "apps": {}},
            },
            "raw": [{"at": "site.main.app./", "text": "Header set X y"}],
        });
        let (_root, tree, result) = tested(&text.to_string());
        if let Err(errors) = result {
            panic!("{mpm}\n{errors}\n{}", tree.text("httpd.conf").unwrap());
        }
    }
}

#[test]
fn sites_with_tls_are_accepted() {
    let data = crate::fixture::workspace().join("crates/confgen/tests/data");
    for profile in ["modern", "intermediate"] {
        let text = serde_json::json!({
            "server": {"listen": {"http": "127.0.0.1:8080", "https": "127.0.0.1:8443"}},
            "sites": {
                "a": {"hosts": ["rsa.example", "b.example"], "redirect": "canonical-https", "tls": {"profile": profile, "cert": data.join("rsa.pem"), "key": data.join("rsa.key"), "hsts": "180d"}},
                "c": {"hosts": ["ec.example"], "tls": {"cert": data.join("ec.pem"), "key": data.join("ec.key"), "client-ca": data.join("ec.pem")}},
            },
        });
        let (_root, _, result) = tested(&text.to_string());
        result.unwrap_or_else(|errors| panic!("{errors}"));
    }
}

/// Any text that a spec can hold.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~]{0,12}",
        2 => "[\\\\\"'$%{}<>#]{1,4}",
        1 => Just("${HOME}".to_owned()),
        1 => Just("${CG_DOLLAR}".to_owned()),
        1 => Just("%{ENV:PATH}".to_owned()),
        1 => "[\t ]{1,3}",
        1 => "\\PC{1,4}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A server that shows the variables of a request: mod_include prints each as it is.
fn served(values: &[String]) -> Vec<String> {
    let root = ServerRoot::temporary(None).unwrap();
    let port = HeldPort::loopback().unwrap();
    let folder = root.path().join("pages");
    fs::create_dir(&folder).unwrap();
    let mut page = String::new();
    let mut env = BTreeMap::new();
    for (index, value) in values.iter().enumerate() {
        page += &format!("<!--#echo encoding=\"none\" var=\"V{index}\" -->\u{1}");
        env.insert(format!("V{index}"), value);
    }
    fs::write(folder.join("page.txt"), page).unwrap();
    let text = serde_json::json!({
        "server": {"listen": {"http": port.address().to_string()}, "modules": ["include"], "environment": {"HOME": "expanded"}},
        "sites": {"main": {"env": env, "static": {"/": {"dir": folder}}}},
        "raw": [{"at": "site.main.end", "text": "<Location />\nOptions +Includes\nSetOutputFilter INCLUDES\n</Location>"}],
    });
    let options =
        RenderOptions { server_root: Some(root.path().to_owned()), check_files: None, ..RenderOptions::default() };
    let tree = rendered(&text.to_string(), &this_machine(), &options).unwrap_or_else(|errors| panic!("{errors}"));
    tree.write(&WriteOptions { adopt: true, ..WriteOptions::default() }).unwrap();
    let mut server = Launch::new(&tree.choice.httpd, root.path())
        .environment(tree.environment.clone())
        .ready_when(Readiness::Answers(port.address()))
        .within(GENEROUS)
        .start()
        .unwrap();
    let mut connection = TcpStream::connect(port.address()).unwrap();
    connection.write_all(b"GET /page.txt HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    server.stop(Signal::SIGTERM, GENEROUS, |_| {}).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let mut shown: Vec<String> = body.split('\u{1}').map(str::to_owned).collect();
    assert_eq!(shown.pop().as_deref(), Some(""), "{answer}");
    shown
}

#[test]
fn any_value_reaches_httpd_as_it_was() {
    let mut runner = TestRunner::new(Config { cases: 6, failure_persistence: None, ..Config::default() });
    let many = proptest::collection::vec(value(), 120..121);
    let outcome = runner.run(&many, |values| {
        prop_assert_eq!(served(&values), values);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
