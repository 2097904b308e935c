//! `confgen schema`.

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::spec::relative;

/// Print the JSON Schema of specs, for editors.
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        context.print_json(&relative::published_schema());
        Ok(Exit::Ok)
    }
}
