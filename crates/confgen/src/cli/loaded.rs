//! Configurations for commands that look at them: files, folders of servers, and what specs render to.

use std::path::{Path as FsPath, PathBuf};

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use crate::configuration::{LoadError, Loaded, Part, Statement, Texts, load, load_text};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Format, Path};
use crate::render::{RenderOptions, Tree, render_draft};

/// A configuration, or a spec of one.
#[derive(Debug, Args)]
pub(super) struct ConfigurationArgs {
    /// A configuration of httpd, the folder of a server such as /etc/apache2, or a spec.
    #[arg(value_name = "PATH")]
    pub(super) path: PathBuf,
    /// Apply a profile of the spec; several are applied in order.
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Vec<String>,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
}

/// What was loaded.
pub(super) struct Subject {
    /// The configuration.
    pub(super) loaded: Loaded,
    /// What it was rendered to, when it came from a spec.
    tree: Option<Tree>,
    /// Whether the files that it names are those of this machine.
    pub(super) here: bool,
}

/// Whether a path names a spec.
pub(super) fn is_spec(path: &FsPath) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| Format::ENDINGS.contains(&ending.as_str()))
}

/// Why a configuration cannot be read.
pub(super) fn unreadable(error: &LoadError) -> Failure {
    let diagnostic = Diagnostic::error(Code::Io, error.to_string());
    match error {
        LoadError::NoMain(_) => {
            Failure::new(Exit::Spec, diagnostic.help("name the main file, or a folder that holds `*.conf` files"))
        }
        _ => Failure::new(Exit::Environment, diagnostic),
    }
}

/// Options that only a rendering needs do nothing for a configuration that is there already.
pub(super) fn refuse_options_of_specs(path: &FsPath, profile: &[String], machine: &MachineArgs) -> Result<(), Failure> {
    let given = [
        (!profile.is_empty(), "--profile", "a profile belongs to a spec"),
        (machine.facts.is_some(), "--facts", "facts are for specs"),
        (machine.httpd.is_some(), "--httpd", "it is for specs"),
    ];
    let diagnostics: Vec<Diagnostic> = given
        .into_iter()
        .filter(|(is_given, ..)| *is_given)
        .map(|(_, option, why)| {
            let message = format!("`{option}` cannot be used with {}: {why}", path.display());
            Diagnostic::error(Code::Conflict, message).help("a spec ends in .yaml, .yml, .toml or .json")
        })
        .collect();
    if diagnostics.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Spec, diagnostics }) }
}

impl ConfigurationArgs {
    /// Reads the configuration. One that httpd would not read is refused.
    pub(super) fn load(&self, context: &Context<'_>) -> Result<Subject, Failure> {
        let subject = if is_spec(&self.path) { self.render(context)? } else { self.read()? };
        if let Some(refusal) = &subject.loaded.reading.refusal {
            let places = refusal.places.iter().map(|(path, line)| format!("{}, line {line}", path.display()));
            let diagnostic = Diagnostic::error(Code::ConfRefused, refusal.kind.to_string());
            let diagnostic = diagnostic.note(places.collect::<Vec<_>>().join("; "));
            let help = format!("`confgen lint {}` shows the place", self.path.display());
            return Err(Failure::new(Exit::Spec, diagnostic.help(help)));
        }
        Ok(subject)
    }

    fn read(&self) -> Result<Subject, Failure> {
        refuse_options_of_specs(&self.path, &self.profile, &self.machine)?;
        let mut all = load(&self.path).map_err(|error| unreadable(&error))?;
        if all.len() > 1 {
            let message = format!("{} holds no main file, but several parts", self.path.display());
            let help = "name one of the files";
            return Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Form, message).help(help)));
        }
        let Some(loaded) = all.pop() else {
            return Err(unreadable(&LoadError::NoMain(self.path.clone())));
        };
        Ok(Subject { loaded, tree: None, here: true })
    }

    fn render(&self, context: &Context<'_>) -> Result<Subject, Failure> {
        let arguments = SpecArgs { spec: self.path.clone(), profile: self.profile.clone(), set: Vec::new() };
        let draft = arguments.load()?;
        let facts = self.machine.load(context)?;
        let tree = render_draft(&draft, &facts, &RenderOptions::default()).map_err(Failure::of_spec)?;
        let text = tree.text("httpd.conf").unwrap_or_default().to_owned();
        let loaded = load_text(&tree.config(), text.into_bytes());
        Ok(Subject { loaded, here: false, tree: Some(tree) })
    }
}

impl Subject {
    /// Where a directive was decided: a key of the spec, or a line of a file.
    pub(super) fn place(&self, texts: &Texts<'_>, statement: &Statement<'_>) -> String {
        let span = texts.of(statement, &Part::Whole);
        let (line, _) = span.line_column();
        if let Some(tree) = &self.tree {
            let common = common(&tree.keys_of_line("httpd.conf", line)).map(|key| (tree.place_of(&key), key));
            let likely = || tree.key_of_line("httpd.conf", line, span.text()).map(|(key, span)| (span, key));
            let Some((span, key)) = common.or_else(likely) else { return "a default of confgen".to_owned() };
            return match span.range.is_empty() {
                true => key.to_string(),
                false => format!("{key} ({}:{})", span.source.name, span.line_column().0),
            };
        }
        format!("{}:{line}", span.source.name)
    }
}

/// The key that holds all of these; `None` when that is the whole spec, or a part of it that says nothing.
fn common(keys: &[Path]) -> Option<Path> {
    let mut shared = keys.first()?.clone();
    while !keys.iter().all(|key| key.segments().starts_with(shared.segments())) {
        shared = shared.parent()?;
    }
    (shared.segments().len() > 1).then_some(shared)
}
