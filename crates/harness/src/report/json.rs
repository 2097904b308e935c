//! The report for programs.

use serde_json::json;

use super::repeat_command;
use crate::runner::outcome::{RunOutcome, Verdict};
use crate::runner::plan::Plan;

pub(super) fn render(plan: &Plan, outcome: &RunOutcome) -> Result<String, String> {
    let mut cells = Vec::new();
    for cell in &outcome.cells {
        let mut json = serde_json::to_value(cell).map_err(|error| error.to_string())?;
        if let (Some(object), Some(planned)) =
            (json.as_object_mut(), plan.cells.iter().find(|planned| planned.id == cell.id))
        {
            let scenario = &planned.scenario;
            object.insert("scenario".to_owned(), json!(cell.id.scenario));
            object.insert("variant".to_owned(), json!(cell.id.variant));
            object.insert("axes".to_owned(), json!(cell.id.axes));
            object.insert("title".to_owned(), json!(scenario.scenario.title));
            object.insert("tags".to_owned(), json!(scenario.scenario.tags));
            object.insert("file".to_owned(), json!(scenario.file));
            object.insert("repeat".to_owned(), json!(repeat_command(planned)));
            let shown = object.get_mut("failures").and_then(serde_json::Value::as_array_mut).into_iter().flatten();
            for (shown, failure) in shown.zip(&cell.failures) {
                if let (Some(span), Some(shown)) = (failure.span(scenario), shown.as_object_mut()) {
                    let (line, column) = span.line_column();
                    shown.insert("file".to_owned(), json!(span.source.name));
                    shown.insert("line".to_owned(), json!(line));
                    shown.insert("column".to_owned(), json!(column));
                }
            }
        }
        cells.push(json);
    }
    let verdicts: serde_json::Map<_, _> =
        [Verdict::Reproduced, Verdict::Healthy, Verdict::Unexpected, Verdict::Broken, Verdict::Skip]
            .into_iter()
            .map(|verdict| (verdict.word().to_owned(), json!(outcome.count(verdict))))
            .collect();
    let report = json!({
        "schema": "harness-report/1",
        "machine": outcome.stamp,
        "summary": {
            "passed": outcome.passed(), "failed": outcome.failed(), "skipped": outcome.skipped(), "not-run": outcome.not_run,
            "verdicts": verdicts, "seconds": outcome.elapsed.as_secs_f64(), "interrupted": outcome.interrupted,
        },
        "cells": cells,
    });
    Ok(format!("{report:#}\n"))
}
