//! The signal step.

use std::str::FromStr;

use confgen::httpd::{self, Handle};

use super::Produced;
use super::stage::Stage;
use crate::runner::outcome::FailureKind;
use crate::scenario::Value;
use crate::scenario::schema::{Signal, SignalTarget};

/// A signal by its name, with or without `SIG`.
pub(super) fn parse(name: &str) -> Result<httpd::Signal, String> {
    let upper = name.trim().to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    httpd::Signal::from_str(&full).map_err(|_| format!("`{name}` is no signal"))
}

/// Sends a signal to the processes of a role.
pub(super) fn run(step: &Signal, stage: &Stage) -> Produced {
    match send(step, stage) {
        Ok(pids) => Produced::with([("pids", Value::List(pids.into_iter().map(Value::from).collect()))]),
        Err(error) => {
            let mut produced = Produced::with([("pids", Value::List(Vec::new()))]);
            produced.fail(FailureKind::Step, error);
            produced
        }
    }
}

fn send(step: &Signal, stage: &Stage) -> Result<Vec<u32>, String> {
    let signal = parse(&step.send)?;
    let pids = stage.with_server(|server| match &step.to {
        SignalTarget::Parent => vec![server.pid()],
        SignalTarget::Children => living(server.children()),
        SignalTarget::Daemons => living(server.daemons().into_iter().map(|daemon| daemon.stat)),
        SignalTarget::Daemon(name) => living(server.daemons_of(name).into_iter().map(|daemon| daemon.stat)),
        // The parent last: what it does about its children comes after they got the signal themselves.
        SignalTarget::Group => living(server.members()).into_iter().chain([server.pid()]).collect(),
        SignalTarget::Pid(pid) => vec![*pid],
    })?;
    if let SignalTarget::Pid(pid) = step.to
        && !stage.with_server(|server| server.pid() == pid || server.members().iter().any(|stat| stat.pid == pid))?
    {
        return Err(format!("process {pid} is none of the server's"));
    }
    if pids.is_empty() {
        return Err("there is no such process".to_owned());
    }
    let reaches_parent = matches!(step.to, SignalTarget::Parent | SignalTarget::Group);
    // SIGHUP restarts the server at once: that ends its children as a stop does.
    let ends_children =
        matches!(signal, httpd::Signal::SIGTERM | httpd::Signal::SIGINT | httpd::Signal::SIGHUP) && reaches_parent;
    if ends_children {
        stage.wait_until_idle();
    }
    for &pid in &pids {
        // Before it is sent: the death that it causes must not come first.
        stage.sends(pid, signal);
        match Handle::open(pid).and_then(|handle| handle.signal(signal)) {
            Ok(()) => {}
            // One of several may end before its turn.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && pids.len() > 1 => {}
            Err(error) => return Err(format!("cannot send {signal} to process {pid}: {error}")),
        }
    }
    Ok(pids)
}

fn living(stats: impl IntoIterator<Item = httpd::Stat>) -> Vec<u32> {
    stats.into_iter().filter(|stat| !stat.is_zombie()).map(|stat| stat.pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(parse("TERM"), Ok(httpd::Signal::SIGTERM));
        assert_eq!(parse("sigusr1"), Ok(httpd::Signal::SIGUSR1));
        assert!(parse("FROB").is_err());
    }
}
