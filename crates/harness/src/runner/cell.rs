//! One cell from start to verdict.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use confgen::httpd::{Instance, LogLine, LogTail, Signal, process};

use super::arrange::{self, Arranged, NotArranged, Refused, Rendered, Surroundings};
use super::audit::Allowed;
use super::bundle;
use super::deaths::{self, Reasons};
use super::event::{Event, Events};
use super::logs;
use super::options::RunOptions;
use super::outcome::{CellOutcome, Failure, FailureKind, StepOutcome, Verdict};
use super::perform::{Performed, Performer, logs as log_texts, skipped as skipped_result};
use super::plan::Cell;
use super::remains;
use super::space;
use super::stacks::{self, Stacks};
use super::stamp::Stamp;
use crate::scenario::Value;
use crate::scenario::prepared::PreparedStep;
use crate::scenario::schema::{LogFile, StartRule, StepKind};
use crate::steps::wire::Limit;
use crate::steps::{Stage, StopSummary};

/// How long a server may take to stop at the end of a cell: longer than the 10 seconds after which httpd kills its own children.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How long the end of a server is waited for that something seems to have asked for.
const DYING: Duration = Duration::from_millis(300);

/// How long programs of steps may take to leave once the server has gone.
const LEAVING: Duration = Duration::from_secs(1);

/// How long a parent that seems to end may take.
const ENDING: Duration = Duration::from_secs(5);

/// Codes of the lines that a parent writes when it ends by SIGTERM or SIGWINCH: of prefork, worker and event.
const ENDS: &[&str] = &["AH00169", "AH00170", "AH00295", "AH00296", "AH00491", "AH00492"];

/// Code of the line that a parent writes when it kills a child.
const KILLS: &str = "AH00046";

/// How much of the error log a report gets.
const TAIL_LINES: usize = 40;

/// How often a held server is looked at.
const HOLD_SLICE: Duration = Duration::from_millis(100);

/// What running a cell needs beside the cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) surroundings: Surroundings<'a>,
    pub(super) stamp: &'a Stamp,
    pub(super) options: &'a RunOptions,
    pub(super) events: &'a Events,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) cancelled: &'a AtomicBool,
    /// Raised by the cell that finds no room on the disk.
    pub(super) exhausted: &'a AtomicBool,
    pub(super) deadline: Option<Instant>,
}

/// What has come of a cell so far.
#[derive(Default)]
struct Record {
    failures: Vec<Failure>,
    steps: Vec<StepOutcome>,
    server: Duration,
    log_tail: Vec<String>,
}

impl Context<'_> {
    fn limit(&self, cell: &Cell, started: Instant) -> Limit<'_> {
        let own = started + cell.timeout;
        Limit::new(self.deadline.map_or(own, |deadline| deadline.min(own)), self.interrupted).or_when(self.cancelled)
    }
}

/// Runs a cell; nothing comes of one that was interrupted. `on_hold` is called when its server is kept for somebody to look at.
pub(super) fn run(context: &Context<'_>, index: usize, cell: &Cell, on_hold: &dyn Fn()) -> Option<CellOutcome> {
    let started = Instant::now();
    let limit = context.limit(cell, started);
    context.events.send(Event::CellStarted { cell: index });
    let mut record = Record::default();
    let arranged = arrange::arrange(cell, &context.surroundings, limit, false);
    let mut arranged = match arranged {
        Ok(arranged) => arranged,
        Err(_) if limit.is_interrupted() => return None,
        Err(NotArranged::Refused(mut refused)) if cell.start == StartRule::MayFail => {
            let verdict = judge_refusal(cell, &refused, &mut record);
            return conclude(context, cell, record, verdict, started, Some(&mut refused.rendered));
        }
        Err(error) => {
            let (failures, mut rendered) = error.into_parts();
            record.failures = failures;
            let verdict = without_expectations(&record.failures);
            return conclude(context, cell, record, verdict, started, rendered.as_mut());
        }
    };
    record.server = arranged.started_in;
    context.events.send(Event::ServerReady { cell: index, url: arranged.url.clone(), after: arranged.started_in });
    act(context, index, cell, &mut arranged, &mut record, limit, started);
    if limit.is_interrupted() {
        return None;
    }
    let mut held = Duration::ZERO;
    // A server that a step has stopped, or that has died, cannot be looked at.
    if context.options.hold_on_failure
        && arranged.stage.with_server(Instance::is_alive).unwrap_or(false)
        && let Some(failures) = failing(cell, &arranged, &record)
    {
        let began = Instant::now();
        on_hold();
        let failed = record.steps.iter().rev().find(|step| !step.failures.is_empty());
        let request = failed.and_then(|step| step.curl.clone());
        hold(context, index, &arranged, request, failures);
        held = began.elapsed();
    }
    let stopped = stop(&arranged, &mut record);
    let verdict = decide(cell, &mut arranged, &mut record, stopped.as_ref());
    conclude(context, cell, record, verdict, started + held, Some(&mut arranged.rendered))
}

/// The verdict on a cell whose server refused to start: its steps are not done, its expressions judge what httpd said. The
/// log's errors are the refusal itself.
fn judge_refusal(cell: &Cell, refused: &Refused, record: &mut Record) -> Verdict {
    let Refused { scope, rendered, log, status, .. } = refused;
    let mut scope = scope.child();
    for step in &cell.steps {
        for name in step.captured_names() {
            scope.set(name, Value::Null);
        }
        if let Some(id) = &step.id {
            scope.set(id.clone(), skipped_result(step));
        }
    }
    record.log_tail.clone_from(log);
    let mut failures = remains::failures(rendered.root.path(), None, &cell.launch);
    // A crash is no refusal.
    if let Some(signal) = status.signal()
        && cell.allow_death.iter().all(|named| named.signal() as i32 != signal)
    {
        let message = format!("the server died of SIG{} while it started", deaths::signal_name(signal));
        failures.insert(0, Failure::new(FailureKind::Death, "/server", message));
    }
    let (verdict, failures) = cell.judge(failures, &scope);
    record.failures = failures;
    verdict
}

/// Performs the steps until one fails the cell.
fn act(
    context: &Context<'_>,
    index: usize,
    cell: &Cell,
    arranged: &mut Arranged,
    record: &mut Record,
    limit: Limit<'_>,
    started: Instant,
) {
    let Arranged { stage, places, scope, .. } = arranged;
    for (number, step) in cell.steps.iter().enumerate() {
        context.events.send(Event::StepStarted {
            cell: index,
            step: number,
            kind: step.kind,
            name: step.name().map(str::to_owned),
        });
        if let Some(id) = &step.id {
            stage.mark(id);
        }
        let at = started.elapsed();
        let performed = Performer { stage, places }.perform(step, scope, limit);
        if limit.is_interrupted() {
            return;
        }
        for (name, value) in &performed.captured {
            scope.set(name.clone(), value.clone());
        }
        if let Some(id) = &step.id {
            scope.set(id.clone(), performed.result.clone());
        }
        let outcome = outcome(number, step, at, performed);
        let fails = outcome.fails_cell();
        if fails {
            record.failures.extend(outcome.failures.iter().cloned());
        }
        context.events.send(Event::StepFinished { cell: index, step: number, outcome: Arc::new(outcome.clone()) });
        record.steps.push(outcome);
        // Why a step failed may show a moment later: the parent takes its time to end.
        let patience = if fails { DYING } else { Duration::ZERO };
        if let Some(failure) = unasked_end(stage, &step.pointer, patience) {
            record.failures.insert(0, failure);
            return;
        }
        if limit.left().is_zero() {
            let mut failure = Failure::new(FailureKind::Timeout, &step.pointer, expiry(context, cell));
            let stacks = stage.with_server(|server| stacks::dump(server, stage));
            stacks.unwrap_or_default().explain(&mut failure);
            // It is the cause of what the step complains of.
            record.failures.insert(0, failure);
            return;
        }
        if fails {
            return;
        }
    }
}

/// Which time was up.
fn expiry(context: &Context<'_>, cell: &Cell) -> String {
    match context.deadline {
        Some(deadline) if Instant::now() >= deadline => "the time of the whole run was up".to_owned(),
        _ => format!("the cell took longer than {:?}", cell.timeout),
    }
}

fn outcome(index: usize, step: &PreparedStep, started: Duration, performed: Performed) -> StepOutcome {
    StepOutcome {
        index,
        pointer: step.pointer.clone(),
        kind: step.kind,
        id: step.id.clone(),
        title: step.title.clone(),
        soft: step.soft,
        skipped: performed.skipped,
        started,
        duration: performed.duration,
        result: performed.result,
        failures: performed.failures,
        curl: performed.curl,
    }
}

/// The end of the server, if no step asked for it: it has ended already, or it is about to.
fn unasked_end(stage: &Stage, pointer: &str, patience: Duration) -> Option<Failure> {
    if stage.asked_to_end() {
        return None;
    }
    if !patience.is_zero() {
        // One that was stopped by a step is no server any more.
        let _ = stage.with_server(|server| wait_for_end(server, patience));
    }
    let message = match stage.has_died() {
        Some(status) => format!("the server died during this step ({status})"),
        None => {
            let pending = stage.with_server(|server| process::is_pending(server.pid(), Signal::SIGTERM)).ok()?;
            if !pending {
                return None;
            }
            "the server is about to end: its parent process got SIGTERM".to_owned()
        }
    };
    Some(Failure::new(FailureKind::Death, pointer, message).note("no step asked for the end of the server"))
}

/// Waits for the end of the parent. It takes some time over its children; as long as fewer are there than at first, or it or one
/// of them is busy, more than a moment is waited: prefork says that it ends only when its children have ended.
fn wait_for_end(server: &Instance, patience: Duration) {
    let began = Instant::now();
    let living =
        || server.children().into_iter().filter(|stat| !stat.is_zombie()).map(|stat| stat.pid).collect::<Vec<_>>();
    let before = living();
    let ends = || {
        let now = living();
        now.is_empty()
            || now.len() < before.len()
            || now.iter().chain([&server.pid()]).any(|pid| !process::is_asleep(*pid))
            || process::is_pending(server.pid(), Signal::SIGTERM)
    };
    while !server.handle().wait(HOLD_SLICE / 4) && (began.elapsed() < patience || (began.elapsed() < ENDING && ends()))
    {
    }
}

/// Whether the last thing that was done may have sent a signal to the parent, of which nothing shows yet.
fn ran_a_program(record: &Record) -> bool {
    record.steps.last().is_some_and(|step| !step.skipped && matches!(step.kind, StepKind::Exec))
}

/// The line that the parent writes when it ends, if it stands there before the harness asked for the end.
fn announced_end(stage: &Stage) -> Option<Failure> {
    let lines = LogTail::from_start(stage.log_path(LogFile::Error)).read().unwrap_or_default();
    let line = lines.into_iter().find(|line| line.code.as_deref().is_some_and(|code| ENDS.contains(&code)))?;
    let failure = Failure::new(FailureKind::Death, "", "the server ended while its steps were done");
    Some(failure.note(line.raw).note("no step asked for the end of the server"))
}

/// Why the cell will not end as expected, as far as can be said while its server runs.
fn failing(cell: &Cell, arranged: &Arranged, record: &Record) -> Option<Vec<Failure>> {
    if !record.failures.is_empty() {
        return Some(record.failures.clone());
    }
    let mut scope = arranged.scope.child();
    scope.set("log", log_texts(&arranged.stage));
    let (verdict, failures) = cell.judge(Vec::new(), &scope);
    (!verdict.passed()).then_some(failures)
}

/// Keeps the server until the run is interrupted or its time is up, or until somebody ends the server.
fn hold(context: &Context<'_>, index: usize, arranged: &Arranged, request: Option<String>, failures: Vec<Failure>) {
    let (url, dir) = (arranged.url.clone(), arranged.rendered.root.path().to_owned());
    let parent = arranged.stage.parent();
    context.events.send(Event::Held { cell: index, url, dir, parent, request, failures: Arc::new(failures) });
    // Whoever looks at it may end it as well: that is no failure of the cell.
    arranged.stage.sends(parent, Signal::SIGTERM);
    while !context.interrupted.load(Ordering::Relaxed)
        && context.deadline.is_none_or(|deadline| Instant::now() < deadline)
        && arranged.stage.with_server(Instance::is_alive).unwrap_or(false)
    {
        std::thread::sleep(HOLD_SLICE);
    }
}

/// Stops the server unless a step has done so.
fn stop(arranged: &Arranged, record: &mut Record) -> Option<StopSummary> {
    if let Some(report) = arranged.stage.take_stop_report() {
        record.server += report.duration;
        return Some(StopSummary {
            duration: report.duration,
            status: report.status,
            forced: report.forced,
            leaks: report.leaks,
            asked: report.asked,
            deaths: report.deaths,
        });
    }
    if !arranged.stage.asked_to_end() {
        let last = record.steps.last().map_or("", |step| step.pointer.as_str()).to_owned();
        let patience = if ran_a_program(record) { DYING } else { Duration::ZERO };
        let ended = unasked_end(&arranged.stage, &last, patience).or_else(|| announced_end(&arranged.stage));
        if record.failures.iter().all(|failure| failure.kind != FailureKind::Death) {
            record.failures.extend(ended);
        }
    }
    let mut stacks = Stacks::default();
    let stopped = arranged.stage.stop_with(Signal::SIGTERM, STOP_LIMIT, |server| {
        stacks = stacks::dump(server, &arranged.stage);
    });
    match stopped {
        Ok(summary) => {
            record.server += summary.duration;
            if summary.forced {
                let mut failure = Failure::new(
                    FailureKind::Leak,
                    "",
                    format!("the server did not stop within {STOP_LIMIT:?} and was killed"),
                );
                stacks.explain(&mut failure);
                record.failures.push(failure);
            }
            Some(summary)
        }
        Err(error) => {
            record.failures.push(Failure::new(FailureKind::Infrastructure, "", error));
            None
        }
    }
}

/// The verdict, once nothing more can happen.
fn decide(cell: &Cell, arranged: &mut Arranged, record: &mut Record, stopped: Option<&StopSummary>) -> Verdict {
    record.failures.extend(remains::failures(arranged.rendered.root.path(), stopped, &cell.launch));
    for leak in arranged.leftovers.end(LEAVING) {
        let message = format!("process {} ({}), which a step has started, was still there", leak.pid, leak.command);
        record.failures.push(Failure::new(FailureKind::Leak, "", message));
    }
    let failed_steps = record.steps.iter().any(StepOutcome::fails_cell) || record.steps.len() < cell.steps.len();
    let allowed = Allowed::new(&cell.allow_log);
    let main = arranged.stage.log_path(LogFile::Error).to_owned();
    let mut lines: Vec<LogLine> = Vec::new();
    let mut everything: Vec<LogLine> = Vec::new();
    for path in logs::error_logs(&arranged.rendered.tree, &main) {
        let read = match LogTail::from_start(&path).read_all() {
            Ok(read) => read,
            Err(error) => {
                let message = format!("cannot read the log {}: {error}", path.display());
                record.failures.push(Failure::new(FailureKind::Infrastructure, "", message));
                continue;
            }
        };
        for failure in allowed.unexpected(&read) {
            let of = (path != main).then(|| format!("in {}", path.display()));
            record.failures.push(of.into_iter().fold(failure, Failure::note));
        }
        everything.extend(read.iter().cloned());
        if path == main {
            lines = read;
        }
    }
    let dead = record.failures.iter().any(|failure| failure.kind == FailureKind::Death);
    let reasons = Reasons {
        parent: arranged.stage.parent(),
        parent_reported: dead,
        sent: &arranged.stage.sent(),
        named: &cell.allow_death,
        allowed: &allowed,
        lines: &everything,
    };
    let unexpected = reasons.unexpected(stopped);
    // The cause stands before what followed from it: httpd kills a child that does not come to its end.
    let slow = record.failures.first().is_some_and(|failure| failure.kind == FailureKind::Timeout);
    let killed = everything.iter().any(|line| line.code.as_deref() == Some(KILLS));
    let position = usize::from(dead || (slow && killed));
    record.failures.splice(position..position, unexpected);
    record.log_tail = lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| line.raw.clone()).collect();
    arranged.scope.set("log", log_texts(&arranged.stage));
    if failed_steps {
        // What was not done cannot show anything; its expressions would only hide the cause.
        return without_expectations(&record.failures);
    }
    let (verdict, failures) = cell.judge(std::mem::take(&mut record.failures), &arranged.scope);
    record.failures = failures;
    verdict
}

/// The verdict of a cell that did not come to its expressions.
fn without_expectations(failures: &[Failure]) -> Verdict {
    if failures.iter().any(|failure| failure.kind == FailureKind::Infrastructure) {
        Verdict::Broken
    } else {
        Verdict::Unexpected
    }
}

fn conclude(
    context: &Context<'_>,
    cell: &Cell,
    mut record: Record,
    mut verdict: Verdict,
    started: Instant,
    rendered: Option<&mut Rendered>,
) -> Option<CellOutcome> {
    if let Some(exhausted) = space::exhausted(context.surroundings.work, &record.failures) {
        // One message is enough: of cells that ran at the same time nothing is said.
        if context.exhausted.swap(true, Ordering::SeqCst) {
            return None;
        }
        record.failures.retain(|failure| failure.kind != FailureKind::Infrastructure);
        record.failures.insert(0, exhausted);
        verdict = Verdict::Broken;
    }
    let mut outcome = CellOutcome {
        id: cell.id.clone(),
        expected: cell.expected,
        verdict,
        skipped: None,
        failures: record.failures,
        steps: record.steps,
        elapsed: Duration::ZERO,
        server: record.server,
        log_tail: record.log_tail,
        folder: None,
        artifacts: None,
    };
    if let Some(folder) = context.options.artifacts.as_deref().filter(|_| verdict.failed()) {
        outcome.artifacts = keep(folder, cell, &mut outcome, context.stamp, rendered.as_deref());
    }
    if let Some(rendered) = rendered.filter(|_| context.options.keep && verdict.failed()) {
        outcome.folder = Some(rendered.root.keep().to_owned());
    }
    outcome.elapsed = started.elapsed();
    Some(outcome)
}

fn keep(
    folder: &Path,
    cell: &Cell,
    outcome: &mut CellOutcome,
    stamp: &Stamp,
    rendered: Option<&Rendered>,
) -> Option<std::path::PathBuf> {
    match bundle::write(folder, cell, outcome, stamp, rendered) {
        Ok(path) => Some(path),
        Err(error) => {
            // The cell has failed already; that its bundle is missing too is worth a line, not another verdict.
            if let Some(failure) = outcome.failures.last_mut() {
                failure.notes.push(format!("cannot write artifacts to {}: {error}", folder.display()));
            }
            None
        }
    }
}

/// The outcome of a cell that is not run.
pub(super) fn skipped(cell: &Cell, reason: &str) -> CellOutcome {
    CellOutcome {
        id: cell.id.clone(),
        expected: cell.expected,
        verdict: Verdict::Skip,
        skipped: Some(reason.to_owned()),
        failures: Vec::new(),
        steps: Vec::new(),
        elapsed: Duration::ZERO,
        server: Duration::ZERO,
        log_tail: Vec::new(),
        folder: None,
        artifacts: None,
    }
}

/// The outcome of a cell whose run ended in a panic of the harness.
pub(super) fn panicked(cell: &Cell, message: &str, elapsed: Duration) -> CellOutcome {
    let failure = Failure::new(FailureKind::Infrastructure, "", format!("the harness itself failed: {message}"))
        .operand("cell", Value::from(cell.id.to_string()));
    CellOutcome { verdict: Verdict::Broken, skipped: None, failures: vec![failure], elapsed, ..skipped(cell, "") }
}
