//! What is rendered, and how it is written.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use confgen::directives::{self, Kind, Status};
use confgen::environment::Environment;
use confgen::render::{RenderOptions, Secrets, WriteOptions};

use crate::fixture::{draft, httpd_conf, machine, rendered, workspace};

fn example() -> String {
    fs::read_to_string(workspace().join("examples/two-sites.yaml")).unwrap()
}

#[test]
fn the_example() {
    let tree = rendered(&example(), &machine(), &RenderOptions::default()).unwrap();
    assert!(tree.warnings.is_empty());
    insta::assert_snapshot!(tree.to_text());
    assert_eq!(tree.environment["HOME"], "/srv/shop");
}

#[test]
fn the_smallest_spec() {
    insta::assert_snapshot!(httpd_conf("sites: {main: {apps: {/: {script: /srv/app.wsgi}}}}"));
}

#[test]
fn every_option_of_a_daemon() {
    let mut facts = machine();
    facts.wsgi.mod_wsgi = Some("/peer/mod_wsgi.so".into());
    let tree = rendered(
        "runtime: {module: mod_wsgi}\ndaemons:\n  d:\n    user: shop-web\n    group: shop-web\n    supplementary-groups: [www-data, shop-reports]\n    umask: '027'\n    processes: 2\n    threads: 3\n    home: /h\n    python-home: /p\n    python-path: [/a, /b c]\n    python-eggs: /e\n    lang: C.UTF-8\n    locale: C.UTF-8\n    display-name: '%{GROUP}'\n    stack-size: 512K\n    memory-limit: 200M\n    virtual-memory-limit: 1G\n    cpu-time-limit: 1h\n    listen-backlog: 7\n    socket-user: www-data\n    timeouts: {shutdown: 1, graceful: 2, eviction: 3, request: 4, interrupt: 5, startup: 6, queue: 7, connect: 8, socket: 9, inactivity: 10, deadlock: 11, restart-interval: 12}\n    recycle: {max-requests: 13}\n",
        &facts,
        &RenderOptions::default(),
    );
    let tree = tree.unwrap_or_else(|errors| panic!("{errors}"));
    let block = tree.text("httpd.conf").unwrap().split("# daemons.d:").nth(1).unwrap();
    insta::assert_snapshot!(block.split("\n\n").next().unwrap());
}

#[test]
fn options_of_a_daemon_that_are_ours() {
    let conf = httpd_conf(
        "daemons: {d: {python: '3.11', environment-file: /etc/env, env: {A: 1, B: true, C: 'x \"y\" ${HOME}'}}}",
    );
    insta::assert_snapshot!(conf.split("# daemons.d:").nth(1).unwrap());
}

#[test]
fn the_number_of_processes_is_said_when_it_is_given() {
    assert!(httpd_conf("daemons: {d: {processes: 1}}").contains("processes=\"1\""));
    assert!(!httpd_conf("daemons: {d: {}}").contains("processes"));
    assert!(httpd_conf("daemons: {d: {processes: 2}}").contains("processes=\"2\""));
}

#[test]
fn all_directives_of_the_runtime() {
    let conf = httpd_conf(
        "runtime:\n  socket-prefix: /s/w\n  restrict: {stdin: true, stdout: true, signal: false, embedded: false}\n  python: {home: /p, path: [/a, /b], optimize: 1, warnings: [ignore, 'error::X'], eggs: /e, dont-write-bytecode: true}\n  import: [{script: /i.wsgi, interpreter: x}]\ndaemons: {d: {import: [{script: /j.wsgi}]}}\n",
    );
    insta::assert_snapshot!(conf.split("# runtime:").nth(1).unwrap());
}

#[test]
fn what_the_module_has_is_rendered_and_what_it_does_not_have_yet_is_not() {
    let keys = [
        ("WSGIPythonHashSeed \"7\"", "runtime: {python: {hash-seed: 7}}"),
        ("WSGIPythonHashSeed \"random\"", "runtime: {python: {hash-seed: random}}"),
        ("WSGISwitchInterval \"0.25\"", "runtime: {python: {switch-interval: 0.25}}"),
        ("WSGIPerInterpreterGIL \"On\"", "runtime: {python: {per-interpreter-gil: true}}"),
        ("WSGIFreeThreading \"Off\"", "runtime: {python: {free-threading: false}}"),
        ("WSGIDestroyInterpreter \"Off\"", "runtime: {destroy-interpreters: false}"),
        ("WSGIServerMetrics \"On\"", "runtime: {server-metrics: true}"),
        ("WSGIVerboseDebugging \"On\"", "runtime: {verbose: true}"),
        ("WSGILogFormat \"json\"", "runtime: {log-format: json}"),
        ("WSGITelemetryService \"unix:/t\" \"interval=5\"", "runtime: {telemetry: {service: 'unix:/t', interval: 5}}"),
        ("WSGISlowRequests \"0.5\"", "runtime: {telemetry: {service: 'unix:/t', slow-requests: 0.5}}"),
        (
            "WSGITelemetryOptions \"CaptureUserAgent\"",
            "runtime: {telemetry: {service: 'unix:/t', options: [CaptureUserAgent]}}",
        ),
        (
            "WSGIDaemonProcess \"d\" \\\n  handover=\"sequential\" \\\n  handover-timeout=\"60\"",
            "daemons: {d: {handover: sequential, timeouts: {handover: 60}}}",
        ),
        ("WSGIDaemonProcess \"d\" \\\n  rolling=\"On\"", "daemons: {d: {rolling: true}}"),
        ("WSGIDaemonProcess \"d\" \\\n  fork-after-load=\"Off\"", "daemons: {d: {fork-after-load: false}}"),
    ];
    for (line, text) in keys {
        match rendered(text, &machine(), &RenderOptions::default()) {
            Ok(tree) => assert!(tree.text("httpd.conf").unwrap().contains(line), "{line}\n{text}"),
            Err(errors) => {
                assert!(errors.contains("is known, not supported yet"), "{text}\n{errors}");
                let waiting = directives::all().iter().filter(|entry| entry.status == Status::Known);
                assert!(waiting.into_iter().any(|entry| errors.contains(&format!("`{}`", entry.name))), "{errors}");
            }
        }
    }
}

#[test]
fn daemons_of_raw_lines_have_a_place_for_their_sockets() {
    assert!(!httpd_conf("{}").contains("WSGISocketPrefix"));
    for text in ["runtime: {socket-prefix: /s/w}", "raw: [{at: server.end, text: WSGIDaemonProcess x}]"] {
        assert!(httpd_conf(text).contains("WSGISocketPrefix"), "{text}");
    }
}

#[test]
fn a_daemon_has_the_primary_group_of_its_user() {
    let facts = machine();
    let group = |daemon: &str| {
        let tree = rendered(&format!("daemons: {{d: {{{daemon}}}}}"), &facts, &RenderOptions::default()).unwrap();
        let conf = tree.text("httpd.conf").unwrap();
        let line = conf.lines().find(|line| line.trim_start().starts_with("group="));
        line.map(|line| line.trim_matches([' ', '\\']).to_owned())
    };
    assert_eq!(group("user: shop-web").as_deref(), Some("group=\"shop-web\""));
    assert_eq!(group("user: shop-web, group: www-data").as_deref(), Some("group=\"www-data\""));
    assert_eq!(group(""), None);
}

#[test]
fn only_a_raw_text_that_mounts_something_opens_embedded_mode() {
    for (raw, restricted) in [
        ("Header set X y", true),
        ("WSGIDaemonProcess x", true),
        ("WSGIScriptAlias /x /x.wsgi process-group=d", true),
        ("WSGIScriptAlias /x /x.wsgi", false),
        ("AddHandler wsgi-script .wsgi", false),
    ] {
        let text = format!(
            "daemons: {{d: {{}}}}\nsites: {{s: {{apps: {{/: {{script: /a, daemon: d}}}}}}}}\nraw: [{{at: site.s.end, text: '{raw}'}}]"
        );
        let tree = rendered(&text, &machine(), &RenderOptions::default()).unwrap();
        let conf = tree.text("httpd.conf").unwrap();
        assert_eq!(conf.contains("WSGIRestrictEmbedded \"On\""), restricted, "{raw}\n{conf}");
        let codes: Vec<_> = tree.warnings.iter().map(|warning| warning.code.id()).collect();
        assert_eq!(codes, if restricted { vec![] } else { vec!["CG128"] }, "{raw}");
        let said = text + "\nruntime: {restrict: {embedded: false}}";
        assert!(rendered(&said, &machine(), &RenderOptions::default()).unwrap().warnings.is_empty());
    }
}

#[test]
fn modules_are_watched_in_every_interpreter_of_the_daemon() {
    let text = "daemons: {d: {reload: on-change}, e: {}}\nsites: {s: {apps: {/: {script: /a, daemon: d}, /x: {script: /b, daemon: d, interpreter: x}, /e: {script: /c, daemon: e, interpreter: z}}}}";
    let tree = rendered(text, &machine(), &RenderOptions::default()).unwrap();
    let conf = tree.text("httpd.conf").unwrap();
    let lines: Vec<_> = conf.lines().filter(|line| line.contains("monitor.py")).collect();
    assert_eq!(lines.len(), 2, "{conf}");
    assert!(lines.iter().all(|line| line.contains("process-group=\"d\"")), "{lines:?}");
    assert!(lines[1].contains("application-group=\"x\""), "{lines:?}");
    assert!(tree.text("reload/monitor.py").unwrap().contains("SIGUSR1"));
    assert!(!httpd_conf("daemons: {d: {reload: on-touch}}").contains("monitor.py"));
    let each = text.replace("interpreter: x", "interpreter: resource");
    let tree = rendered(&each, &machine(), &RenderOptions::default()).unwrap();
    assert_eq!(tree.warnings.len(), 1);
}

#[test]
fn a_spec_judges_its_own_warnings() {
    let text = "server: {mpm: prefork, mpm-settings: {threads-per-child: 4}}";
    let warnings = rendered(text, &machine(), &RenderOptions::default()).unwrap().warnings;
    let code = warnings[0].code.info().id;
    let denied = format!("{text}\nlint: {{deny: warning}}");
    let errors = rendered(&denied, &machine(), &RenderOptions::default()).unwrap_err();
    assert!(errors.contains(&format!("error[{code}]")) && errors.contains("`lint.deny`"), "{errors}");
    let allowed = format!("{text}\nlint: {{deny: warning, allow: {{{code}: meant}}}}");
    assert!(rendered(&allowed, &machine(), &RenderOptions::default()).unwrap().warnings.is_empty());
}

#[test]
fn all_keys_of_the_server() {
    insta::assert_snapshot!(httpd_conf(
        "server:\n  server-name: h.example\n  mpm: worker\n  mpm-settings: {start-servers: 1, server-limit: 2, thread-limit: 64, threads-per-child: 8, max-request-workers: 16, min-spare-threads: 1, max-spare-threads: 9, max-connections-per-child: 100, thread-stack-size: 512K, listen-backlog: 511, graceful-shutdown-timeout: 5}\n  listen: {http: ['127.0.0.1:8001', '[::1]:8001']}\n  log: {to: {at: {error: /l/e.log, access: /l/a.log}}, level: {default: error, ssl: debug}, access: {format: '%h \"%r\"'}}\n  keep-alive: 7s\n  max-keep-alive-requests: 0\n  timeout: 1m\n  user: shop-web\n  modules: [rewrite]\n",
    ));
}

#[test]
fn settings_of_another_mpm_are_left_out_with_a_warning() {
    let tree = rendered(
        "server: {mpm: prefork, mpm-settings: {threads-per-child: 5, start-servers: 2}}",
        &machine(),
        &RenderOptions::default(),
    )
    .unwrap();
    let conf = tree.text("httpd.conf").unwrap();
    assert!(conf.contains("StartServers 2") && !conf.contains("ThreadsPerChild"));
    assert_eq!(tree.warnings.len(), 1);
}

#[test]
fn applications_within_applications() {
    insta::assert_snapshot!(
        httpd_conf(
            "server: {listen: {http: 8000}}\ndaemons: {d: {reload: off}, e: {}}\nsites:\n  main:\n    env: {SITE: 1, X: site}\n    restrict-process: [d, embedded]\n    apps:\n      /: {script: /srv/app.wsgi, daemon: d, pass-authorization: true, chunked: true, env: {A: 1, X: app}, preload: false}\n      /in: {script: /srv/in.wsgi, daemon: e, interpreter: main, callable: app, error-override: true, map-head-to-get: auto, enable-sendfile: true, restrict-process: [e], import: [/srv/first.wsgi]}\n      /dir/: {script: /srv/scripts/, interpreter: own}\n      '~ ^/v([0-9]+)': {script: /srv/v$1.wsgi, daemon: e}\n      /mod: {module: 'a.b:make.app', daemon: e}\n",
        )
        .split("# daemons.d:")
        .nth(1)
        .unwrap()
    );
}

#[test]
fn scripts_that_decide_and_handlers() {
    let text = r#"
daemons: {d: {}}
sites:
  main:
    health: {path: /healthz}
    handlers:
      markdown: {script: /srv/md.py, daemon: d, pass-authorization: true, extensions: [.md, .markdown]}
      images: {script: /srv/images.py, daemon: d, interpreter: resource}
    apps:
      /:
        script: /srv/app.wsgi
        daemon: d
        access: /srv/access.py
        dispatch: {script: /srv/dispatch.py, interpreter: '%{SERVER}'}
        auth: {realm: "The shop's back door", script: /srv/users.py}
        restrict-process: [d]
      /staff:
        script: /srv/staff.wsgi
        daemon: d
        auth:
          realm: Staff
          type: digest
          script: /srv/users.py
          interpreter: own
          users: [anna, night watch]
          groups: {script: /srv/groups.py, interpreter: own, any-of: [keepers, night watch]}
      /open: {script: /srv/open.wsgi, daemon: d, auth: none}
      '~ ^/v[0-9]': {script: /srv/v.wsgi, daemon: d, access: {script: /srv/access.py, interpreter: gate}}
    static:
      /files:
        dir: /srv/files
        cache: 1h
        compress: true
        auth: {realm: Files, script: /srv/users.py, groups: {any-of: [readers]}}
      /images: {dir: /srv/images, handler: images}
"#;
    let tree = rendered(text, &with_users(), &RenderOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
    insta::assert_snapshot!(tree.text("httpd.conf").unwrap().split("# daemons.d:").nth(1).unwrap());
}

/// The machine with the modules for users and passwords.
fn with_users() -> confgen::facts::Facts {
    let mut facts = machine();
    facts.httpd.modules.extend(["auth_basic", "auth_digest"].map(str::to_owned));
    facts
}

#[test]
fn a_handler_of_apache_s_own_processes_needs_python_there() {
    let text = |daemon: &str| {
        format!(
            "daemons: {{d: {{}}}}\nsites: {{s: {{handlers: {{h: {{script: /h.py{daemon}}}}}, apps: {{/: {{script: /a, daemon: d}}}}}}}}"
        )
    };
    assert!(httpd_conf(&text(", daemon: d")).contains("WSGIRestrictEmbedded \"On\""));
    assert!(!httpd_conf(&text("")).contains("WSGIRestrictEmbedded"));
}

#[test]
fn scripts_that_decide_are_judged() {
    let errors = |text: &str| rendered(text, &with_users(), &RenderOptions::default()).unwrap_err();
    let site = |app: &str| format!("sites: {{s: {{apps: {{/: {{script: /a, {app}}}}}}}}}");
    for key in ["access", "dispatch"] {
        let found = errors(&site(&format!("{key}: {{script: /x.py, interpreter: resource}}")));
        assert!(found.contains("`resource` is no interpreter that this script could run in"), "{found}");
    }
    let found = errors(&site("auth: {realm: r, script: /x.py, groups: {interpreter: resource, any-of: [g]}}"));
    assert!(found.contains("`resource` is no interpreter"), "{found}");
    let found = errors(
        "sites: {s: {handlers: {markdown: {script: /h.py, daemon: e}}, static: {/: {dir: /d, handler: markdwon}}}}",
    );
    assert!(found.contains("there is no daemon `e`") && found.contains("did you mean `markdown`?"), "{found}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.py"), "").unwrap();
    let near = folder.path().join("b.py").display().to_string();
    let options = RenderOptions { server_root: None, check_files: Some(true), ..RenderOptions::default() };
    let app = folder.path().join("a.py").display().to_string();
    for keys in [
        format!("access: {near}"),
        format!("dispatch: {near}"),
        format!("auth: {{realm: r, script: {near}}}"),
        format!("auth: {{realm: r, script: {app}, groups: {{script: {near}, any-of: [g]}}}}"),
    ] {
        let text = format!("sites: {{s: {{apps: {{/: {{script: {app}, {keys}}}}}}}}}");
        let found = rendered(&text, &with_users(), &options).unwrap_err();
        assert!(found.contains(&format!("there is no file {near}")), "{keys}\n{found}");
    }
}

#[test]
fn one_process_for_a_debugger() {
    let text = "runtime: {debug: {debugger: true}}\ndaemons:\n  d: {processes: 3, home: /srv, python-path: [/lib], env: {A: 1, B: {secret: {env: B}}}, lang: C.UTF-8, reload: on-change}\n  e: {env: {A: 2}}\nsites: {main: {restrict-process: [d], apps: {/: {script: '/srv/it''s.wsgi', callable: app, daemon: d}, /m: {module: 'a.b:make.app', daemon: e}}}}";
    let tree = rendered(text, &machine(), &RenderOptions::default()).unwrap();
    let conf = tree.text("httpd.conf").unwrap();
    for absent in ["WSGIDaemonProcess", "WSGIRestrictProcess", "WSGIRestrictEmbedded", "monitor.py", "callable-object"]
    {
        assert!(!conf.contains(absent), "{absent}\n{conf}");
    }
    for line in ["WSGIRestrictStdin \"Off\"", "WSGIPythonPath \"/srv:/lib\"", "WSGIScriptReloading Off"] {
        assert!(conf.contains(line), "{line}\n{conf}");
    }
    assert!(tree.choice.single_process);
    let said = |name: &str| tree.environment.get(name).map(String::as_str);
    let names = ["MOD_WSGI_DEBUG_MODE", "MOD_WSGI_DEBUGGER_ENABLED", "A", "LANG"];
    assert_eq!(names.map(said), [Some("true"), Some("true"), Some("2"), Some("C.UTF-8")]);
    let warnings: Vec<_> = tree.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("the secret B") && warnings[1].contains("A is that of `e`"), "{warnings:?}");
    insta::assert_snapshot!(tree.text("debug/main-root.wsgi").unwrap());
    assert!(tree.text("debug/main-m.wsgi").unwrap().contains("import a.b\n"));
    // What is wrong without debugging is wrong with it.
    let wrong = text.replace("daemon: e", "daemon: f");
    assert!(rendered(&wrong, &machine(), &RenderOptions::default()).unwrap_err().contains("no daemon `f`"));
    let off = text.replace("{debugger: true}", "false");
    assert!(!rendered(&off, &machine(), &RenderOptions::default()).unwrap().choice.single_process);
}

#[test]
fn sites_with_and_without_names() {
    let conf = httpd_conf("sites: {a: {hosts: ['a.example', '*.example']}, b: {hosts: [b.example]}, open: {}}");
    let order: Vec<usize> =
        ["# sites.open:", "# sites.b:", "# sites.a:"].iter().map(|block| conf.find(block).unwrap()).collect();
    assert!(order.is_sorted(), "the site for all names first, wildcards last");
    assert!(!conf.contains("default.invalid"));
    assert!(
        httpd_conf("sites: {a: {hosts: [a.example]}}").contains("ServerName \"default.invalid\"\n  Redirect 404 \"/\"")
    );
}

#[test]
fn the_same_bytes_every_time_and_from_every_format() {
    let json = serde_json::to_string(&draft(&example()).spec.root.to_json()).unwrap();
    let toml = toml::to_string(&without_nulls(draft(&example()).spec.root.to_json())).unwrap();
    let first = rendered(&example(), &machine(), &RenderOptions::default()).unwrap().to_text();
    for (text, format) in [(json, confgen::document::Format::Json), (toml, confgen::document::Format::Toml)] {
        let root = confgen::document::Document::parse("spec", text, format).unwrap().root;
        let spec = confgen::spec::Spec::from_node(root).unwrap();
        assert_eq!(confgen::render::render(&spec, &machine(), &RenderOptions::default()).unwrap().to_text(), first);
    }
    assert!(!first.contains(env!("CARGO_MANIFEST_DIR")));
}

/// TOML has no null; the example has some in its profiles, which are not rendered.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

#[test]
fn profiles_change_the_spec() {
    let root = confgen::document::Document::parse("e.yaml", example(), confgen::document::Format::Yaml).unwrap().root;
    let spec = confgen::spec::Spec::from_node(confgen::spec::Spec::with_profile(root, "dev").unwrap()).unwrap();
    let conf = confgen::render::render(&spec, &machine(), &RenderOptions::default())
        .unwrap()
        .text("httpd.conf")
        .unwrap()
        .to_owned();
    assert!(conf.contains("Listen 8000\n") && conf.contains("ErrorLog \"/dev/stderr\"") && !conf.contains("SSLEngine"));
}

#[test]
fn unchanged_files_are_not_touched_and_edited_ones_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "s3cr3t\n").unwrap();
    let spec = |threads: u32| {
        format!(
            "daemons: {{d: {{threads: {threads}, env: {{P: {{secret: {{file: {}, at: render}}}}}}}}}}\nsites: {{main: {{apps: {{/: {{module: 'json:loads', daemon: d}}}}}}}}",
            secret.display()
        )
    };
    let root = directory.path().join("tree");
    let options = RenderOptions { server_root: Some(root.clone()), check_files: None, ..RenderOptions::default() };
    let write = |threads: u32, force: bool| {
        let tree = rendered(&spec(threads), &machine(), &options).unwrap();
        tree.write(&WriteOptions { force, ..WriteOptions::default() })
    };
    let first = write(3, false).unwrap();
    assert_eq!(first.changed, ["httpd.conf", "ctl", "secrets/d.env", "apps/main-root.wsgi"]);
    let stamp =
        |file: &str| fs::metadata(root.join(file)).map(|metadata| (metadata.ino(), metadata.mtime_nsec())).unwrap();
    let before: Vec<_> = ["httpd.conf", "secrets/d.env", "MANIFEST.json"].map(stamp).into();
    let second = write(3, false).unwrap();
    assert_eq!(second.changed, Vec::<String>::new());
    assert_eq!(["httpd.conf", "secrets/d.env", "MANIFEST.json"].map(stamp).to_vec(), before);
    let third = write(4, false).unwrap();
    assert_eq!(third.changed, ["httpd.conf"]);
    assert_eq!(third.unchanged, ["ctl", "secrets/d.env", "apps/main-root.wsgi"]);

    fs::write(root.join("httpd.conf"), "# by hand\n").unwrap();
    let refused = write(5, false).unwrap_err();
    assert_eq!(refused[0].code.id(), "CG405");
    assert_eq!(fs::read_to_string(root.join("httpd.conf")).unwrap(), "# by hand\n");
    write(5, true).unwrap();
    assert!(fs::read_to_string(root.join("httpd.conf")).unwrap().contains("threads=\"5\""));

    let tree = rendered("sites: {main: {}}", &machine(), &options).unwrap();
    let refused = tree.write(&WriteOptions::default()).unwrap_err();
    assert_eq!(refused[0].code.id(), "CG412");
    assert!(root.join("secrets/d.env").exists());
    let fourth = tree.write(&WriteOptions { prune: true, ..WriteOptions::default() }).unwrap();
    assert_eq!(fourth.removed, ["apps/main-root.wsgi", "secrets/d.env"]);
    assert!(!root.join("secrets/d.env").exists());
}

#[test]
fn secrets_go_into_a_private_file_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db");
    fs::write(&file, "planted-in-a-file\n").unwrap();
    let environment: Environment = [("PLANTED".into(), "planted-in-a-variable".into())].into_iter().collect();
    let text = format!(
        "daemons: {{d: {{env: {{A: {{secret: {{file: {}}}}}, B: {{secret: {{env: PLANTED}}}}, C: seen}}}}}}\nsites: {{main: {{apps: {{/: {{script: /srv/app.wsgi, daemon: d}}}}}}}}",
        file.display()
    );
    let root = directory.path().join("tree");
    let tree = rendered(
        &text,
        &machine(),
        &RenderOptions { server_root: Some(root.clone()), check_files: None, ..RenderOptions::default() },
    )
    .unwrap();
    tree.write(&WriteOptions { environment: environment.clone(), ..WriteOptions::default() }).unwrap();
    let private = root.join("secrets/d.env");
    assert_eq!(fs::read_to_string(&private).unwrap(), "A=planted-in-a-file\nB=planted-in-a-variable\n");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(root.join("secrets")).unwrap().permissions().mode() & 0o777, 0o700);
    let planted = |text: &str| text.contains("planted-in");
    assert!(!planted(&tree.to_text()));
    assert!(!planted(&format!("{tree:?}")));
    for entry in ["httpd.conf", "MANIFEST.json"] {
        assert!(!planted(&fs::read_to_string(root.join(entry)).unwrap()), "{entry}");
    }
    let manifest = fs::read_to_string(root.join("MANIFEST.json")).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(listed["files"]["secrets/d.env"], serde_json::json!({"mode": "0600"}), "not even a hash");

    fs::write(&file, "planted-in-one\nplanted-in-two\n").unwrap();
    let errors = tree.write(&WriteOptions { environment, ..WriteOptions::default() }).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(!planted(&crate::fixture::shown(&errors)), "{errors:?}");
    assert_eq!(
        fs::read_to_string(&private).unwrap(),
        "A=planted-in-a-file\nB=planted-in-a-variable\n",
        "nothing is written on error"
    );

    let blank = directory.path().join("blank");
    tree.write_to(&blank, &WriteOptions { secrets: Secrets::Blank, ..WriteOptions::default() }).unwrap();
    assert_eq!(fs::read_to_string(blank.join("secrets/d.env")).unwrap(), "A=\nB=\n");
}

#[test]
fn nothing_is_written_on_error() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    let options = RenderOptions { server_root: Some(root.clone()), check_files: None, ..RenderOptions::default() };
    let tree = rendered("daemons: {d: {env: {A: {secret: {env: NOWHERE}}}}}", &machine(), &options).unwrap();
    assert_eq!(tree.write(&WriteOptions::default()).unwrap_err()[0].code.id(), "CG123");
    assert!(!root.exists());
}

#[test]
fn what_cannot_be_written_leaves_the_tree_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    let options = RenderOptions { server_root: Some(root.clone()), check_files: None, ..RenderOptions::default() };
    let write = |text: &str| rendered(text, &machine(), &options).unwrap().write(&WriteOptions::default());
    write("daemons: {d: {threads: 3}}").unwrap();
    let before = fs::read_to_string(root.join("httpd.conf")).unwrap();
    fs::write(root.join("apps"), "a file where a folder has to be").unwrap();
    let refused =
        write("daemons: {d: {threads: 4}}\nsites: {s: {apps: {/: {module: 'json:loads', daemon: d}}}}").unwrap_err();
    assert_eq!(refused[0].code.id(), "CG404");
    assert_eq!(fs::read_to_string(root.join("httpd.conf")).unwrap(), before);
    let mut left: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["MANIFEST.json", "apps", "ctl", "httpd.conf", "logs", "run"], "nothing half written is left");
}

#[test]
fn a_list_of_files_that_leads_elsewhere_removes_nothing_there() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    let options = RenderOptions { server_root: Some(root.clone()), check_files: None, ..RenderOptions::default() };
    let write = || rendered("{}", &machine(), &options).unwrap().write(&WriteOptions::default()).unwrap();
    write();
    let mine = directory.path().join("mine");
    fs::write(&mine, "keep").unwrap();
    let list = root.join("MANIFEST.json");
    let mut manifest: serde_json::Value = serde_json::from_str(&fs::read_to_string(&list).unwrap()).unwrap();
    for elsewhere in ["../mine", mine.to_str().unwrap()] {
        manifest["files"][elsewhere] = serde_json::json!({"mode": "0644"});
    }
    fs::write(&list, manifest.to_string()).unwrap();
    assert_eq!(write().removed, Vec::<String>::new());
    assert!(mine.exists());
}

#[test]
fn each_application_of_a_module_has_a_file_of_its_own() {
    let text = "daemons: {d: {}}
sites:
  a:
    hosts: [a.example.com]
    apps:
      /: {module: 'json:loads', daemon: d}
      /root: {module: 'json:dumps', daemon: d}
      /m-n: {module: 'json.decoder:x', daemon: d}
      /x/y: {module: 'json.encoder:x', daemon: d}
      /x-y: {module: 'json.scanner:x', daemon: d}
  a-m: {hosts: [b.example.com], apps: {/n: {module: 'json.tool:x', daemon: d}}}
  'a:m': {hosts: [c.example.com], apps: {/n: {module: 'json:x', daemon: d}}}
";
    let tree = rendered(text, &machine(), &RenderOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let scripts: Vec<_> = tree.files.iter().filter(|file| file.path.starts_with("apps/")).collect();
    assert_eq!(scripts.len(), 7, "{:?}", scripts.iter().map(|file| &file.path).collect::<Vec<_>>());
    let conf = tree.text("httpd.conf").unwrap();
    for (mount, first) in
        [("/", "# sites.a.apps./: "), ("/root", "# sites.a.apps./root: "), ("/x-y", "# sites.a.apps./x-y: ")]
    {
        let alias = conf.lines().find(|line| line.contains(&format!("WSGIScriptAlias \"{mount}\""))).unwrap();
        let file = alias.split('"').nth(3).unwrap().rsplit_once("/apps/").unwrap().1;
        let script = tree.text(&format!("apps/{file}")).unwrap();
        assert!(script.starts_with(first), "{mount}: {script}");
    }
}

#[test]
fn extensions_are_refused_for_the_c_module() {
    let mut facts = machine();
    facts.wsgi.mod_wsgi = Some("/peer/mod_wsgi.so".into());
    let text = "runtime: {module: mod_wsgi, maximum-interpreters: 3}\ndaemons: {d: {python: '3.11', environment-file: /e, env: {A: 1}}}\n";
    let errors = rendered(text, &facts, &RenderOptions::default()).unwrap_err();
    for expected in
        ["`WSGIMaximumInterpreters`", "the option `python`", "the option `environment-file`", "the option `setenv`"]
    {
        assert!(errors.contains(&format!("{expected} is an extension of ours")), "{expected}\n{errors}");
    }
    assert_eq!(errors.matches("error[CG112]").count(), 4, "{errors}");
    let conf = rendered("runtime: {module: mod_wsgi}", &facts, &RenderOptions::default()).unwrap();
    assert!(conf.text("httpd.conf").unwrap().contains("LoadModule wsgi_module \"/peer/mod_wsgi.so\""));
}

#[test]
fn what_our_module_does_not_have_yet_is_refused_by_name() {
    let known = directives::all().iter().find(|entry| entry.kind == Kind::Directive && entry.status == Status::Known);
    let own = known.map_or("ServerSignature", |entry| entry.name.as_str());
    let text = format!(
        "raw: [{{at: server.end, text: '{own} Off'}}, {{at: server.end, text: 'WSGIDaemonProcess x thread=3'}}, {{at: server.end, text: 'WSGIScriptAlas / /x'}}]"
    );
    let errors = rendered(&text, &machine(), &RenderOptions::default()).unwrap_err();
    assert_eq!(errors.contains(&format!("`{own}` is known, not supported yet")), known.is_some(), "{errors}");
    assert!(errors.contains("did you mean `threads`?"), "{errors}");
    assert!(errors.contains("did you mean `WSGIScriptAlias`?"), "{errors}");
}
