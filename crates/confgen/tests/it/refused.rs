//! Bad input is refused before anything is written: the inputs that another tool let through, and those that it refused.

use std::fs;

use confgen::render::RenderOptions;

use crate::fixture::{draft, rendered, this_machine};

/// What is wrong, the spec, the code, and words of the message. `DIR` is an existing folder with `app.wsgi` in it.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("a port that is none", "server: {listen: {http: 70000}}", "CG105", "out of range: 70000"),
    ("a negative number of threads", "daemons: {d: {threads: -3}}", "CG105", "out of range: -3"),
    ("a bad log level", "server: {log: {level: wran}}", "CG106", "did you mean `warn`?"),
    ("a bad MPM", "server: {mpm: evnt}", "CG106", "did you mean `event`?"),
    ("a user that does not exist", "server: {user: www-dta}", "CG115", "there is no user `www-dta`"),
    (
        "a trusted address that is none",
        "sites: {s: {proxies: {trust: [300.1.1.1], headers: [X-Forwarded-For]}}}",
        "CG108",
        "is no IP address or network",
    ),
    (
        "a missing certificate",
        "server: {listen: {https: 8443}}\nsites: {s: {hosts: [a.example], tls: {cert: DIR/no.pem, key: DIR/no.key}}}",
        "CG113",
        "there is no file DIR/no.pem",
    ),
    (
        "a quote in a path",
        "sites: {s: {apps: {/: {script: \"DIR/it's.wsgi\"}}}}",
        "CG113",
        "there is no file DIR/it's.wsgi",
    ),
    (
        "a newline in the server name",
        "server: {server-name: \"x\\nInclude /etc/passwd\"}",
        "CG109",
        "contains a line break",
    ),
    ("a missing script", "sites: {s: {apps: {/: {script: DIR/ap.wsgi}}}}", "CG113", "did you mean `DIR/app.wsgi`?"),
    (
        "a missing module",
        "sites: {s: {apps: {/: {module: 'nosuchmodule.wsgi:app'}}}}",
        "CG114",
        "there is no Python module `nosuchmodule.wsgi`",
    ),
    (
        "a missing target of an alias",
        "sites: {s: {static: {/s: {dir: DIR/static}}}}",
        "CG113",
        "there is no directory DIR/static",
    ),
    (
        "a home with a space that is not there",
        "daemons: {d: {home: 'DIR/a b'}}",
        "CG113",
        "there is no directory DIR/a b",
    ),
    (
        "an https port without a site that has a name",
        "server: {listen: {https: 8443}}\nsites: {s: {apps: {/: {script: DIR/app.wsgi}}}}",
        "CG119",
        "no site has `tls`",
    ),
    (
        "a certificate without an https port",
        "sites: {s: {hosts: [a.example], tls: {cert: DIR/app.wsgi, key: DIR/app.wsgi}}}",
        "CG119",
        "there is no https port",
    ),
    (
        "a socket with what separates it from its host",
        "sites: {s: {upstreams: {/u: {to: 'unix:/run/a|http://evil'}}}}",
        "CG108",
        "does not have the right form",
    ),
    (
        "a line break in a path",
        "sites: {s: {apps: {\"/a\\nb\": {script: DIR/app.wsgi}}}}",
        "CG109",
        "the key `sites.s.apps.\"/a\\nb\"` contains a line break",
    ),
    ("an option that does not exist", "daemons: {d: {thread: 3}}", "CG103", "did you mean `threads`?"),
    ("text for a number", "daemons: {d: {processes: many}}", "CG104", "expected an integer"),
    ("a switch interval that is not positive", "daemons: {d: {switch-interval: 0}}", "CG105", "out of range: 0"),
];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.wsgi"), "application = None\n").unwrap();
    folder
}

#[test]
fn each_with_its_code() {
    let folder = folder();
    let place = |text: &str| text.replace("DIR", folder.path().to_str().unwrap());
    let root = folder.path().join("tree");
    let options = RenderOptions { server_root: Some(root.clone()), check_files: None, ..RenderOptions::default() };
    assert_eq!(BAD.len(), 20);
    for (what, text, code, words) in BAD {
        let errors = rendered(&place(text), &this_machine(), &options).expect_err(what);
        assert!(errors.contains(&format!("error[{code}]")), "{what}\n{errors}");
        assert!(errors.contains(&place(words)), "{what}\n{errors}");
        assert!(errors.contains("--> spec.yaml:"), "{what} has no place\n{errors}");
        assert!(!root.exists());
    }
}

#[test]
fn all_at_once() {
    let folder = folder();
    let mut root = draft("{}").spec.root;
    // The keys of the table do not meet but in a few places; where they do, each gets a name of its own.
    for (index, (_, text, _, _)) in BAD.iter().enumerate() {
        let text = text
            .replace("DIR", folder.path().to_str().unwrap())
            .replace("{d:", &format!("{{d{index}:"))
            .replace("{s:", &format!("{{s{index}:"))
            .replace("a.example", &format!("a{index}.example"))
            .replace("https: 8443", "https: 8444");
        let part = confgen::document::Document::parse("spec.yaml", text, confgen::document::Format::Yaml).unwrap().root;
        root = confgen::document::merge_patch(root, &part);
    }
    let text = root.to_json().to_string();
    let errors = rendered(&text, &this_machine(), &RenderOptions::default()).unwrap_err();
    let codes = errors.matches("error[CG").count();
    for (what, _, code, _) in BAD.iter().filter(|(_, _, code, _)| *code != "CG119") {
        assert!(errors.contains(&format!("error[{code}]")), "{what}\n{errors}");
    }
    assert!(codes >= 14, "{codes} errors\n{errors}");
}

#[test]
fn an_unknown_daemon_is_reported_beside_a_daemon_with_a_mistake() {
    let text = |app: &str| {
        format!("daemons: {{web: {{threads: -3}}}}\nsites: {{s: {{apps: {{/: {{script: /a, daemon: {app}}}}}}}}}")
    };
    let errors = |app| rendered(&text(app), &crate::fixture::machine(), &RenderOptions::default()).unwrap_err();
    assert!(errors("wbe").contains("there is no daemon `wbe`"), "{}", errors("wbe"));
    assert!(!errors("web").contains("there is no daemon"), "{}", errors("web"));
    let section = "daemons: 3\nsites: {s: {apps: {/: {script: /a, daemon: web}}}}";
    let errors = rendered(section, &crate::fixture::machine(), &RenderOptions::default()).unwrap_err();
    assert!(!errors.contains("there is no daemon"), "{errors}");
}

#[test]
fn a_quote_in_a_path_that_exists_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it's \"quoted\" [x]*.wsgi");
    fs::write(&path, "").unwrap();
    let text = serde_json::json!({"sites": {"s": {"apps": {"/": {"script": path}}}}}).to_string();
    let tree = rendered(&text, &this_machine(), &RenderOptions::default()).unwrap();
    let conf = tree.text("httpd.conf").unwrap();
    assert!(conf.contains("it's \\\"quoted\\\" [x]*.wsgi\" process-group"), "{conf}");
    assert!(conf.contains("<Files \"it's \\\"quoted\\\" [[]x][*].wsgi\">"), "{conf}");
}

#[test]
fn root_never_serves() {
    let mut facts = this_machine();
    facts.start.user = "root".into();
    facts.start.uid = 0;
    facts.start.web_user = None;
    facts.users.insert("rooted".into(), confgen::facts::UserFacts { uid: 4711, gid: 0 });
    for text in [
        "sites: {}",
        "server: {user: root}",
        "server: {user: nobody}\ndaemons: {d: {user: root}}",
        "server: {user: '#0'}",
        "server: {user: nobody, group: root}",
        "server: {user: nobody}\ndaemons: {d: {user: nobody, group: root}}",
        "server: {user: nobody}\ndaemons: {d: {user: nobody, group: '#0'}}",
        "server: {user: nobody}\ndaemons: {d: {user: nobody, supplementary-groups: [root]}}",
        "server: {user: nobody}\ndaemons: {d: {user: rooted}}",
        "server: {user: rooted}",
    ] {
        let errors = rendered(text, &facts, &RenderOptions::default()).unwrap_err();
        assert!(errors.contains("error[CG117]"), "{text}\n{errors}");
    }
}

#[test]
fn changing_users_needs_root() {
    let mut facts = this_machine();
    facts.start.user = "somebody".into();
    facts.start.uid = 4711;
    facts.start.lowest_port = 1024;
    for text in ["daemons: {d: {user: nobody}}", "server: {user: nobody}", "server: {listen: {http: 80}}"] {
        let errors = rendered(text, &facts, &RenderOptions::default()).unwrap_err();
        assert!(errors.contains("error[CG116]"), "{text}\n{errors}");
    }
    let tree = rendered("sites: {}", &facts, &RenderOptions::default()).unwrap();
    assert!(!tree.text("httpd.conf").unwrap().contains("\nUser "));
}
