//! What a failed cell looks like: the place in the scenario with a caret, the operands, the log's end, and how to repeat it.

use annotate_snippets::{AnnotationKind, Group, Level, Snippet, normalize_untrusted_str};
use confgen::diagnostic::Style;

use crate::runner::outcome::{CellOutcome, Failure, Operand};
use crate::runner::plan::Cell;
use crate::scenario::problem::{first_line, renderer};
use crate::scenario::value::Value;

/// The longest text that is shown of a value.
const SHOWN: usize = 400;

/// Shows failures.
#[derive(Debug, Clone, Copy)]
pub struct Failures {
    /// With or without colours.
    pub style: Style,
}

impl Failures {
    /// Everything about a failed cell.
    #[must_use]
    pub fn cell(&self, cell: &Cell, outcome: &CellOutcome) -> String {
        let mut text = String::new();
        for failure in &outcome.failures {
            text.push_str(&self.failure(cell, failure));
            text.push('\n');
        }
        let curl = outcome.steps.iter().filter(|step| !step.failures.is_empty()).filter_map(|step| step.curl.as_deref()).next_back();
        if !outcome.log_tail.is_empty() {
            text.push_str("  error log, its last lines:\n");
            for line in &outcome.log_tail {
                text.push_str(&format!("    {}\n", visible(line)));
            }
        }
        if let Some(curl) = curl {
            text.push_str(&format!("  request: {curl}\n"));
        }
        if let Some(artifacts) = &outcome.artifacts {
            text.push_str(&format!("  artifacts: {}\n", artifacts.display()));
        }
        text.push_str(&format!("  repeat:  {}\n", repeat_command(cell)));
        text
    }

    /// One failure.
    #[must_use]
    pub fn failure(&self, cell: &Cell, failure: &Failure) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(normalize_untrusted_str(&failure.message)));
        let span = cell.scenario.locate(&failure.pointer, failure.within.as_ref());
        if !failure.pointer.is_empty() {
            let annotation = AnnotationKind::Primary.span(first_line(&span));
            let snippet = Snippet::source(span.source.text.as_str()).path(span.source.name.as_str()).annotation(annotation);
            group = group.element(snippet);
        }
        let width = failure.operands.iter().filter(|operand| !is_literal(operand)).map(|operand| operand.label.chars().count()).max().unwrap_or_default();
        for operand in failure.operands.iter().filter(|operand| !is_literal(operand)) {
            let line = format!("{:>width$}: {}", operand.label, shown(&operand.value));
            group = group.element(Level::NOTE.no_name().message(normalize_untrusted_str(&line)));
        }
        for note in &failure.notes {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        renderer(self.style).render(&[group]) + "\n"
    }
}

/// Whether an operand is a value that stands in the expression as it is.
fn is_literal(operand: &Operand) -> bool {
    let written = operand.label.trim();
    written == operand.value.to_string() || written.starts_with(['"', '\'', '[']) || written.starts_with(|first: char| first.is_ascii_digit())
}

/// A value, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let length = text.chars().count();
    if length <= SHOWN {
        return text;
    }
    let cut: String = text.chars().take(SHOWN).collect();
    format!("{cut}… ({length} characters)")
}

/// A line of a log without control characters, which could change the terminal.
fn visible(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A text as a word of a shell.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The command that runs one cell again.
#[must_use]
pub fn repeat_command(cell: &Cell) -> String {
    let mut words = vec!["harness".to_owned(), "run".to_owned(), quoted(&cell.scenario.file.display().to_string())];
    words.extend(["--variant".to_owned(), quoted(&cell.id.variant)]);
    for (axis, value) in cell.id.axes.pairs() {
        words.extend(["--cell".to_owned(), format!("{axis}={value}")]);
    }
    words.join(" ")
}
