//! A plan from start to end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use confgen::httpd::Instance;

use super::arrange::{self, Surroundings};
use super::cell::{self, Context};
use super::event::{Event, Events};
use super::options::RunOptions;
use super::outcome::{CellOutcome, Failure, RunOutcome};
use super::plan::{Cell, Plan};
use super::schedule::{Entry, Schedule};
use super::stamp::Stamp;
use crate::steps::wire::Limit;

/// How often a server that is kept up is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Runs a plan. What happens is told as events; the outcome is returned too.
pub fn run(plan: &Plan, surroundings: Surroundings<'_>, options: &RunOptions, events: &Events) -> RunOutcome {
    let started = Instant::now();
    let stamp = Stamp::of(surroundings.machine, surroundings.facts);
    let jobs = options.jobs.max(1);
    events.send(Event::RunStarted { jobs });
    let results: Mutex<Vec<Option<CellOutcome>>> = Mutex::new(vec![None; plan.cells.len()]);
    let finish = |index: usize, outcome: CellOutcome| {
        events.send(Event::CellFinished { cell: index, outcome: Arc::new(outcome.clone()) });
        if let Some(slot) = results.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *slot = Some(outcome);
        }
    };
    for (index, planned) in plan.cells.iter().enumerate() {
        if let Some(reason) = &planned.skip {
            finish(index, cell::skipped(planned, reason));
        }
    }
    let entries = plan
        .order
        .iter()
        .filter_map(|&index| plan.cells.get(index).map(|planned| Entry { cell: index, exclusive: planned.exclusive }));
    let schedule = Schedule::new(entries, jobs);
    let interrupted = options.interrupt.flag();
    let (cancelled, exhausted) = (AtomicBool::new(false), AtomicBool::new(false));
    let context = Context {
        surroundings,
        stamp: &stamp,
        options,
        events,
        interrupted: &interrupted,
        cancelled: &cancelled,
        exhausted: &exhausted,
        deadline: options.timeout.map(|timeout| started + timeout),
    };
    let course = Course { context: &context, plan, schedule: &schedule, finish: &finish };
    std::thread::scope(|threads| {
        // Threads that live as long as the run: the servers they start are tied to them.
        for number in 0..jobs.min(plan.order.len()) {
            if spawn(threads, &course).is_err() {
                // With fewer workers the run only takes longer; with none it is done here.
                if number == 0 {
                    course.work(&|| ());
                }
                break;
            }
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cells: Vec<CellOutcome> = results.into_iter().flatten().collect();
    let not_run = plan.cells.len() - cells.len();
    // An interrupt that only ended the servers which were kept after a failure has interrupted no cell.
    let (elapsed, interrupted) = (started.elapsed(), options.interrupt.is_raised() && not_run > 0);
    let outcome = RunOutcome { stamp, cells, elapsed, interrupted, not_run };
    events.send(Event::RunFinished { outcome: Arc::new(outcome.clone()) });
    outcome
}

/// What all workers share.
struct Course<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    schedule: &'a Schedule,
    finish: &'a (dyn Fn(usize, CellOutcome) + Sync),
}

/// Starts a worker. One that keeps a server after a failure is replaced by another one.
fn spawn<'scope, 'env>(
    threads: &'scope std::thread::Scope<'scope, 'env>,
    course: &'env Course<'env>,
) -> std::io::Result<()> {
    let another = move || {
        // Without it, the other workers go on.
        let _ = spawn(threads, course);
    };
    let worker = move || course.work(&another);
    std::thread::Builder::new().name("cell worker".to_owned()).spawn_scoped(threads, worker).map(drop)
}

impl Course<'_> {
    /// Runs cells until there are none left for this worker. `replace` starts another worker.
    fn work(&self, replace: &dyn Fn()) {
        let Self { context, plan, schedule, finish } = self;
        while let Some(ticket) = schedule.next() {
            let index = ticket.cell;
            let Some(planned) = plan.cells.get(index) else { continue };
            let ticket = std::cell::Cell::new(Some(ticket));
            let on_hold = || {
                drop(ticket.take());
                if context.options.fail_fast {
                    context.cancelled.store(true, Ordering::Relaxed);
                    schedule.close();
                } else {
                    replace();
                }
            };
            let over = context.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over || context.options.interrupt.is_raised() {
                schedule.close();
                return;
            }
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| cell::run(context, index, planned, &on_hold)))
                .unwrap_or_else(|panic| {
                    let text = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied());
                    Some(cell::panicked(planned, text.unwrap_or("a panic without a message"), began.elapsed()))
                });
            let Some(outcome) = outcome else {
                schedule.close();
                return;
            };
            let failed = outcome.verdict.failed();
            finish(index, outcome);
            if context.exhausted.load(Ordering::SeqCst) || (failed && context.options.fail_fast) {
                context.cancelled.store(true, Ordering::Relaxed);
                schedule.close();
            }
        }
    }
}

/// Starts the server of one cell, performs no step, and keeps it until the run is interrupted or the server ends.
///
/// # Errors
/// Everything that kept it from starting.
pub fn up(
    cell: &Cell,
    index: usize,
    surroundings: Surroundings<'_>,
    options: &RunOptions,
    events: &Events,
) -> Result<(), Vec<Failure>> {
    let flag = options.interrupt.flag();
    let limit = Limit::new(Instant::now() + cell.timeout, &flag);
    let arranged = arrange::arrange(cell, &surroundings, limit, false).map_err(|error| error.into_parts().0)?;
    events.send(Event::ServerReady { cell: index, url: arranged.url.clone(), after: arranged.started_in });
    events.send(Event::Held {
        cell: index,
        url: arranged.url.clone(),
        dir: arranged.rendered.root.path().to_owned(),
        parent: arranged.stage.parent(),
        request: None,
        failures: Arc::default(),
    });
    while !options.interrupt.is_raised() && arranged.stage.with_server(Instance::is_alive).unwrap_or(false) {
        std::thread::sleep(LOOK);
    }
    Ok(())
}
