//! The same URLs under both modules, over configurations of every way that leads to a script: each request has to get
//! the same status, and each script the same names.

use crate::httpd::{Folder, module};
use crate::server::Server;
use crate::verdicts::peer;

/// What a script says under the C module: the entries that are compared, as the stand-in for Python says them.
const SCRIPT: &str = r#"
import os

def application(environ, start_response):
    lines = []
    for name in ("SCRIPT_NAME", "PATH_INFO", "SCRIPT_FILENAME", "REQUEST_URI", "QUERY_STRING", "REDIRECT_STATUS",
                 "REDIRECT_URL", "MARK", "REDIRECT_MARK", "HTTP_AUTHORIZATION", "REMOTE_ADDR", "HTTP_X_FORWARDED_FOR",
                 "HTTP_HOST", "HTTP_X_FORWARDED_HOST"):
        if name in environ:
            value = environ[name]
            value = os.fsencode(value) if name == "SCRIPT_FILENAME" else value.encode("latin-1")
            lines.append(name.encode() + b"=" + value + b"\n")
    for name, key in (("application_group", "mod_wsgi.application_group"), ("callable", "mod_wsgi.callable_object"),
                      ("handler", "mod_wsgi.request_handler")):
        lines.append(("facts.%s=%s\n" % (name, environ[key])).encode("latin-1"))
    body = b"".join(lines)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

other = nowhere = application
"#;

const COMPARED: [&str; 17] = [
    "HTTP_AUTHORIZATION",
    "REMOTE_ADDR",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_HOST",
    "HTTP_X_FORWARDED_HOST",
    "SCRIPT_NAME",
    "PATH_INFO",
    "SCRIPT_FILENAME",
    "REQUEST_URI",
    "QUERY_STRING",
    "REDIRECT_STATUS",
    "REDIRECT_URL",
    "MARK",
    "REDIRECT_MARK",
    "facts.application_group",
    "facts.callable",
    "facts.handler",
];

const FILES: &[&str] = &[
    "app.wsgi",
    "two.wsgi",
    "dir/one.py",
    "dir/index.wsgi",
    "dir/sub/deep.wsgi",
    "dir/Upper.wsgi",
    "dir/with space.wsgi",
    "docs/page.wsgi",
    "docs/plain.txt",
    "docs/index.wsgi",
    "docs/sub/index.wsgi",
    "docs/noindex/x.wsgi",
    "docs/page.html.wsgi",
    "home/nobody/site/x.wsgi",
    "aa.wsgi",
    "bb.wsgi",
];

/// One configuration and the URLs that matter to it; those of [`EVERYWHERE`] are asked for too.
struct Case {
    name: &'static str,
    configuration: &'static str,
    targets: &'static [&'static str],
}

const EVERYWHERE: &[&str] = &[
    "/",
    "//",
    "/a",
    "/a/",
    "/a//",
    "/a//b",
    "//a//b//",
    "/a/b/c?x=y",
    "/a?x=/y",
    "/ab",
    "/A",
    "/a/./b",
    "/a/../a/b",
    "/a/b/..",
    "/a/b/../../a/c",
    "/a/%2e%2e/a",
    "/a%2Fb",
    "/a/x%20y%C3%A9",
    "/a/%00",
    "/a;p=1",
    "/a/;p",
    "/%61/x",
    "/nothing",
    "/d",
    "/d/",
    "/d/one.py",
    "/d/one.py/",
    "/d/one.py/x//y",
    "/d//one.py//x",
    "/d/sub",
    "/d/sub/",
    "/d/sub/deep.wsgi/z",
    "/d/missing.py",
    "/d/missing/x",
    "/d/upper.wsgi",
    "/d/Upper.wsgi",
    "/d/with%20space.wsgi/x",
    "/docs/page.wsgi",
    "/docs/page.wsgi/x",
    "/docs/",
    "/docs",
    "/docs/sub",
    "/docs/sub/",
    "/docs/noindex/",
    "/docs/plain.txt",
    "/docs/plain.txt/x",
    "/docs/missing.wsgi",
    "/docs/missing.wsgi/x",
];

const CASES: &[Case] = &[
    Case {
        name: "aliases",
        configuration: "WSGIScriptAlias /a/long ROOT/two.wsgi\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir",
        targets: &["/a/long", "/a/long/x", "/a/longer", "/a/long//"],
    },
    Case {
        name: "order",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /a/long ROOT/two.wsgi\nWSGIScriptAlias /d/ ROOT/dir/",
        targets: &["/a/long", "/a/long/x"],
    },
    Case {
        name: "root",
        configuration: "WSGIScriptAlias / ROOT/app.wsgi\nAlias /docs ROOT/docs\nAddHandler wsgi-script .wsgi",
        targets: &["/index.html", "/x/y/z"],
    },
    Case {
        name: "root-directory",
        configuration: "WSGIScriptAlias / ROOT/dir/",
        targets: &["/one.py", "/one.py/x", "/sub/deep.wsgi", "//one.py"],
    },
    Case {
        name: "slashes",
        configuration: "WSGIScriptAlias /a/ ROOT/app.wsgi\nWSGIScriptAlias //d///e ROOT/two.wsgi\nWSGIScriptAlias /t ROOT/app.wsgi/",
        targets: &["/d/e", "//d//e/x", "/d/e/", "/de", "/t", "/t/x", "/t/"],
    },
    Case {
        name: "match",
        configuration: "WSGIScriptAliasMatch ^/([a-b]+)$ ROOT/$1$1.wsgi\nWSGIScriptAliasMatch ^/m/([a-z]+) ROOT/$1.wsgi\nWSGIScriptAliasMatch /any ROOT/app.wsgi\nWSGIScriptAliasMatch ^/q/(.*)/(.*)$ ROOT/dir/$2/$1.wsgi\nWSGIScriptAliasMatch \"(?i)^/case\" ROOT/app.wsgi",
        targets: &[
            "/b",
            "/m/app",
            "/m/app/x",
            "/m/app//x",
            "/m/none",
            "/x/any/y",
            "/any",
            "/anyone",
            "/q/deep/sub",
            "/CASE/x",
            "/m/two?x",
        ],
    },
    Case {
        name: "sethandler",
        configuration: "<Directory ROOT/docs>\nOptions +ExecCGI\nSetHandler wsgi-script\n</Directory>",
        targets: &["/docs/sub/index.wsgi", "/docs/page.wsgi/"],
    },
    Case {
        name: "addhandler",
        configuration: "AddHandler wsgi-script .wsgi\nDirectoryIndex index.wsgi\n<Directory ROOT/docs>\nOptions +ExecCGI\n</Directory>",
        targets: &["/app.wsgi", "/docs/page.html.wsgi", "/docs/index.wsgi/x", "/docs/sub/x"],
    },
    Case {
        name: "legacy-type",
        configuration: "AddType application/x-httpd-wsgi .wsgi\nDirectoryIndex index.wsgi\n<Directory ROOT/docs>\nOptions +ExecCGI\n</Directory>",
        targets: &["/app.wsgi", "/docs/page.html.wsgi"],
    },
    Case {
        name: "path-info",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\nAddHandler wsgi-script .wsgi\n<Location /a>\nAcceptPathInfo Off\n</Location>\n<Directory ROOT/dir>\nAcceptPathInfo Default\n</Directory>\n<Directory ROOT/docs>\nOptions +ExecCGI\nAcceptPathInfo Off\n</Directory>",
        targets: &[],
    },
    Case {
        name: "encoded-slashes",
        configuration: "AllowEncodedSlashes On\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir",
        targets: &["/a/b%2Fc", "/d/one.py%2Fx", "/d%2Fone.py", "/a%2F%2Fb"],
    },
    Case {
        name: "encoded-slashes-kept",
        configuration: "AllowEncodedSlashes NoDecode\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir",
        targets: &["/a/b%2Fc", "/d/one.py%2Fx", "/d%2Fone.py"],
    },
    Case {
        name: "unmerged",
        configuration: "MergeSlashes Off\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\n<Location /a/b>\nWSGIApplicationGroup located\n</Location>",
        targets: &["///a", "/a///x///y", "//d///one.py///x"],
    },
    Case {
        name: "company",
        configuration: "WSGIScriptAlias / ROOT/app.wsgi\nAlias /d ROOT/dir\nAliasMatch ^/x.*y$ ROOT/docs/plain.txt\nRedirect /a/b /elsewhere\nRedirectMatch 410 ^/gone\n<Directory ROOT/dir>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi .py\n</Directory>",
        targets: &["/xy", "/x/y", "/gone/x", "/a/b/c"],
    },
    Case {
        name: "rewrite",
        configuration: "LoadModule rewrite_module MODULES/mod_rewrite.so\nWSGIScriptAlias /a ROOT/app.wsgi\nRewriteEngine On\nRewriteRule ^/old/(.*)$ /a/$1 [PT,E=MARK:$1]\nRewriteRule ^/gone - [G]\nRewriteRule ^/moved/(.*)$ /a/$1 [R]\nRewriteRule ^/file ROOT/docs/page.wsgi [L,H=wsgi-script]\n<Directory ROOT/docs>\nOptions +ExecCGI\nRewriteEngine On\nRewriteRule ^plain\\.txt$ - [H=wsgi-script]\nRewriteRule ^front/(.*)$ page.wsgi/$1 [L,H=wsgi-script,E=MARK:front]\n</Directory>\n<Directory ROOT/dir>\nRewriteEngine On\nRewriteRule ^one - [H=wsgi-script]\n</Directory>",
        targets: &[
            "/old/x",
            "/old/x/y?q",
            "/gone",
            "/moved/x",
            "/file",
            "/docs/front/x/y",
            "/docs/plain.txt",
            "/dir/one.py",
        ],
    },
    Case {
        name: "index",
        configuration: "WSGIScriptAlias /d ROOT/dir\nAddHandler wsgi-script .wsgi\nDirectoryIndex index.wsgi\n<Directory ROOT/docs>\nOptions +ExecCGI\nFallbackResource /docs/page.wsgi\n</Directory>\n<Directory ROOT/docs/sub>\nDirectorySlash Off\nFallbackResource disabled\n</Directory>",
        targets: &["/docs/any/thing", "/docs/noindex/x.wsgi", "/docs/sub/nothing"],
    },
    Case {
        name: "userdir",
        configuration: "LoadModule userdir_module MODULES/mod_userdir.so\nUserDir ROOT/home/*/site\nAddHandler wsgi-script .wsgi\n<Directory ROOT/home>\nOptions +ExecCGI\n</Directory>\nWSGIScriptAlias /~taken ROOT/app.wsgi",
        targets: &["/~nobody/x.wsgi", "/~nobody/x.wsgi/y", "/~nobody/", "/~taken/x", "/~other/x.wsgi"],
    },
    Case {
        name: "error-documents",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /errors ROOT/two.wsgi\nWSGIScriptAlias /d ROOT/dir\nErrorDocument 404 /errors/404\nErrorDocument 403 /errors/403?q\nSetEnvIf Request_URI . MARK=set",
        targets: &["/d/", "/d/missing.py/x", "/errors"],
    },
    Case {
        name: "case",
        configuration: "WSGICaseSensitivity Off\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /D ROOT/dir\nWSGIScriptAlias /Mixed ROOT/app.wsgi",
        targets: &["/D/Upper.wsgi", "/D/upper.wsgi", "/Mixed/Path", "/mixed/path"],
    },
    Case {
        name: "sections",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\n<Directory ROOT/dir>\nOptions -ExecCGI\n</Directory>\n<Directory ROOT/dir/sub>\nRequire all denied\n</Directory>\n<Location /a/b>\nSetHandler none\n</Location>\n<Location /a/x>\nSetHandler wsgi-script\nWSGICallableObject other\n</Location>\n<Files one.py>\nWSGIApplicationGroup file\n</Files>\n<FilesMatch \"\\.wsgi$\">\nForceType text/html\n</FilesMatch>\n<LocationMatch \"^/a/.*c$\">\nWSGIApplicationGroup %{SERVER}\n</LocationMatch>",
        targets: &["/a/x/c", "/a/b/c"],
    },
    Case {
        name: "hosts",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\n<VirtualHost *>\nServerName localhost\nWSGIScriptAlias /a ROOT/two.wsgi\nAllowEncodedSlashes On\n</VirtualHost>",
        targets: &["/a%2Fb"],
    },
];

/// Expressions whose match is, or begins or ends with, a slash. Each is asked on its own, as the first that matches
/// decides.
const SLASH_MATCHES: &[Case] = &[
    Case {
        name: "match-root-but",
        configuration: "Alias /docs ROOT/docs\nWSGIScriptAliasMatch ^/(?!docs|d/) ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir",
        targets: &["/x", "/x//y", "/dir", "/docsx", "/.x"],
    },
    Case {
        name: "match-root-only",
        configuration: "WSGIScriptAliasMatch ^/$ ROOT/app.wsgi\nWSGIScriptAliasMatch ^/(a|A) ROOT/two.wsgi",
        targets: &["/?q", "/x"],
    },
    Case { name: "match-any-slash", configuration: "WSGIScriptAliasMatch / ROOT/app.wsgi", targets: &["/x"] },
    Case { name: "match-nothing", configuration: "WSGIScriptAliasMatch ^ ROOT/app.wsgi", targets: &["/x"] },
    Case { name: "match-behind-slash", configuration: "WSGIScriptAliasMatch (?<=^/) ROOT/app.wsgi", targets: &["/x"] },
    Case {
        name: "match-slashes",
        configuration: "MergeSlashes Off\nWSGIScriptAliasMatch ^/+ ROOT/app.wsgi",
        targets: &["/x", "//x", "///x//y", "///"],
    },
    Case { name: "match-last-slash", configuration: "WSGIScriptAliasMatch /$ ROOT/app.wsgi", targets: &["/x/y/"] },
    Case {
        name: "match-folder",
        configuration: "WSGIScriptAliasMatch ^/ ROOT/dir",
        targets: &["/one.py", "/one.py/x"],
    },
];

/// Settings in every kind of scope: which of them holds shows in what the script is told.
const MERGED: &[Case] = &[
    Case {
        name: "server-and-sections",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\nWSGIApplicationGroup outer\nWSGICallableObject other\nWSGIPassAuthorization On\nWSGIPassAuthorization Off\nWSGIApplicationGroup server\n<Directory ROOT/dir>\nWSGIApplicationGroup directory\n</Directory>\n<Directory ROOT/dir/sub>\nWSGICallableObject application\nWSGIPassAuthorization On\n</Directory>\n<Location /a/b>\nWSGIPassAuthorization On\n</Location>\n<Location /a/b/c>\nWSGIPassAuthorization Off\nWSGIApplicationGroup %{GLOBAL}\n</Location>\n<Files one.py>\nWSGICallableObject application\n</Files>",
        targets: &["/a/b/c/d"],
    },
    Case {
        name: "hosts-inherit",
        configuration: "WSGIApplicationGroup server\nWSGICallableObject other\nWSGIPassAuthorization On\nWSGIScriptAlias /server ROOT/app.wsgi\nWSGIScriptAlias /a ROOT/two.wsgi\n<VirtualHost *>\nServerName localhost\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIApplicationGroup host\n<Location /a/b>\nWSGIPassAuthorization Off\n</Location>\n</VirtualHost>",
        targets: &["/server", "/server/x"],
    },
    Case {
        name: "alias-options",
        configuration: "WSGIApplicationGroup server\nWSGICallableObject nowhere\nWSGIPassAuthorization On\nWSGIScriptAlias /a ROOT/app.wsgi application-group=alias callable-object=other pass-authorization=Off\nWSGIScriptAlias /d ROOT/dir application-group=%{SERVER} callable-object=application\n<Location /a/b>\nWSGIApplicationGroup location\nWSGICallableObject application\nWSGIPassAuthorization On\n</Location>\n<Location /d/sub>\nWSGIPassAuthorization Off\n</Location>",
        targets: &[],
    },
    Case {
        name: "restricted",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\nWSGIRestrictProcess web\n<Location /a/b>\nWSGIRestrictProcess other %{GLOBAL}\n</Location>\n<Location /a/b/c>\nWSGIRestrictProcess one\nWSGIRestrictProcess %{GLOBAL}\n</Location>\n<Directory ROOT/dir>\nWSGIRestrictProcess %{global}\n</Directory>\n<Directory ROOT/dir/sub>\nWSGIRestrictProcess\n</Directory>",
        targets: &["/a/b/c/d"],
    },
    Case {
        name: "proxies",
        configuration: "WSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\nWSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxyHeaders X-Forwarded-Host\n<Location /a/b>\nWSGITrustedProxyHeaders X-Forwarded-Host\n</Location>\n<Location /a/b/c>\nWSGITrustedProxyHeaders\n</Location>\n<Directory ROOT/dir>\nWSGITrustedProxies 192.168.0.0/16\nWSGITrustedProxies 10.0.0.0/8\n</Directory>\n<Directory ROOT/dir/sub>\nWSGITrustedProxies 127.0.0.1\n</Directory>\n<Location /d/one.py/x>\nWSGITrustedProxies\n</Location>",
        targets: &["/a/b/c/d"],
    },
    Case {
        name: "htaccess",
        configuration: "AccessFileName settings\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir\nWSGICallableObject nowhere\n<Directory ROOT/dir>\nAllowOverride FileInfo\n</Directory>",
        targets: &[],
    },
    Case {
        name: "variables",
        configuration: "SetEnv group named\nSetEnv token %{SERVER}\nSetEnv nested %{ENV:group}\nSetEnv name other\nSetEnv empty \"\"\nWSGIScriptAlias /a ROOT/app.wsgi\nWSGIScriptAlias /d ROOT/dir application-group=%{ENV:group}\nWSGIApplicationGroup %{ENV:token}\nWSGICallableObject %{ENV:name}\n<Location /a/b>\nWSGIApplicationGroup %{ENV:nested}\n</Location>\n<Location /a/b/c>\nWSGIApplicationGroup %{HOST}\nWSGICallableObject %{ENV:missing}\n</Location>\n<Location /a/x>\nWSGIApplicationGroup a%{GLOBAL}\n</Location>\n<Location /d/sub>\nWSGICallableObject %{GLOBAL}\n</Location>\n<Location /d/one.py>\nWSGIApplicationGroup %{OTHER}\n</Location>",
        targets: &["/a/x/y", "/a/b/c/d"],
    },
];

fn server(name: &str, module: &std::path::Path, script: &str, case: &Case) -> Server {
    let folder = Folder::new(name);
    for file in FILES {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("own folder");
        std::fs::write(path, script).expect("own folder");
    }
    let settings = "WSGICallableObject other\nWSGIPassAuthorization On\nWSGITrustedProxyHeaders X-Forwarded-For\n";
    std::fs::write(folder.path().join("dir/settings"), settings).expect("own folder");
    Server::launch(folder, module, &case.configuration.replace("MODULES", env!("HTTPD_MODULES")))
}

/// What is compared of an answer.
fn seen(server: &Server, target: &str) -> Vec<String> {
    let fields = "Authorization: Basic dTpw\nX-Forwarded-For: 10.0.0.9\nX-Forwarded-Host: outside.example";
    let answer = server.get_with(target, fields);
    let mut seen = vec![answer.status().to_string()];
    seen.extend(answer.head().lines().filter(|line| line.starts_with("Location:")).map(str::to_owned));
    for name in COMPARED {
        seen.extend(answer.entry(name).map(|value| format!("{name}={value}")));
    }
    seen
}

// Covers: rule:mapping/alias-first-match, rule:mapping/alias-vhost-first, rule:mapping/alias-segment,
// rule:mapping/alias-slash-runs, rule:mapping/alias-case-sensitive, rule:mapping/alias-root,
// rule:mapping/alias-remainder, rule:mapping/alias-path-info, rule:mapping/alias-encoded-slash,
// rule:mapping/alias-mod-alias-first, rule:mapping/alias-no-execcgi, rule:mapping/alias-directory-rules,
// rule:mapping/alias-directory-target, rule:mapping/alias-directory-bare, rule:mapping/alias-match-groups,
// rule:mapping/alias-match-unanchored, rule:mapping/case-insensitive, rule:mapping/handler-sethandler,
// rule:mapping/handler-addhandler, rule:mapping/handler-mime-type, rule:mapping/handler-rewrite,
// directive:WSGIScriptAlias, directive:WSGIScriptAliasMatch, directive:WSGICaseSensitivity,
// directive:WSGICallableObject, directive:WSGIApplicationGroup, rule:mapping/merge-slashes
#[test]
fn both_modules_map_every_url_alike() {
    compare(CASES);
}

// Covers: rule:mapping/alias-match-root, rule:mapping/alias-match-groups, directive:WSGIScriptAliasMatch
#[test]
fn expressions_that_match_a_slash_lead_to_the_same_script() {
    compare(SLASH_MATCHES);
}

// Covers: rule:config/merge-directory-over-server, rule:config/merge-vhost-inherits, rule:config/merge-same-scope-last, rule:config/override-fileinfo, rule:mapping/token-global, rule:mapping/token-server, rule:mapping/token-host, rule:mapping/token-env, rule:mapping/token-env-nested, directive:WSGIRestrictProcess, directive:WSGIPassAuthorization, directive:WSGITrustedProxies, directive:WSGITrustedProxyHeaders, directive:WSGICallableObject, directive:WSGIApplicationGroup, option:WSGIScriptAlias/application-group, option:WSGIScriptAlias/callable-object, option:WSGIScriptAlias/pass-authorization
#[test]
fn settings_of_all_scopes_come_to_the_same() {
    compare(MERGED);
}

fn compare(cases: &[Case]) {
    let Some(peer) = peer() else { return };
    let mut wrong = Vec::new();
    for case in cases {
        let ours = server(&format!("map-ours-{}", case.name), &module(), "", case);
        let theirs = server(&format!("map-peer-{}", case.name), &peer, SCRIPT, case);
        for target in EVERYWHERE.iter().chain(case.targets) {
            let (ours, theirs) = (seen(&ours, target), seen(&theirs, target));
            if ours != theirs {
                let only = |left: &[String], right: &[String]| -> Vec<String> {
                    left.iter().filter(|line| !right.contains(line)).cloned().collect()
                };
                let (ours, theirs) = (only(&ours, &theirs), only(&theirs, &ours));
                wrong.push(format!("{} {target}\n    ours: {ours:?}\n    mod_wsgi: {theirs:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}
