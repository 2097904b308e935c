//! `confgen facts`.

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::MachineArgs;

/// Print what confgen finds on this machine; `render --facts FILE` takes it elsewhere.
#[derive(Debug, Args)]
pub(super) struct Facts {
    #[command(flatten)]
    machine: MachineArgs,
}

impl Facts {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let facts = self.machine.load(context)?;
        context.print(&facts.to_text());
        Ok(Exit::Ok)
    }
}
