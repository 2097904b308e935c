//! `confgen man`.

use std::path::PathBuf;

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};

/// Print the manual page, or write the pages of all commands into a directory.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let command = super::command();
        match &self.output {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(|error| Failure::io("make", directory, &error))?;
                clap_mangen::generate_to(command, directory)
                    .map_err(|error| Failure::io("write to", directory, &error))?;
                if context.json {
                    context.print_json(&serde_json::json!({"directory": directory, "exit": 0}));
                }
            }
            None => {
                let mut text = Vec::new();
                let failed = |error| Failure::io("make", std::path::Path::new("the manual page"), &error);
                clap_mangen::Man::new(command).render(&mut text).map_err(failed)?;
                let text = String::from_utf8_lossy(&text);
                match context.json {
                    true => context.print_json(&serde_json::json!({"page": text, "exit": 0})),
                    false => context.print(&text),
                }
            }
        }
        Ok(Exit::Ok)
    }
}
