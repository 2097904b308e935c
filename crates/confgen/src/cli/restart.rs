//! `confgen restart`.

use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::instances;
use super::reapply::{self, Applied};
use crate::httpd::Instance;

/// Restart a server: its configuration is read again, running requests are cut off.
#[derive(Debug, Args)]
pub(super) struct Restart {
    /// Its name. Default: the only one that runs.
    name: Option<String>,
    /// The longest time until it goes on, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: u64,
}

impl Restart {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let (_, record, instance) = instances::running(context, self.name.as_deref())?;
        let applied = reapply::changes(&record, context)?;
        instances::ensure_sound(&record)?;
        instances::reload(&record, &instance, Duration::from_secs(self.timeout), Instance::restart)?;
        if context.json {
            context.print_json(&serde_json::json!({"name": record.name, "pid": instance.pid(), "applied": matches!(applied, Applied::Changes(_)), "exit": 0}));
        } else {
            let with = match &applied {
                Applied::Changes(file) => format!(" with the changes of {file}"),
                Applied::Nothing => String::new(),
            };
            context.print(&format!("restarted {} (pid {}){with}\n", record.name, instance.pid()));
        }
        Ok(Exit::Ok)
    }
}
