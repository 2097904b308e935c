//! `confgen completions`.

use clap::Args;
use clap_complete::Shell;

use super::context::Context;
use super::exit::{Exit, Failure};

/// Print completions for a shell.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "confgen", &mut text);
        let text = String::from_utf8_lossy(&text);
        match context.json {
            true => {
                context.print_json(&serde_json::json!({"shell": self.shell.to_string(), "script": text, "exit": 0}))
            }
            false => context.print(&text),
        }
        Ok(Exit::Ok)
    }
}
