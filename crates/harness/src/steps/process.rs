//! The process step.

use std::time::Duration;

use confgen::httpd::{Instance, Stat, process};

use super::Produced;
use super::stage::Stage;
use super::wire::Limit;
use crate::assertions;
use crate::runner::outcome::{Failure, FailureKind};
use crate::scenario::Value;
use crate::scenario::schema::{Matcher, Process, ProcessRole};

/// The pause between two looks, while something is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks at processes.
pub(super) fn run(step: &Process, stage: &Stage, limit: Limit<'_>) -> Produced {
    let waiting = limit.at_most(step.within.map_or(Duration::ZERO, Duration::from));
    loop {
        // After a stop there are none, which is what a step then asks about.
        let selected = stage.with_server(|server| select(step, server)).unwrap_or_default();
        let mut produced = look(&selected);
        produced.failures = judge(step, &produced);
        if produced.failures.is_empty() || waiting.pause(PAUSE).is_err() {
            return produced;
        }
    }
}

/// The processes that are asked about, dead ones that nobody waited for included.
fn select(step: &Process, server: &Instance) -> Vec<Stat> {
    if let Some(pid) = step.pid {
        return process::stat(pid.0).into_iter().collect();
    }
    let parent = || process::stat(server.pid());
    let daemons = || server.daemons().into_iter().map(|daemon| daemon.stat);
    let mut selected: Vec<Stat> = match (&step.daemon, step.role) {
        (Some(name), _) => server.daemons_of(name).into_iter().map(|daemon| daemon.stat).collect(),
        (None, Some(ProcessRole::Parent)) => parent().into_iter().collect(),
        (None, Some(ProcessRole::Children)) => server.children(),
        (None, Some(ProcessRole::Daemons)) => daemons().collect(),
        (None, Some(ProcessRole::All) | None) => parent().into_iter().chain(server.members()).collect(),
    };
    // A dead process has lost its title, by which a daemon is known; the parent's dead children count for every group.
    for stat in server.children().into_iter().filter(Stat::is_zombie) {
        if !matches!(step.role, Some(ProcessRole::Parent)) && selected.iter().all(|known| known.pid != stat.pid) {
            selected.push(stat);
        }
    }
    selected
}

fn look(selected: &[Stat]) -> Produced {
    let living: Vec<&Stat> = selected.iter().filter(|stat| !stat.is_zombie()).collect();
    let list = |value: &dyn Fn(&Stat) -> Value| Value::List(living.iter().map(|stat| value(stat)).collect());
    Produced::with([
        ("pids", list(&|stat| stat.pid.into())),
        ("count", living.len().into()),
        ("zombies", (selected.len() - living.len()).into()),
        ("threads", list(&|stat| stat.threads.into())),
        ("fds", list(&|stat| process::open_descriptors(stat.pid).ok().into())),
        ("memory", list(&|stat| process::memory(stat.pid, "Pss").ok().into())),
        ("virtual", list(&|stat| stat.virtual_bytes.into())),
        ("names", list(&|stat| process::title(stat.pid).unwrap_or_else(|| stat.name.clone()).into())),
        ("users", list(&|stat| process::user(stat.pid).into())),
    ])
}

fn judge(step: &Process, produced: &Produced) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut require = |matcher: &Option<Matcher>, key: &str, member: &str| {
        let (Some(matcher), Some(value)) = (matcher, produced.members.get(member)) else { return };
        let values = if let Value::List(values) = value { values.as_slice() } else { std::slice::from_ref(value) };
        if values.is_empty() {
            // Nobody uses little memory only because nobody is there.
            failures.push(Failure::new(FailureKind::Check, format!("/{key}"), "there is no such process"));
        }
        failures.extend(values.iter().flat_map(|value| assertions::demand(key, matcher, value)));
    };
    require(&step.count, "count", "count");
    require(&step.zombies, "zombies", "zombies");
    require(&step.threads, "threads", "threads");
    require(&step.fds, "fds", "fds");
    require(&step.memory, "memory", "memory");
    require(&step.name, "name", "names");
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_on_processes_need_processes() {
        let step: Process = serde_json::from_str(r#"{"daemon": "web", "memory": "< 40MiB", "count": 0}"#).unwrap();
        let messages: Vec<_> = judge(&step, &look(&[])).into_iter().map(|failure| failure.message).collect();
        assert_eq!(messages, ["there is no such process"]);
    }
}
