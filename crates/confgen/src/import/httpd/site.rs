//! Virtual hosts.

use serde_json::{Map, Value, json};

use super::Importer;
use super::spell;
use crate::configuration::{Host, Mount, MountKind, Statement, Target, same_or_below};

/// Directives of an application's host that are keys of its applications, with how they are spelled.
const OF_APPS: &[(&str, &str)] = &[
    ("WSGIPassAuthorization", "pass-authorization"),
    ("WSGIChunkedRequest", "chunked"),
    ("WSGIErrorOverride", "error-override"),
    ("WSGIScriptReloading", "script-reloading"),
    ("WSGIIgnoreActivity", "ignore-activity"),
    ("WSGIEnableSendfile", "enable-sendfile"),
];

/// Directives whose effect is in the keys of the applications.
const SETTINGS: &[&str] = &["WSGIProcessGroup", "WSGIApplicationGroup", "WSGICallableObject", "WSGIMapHEADToGET"];

/// Directives of virtual hosts of which confgen renders its own.
const RENDERED: &[&str] =
    &["ServerName", "ServerAlias", "ServerAdmin", "ServerSignature", "UseCanonicalName", "SSLEngine"];

impl<'i> Importer<'i> {
    pub(super) fn sites(&mut self) {
        let configuration = self.configuration;
        if configuration.hosts.len() == 1 {
            self.main_site();
            return;
        }
        // Those that only redirect to a site with TLS are a key of that site, wherever they stand.
        let redirected: Vec<usize> = (1..configuration.hosts.len())
            .filter(|index| self.why_not(*index).is_none() && self.takes_redirects(*index))
            .collect();
        let mut names: Vec<String> = Vec::new();
        let mut first_of_all = true;
        for index in 1..configuration.hosts.len() {
            let Some(at) = configuration.hosts[index].statement else { continue };
            if self.taken[at] {
                continue;
            }
            if let Some(reason) = self.why_not(index) {
                self.note(Some(at), format!("this virtual host is kept as it stands (`raw`): {reason}"));
                self.raw.push(("server.end".to_owned(), at));
                self.take_all(at);
                first_of_all = false;
                continue;
            }
            let host = &configuration.hosts[index];
            let mut name = spell::name(host.name.as_deref().unwrap_or("main"));
            while names.contains(&name) {
                name.push('x');
            }
            names.push(name.clone());
            self.hosts_of(host, &name);
            if redirected.contains(&index) {
                self.draft.set(&["sites", &name, "redirect"], "https");
            }
            self.host(index, &name);
            if first_of_all && host.name.is_some() {
                self.default_site(&name, at);
            }
            first_of_all = false;
        }
        // What stands in the main server beside virtual hosts holds for all of them, and is taken over by `rest`.
    }

    /// Why a virtual host is no site; `None`: it is one.
    fn why_not(&self, index: usize) -> Option<String> {
        let configuration = self.configuration;
        let host = &configuration.hosts[index];
        let tls = self.has_tls(index);
        let key = if tls { "https" } else { "http" };
        let listened: Vec<u16> = match self.draft.get(&["server", "listen", key]) {
            Some(Value::Array(endpoints)) => endpoints.iter().filter_map(endpoint_port).collect(),
            _ => Vec::new(),
        };
        let all_ports = host.ports().iter().all(|port| port.is_none_or(|port| listened.contains(&port)))
            && (host.ports().contains(&None) || listened.iter().all(|port| host.ports().contains(&Some(*port))));
        if !all_ports && !listened.is_empty() {
            return Some("its ports are not all of those that the server listens on".to_owned());
        }
        let named = |address: &String| {
            let name = address.rsplit_once(':').map_or(address.as_str(), |(name, _)| name);
            !matches!(name, "*" | "_default_" | "0.0.0.0" | "[::]")
        };
        if let Some(address) = host.addresses.iter().find(|address| named(address)) {
            return Some(format!("it is bound to the address {address}"));
        }
        let bad =
            host.name.iter().chain(&host.aliases).find(|name| {
                name.contains("${") || name.contains('?') || (name.contains('*') && !name.starts_with("*."))
            });
        if let Some(name) = bad {
            return Some(format!("`{name}` is no name that a site may have"));
        }
        if tls && (configuration.of_host(index, "SSLCertificateFile").is_none()) {
            return Some("it has no certificate of its own".to_owned());
        }
        let double = configuration.hosts[1..index].iter().find(|other| {
            other.name == host.name && other.statement.is_some_and(|at| !self.taken[at] || host.name.is_none())
        });
        if double.is_some() && !tls {
            return Some("an earlier one has the same name".to_owned());
        }
        None
    }

    fn has_tls(&self, index: usize) -> bool {
        self.configuration.of_host(index, "SSLEngine").is_some_and(Statement::is_on)
    }

    fn hosts_of(&mut self, host: &Host<'_>, name: &str) {
        let mut hosts: Vec<Value> = Vec::new();
        for known in host.name.iter().chain(&host.aliases) {
            let known = Value::from(known.as_str());
            if !hosts.contains(&known) {
                hosts.push(known);
            }
        }
        self.draft.set(&["sites", name], Value::Object(Map::new()));
        if !hosts.is_empty() {
            self.draft.set(&["sites", name, "hosts"], hosts);
        }
    }

    /// Whether a virtual host with TLS has a twin without TLS that only redirects to it. The twin is taken.
    fn takes_redirects(&mut self, index: usize) -> bool {
        if !self.has_tls(index) {
            return false;
        }
        let configuration = self.configuration;
        let own = &configuration.hosts[index].name;
        let twin = (1..configuration.hosts.len()).find(|other| {
            *other != index && own.is_some() && configuration.hosts[*other].name == *own && !self.has_tls(*other)
        });
        let Some(twin) = twin else { return false };
        let beside = ["RewriteEngine", "RewriteCond", "ErrorLog", "CustomLog", "LogLevel", "DocumentRoot"];
        let mut within = configuration
            .statements
            .iter()
            .filter(|statement| statement.host == twin && !statement.node.is("VirtualHost"));
        let only_redirects = within.all(|statement| {
            let to_https = statement.text().contains("https://");
            RENDERED.iter().chain(&beside).any(|name| statement.node.is(name))
                || (statement.node.name.to_ascii_lowercase().starts_with("redirect") && to_https)
                || (statement.node.is("RewriteRule") && to_https)
        });
        if only_redirects && let Some(at) = configuration.hosts[twin].statement {
            self.take_all(at);
        }
        only_redirects
    }

    /// What a host serves, and what is left of it.
    fn host(&mut self, index: usize, name: &str) {
        let configuration = self.configuration;
        if let Some(at) = configuration.hosts[index].statement {
            self.take(at);
        }
        for directive in RENDERED {
            for statement in self.own(index, directive) {
                self.take(statement.index);
            }
        }
        self.tls(index, name);
        let mounts: Vec<&Mount> =
            configuration.mounts.iter().filter(|mount| mount.host == index || mount.host == 0).collect();
        for mount in &mounts {
            self.app(index, name, mount);
        }
        self.settings(index, name, &mounts);
        self.statics(index, name);
        self.proxies(index, name);
        self.upstreams(index, name);
        for statement in self.own(index, "SetEnv") {
            let words = statement.words();
            if let [variable, value] = words.as_slice()
                && is_variable(variable)
            {
                self.draft.set(&["sites", name, "env", variable], value.as_ref());
                self.take(statement.index);
            }
        }
        if let Some(limit) =
            self.last(index, "LimitRequestBody").and_then(|statement| spell::number(&statement.word(0)?))
        {
            self.draft.set(&["sites", name, "limits", "body"], limit);
        }
        self.host_logs(index);
        self.folders(index, &mounts);
        if index == 0 {
            return;
        }
        for statement in
            configuration.statements.iter().filter(|statement| statement.host == index && statement.sections.is_empty())
        {
            if !self.taken[statement.index] {
                self.raw.push((format!("site.{name}.end"), statement.index));
                self.take_all(statement.index);
            }
        }
    }

    fn host_logs(&mut self, index: usize) {
        if index == 0 {
            return;
        }
        // Logs of their own for sites have no key; as they stand they are right when their paths do not depend on the server's folder.
        for directive in ["ErrorLog", "CustomLog", "TransferLog"] {
            for statement in self.own(index, directive) {
                let path = statement.word(0).unwrap_or_default();
                if !path.starts_with('/') || path.contains("${") {
                    self.take(statement.index);
                    self.note(
                        Some(statement.index),
                        format!("`{directive} {path}` is left out: the site writes to the server's log"),
                    );
                }
            }
        }
    }

    fn tls(&mut self, index: usize, name: &str) {
        if !self.has_tls(index) {
            return;
        }
        let certificate = self.last(index, "SSLCertificateFile").and_then(|statement| statement.word(0));
        let key = self.last(index, "SSLCertificateKeyFile").and_then(|statement| statement.word(0));
        let Some(certificate) = certificate else { return };
        let key = key.unwrap_or_else(|| certificate.clone());
        self.draft.set(&["sites", name, "tls", "cert"], certificate.into_owned());
        self.draft.set(&["sites", name, "tls", "key"], key.into_owned());
        for directive in ["SSLProtocol", "SSLCipherSuite", "SSLHonorCipherOrder", "SSLCompression", "SSLSessionTickets"]
        {
            for statement in self.own(index, directive) {
                self.take(statement.index);
                self.note(
                    Some(statement.index),
                    format!("`{directive}` is left out: `tls.profile` decides (intermediate)"),
                );
            }
        }
    }

    fn app(&mut self, index: usize, name: &str, mount: &Mount) {
        let configuration = self.configuration;
        let target = Target { host: index, ..mount.target() };
        let url = match mount.kind {
            MountKind::Alias => mount.url.clone(),
            MountKind::AliasMatch => format!("~ {}", mount.url),
        };
        if self.draft.get(&["sites", name, "apps", &url]).is_some() {
            self.note(Some(mount.statement), format!("`{url}` is mounted already; this second mount never counted"));
            self.take(mount.statement);
            return;
        }
        let setting = |option: &str, directive: &str| {
            mount
                .option(option)
                .map(str::to_owned)
                .or_else(|| Some(configuration.effective(&target, directive)?.word(0)?.into_owned()))
        };
        let mut app = Map::new();
        app.insert("script".to_owned(), json!(mount.script));
        if let Some(group) =
            setting("process-group", "WSGIProcessGroup").filter(|group| group != "%{GLOBAL}" && !group.is_empty())
        {
            match self.daemon_name(&group) {
                Some(daemon) => {
                    app.insert("daemon".to_owned(), json!(daemon));
                }
                None => self.note(
                    Some(mount.statement),
                    format!("the group `{group}` is not defined; the application is in embedded mode now"),
                ),
            }
        }
        let interpreter =
            setting("application-group", "WSGIApplicationGroup").unwrap_or_else(|| "%{RESOURCE}".to_owned());
        app.insert("interpreter".to_owned(), json!(spell::interpreter(&interpreter)));
        if let Some(callable) = setting("callable-object", "WSGICallableObject") {
            app.insert("callable".to_owned(), json!(callable));
        }
        if let Some(pass) = mount.option("pass-authorization").and_then(spell::switch) {
            app.insert("pass-authorization".to_owned(), pass);
        }
        self.draft.set(&["sites", name, "apps", &url], Value::Object(app));
        self.take(mount.statement);
    }

    /// Settings of the host, or of the server, for all of its applications.
    fn settings(&mut self, index: usize, name: &str, mounts: &[&Mount]) {
        let configuration = self.configuration;
        for (directive, key) in OF_APPS {
            let Some(value) =
                configuration.of_host(index, directive).and_then(|statement| spell::switch(&statement.word(0)?))
            else {
                continue;
            };
            let urls: Vec<String> = match self.draft.get(&["sites", name, "apps"]) {
                Some(Value::Object(apps)) => apps.keys().cloned().collect(),
                _ => Vec::new(),
            };
            for url in urls {
                if self.draft.get(&["sites", name, "apps", &url, key]).is_none() {
                    self.draft.set(&["sites", name, "apps", &url, key], value.clone());
                }
            }
            for host in [0, index] {
                for statement in self.own(host, directive) {
                    self.take(statement.index);
                }
            }
        }
        if mounts.is_empty() {
            return;
        }
        for directive in SETTINGS {
            for host in [0, index] {
                for statement in self.own(host, directive) {
                    self.take(statement.index);
                }
            }
        }
    }

    /// `Alias` and `DocumentRoot`.
    fn statics(&mut self, index: usize, name: &str) {
        let configuration = self.configuration;
        let aliases: Vec<&Statement<'i>> = self.own(index, "Alias");
        for statement in aliases {
            let (Some(url), Some(path)) = (statement.word(0), statement.word(1)) else { continue };
            // Anything beyond a plain path, and what no section opens, keeps its own words.
            if !path.starts_with('/') || url.contains(['*', '~', '"']) || statement.is_unresolved() {
                continue;
            }
            let target =
                Target { host: index, url: Some(url.trim_end_matches('/')), file: Some(path.trim_end_matches('/')) };
            let open = configuration
                .effective(&target, "Require")
                .is_some_and(|rule| rule.text().eq_ignore_ascii_case("all granted"))
                || configuration.effective(&target, "Allow").is_some();
            if !open {
                continue;
            }
            let plain = url.trim_end_matches('/').to_owned();
            let url = if plain.is_empty() { "/".to_owned() } else { plain };
            let is_file = !path.ends_with('/')
                && path.rsplit('/').next().is_some_and(|last| last.contains('.'))
                && !std::path::Path::new(path.as_ref()).is_dir();
            let mut entry = self.options_of(&target);
            if is_file {
                entry = Map::new();
                entry.insert("file".to_owned(), json!(path));
            } else {
                let folder = path.trim_end_matches('/');
                entry.insert("dir".to_owned(), json!(if folder.is_empty() { "/" } else { folder }));
            }
            if url != "/" && statement.word(0).is_some_and(|written| written.ends_with('/')) && !is_file {
                self.note(
                    Some(statement.index),
                    format!("`{url}` without a slash at its end is redirected to `{url}/` now"),
                );
            }
            self.draft.set(&["sites", name, "static", &url], Value::Object(entry));
            self.take(statement.index);
        }
        let root = self.last(index, "DocumentRoot").or_else(|| {
            let main = configuration.of_host(0, "DocumentRoot").filter(|_| index != 0);
            main.inspect(|statement| self.take(statement.index))
        });
        let Some(root) = root else { return };
        let Some(folder) = root.word(0) else { return };
        if self.draft.get(&["sites", name, "apps", "/"]).is_some() {
            // Everything goes to the application.
            return;
        }
        let target = Target { host: index, url: Some("/"), file: Some(folder.trim_end_matches('/')) };
        let open = configuration
            .effective(&target, "Require")
            .is_none_or(|rule| rule.text().eq_ignore_ascii_case("all granted"));
        if !open || !folder.starts_with('/') || root.is_unresolved() {
            self.note(Some(root.index), "this folder is not open to everybody, and is left out");
            return;
        }
        let mut entry = self.options_of(&target);
        entry.insert("dir".to_owned(), json!(folder.trim_end_matches('/')));
        self.draft.set(&["sites", name, "static", "/"], Value::Object(entry));
    }

    /// Listing and links of a folder.
    fn options_of(&self, target: &Target<'_>) -> Map<String, Value> {
        let mut entry = Map::new();
        let (mut listing, mut links) = (false, true);
        for setting in self.configuration.in_order(target, "Options") {
            let words: Vec<String> = setting.words().iter().map(|word| word.to_lowercase()).collect();
            if !words.iter().any(|word| word.starts_with(['+', '-'])) {
                (listing, links) = (false, false);
            }
            for word in words {
                let on = !word.starts_with('-');
                match word.trim_start_matches(['+', '-']) {
                    "indexes" => listing = on,
                    "followsymlinks" => links = on,
                    "all" => (listing, links) = (on, on),
                    _ => {}
                }
            }
        }
        if listing && self.configuration.loads("autoindex") != Some(false) {
            entry.insert("listing".to_owned(), json!(true));
        }
        if links {
            entry.insert("links".to_owned(), json!("all"));
        }
        entry
    }

    /// Sections that only open what the site serves: confgen renders its own.
    fn folders(&mut self, index: usize, mounts: &[&Mount]) {
        let served: Vec<String> = mounts
            .iter()
            .map(|mount| mount.script.clone())
            .chain(["static", "apps"].iter().flat_map(|kind| self.paths_of(kind)))
            .collect();
        for host in [0, index] {
            for directive in ["Directory", "Files"] {
                for section in self.own(host, directive) {
                    let Some(path) = section.word(0) else { continue };
                    let path = path.trim_end_matches('/');
                    let about_served = served.iter().any(|file| {
                        same_or_below(path, file)
                            || same_or_below(file, path)
                            || (directive == "Files" && file.rsplit('/').next() == Some(path))
                    });
                    let distribution =
                        host == 0 && ["/usr/share", "/var/www", "/srv", "/usr/share/httpd"].contains(&path);
                    // Settings of applications are in their keys.
                    let plain = self.is_plain_or_settings(section);
                    if plain && (about_served || distribution) {
                        self.take_all(section.index);
                    }
                }
            }
        }
        // <Location> with nothing but settings of applications.
        for host in [0, index] {
            for section in self.own(host, "Location") {
                let only_settings =
                    section.node.children.iter().flatten().all(|node| SETTINGS.iter().any(|name| node.is(name)));
                if only_settings && !mounts.is_empty() {
                    self.take_all(section.index);
                }
            }
        }
    }

    fn is_plain_or_settings(&self, section: &Statement<'i>) -> bool {
        let settings = |node: &crate::conf::reader::Node| SETTINGS.iter().any(|name| node.is(name));
        let children = section.node.children.as_deref().unwrap_or_default();
        if children.iter().all(settings) {
            return true;
        }
        if !children.iter().any(settings) {
            return self.is_plain_section(section, &["granted"]);
        }
        children.iter().filter(|node| !settings(node)).all(|node| {
            let words = String::from_utf8_lossy(&node.arguments).to_lowercase();
            node.is("Require") && words == "all granted" || node.is("AllowOverride") && words == "none"
        })
    }

    /// Paths that the sites of the spec serve.
    fn paths_of(&self, kind: &str) -> Vec<String> {
        let Some(Value::Object(sites)) = self.draft.get(&["sites"]) else { return Vec::new() };
        sites
            .values()
            .filter_map(|site| site.get(kind)?.as_object())
            .flat_map(|entries| entries.values())
            .filter_map(|entry| ["dir", "file", "script"].iter().find_map(|key| entry.get(*key)?.as_str()))
            .map(str::to_owned)
            .collect()
    }

    fn proxies(&mut self, index: usize, name: &str) {
        let trusted = self.own(index, "WSGITrustedProxies");
        let headers = self.own(index, "WSGITrustedProxyHeaders");
        if trusted.is_empty() || headers.is_empty() {
            return;
        }
        for (key, statements) in [("trust", trusted), ("headers", headers)] {
            for statement in statements {
                self.take(statement.index);
                for word in statement.words() {
                    self.draft.push(&["sites", name, "proxies", key], word.into_owned());
                }
            }
        }
    }

    fn upstreams(&mut self, index: usize, name: &str) {
        let all = self.own(index, "ProxyPass");
        for statement in all {
            let words = statement.words();
            let [url, to] = words.as_slice() else { continue };
            if !to.starts_with("http://")
                || url.ends_with('/') != to.ends_with('/') && url.as_ref() != "/"
                || url.contains('"')
            {
                continue;
            }
            let plain = url.trim_end_matches('/');
            let plain = if plain.is_empty() { "/" } else { plain };
            self.draft.set(&["sites", name, "upstreams", plain, "to"], to.trim_end_matches('/'));
            self.take(statement.index);
            let reverse = self.own(index, "ProxyPassReverse");
            for back in reverse {
                if back.word(0).is_some_and(|path| path == *url) {
                    self.take(back.index);
                }
            }
        }
    }

    /// A server without virtual hosts serves one site, for every name.
    fn main_site(&mut self) {
        self.draft.set(&["sites", "main"], Value::Object(Map::new()));
        self.host(0, "main");
        let empty = self.draft.get(&["sites", "main"]).and_then(Value::as_object).is_some_and(Map::is_empty);
        if empty {
            self.note(None, "nothing is served: there is no application and no `DocumentRoot`");
        }
    }

    /// Requests for names that no virtual host has go to the first one.
    fn default_site(&mut self, name: &str, at: usize) {
        let Some(site) = self.draft.get(&["sites", name]).cloned() else { return };
        if site.get("tls").is_some() {
            return;
        }
        let mut copy = site;
        if let Value::Object(keys) = &mut copy {
            keys.remove("hosts");
        }
        self.draft.set(&["sites", "default"], copy);
        // Interpreters that are called after the server keep their names.
        if let Some(first) = self.configuration.hosts.get(1).and_then(|host| host.name.clone()) {
            self.draft.set(&["server", "server-name"], first);
        }
        let raw: Vec<(String, usize)> = self
            .raw
            .iter()
            .filter(|(place, _)| *place == format!("site.{name}.end"))
            .map(|(_, at)| ("site.default.end".to_owned(), *at))
            .collect();
        self.raw.extend(raw);
        self.note(
            Some(at),
            format!(
                "requests for other names went to {name}, the first virtual host: the site `default` does the same"
            ),
        );
    }
}

fn endpoint_port(endpoint: &Value) -> Option<u16> {
    match endpoint {
        Value::Number(port) => u16::try_from(port.as_u64()?).ok(),
        Value::String(address) => crate::configuration::port_of(address),
        _ => None,
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
}
