//! What a failed cell looks like: the place in the scenario with a caret, the operands, the log's end, and how to repeat it.

use std::collections::HashMap;

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
const LOG_LINES: usize = 10;

/// How many lines the failures of a cell may take, so that a cell does not take more than a screen; the first failure is shown in
/// any case.
const FAILURE_LINES: usize = 30;

/// How many failures beyond that are named.
const BRIEF: usize = 8;

/// How many notes of a failure are shown.
const NOTES: usize = 8;

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
        let mut text = self.all(cell, &outcome.failures);
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

    /// Failures, those that are alike shown once, as far as they go on a screen.
    #[must_use]
    pub fn all(&self, cell: &Cell, failures: &[Failure]) -> String {
        let mut kinds: Vec<(&Failure, usize)> = Vec::new();
        let mut known: HashMap<_, usize> = HashMap::new();
        for failure in failures {
            let place = known.entry((failure.kind, &failure.message, &failure.pointer, &failure.within));
            let place = *place.or_insert(kinds.len());
            if place == kinds.len() {
                kinds.push((failure, 0));
            }
            kinds[place].1 += 1;
        }
        let mut text = String::new();
        for (position, (failure, count)) in kinds.iter().enumerate() {
            let mut shown = (*failure).clone();
            let more = shown.notes.len().saturating_sub(NOTES);
            if more > 1 {
                shown.notes.truncate(NOTES);
                shown.notes.push(format!("and {more} more lines like these; --artifacts DIR keeps them all"));
            }
            if *count > 1 {
                shown.notes.push(format!("{} more failures are like this one", count - 1));
            }
            let block = self.failure(cell, &shown) + "\n";
            if position > 0 && text.lines().count() + block.lines().count() > FAILURE_LINES {
                text.push_str(&brief(&kinds[position..]));
                break;
            }
            text.push_str(&block);
        }
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

/// Failures for which there is no more room: a line for each.
fn brief(kinds: &[(&Failure, usize)]) -> String {
    let mut text = String::new();
    for (failure, count) in kinds.iter().take(BRIEF) {
        let times = if *count > 1 { format!("  ({count} times)") } else { String::new() };
        text.push_str(&format!("error: {}{times}\n", visible(failure.message.lines().next().unwrap_or_default())));
    }
    let left: usize = kinds.iter().skip(BRIEF).map(|(_, count)| count).sum();
    if left > 0 {
        text.push_str(&format!("and {left} more failures; --artifacts DIR keeps them all\n"));
    }
    text + "\n"
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
