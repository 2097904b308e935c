//! `confgen stop`.

use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::instances;
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::Signal;

/// Stop a server that `confgen start` started.
#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Its name. Default: the only one that runs.
    name: Option<String>,
    /// Let running requests finish first.
    #[arg(long)]
    graceful: bool,
    /// The longest time until it has ended, in seconds; then it is killed. Default: 15, or 60 with `--graceful`.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Stop {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let (registry, record, instance) = instances::running(context, self.name.as_deref())?;
        let (signal, default) = if self.graceful { (Signal::SIGWINCH, 60) } else { (Signal::SIGTERM, 15) };
        let limit = Duration::from_secs(self.timeout.unwrap_or(default));
        let failed = |message: String| Diagnostic::error(Code::Stop, message);
        let report = instance.stop(signal, limit).map_err(|error| {
            Failure::new(Exit::Environment, failed(format!("cannot stop the server {}: {error}", record.name)))
        })?;
        registry.forget(&record).map_err(|error| instances::failure(&error))?;
        let mut diagnostics: Vec<Diagnostic> = report
            .leaks
            .iter()
            .map(|leak| failed(format!("process {} ({}) outlived the server and was killed", leak.pid, leak.command)))
            .collect();
        if report.forced {
            diagnostics
                .push(failed(format!("the server {} had not ended within {limit:?} and was killed", record.name)));
        }
        if !diagnostics.is_empty() {
            return Err(Failure { exit: Exit::Environment, diagnostics });
        }
        if context.json {
            context.print_json(&serde_json::json!({"name": record.name, "stopped": true, "seconds": report.duration.as_secs_f64(), "exit": 0}));
        } else {
            context.print(&format!("stopped {} ({})\n", record.name, record.serves));
        }
        Ok(Exit::Ok)
    }
}
