//! What a failed cell looks like.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use confgen::diagnostic::Style;
use harness::assertions;
use harness::report::{Failures, Lines, Reporter, summary};
use harness::runner::event::Event;
use harness::runner::history::History;
use harness::runner::outcome::{CellOutcome, Failure, FailureKind, RunOutcome, Verdict};
use harness::runner::plan::{Plan, Selection, plan};
use harness::runner::stamp::Stamp;
use harness::scenario::expression::Scope;
use harness::scenario::load::load_text;
use harness::scenario::schema::Check;
use harness::scenario::value::Value;

use crate::machine::machine;

const SCENARIO: &str = r#"schema: harness/1
id: tz-last-wins
title: TZ leaks between sub-interpreters of one process
matrix: {mpm: [event, worker]}
variants:
  problem: {expect: symptom}
  workaround: {expect: healthy}
steps:
  - {id: ny, http: {get: /newyork}, check: {status: 200, json: {env: America/New_York}, header: {Content-Type: text/html}}}
  - id: tokyo
    http: {get: /tokyo}
    check: {duration: "< 500ms", body: {contains: Tokyo}}
symptom: [tokyo.json.pid == ny.json.pid, tokyo.json.hour == ny.json.hour]
healthy: [tokyo.json.pid != ny.json.pid, tokyo.json.hour == 9 and ny.json.hour == 19]
"#;

fn planned() -> Plan {
    let scenario = load_text(Path::new("scenarios/tz-last-wins/scenario.yaml"), SCENARIO.to_owned(), None).unwrap();
    plan(&[Arc::new(scenario)], &machine(), &Selection::default(), &History::default()).unwrap()
}

fn result(status: i64, pid: i64, hour: i64) -> Value {
    let json = serde_json::json!({"env": "Asia/Tokyo", "pid": pid, "hour": hour});
    Value::record([
        ("ok", true.into()),
        ("status", status.into()),
        ("header", Value::from(&serde_json::json!({"content-type": "application/json"}))),
        ("body", json.to_string().into()),
        ("json", Value::from(&json)),
        ("duration", Value::Duration(734_000_000)),
    ])
}

/// A cell's outcome with these failures, judged as after a run.
fn outcome(plan: &Plan, cell: usize, failures: Vec<Failure>) -> CellOutcome {
    let planned = &plan.cells[cell];
    let mut scope = Scope::new();
    scope.set("tokyo", result(200, 11, 8));
    scope.set("ny", result(200, 12, 19));
    let (verdict, failures) = planned.judge(failures, &scope);
    CellOutcome {
        id: planned.id.clone(),
        expected: planned.expected,
        verdict,
        skipped: None,
        failures,
        steps: Vec::new(),
        elapsed: Duration::from_millis(412),
        server: Duration::from_millis(40),
        log_tail: vec!["[wsgi:error] WSGI0174: Exception".to_owned(), "with a \u{1b}[31mcolour".to_owned()],
        folder: None,
        artifacts: None,
    }
}

#[test]
fn conditions_that_do_not_hold() {
    let plan = planned();
    let cells: Vec<_> = [0, 2]
        .map(|cell| Failures { style: Style::Plain }.cell(&plan.cells[cell], &outcome(&plan, cell, Vec::new())))
        .into();
    insta::assert_snapshot!(cells.join("\n"));
}

#[test]
fn checks_that_do_not_hold() {
    let plan = planned();
    let mut failures = Vec::new();
    for (index, result) in [result(500, 1, 1), result(200, 1, 1)].iter().enumerate() {
        let step = &plan.cells[0].steps[index];
        let check: Check = serde_json::from_value(step.value()["check"].clone()).unwrap();
        failures.extend(assertions::check(&check, result, &Scope::new(), &format!("{}/check", step.pointer)));
    }
    failures.push(
        Failure::new(FailureKind::Log, "", "an error in the log that the scenario does not allow")
            .note("WSGI0147: line"),
    );
    insta::assert_snapshot!(Failures { style: Style::Plain }.report(&plan.cells[0], &outcome(&plan, 0, failures)));
}

#[test]
fn a_failed_cell_takes_a_screen() {
    let plan = planned();
    let failures = |count: usize, notes: usize| -> Vec<Failure> {
        let failure = |index| {
            let failure =
                Failure::new(FailureKind::Check, "/steps/0/check/status", format!("status is {index}, not 200"));
            (0..notes).fold(failure, |failure, note| failure.note(format!("note {note}\nof two lines")))
        };
        (0..count).map(failure).collect()
    };
    for (count, notes) in [(1, 0), (1, 200), (2, 0), (2, 200), (3, 1), (4, 0), (40, 0), (400, 7)] {
        let mut outcome = outcome(&plan, 0, failures(count, notes));
        outcome.failures.truncate(count);
        outcome.log_tail = (0..40).map(|line| format!("line {line} of the log")).collect();
        let shown = Failures { style: Style::Plain };
        let mut text = Vec::new();
        let event = Event::CellFinished { cell: 0, outcome: Arc::new(outcome.clone()) };
        Lines::new(&mut text, Style::Plain).event(&plan, &event).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines = text.trim_end().lines().count();
        assert!(lines <= 24, "{count} failures with {notes} notes: {lines} lines\n{text}");
        for part in ["status is 0, not 200", "scenario.yaml:9:53", "line 39 of the log", "repeat:"] {
            assert!(text.contains(part), "{count} failures with {notes} notes: no {part} in\n{text}");
        }
        let named = text.matches(", not 200").count();
        assert!(named >= count.min(2), "{count} failures with {notes} notes: {named} are named\n{text}");
        assert_eq!(text.contains("--artifacts DIR keeps everything"), notes > 7 || count > 4, "{text}");
        let report = shown.report(&plan.cells[0], &outcome);
        assert!(
            report.lines().count() <= 400 && (count > 40 || report.contains(&format!("status is {}, ", count - 1)))
        );
    }
}

#[test]
fn lines_and_summary() {
    let plan = planned();
    let mut cells: Vec<CellOutcome> = (0..4).map(|cell| outcome(&plan, cell, Vec::new())).collect();
    for (cell, verdict) in cells.iter_mut().zip([Verdict::Reproduced, Verdict::Healthy, Verdict::Skip]) {
        cell.verdict = verdict;
        cell.failures.clear();
    }
    cells[2].skipped = Some("must run as root".to_owned());
    let run = RunOutcome {
        stamp: Stamp::default(),
        cells,
        elapsed: Duration::from_millis(1500),
        interrupted: false,
        not_run: 0,
    };
    let mut text = Vec::new();
    let mut lines = Lines::new(&mut text, Style::Plain);
    for (cell, outcome) in run.cells.iter().enumerate() {
        lines.event(&plan, &Event::CellFinished { cell, outcome: Arc::new(outcome.clone()) }).unwrap();
    }
    let text = String::from_utf8(text).unwrap() + &summary(&plan, &run, Style::Plain);
    assert!(text.ends_with("\n2 passed, 1 failed, 1 skipped\n"), "{text}");
    insta::assert_snapshot!(text);
}
