//! The work of one rendering: what was found wrong, which modules are needed, which files are made.

use std::path::{Path as FsPath, PathBuf};

use askama::Template;

use super::modules::Modules;
use super::origin::{Arg, Origins};
use super::tree::{Choice, Content, File, Tree};
use super::view::{HttpdConf, ModuleView};
use super::{RenderOptions, ctl, daemons, hazards, hosts, raw, reach, server, sharing, support};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::document::Path;
use crate::facts::Facts;
use crate::quote::DOLLAR;
use crate::spec::{ModuleChoice, SecretTime, Spec};

/// Where trees stand unless told otherwise.
const ROOTS: &str = "/var/lib/confgen";

pub(super) struct Builder<'a> {
    pub(super) spec: &'a Spec,
    /// What `spec` was before it became one for a single process.
    pub(super) original: &'a Spec,
    pub(super) facts: &'a Facts,
    pub(super) server_root: PathBuf,
    pub(super) check_files: bool,
    /// When secrets are taken that do not say so.
    pub(super) secrets: Option<SecretTime>,
    pub(super) origins: Origins,
    pub(super) modules: Modules,
    pub(super) files: Vec<File>,
    found: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(spec: &'a Spec, facts: &'a Facts, options: &RenderOptions) -> Self {
        let name = spec.server.name.as_ref().map_or("main", |name| name.as_str());
        Self {
            spec,
            original: spec,
            facts,
            server_root: options.server_root.clone().unwrap_or_else(|| FsPath::new(ROOTS).join(name)),
            check_files: options.check_files.unwrap_or(facts.here),
            secrets: options.secrets,
            origins: Origins::default(),
            modules: Modules::new(),
            files: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Says what the spec was made from.
    pub(super) fn made_from(self, original: &'a Spec) -> Self {
        Self { original, ..self }
    }

    /// Whether the C module is rendered for.
    pub(super) fn c_module(&self) -> bool {
        self.spec.runtime.module == ModuleChoice::ModWsgi
    }

    /// Adds a finding at a key.
    pub(super) fn report(&mut self, path: &Path, label: &str, diagnostic: Diagnostic) {
        let span = super::tree::span(&self.spec.root, path);
        let mut diagnostic = diagnostic;
        diagnostic.labels.insert(0, crate::diagnostic::Label { span, text: label.to_owned() });
        self.push(diagnostic);
    }

    /// Adds an error at a key.
    pub(super) fn error(&mut self, code: Code, path: &Path, message: impl Into<String>) {
        self.report(path, "", Diagnostic::error(code, message));
    }

    /// Adds a warning at a key.
    pub(super) fn warn(&mut self, code: Code, path: &Path, message: impl Into<String>) {
        self.report(path, "", Diagnostic::warning(code, message));
    }

    /// Adds a finding that has its places already.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        // A site that is served by http and https is looked at twice.
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// A value that confgen chose for a key.
    pub(super) fn arg(&self, path: &Path, text: impl std::fmt::Display) -> Arg {
        self.origins.arg(path, text)
    }

    /// Adds a file to the tree, once. Another text under the same name would serve one thing as another.
    pub(super) fn add_text(&mut self, path: &str, text: String, key: &Path) {
        if let Some(known) = self.files.iter().find(|file| file.path == path) {
            if !matches!(&known.content, Content::Text { text: same, .. } if *same == text) {
                self.error(Code::Conflict, key, format!("two parts of the spec would make the file {path}"));
            }
            return;
        }
        let lines = text.lines().map(|_| vec![key.clone()]).collect();
        self.files.push(File { path: path.to_owned(), mode: 0o644, content: Content::Text { text, lines } });
    }

    /// A path as text; one that is not UTF-8 cannot stand in a template.
    pub(super) fn path_text(&mut self, path: &FsPath, key: &Path) -> String {
        match path.to_str() {
            Some(text) if !text.contains(['\0', '\r', '\n']) => text.to_owned(),
            _ => {
                self.error(
                    Code::ControlCharacter,
                    key,
                    format!("the path {} cannot be written into a configuration", path.display()),
                );
                String::new()
            }
        }
    }

    pub(super) fn build(mut self) -> Result<Tree, Vec<Diagnostic>> {
        let server_key = Path::of(["server"]);
        let root = self.server_root.clone();
        if !root.is_absolute() {
            self.error(
                Code::Form,
                &server_key,
                format!("the server's directory has to be an absolute path: {}", root.display()),
            );
        }
        let raws = raw::collect(&mut self);
        server::check(&mut self);
        let mpm = server::mpm(&mut self);
        let module = server::wsgi_module(&mut self);
        let serving_user = server::serving_user(&mut self);
        reach::check(&mut self, &serving_user);
        let daemons = daemons::views(&mut self);
        daemons::check_used(&mut self);
        let hosts = hosts::views(&mut self, &raws);
        sharing::check(&mut self);
        hazards::check(&mut self);
        let logs = server::logs(&mut self);
        let runtime = server::runtime(&mut self, &module);
        let imports = daemons::imports(&mut self);
        let error_log = server::error_log_file(&self);
        for name in &self.spec.server.modules {
            self.modules.need(name.as_str());
        }
        let server = server::view(&mut self, mpm, &serving_user, &raws);
        let mpm_modules = self.mpm_modules(mpm.name());
        let modules = self.module_views();
        let finished = {
            let mut conf = HttpdConf {
                version: env!("CARGO_PKG_VERSION"),
                dollar: false,
                server,
                mpm_modules,
                modules,
                logs,
                runtime,
                daemons,
                imports,
                hosts,
            };
            let mut rendered = self.rendered(&conf);
            if rendered.contains(&format!("${{{DOLLAR}}}")) {
                conf.dollar = true;
                rendered = self.rendered(&conf);
            }
            self.origins.finish(&rendered)
        };
        support::check(&mut self, &finished);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            self.found.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(in_order(errors));
        }
        let mut files = vec![File {
            path: "httpd.conf".to_owned(),
            mode: 0o644,
            content: Content::Text { text: finished.text, lines: finished.lines },
        }];
        files.push(ctl::file(self.spec, self.facts, &self.files, &root));
        files.extend(self.files);
        Ok(Tree {
            server_root: root,
            files,
            environment: server::environment(self.spec),
            warnings: in_order(warnings),
            choice: Choice {
                httpd: self.facts.httpd.binary.clone(),
                httpd_version: self.facts.httpd.version.clone(),
                mpm: mpm.name().to_owned(),
                proxy_protocol: server::proxy_protocol(self.spec),
                module,
                engines: match self.spec.runtime.module {
                    ModuleChoice::ModWsgi => Vec::new(),
                    _ => self.facts.wsgi.daemons.clone(),
                },
                user: serving_user,
                error_log,
                single_process: false,
            },
            world_readable_logs: self.spec.server.log.world_readable,
            root: self.spec.root.clone(),
        })
    }

    /// Templates cannot fail but by a character that no line can hold, which is refused before; that is said, not assumed.
    fn rendered(&mut self, conf: &HttpdConf<'_>) -> String {
        conf.render().unwrap_or_else(|error| {
            self.found.push(Diagnostic::error(
                Code::ControlCharacter,
                format!("a value cannot be written into a configuration: {error}"),
            ));
            String::new()
        })
    }

    /// The multi-processing module, unless it is compiled in.
    fn mpm_modules(&mut self, mpm: &str) -> Vec<ModuleView> {
        let key = Path::of(["server", "mpm"]);
        match self.facts.module_file(&format!("mpm_{mpm}")) {
            Some(Some(file)) => {
                let file = self.path_text(&file, &key);
                vec![ModuleView { name: format!("mpm_{mpm}"), file: self.arg(&key, file) }]
            }
            _ => Vec::new(),
        }
    }

    fn module_views(&mut self) -> Vec<ModuleView> {
        let names: Vec<String> = self.modules.ordered().into_iter().map(str::to_owned).collect();
        let modules_key = Path::of(["server", "modules"]);
        let mut views = Vec::new();
        for name in names {
            let asked = self.spec.server.modules.iter().position(|module| module.as_str() == name);
            let key = asked.map_or_else(|| Path::of(["server"]), |index| modules_key.join(index));
            match self.facts.module_file(&name) {
                Some(Some(file)) => {
                    let file = self.path_text(&file, &key);
                    views.push(ModuleView { file: self.arg(&key, file), name });
                }
                Some(None) => {}
                None => {
                    let diagnostic = Diagnostic::error(Code::NotInstalled, format!("httpd has no module `{name}`"));
                    let known = self.facts.httpd.modules.iter().map(String::as_str);
                    let diagnostic = if asked.is_some() { diagnostic.did_you_mean(&name, known) } else { diagnostic };
                    self.report(&key, "", diagnostic);
                }
            }
        }
        views
    }
}

/// Findings in the order of the text that they are about.
fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span().map(|span| (span.source.name.clone(), span.range.start)));
    diagnostics
}
