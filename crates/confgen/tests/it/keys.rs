//! No key is ever ignored: taking one away changes what is rendered, or brings up a finding.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use confgen::diagnostic::Code;
use confgen::document::{Document, Format};
use confgen::facts::Facts;
use confgen::render::{RenderOptions, render_draft};
use confgen::spec::Draft;
use serde_json::Value;

use crate::fixture::{shown, this_machine};
use crate::inputs::all_keys;

/// Specs in which every key acts. Where a name is free it is `n`, or `/p` for a path.
const SPECS: &[&str] = &[
    r#"
server:
  environment: {n: x}
  group: daemon
  user: nobody
  keep-alive: 7s
  listen: {http: 8000, https: 8443, proxy-protocol: true}
  log: {access: {format: "%h"}, level: {n: debug}, rotate: {size: 1M, keep: 3}}
  max-keep-alive-requests: 5
  modules: [rewrite]
  mpm: worker
  mpm-settings:
    {graceful-shutdown-timeout: 5, listen-backlog: 7, max-connections-per-child: 9, max-request-workers: 16, max-spare-threads: 9,
    min-spare-threads: 1, server-limit: 2, start-servers: 1, thread-limit: 64, thread-stack-size: 512K, threads-per-child: 8}
  public: {http: 81, https: 444}
  request-read-timeout: false
  server-name: x.example
  server-tokens: os
  timeout: 9s
  trace: true
sites:
  n:
    hosts: [a.example, b.example]
    redirect: canonical-https
    tls: {cert: /c.pem, key: {file: /k.pem}, client-ca: /ca.pem, hsts: 1d, profile: modern, verify-depth: 3}
    static: {/p: {dir: /srv, cache: 1d, compress: true, hidden: true, links: all, listing: true, access: {script: /a.py, interpreter: x}}}
"#,
    r#"
server:
  log: {to: {at: {access: /l/a.log, error: /l/e.log}}}
  mpm: event
  mpm-settings: {async-request-worker-factor: 3}
sites:
  n: {health: {path: /h}, static: {/p: {file: /srv/x, auth: {type: digest, realm: R, script: /a.py, interpreter: x, users: [u], groups: {script: /g.py, interpreter: y, any-of: [g]}}}}}
"#,
    r#"
server: {mpm: prefork, mpm-settings: {max-spare-servers: 9, min-spare-servers: 1}}
raw: [{at: server.end, text: "UseCanonicalName On"}]
sites: {n: {upstreams: {/p: {to: "http://127.0.0.1:9001", timeout: 5s, websocket: true}}, health: {path: /p2/h, answers: app}, apps: {/p2: {script: /a.wsgi}}}}
"#,
    r#"
daemons:
  n:
    chroot: /jail
    cpu-priority: 3
    cpu-time-limit: 9s
    display-name: x
    env: {n: v}
    environment-file: /e
    fork-after-load: true
    group: www-data
    header-buffer-size: 32768
    home: /srv
    import: [{script: /i.py, interpreter: x}]
    lang: C
    listen-backlog: 9
    locale: C.UTF-8
    memory-limit: 1G
    processes: 2
    python-eggs: /eggs
    python-home: /venv
    python-path: [/x]
    receive-buffer-size: 4096
    recycle: {max-requests: 5}
    reload: off
    response-buffer-size: 131072
    response-flush-delay: 5ms
    response-socket-timeout: 5s
    rolling: true
    script-group: root
    script-user: root
    send-buffer-size: 4096
    server-metrics: true
    socket-user: nobody
    stack-size: 1M
    supplementary-groups: [daemon]
    switch-interval: 0.01
    threads: 3
    timeouts:
      {connect: 9s, deadlock: 9s, eviction: 9s, graceful: 9s, inactivity: 9s, interrupt: 9s, queue: 9s, request: 9s, restart-interval: 9s,
      shutdown: 9s, socket: 9s, startup: 9s, handover: 9s}
    umask: "027"
    user: www-data
    virtual-memory-limit: 2G
sites:
  n:
    env: {n: v}
    restrict-process: [n]
    limits: {body: 1M, body-timeout: 5s, header-timeout: 6s}
    proxies: {trust: [10.0.0.0/8], headers: [X-Forwarded-For]}
    apps:
      /p:
        script: /a.wsgi
        callable: app
        chunked: true
        daemon: n
        enable-sendfile: true
        env: {n: v}
        error-override: true
        ignore-activity: true
        import: [/i.py]
        interpreter: x
        map-head-to-get: off
        pass-authorization: true
        restrict-process: [n]
        access: {script: /acc.py, interpreter: x}
        auth: {type: digest, realm: R, script: /u.py, interpreter: x, users: [u], groups: {script: /g.py, interpreter: y, any-of: [g]}}
"#,
    r#"
daemons: {n: {handover: sequential, recycle: {idle: 9s, interval: 9h}, env: {n: {secret: {file: /s, at: start}}}, python: "3.11"}}
sites:
  n:
    handlers: {n: {script: /h.py, daemon: n, interpreter: x, pass-authorization: true, extensions: [.md]}}
    static: {/p: {dir: /srv, handler: n}}
    apps: {/p2: {module: "shop.wsgi:app", daemon: n, preload: true}}
"#,
    "daemons: {n: {env: {n: {secret: {env: S}}}}}\nsites: {n: {apps: {/p: {module: shop.wsgi, daemon: n, preload: true, dispatch: {script: /d.py, interpreter: x}}}}}",
    r#"
runtime:
  destroy-interpreters: false
  import: [{script: /i.py, interpreter: x}]
  log-format: json
  maximum-interpreters: 3
  python:
    {dont-write-bytecode: true, eggs: /eggs, free-threading: true, hash-seed: 7, home: /usr, optimize: 1, path: [/x], per-interpreter-gil: true,
    switch-interval: 0.01, version: "3.11", warnings: [error]}
  restrict: {embedded: false, signal: false, stdin: false, stdout: true}
  server-metrics: true
  socket-prefix: /run/x
  telemetry: {service: "unix:/t", interval: 5, options: [a], slow-requests: 2}
  verbose: true
sites: {n: {apps: {/p: {script: /a.wsgi, script-reloading: false}}}}
"#,
    "runtime: {python: {venv: /venv}, debug: {debugger: true, at-start: true}}\nsites: {n: {apps: {/p: {script: /a.wsgi}}}}",
    "runtime: {debug: {debugger: true}}\ndaemons: {n: {}}\nsites: {n: {apps: {/p: {script: /a.wsgi, daemon: n, preload: false}}}}",
    "runtime: {module: mod_wsgi}\nsites: {n: {apps: {/p: {script: /a.wsgi}}}}",
    "server: {layout: debian, log: {to: terminal}}\nsites: {n: {apps: {/p: {script: /a.wsgi}}}}",
    "daemons: {n: {}}\nlint: {deny: warning}\nsites: {n: {apps: {/p: {script: /a.wsgi}}}}",
    "daemons: {n: {}}\nlint: {allow: {CG150: meant}, deny: warning}\nsites: {n: {apps: {/p: {script: /a.wsgi}}}}",
    "hosts: {n: {}}\nsites: {n: {apps: {/p: {script: /a.wsgi}}}}",
];

/// Keys without an effect on what is rendered, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("schema", "says which format it is"),
    ("server.name", "is the name by which `confgen list`, `stop` and the like know the server"),
    ("server.log.world-readable", "acts when the tree is written: on the rights of the folder `logs`"),
    ("profiles", "is applied before, by `--profile`"),
    ("profiles.n", "is applied before, by `--profile`"),
];

/// Files of the specs need not be there.
const OPTIONS: RenderOptions = RenderOptions { server_root: None, check_files: Some(false), secrets: None };

/// This machine, with both modules.
fn facts() -> Facts {
    static FACTS: LazyLock<Facts> = LazyLock::new(|| {
        let mut facts = this_machine();
        facts.wsgi.mod_wsgi = Some("/usr/lib/apache2/modules/mod_wsgi.so".into());
        facts.httpd.rotatelogs = Some("/usr/bin/rotatelogs".into());
        facts
    });
    FACTS.clone()
}

/// All that comes of a spec.
fn outcome(root: &Value) -> String {
    let document = Document::from_json("spec.yaml", root);
    match render_draft(&Draft::new(document.root), &facts(), &OPTIONS) {
        Err(errors) => messages(&errors),
        Ok(tree) => {
            format!("{:?}\n{:?}\n{}\n{:?}", tree.files, tree.environment, messages(&tree.warnings), tree.choice)
        }
    }
}

/// Findings without their places, which are others in another text.
fn messages(found: &[confgen::diagnostic::Diagnostic]) -> String {
    found.iter().map(|one| format!("{:?} {}\n", one.code, one.message)).collect()
}

/// The paths of all keys of a tree, as [`all_keys`] has them, each with its JSON pointer.
fn present(node: &Value, path: &[String], pointer: &str, into: &mut Vec<(Vec<String>, String)>) {
    match node {
        Value::Object(map) => {
            for (key, value) in map {
                let below: Vec<String> = path.iter().cloned().chain([key.clone()]).collect();
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                into.push((below.clone(), pointer.clone()));
                present(value, &below, &pointer, into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let below: Vec<String> = path.iter().cloned().chain(["[]".to_owned()]).collect();
                present(item, &below, &format!("{pointer}/{index}"), into);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_acts() {
    let mut acting: BTreeSet<Vec<String>> = BTreeSet::new();
    for text in SPECS {
        let root = Document::parse("spec.yaml", *text, Format::Yaml).unwrap().root.to_json();
        let whole = outcome(&root);
        let mut keys = Vec::new();
        present(&root, &[], "", &mut keys);
        for (path, pointer) in keys {
            let mut without = root.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/").replace("~0", "~");
            without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&key);
            if outcome(&without) != whole {
                acting.insert(path);
            }
        }
    }
    let elsewhere: Vec<&str> = ELSEWHERE.iter().map(|(key, _)| *key).collect();
    let idle: Vec<String> = all_keys()
        .into_iter()
        .filter(|path| !acting.contains(path))
        .map(|path| path.join("."))
        .filter(|path| !elsewhere.contains(&path.as_str()))
        .collect();
    assert!(idle.is_empty(), "these keys have no effect, or are in none of the specs: {idle:#?}");
    let listed = ELSEWHERE.iter().find(|(key, _)| acting.iter().any(|path| path.join(".") == *key));
    assert!(listed.is_none(), "{listed:?} has an effect");
}

#[test]
fn the_specs_of_this_test_are_specs() {
    let mut all = String::new();
    for text in SPECS {
        let draft = Draft::new(Document::parse("spec.yaml", *text, Format::Yaml).unwrap().root);
        // A mistake would hide what the other keys do.
        if let Err(errors) = render_draft(&draft, &facts(), &OPTIONS) {
            let mistakes: Vec<_> = errors
                .into_iter()
                .filter(|error| !error.message.contains("not supported") && error.code != Code::UnusedDaemon)
                .collect();
            all.push_str(&shown(&mistakes));
        }
    }
    assert!(all.is_empty(), "{all}");
}
