//! `confgen schema`.

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::document::schema;
use crate::spec::Model;

/// Print the JSON Schema of specs, for editors.
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        context.print_json(&schema::of::<Model>());
        Ok(Exit::Ok)
    }
}
