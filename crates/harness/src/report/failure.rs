//! What a failed cell looks like: the place in the scenario with a caret, the operands, the log's end, and how to repeat it.

use std::collections::HashMap;

use annotate_snippets::{AnnotationKind, Group, Level, Snippet, normalize_untrusted_str};
use confgen::diagnostic::{Style, renderer, visible};

use crate::runner::bundle::NATIVE_STACKS;
use crate::runner::outcome::{CellOutcome, Failure, FailureKind, Operand};
use crate::runner::plan::Cell;
use crate::scenario::value::Value;
use crate::shell::word;

/// The longest text that is shown of a value.
const SHOWN: usize = 400;

/// How many lines a failed cell takes on a terminal: a screen, with the line of its verdict and the empty line below that.
const SCREEN: usize = 24;
const AROUND: usize = 2;

/// How many lines a failed cell takes in a report file. What is alike is shown once there as well.
const REPORT: usize = 400;

/// How many lines the failures take of a server that is kept, which has lines of its own.
const HELD: usize = 14;

/// How many lines of the error log are shown, and how many of them even if the failures could use the room.
const LOG_LINES: usize = 10;
const LOG_KEPT: usize = 2;

/// How many failures for which there is no room are named even if one before them could use the room.
const NAMED: usize = 2;

/// Where everything is that has no room.
const EVERYTHING: &str = "--artifacts DIR keeps everything";

/// Shows failures.
#[derive(Debug, Clone, Copy)]
pub struct Failures {
    /// With or without colours.
    pub style: Style,
}

impl Failures {
    /// A failed cell on a terminal.
    #[must_use]
    pub fn cell(&self, cell: &Cell, outcome: &CellOutcome) -> String {
        self.within(cell, outcome, SCREEN - AROUND)
    }

    /// A failed cell in a report file, where there is more room.
    #[must_use]
    pub fn report(&self, cell: &Cell, outcome: &CellOutcome) -> String {
        self.within(cell, outcome, REPORT)
    }

    /// The failures of a cell whose server is kept.
    #[must_use]
    pub fn held(&self, cell: &Cell, failures: &[Failure]) -> String {
        self.all(cell, failures, HELD)
    }

    /// A failed cell in at most so many lines.
    fn within(&self, cell: &Cell, outcome: &CellOutcome, room: usize) -> String {
        let end = end(cell, outcome);
        let room = room.saturating_sub(end.lines().count());
        let log = outcome.log_tail.len().min(LOG_LINES);
        // What took too long is explained by the stacks, not by the log.
        let slow = outcome.failures.iter().any(|failure| failure.kind == FailureKind::Timeout);
        let kept = if log > 0 && !slow { 1 + log.min(LOG_KEPT) } else { 0 };
        let mut text = self.all(cell, &outcome.failures, room.saturating_sub(kept));
        let left = room.saturating_sub(text.lines().count());
        if log > 0 && left > 1 {
            text.push_str("  error log, its last lines:\n");
            for line in &outcome.log_tail[outcome.log_tail.len() - log.min(left - 1)..] {
                text.push_str(&format!("    {}\n", printable(line)));
            }
        }
        text + &end
    }

    /// Failures, those that are alike shown once, in at most so many lines.
    fn all(&self, cell: &Cell, failures: &[Failure], room: usize) -> String {
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
            let left = room.saturating_sub(text.lines().count());
            let others = kinds.len() - position - 1;
            // Those that follow are named in any case, with an empty line after them.
            let reserved = if others > 0 { others.min(NAMED) + 1 } else { 0 };
            let mut shown = (*failure).clone();
            if *count > 1 {
                shown.notes.insert(0, format!("{} more failures are like this one", count - 1));
            }
            let block = self.failure(cell, &shown);
            // An empty line follows each.
            if block.lines().count() < left.saturating_sub(reserved) {
                text.push_str(&block);
            } else if position == 0 {
                text.push_str(&cut(&block, left.saturating_sub(reserved + 1)));
            } else {
                text.push_str(&brief(&kinds[position..], left.saturating_sub(1)));
                break;
            }
            text.push('\n');
        }
        text
    }

    /// One failure.
    #[must_use]
    pub fn failure(&self, cell: &Cell, failure: &Failure) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(normalize_untrusted_str(&failure.message)));
        let span = failure.span(&cell.scenario);
        if let Some(span) = &span {
            let annotation = AnnotationKind::Primary.span(visible(span));
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
        if !failure.native.is_empty() {
            group = group
                .element(Level::NOTE.message(format!("native stacks: {NATIVE_STACKS} of the bundle; {EVERYTHING}")));
        }
        renderer(self.style).render(&[group]) + "\n"
    }
}

/// What stands below the failures and the log: how to see more, and how to repeat it.
fn end(cell: &Cell, outcome: &CellOutcome) -> String {
    let failed = outcome.steps.iter().filter(|step| !step.failures.is_empty());
    let mut text = String::new();
    if let Some(curl) = failed.filter_map(|step| step.curl.as_deref()).next_back() {
        text.push_str(&format!("  request: {curl}\n"));
    }
    if let Some(folder) = &outcome.folder {
        text.push_str(&format!("  files: {}\n", folder.display()));
    }
    if let Some(artifacts) = &outcome.artifacts {
        text.push_str(&format!("  artifacts: {}\n", artifacts.display()));
    }
    text + &format!("  repeat:  {}\n", repeat_command(cell))
}

/// The first lines of a text that is too long.
fn cut(text: &str, room: usize) -> String {
    let shown = room.saturating_sub(1).max(1);
    let more = text.lines().count().saturating_sub(shown);
    let start: String = text.split_inclusive('\n').take(shown).collect();
    if more == 0 { start } else { format!("{start}   … and {more} more lines; {EVERYTHING}\n") }
}

/// Failures for which there is no more room: a line for each.
fn brief(kinds: &[(&Failure, usize)], room: usize) -> String {
    let named = if kinds.len() <= room { kinds.len() } else { room.saturating_sub(1) };
    let mut text = String::new();
    for (failure, count) in &kinds[..named] {
        let times = if *count > 1 { format!("  ({count} times)") } else { String::new() };
        text.push_str(&format!("error: {}{times}\n", printable(failure.message.lines().next().unwrap_or_default())));
    }
    let left: usize = kinds[named..].iter().map(|(_, count)| count).sum();
    if left > 0 {
        text.push_str(&format!("and {left} more failures; {EVERYTHING}\n"));
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
fn printable(line: &str) -> String {
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
