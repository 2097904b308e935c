//! The report that CI engines read: a suite for each scenario, a case for each cell. It has only what the schema of Jenkins
//! knows: a case's place in its file stands in its message, as there is no attribute for it.

use std::sync::LazyLock;

use confgen::diagnostic::Style;
use indexmap::IndexMap;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use regex::Regex;

use super::Failures;
use crate::runner::outcome::{CellOutcome, Failure, RunOutcome, Verdict};
use crate::runner::plan::Plan;

pub(super) fn render(plan: &Plan, outcome: &RunOutcome) -> Result<String, String> {
    let mut suites: IndexMap<&str, Vec<&CellOutcome>> = IndexMap::new();
    for cell in &outcome.cells {
        suites.entry(cell.id.scenario.as_str()).or_default().push(cell);
    }
    let mut report = Report::new("harness");
    report.set_time(outcome.elapsed);
    for (name, cells) in suites {
        let mut suite = TestSuite::new(name);
        suite.set_time(cells.iter().map(|cell| cell.elapsed).sum());
        let skipped = cells.iter().filter(|cell| cell.verdict == Verdict::Skip).count();
        let file = plan.cells.iter().find(|cell| cell.id.scenario == name).map(|cell| &cell.scenario.file);
        for (attribute, value) in [
            ("skipped", skipped.to_string()),
            ("timestamp", outcome.stamp.started.clone()),
            ("hostname", outcome.stamp.host.clone()),
            ("file", file.map(|file| file.display().to_string()).unwrap_or_default()),
        ] {
            if !value.is_empty() {
                suite.extra.insert(attribute.into(), value.into());
            }
        }
        for (name, value) in outcome.stamp.pairs() {
            suite.add_property((name.as_str(), value.as_str()));
        }
        for cell in cells {
            let mut case = TestCase::new(cell.id.to_string(), status(plan, cell));
            case.set_classname(name);
            case.set_time(cell.elapsed);
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    static DISABLED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(<testsuites? [^>]*?) disabled="[0-9]+""#).expect("a fixed pattern"));
    let text = report.to_string().map_err(|error| error.to_string())?;
    Ok(DISABLED.replace_all(&text, "$1").into_owned())
}

fn status(plan: &Plan, cell: &CellOutcome) -> TestCaseStatus {
    let failed = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        let planned = plan.cells.iter().find(|planned| planned.id == cell.id);
        let place = |failure: &Failure| {
            let span = planned.and_then(|planned| failure.span(&planned.scenario))?;
            Some(format!("{}:{}: ", span.source.name, span.line_column().0))
        };
        let first =
            cell.failures.first().map(|failure| format!("{}{}", place(failure).unwrap_or_default(), failure.message));
        status.set_message(format!("{}: {}", cell.verdict.word(), first.unwrap_or_default()));
        status.set_type(cell.verdict.word());
        if let Some(planned) = planned {
            status.set_description(Failures { style: Style::Plain }.report(planned, cell));
        }
        status
    };
    match cell.verdict {
        Verdict::Reproduced | Verdict::Healthy => TestCaseStatus::success(),
        Verdict::Skip => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(cell.skipped.clone().unwrap_or_default());
            status
        }
        Verdict::Unexpected => failed(NonSuccessKind::Failure),
        Verdict::Broken => failed(NonSuccessKind::Error),
    }
}
