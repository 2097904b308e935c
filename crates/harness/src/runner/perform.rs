//! What all kinds of steps have in common: condition, repetition, limits, checks, captures, and the shape of results.

use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::outcome::{Failure, FailureKind};
use super::stacks;
use crate::assertions;
use crate::scenario::Value;
use crate::scenario::expression::Scope;
use crate::scenario::prepared::PreparedStep;
use crate::scenario::schema::{COMMON_MEMBERS, Check, LogFile, Step};
use crate::scenario::template::Places;
use crate::steps::wire::{Connection, Limit};
use crate::steps::{self, Produced, Setting, Stage};

/// The longest time of a step that sets none.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// How long the log's line about an answer may come after it.
const CAUSE: Duration = Duration::from_millis(100);

/// Performs the steps of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Performer<'a> {
    /// The cell's server, files and connections.
    pub stage: &'a Stage,
    /// What short holes are filled with.
    pub places: &'a Places,
}

/// What came of a step, without what only reports need.
#[derive(Debug, Clone, Default)]
pub struct Performed {
    /// The result, as expressions see it.
    pub result: Value,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// The names that were given to parts of the result.
    pub captured: Vec<(String, Value)>,
    /// Whether the condition did not hold.
    pub skipped: bool,
    /// How long it took.
    pub duration: Duration,
    /// A command line that repeats a request.
    pub curl: Option<String>,
}

/// A step with its holes filled, perhaps with an open connection.
pub(crate) struct Ready {
    step: Result<Box<Step>, Failure>,
    opened: Option<Connection>,
}

impl Performer<'_> {
    /// Performs a step with its condition and its repetitions.
    pub fn perform(&self, step: &PreparedStep, scope: &Scope<'_>, limit: Limit<'_>) -> Performed {
        let mut names = scope.child();
        if step.value().to_string().contains("log") {
            names.set("log", logs(self.stage));
        }
        let scope = &names;
        match step.applies(scope) {
            Ok(true) => {}
            Ok(false) => return Performed { result: skipped(step), skipped: true, ..Performed::default() },
            Err(failure) => return broken(step, failure),
        }
        match step.turns(scope, self.places) {
            Err(failure) => broken(step, failure),
            Ok(None) => self.carry_out(step, self.prepare(step, scope, limit, false), scope, limit),
            Ok(Some(turns)) => self.repeat(step, turns.names, scope, limit),
        }
    }

    /// Fills a step's holes and, if asked for, opens its connection.
    pub(crate) fn prepare(&self, step: &PreparedStep, scope: &Scope<'_>, limit: Limit<'_>, open: bool) -> Ready {
        let step = step.resolve(scope, self.places).map(Box::new);
        let action = step.as_ref().ok().and_then(|step| step.action());
        let opened = if open { action.and_then(|action| steps::open(action, self.stage, limit)) } else { None };
        Ready { step, opened }
    }

    /// Runs a step once, with its checks and captures.
    pub(crate) fn carry_out(
        &self,
        prepared: &PreparedStep,
        ready: Ready,
        scope: &Scope<'_>,
        limit: Limit<'_>,
    ) -> Performed {
        self.carry_out_as(prepared, ready, scope, limit, false)
    }

    fn carry_out_as(
        &self,
        prepared: &PreparedStep,
        ready: Ready,
        scope: &Scope<'_>,
        limit: Limit<'_>,
        turn: bool,
    ) -> Performed {
        let step = match ready.step {
            Ok(step) => step,
            Err(failure) => return broken(prepared, failure),
        };
        let Some(action) = step.action() else {
            return broken(
                prepared,
                Failure::new(FailureKind::Infrastructure, &prepared.pointer, "the step has no kind"),
            );
        };
        let own = step.timeout.map_or(STEP_LIMIT, Duration::from);
        let limit = limit.at_most(own);
        let started = Instant::now();
        let log_length = self.stage.error_log_length();
        let setting = Setting { stage: self.stage, performer: self, prepared, scope, limit, opened: ready.opened };
        let mut produced = steps::run(action, setting);
        let duration = produced.duration.unwrap_or_else(|| started.elapsed());
        let mut failures = place(&mut produced, prepared);
        if let Some((member, failure)) = produced.unchecked.take()
            && !step.check.as_ref().is_some_and(|check| check.paths.contains_key(member))
        {
            failures.push(at(failure, prepared));
        }
        // Only the step's own limit counts here: the ends of a wait, of a request's patience and of the cell are others' matters.
        if !failures.is_empty() && started.elapsed() >= own {
            self.explain_expiry(&mut failures);
        }
        let mut result = assemble(prepared, &produced, duration, &failures);
        spread_durations(&mut result);
        // Of a repeated step each turn is checked by itself; `all` and `any` look at the turns together.
        let check = step
            .check
            .as_ref()
            .map(|check| if turn { Check { all: None, any: None, ..check.clone() } } else { check.clone() });
        if let Some(check) = &check {
            failures.extend(assertions::check(check, &result, scope, &format!("{}/check", prepared.pointer)));
            self.explain_status(&mut failures, &result, log_length);
            set_success(&mut result, &failures);
        }
        let mut captured = produced.captured;
        match prepared.captured(&result, scope) {
            Ok(names) => captured.extend(names),
            Err(failure) => {
                failures.push(failure);
                set_success(&mut result, &failures);
            }
        }
        Performed { result, failures, captured, skipped: false, duration, curl: produced.curl }
    }

    fn repeat(
        &self,
        step: &PreparedStep,
        turns: Vec<IndexMap<String, Value>>,
        scope: &Scope<'_>,
        limit: Limit<'_>,
    ) -> Performed {
        let started = Instant::now();
        let mut all = Performed::default();
        let mut results = Vec::new();
        let mut together: Option<Check> = None;
        for names in turns {
            let mut turn = scope.child();
            for (name, value) in names {
                turn.set(name, value);
            }
            let ready = self.prepare(step, &turn, limit, false);
            together = ready.step.as_ref().ok().and_then(|step| step.check.clone());
            let performed = self.carry_out_as(step, ready, &turn, limit, true);
            let ends = step.ends_with(&performed.result, &turn);
            results.push(performed.result);
            let number = results.len() - 1;
            all.failures
                .extend(performed.failures.into_iter().map(|failure| failure.note(format!("repetition {number}"))));
            all.captured.extend(performed.captured);
            all.curl = all.curl.or(performed.curl);
            match ends {
                Ok(false) if limit.check().is_ok() => {}
                Ok(_) => break,
                Err(failure) => {
                    all.failures.push(failure);
                    break;
                }
            }
        }
        all.duration = started.elapsed();
        let mut produced = Produced::with([("results", Value::List(results)), ("elapsed", all.duration.into())]);
        produced.duration = Some(all.duration);
        all.result =
            Value::Record(produced.members.into_iter().chain(common(all.duration, &all.failures, false)).collect());
        spread_durations(&mut all.result);
        if let Some(Check { all: every, any, .. }) = together {
            let check = Check { all: every, any, ..Check::default() };
            all.failures.extend(assertions::check(&check, &all.result, scope, &format!("{}/check", step.pointer)));
            set_success(&mut all.result, &all.failures);
        }
        all
    }

    /// An answer of 500 says nothing about its cause; the log does.
    fn explain_status(&self, failures: &mut [Failure], result: &Value, log_length: u64) {
        let status = result.members().and_then(|members| members.get("status"));
        if !matches!(status, Some(Value::Int(500..=599))) {
            return;
        }
        if let Some(failure) = failures.iter_mut().find(|failure| failure.pointer.ends_with("/check/status"))
            && let Some(cause) = self.stage.exception_since(log_length, CAUSE)
        {
            failure.message = format!("{} ← {cause}", failure.message);
        }
    }

    /// A step whose time was up: what the server's processes were doing then tells more than that.
    fn explain_expiry(&self, failures: &mut [Failure]) {
        let Some(first) = failures.first_mut() else { return };
        first.kind = FailureKind::Timeout;
        if let Ok(stacks) = self.stage.with_server(|server| stacks::dump(server, self.stage)) {
            stacks.explain(first);
        }
    }
}

/// The logs so far, for expressions.
pub(crate) fn logs(stage: &Stage) -> Value {
    Value::record([
        ("error", stage.log_text(LogFile::Error).into()),
        ("access", stage.log_text(LogFile::Access).into()),
        ("console", stage.log_text(LogFile::Console).into()),
    ])
}

/// The failures of a step's own code, at their places.
fn place(produced: &mut Produced, step: &PreparedStep) -> Vec<Failure> {
    let own = std::mem::take(&mut produced.failures).into_iter().map(|failure| at(failure, step));
    own.chain(std::mem::take(&mut produced.inner)).collect()
}

fn at(failure: Failure, step: &PreparedStep) -> Failure {
    Failure { pointer: format!("{}/{}{}", step.pointer, step.kind.name(), failure.pointer), ..failure }
}

/// The members that every result has.
fn common(duration: Duration, failures: &[Failure], skipped: bool) -> IndexMap<String, Value> {
    let value = |name: &str| match name {
        "ok" => Value::Bool(failures.is_empty() && !skipped),
        "duration" => duration.into(),
        "error" => failures.first().map(|failure| failure.message.clone()).into(),
        "skipped" => skipped.into(),
        _ => Value::Null,
    };
    COMMON_MEMBERS.iter().map(|member| (member.name.to_owned(), value(member.name))).collect()
}

/// A result with all members of its kind.
fn assemble(step: &PreparedStep, produced: &Produced, duration: Duration, failures: &[Failure]) -> Value {
    let mut members: IndexMap<String, Value> =
        step.kind.definition().members.iter().map(|member| (member.name.to_owned(), Value::Null)).collect();
    members.extend(produced.members.iter().map(|(name, value)| (name.clone(), value.clone())));
    members.extend(common(duration, failures, false));
    Value::Record(members)
}

/// The durations of a step with several results are theirs, as in `storm.duration.max`; its own is `elapsed`.
fn spread_durations(result: &mut Value) {
    let Value::Record(members) = result else { return };
    let Some(Value::List(results)) = members.get("results") else { return };
    let durations = results.iter().filter_map(|result| result.members()?.get("duration").cloned()).collect();
    members.insert("duration".to_owned(), Value::List(durations));
}

fn set_success(result: &mut Value, failures: &[Failure]) {
    if let Value::Record(members) = result {
        members.insert("ok".to_owned(), failures.is_empty().into());
        members.insert("error".to_owned(), failures.first().map(|failure| failure.message.clone()).into());
    }
}

/// The result of a step that is not done.
pub(crate) fn skipped(step: &PreparedStep) -> Value {
    let nothing = step.kind.definition().members.iter().map(|member| (member.name.to_owned(), Value::Null));
    Value::Record(nothing.chain(common(Duration::ZERO, &[], true)).collect())
}

fn broken(step: &PreparedStep, failure: Failure) -> Performed {
    let failures = vec![failure];
    let result = assemble(step, &Produced::default(), Duration::ZERO, &failures);
    Performed { result, failures, ..Performed::default() }
}
