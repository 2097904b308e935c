//! The end of a run.

use std::fmt::Write as _;

use confgen::diagnostic::Style;
use indexmap::IndexMap;

use super::{lines, repeat_command};
use crate::runner::outcome::{RunOutcome, Verdict};
use crate::runner::plan::Plan;
use crate::scenario::quantity::Time;

/// How much of a reason is shown.
const REASON: usize = 200;

/// The reasons of skipped cells, the verdicts in numbers, and last, where the end of a log shows it, each failed cell with its
/// first reason; the very last line is plain and of a fixed form.
#[must_use]
pub fn summary(plan: &Plan, outcome: &RunOutcome, style: Style) -> String {
    let mut text = String::new();
    let mut reasons: IndexMap<&str, usize> = IndexMap::new();
    for reason in outcome.cells.iter().filter_map(|cell| cell.skipped.as_deref()) {
        *reasons.entry(reason).or_default() += 1;
    }
    if !reasons.is_empty() {
        text.push_str("\nskipped:\n");
        for (reason, count) in &reasons {
            let _ = writeln!(text, "  {count} × {reason}");
        }
    }
    let verdicts = [Verdict::Reproduced, Verdict::Healthy, Verdict::Unexpected, Verdict::Broken, Verdict::Skip];
    let counts: Vec<_> = verdicts
        .into_iter()
        .map(|verdict| (verdict, outcome.count(verdict)))
        .filter(|(verdict, count)| *count > 0 || verdict.passed())
        .map(|(verdict, count)| format!("{count} {}", verdict.word()))
        .collect();
    let _ = writeln!(text, "\n{} cells in {}: {}", outcome.cells.len(), Time(outcome.elapsed), counts.join(", "));
    if outcome.not_run > 0 {
        let why = if outcome.interrupted { "the run was interrupted" } else { "the run ended early" };
        let _ = writeln!(text, "{} cells were not run: {why}", outcome.not_run);
    }
    let failed: Vec<_> = outcome.cells.iter().filter(|cell| cell.verdict.failed()).collect();
    if !failed.is_empty() {
        text.push_str("\nfailed:\n");
        for cell in &failed {
            let repeat =
                plan.cells.iter().find(|planned| planned.id == cell.id).map(repeat_command).unwrap_or_default();
            let _ =
                writeln!(text, "  {}  {}\n              {repeat}", lines::verdict_word(cell.verdict, style), cell.id);
            if let Some(first) = cell.failures.first() {
                let _ = writeln!(text, "              {}", first_line(&first.message));
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{} passed, {} failed, {} skipped", outcome.passed(), outcome.failed(), outcome.skipped());
    text
}

/// The first line of a reason, which may quote what strangers sent.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(REASON).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().nth(REASON).is_some() { format!("{shown}…") } else { shown }
}
