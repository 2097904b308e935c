//! What serves the file that a request was translated to.

use super::files::{Found, find};
use super::redirect::encoded;
use super::{Application, Outcome, Translated, Walk, answer};
use crate::configuration::{Mount, Target};

impl Walk<'_> {
    pub(super) fn serve(&mut self, translated: &Translated) -> Outcome {
        let path = translated.path.as_str();
        let mount =
            translated.mount.and_then(|at| self.configuration.mounts.iter().find(|mount| mount.statement == at));
        if !self.here {
            return self.serve_unseen(path, translated, mount);
        }
        match find(&translated.file) {
            Found::File(file, path_info) => self.serve_file(path, &file, &path_info, mount),
            Found::Folder(folder) => self.serve_folder(path, &folder, mount),
            Found::Missing(file) => {
                if let Some(outcome) = self.access(path, &file).or_else(|| self.redirect_within(path, &file)) {
                    return outcome;
                }
                if let Some(outcome) = self.handler(path, &file) {
                    return outcome;
                }
                self.step("file", format!("{file} is not there"), None);
                answer(404)
            }
        }
    }

    fn serve_file(&mut self, path: &str, file: &str, path_info: &str, mount: Option<&Mount>) -> Outcome {
        if let Some(outcome) = self.access(path, file).or_else(|| self.redirect_within(path, file)) {
            return outcome;
        }
        if mount.is_some() {
            return self.application(path, file, path_info, mount);
        }
        if let Some(outcome) = self.handler(path, file) {
            return outcome;
        }
        if self.is_script(path, file) {
            return self.script(path, file, path_info);
        }
        if !path_info.is_empty() {
            self.step("file", format!("{file} is a file, and `{path_info}` follows it"), None);
            return answer(404);
        }
        Outcome::File(file.to_owned())
    }

    fn serve_folder(&mut self, path: &str, folder: &str, mount: Option<&Mount>) -> Outcome {
        let bare = folder.trim_end_matches('/');
        if let Some(outcome) = self.access(path, bare).or_else(|| self.redirect_within(path, bare)) {
            return outcome;
        }
        if let Some(outcome) = self.handler(path, bare) {
            return outcome;
        }
        if !path.ends_with('/') {
            let location = self.absolute(&format!("{}/", encoded(path)));
            self.step("folder", format!("{bare} is a folder"), None);
            return Outcome::Answer { status: 301, location: Some(location) };
        }
        if mount.is_some() {
            self.step("folder", format!("{bare} is a folder of applications, and the URL names none"), None);
            return answer(403);
        }
        let target = Target { host: self.host, url: Some(path), file: Some(bare) };
        let setting = self.configuration.effective(&target, "DirectoryIndex");
        let names: Vec<String> = setting
            .map(|setting| setting.words().iter().map(ToString::to_string).collect())
            .unwrap_or_else(|| vec!["index.html".to_owned()]);
        for name in names {
            let file = format!("{bare}/{name}");
            if std::fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
                self.step("index", name, setting);
                return self.serve_file(path, &file, "", None);
            }
        }
        // Without mod_autoindex httpd does not find what it could send.
        if self.configuration.loads("autoindex") == Some(false) {
            self.step("folder", format!("{bare} has no index"), None);
            return answer(404);
        }
        if self.options(path, bare, "indexes") {
            return Outcome::Open("httpd lists what is in the folder".to_owned());
        }
        self.step("folder", format!("{bare} has no index, and may not be listed"), None);
        answer(403)
    }

    /// On another machine nothing can be looked up: the alias of an application says enough, and a file is taken to be there.
    fn serve_unseen(&mut self, path: &str, translated: &Translated, mount: Option<&Mount>) -> Outcome {
        let file = translated.file.clone();
        let script = mount.map(|mount| {
            let rest = file.strip_prefix(&mount.script).unwrap_or_default();
            match mount.script.ends_with('/') {
                // The next part of the name is the script.
                true => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    (format!("{}{}", mount.script, &rest[..end]), rest[end..].to_owned())
                }
                false => (mount.script.clone(), rest.to_owned()),
            }
        });
        let looked_at = script.as_ref().map_or(file.as_str(), |(script, _)| script.as_str());
        if let Some(outcome) = self.access(path, looked_at).or_else(|| self.redirect_within(path, looked_at)) {
            return outcome;
        }
        match script {
            Some((script, path_info)) => self.application(path, &script, &path_info, mount),
            None => self.handler(path, &file).unwrap_or(Outcome::File(file)),
        }
    }

    /// A handler that serves a file, or what is none, in place of httpd.
    fn handler(&mut self, path: &str, file: &str) -> Option<Outcome> {
        let target = Target { host: self.host, url: Some(path), file: Some(file) };
        let setting = self.configuration.effective(&target, "SetHandler")?;
        let name = setting.word(0)?.into_owned();
        if name.eq_ignore_ascii_case("wsgi-script") || name.eq_ignore_ascii_case("none") {
            return None;
        }
        self.step("handler", name.clone(), Some(setting));
        if let Some(target) = name.strip_prefix("proxy:") {
            return Some(Outcome::Proxy(target.to_owned()));
        }
        Some(Outcome::Open(format!("the handler `{name}` answers")))
    }

    /// Whether the name of a file makes it an application.
    fn is_script(&mut self, path: &str, file: &str) -> bool {
        let target = Target { host: self.host, url: Some(path), file: Some(file) };
        let configuration = self.configuration;
        let set = configuration.effective(&target, "SetHandler").filter(|setting| setting.is_set_to("wsgi-script"));
        let name = file.rsplit('/').next().unwrap_or_default();
        let added = || {
            let handlers = configuration.in_order(&target, "AddHandler");
            handlers.into_iter().rev().find(|handler| {
                handler.is_set_to("wsgi-script")
                    && handler
                        .words()
                        .iter()
                        .skip(1)
                        .any(|word| name.split('.').skip(1).any(|part| part == word.trim_start_matches('.')))
            })
        };
        match set.or_else(added) {
            Some(setting) => {
                self.step("handler", "wsgi-script".to_owned(), Some(setting));
                true
            }
            None => false,
        }
    }

    /// A file that is an application because of its name.
    fn script(&mut self, path: &str, file: &str, path_info: &str) -> Outcome {
        if !self.options(path, file, "execcgi") {
            self.step("options", "nothing allows the file to be run (`Options ExecCGI`)".to_owned(), None);
            return answer(403);
        }
        self.application(path, file, path_info, None)
    }

    /// Whether an option is on for a file.
    fn options(&self, path: &str, file: &str, wanted: &str) -> bool {
        let target = Target { host: self.host, url: Some(path), file: Some(file) };
        let mut on = false;
        for setting in self.configuration.in_order(&target, "Options") {
            let words: Vec<String> = setting.words().iter().map(|word| word.to_lowercase()).collect();
            let relative = words.iter().any(|word| word.starts_with(['+', '-']));
            if !relative {
                on = false;
            }
            for word in words {
                match (word.as_bytes().first(), word.trim_start_matches(['+', '-'])) {
                    (Some(b'-'), name) if name == wanted || name == "all" => on = false,
                    (_, name) if name == wanted || name == "all" => on = true,
                    (_, "none") => on = false,
                    _ => {}
                }
            }
        }
        on
    }

    fn application(&mut self, path: &str, file: &str, path_info: &str, mount: Option<&Mount>) -> Outcome {
        let configuration = self.configuration;
        let target = Target { host: self.host, url: Some(path), file: Some(file) };
        let script_name = path.strip_suffix(path_info).unwrap_or(path).to_owned();
        self.step("script", file.to_owned(), mount.map(|mount| &configuration.statements[mount.statement]));
        let setting = |option: &str, directive: &str| match mount.and_then(|mount| mount.option(option)) {
            Some(value) => (value.to_owned(), mount.map(|mount| mount.statement)),
            None => match configuration.effective(&target, directive) {
                Some(statement) => (statement.word(0).unwrap_or_default().into_owned(), Some(statement.index)),
                None => (String::new(), None),
            },
        };
        let (group, group_at) = setting("process-group", "WSGIProcessGroup");
        let group = self.named(&group, &script_name);
        let at = |index: Option<usize>| index.map(|index| &configuration.statements[index]);
        let group = match group.as_str() {
            "" => {
                self.step("process", "embedded mode: a process of httpd itself".to_owned(), at(group_at));
                if configuration.named("WSGIRestrictEmbedded").any(|statement| statement.is_on()) {
                    let restricted = configuration.named("WSGIRestrictEmbedded").last();
                    self.step("process", "embedded mode is switched off".to_owned(), restricted);
                    return answer(500);
                }
                None
            }
            name => {
                self.step("process", format!("group `{name}`"), at(group_at));
                let Some(daemon) = configuration.daemon(name) else {
                    self.step("process", format!("no `WSGIDaemonProcess` defines `{name}`"), None);
                    return answer(500);
                };
                let (processes, threads) = (daemon.processes(), daemon.threads());
                let counted =
                    |number: i64, what: &str, many: &str| format!("{number} {}", if number == 1 { what } else { many });
                let shown = format!(
                    "{}, {}",
                    counted(processes, "process", "processes"),
                    counted(threads, "thread each", "threads each")
                );
                let statement = configuration.daemon_statement(daemon);
                self.step("daemon", shown, Some(statement));
                if !configuration.reaches(self.host, daemon) {
                    self.step("daemon", "it belongs to another virtual host".to_owned(), Some(statement));
                    return answer(500);
                }
                Some(name.to_owned())
            }
        };
        let (interpreter, interpreter_at) = setting("application-group", "WSGIApplicationGroup");
        let written = if interpreter_at.is_none() { "%{RESOURCE}".to_owned() } else { interpreter };
        let interpreter = self.named(&written, &script_name);
        let shown = if interpreter.is_empty() { "the main one".to_owned() } else { format!("`{interpreter}`") };
        self.step("interpreter", shown, at(interpreter_at));
        let (callable, callable_at) = setting("callable-object", "WSGICallableObject");
        let callable = if callable.is_empty() { "application".to_owned() } else { callable };
        if callable_at.is_some() {
            self.step("callable", callable.clone(), at(callable_at));
        }
        Outcome::Application(Application {
            script: file.to_owned(),
            script_name,
            path_info: path_info.to_owned(),
            group,
            interpreter,
            callable,
        })
    }

    /// A name of a group or interpreter with what the request puts into it.
    fn named(&self, text: &str, script_name: &str) -> String {
        let own = self.configuration.hosts[self.host].name.clone();
        let server = own.or_else(|| self.configuration.hosts[0].name.clone()).unwrap_or_else(|| self.request.name());
        let canonical = self.configuration.of_host(self.host, "UseCanonicalName").is_some_and(|name| name.is_on());
        let port = if canonical { self.request.port } else { self.request.asked_port() };
        let with_port = |name: &str| match port {
            80 | 443 => name.to_owned(),
            port => format!("{name}:{port}"),
        };
        match text {
            "%{GLOBAL}" => String::new(),
            "%{RESOURCE}" => format!("{}|{script_name}", with_port(&server)),
            "%{SERVER}" => with_port(&server),
            "%{HOST}" => with_port(&self.request.name()),
            other => other.to_owned(),
        }
    }
}
