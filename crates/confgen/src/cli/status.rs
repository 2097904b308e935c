//! `confgen status`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::instances;
use crate::httpd::{Record, State};

/// Show the servers that `confgen start` started. Exit code 1 if none, or the named one, runs.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only this one.
    name: Option<String>,
}

/// One server as it is shown.
struct Shown {
    record: Record,
    /// Its processes, or why it does not run.
    state: Result<Processes, String>,
}

struct Processes {
    children: usize,
    daemons: BTreeMap<String, Vec<u32>>,
}

impl Status {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let registry = instances::registry(context);
        let found = match &self.name {
            Some(name) => vec![registry.find(name).map_err(|error| instances::failure(&error))?],
            None => registry.all().map_err(|error| instances::failure(&error))?,
        };
        let shown: Vec<Shown> = found.into_iter().map(look).collect();
        let runs = shown.iter().any(|one| one.state.is_ok());
        let exit = if runs { Exit::Ok } else { Exit::Differs };
        if context.json {
            let servers: Vec<_> = shown.iter().map(as_json).collect();
            context.print_json(&json!({"servers": servers, "exit": exit as u8}));
        } else if shown.is_empty() {
            context.print("no server is running\n");
        } else {
            context.print(&shown.iter().map(as_text).collect::<String>());
        }
        Ok(exit)
    }
}

fn look((record, state): (Record, State)) -> Shown {
    let state = match state {
        State::Ended(why) => Err(why.to_string()),
        State::Running(instance) => {
            let instance = instance.with_error_log(record.error_log.clone());
            let mut daemons: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for daemon in instance.daemons().into_iter().filter(|daemon| !daemon.stat.is_zombie()) {
                daemons.entry(daemon.group).or_default().push(daemon.stat.pid);
            }
            Ok(Processes { children: instance.children().iter().filter(|stat| !stat.is_zombie()).count(), daemons })
        }
    };
    Shown { record, state }
}

fn as_json(shown: &Shown) -> serde_json::Value {
    let record = &shown.record;
    let mut value = json!({"name": record.name, "serves": record.serves, "urls": record.urls, "pid": record.identity.pid, "server-root": record.identity.root});
    match &shown.state {
        Ok(processes) => {
            value["running"] = true.into();
            value["children"] = processes.children.into();
            value["daemons"] = json!(processes.daemons);
        }
        Err(why) => {
            value["running"] = false.into();
            value["reason"] = why.clone().into();
        }
    }
    value
}

fn as_text(shown: &Shown) -> String {
    let record = &shown.record;
    let Processes { children, daemons } = match &shown.state {
        Ok(processes) => processes,
        Err(why) => return format!("{}  stale: {why}\n", record.name),
    };
    let daemons: String = daemons
        .iter()
        .map(|(group, pids)| {
            format!(", daemon {group}: {}", pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        })
        .collect();
    format!(
        "{}  running: {} on {} (pid {}, {children} children{daemons})\n",
        record.name,
        record.serves,
        record.urls.join(" and "),
        record.identity.pid
    )
}
