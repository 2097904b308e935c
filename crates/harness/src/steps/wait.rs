//! The wait step.

use std::time::{Duration, Instant};

use super::{Produced, Setting};
use crate::runner::outcome::{Failure, FailureKind};
use crate::scenario::Value;
use crate::scenario::schema::Wait;

/// The pause between two attempts.
const EVERY: Duration = Duration::from_millis(50);

/// How often the log is searched for a fault that makes waiting useless.
const LOOK: Duration = Duration::from_secs(1);

/// How many attempts a failure shows, from the last one backwards.
const SHOWN: usize = 20;

/// Repeats a step until it succeeds.
pub(super) fn run(step: &Wait, setting: &Setting<'_>) -> Produced {
    let began = Instant::now();
    let limit = setting.limit.at_most(step.within.into());
    let every = step.every.map_or(EVERY, Duration::from);
    let Some(inner) = setting.prepared.nested.first() else {
        return Produced::failed(FailureKind::Infrastructure, "there is no step to wait for".to_owned());
    };
    let mut timeline: Vec<(Duration, String)> = Vec::new();
    let mut attempts = 0_u32;
    let mut looked = Instant::now();
    loop {
        let at = began.elapsed();
        let performed = setting.performer.perform(inner, setting.scope, limit);
        attempts += 1;
        let Some(failure) = performed.failures.first() else {
            let mut produced = produce(&performed.result, attempts, performed.curl);
            produced.captured = performed.captured;
            return produced;
        };
        timeline.push((at, describe(failure)));
        // What cannot be evaluated now cannot be evaluated later either.
        let hopeless = failure.kind == FailureKind::Expression;
        let fault = if looked.elapsed() >= LOOK {
            looked = Instant::now();
            setting.stage.fault()
        } else {
            None
        };
        if hopeless || fault.is_some() || limit.pause(every).is_err() {
            let mut produced = produce(&performed.result, attempts, performed.curl);
            let mut failure = failure.clone();
            if let Some(fault) = &fault {
                super::log::ends_early(std::slice::from_mut(&mut failure), fault);
                failure.notes.extend(notes(&timeline));
            } else if !hopeless {
                failure.message = format!("not within {}: {}", step.within, failure.message);
                failure.notes.extend(notes(&timeline));
            }
            produced.inner.push(failure);
            return produced;
        }
    }
}

fn describe(failure: &Failure) -> String {
    let operands: Vec<String> =
        failure.operands.iter().map(|operand| format!("{} = {}", operand.label, operand.value)).collect();
    if operands.is_empty() { failure.message.clone() } else { format!("{} ({})", failure.message, operands.join(", ")) }
}

/// The attempts, equal ones in a row counted.
fn notes(timeline: &[(Duration, String)]) -> Vec<String> {
    let mut notes: Vec<(Duration, &str, usize)> = Vec::new();
    for (at, text) in timeline {
        match notes.last_mut() {
            Some((_, last, count)) if *last == text => *count += 1,
            _ => notes.push((*at, text, 1)),
        }
    }
    let start = notes.len().saturating_sub(SHOWN);
    notes[start..]
        .iter()
        .map(|(at, text, count)| {
            format!(
                "after {at:.0?}: {text}{}",
                if *count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
            )
        })
        .collect()
}

/// The members of the last attempt, and those of the waiting.
fn produce(last: &Value, attempts: u32, curl: Option<String>) -> Produced {
    let mut produced = Produced { curl, ..Produced::default() };
    for (name, value) in last.members().into_iter().flatten() {
        produced.members.insert(name.clone(), value.clone());
    }
    produced.members.insert("attempts".to_owned(), attempts.into());
    produced.members.insert("last".to_owned(), last.clone());
    produced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_attempts_are_counted() {
        let timeline: Vec<_> = ["a", "a", "b", "a"]
            .into_iter()
            .enumerate()
            .map(|(index, text)| (Duration::from_millis(index as u64 * 50), text.to_owned()))
            .collect();
        assert_eq!(notes(&timeline), ["after 0ns: a (and 1 more)", "after 100ms: b", "after 150ms: a"]);
    }
}
