//! `confgen secrets`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::render::{WriteOptions, fill_secrets};

/// Fill in the secrets of a tree that was rendered for this machine elsewhere.
#[derive(Debug, Args)]
#[command(
    after_help = "Each value is taken from the file or the variable that the spec names, on this machine.\n\nExample:\n  confgen secrets /srv/www"
)]
pub(super) struct SecretsCommand {
    /// The directory with the tree.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Overwrite files that were edited by hand.
    #[arg(long)]
    force: bool,
}

impl SecretsCommand {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let directory =
            std::path::absolute(&self.directory).map_err(|error| Failure::io("find", &self.directory, &error))?;
        let options =
            WriteOptions { force: self.force, environment: context.environment.clone(), ..WriteOptions::default() };
        let written = fill_secrets(&directory, &options).map_err(Failure::of_spec)?;
        if context.json {
            context.print_json(
                &json!({"directory": directory, "changed": written.changed, "unchanged": written.unchanged, "at-start": written.at_start, "exit": 0}),
            );
        } else {
            context.print(&written.to_text(&directory));
        }
        Ok(Exit::Ok)
    }
}
