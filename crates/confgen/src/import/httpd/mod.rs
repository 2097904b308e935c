//! A configuration of httpd becomes a spec.
//!
//! Each directive is taken into a key, or is one that confgen renders by itself, or goes as it stands to `raw`. What is left
//! at the end is `raw`, so that nothing can be forgotten: [`Imported::notes`] names it.

mod daemon;
mod server;
mod site;
mod spell;

use serde_json::Value;

use super::draft::Draft;
use crate::configuration::{Configuration, Statement};

/// A spec, and what is to be known about it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The spec.
    pub spec: Value,
    /// Where it is not plainly the same.
    pub notes: Vec<Note>,
}

/// Directives of the main server that virtual hosts do not inherit.
const NOT_INHERITED: &[&str] =
    &["RewriteEngine", "RewriteCond", "RewriteRule", "RewriteOptions", "RewriteMap", "AllowEncodedSlashes"];

/// Something to know about the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The place in [`Configuration::statements`] of what it is about; `None`: the whole.
    pub at: Option<usize>,
    /// What.
    pub text: String,
}

/// Makes a spec of a configuration. `name` is the name of the server.
#[must_use]
pub fn import(configuration: &Configuration<'_>, name: &str) -> Imported {
    let mut importer = Importer::new(configuration);
    importer.server(name);
    importer.daemons();
    importer.sites();
    importer.rest();
    Imported { spec: importer.draft.finish(), notes: importer.notes }
}

/// The work of one import.
struct Importer<'i> {
    configuration: &'i Configuration<'i>,
    draft: Draft,
    notes: Vec<Note>,
    /// Which statements are taken care of.
    taken: Vec<bool>,
    /// Names of daemons of the spec, by the names that the configuration gives them.
    daemons: Vec<(String, String)>,
    /// Texts for `raw`: the place, and the statement.
    raw: Vec<(String, usize)>,
}

impl<'i> Importer<'i> {
    fn new(configuration: &'i Configuration<'i>) -> Self {
        Self {
            configuration,
            draft: Draft::default(),
            notes: Vec::new(),
            taken: vec![false; configuration.statements.len()],
            daemons: Vec::new(),
            raw: Vec::new(),
        }
    }

    fn note(&mut self, at: Option<usize>, text: impl Into<String>) {
        self.notes.push(Note { at, text: text.into() });
    }

    fn take(&mut self, at: usize) {
        self.taken[at] = true;
    }

    /// Takes a section with everything in it.
    fn take_all(&mut self, at: usize) {
        for index in self.within(at) {
            self.taken[index] = true;
        }
    }

    /// The places of a section and of everything in it.
    fn within(&self, at: usize) -> std::ops::Range<usize> {
        fn count(node: &crate::conf::reader::Node) -> usize {
            1 + node.children.iter().flatten().map(count).sum::<usize>()
        }
        at..at + count(self.configuration.statements[at].node)
    }

    /// Directives of a name that stand directly in a host and are not taken yet.
    fn own(&self, host: usize, name: &str) -> Vec<&'i Statement<'i>> {
        let configuration = self.configuration;
        configuration
            .indices(name)
            .iter()
            .map(|index| &configuration.statements[*index])
            .filter(|statement| statement.host == host && statement.sections.is_empty() && !self.taken[statement.index])
            .collect()
    }

    /// The last of them, which counts; all are taken.
    fn last(&mut self, host: usize, name: &str) -> Option<&'i Statement<'i>> {
        let all = self.own(host, name);
        for statement in &all {
            self.take(statement.index);
        }
        all.last().copied()
    }

    /// What is left goes to `raw`, in the order of the configuration.
    fn rest(&mut self) {
        let configuration = self.configuration;
        for statement in &configuration.statements {
            if self.taken[statement.index] || !statement.sections.is_empty() || statement.host != 0 {
                continue;
            }
            if statement.node.is("VirtualHost") {
                continue;
            }
            // Virtual hosts do not inherit these, and without virtual hosts the main server is a site now.
            let own = NOT_INHERITED.iter().any(|name| statement.node.is(name)) && configuration.hosts.len() == 1;
            let place = if own { "site.main.end" } else { "server.end" };
            self.raw.push((place.to_owned(), statement.index));
            self.take_all(statement.index);
        }
        let mut texts: Vec<(String, String)> = Vec::new();
        let mut kept: Vec<(&str, usize, usize)> = Vec::new();
        for (place, at) in std::mem::take(&mut self.raw) {
            let node = configuration.statements[at].node;
            let text = spell::text(node);
            match texts.iter_mut().find(|(known, _)| *known == place) {
                Some((_, before)) => *before += &text,
                None => texts.push((place, text)),
            }
            match kept.iter_mut().find(|(name, ..)| node.is(name)) {
                Some((_, count, _)) => *count += 1,
                None => kept.push((&node.name, 1, at)),
            }
        }
        for (place, text) in texts {
            self.draft.raw(&place, &text);
        }
        for (name, count, at) in kept {
            let times = if count == 1 { String::new() } else { format!(" ({count} times)") };
            let section = configuration.statements[at].node.children.is_some();
            let shown = if section { format!("<{name}>") } else { name.to_owned() };
            self.note(Some(at), format!("`{shown}`{times} has no key, and is kept as it stands (`raw`)"));
        }
    }
}
