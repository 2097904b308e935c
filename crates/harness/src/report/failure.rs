//! What a failed cell looks like: the place in the scenario with a caret, the operands, the log's end, and how to repeat it.

use annotate_snippets::{AnnotationKind, Group, Level, Snippet, normalize_untrusted_str};
use confgen::diagnostic::Style;

use crate::runner::outcome::{CellOutcome, Failure, Operand};
use crate::runner::plan::Cell;
use crate::scenario::problem::{first_line, renderer};
use crate::scenario::value::Value;
use crate::shell::word;

/// The longest text that is shown of a value.
const SHOWN: usize = 400;

/// How many lines of the error log are shown.
const LOG_LINES: usize = 20;

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
        let curl = outcome
            .steps
            .iter()
            .filter(|step| !step.failures.is_empty())
            .filter_map(|step| step.curl.as_deref())
            .next_back();
        if !outcome.log_tail.is_empty() {
            text.push_str("  error log, its last lines:\n");
            let more = outcome.log_tail.len().saturating_sub(LOG_LINES);
            for line in &outcome.log_tail[more..] {
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
        let span = failure.span(&cell.scenario);
        if let Some(span) = &span {
            let annotation = AnnotationKind::Primary.span(first_line(span));
            let snippet =
                Snippet::source(span.source.text.as_str()).path(span.source.name.as_str()).annotation(annotation);
            group = group.element(snippet);
        }
        for line in operands(&failure.operands) {
            group = group.element(Level::NOTE.no_name().message(normalize_untrusted_str(&line)));
        }
        for note in &failure.notes {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        renderer(self.style).render(&[group]) + "\n"
    }
}

/// The operands, one below the other. The two sides of a comparison say what they are the value of.
fn operands(operands: &[Operand]) -> Vec<String> {
    match operands {
        [left, right] if left.label != "actual" => [("left", left), ("right", right)]
            .into_iter()
            .map(|(side, operand)| {
                let value = shown(&operand.value);
                let of = if is_literal(operand, &value) { String::new() } else { format!("   ({})", operand.label) };
                format!("{side:>5}: {value}{of}")
            })
            .collect(),
        _ => {
            let width = operands.iter().map(|operand| operand.label.chars().count()).max().unwrap_or_default();
            operands.iter().map(|operand| format!("{:>width$}: {}", operand.label, shown(&operand.value))).collect()
        }
    }
}

/// Whether an operand stands in the expression as the value that it is.
fn is_literal(operand: &Operand, shown: &str) -> bool {
    let written = operand.label.trim();
    written == shown
        || written.starts_with(['"', '\'', '[', '-'])
        || written.starts_with(|first: char| first.is_ascii_digit())
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

/// The command that runs one cell again.
#[must_use]
pub fn repeat_command(cell: &Cell) -> String {
    let mut words = vec!["harness".to_owned(), "run".to_owned(), word(&cell.scenario.file.display().to_string())];
    words.extend(["--variant".to_owned(), word(&cell.id.variant)]);
    for (axis, value) in cell.id.axes.pairs() {
        words.extend(["--cell".to_owned(), format!("{axis}={value}")]);
    }
    words.join(" ")
}
