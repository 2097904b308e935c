//! `harness run`

use std::io;
use std::path::PathBuf;
use std::thread;

use clap::Args;
use confgen::environment::Environment;

use super::catalogue::CatalogueArgs;
use super::output::{Output, closed_is_fine};
use crate::exit::Exit;
use crate::report::{self, Lines, Live, Reporter};
use crate::runner;
use crate::runner::cleaner::Cleaner;
use crate::runner::event::Events;
use crate::runner::options::{Interrupt, RunOptions};
use crate::runner::outcome::{RunOutcome, Verdict};
use crate::runner::plan::Plan;
use crate::scenario::quantity::Time;

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// How many cells at once. Default: four times the number of processors, as cells wait more than they compute.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// End with the first failed cell.
    #[arg(long)]
    fail_fast: bool,
    /// Keep the server of a failed cell running until Ctrl-C, or until it is ended. Other cells go on.
    #[arg(long)]
    hold_on_failure: bool,
    /// Leave the private folders of failed cells in place.
    #[arg(long)]
    keep: bool,
    /// Succeed even if every selected cell was skipped.
    #[arg(long)]
    allow_empty: bool,
    /// Fail if any selected cell was skipped.
    #[arg(long, conflicts_with = "allow_empty")]
    deny_skips: bool,
    /// The longest time of the whole run, such as 10m.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Time>,
    /// Write bundles of failed cells below this folder.
    #[arg(long, value_name = "DIR", help_heading = "Reports")]
    artifacts: Option<PathBuf>,
    /// Write a JUnit report.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    junit: Option<PathBuf>,
    /// Write a JSON report.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    json: Option<PathBuf>,
    #[command(flatten)]
    work: WorkArgs,
}

/// Where cells make their folders.
#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// Where cells make their private folders; the serving user must be able to reach it. Default: the system's temporary folder.
    #[arg(long, value_name = "DIR", help_heading = "Machine")]
    work: Option<PathBuf>,
}

impl WorkArgs {
    pub(crate) fn folder(&self) -> PathBuf {
        self.work.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Lets SIGINT, SIGTERM and SIGHUP end the run in order. A second one ends the program at once; its cleaner then ends the
/// servers.
pub(crate) fn watch_for_interrupts() -> io::Result<Interrupt> {
    let interrupt = Interrupt::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            i32::from(Exit::Interrupted.code()),
            interrupt.flag(),
        )?;
        signal_hook::flag::register(signal, interrupt.flag())?;
    }
    Ok(interrupt)
}

/// What a run gave, and whether its lines could be written.
pub(crate) struct Told<T> {
    pub(crate) result: T,
    pub(crate) written: io::Result<()>,
}

/// Runs something while a reporter shows what happens. Output that cannot be written changes nothing about the run: its
/// outcome, its report files and its exit status do not depend on who reads the terminal.
pub(crate) fn told<T: Send>(
    plan: &Plan,
    reporter: &mut dyn Reporter,
    run: impl FnOnce(&Events) -> T + Send,
) -> io::Result<Told<T>> {
    let (events, receiver) = Events::channel();
    thread::scope(|scope| {
        let runner = scope.spawn(move || run(&events));
        let mut told = Ok(());
        for event in receiver {
            if told.is_ok() {
                told = reporter.event(plan, &event);
            }
        }
        let result = runner.join().map_err(|_| io::Error::other("the runner panicked"))?;
        Ok(Told { result, written: closed_is_fine(told) })
    })
}

pub(crate) fn run(args: &RunArgs, environment: &Environment, output: &Output) -> io::Result<Exit> {
    let mut prepared = match args.catalogue.prepare(environment, output) {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    output.problems(&prepared.warnings);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = RunOptions {
        jobs: args.jobs.map_or(processors * 4, usize::from),
        fail_fast: args.fail_fast,
        artifacts: args.artifacts.clone(),
        hold_on_failure: args.hold_on_failure,
        keep: args.keep,
        timeout: args.timeout.map(|timeout| timeout.0),
        interrupt: watch_for_interrupts()?,
    };
    let plan = std::mem::take(&mut prepared.plan);
    let work = args.work.folder();
    let cleaner = Cleaner::start()?;
    let surroundings = prepared.surroundings(environment, &work, &cleaner);
    let mut live = output.live.then(|| Live::new(plan.cells.len(), output.style()));
    let mut lines = Lines::new(io::stdout(), output.style());
    let reporter: &mut dyn Reporter = match &mut live {
        Some(live) => live,
        None => &mut lines,
    };
    let Told { result: outcome, written: shown } =
        told(&plan, reporter, |events| runner::run(&plan, surroundings, &options, events))?;
    let mut written = true;
    for (format, file) in [("junit", &args.junit), ("json", &args.json)] {
        if let Some(file) = file
            && let Err(error) = report::write_file(format, file, &plan, &outcome)
        {
            output.complain(&format!("error: {error}"));
            written = false;
        }
    }
    prepared.history.learn(&outcome);
    if let Some(file) = &prepared.history_file {
        // Without a history the next run takes a little longer, nothing else.
        let _ = prepared.history.write(file);
    }
    if let Err(error) = shown.and_then(|()| output.print(&report::summary(&plan, &outcome, output.style()))) {
        output.complain(&format!("error: failed to write: {error}"));
        written = false;
    }
    let exit = exit_of(&outcome, written);
    let skips = skips(&outcome, args).filter(|_| exit == Exit::Expected);
    if let Some((_, message)) = &skips {
        output.complain(&format!("error: {message}"));
    }
    Ok(skips.map_or(exit, |(exit, _)| exit))
}

/// What is wrong with skipped cells, where nothing else is.
fn skips(outcome: &RunOutcome, args: &RunArgs) -> Option<(Exit, String)> {
    let skipped = outcome.skipped();
    if skipped == 0 {
        None
    } else if args.deny_skips {
        Some((
            Exit::Environment,
            format!("{skipped} cells were skipped, which --deny-skips does not allow; the reasons are above"),
        ))
    } else if outcome.passed() == 0 && !args.allow_empty {
        Some((
            Exit::NothingSelected,
            format!(
                "nothing was tested: all {skipped} cells were skipped; the reasons are above\nhelp: --allow-empty makes this a success"
            ),
        ))
    } else {
        None
    }
}

/// The exit status of a run.
fn exit_of(outcome: &RunOutcome, written: bool) -> Exit {
    if outcome.interrupted {
        Exit::Interrupted
    } else if outcome.count(Verdict::Unexpected) > 0 {
        Exit::Unexpected
    } else if outcome.count(Verdict::Broken) > 0 || outcome.not_run > 0 || !written {
        Exit::Infrastructure
    } else {
        Exit::Expected
    }
}
