//! Directives of the main server.

use serde_json::Value;

use super::Importer;
use super::spell;
use crate::configuration::{Statement, port_of};

/// How an argument is spelled in a spec; `None` when it cannot be.
type Spelled = fn(&str) -> Option<Value>;

/// Directives with one argument, and their keys.
const PLAIN: &[(&str, &[&str], Spelled)] = &[
    ("Timeout", &["server", "timeout"], spell::seconds),
    ("MaxKeepAliveRequests", &["server", "max-keep-alive-requests"], spell::number),
    ("TraceEnable", &["server", "trace"], spell::switch),
    ("ServerTokens", &["server", "server-tokens"], lower),
    ("StartServers", &["server", "mpm-settings", "start-servers"], spell::number),
    ("ServerLimit", &["server", "mpm-settings", "server-limit"], spell::number),
    ("ThreadLimit", &["server", "mpm-settings", "thread-limit"], spell::number),
    ("ThreadsPerChild", &["server", "mpm-settings", "threads-per-child"], spell::number),
    ("MaxRequestWorkers", &["server", "mpm-settings", "max-request-workers"], spell::number),
    ("MaxClients", &["server", "mpm-settings", "max-request-workers"], spell::number),
    ("MinSpareServers", &["server", "mpm-settings", "min-spare-servers"], spell::number),
    ("MaxSpareServers", &["server", "mpm-settings", "max-spare-servers"], spell::number),
    ("MinSpareThreads", &["server", "mpm-settings", "min-spare-threads"], spell::number),
    ("MaxSpareThreads", &["server", "mpm-settings", "max-spare-threads"], spell::number),
    ("MaxConnectionsPerChild", &["server", "mpm-settings", "max-connections-per-child"], spell::number),
    ("MaxRequestsPerChild", &["server", "mpm-settings", "max-connections-per-child"], spell::number),
    ("AsyncRequestWorkerFactor", &["server", "mpm-settings", "async-request-worker-factor"], spell::number),
    ("ThreadStackSize", &["server", "mpm-settings", "thread-stack-size"], spell::number),
    ("ListenBackLog", &["server", "mpm-settings", "listen-backlog"], spell::number),
    ("GracefulShutdownTimeout", &["server", "mpm-settings", "graceful-shutdown-timeout"], spell::seconds),
    ("User", &["server", "user"], account),
    ("Group", &["server", "group"], account),
    ("WSGIPythonHome", &["runtime", "python", "home"], text),
    ("WSGIPythonEggs", &["runtime", "python", "eggs"], text),
    ("WSGIPythonOptimize", &["runtime", "python", "optimize"], spell::number),
    ("WSGIPythonHashSeed", &["runtime", "python", "hash-seed"], text),
    ("WSGIDontWriteBytecode", &["runtime", "python", "dont-write-bytecode"], spell::switch),
    ("WSGIPerInterpreterGIL", &["runtime", "python", "per-interpreter-gil"], spell::switch),
    ("WSGIFreeThreading", &["runtime", "python", "free-threading"], spell::switch),
    ("WSGIPython", &["runtime", "python", "version"], text),
    ("WSGIRestrictStdin", &["runtime", "restrict", "stdin"], spell::switch),
    ("WSGIRestrictStdout", &["runtime", "restrict", "stdout"], spell::switch),
    ("WSGIRestrictSignal", &["runtime", "restrict", "signal"], spell::switch),
    ("WSGIRestrictEmbedded", &["runtime", "restrict", "embedded"], spell::switch),
    ("WSGIMaximumInterpreters", &["runtime", "maximum-interpreters"], spell::number),
    ("WSGIDestroyInterpreter", &["runtime", "destroy-interpreters"], spell::switch),
    ("WSGIServerMetrics", &["runtime", "server-metrics"], spell::switch),
    ("WSGILogFormat", &["runtime", "log-format"], lower),
];

/// Directives of which confgen renders its own, so that those of the configuration are not needed.
const RENDERED: &[&str] = &[
    "ServerRoot",
    "PidFile",
    "Mutex",
    "DefaultRuntimeDir",
    "LoadModule",
    "LoadFile",
    "TypesConfig",
    "AccessFileName",
    "HostnameLookups",
    "WSGISocketPrefix",
    "WSGISocketRotation",
    "WSGIAcceptMutex",
    "WSGIVerboseDebugging",
    "LogFormat",
    "Define",
    "UnDefine",
    "ServerSignature",
    "UseCanonicalName",
    "NameVirtualHost",
    "ServerAdmin",
];

fn lower(text: &str) -> Option<Value> {
    Some(Value::from(text.to_ascii_lowercase()))
}

fn text(text: &str) -> Option<Value> {
    Some(Value::from(text))
}

/// A variable of Debian's `envvars` that could not be read stands for the distribution's user.
fn account(text: &str) -> Option<Value> {
    (!text.contains("${")).then(|| Value::from(text))
}

impl<'i> Importer<'i> {
    pub(super) fn server(&mut self, name: &str) {
        self.draft.set(&["server", "name"], spell::name(name));
        if let Some(statement) = self.last(0, "ServerName")
            && let Some(name) = self.configuration.hosts[0].name.clone()
        {
            let _ = statement;
            self.draft.set(&["server", "server-name"], name);
        }
        self.mpm();
        self.listen();
        self.logs();
        for (directive, key, spelled) in PLAIN {
            self.plain(directive, key, *spelled);
        }
        self.keep_alive();
        for directive in RENDERED {
            for statement in self.own(0, directive) {
                self.take(statement.index);
            }
        }
        if let Some(path) = self.last(0, "WSGIPythonPath").and_then(|statement| statement.word(0)) {
            for part in path.split(':').filter(|part| !part.is_empty()) {
                self.draft.push(&["runtime", "python", "path"], part);
            }
        }
        if self.configuration.is_ours() == Some(false) {
            self.note(None, "the wsgi module is mod_wsgi_rs now; `runtime: {module: mod_wsgi}` keeps the C module");
        }
        self.root_directory();
    }

    fn plain(&mut self, directive: &str, key: &[&str], spelled: Spelled) {
        let all = self.own(0, directive);
        let Some(statement) = all.last() else { return };
        let Some(value) = statement.word(0).and_then(|word| spelled(&word)) else { return };
        for statement in &all {
            self.take(statement.index);
        }
        self.draft.set(key, value);
    }

    fn mpm(&mut self) {
        if let Some(mpm) = self.configuration.mpm() {
            self.draft.set(&["server", "mpm"], mpm);
        }
    }

    fn listen(&mut self) {
        let all = self.own(0, "Listen");
        for statement in &all {
            self.take(statement.index);
            let (Some(address), protocol) = (statement.word(0), statement.word(1)) else { continue };
            let Some(port) = port_of(&address) else { continue };
            let https =
                protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("https")) || self.serves_tls(port);
            let key = if https { "https" } else { "http" };
            let plain = address.parse::<u16>().is_ok() || address.starts_with("*:") || address.starts_with("0.0.0.0:");
            let endpoint = if plain { Value::from(port) } else { Value::from(address.into_owned()) };
            self.draft.push(&["server", "listen", key], endpoint);
        }
    }

    /// Whether a virtual host of a port has TLS.
    pub(super) fn serves_tls(&self, port: u16) -> bool {
        let configuration = self.configuration;
        configuration.hosts.iter().enumerate().skip(1).any(|(index, host)| {
            host.ports().contains(&Some(port))
                && configuration.of_host(index, "SSLEngine").is_some_and(|engine| engine.is_on())
        })
    }

    fn keep_alive(&mut self) {
        let switch = self.last(0, "KeepAlive").map(|statement| statement.is_on());
        let idle = self.last(0, "KeepAliveTimeout").and_then(|statement| spell::seconds(&statement.word(0)?));
        match (switch, idle) {
            (Some(false), _) => self.draft.set(&["server", "keep-alive"], false),
            (_, Some(idle)) => self.draft.set(&["server", "keep-alive"], idle),
            (Some(true), None) => self.draft.set(&["server", "keep-alive"], true),
            (None, None) => {}
        }
    }

    fn logs(&mut self) {
        self.log_levels();
        let error = self.last(0, "ErrorLog");
        let access = self.last(0, "CustomLog");
        let path = |statement: Option<&Statement<'_>>| {
            let path = statement?.word(0)?.into_owned();
            (path.starts_with('/') && !path.contains("${")).then_some(path)
        };
        if let (Some(error), Some(access)) = (path(error), path(access)) {
            self.draft.set(&["server", "log", "to", "at", "error"], error);
            self.draft.set(&["server", "log", "to", "at", "access"], access);
        } else if let Some(statement) = error.or(access) {
            self.note(
                Some(statement.index),
                "logs are `logs/error.log` and `logs/access.log` of the server's directory now",
            );
        }
        match access.and_then(|statement| statement.word(1)) {
            Some(format) if matches!(format.as_ref(), "combined" | "common") => {
                self.draft.set(&["server", "log", "access"], format.into_owned());
            }
            Some(format) => {
                let named = self
                    .configuration
                    .named("LogFormat")
                    .find(|known| known.word(1).is_some_and(|name| name == format));
                let format = named.and_then(|known| known.word(0)).unwrap_or(format);
                if format.contains('%') {
                    self.draft.set(&["server", "log", "access", "format"], format.into_owned());
                }
            }
            None => {}
        }
    }

    fn log_levels(&mut self) {
        let Some(statement) = self.last(0, "LogLevel") else { return };
        for word in statement.words() {
            let (module, level) = match word.split_once(':') {
                Some((module, level)) => (module.trim_end_matches("_module").to_owned(), level.to_lowercase()),
                None => ("default".to_owned(), word.to_lowercase()),
            };
            self.draft.set(&["server", "log", "level", &module], level);
        }
    }

    /// `<Directory />` that closes everything: confgen renders it.
    fn root_directory(&mut self) {
        for statement in self.own(0, "Directory") {
            let is_root = statement.word(0).is_some_and(|path| path == "/");
            if is_root && self.is_plain_section(statement, &["granted", "denied"]) {
                self.take_all(statement.index);
            }
        }
    }

    /// Whether a section only says who may use a folder (one of these words), and what is confgen's own default.
    pub(super) fn is_plain_section(&self, section: &Statement<'i>, access: &[&str]) -> bool {
        section.node.children.iter().flatten().all(|node| {
            let words: Vec<String> =
                node.words.iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match node.name.to_ascii_lowercase().as_str() {
                "require" => matches!(words.as_slice(), ["all", word] if access.contains(word)),
                "allowoverride" => words == ["none"],
                "options" => words.iter().all(|word| {
                    matches!(
                        word.trim_start_matches(['+', '-']),
                        "none"
                            | "followsymlinks"
                            | "symlinksifownermatch"
                            | "execcgi"
                            | "multiviews"
                            | "includes"
                            | "indexes"
                    )
                }),
                "order" => words == ["allow,deny"],
                "allow" => words == ["from", "all"],
                "satisfy" => true,
                _ => false,
            }
        })
    }
}
