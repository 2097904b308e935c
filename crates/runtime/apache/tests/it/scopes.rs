//! Where directives hold: `.htaccess` files, directories, virtual hosts, the whole server; and what httpd's own commands
//! do with them.

use crate::httpd::{Folder, run};
use crate::server::Server;

/// An aliased script in each folder, and what its `.htaccess` may override.
const FOLDERS: &str = "
WSGIScriptAlias /fileinfo ROOT/fileinfo/app.wsgi
WSGIScriptAlias /authconfig ROOT/authconfig/app.wsgi
WSGIScriptAlias /nothing ROOT/nothing/app.wsgi
<Directory ROOT/fileinfo>
  AllowOverride FileInfo
</Directory>
<Directory ROOT/authconfig>
  AllowOverride AuthConfig
</Directory>
";

const FILES: &[&str] = &["fileinfo/app.wsgi", "authconfig/app.wsgi", "nothing/app.wsgi", "app.wsgi", "two.wsgi"];

fn with_htaccess(server: &Server, folder: &str, lines: &str) -> crate::server::Answer {
    std::fs::write(server.root().join(folder).join(".htaccess"), lines).expect("own folder");
    server.get(&format!("/{folder}"))
}

// Covers: rule:config/override-fileinfo, rule:config/context-not-htaccess, rule:mapping/handler-script-not-htaccess
#[test]
fn htaccess_files_set_what_they_may() {
    let server = Server::start("htaccess", FILES, FOLDERS);
    let answer = with_htaccess(&server, "fileinfo", "WSGICallableObject made");
    assert_eq!(answer.entry("facts.callable"), Some("made"), "{}", answer.head());
    let answer = with_htaccess(&server, "nothing", "WSGICallableObject made");
    assert_eq!(answer.entry("facts.callable"), Some("application"), "the file is not read");
    let answer = with_htaccess(&server, "authconfig", "WSGICallableObject made");
    assert_eq!(answer.status(), 500);
    assert!(server.log().contains("WSGICallableObject not allowed here"), "{}", server.log());
    for line in ["WSGIProcessGroup web", "WSGIApplicationGroup a", "WSGIRestrictProcess a", "WSGIHandlerScript x /y"] {
        let name = line.split(' ').next().unwrap_or_default();
        assert_eq!(with_htaccess(&server, "fileinfo", line).status(), 500, "{line}");
        assert!(server.log().contains(&format!("{name} not allowed here")), "{}", server.log());
    }
}

// Covers: rule:config/merge-vhost-inherits, rule:config/merge-same-scope-last, rule:config/merge-directory-over-server,
// rule:mapping/restrict-process-replaced, rule:mapping/alias-callable-literal, rule:mapping/alias-options-on-match,
// option:WSGIScriptAliasMatch/application-group, option:WSGIScriptAliasMatch/callable-object,
// option:WSGIScriptAliasMatch/pass-authorization, option:WSGIScriptAliasMatch/process-group, code:WSGI0151
#[test]
fn inner_scopes_inherit_and_replace() {
    let server = Server::start(
        "scopes",
        FILES,
        "WSGICallableObject first
WSGICallableObject server
WSGIPassAuthorization On
WSGIRestrictProcess %{GLOBAL}
WSGIScriptAlias /a ROOT/app.wsgi
<Location /a/located>
  WSGICallableObject located
  WSGIPassAuthorization Off
</Location>
<Location /a/none>
  WSGIRestrictProcess web
</Location>
WSGIScriptAlias /literal ROOT/app.wsgi callable-object=%{ENV:name}
WSGIScriptAliasMatch ^/match/(x) ROOT/app.wsgi callable-object=matched application-group=group pass-authorization=Off
WSGIScriptAliasMatch ^/grouped ROOT/app.wsgi process-group=nowhere
<VirtualHost *>
  ServerName inherits.example
</VirtualHost>
<VirtualHost *>
  ServerName own.example
  WSGICallableObject own
  WSGIPassAuthorization Off
</VirtualHost>
",
    );
    let ask = |host: &str, target: &str| {
        server.ask(&format!("GET {target} HTTP/1.1\nHost: {host}\nAuthorization: Basic eA=="), b"")
    };
    for (host, target, callable, authorization) in [
        ("inherits.example", "/a", "server", Some("Basic eA==")),
        ("own.example", "/a", "own", None),
        ("inherits.example", "/a/located", "located", None),
        ("inherits.example", "/literal", "%{ENV:name}", Some("Basic eA==")),
        ("inherits.example", "/match/x", "matched", None),
    ] {
        let answer = ask(host, target);
        assert_eq!(answer.entry("facts.callable"), Some(callable), "{host}{target}: {}", answer.head());
        assert_eq!(answer.entry("HTTP_AUTHORIZATION"), authorization, "{host}{target}");
    }
    assert_eq!(ask("inherits.example", "/match/x").entry("facts.application_group"), Some("group"));
    assert_eq!(ask("inherits.example", "/a/none").status(), 500, "the inner list does not have what the outer one has");
    server.wait_for_log("WSGI0149", 1);
    assert_eq!(ask("inherits.example", "/grouped").status(), 500);
    server.wait_for_log("called 'nowhere'", 1);
}

// Covers: rule:config/no-effect-notices, rule:config/server-banner, rule:logs/banner, rule:extensions/identity-banner,
// rule:daemon/socket-rotation-accepted
#[test]
fn the_server_names_its_module_and_what_has_no_effect() {
    let server = Server::start(
        "banner",
        FILES,
        "ServerTokens Full\nWSGIAcceptMutex flock\nWSGISocketRotation Off\nWSGIVerboseDebugging On\nWSGIScriptAlias /a ROOT/app.wsgi",
    );
    let ours = concat!("mod_wsgi/6.1.1 mod_wsgi_rs/", env!("CARGO_PKG_VERSION"));
    let head = server.get("/a").head().to_owned();
    assert!(head.lines().any(|line| line.starts_with("Server: Apache/2.4") && line.contains(ours)), "{head}");
    server.wait_for_log(&format!("{ours} configured -- resuming normal operations"), 1);
    let log = server.log();
    for text in [
        "WSGIAcceptMutex is accepted and has no effect in this module.",
        "WSGISocketRotation is accepted and has no effect in this module.",
        "WSGIVerboseDebugging is deprecated and has no effect.",
    ] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
}

// Covers: rule:config/configtest-no-python
#[test]
fn httpd_s_checks_start_nothing() {
    let server = Server::start(
        "checks-only",
        FILES,
        "WSGISocketPrefix ROOT/s\nWSGIDaemonProcess web\nWSGIScriptAlias /a ROOT/app.wsgi\n\
         WSGIImportScript ROOT/app.wsgi process-group=%{GLOBAL} application-group=%{GLOBAL}",
    );
    server.wait_for_log("engine started", 1);
    server.wait_for_log("Starting daemon process 'web'", 1);
    let before = server.log();
    for argument in ["-t", "-S"] {
        let said = server.command(&[argument]);
        assert!(said.contains("Syntax OK") || said.contains("VirtualHost configuration"), "{said}");
    }
    let log = server.log();
    assert_eq!(log.matches("engine started").count(), before.matches("engine started").count(), "{log}");
    assert_eq!(log.matches("Starting daemon process").count(), 1, "{log}");
}

// Covers: rule:config/main-server-only
#[test]
fn settings_of_python_are_those_of_the_whole_server() {
    let folder = Folder::new("main-only");
    for line in ["WSGIPythonOptimize 1", "WSGIRestrictStdout On", "WSGIDestroyInterpreter Off", "WSGISwitchInterval 1"]
    {
        let name = line.split(' ').next().unwrap_or_default();
        let output = run(&folder, &format!("<VirtualHost *>\n{line}\n</VirtualHost>"), &["-t"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("{name} cannot occur within <VirtualHost> section")), "{said}");
    }
}

// Covers: rule:mapping/methods-limit, rule:mapping/check-before-python, rule:mapping/check-order
#[test]
fn what_is_refused_never_reaches_a_script() {
    let server = Server::start(
        "refused",
        FILES,
        "WSGIScriptAlias /a ROOT/app.wsgi
WSGIScriptAlias /d ROOT
ErrorDocument 403 \"forbidden by the server\"
ErrorDocument 404 \"not found by the server\"
<Location /a/read-only>
  <LimitExcept GET>
    Require all denied
  </LimitExcept>
</Location>
<Location /d>
  AcceptPathInfo Off
  WSGIProcessGroup nowhere
</Location>
",
    );
    assert_eq!(server.get("/a/read-only").status(), 200);
    let answer = server.ask("PUT /a/read-only HTTP/1.1\nHost: localhost:PORT\nContent-Length: 0", b"");
    assert_eq!((answer.status(), answer.body()), (403, "forbidden by the server"));
    // Several things are wrong with each of these: the first check that fails answers.
    let answer = server.get("/d/missing.wsgi/x");
    assert_eq!(
        (answer.status(), answer.body()),
        (404, "not found by the server"),
        "missing before the rest of the path"
    );
    server.wait_for_log("WSGI0135", 1);
    let answer =
        server.ask("POST /d/app.wsgi/x HTTP/1.1\nHost: localhost:PORT\nTransfer-Encoding: chunked", b"0\r\n\r\n");
    assert_eq!(answer.status(), 404, "the rest of the path before the body");
    server.wait_for_log("WSGI0137", 1);
    let answer =
        server.ask("POST /d/app.wsgi HTTP/1.1\nHost: localhost:PORT\nTransfer-Encoding: chunked", b"0\r\n\r\n");
    assert_eq!(answer.status(), 411, "the body before the group");
    server.wait_for_log("WSGI0139", 1);
    assert_eq!(server.get("/d/app.wsgi").status(), 500);
    server.wait_for_log("WSGI0151", 1);
}
