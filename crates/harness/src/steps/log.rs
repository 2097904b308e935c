//! The log step.

use std::time::{Duration, Instant};

use confgen::httpd::{LogLine, LogTail};
use regex::Regex;

use super::Produced;
use super::stage::Stage;
use super::wire::Limit;
use crate::assertions;
use crate::runner::outcome::{Failure, FailureKind};
use crate::scenario::Value;
use crate::scenario::schema::Log;

/// How long one wait for new lines lasts before the interruption is looked at.
const SLICE: Duration = Duration::from_millis(100);

/// How long lines are waited for where nothing else is said: what writes a log may come later than an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a log must contain, compiled.
struct Wanted<'a> {
    contains: &'a [String],
    matches: Vec<Regex>,
    absent: Vec<Regex>,
    codes: &'a [String],
}

/// Looks into a log. A soft step, whose lines may well be missing, looks once unless it says how long.
pub(super) fn run(step: &Log, soft: bool, stage: &Stage, limit: Limit<'_>) -> Produced {
    let opened = Wanted::new(step).and_then(|wanted| {
        Ok((wanted, stage.log_since(step.file, step.since.as_deref()).map_err(|error| ("/since".to_owned(), error))?))
    });
    let (wanted, mut tail) = match opened {
        Ok(opened) => opened,
        Err((pointer, error)) => {
            let mut produced = members(&[], &[]);
            produced.fail_at(FailureKind::Step, &pointer, error);
            return produced;
        }
    };
    let end = Instant::now()
        + step.within.map_or(if soft { Duration::ZERO } else { PATIENCE }, Duration::from).min(limit.left());
    let mut lines = Vec::new();
    loop {
        if let Err(error) = read(&mut tail, &mut lines, end) {
            let mut produced = members(&lines, &[]);
            produced.fail(FailureKind::Step, format!("cannot read {}: {error}", tail.path().display()));
            return produced;
        }
        let fitting: Vec<&LogLine> = lines.iter().filter(|line| wanted.fits(line)).collect();
        let counted = step.count.as_ref().map(|count| assertions::demand("count", count, &fitting.len().into()));
        let missing = counted.unwrap_or_else(|| wanted.missing(&lines));
        let forbidden = wanted.forbidden(&lines);
        // What must not be there does not go away by waiting; where that is all, it may still come in the time that is given.
        let settled = missing.is_empty() && !wanted.only_absent(step);
        if !settled
            && !missing.is_empty()
            && let Some(fault) = stage.fault()
        {
            let mut produced = members(&lines, &fitting);
            produced.failures = missing;
            ends_early(&mut produced.failures, &fault);
            return produced;
        }
        if settled || !forbidden.is_empty() || Instant::now() >= end || limit.check().is_err() {
            let mut produced = members(&lines, &fitting);
            produced.failures = missing;
            produced.failures.extend(forbidden);
            return produced;
        }
    }
}

/// Says why nothing was waited for any longer.
pub(super) fn ends_early(failures: &mut [Failure], fault: &str) {
    if let Some(first) = failures.first_mut() {
        first.message = format!("{} ← {fault}", first.message);
        first.notes.push("waiting ended early: the log has a fault that fails the cell in any case".to_owned());
    }
}

/// Reads what is there; after the first time, waits for more.
fn read(tail: &mut LogTail, lines: &mut Vec<LogLine>, end: Instant) -> std::io::Result<()> {
    if lines.is_empty() && tail.path().exists() {
        lines.extend(tail.read()?);
        if !lines.is_empty() {
            return Ok(());
        }
    }
    let left = end.saturating_duration_since(Instant::now()).min(SLICE);
    lines.extend(tail.wait_for(left, |_| true)?.1);
    Ok(())
}

fn members(lines: &[LogLine], fitting: &[&LogLine]) -> Produced {
    Produced::with([
        ("lines", Value::List(fitting.iter().map(|line| line.raw.as_str().into()).collect())),
        ("count", fitting.len().into()),
        ("text", lines.iter().map(|line| line.raw.as_str()).collect::<Vec<_>>().join("\n").into()),
    ])
}

impl<'a> Wanted<'a> {
    fn new(step: &'a Log) -> Result<Self, (String, String)> {
        let compile = |key: &str, patterns: &[String]| {
            let compiled = patterns.iter().enumerate().map(|(index, pattern)| {
                Regex::new(pattern).map_err(|error| (format!("/{key}/{index}"), error.to_string()))
            });
            compiled.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            contains: step.contains.as_slice(),
            matches: compile("matches", step.matches.as_slice())?,
            absent: compile("absent", step.absent.as_slice())?,
            codes: step.code.as_slice(),
        })
    }

    /// Whether a line is all that is asked for.
    fn fits(&self, line: &LogLine) -> bool {
        self.contains.iter().all(|text| line.raw.contains(text.as_str()))
            && self.matches.iter().all(|pattern| pattern.is_match(&line.raw))
            && (self.codes.is_empty() || line.code.as_ref().is_some_and(|code| self.codes.contains(code)))
    }

    /// Whether nothing has to come, and something must not within a time.
    fn only_absent(&self, step: &Log) -> bool {
        step.within.is_some()
            && !self.absent.is_empty()
            && self.contains.is_empty()
            && self.matches.is_empty()
            && self.codes.is_empty()
            && step.count.is_none()
    }

    /// What is not there: without a count everything that is named must occur, each on some line.
    fn missing(&self, lines: &[LogLine]) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut absent = |pointer: String, what: String| {
            failures.push(Failure::new(FailureKind::Step, pointer, format!("no line of the log {what}")))
        };
        for (index, text) in self.contains.iter().enumerate() {
            if !lines.iter().any(|line| line.raw.contains(text.as_str())) {
                absent(format!("/contains/{index}"), format!("contains {text:?}"));
            }
        }
        for (index, pattern) in self.matches.iter().enumerate() {
            if !lines.iter().any(|line| pattern.is_match(&line.raw)) {
                absent(format!("/matches/{index}"), format!("matches `{pattern}`"));
            }
        }
        for (index, code) in self.codes.iter().enumerate() {
            if !lines.iter().any(|line| line.code.as_ref() == Some(code)) {
                absent(format!("/code/{index}"), format!("has the code {code}"));
            }
        }
        failures
    }

    fn forbidden(&self, lines: &[LogLine]) -> Vec<Failure> {
        let found = self.absent.iter().enumerate().filter_map(|(index, pattern)| {
            let line = lines.iter().find(|line| pattern.is_match(&line.raw))?;
            Some(
                Failure::new(
                    FailureKind::Step,
                    format!("/absent/{index}"),
                    format!("a line of the log matches `{pattern}`"),
                )
                .note(line.raw.clone()),
            )
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(step: &str, log: &str) -> Vec<String> {
        let step: Log = serde_json::from_str(step).unwrap();
        let lines: Vec<LogLine> = log.lines().map(LogLine::parse).collect();
        let wanted = Wanted::new(&step).unwrap();
        wanted.missing(&lines).into_iter().chain(wanted.forbidden(&lines)).map(|failure| failure.pointer).collect()
    }

    #[test]
    fn what_must_not_come_is_waited_for_where_nothing_has_to() {
        for (step, alone) in [
            (r#"{"absent": "x", "within": "1s"}"#, true),
            (r#"{"absent": "x"}"#, false),
            (r#"{"absent": "x", "within": "1s", "contains": "y"}"#, false),
            (r#"{"absent": "x", "within": "1s", "count": 0}"#, false),
            (r#"{"contains": "y"}"#, false),
        ] {
            let step: Log = serde_json::from_str(step).unwrap();
            assert_eq!(Wanted::new(&step).unwrap().only_absent(&step), alone, "{step:?}");
        }
    }

    #[test]
    fn everything_named_must_occur_and_nothing_forbidden() {
        let log = "[x] [wsgi:error] [pid 1:tid 2] WSGI0105: Could not read\nSyntaxError: x\nother\n";
        assert!(look(r#"{"contains": ["WSGI0105", "SyntaxError"], "code": "WSGI0105", "matches": "^other$", "absent": "Traceback"}"#, log).is_empty());
        assert_eq!(
            look(r#"{"contains": ["nothing", "other"], "code": ["WSGI0001"], "absent": ["x", "Syntax"]}"#, log),
            ["/contains/0", "/code/0", "/absent/0", "/absent/1"]
        );
    }
}
