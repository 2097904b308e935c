//! The report that CI engines read: a suite for each scenario, a case for each cell.

use confgen::diagnostic::Style;
use indexmap::IndexMap;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Failures;
use crate::runner::outcome::{CellOutcome, RunOutcome, Verdict};
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
        for cell in cells {
            let mut case = TestCase::new(cell.id.to_string(), status(plan, cell));
            case.set_classname(name);
            case.set_time(cell.elapsed);
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| error.to_string())
}

fn status(plan: &Plan, cell: &CellOutcome) -> TestCaseStatus {
    let failed = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        let first = cell.failures.first().map(|failure| failure.message.as_str()).unwrap_or_default();
        status.set_message(format!("{}: {first}", cell.verdict.word()));
        status.set_type(cell.verdict.word());
        if let Some(planned) = plan.cells.iter().find(|planned| planned.id == cell.id) {
            status.set_description(Failures { style: Style::Plain }.cell(planned, cell));
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
