//! `confgen graceful`.

use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::instances;
use super::reapply::{self, Applied};
use crate::httpd::Instance;

/// Restart a server gracefully: its configuration is read again, running requests finish.
#[derive(Debug, Args)]
pub(super) struct Graceful {
    /// Its name. Default: the only one that runs.
    name: Option<String>,
    /// The longest time until it goes on, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: u64,
}

impl Graceful {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let (_, record, instance) = instances::running(context, self.name.as_deref())?;
        let applied = reapply::changes(&record, context)?;
        instances::ensure_sound(&record)?;
        instances::reload(&record, &instance, Duration::from_secs(self.timeout), Instance::graceful)?;
        if context.json {
            context.print_json(&serde_json::json!({"name": record.name, "pid": instance.pid(), "applied": matches!(applied, Applied::Changes(_)), "exit": 0}));
        } else {
            let with = match &applied {
                Applied::Changes(file) => format!(" with the changes of {file}"),
                Applied::Nothing => String::new(),
            };
            context.print(&format!("gracefully restarted {} (pid {}){with}\n", record.name, instance.pid()));
        }
        Ok(Exit::Ok)
    }
}
