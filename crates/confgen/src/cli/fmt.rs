//! `confgen fmt`.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use similar::TextDiff;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::rewrite::replace;
use crate::conf::{self, ProblemKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::directives::{has_code, has_directives, spelled, takes_words};
use crate::document::{Source, Span};

/// What is known of directives.
const NAMES: conf::Names = conf::Names { spelled, takes_words, has_directives, has_code };

/// The largest file that is formatted, in bytes.
const LARGEST: u64 = 64 << 20;

/// Format Apache configuration files: indentation by sections, case of names, white space at the ends of lines, no quotes where
/// nothing needs them. What httpd reads stays the same.
#[derive(Debug, Args)]
pub(super) struct Fmt {
    /// The files; `-` formats standard input to standard output.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write nothing; show what would change, and end with status 1 if anything would.
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let mut formatted = Vec::new();
        let mut wrong: Option<Failure> = None;
        // All files are looked at before the first one is written.
        for file in &self.files {
            match read(file).and_then(|source| format(file, source)) {
                Ok(found) => formatted.push((file, found)),
                Err(failure) => match &mut wrong {
                    Some(before) => before.diagnostics.extend(failure.diagnostics),
                    None => wrong = Some(failure),
                },
            }
        }
        if let Some(failure) = wrong {
            return Err(failure);
        }
        let mut told = Vec::new();
        let mut differs = false;
        for (file, Formatted { source, text }) in formatted {
            let changed = source != text;
            differs |= changed;
            told.push(json!({"file": file, "changed": changed}));
            let is_input = file.as_os_str() == "-";
            if self.check {
                if changed && !context.json {
                    context.print(&difference(file, &source, &text));
                }
            } else if is_input {
                std::io::stdout()
                    .write_all(&text)
                    .map_err(|error| Failure::io("write", Path::new("standard output"), &error))?;
            } else if changed {
                replace(file, &text).map_err(|error| Failure::io("write", file, &error))?;
                if !context.json {
                    context.note(&format!("formatted {}", file.display()));
                }
            }
        }
        if context.json {
            context.print_json(&json!({ "files": told }));
        }
        Ok(if self.check && differs { Exit::Differs } else { Exit::Ok })
    }
}

/// A file before and after.
struct Formatted {
    source: Vec<u8>,
    text: Vec<u8>,
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let name = if file.as_os_str() == "-" { Path::new("standard input") } else { file };
    let failed = |error: &std::io::Error| Failure::io("read", name, error);
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    } else {
        let metadata = fs::metadata(file).map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            let message = format!("{} is not a file", file.display());
            let help = "name the files: `confgen fmt /etc/apache2/sites-available/*.conf`";
            return Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Form, message).help(help)));
        }
        let opened = fs::File::open(file).map_err(|error| failed(&error))?;
        opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    }
    if bytes.len() as u64 > LARGEST {
        let message = format!("{} is larger than 64 MiB, the limit for a configuration file", name.display());
        return Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Range, message)));
    }
    Ok(bytes)
}

fn format(file: &Path, source: Vec<u8>) -> Result<Formatted, Failure> {
    match conf::format(&source, NAMES) {
        Ok(text) => Ok(Formatted { source, text }),
        Err(problems) => {
            let text = Source::new(file.display().to_string(), String::from_utf8_lossy(&source).into_owned());
            let diagnostics = problems.iter().map(|problem| diagnostic(problem, &text, &source)).collect();
            Err(Failure { exit: Exit::Spec, diagnostics })
        }
    }
}

/// A problem of a file with its place. Bytes that are no text take more room in the text that is shown.
fn diagnostic(problem: &conf::Problem, text: &std::sync::Arc<Source>, source: &[u8]) -> Diagnostic {
    let place = |at: usize| String::from_utf8_lossy(&source[..at.min(source.len())]).len().min(text.text.len());
    let span = Span::new(text, place(problem.span.start)..place(problem.span.end));
    let (message, help) = match &problem.kind {
        ProblemKind::Unclosed { name } => (format!("nothing closes <{name}>"), format!("add </{name}>")),
        ProblemKind::StrayEnd { name, open: Some(open) } => {
            (format!("</{name}> closes nothing: <{open}> is open here"), format!("close it first: </{open}>"))
        }
        ProblemKind::StrayEnd { name, open: None } => {
            (format!("</{name}> closes nothing"), "remove it, or add the section's first line".to_owned())
        }
        ProblemKind::NoBracket { name } => (format!("the line of <{name}> has no `>`"), "add the `>`".to_owned()),
        ProblemKind::Nameless => ("`<` without the name of a section".to_owned(), "add the name".to_owned()),
        ProblemKind::TooDeep => ("sections are nested too deep".to_owned(), "take some of them apart".to_owned()),
    };
    Diagnostic::error(Code::ConfSections, message).at(span, "").help(help)
}

fn difference(file: &Path, source: &[u8], text: &[u8]) -> String {
    let (before, after) = (String::from_utf8_lossy(source), String::from_utf8_lossy(text));
    let name = file.display().to_string();
    TextDiff::from_lines(before.as_ref(), after.as_ref()).unified_diff().header(&name, &name).to_string()
}
