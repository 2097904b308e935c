//! The spec of a command line.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::line::{Given, Line};
use super::options::{Kind, Plain, To};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::import::draft::Draft;

/// A spec, and what is to be known about it.
#[derive(Debug)]
pub struct Made {
    /// The spec.
    pub spec: Value,
    /// What needs nothing, and what is not quite the same.
    pub notes: Vec<Diagnostic>,
}

/// What mod_wsgi-express does when it is not told otherwise: the option, the key and the value.
const DEFAULTS: &[(&str, &[&str], &str)] = &[
    ("startup-timeout", &["daemons", "main", "timeouts", "startup"], "15s"),
    ("shutdown-timeout", &["daemons", "main", "timeouts", "shutdown"], "5s"),
    ("graceful-timeout", &["daemons", "main", "timeouts", "graceful"], "15s"),
    ("deadlock-timeout", &["daemons", "main", "timeouts", "deadlock"], "60s"),
    ("request-timeout", &["daemons", "main", "timeouts", "request"], "60s"),
    ("queue-timeout", &["daemons", "main", "timeouts", "queue"], "45s"),
    ("connect-timeout", &["daemons", "main", "timeouts", "connect"], "15s"),
];

/// The address of the server when none is named.
const PORT: &str = "8000";

/// How many rotated logs are kept; mod_wsgi-express keeps all of them.
const KEPT: u32 = 14;

/// Makes the spec of a command line.
///
/// # Errors
/// Everything that cannot be taken over, at once.
pub fn spec(line: &Line) -> Result<Made, Vec<Diagnostic>> {
    let mut work = Work { line, draft: Draft::default(), notes: Vec::new(), wrong: line.wrong.clone() };
    work.table();
    work.server();
    work.daemon();
    work.site();
    if work.wrong.is_empty() { Ok(Made { spec: work.draft.finish(), notes: work.notes }) } else { Err(work.wrong) }
}

struct Work<'l> {
    line: &'l Line,
    draft: Draft,
    notes: Vec<Diagnostic>,
    wrong: Vec<Diagnostic>,
}

impl Work<'_> {
    /// Options that are a key, or nothing, or refused.
    fn table(&mut self) {
        for given in &self.line.given {
            let name = given.option.name;
            match given.option.to {
                To::Together => {}
                To::Refused(why) => {
                    let diagnostic = Diagnostic::error(Code::Express, format!("`--{name}` has no counterpart"));
                    self.wrong.push(diagnostic.at(given.span.clone(), "").help(why));
                }
                To::Nothing(why) => {
                    let mut diagnostic = Diagnostic::warning(Code::Express, format!("`--{name}` needs nothing: {why}"));
                    diagnostic.severity = Severity::Note;
                    self.notes.push(diagnostic.at(given.span.clone(), ""));
                }
                To::On(path, Plain::Switch(value)) => self.put(path, json!(value)),
                To::On(path, Plain::Text(value)) => self.put(path, json!(value)),
                To::Key(path, kind) => match spelled(kind, &given.values[0]) {
                    Some(value) => self.put(path, value),
                    None => self.not_a_value(given),
                },
            }
        }
    }

    /// Sets a key of the table, unless it is one of the daemon that an embedded application has not.
    fn put(&mut self, path: &[&str], value: Value) {
        if !(self.line.has("embedded-mode") && path.first() == Some(&"daemons")) {
            // `debug: true` and what the debugger does are one key.
            if path == ["runtime", "debug"] && self.draft.get(path).is_some() {
                return;
            }
            self.draft.set(path, value);
        }
    }

    fn not_a_value(&mut self, given: &Given) {
        let diagnostic = Diagnostic::error(
            Code::Express,
            format!("`{}` is no value for `--{}`", given.values.join(" "), given.option.name),
        );
        self.wrong.push(diagnostic.at(given.span.clone(), ""));
    }

    fn refuse(&mut self, option: &str, message: &str, help: &str) {
        let span = self
            .line
            .given
            .iter()
            .rev()
            .find(|given| given.option.name == option)
            .map_or(&self.line.whole, |given| &given.span);
        self.wrong.push(Diagnostic::error(Code::Express, message).at(span.clone(), "").help(help));
    }

    /// A path of the command line.
    fn path(&self, text: &str) -> String {
        self.line.folder.join(text).display().to_string()
    }

    fn server(&mut self) {
        let line = self.line;
        self.draft.set(&["server", "name"], "express");
        let port = line.value("port").unwrap_or(PORT);
        match (line.value("host"), port.parse::<u16>()) {
            (_, Err(_)) => self.refuse("port", &format!("`{port}` is no port"), "a number from 1 to 65535"),
            (Some(host), Ok(port)) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                self.draft.set(&["server", "listen", "http"], format!("{host}:{port}"));
            }
            (None, Ok(port)) => self.draft.set(&["server", "listen", "http"], port),
        }
        match line.value("keep-alive-timeout").unwrap_or("2") {
            "0" => self.draft.set(&["server", "keep-alive"], false),
            seconds => self.draft.set(&["server", "keep-alive"], format!("{seconds}s")),
        }
        let socket = line.value("socket-timeout").unwrap_or("60");
        self.draft.set(&["server", "timeout"], format!("{socket}s"));
        if let Some(mpm) = line.given.iter().find(|given| given.option.name == "server-mpm") {
            self.draft.set(&["server", "mpm"], mpm.values[0].as_str());
        }
        self.logs();
        for given in line.given.iter().filter(|given| given.option.name == "python-warnings") {
            self.draft.push(&["runtime", "python", "warnings"], given.values[0].as_str());
        }
        if let Some(seconds) = line.value("switch-interval").and_then(|text| text.parse::<f64>().ok()) {
            self.draft.set(&["runtime", "python", "switch-interval"], seconds);
        }
        for given in line.given.iter().filter(|given| given.option.name == "telemetry-options") {
            for word in given.values[0].split_whitespace() {
                self.draft.push(&["runtime", "telemetry", "options"], word);
            }
        }
    }

    fn logs(&mut self) {
        let line = self.line;
        if let Some(folder) = line.value("log-directory") {
            for (key, option, usual) in
                [("error", "error-log-name", "error_log"), ("access", "access-log-name", "access_log")]
            {
                let file = Path::new(&self.path(folder)).join(line.value(option).unwrap_or(usual));
                self.draft.set(&["server", "log", "to", "at", key], file.display().to_string());
            }
        }
        if line.has("access-log") {
            match line.value("access-log-format").unwrap_or("common") {
                name @ ("common" | "combined") => self.draft.set(&["server", "log", "access"], name),
                format => self.draft.set(&["server", "log", "access", "format"], format),
            }
        } else {
            self.draft.set(&["server", "log", "access"], "off");
        }
        if line.has("rotate-logs") && !line.has("log-to-terminal") {
            let size = line.value("max-log-size").unwrap_or("5");
            self.draft.set(&["server", "log", "rotate"], json!({"size": format!("{size}M"), "keep": KEPT}));
        }
    }

    fn daemon(&mut self) {
        let line = self.line;
        let paths: Vec<String> = line
            .given
            .iter()
            .filter(|given| given.option.name == "python-path")
            .map(|given| self.path(&given.values[0]))
            .collect();
        let home = self.path(line.value("working-directory").unwrap_or(""));
        let home = home.trim_end_matches('/').to_owned();
        if line.has("embedded-mode") || self.is_static() {
            if !self.is_static() {
                self.workers();
                for path in std::iter::once(home).chain(paths) {
                    self.draft.push(&["runtime", "python", "path"], path);
                }
            }
            return;
        }
        if !line.has("threads") {
            self.draft.set(&["daemons", "main", "threads"], 5);
        }
        self.draft.set(&["daemons", "main", "home"], home);
        for path in paths {
            self.draft.push(&["daemons", "main", "python-path"], path);
        }
        for (option, key, value) in DEFAULTS {
            if !line.has(option) {
                self.draft.set(key, *value);
            }
        }
        let socket = line.value("socket-timeout").unwrap_or("60");
        self.draft.set(&["daemons", "main", "timeouts", "socket"], format!("{socket}s"));
        if let Some(group) = line.value("process-group") {
            self.draft.set(&["daemons", "main", "display-name"], format!("(wsgi:{group})"));
        }
        if line.has("disable-reloading") {
            self.draft.set(&["daemons", "main", "reload"], "off");
        }
        if line.has("server-metrics") {
            self.draft.set(&["daemons", "main", "server-metrics"], true);
        }
        if let Some(seconds) = line.value("switch-interval").and_then(|text| text.parse::<f64>().ok()) {
            self.draft.set(&["daemons", "main", "switch-interval"], seconds);
        }
    }

    /// In embedded mode the processes of httpd are those of the application.
    fn workers(&mut self) {
        let number =
            |option: &str, usual: u64| self.line.value(option).and_then(|text| text.parse().ok()).unwrap_or(usual);
        let (processes, threads): (u64, u64) = (number("processes", 1), number("threads", 5));
        if !self.line.has("server-mpm") {
            self.draft.set(&["server", "mpm"], "worker");
        }
        for (key, value) in [
            ("start-servers", processes),
            ("server-limit", processes),
            ("threads-per-child", threads),
            ("max-request-workers", processes.saturating_mul(threads)),
        ] {
            self.draft.set(&["server", "mpm-settings", key], value);
        }
        let mut note =
            Diagnostic::warning(Code::Express, "in embedded mode the working directory of the application is `/`");
        note.severity = Severity::Note;
        self.notes.push(note.help(
            "the working directory is on its search path; without `--embedded-mode` it is the working directory, too",
        ));
    }

    fn is_static(&self) -> bool {
        self.line.value("application-type") == Some("static")
    }

    fn site(&mut self) {
        let line = self.line;
        if self.draft.get(&["sites", "main"]).is_none() {
            self.draft.set(&["sites", "main"], Value::Object(Map::new()));
        }
        if let Some(name) = line.value("server-name") {
            let aliases = line
                .given
                .iter()
                .filter(|given| given.option.name == "server-alias")
                .map(|given| given.values[0].as_str());
            let hosts: Vec<&str> = std::iter::once(name).chain(aliases).collect();
            self.draft.set(&["sites", "main", "hosts"], hosts);
        }
        if !line.has("limit-request-body") {
            self.draft.set(&["sites", "main", "limits", "body"], 10_485_760);
        }
        self.tls();
        self.application();
        self.files();
        for given in &line.given {
            match (given.option.name, given.values.as_slice()) {
                ("setenv", [name, value]) => self.draft.set(&["sites", "main", "env", name], value.as_str()),
                ("trust-proxy", [address]) => self.draft.push(&["sites", "main", "proxies", "trust"], address.as_str()),
                ("trust-proxy-header", [name]) => {
                    self.draft.push(&["sites", "main", "proxies", "headers"], name.as_str())
                }
                ("proxy-mount-point" | "proxy-url-alias", [url, to]) => {
                    let url = bare(url);
                    self.draft.set(
                        &["sites", "main", "upstreams", &url],
                        json!({"to": to.trim_end_matches('/'), "websocket": true}),
                    );
                }
                ("add-handler", [extension, script]) => {
                    let name = extension.trim_start_matches('.').to_owned();
                    let script = self.path(script);
                    let extension = format!(".{name}");
                    self.draft.set(
                        &["sites", "main", "handlers", &name],
                        json!({"script": script, "extensions": [extension]}),
                    );
                }
                _ => {}
            }
        }
        if line.has("trust-proxy-header") && !line.has("trust-proxy") {
            self.refuse(
                "trust-proxy-header",
                "these headers would be believed from every client",
                "name the proxies: `--trust-proxy 10.0.0.5`",
            );
        }
    }

    fn tls(&mut self) {
        let line = self.line;
        let base = line.value("ssl-certificate");
        let file = |option: &str, ending: &str| {
            line.value(option)
                .map(str::to_owned)
                .or_else(|| Some(format!("{}{ending}", base?)))
                .map(|file| self.path(&file))
        };
        let (certificate, key) = (file("ssl-certificate-file", ".crt"), file("ssl-certificate-key-file", ".key"));
        let port = line.value("https-port").or_else(|| line.value("ssl-port"));
        match (port, certificate, key) {
            (None, None, None) => {}
            (Some(port), Some(certificate), Some(key)) if line.has("server-name") => {
                match port.parse::<u16>() {
                    Ok(port) => {
                        let endpoint = match line.value("host") {
                            Some(host) => json!(format!("{host}:{port}")),
                            None => json!(port),
                        };
                        self.draft.set(&["server", "listen", "https"], endpoint);
                    }
                    Err(_) => self.refuse("https-port", &format!("`{port}` is no port"), "a number from 1 to 65535"),
                }
                self.draft.set(&["sites", "main", "tls", "cert"], certificate);
                self.draft.set(&["sites", "main", "tls", "key"], key);
                if let Some(authority) = line.value("ssl-ca-certificate-file") {
                    let authority = self.path(authority);
                    self.draft.set(&["sites", "main", "tls", "client-ca"], authority);
                }
                self.draft.set(&["sites", "main", "redirect"], if line.has("https-only") { "https" } else { "none" });
            }
            _ => self.refuse(
                "https-port",
                "TLS needs a port, a certificate with its key, and a name",
                "give `--https-port`, `--ssl-certificate` and `--server-name`",
            ),
        }
    }

    fn application(&mut self) {
        let line = self.line;
        let entry = line.value("entry-point").map(str::to_owned).or_else(|| Some(line.positional.first()?.0.clone()));
        let mut app = Map::new();
        match (line.value("application-type").unwrap_or("script"), entry) {
            ("static", folder) => {
                let folder = line.value("document-root").map(str::to_owned).or(folder).unwrap_or_default();
                let folder = self.path(&folder);
                let mut entry = json!({"dir": folder.trim_end_matches('/')});
                if line.has("directory-listing") {
                    entry["listing"] = json!(true);
                }
                self.draft.set(&["sites", "main", "static", "/"], entry);
                return;
            }
            ("script", Some(script)) => {
                app.insert("script".to_owned(), json!(self.path(&script)));
                if let Some(callable) = line.value("callable-object") {
                    app.insert("callable".to_owned(), json!(callable));
                }
            }
            ("module", Some(module)) => {
                let callable = line.value("callable-object").unwrap_or("application");
                app.insert("module".to_owned(), json!(format!("{module}:{callable}")));
            }
            ("paste", _) => {
                let help = "write a script with `from paste.deploy import loadapp`; `confgen init` makes one for a folder with an .ini file";
                self.refuse("application-type", "`--application-type paste` has no counterpart", help);
                return;
            }
            (kind @ ("script" | "module"), None) => {
                let message = format!("the {kind} of the application is not named");
                self.refuse("application-type", &message, "name it: `mod_wsgi-express start-server app.wsgi`");
                return;
            }
            (kind, _) => {
                let message = format!("`{kind}` is no type of an application");
                self.refuse("application-type", &message, "types: script, module, static");
                return;
            }
        }
        // Behind an option that is not known, a word may be its value.
        if let Some((word, span)) = line.positional.get(1).filter(|_| line.wrong.is_empty()) {
            self.wrong
                .push(Diagnostic::error(Code::Express, format!("`{word}` is one word too many")).at(span.clone(), ""));
        }
        if !line.has("embedded-mode") {
            app.insert("daemon".to_owned(), json!("main"));
        }
        let interpreter = match line.value("application-group").unwrap_or("%{GLOBAL}") {
            "%{GLOBAL}" | "" => "main",
            "%{RESOURCE}" => "resource",
            name => name,
        };
        app.insert("interpreter".to_owned(), json!(interpreter));
        app.insert("pass-authorization".to_owned(), json!(true));
        for (option, key) in [
            ("chunked-request", "chunked"),
            ("error-override", "error-override"),
            ("enable-sendfile", "enable-sendfile"),
        ] {
            if line.has(option) {
                app.insert(key.to_owned(), json!(true));
            }
        }
        if let Some(map) = line.value("map-head-to-get") {
            app.insert("map-head-to-get".to_owned(), json!(map.to_lowercase()));
        }
        self.who(&mut app);
        let url = bare(line.value("mount-point").unwrap_or("/"));
        self.draft.set(&["sites", "main", "apps", &url], Value::Object(app));
    }

    /// Scripts that say who may come in.
    fn who(&self, app: &mut Map<String, Value>) {
        let line = self.line;
        if let Some(script) = line.value("host-access-script") {
            app.insert("access".to_owned(), json!(self.path(script)));
        }
        let Some(script) = line.value("auth-user-script") else { return };
        let host = line.value("host").unwrap_or("localhost");
        let mut auth = json!({
            "realm": format!("{host}:{}", line.value("port").unwrap_or(PORT)),
            "script": self.path(script),
            "type": line.value("auth-type").unwrap_or("Basic").to_lowercase(),
        });
        if let Some(groups) = line.value("auth-group-script") {
            auth["groups"] =
                json!({"script": self.path(groups), "any-of": [line.value("auth-group").unwrap_or("wsgi")]});
        }
        app.insert("auth".to_owned(), auth);
    }

    fn files(&mut self) {
        let line = self.line;
        if line.has("document-root") && !self.is_static() {
            let help = "files that come before the application have no key: mount them at a path of their own with `--url-alias`";
            self.refuse("document-root", "`--document-root` has no counterpart beside an application", help);
        }
        for given in line.given.iter().filter(|given| given.option.name == "url-alias") {
            let path = self.path(&given.values[1]);
            let key = if Path::new(&path).is_file() { "file" } else { "dir" };
            let url = bare(&given.values[0]);
            self.draft.set(&["sites", "main", "static", &url, key], path.trim_end_matches('/'));
        }
    }
}

/// A URL path without the slash at its end.
fn bare(url: &str) -> String {
    match url.trim_end_matches('/') {
        "" => "/".to_owned(),
        url => url.to_owned(),
    }
}

fn spelled(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(json!(text)),
        Kind::Number => text.parse::<u64>().ok().map(Value::from),
        Kind::Float => text.parse::<f64>().ok().map(Value::from),
        Kind::Seconds => text.parse::<u64>().ok().map(|seconds| json!(format!("{seconds}s"))),
        Kind::Milliseconds => text.parse::<u64>().ok().map(|number| json!(format!("{number}ms"))),
    }
}
