//! `harness up`

use std::io;

use clap::Args;
use confgen::environment::Environment;

use super::catalogue::CatalogueArgs;
use super::output::Output;
use super::run::{WorkArgs, told, watch_for_interrupts};
use crate::exit::Exit;
use crate::report::{Failures, Lines};
use crate::runner;
use crate::runner::cleaner::Cleaner;
use crate::runner::options::RunOptions;

/// Options of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    work: WorkArgs,
}

pub(crate) fn up(args: &UpArgs, environment: &Environment, output: &Output) -> io::Result<Exit> {
    let mut prepared = match args.catalogue.prepare(environment, output) {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    let plan = std::mem::take(&mut prepared.plan);
    let Some(cell) = plan.cells.iter().find(|cell| cell.skip.is_none()) else {
        let reasons: Vec<_> = plan
            .cells
            .iter()
            .map(|cell| format!("  {}: {}", cell.id, cell.skip.as_deref().unwrap_or_default()))
            .collect();
        output.complain(&format!("error: no selected cell can run here:\n{}", reasons.join("\n")));
        return Ok(Exit::Environment);
    };
    if plan.cells.len() > 1 {
        let others: Vec<_> =
            plan.cells.iter().filter(|other| other.id != cell.id).map(|cell| format!("  {}", cell.id)).collect();
        output.complain(&format!(
            "note: {} cells are selected; this is the first that can run here: {}\nhelp: choose another one by --variant and --cell:\n{}",
            plan.cells.len(), cell.id, others.join("\n")
        ));
    }
    let options = RunOptions {
        jobs: 1,
        fail_fast: false,
        artifacts: None,
        hold_on_failure: false,
        keep: false,
        timeout: None,
        interrupt: watch_for_interrupts()?,
    };
    let work = args.work.folder();
    let cleaner = Cleaner::start()?;
    let surroundings = prepared.surroundings(environment, &work, &cleaner);
    let mut lines = Lines::new(io::stdout(), output.style());
    let started = told(&plan, &mut lines, |events| runner::up(cell, 0, surroundings, &options, events))?;
    match started.result {
        Ok(()) => Ok(Exit::Expected),
        Err(failures) => {
            for failure in &failures {
                output.complain(&Failures { style: output.style() }.failure(cell, failure));
            }
            Ok(Exit::Infrastructure)
        }
    }
}
