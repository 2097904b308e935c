//! `confgen import`: the imported and rendered server answers as the original does.

use std::fmt::Write;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::Path;

use confgen::httpd::{Httpd, Launch, Readiness, ServerRoot, Signal};

use crate::place::{Place, module, port};

/// Says what it was called with.
const SCRIPT: &str = r#"
import json, os

def answer(name):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json"), ("X-Called", name)])
        names = ("SCRIPT_NAME", "PATH_INFO", "REQUEST_METHOD", "QUERY_STRING", "mod_wsgi.process_group", "mod_wsgi.application_group")
        more = {key: environ.get(key) for key in ("HTTP_AUTHORIZATION", "SHOP", "REMOTE_ADDR", "wsgi.multithread", "wsgi.multiprocess")}
        return [json.dumps([name, os.path.basename(__file__), os.environ.get("PLACE")] + [environ[key] for key in names] + [more]).encode()]
    return application

application = answer("application")
other = answer("other")
"#;

/// An original: its name, the directives, and URLs (host, path) beyond those that all are asked for.
type Original = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const OPEN: &str = "<Directory ROOT>\nRequire all granted\n</Directory>\n";

const ORIGINALS: &[Original] = &[
    ("the quick guide", "WSGIScriptAlias / ROOT/app.wsgi\nOPEN", &[]),
    (
        "a daemon",
        "WSGIDaemonProcess site threads=3 display-name=%{GROUP} lang=C.UTF-8\nWSGIProcessGroup site\nWSGIScriptAlias / ROOT/app.wsgi\nOPEN",
        &[],
    ),
    (
        "a daemon by options",
        "WSGIDaemonProcess site processes=2 threads=1 python-path=ROOT/lib:ROOT home=ROOT request-timeout=30 maximum-requests=500\nWSGIScriptAlias /shop ROOT/app.wsgi process-group=site application-group=%{GLOBAL} callable-object=other\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/shop/x"), ("a.example", "/shopping")],
    ),
    (
        "Django behind static files",
        "Alias /static/ ROOT/static/\nAlias /favicon.ico ROOT/static/icon.ico\n<Directory ROOT/static>\nRequire all granted\n</Directory>\nWSGIDaemonProcess django threads=5\nWSGIProcessGroup django\nWSGIApplicationGroup %{GLOBAL}\nWSGIScriptAlias / ROOT/app.wsgi\n<Directory ROOT>\n<Files app.wsgi>\nRequire all granted\n</Files>\n</Directory>\nOPEN",
        &[
            ("a.example", "/static/a.txt"),
            ("a.example", "/static/none"),
            ("a.example", "/favicon.ico"),
            ("a.example", "/staticx"),
        ],
    ),
    (
        "two virtual hosts",
        "WSGIDaemonProcess one threads=2\nWSGIDaemonProcess two threads=2\nOPEN<VirtualHost *:PORT>\nServerName a.example\nServerAlias www.a.example\nWSGIScriptAlias / ROOT/app.wsgi process-group=one\n</VirtualHost>\n<VirtualHost *:PORT>\nServerName b.example\nWSGIScriptAlias / ROOT/second.wsgi process-group=two\n</VirtualHost>",
        &[("b.example", "/x"), ("www.a.example", "/y"), ("c.example", "/z")],
    ),
    (
        "a redirect and a gone page",
        "Redirect permanent /old http://else.example/new\nRedirectMatch ^/pic/(.*)$ /static/$1\nRedirect gone /lost\nAlias /static ROOT/static\nWSGIScriptAlias /app ROOT/app.wsgi application-group=%{GLOBAL}\nDocumentRoot ROOT/www\nOPEN",
        &[
            ("a.example", "/old/x?y=1"),
            ("a.example", "/pic/a.txt"),
            ("a.example", "/lost"),
            ("a.example", "/static/a.txt"),
            ("a.example", "/app"),
        ],
    ),
    (
        "a closed part",
        "WSGIScriptAlias / ROOT/app.wsgi application-group=%{GLOBAL}\nOPEN<Location /admin>\nRequire ip 192.0.2.0/24\n</Location>\n<LocationMatch \"^/x[0-9]\">\nRequire all denied\n</LocationMatch>",
        &[("a.example", "/admin"), ("a.example", "/admin/x"), ("a.example", "/x1"), ("a.example", "/xa")],
    ),
    (
        "rewritten URLs",
        "RewriteEngine On\nRewriteRule ^/old/(.*)$ /app/$1 [PT]\nRewriteCond %{HTTP_HOST} ^moved\\.example\nRewriteRule ^ http://else.example%{REQUEST_URI} [R=301,L]\nWSGIScriptAlias /app ROOT/app.wsgi application-group=%{GLOBAL}\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/old/b"), ("moved.example", "/q")],
    ),
    (
        "headers and variables",
        "SetEnv SHOP blue\nWSGIScriptAlias / ROOT/app.wsgi application-group=%{GLOBAL}\nWSGIPassAuthorization On\nHeader always set X-Team shop\nOPEN",
        &[],
    ),
    (
        "a folder of scripts",
        "WSGIScriptAlias /scripts/ ROOT/scripts/\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/scripts/one.wsgi/x"), ("a.example", "/scripts/none.wsgi"), ("a.example", "/scripts/")],
    ),
    (
        "an alias by expression",
        "WSGIScriptAliasMatch ^/m/([a-z]+) ROOT/scripts/$1.wsgi application-group=%{GLOBAL}\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/m/one/x"), ("a.example", "/m/none"), ("a.example", "/m/1")],
    ),
    (
        "static files alone",
        "DocumentRoot ROOT/www\n<Directory ROOT/www>\nOptions FollowSymLinks\nAllowOverride None\nRequire all granted\n</Directory>\nDirectoryIndex index.html",
        &[("a.example", "/page.html"), ("a.example", "/sub"), ("a.example", "/sub/")],
    ),
    (
        "several applications of one host",
        "WSGIDaemonProcess a threads=1\nWSGIDaemonProcess b threads=1\nOPEN<VirtualHost *:PORT>\nServerName a.example\nWSGIProcessGroup a\nWSGIScriptAlias /two ROOT/second.wsgi process-group=b\nWSGIScriptAlias /one/deep ROOT/scripts/one.wsgi\nWSGIScriptAlias /one ROOT/app.wsgi\nDocumentRoot ROOT/www\n</VirtualHost>",
        &[("a.example", "/one"), ("a.example", "/one/deep/x"), ("a.example", "/two/x"), ("a.example", "/page.html")],
    ),
    (
        "settings by location",
        "WSGIDaemonProcess a threads=1\nWSGIScriptAlias /one ROOT/app.wsgi\nWSGIScriptAlias /two ROOT/second.wsgi\n<Location /two>\nWSGIProcessGroup a\nWSGIApplicationGroup %{GLOBAL}\n</Location>\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/one/x"), ("a.example", "/two/x")],
    ),
    (
        "an environment of the daemon",
        "WSGIDaemonProcess a threads=1 setenv=PLACE=here umask=0027\nWSGIScriptAlias / ROOT/app.wsgi process-group=a application-group=named\nOPEN",
        &[],
    ),
    (
        "definitions and conditions",
        "Define WWW ROOT/www\nDefine SHOP\n<IfDefine SHOP>\nWSGIScriptAlias /shop ROOT/app.wsgi\n</IfDefine>\n<IfModule mod_nothing.c>\nWSGIScriptAlias /none ROOT/app.wsgi\n</IfModule>\nDocumentRoot ${WWW}\nOPEN",
        &[("a.example", "/shop/x"), ("a.example", "/none")],
    ),
    (
        "a macro",
        "<Macro App $url $script>\nWSGIScriptAlias $url ROOT/$script application-group=%{GLOBAL}\n</Macro>\nUse App /one app.wsgi\nUse App /two second.wsgi\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/one/x"), ("a.example", "/two")],
    ),
    (
        "old access control is gone, files are closed",
        "WSGIScriptAlias / ROOT/app.wsgi application-group=%{GLOBAL}\nAlias /static ROOT/static\n<Directory ROOT/static>\nRequire all granted\n</Directory>\n<FilesMatch \"secret\">\nRequire all denied\n</FilesMatch>\nOPEN",
        &[("a.example", "/static/secret.txt"), ("a.example", "/static/a.txt")],
    ),
    (
        "a body that is too large, an error page",
        "LimitRequestBody 10\nErrorDocument 404 \"nothing here\"\nWSGIScriptAlias /app ROOT/app.wsgi application-group=%{GLOBAL}\nDocumentRoot ROOT/www\nOPEN",
        &[("a.example", "/app/x"), ("a.example", "/none")],
    ),
    (
        "proxies in front",
        "WSGITrustedProxies 127.0.0.1\nWSGITrustedProxyHeaders X-Forwarded-For\nWSGIScriptAlias / ROOT/app.wsgi application-group=%{GLOBAL}\nOPEN",
        &[],
    ),
];

fn files(root: &Path) {
    let put = |name: &str, text: &str| {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    for name in ["app.wsgi", "second.wsgi", "scripts/one.wsgi"] {
        put(name, SCRIPT);
    }
    put("lib/x.py", "");
    put("static/a.txt", "a");
    put("static/secret.txt", "secret");
    put("static/icon.ico", "icon");
    put("www/index.html", "index");
    put("www/page.html", "page");
    put("www/sub/index.html", "sub");
}

fn original(httpd: &Httpd, root: &ServerRoot, files: &Path, number: u16, body: &str) -> String {
    let mut text = String::new();
    for name in
        ["mpm_event", "unixd", "authz_core", "authz_host", "alias", "dir", "mime", "rewrite", "headers", "env", "macro"]
    {
        if let Some(file) = httpd.module_file(name) {
            writeln!(text, "LoadModule {name}_module {}", file.display()).unwrap();
        }
    }
    writeln!(text, "LoadModule wsgi_module {}\nListen 127.0.0.1:{number}", module()).unwrap();
    text += "User www-data\nGroup www-data\nServerName main.example\nPidFile run/httpd.pid\nErrorLog logs/error.log\nMutex file:run\n";
    text += "WSGISocketPrefix run/wsgi\nTypesConfig TYPES\n<Directory />\nRequire all denied\n</Directory>\n";
    text += body;
    // The list of the system, which an imported server uses where there is one.
    let types = ["/etc/mime.types", "/dev/null"].into_iter().find(|file| Path::new(file).exists()).unwrap();
    let text = text.replace("TYPES", types);
    let text =
        text.replace("OPEN", OPEN).replace("ROOT", &files.display().to_string()).replace("PORT", &number.to_string());
    fs::write(root.path().join("httpd.conf"), &text).unwrap();
    text
}

/// Status, what of the head counts, and the body; without the port's number.
fn ask(number: u16, method: &str, host: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", number)).unwrap();
    let body = if method == "POST" { "Content-Length: 12\r\n\r\nhello, world" } else { "\r\n" };
    write!(
        connection,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Basic x\r\nX-Forwarded-For: 203.0.113.9\r\n{body}"
    )
    .unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines = head.lines();
    let mut kept = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        if ["location", "x-called", "x-team", "content-type", "allow"].contains(&name.as_str()) {
            kept += &format!("\n{line}");
        }
    }
    // httpd's own pages name the server.
    let body = if body.contains("<address>") || body.contains("<!DOCTYPE") { "(a page of httpd)" } else { body };
    format!("{kept}\n{body}").replace(&format!(":{number}"), ":PORT")
}

#[test]
fn imported_servers_answer_as_the_originals_do() {
    if !nix::unistd::Uid::effective().is_root() {
        // The originals name a user, which only root can become.
        return;
    }
    assert!(ORIGINALS.len() >= 20);
    let httpd = Httpd::locate(None, None).unwrap();
    let mut differences = Vec::new();
    for (name, body, more) in ORIGINALS {
        let place = Place::new();
        files(&place.site());
        let (root, held, other) = (ServerRoot::temporary(None).unwrap(), port(), port());
        let text = original(&httpd, &root, &place.site(), held.port(), body);
        let main = root.path().join("httpd.conf").display().to_string();
        let (code, _, errors) = place.run(&["import", "httpd", &main, "-o", "spec.yaml"]);
        assert_eq!(code, Some(0), "{name}: {errors}\n{text}");
        let spec = fs::read_to_string(place.site().join("spec.yaml")).unwrap();
        let launch = Launch::new(&httpd.binary, root.path()).ready_when(Readiness::Answers(held.address()));
        let mut server = launch
            .within(std::time::Duration::from_secs(20))
            .start()
            .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let listen = format!("server.listen={{http: \"127.0.0.1:{}\"}}", other.port());
        let check = place.run(&["check", "spec.yaml", "--set", &listen]);
        assert_eq!(check.0, Some(0), "{name}: {}\n{spec}", check.2);
        let started = place.launch(&["start", "--spec", "spec.yaml", "--set", &listen]);
        let always = [
            ("a.example", "/"),
            ("a.example", "/page.html"),
            ("unknown.example", "/x"),
            ("a.example", "/a%20b/../c?d=e"),
        ];
        for (host, path) in always.iter().chain(*more) {
            for method in ["GET", "HEAD", "POST"] {
                let (before, after) = (ask(held.port(), method, host, path), ask(other.port(), method, host, path));
                if before != after {
                    differences.push(format!(
                        "{name}: {method} {host}{path}\n--- original\n{before}\n--- imported\n{after}\n--- spec\n{spec}"
                    ));
                }
            }
        }
        started.interrupt();
        let _ = started.end();
        server.stop(Signal::SIGTERM, std::time::Duration::from_secs(20), |_| {}).unwrap();
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n\n"));
}

#[test]
fn what_cannot_be_imported_is_refused_and_nothing_is_lost() {
    let place = Place::new();
    let put = |name: &str, text: &str| fs::write(place.site().join(name), text).unwrap();
    put("site.conf", "WSGIScriptAlias / /srv/app.wsgi\nWSGIDaemonProcess d nonsense=1\nErrorDocument 404 none\n");
    put("spec.yaml", "kept");
    let (code, _, errors) = place.run(&["import", "httpd", "site.conf", "-o", "spec.yaml"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("error[CG171]: spec.yaml exists"), "{errors}");
    assert_eq!(fs::read_to_string(place.site().join("spec.yaml")).unwrap(), "kept");
    let (code, out, errors) =
        place.run(&["import", "httpd", "site.conf", "-o", "spec.yaml", "--force", "--name", "a shop"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{errors}");
    // What is not understood is named, and what has no key is kept.
    assert!(errors.contains("the option `nonsense=1` of group `d` is not understood"), "{errors}");
    assert!(errors.contains("`ErrorDocument` has no key, and is kept as it stands"), "{errors}");
    let spec = fs::read_to_string(place.site().join("spec.yaml")).unwrap();
    assert!(spec.contains("name: a-shop") && spec.contains("ErrorDocument 404 none"), "{spec}");
    let (code, out, _) = place.run(&["import", "httpd", "site.conf", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &answer["spec"]["sites"]["main"]["apps"]["/"]["script"]),
        (Some(0), &"/srv/app.wsgi".into()),
        "{out}"
    );
    put("open.conf", "<Directory /srv>\n");
    for (path, expected, words) in [
        ("none.conf", 4, "none.conf"),
        ("open.conf", 2, "is not closed"),
        (".", 2, "holds no main file, but several parts"),
        ("/dev/zero", 4, "device"),
    ] {
        let (code, out, errors) = place.run(&["import", "httpd", path]);
        assert_eq!((code, out.as_str()), (Some(expected), ""), "{path} {errors}");
        assert!(errors.contains(words), "{path} {errors}");
    }
}

#[test]
fn a_virtual_host_that_is_no_site_is_kept_whole() {
    let place = Place::new();
    let text = "Listen 80\nListen 443\n<VirtualHost *:80>\nServerName a.example\nRedirect permanent / https://a.example/\n</VirtualHost>\n<VirtualHost *:443>\nServerName a.example\nSSLEngine on\nSSLCertificateFile /etc/a.pem\nSSLCertificateKeyFile /etc/a.key\nWSGIScriptAlias / /srv/a.wsgi\n</VirtualHost>\n<VirtualHost 10.0.0.1:80>\nServerName b.example\nWSGIScriptAlias / /srv/b.wsgi\n</VirtualHost>\n";
    fs::write(place.site().join("site.conf"), text).unwrap();
    let (code, out, errors) = place.run(&["import", "httpd", "site.conf", "--json"]);
    assert_eq!(code, Some(0), "{errors}");
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let spec = &answer["spec"];
    assert_eq!(spec["server"]["listen"], serde_json::json!({"http": [80], "https": [443]}), "{out}");
    assert_eq!(
        spec["sites"]["a-example"]["tls"],
        serde_json::json!({"cert": "/etc/a.pem", "key": "/etc/a.key"}),
        "{out}"
    );
    let raw = spec["raw"].to_string();
    assert!(raw.contains("<VirtualHost 10.0.0.1:80>") && raw.contains("/srv/b.wsgi"), "{raw}");
    assert!(out.contains("it is bound to the address 10.0.0.1:80"), "{out}");
}
