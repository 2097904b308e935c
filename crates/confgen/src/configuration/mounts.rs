//! Where applications are mounted, and what their directives say of it.

use super::options::{Opt, after_words};
use super::{Configuration, Target};

/// How requests come to an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// `WSGIScriptAlias`.
    Alias,
    /// `WSGIScriptAliasMatch`.
    AliasMatch,
}

/// An application under a URL.
#[derive(Clone, Debug)]
pub struct Mount {
    /// How.
    pub kind: MountKind,
    /// The index of its directive.
    pub statement: usize,
    /// The index of its host.
    pub host: usize,
    /// The URL path, or the regular expression.
    pub url: String,
    /// The script or the folder of scripts.
    pub script: String,
    /// The options of the directive.
    pub options: Vec<Opt>,
    /// The group of daemon processes that serves it; `None`: it is served in embedded mode.
    pub group: Option<String>,
}

/// Files that are applications because of their names: `AddHandler wsgi-script .wsgi` or `SetHandler wsgi-script`.
#[derive(Clone, Debug)]
pub struct Handler {
    /// The index of its directive.
    pub statement: usize,
    /// The extensions with their dots; none for `SetHandler`.
    pub extensions: Vec<String>,
}

impl Mount {
    /// The value of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|option| option.name == name)?.value.as_deref()
    }

    /// A request for it, as far as it is known: the URL itself, and the script.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        let plain = self.kind == MountKind::Alias;
        Target { host: self.host, url: plain.then_some(self.url.as_str()), file: Some(self.script.as_str()) }
    }
}

pub(super) fn of(configuration: &Configuration<'_>) -> Vec<Mount> {
    let mut found = Vec::new();
    for (kind, name) in [(MountKind::Alias, "WSGIScriptAlias"), (MountKind::AliasMatch, "WSGIScriptAliasMatch")] {
        for index in configuration.indices(name) {
            let statement = &configuration.statements[*index];
            let (words, options) = after_words(&statement.node.arguments, 2);
            if let Ok([url, script]) = <[String; 2]>::try_from(words) {
                found.push(Mount { kind, statement: *index, host: statement.host, url, script, options, group: None });
            }
        }
    }
    found.sort_by_key(|mount| mount.statement);
    for mount in &mut found {
        mount.group = group(configuration, mount);
    }
    found
}

fn group(configuration: &Configuration<'_>, mount: &Mount) -> Option<String> {
    let group = match mount.option("process-group") {
        Some(group) => group.to_owned(),
        None => configuration.effective(&mount.target(), "WSGIProcessGroup")?.word(0)?.into_owned(),
    };
    // `%{GLOBAL}` and the empty name stand for embedded mode.
    (group != "%{GLOBAL}" && !group.is_empty()).then_some(group)
}

impl Configuration<'_> {
    /// Where files are made applications by their names.
    #[must_use]
    pub fn handlers(&self) -> Vec<Handler> {
        let mut found = Vec::new();
        for (name, skipped) in [("AddHandler", 1), ("SetHandler", 1)] {
            for index in self.indices(name) {
                let statement = &self.statements[*index];
                if statement.is_set_to("wsgi-script") {
                    let dotted = |word: &str| format!(".{}", word.trim_start_matches('.'));
                    let extensions = statement.words().iter().skip(skipped).map(|word| dotted(word)).collect();
                    found.push(Handler { statement: *index, extensions });
                }
            }
        }
        found.sort_by_key(|handler| handler.statement);
        found
    }

    /// The interpreter of an application as it is written; `%{RESOURCE}` is the default.
    #[must_use]
    pub fn interpreter_of(&self, mount: &Mount) -> String {
        mount
            .option("application-group")
            .map(str::to_owned)
            .or_else(|| Some(self.effective(&mount.target(), "WSGIApplicationGroup")?.word(0)?.into_owned()))
            .unwrap_or_else(|| "%{RESOURCE}".to_owned())
    }

    /// Whether an application is served by the main interpreter.
    #[must_use]
    pub fn is_in_main_interpreter(&self, mount: &Mount) -> bool {
        let name = self.interpreter_of(mount);
        name == "%{GLOBAL}" || name.is_empty()
    }
}
