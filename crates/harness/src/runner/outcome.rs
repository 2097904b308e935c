//! What came of steps, cells and runs, and the one place that decides on verdicts.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use confgen::document::Span;
use serde::Serialize;

use super::stamp::Stamp;
use crate::scenario::load::Loaded;
use crate::scenario::schema::{Axes, Expectation, StepKind};
use crate::scenario::value::Value;

/// The name of a cell: scenario, variant and position, as in `tz-last-wins/problem[mpm=event]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct CellId {
    /// The scenario's id.
    pub scenario: String,
    /// The variant's name.
    pub variant: String,
    /// The position on the axes.
    pub axes: Axes,
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scenario, self.variant)?;
        let pairs: Vec<_> = self.axes.pairs().iter().map(|(axis, value)| format!("{axis}={value}")).collect();
        if pairs.is_empty() { Ok(()) } else { write!(f, "[{}]", pairs.join(",")) }
    }
}

/// What came of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The problem showed, as expected.
    Reproduced,
    /// The problem was gone, as expected.
    Healthy,
    /// Something else was seen.
    Unexpected,
    /// The cell was not run; the reason says why.
    Skip,
    /// The cell could not be run.
    Broken,
}

impl Verdict {
    /// The word that reports show.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reproduced => "REPRODUCED",
            Self::Healthy => "HEALTHY",
            Self::Unexpected => "UNEXPECTED",
            Self::Skip => "SKIP",
            Self::Broken => "BROKEN",
        }
    }

    /// Whether it is what the scenario expects.
    #[must_use]
    pub const fn passed(self) -> bool {
        matches!(self, Self::Reproduced | Self::Healthy)
    }

    /// Whether the run fails by it.
    #[must_use]
    pub const fn failed(self) -> bool {
        matches!(self, Self::Unexpected | Self::Broken)
    }
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// A check did not hold.
    Check,
    /// A step could not do its work: no answer, no such process.
    Step,
    /// A time limit passed.
    Timeout,
    /// The server did not start.
    Start,
    /// A warning or error in the log that the scenario does not allow.
    Log,
    /// A process, socket or core file was left behind.
    Leak,
    /// The server ended, or a signal ended one of its processes, and the scenario did not ask for it.
    Death,
    /// An expression of `symptom` or `healthy` did not hold.
    Expectation,
    /// An expression or a `${{ }}` could not be evaluated.
    Expression,
    /// The harness itself could not do its work: no space, no permission.
    Infrastructure,
}

/// A value that a failure is about, with what it is called in the scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operand {
    /// Its source, such as `tokyo.json.hour`, or a word such as `actual`.
    pub label: String,
    /// What it was.
    pub value: Value,
}

/// Something that went wrong, with its place in the scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// The place in the scenario as a JSON pointer, such as `/steps/2/check/status`.
    pub pointer: String,
    /// The part of that place's text, where it is an expression.
    #[serde(skip)]
    pub within: Option<Range<usize>>,
    /// The place itself, where it is known better than by its pointer, as in a merged server.
    #[serde(skip)]
    pub place: Option<Span>,
    /// One line.
    pub message: String,
    /// The values it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operands: Vec<Operand>,
    /// Further lines: attempts of a wait, offending log lines, Python stacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the kernel and a debugger say of the server's processes: long, and seldom of use to who wrote the application.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub native: Vec<String>,
}

impl Failure {
    /// Where in a scenario it is, if it is about a place there.
    #[must_use]
    pub fn span(&self, scenario: &Loaded) -> Option<Span> {
        let of_pointer = || scenario.locate(&self.pointer, self.within.as_ref());
        self.place.clone().or_else(|| (!self.pointer.is_empty()).then(of_pointer))
    }

    /// A failure with nothing but its line.
    pub fn new(kind: FailureKind, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            pointer: pointer.into(),
            within: None,
            place: None,
            message: message.into(),
            operands: Vec::new(),
            notes: Vec::new(),
            native: Vec::new(),
        }
    }

    /// With a value it is about.
    #[must_use]
    pub fn operand(mut self, label: impl Into<String>, value: impl Into<Value>) -> Self {
        self.operands.push(Operand { label: label.into(), value: value.into() });
        self
    }

    /// With a further line.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// What came of a step.
#[derive(Debug, Clone, Serialize)]
pub struct StepOutcome {
    /// The step's number from 0.
    pub index: usize,
    /// Its place in the scenario.
    pub pointer: String,
    /// Its kind.
    pub kind: StepKind,
    /// Its id.
    pub id: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Whether its failures are recorded only.
    pub soft: bool,
    /// Whether its `if` did not hold.
    pub skipped: bool,
    /// From the cell's start to the step's.
    #[serde(serialize_with = "seconds")]
    pub started: Duration,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Its result, as expressions see it.
    #[serde(skip)]
    pub result: Value,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// A curl line that repeats the request, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curl: Option<String>,
}

impl StepOutcome {
    /// Whether the step fails its cell.
    #[must_use]
    pub const fn fails_cell(&self) -> bool {
        !self.soft && !self.failures.is_empty()
    }
}

/// What came of a cell.
#[derive(Debug, Clone, Serialize)]
pub struct CellOutcome {
    /// The cell.
    #[serde(serialize_with = "display")]
    pub id: CellId,
    /// What it had to show.
    pub expected: Expectation,
    /// What came of it.
    pub verdict: Verdict,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What went wrong, in order; hard failures of steps are among them.
    pub failures: Vec<Failure>,
    /// The steps that ran.
    pub steps: Vec<StepOutcome>,
    /// From the cell's start to its end, everything included.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// The part of it that httpd took to start and to stop.
    #[serde(serialize_with = "seconds")]
    pub server: Duration,
    /// The end of the error log.
    pub log_tail: Vec<String>,
    /// Where the private folder of a failed cell is, if it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Where the bundle of a failed cell is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<PathBuf>,
}

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunOutcome {
    /// With what it was done.
    pub stamp: Stamp,
    /// Every cell of the plan that was reached, in the plan's order.
    pub cells: Vec<CellOutcome>,
    /// From the first cell's start to the last one's end.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// How many cells were not reached (`--fail-fast`, an interrupt, the run's time limit).
    pub not_run: usize,
}

impl RunOutcome {
    /// How many cells have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cells.iter().filter(|cell| cell.verdict == verdict).count()
    }

    /// How many ended as expected.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.cells.iter().filter(|cell| cell.verdict.passed()).count()
    }

    /// How many did not.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.cells.iter().filter(|cell| cell.verdict.failed()).count()
    }

    /// How many were skipped.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.count(Verdict::Skip)
    }
}

/// An expression of `symptom` or `healthy` and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Whether it held.
    pub holds: bool,
    /// What it looked like if it did not.
    pub failure: Option<Failure>,
}

/// One of the lists `symptom` and `healthy`, evaluated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Side {
    /// The place of the list in the scenario.
    pub pointer: String,
    /// Its expressions.
    pub judged: Vec<Judged>,
}

impl Side {
    /// Whether there are expressions, and all of them hold.
    fn holds(&self) -> bool {
        !self.judged.is_empty() && self.judged.iter().all(|judged| judged.holds)
    }
}

/// Decides on a cell whose steps have run.
///
/// `failures` are those of steps, logs and leaks. The list of the expected side must hold, and the list of the other side
/// must not: expressions that hold with and without the problem tell nothing. A scenario opts out of the second rule by
/// `vacuous`. A symptom needs at least one expression, as "nothing was wrong" is no symptom.
#[must_use]
pub fn judge(
    expected: Expectation,
    failures: Vec<Failure>,
    symptom: Side,
    healthy: Side,
    vacuous: bool,
) -> (Verdict, Vec<Failure>) {
    let mut failures = failures;
    if failures.iter().any(|failure| failure.kind == FailureKind::Infrastructure) {
        return (Verdict::Broken, failures);
    }
    let (wanted, other, other_name) = match expected {
        Expectation::Symptom => (symptom, healthy, "healthy"),
        Expectation::Healthy => (healthy, symptom, "symptom"),
    };
    let other_holds = other.holds();
    if expected == Expectation::Symptom && wanted.judged.is_empty() {
        failures.push(Failure::new(
            FailureKind::Expectation,
            "/symptom",
            "the variant expects the symptom, but the scenario has no `symptom` expressions",
        ));
    }
    for judged in wanted.judged {
        if !judged.holds {
            failures.extend(judged.failure);
        }
    }
    if failures.is_empty() && other_holds && !vacuous {
        let message = format!("every expression of `{other_name}` holds too, so the two lists tell nothing apart");
        failures.push(
            Failure::new(FailureKind::Expectation, &other.pointer, message)
                .note(format!("the cell is expected to be {}", expected.name()))
                .note("if both may hold, say why with `vacuous: REASON`"),
        );
        return (Verdict::Unexpected, failures);
    }
    if failures.is_empty() {
        let verdict = match expected {
            Expectation::Symptom => Verdict::Reproduced,
            Expectation::Healthy => Verdict::Healthy,
        };
        return (verdict, failures);
    }
    if other_holds && let Some(last) = failures.iter_mut().rfind(|failure| failure.kind == FailureKind::Expectation) {
        last.notes.push(format!("every expression of `{other_name}` holds instead"));
    }
    (Verdict::Unexpected, failures)
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn display<S: serde::Serializer>(id: &CellId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::schema::Mpm;

    fn side(name: &str, holds: &[bool]) -> Side {
        let judged = |holds: &bool| Judged {
            holds: *holds,
            failure: (!holds).then(|| Failure::new(FailureKind::Expectation, format!("/{name}/0"), "does not hold")),
        };
        Side { pointer: format!("/{name}"), judged: holds.iter().map(judged).collect() }
    }

    fn judged(
        expected: Expectation,
        failures: Vec<Failure>,
        symptom: &[bool],
        healthy: &[bool],
    ) -> (Verdict, Vec<Failure>) {
        judge(expected, failures, side("symptom", symptom), side("healthy", healthy), false)
    }

    #[test]
    fn a_cell_is_named_by_its_position() {
        let axes = Axes { mpm: Some(Mpm::Event), ..Axes::default() };
        let id = CellId { scenario: "a".into(), variant: "b".into(), axes };
        assert_eq!(id.to_string(), "a/b[mpm=event]");
        assert_eq!(CellId { axes: Axes::default(), ..id }.to_string(), "a/b");
    }

    #[test]
    fn the_expected_side_decides() {
        let symptom = judged(Expectation::Symptom, vec![], &[true], &[false]);
        assert_eq!(symptom, (Verdict::Reproduced, vec![]));
        let healthy = judged(Expectation::Healthy, vec![], &[false], &[true]);
        assert_eq!(healthy, (Verdict::Healthy, vec![]));
    }

    #[test]
    fn the_other_side_is_named_when_it_holds() {
        let (verdict, failures) = judged(Expectation::Symptom, vec![], &[true, false], &[true]);
        assert_eq!(verdict, Verdict::Unexpected);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].notes, ["every expression of `healthy` holds instead"]);
    }

    #[test]
    fn two_sides_that_both_hold_tell_nothing() {
        for (expected, other) in [(Expectation::Symptom, "/healthy"), (Expectation::Healthy, "/symptom")] {
            let (verdict, failures) = judged(expected, vec![], &[true], &[true]);
            assert_eq!((verdict, failures[0].pointer.as_str()), (Verdict::Unexpected, other));
            let both = || (side("symptom", &[true]), side("healthy", &[true]));
            let (symptom, healthy) = both();
            assert!(judge(expected, vec![], symptom, healthy, true).0.passed(), "the scenario may say why");
        }
        assert!(judged(Expectation::Symptom, vec![], &[true], &[true, false]).0.passed());
    }

    #[test]
    fn failed_steps_spoil_even_a_symptom_that_shows() {
        let failure = Failure::new(FailureKind::Check, "/steps/0/check/status", "status");
        let (verdict, failures) = judged(Expectation::Symptom, vec![failure], &[true], &[]);
        assert_eq!((verdict, failures.len()), (Verdict::Unexpected, 1));
    }

    #[test]
    fn a_symptom_must_be_described() {
        assert_eq!(judged(Expectation::Symptom, vec![], &[], &[]).0, Verdict::Unexpected);
        assert_eq!(judged(Expectation::Healthy, vec![], &[], &[]).0, Verdict::Healthy);
    }

    #[test]
    fn trouble_of_the_harness_is_no_verdict_on_the_scenario() {
        let failure = Failure::new(FailureKind::Infrastructure, "", "no space left");
        assert_eq!(judged(Expectation::Healthy, vec![failure], &[], &[]).0, Verdict::Broken);
    }
}
