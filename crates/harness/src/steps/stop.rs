//! The stop step.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::stage::Stage;
use super::wire::Limit;
use super::{Produced, signal};
use crate::runner::outcome::FailureKind;
use crate::scenario::Value;
use crate::scenario::schema::Stop;

/// How long a server may take to stop.
const WITHIN: Duration = Duration::from_secs(10);

/// Stops the server.
pub(super) fn run(step: &Stop, stage: &Stage, limit: Limit<'_>) -> Produced {
    let nothing =
        || Produced::with([("exit", Value::Null), ("signal", Value::Null), ("killed", Value::List(Vec::new()))]);
    let signal = match signal::parse(step.signal.as_deref().unwrap_or("TERM")) {
        Ok(signal) => signal,
        Err(error) => {
            let mut produced = nothing();
            produced.fail_at(FailureKind::Step, "/signal", error);
            return produced;
        }
    };
    let within = step.within.map_or(WITHIN, Duration::from).min(limit.left());
    let report = match stage.stop(signal, within) {
        Ok(report) => report,
        Err(error) => {
            let mut produced = nothing();
            produced.fail(FailureKind::Step, error);
            return produced;
        }
    };
    let killed: Vec<Value> = if report.forced {
        vec![stage.parent().into()]
    } else {
        report.leaks.iter().map(|leak| leak.pid.into()).collect()
    };
    let mut produced = Produced::with([
        ("exit", report.status.and_then(|status| status.code()).into()),
        ("signal", report.status.and_then(|status| status.signal()).into()),
        ("killed", Value::List(killed)),
    ]);
    produced.duration = Some(report.duration);
    if report.forced {
        produced.fail(FailureKind::Timeout, format!("the server had not stopped within {within:?} and was killed"));
    }
    produced
}
