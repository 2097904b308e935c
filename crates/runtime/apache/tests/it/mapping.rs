//! From the URL to the script, and the choice of interpreter and callable.

use crate::server::Server;

const FILES: &[&str] = &["app.wsgi", "dir/one.py", "foo.wsgi", "exec/x.wsgi", "closed/x.wsgi"];

const CONFIGURATION: &str = "
WSGIScriptAlias /a ROOT/app.wsgi
WSGIScriptAlias /dir ROOT/dir
WSGIScriptAliasMatch ^/m/([a-z]+) ROOT/$1.wsgi
WSGIScriptAlias /gone ROOT/gone.wsgi
WSGIScriptAlias /called ROOT/app.wsgi callable-object=made application-group=own
Alias /static ROOT/dir
AddHandler wsgi-script .wsgi
<Directory ROOT/exec>
  Options +ExecCGI
</Directory>
<Location /a/strict>
  AcceptPathInfo Off
</Location>
<Location /a/server>
  WSGIApplicationGroup %{SERVER}
</Location>
<Location /a/host>
  WSGIApplicationGroup %{HOST}
</Location>
<Location /a/global>
  WSGIApplicationGroup %{GLOBAL}
</Location>
<Location /a/env>
  SetEnv group mine
  SetEnv name other
  WSGIApplicationGroup %{ENV:group}
  WSGICallableObject %{ENV:name}
</Location>
<Location /a/unset>
  WSGIApplicationGroup %{ENV:nowhere}
  WSGICallableObject %{ENV:nowhere}
</Location>
<Location /a/unknown>
  WSGIProcessGroup nowhere
</Location>
<Location /a/restricted>
  WSGIRestrictProcess web
</Location>
<Location /a/allowed>
  WSGIRestrictProcess web %{GLOBAL}
</Location>
";

// Covers: rule:mapping/alias-slash-runs, rule:mapping/alias-segment, rule:mapping/alias-remainder,
// rule:mapping/alias-path-info, rule:mapping/alias-directory-target, rule:mapping/alias-match-groups,
// rule:mapping/alias-mod-alias-first, rule:mapping/handler-addhandler, rule:mapping/alias-no-execcgi,
// rule:adapter/script-name-path-info-always, rule:adapter/request-uri-raw, directive:WSGIScriptAlias,
// directive:WSGIScriptAliasMatch, environ:SCRIPT_NAME, environ:PATH_INFO, environ:REQUEST_URI,
// environ:SCRIPT_FILENAME
#[test]
fn aliases_split_the_path_by_the_reference() {
    let server = Server::start("aliases", FILES, CONFIGURATION);
    for (target, script_name, path_info) in [
        ("/a", "/a", ""),
        ("/a/", "/a", "/"),
        ("/a//", "/a", "/"),
        ("//a//env//x%20%C3%A9", "/a", "/env/x é"),
        ("/a/a/./b/../c", "/a", "/a/c"),
        ("/dir/one.py", "/dir/one.py", ""),
        ("/dir/one.py/x", "/dir/one.py", "/x"),
        ("/m/foo/x", "/m/foo", "/x"),
        ("/exec/x.wsgi/y", "/exec/x.wsgi", "/y"),
    ] {
        let answer = server.get(target);
        let found = (answer.entry("SCRIPT_NAME"), answer.entry("PATH_INFO"));
        assert_eq!(found, (Some(script_name), Some(path_info)), "{target}: {}", answer.head());
        assert_eq!(answer.entry("REQUEST_URI"), Some(target));
    }
    assert_eq!(server.get("/m/foo").entry("SCRIPT_FILENAME"), Some("ROOT/foo.wsgi"));
    assert_eq!(server.get("/static/one.py").status(), 200, "mod_alias comes first");
    assert_eq!(server.get("/ab").status(), 404, "an alias ends where a segment ends");
}

// Covers: rule:mapping/alias-match-root, directive:WSGIScriptAliasMatch
#[test]
fn a_matched_slash_belongs_to_the_path_behind_the_script() {
    let server = Server::start(
        "match-root",
        FILES,
        "WSGIScriptAliasMatch ^/(?!static/|media/) ROOT/app.wsgi\nWSGIScriptAliasMatch ^ ROOT/foo.wsgi",
    );
    for (target, path_info) in [("/", "/"), ("/x", "/x"), ("/x/y", "/x/y")] {
        let answer = server.get(target);
        let found = (answer.entry("SCRIPT_NAME"), answer.entry("PATH_INFO"));
        assert_eq!(found, (Some(""), Some(path_info)), "{target}: {}", answer.head());
    }
    assert_eq!(server.get("/static/x").status(), 404, "a match of nothing is none");
}

// Covers: rule:mapping/check-execcgi, rule:mapping/check-not-found, rule:mapping/check-directory,
// rule:mapping/check-path-info, rule:mapping/process-group-unknown, rule:mapping/restrict-process,
// rule:mapping/alias-directory-bare, rule:mapping/accept-path-info, code:WSGI0134, code:WSGI0135, code:WSGI0136,
// code:WSGI0137, code:WSGI0151, code:WSGI0149, directive:WSGIRestrictProcess, directive:WSGIProcessGroup
#[test]
fn checks_come_before_python_with_their_codes() {
    let server = Server::start("checks", FILES, CONFIGURATION);
    for (target, status, code) in [
        ("/closed/x.wsgi", 403, "WSGI0134: Options ExecCGI is off in this directory."),
        ("/gone", 404, "WSGI0135: Target WSGI script not found or unable to stat."),
        ("/dir/nothing.py", 404, "WSGI0135"),
        ("/dir/", 403, "WSGI0136: Attempt to invoke directory as WSGI application."),
        ("/a/strict/x", 404, "WSGI0137"),
        ("/a/unknown", 500, "WSGI0151: No WSGI daemon process called 'nowhere' has been configured."),
        ("/a/restricted", 500, "WSGI0149: Daemon process called '' cannot be accessed by this WSGI application"),
    ] {
        let before = server.log().len();
        let answer = server.get(target);
        assert_eq!(answer.status(), status, "{target}");
        let log = server.log();
        assert!(log[before..].contains(code), "{target}: no {code} in {}", &log[before..]);
    }
    assert_eq!(server.get("/dir").status(), 301);
    assert_eq!(server.get("/a/allowed").status(), 200);
}

// Covers: rule:mapping/token-global, rule:mapping/token-server, rule:mapping/token-host, rule:mapping/token-env,
// rule:mapping/token-env-unset, rule:mapping/group-default-application, rule:mapping/group-precedence,
// rule:mapping/callable-default, rule:mapping/callable-env, directive:WSGIApplicationGroup,
// directive:WSGICallableObject, option:WSGIScriptAlias/callable-object, option:WSGIScriptAlias/application-group
#[test]
fn groups_and_callables_follow_their_tokens() {
    let server = Server::start("tokens", FILES, CONFIGURATION);
    for (target, group, callable) in [
        ("/a", "localhost:PORT|/a", "application"),
        ("/a/server", "localhost:PORT", "application"),
        ("/a/global", "", "application"),
        ("/a/env", "mine", "other"),
        ("/a/unset", "%{ENV:nowhere}", "application"),
        ("/called", "own", "made"),
    ] {
        let answer = server.get(target);
        let found = (answer.entry("facts.application_group"), answer.entry("facts.callable"));
        assert_eq!(found, (Some(group), Some(callable)), "{target}");
    }
    let answer = server.ask("GET /a/host HTTP/1.1\nHost: Other.Example:8080", b"");
    assert_eq!(answer.entry("facts.application_group"), Some("other.example:8080"));
}

// Covers: rule:mapping/restrict-embedded, code:WSGI0143, directive:WSGIRestrictEmbedded
#[test]
fn embedded_mode_can_be_refused() {
    let server = Server::start("no-embedded", FILES, "WSGIRestrictEmbedded On\nWSGIScriptAlias /a ROOT/app.wsgi");
    assert_eq!(server.get("/a").status(), 500);
    let log = server.stop();
    assert!(log.contains("WSGI0143: Embedded mode of mod_wsgi disabled by runtime configuration."), "{log}");
    assert!(!log.contains("engine started"), "{log}");
}
