//! `confgen lint`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use super::loaded::{is_spec, refuse_options_of_specs, unreadable};
use super::rewrite::replace;
use crate::configuration::{Configuration, Loaded, Texts, load, load_text};
use crate::diagnostic::{Code, Diagnostic, Label, Severity, render_github, render_json, render_sarif};
use crate::lint::{Scripts, apply_fixes, lint, structure};
use crate::render::{RenderOptions, Tree, render_draft};
use crate::spec::LintLevel;

/// Judge configurations of Apache: files, folders such as /etc/apache2, or specs.
#[derive(Debug, Args)]
#[command(
    after_help = "A comment lets a finding pass, with a reason:\n  # confgen: allow CG225 small stacks on purpose\n  WSGIDaemonProcess shop stack-size=262144\nIn a spec, `lint: {allow: {CG225: \"small stacks on purpose\"}}` does the same.\n\nExamples:\n  confgen lint /etc/apache2\n  confgen lint sites-available/shop.conf --fix\n  confgen lint site.yaml --format sarif > lint.sarif"
)]
pub(super) struct Lint {
    /// Files, folders of servers, or specs (by their ending: .yaml, .yml, .toml, .json); `-` is a configuration on standard input.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Mend what can be mended without a decision, then report the rest.
    #[arg(long)]
    fix: bool,
    /// The form of the report.
    #[arg(long, value_name = "FORM", default_value = "text", hide_possible_values = true)]
    format: Format,
    /// End with status 1 from this severity on: note, warning or error.
    #[arg(long, value_name = "SEVERITY", hide_possible_values = true)]
    level: Option<Level>,
    /// Apply a profile of the specs; several are applied in order.
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Forms of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// Severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Note,
    Warning,
    Error,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Note => Self::Note,
            Level::Warning => Self::Warning,
            Level::Error => Self::Error,
        }
    }
}

/// What was found in one of the paths.
#[derive(Default)]
struct Found {
    diagnostics: Vec<Diagnostic>,
    /// The severity from which on a spec wants findings to fail.
    denied: Option<Severity>,
    /// How many findings were mended, by file.
    fixed: BTreeMap<PathBuf, usize>,
}

impl Lint {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if let Some(path) = self.paths.first().filter(|_| !self.paths.iter().any(|path| is_spec(path))) {
            refuse_options_of_specs(path, &self.profile, &self.machine)?;
        }
        let mut all = Found::default();
        let mut failed: Option<Failure> = None;
        let mut fails = false;
        for path in &self.paths {
            let outcome = if is_spec(path) { self.spec(path, context) } else { self.configuration(path) };
            match outcome {
                Ok(found) => {
                    let level = self.level.map(Severity::from).or(found.denied).unwrap_or(Severity::Warning);
                    fails |= found.diagnostics.iter().any(|diagnostic| diagnostic.severity >= level);
                    all.diagnostics.extend(found.diagnostics);
                    all.fixed.extend(found.fixed);
                }
                Err(failure) => match &mut failed {
                    Some(before) => before.diagnostics.extend(failure.diagnostics),
                    None => failed = Some(failure),
                },
            }
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        self.answer(&all, context);
        Ok(if fails { Exit::Differs } else { Exit::Ok })
    }

    fn configuration(&self, path: &Path) -> Result<Found, Failure> {
        let read = || -> Result<Vec<Loaded>, Failure> {
            if path.as_os_str() == "-" {
                let mut bytes = Vec::new();
                let input = std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes);
                input.map_err(|error| Failure::io("read", Path::new("standard input"), &error))?;
                if bytes.len() as u64 > LARGEST {
                    let message = "standard input is larger than 16 MiB, the limit for a configuration";
                    return Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Range, message)));
                }
                return Ok(vec![load_text(Path::new("<stdin>"), bytes)]);
            }
            load(path).map_err(|error| unreadable(&error))
        };
        let mut found = Found::default();
        let mut loaded = read()?;
        if self.fix {
            if path.as_os_str() == "-" {
                let message = "`--fix` cannot change standard input";
                return Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Conflict, message).help("name the file")));
            }
            for one in &loaded {
                mend(one, &mut found)?;
            }
            if !found.fixed.is_empty() {
                loaded = read()?;
            }
        }
        for one in &loaded {
            found.diagnostics.extend(judge(one));
        }
        Ok(found)
    }

    /// Judges what a spec renders to; findings stand at the keys that they come from.
    fn spec(&self, path: &Path, context: &Context<'_>) -> Result<Found, Failure> {
        if self.fix {
            let message = format!("`--fix` changes configurations of httpd, and {} is a spec", path.display());
            return Err(Failure::new(
                Exit::Spec,
                Diagnostic::error(Code::Conflict, message).help("change the keys by hand"),
            ));
        }
        let arguments = SpecArgs { spec: path.to_owned(), profile: self.profile.clone(), set: Vec::new() };
        let draft = arguments.load()?;
        let facts = self.machine.load(context)?;
        let tree = render_draft(&draft, &facts, &RenderOptions::default()).map_err(Failure::of_spec)?;
        let main = tree.config();
        let text = tree.text("httpd.conf").unwrap_or_default().to_owned();
        let loaded = load_text(&main, text.into_bytes());
        let mut diagnostics = tree.warnings.clone();
        let judged = judge(&loaded).into_iter().map(|diagnostic| at_keys(diagnostic, &tree));
        for diagnostic in judged.filter(|diagnostic| !draft.spec.lint.allow.contains_key(diagnostic.code.id())) {
            // A site that is served by http and https is rendered twice.
            if !diagnostics.contains(&diagnostic) {
                diagnostics.push(diagnostic);
            }
        }
        let denied = draft.spec.lint.deny.map(|level| match level {
            LintLevel::Note => Severity::Note,
            LintLevel::Warning => Severity::Warning,
            LintLevel::Error => Severity::Error,
        });
        Ok(Found { diagnostics, denied, ..Found::default() })
    }

    fn answer(&self, found: &Found, context: &Context<'_>) {
        let diagnostics = &found.diagnostics;
        let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
        let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
        let fixed: usize = found.fixed.values().sum();
        match self.format {
            _ if context.json => {
                let mut answer = render_json(diagnostics);
                answer["counts"] = json!({"error": errors, "warning": warnings, "note": notes, "fixed": fixed});
                context.print_json(&answer);
                return;
            }
            Format::Json => {
                let mut answer = render_json(diagnostics);
                answer["counts"] = json!({"error": errors, "warning": warnings, "note": notes, "fixed": fixed});
                context.print_json(&answer);
            }
            Format::Sarif => context.print_json(&render_sarif("confgen", env!("CARGO_PKG_VERSION"), diagnostics)),
            Format::Github => context.print(&render_github(diagnostics)),
            Format::Text => context.print_report(diagnostics),
        }
        for (file, number) in &found.fixed {
            context.note(&format!("fixed {number} in {}", file.display()));
        }
        if self.format == Format::Text {
            let numbers: Vec<String> = [(errors, "error"), (warnings, "warning"), (notes, "note")]
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, name)| format!("{number} {name}{}", if number == 1 { "" } else { "s" }))
                .collect();
            match numbers.is_empty() {
                true => context.note("no findings"),
                false => context.note(&format!("{}; `confgen explain CODE` says why", numbers.join(", "))),
            }
        }
    }
}

/// The largest configuration that is read from standard input, in bytes.
const LARGEST: u64 = 16 << 20;

fn judge(loaded: &Loaded) -> Vec<Diagnostic> {
    let configuration = Configuration::of(&loaded.reading, loaded.partial);
    let texts = Texts::new(&loaded.reading);
    let mut found = structure(&configuration, &texts);
    found.extend(lint(&configuration, &texts, &Scripts::Files).into_iter().map(|reported| reported.diagnostic));
    found
}

/// Applies the fixes of a configuration, file by file.
fn mend(loaded: &Loaded, found: &mut Found) -> Result<(), Failure> {
    let configuration = Configuration::of(&loaded.reading, loaded.partial);
    let texts = Texts::new(&loaded.reading);
    let reported = lint(&configuration, &texts, &Scripts::Files);
    for fixed in apply_fixes(&reported, &configuration, &texts) {
        replace(&fixed.path, &fixed.after).map_err(|error| Failure::io("write", &fixed.path, &error))?;
        *found.fixed.entry(fixed.path).or_default() += fixed.number;
    }
    Ok(())
}

/// A finding about a rendered text as one about the keys of its spec.
fn at_keys(diagnostic: Diagnostic, tree: &Tree) -> Diagnostic {
    let moved = |label: &Label| {
        let (line, _) = label.span.line_column();
        let (key, span) = tree.key_of_line("httpd.conf", line, label.span.text())?;
        let text = if label.text.is_empty() { format!("`{key}`") } else { label.text.clone() };
        Some(Label { span, text })
    };
    let Some(first) = diagnostic.labels.first() else { return diagnostic };
    let rendered = first.span.source.text.lines().nth(first.span.line_column().0 - 1).unwrap_or_default().trim();
    let note = format!("rendered as: {rendered}");
    let mut labels: Vec<Label> = Vec::new();
    for label in diagnostic.labels.iter().map(|label| moved(label).unwrap_or_else(|| label.clone())) {
        if !labels.iter().any(|known| known.span == label.span) {
            labels.push(label);
        }
    }
    Diagnostic { labels, ..diagnostic }.note(note)
}
