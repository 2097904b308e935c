//! Plain lines: one for each cell, the failures below it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style as Colour};
use confgen::diagnostic::Style;

use super::{Failures, Reporter};
use crate::runner::event::Event;
use crate::runner::outcome::{CellOutcome, Failure, Verdict};
use crate::runner::plan::Plan;
use crate::scenario::quantity::Time;
use crate::shell::word;

/// Writes lines.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    style: Style,
}

impl<W: Write> Lines<W> {
    /// Writes to this.
    pub const fn new(out: W, style: Style) -> Self {
        Self { out, style }
    }
}

/// The verdict as a word of equal width, coloured by what it means for the run.
pub(super) fn verdict_word(verdict: Verdict, style: Style) -> String {
    let padded = format!("{:10}", verdict.word());
    let colour = match verdict {
        Verdict::Reproduced | Verdict::Healthy => AnsiColor::Green,
        Verdict::Skip => AnsiColor::Yellow,
        Verdict::Unexpected | Verdict::Broken => AnsiColor::Red,
    };
    match style {
        Style::Plain => padded,
        Style::Coloured => {
            let colour = Colour::new().bold().fg_color(Some(colour.into()));
            format!("{colour}{padded}{colour:#}")
        }
    }
}

/// The line of a cell that ended.
pub(super) fn line(outcome: &CellOutcome, style: Style) -> String {
    let rest = match &outcome.skipped {
        Some(reason) => reason.clone(),
        None => Time(outcome.elapsed).to_string(),
    };
    let expected =
        if outcome.verdict.failed() { format!("  (expected: {})", outcome.expected.name()) } else { String::new() };
    format!("{}  {}  {rest}{expected}", verdict_word(outcome.verdict, style), outcome.id)
}

/// A server that is kept, and where.
pub(super) struct Held<'a> {
    pub(super) cell: usize,
    pub(super) url: &'a str,
    pub(super) dir: &'a Path,
    pub(super) parent: u32,
    pub(super) request: Option<&'a str>,
    pub(super) failures: &'a [Failure],
}

/// Why a server is kept, how to look at it, and how to end it.
pub(super) fn held(plan: &Plan, held: &Held<'_>, style: Style) -> String {
    let Held { url, dir, parent, request, failures, .. } = held;
    let Some(cell) = plan.cells.get(held.cell) else { return String::new() };
    let name = &cell.id;
    if failures.is_empty() {
        return format!(
            "{name} is kept at {url}, its files are in {}; Ctrl-C ends it and removes them\n",
            dir.display()
        );
    }
    let mut text = format!("{name} fails:\n\n{}", Failures { style }.held(cell, failures));
    let log = word(&dir.join("logs/error.log").display().to_string());
    let _ = writeln!(text, "{name} is kept at {url}");
    let asked = request.map_or_else(|| format!("curl -i {url}"), str::to_owned);
    let _ = writeln!(text, "  look:  {asked}\n         less {log}");
    let _ = writeln!(text, "  files: {} (removed at the end; --keep leaves them)", dir.display());
    let _ = writeln!(text, "  end:   kill {parent}   (Ctrl-C ends all that are kept)");
    text
}

/// Everything about a cell that ended.
pub(super) fn block(plan: &Plan, cell: usize, outcome: &CellOutcome, style: Style) -> String {
    let mut text = line(outcome, style);
    text.push('\n');
    if outcome.verdict.failed()
        && let Some(cell) = plan.cells.get(cell)
    {
        text.push('\n');
        text.push_str(&Failures { style }.cell(cell, outcome));
        text.push('\n');
    }
    text
}

impl<W: Write> Reporter for Lines<W> {
    fn event(&mut self, plan: &Plan, event: &Event) -> io::Result<()> {
        match event {
            Event::CellFinished { cell, outcome } => {
                self.out.write_all(block(plan, *cell, outcome, self.style).as_bytes())?
            }
            Event::Held { cell, url, dir, parent, request, failures } => {
                let request = request.as_deref();
                let kept = Held { cell: *cell, url, dir, parent: *parent, request, failures };
                self.out.write_all(held(plan, &kept, self.style).as_bytes())?;
            }
            _ => return Ok(()),
        }
        self.out.flush()
    }
}
