//! `confgen import`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::loaded::unreadable;
use crate::configuration::{Configuration, Loaded, Part, Texts, load};
use crate::diagnostic::{Code, Diagnostic};
use crate::import::httpd::{Imported, import};

/// Make a spec of what another tool, or somebody, wrote.
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(subcommand)]
    from: From,
}

/// What a spec can be made of.
#[derive(Debug, Subcommand)]
enum From {
    Httpd(OfHttpd),
    Express(OfExpress),
}

/// A configuration of httpd: a file, or the folder of a server such as /etc/apache2.
#[derive(Debug, Args)]
#[command(
    after_help = "What has no key of its own is kept as it stands, under `raw`, and named on standard error.\n\nExamples:\n  confgen import httpd /etc/apache2 -o site.yaml\n  confgen check site.yaml"
)]
struct OfHttpd {
    /// The main file, a part of a configuration, or the folder of a server.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write the spec to this file. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file when it is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// The name of the server.
    #[arg(long, value_name = "NAME", default_value = "imported")]
    name: String,
}

/// A command line of mod_wsgi-express: one quoted word, or the words behind `--`.
#[derive(Debug, Args)]
#[command(
    after_help = "Options without a counterpart are refused by name, with what to do instead.\n\nExamples:\n  confgen import express 'mod_wsgi-express start-server app.wsgi --port 8080 --processes 2' -o site.yaml\n  confgen import express -- app.wsgi --log-to-terminal"
)]
struct OfExpress {
    /// The command line.
    #[arg(value_name = "COMMAND LINE", required = true, allow_hyphen_values = false)]
    line: Vec<String>,
    /// Write the spec to this file. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file when it is there.
    #[arg(long, requires = "output")]
    force: bool,
}

impl OfExpress {
    fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let made = express(&self.line)?;
        let text = yaml(&made.spec, "express")?;
        if let Some(output) = &self.output {
            write(output, &text, self.force)?;
        }
        match (context.json, &self.output) {
            (true, output) => {
                let notes = &crate::diagnostic::render_json(&made.notes)["diagnostics"];
                context.print_json(&json!({"spec": made.spec, "notes": notes, "file": output}));
            }
            (false, None) => context.print(&text),
            (false, Some(output)) => context.note(&format!("wrote {}", output.display())),
        }
        if !context.json {
            context.report(&made.notes);
        }
        Ok(Exit::Ok)
    }
}

/// The spec of a command line: one word is split as a shell splits it.
pub(super) fn express(line: &[String]) -> Result<crate::import::express::Made, Failure> {
    let words = match line {
        [one] if one.contains(char::is_whitespace) => shlex::split(one).ok_or_else(|| {
            let diagnostic = Diagnostic::error(Code::Express, "a quote of the command line is not closed");
            Failure::new(Exit::Spec, diagnostic)
        })?,
        words => words.to_vec(),
    };
    let folder = std::env::current_dir().map_err(|error| Failure::io("find", Path::new("."), &error))?;
    let wrong = |diagnostics| Failure { exit: Exit::Spec, diagnostics };
    crate::import::express::spec(&crate::import::express::parse(&words, folder)).map_err(wrong)
}

impl Import {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self.from {
            From::Httpd(command) => command.run(context),
            From::Express(command) => command.run(context),
        }
    }
}

impl OfHttpd {
    fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let loaded = self.load()?;
        let configuration = Configuration::of(&loaded.reading, loaded.partial);
        let texts = Texts::new(&loaded.reading);
        if let Some(refusal) = &loaded.reading.refusal {
            let diagnostic = Diagnostic::error(Code::ConfRefused, refusal.kind.to_string());
            let places = refusal.places.iter().map(|(path, line)| format!("{}, line {line}", path.display()));
            let help = format!("`confgen lint {}` shows the place", self.path.display());
            let diagnostic = diagnostic.note(places.collect::<Vec<_>>().join("; ")).help(help);
            return Err(Failure::new(Exit::Spec, diagnostic));
        }
        let imported = import(&configuration, &self.name);
        let notes = notes(&imported, &configuration, &texts);
        let text = yaml(&imported.spec, &format!("httpd {}", self.path.display()))?;
        if let Some(output) = &self.output {
            write(output, &text, self.force)?;
        }
        match (context.json, &self.output) {
            (true, output) => {
                context.print_json(&json!({"spec": imported.spec, "notes": crate::diagnostic::render_json(&notes)["diagnostics"], "file": output}));
            }
            (false, None) => context.print(&text),
            (false, Some(output)) => context.note(&format!("wrote {}", output.display())),
        }
        if !context.json {
            context.report(&notes);
        }
        Ok(Exit::Ok)
    }

    fn load(&self) -> Result<Loaded, Failure> {
        let mut all = load(&self.path).map_err(|error| unreadable(&error))?;
        match (all.len(), all.pop()) {
            (1, Some(loaded)) => Ok(loaded),
            _ => {
                let message = format!("{} holds no main file, but several parts", self.path.display());
                Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Form, message).help("name one of the files")))
            }
        }
    }
}

fn notes(imported: &Imported, configuration: &Configuration<'_>, texts: &Texts<'_>) -> Vec<Diagnostic> {
    imported
        .notes
        .iter()
        .map(|note| {
            let mut diagnostic = Diagnostic::warning(Code::Imported, note.text.clone());
            diagnostic.severity = crate::diagnostic::Severity::Note;
            match note.at {
                Some(at) => diagnostic.at(texts.of(&configuration.statements[at], &Part::Whole), ""),
                None => diagnostic,
            }
        })
        .collect()
}

pub(super) fn yaml(spec: &Value, from: &str) -> Result<String, Failure> {
    let body = serde_yaml::to_string(spec).map_err(|error| {
        Failure::new(
            Exit::Environment,
            Diagnostic::error(Code::Form, format!("cannot write the spec as YAML: {error}")),
        )
    })?;
    let name: String = from.chars().filter(|letter| !letter.is_control()).collect();
    Ok(format!(
        "# Made by `confgen import {name}`. `confgen check` judges it, `confgen schema` prints every key.\n{body}"
    ))
}

fn write(output: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::io("write", output, error);
    if !force && fs::symlink_metadata(output).is_ok() {
        let diagnostic = Diagnostic::error(Code::Exists, format!("{} exists", output.display()));
        return Err(Failure::new(Exit::Spec, diagnostic.help("overwrite it with `--force`, or name another file")));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    fresh.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    let kept = if force { fresh.persist(output) } else { fresh.persist_noclobber(output) };
    kept.map(drop).map_err(|error| failed(&error.error))
}
