//! `confgen route` and `confgen show`, and the way that httpd itself takes.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use confgen::configuration::{Configuration, load_main};
use confgen::httpd::{HeldPort, Httpd, Launch, Readiness, ServerRoot, Signal};
use confgen::route::{Application, Outcome, Request, route};
use serde_json::Value;

use crate::fixture::this_machine;
use crate::place::{Place, get, module};

/// Says what it was called with.
const SCRIPT: &str = r#"
import json

def answer(name):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        names = ("SCRIPT_FILENAME", "SCRIPT_NAME", "PATH_INFO", "mod_wsgi.process_group", "mod_wsgi.application_group")
        return [json.dumps([name] + [environ[key] for key in names]).encode()]
    return application

application = answer("application")
other = answer("other")
"#;

/// A generator of numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // The constants are Knuth's, of MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Directives of a server or virtual host; `ROOT` stands for the folder of files, `GROUP` for options.
const DIRECTIVES: &[&str] = &[
    "WSGIScriptAlias /app ROOT/scripts/a.wsgi",
    "WSGIScriptAlias /app/sub ROOT/scripts/b.wsgi process-group=one application-group=%{GLOBAL}",
    "WSGIScriptAlias / ROOT/scripts/a.wsgi process-group=two",
    "WSGIScriptAlias /dir ROOT/scripts",
    "WSGIScriptAlias /dir/ ROOT/scripts/",
    "WSGIScriptAlias /other ROOT/scripts/a.wsgi callable-object=other",
    "WSGIScriptAliasMatch ^/m/([a-z]+) ROOT/scripts/$1.wsgi",
    "WSGIScriptAlias /gone ROOT/scripts/none.wsgi",
    "WSGIProcessGroup one",
    "WSGIProcessGroup two",
    "WSGIApplicationGroup %{GLOBAL}",
    "WSGIApplicationGroup %{SERVER}",
    "WSGIApplicationGroup named",
    "WSGICallableObject other",
    "Alias /static ROOT/files",
    "Alias /static/ ROOT/files/",
    "AliasMatch ^/pic/(.*) ROOT/files/$1",
    "Alias /app/static ROOT/files",
    "Redirect /old http://else.example/new",
    "Redirect 301 /app/old /app",
    "RedirectMatch 303 ^/r(.*)$ /app$1",
    "Redirect gone /lost",
    "AllowEncodedSlashes On",
    "<Location /app/closed>\nRequire all denied\n</Location>",
    "<Location /app>\nWSGIProcessGroup two\n</Location>",
    "<Location /static>\nRequire all denied\n</Location>",
    "<Location /static/open>\nRequire all granted\n</Location>",
    "<LocationMatch \"^/app/[0-9]\">\nWSGIApplicationGroup numbers\n</LocationMatch>",
    "<Location /moved>\nRedirect 301 http://else.example/moved\n</Location>",
    "<Directory ROOT/scripts>\nWSGIProcessGroup one\n</Directory>",
    "<Directory ROOT/files/closed>\nRequire all denied\n</Directory>",
    "<Files b.wsgi>\nWSGIApplicationGroup files\n</Files>",
    "<Files secret.txt>\nRequire all denied\n</Files>",
    "<Directory ROOT/www/run>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>",
    "<Directory ROOT/www/run>\nAddHandler wsgi-script .wsgi\n</Directory>",
    "DocumentRoot ROOT/www",
    "DocumentRoot ROOT/files",
    "RewriteEngine On\nRewriteRule ^/rw/(.*) /app/$1 [PT]",
    "RewriteEngine On\nRewriteRule ^/rw/(.*) http://else.example/$1 [R=301,L]",
    "RewriteEngine On\nRewriteRule ^/no - [F]",
    "DirectoryIndex start.txt index.html",
];

/// Parts of URLs.
const PARTS: &[&str] = &[
    "app",
    "app",
    "sub",
    "dir",
    "a.wsgi",
    "b.wsgi",
    "other",
    "m",
    "a",
    "b",
    "static",
    "closed",
    "open",
    "one.txt",
    "secret.txt",
    "old",
    "rx",
    "lost",
    "gone",
    "pic",
    "run",
    "moved",
    "rw",
    "no",
    "x",
    "7",
    "%41",
    "a%20b",
    "",
    ".",
    "..",
    "%2e%2e",
    "a%2Fb",
    "app%2fx",
    "start.txt",
    "index.html",
];

fn files(root: &Path) {
    let put = |name: &str, text: &str| {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    for name in ["scripts/a.wsgi", "scripts/b.wsgi", "www/run/a.wsgi"] {
        put(name, &format!("# file {name}\n{SCRIPT}"));
    }
    for folder in ["files", "files/open", "files/closed", "www", "www/static"] {
        for name in ["one.txt", "secret.txt", "a b"] {
            put(&format!("{folder}/{name}"), &format!("file {folder}/{name}"));
        }
    }
    put("files/open/start.txt", "file files/open/start.txt");
    put("www/index.html", "file www/index.html");
}

/// A configuration of some directives, on a port.
fn configuration(dice: &mut Dice, httpd: &Httpd, root: &ServerRoot, port: &HeldPort) -> String {
    let folder = root.path().display().to_string();
    let mut text = String::new();
    for name in ["mpm_event", "unixd", "authz_core", "authz_host", "alias", "dir", "mime", "rewrite", "log_config"] {
        if let Some(file) = httpd.module_file(name) {
            writeln!(text, "LoadModule {name}_module {}", file.display()).unwrap();
        }
    }
    writeln!(text, "LoadModule wsgi_module {}", module()).unwrap();
    for address in port.addresses() {
        writeln!(text, "Listen {}", std::net::SocketAddr::new(*address, port.port())).unwrap();
    }
    text += "User www-data\nGroup www-data\nServerName main.example\nPidFile run/httpd.pid\nErrorLog logs/error.log\nMutex file:run\n";
    text += "WSGISocketPrefix run/wsgi\nDocumentRoot ROOT/www\nTypesConfig /dev/null\nStartServers 1\n";
    text += "WSGIDaemonProcess one threads=1\nWSGIDaemonProcess two threads=1\n<Directory />\nRequire all granted\n</Directory>\n";
    let mut some = |text: &mut String| {
        for _ in 0..3 + dice.below(7) {
            *text += dice.one_of(DIRECTIVES);
            text.push('\n');
        }
    };
    some(&mut text);
    let number = port.port();
    for names in
        ["ServerName one.example\nServerAlias *.one.example", "ServerName two.example\nServerAlias deep.one.example"]
    {
        writeln!(text, "<VirtualHost *:{number}>\n{names}").unwrap();
        some(&mut text);
        text += "</VirtualHost>\n";
    }
    // Preloaded scripts need their groups above them, which they are.
    text.replace("ROOT", &folder)
}

/// What httpd did, in the words of an outcome.
fn done(answer: &str, folder: &str) -> Outcome {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 200 {
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).map(str::to_owned);
        return Outcome::Answer { status, location };
    }
    // The source of a script that is no application there is a file like others.
    if let Some(file) = body.strip_prefix("file ").or_else(|| body.strip_prefix("# file ")) {
        return Outcome::File(format!("{folder}/{}", file.lines().next().unwrap_or_default()));
    }
    let Ok(Value::Array(parts)) = serde_json::from_str(body) else { panic!("{answer}") };
    let part = |index: usize| parts[index].as_str().unwrap().to_owned();
    Outcome::Application(Application {
        callable: part(0),
        script: part(1),
        script_name: part(2),
        path_info: part(3),
        group: Some(part(4)).filter(|group| !group.is_empty()),
        interpreter: part(5),
    })
}

#[test]
fn httpd_takes_the_same_way() {
    if !nix::unistd::Uid::effective().is_root() {
        // Files of the test are readable for another user only when root makes them so.
        return;
    }
    let httpd = Httpd::locate(None, None).unwrap();
    let mut dice = Dice(20_240_601);
    let (mut asked, mut open) = (0, 0);
    let mut differences = Vec::new();
    for _ in 0..30 {
        let (root, port) = (ServerRoot::temporary(None).unwrap(), HeldPort::loopback().unwrap());
        files(root.path());
        let text = configuration(&mut dice, &httpd, &root, &port);
        let main = root.path().join("httpd.conf");
        fs::write(&main, &text).unwrap();
        let launch = Launch::new(&httpd.binary, root.path()).ready_when(Readiness::Answers(port.address()));
        let mut server = match launch.within(std::time::Duration::from_secs(20)).start() {
            Ok(server) => server,
            Err(error) => panic!("{error}\n{text}"),
        };
        let loaded = load_main(&main).unwrap();
        assert_eq!(loaded.reading.refusal, None, "{text}");
        let configuration = Configuration::of(&loaded.reading, loaded.partial);
        let folder = root.path().display().to_string();
        for _ in 0..34 {
            let path: String = (0..1 + dice.below(4)).map(|_| format!("/{}", dice.one_of(PARTS))).collect();
            let host =
                dice.one_of(&["one.example", "two.example", "www.one.example", "deep.one.example", "three.example"]);
            let mut request = Request::parse(&format!("http://127.0.0.1:{}{path}", port.port())).unwrap();
            request.headers.push(("Host".to_owned(), host.to_owned()));
            let here = route(&configuration, &request, true);
            let there = done(&get(port.port(), &path, host), &folder);
            asked += 1;
            match &here.outcome {
                Outcome::Open(_) => open += 1,
                outcome if *outcome == there => {}
                outcome => differences.push(format!(
                    "{host}{path}\n  here:  {outcome:?}\n  httpd: {there:?}\n  {:?}\n{text}",
                    here.steps
                )),
            }
        }
        server.stop(Signal::SIGTERM, std::time::Duration::from_secs(20), |_| {}).unwrap();
    }
    assert!(asked >= 1000 && open * 20 < asked, "{open} of {asked} are left open");
    let shown: Vec<&String> = differences.iter().take(9).collect();
    assert!(
        differences.is_empty(),
        "{} of {asked} differ:\n{}",
        differences.len(),
        shown.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn a_spec_is_followed_to_its_keys() {
    let place = Place::new();
    let module = this_machine().wsgi.module.unwrap();
    let text = format!(
        "schema: confgen/1\nserver: {{name: shop, listen: {{http: 8080}}}}\nruntime: {{module: {}}}\ndaemons:\n  web: {{threads: 3}}\nsites:\n  main:\n    hosts: [shop.example]\n    apps:\n      /: {{script: {}, daemon: web, interpreter: main}}\n",
        module.display(),
        place.site().join("app.wsgi").display()
    );
    fs::write(place.site().join("spec.yaml"), text).unwrap();
    let (code, out, errors) = place.run(&["route", "spec.yaml", "http://shop.example:8080/a"]);
    assert_eq!(code, Some(0), "{errors}");
    for expected in [
        "sites.main.apps./ (spec.yaml:10)",
        "daemons.web (spec.yaml:5)",
        "group `web`",
        "the main one",
        "PATH_INFO=\"/a\"",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let (code, out, _) = place.run(&["route", "spec.yaml", "http://shop.example:9/", "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["outcome"]["kind"]), (Some(0), &Value::from("open")), "{out}");
    let (code, out, _) = place.run(&["show", "daemons", "spec.yaml", "--json"]);
    let rows: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &rows[0]["group"], &rows[0]["threads"]),
        (Some(0), &Value::from("web"), &Value::from("3")),
        "{out}"
    );
    for (what, expected) in
        [("vhosts", "shop.example"), ("routes", "app.wsgi (process: web"), ("modules", "wsgi_module")]
    {
        let (code, out, errors) = place.run(&["show", what, "spec.yaml"]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(out.contains(expected), "{what}: {out}");
    }
    let (code, _, errors) = place.run(&["route", "spec.yaml", "ftp://x/"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("does not begin with http://"), "{errors}");
}
