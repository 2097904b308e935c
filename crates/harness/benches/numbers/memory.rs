//! What the process that runs the application costs, ours against C mod_wsgi's.

use confgen::httpd::process;

use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::start::Project;
use crate::statistics::median;
use crate::{Failure, Places};

/// Requests before the look, and servers started per module.
const REQUESTS: usize = 1000;
const ROUNDS: usize = 5;

/// One server at a time: two would share pages, and each would seem to cost less.
pub(crate) fn compare(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let mut rows = Vec::new();
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(cost(&modules, Module::Ours, mode)?);
            peer.push(cost(&modules, Module::Peer, mode)?);
        }
        let (ours, peer) = (median(&ours), median(&peer));
        let process = match mode {
            Mode::Embedded => "an Apache child (embedded)",
            Mode::Daemon => "a daemon process",
        };
        rows.push(Row {
            what: format!("memory of {process} after {REQUESTS} requests against C mod_wsgi"),
            value: Some(ours / peer),
            unit: "×",
            bound: Bound::AtMost(1.0),
            detail: format!("Pss + Private_Dirty {ours:.1} against {peer:.1} MiB, medians of {ROUNDS} starts"),
        });
    }
    Ok(rows)
}

/// Processes of the group whose memory is shared, the clients that keep all of them busy, and requests of each.
const PROCESSES: usize = 8;
const CLIENTS: usize = 8;
const EACH: usize = 200;

/// A group of processes that are forked after the application was loaded, against one where each loads it.
pub(crate) fn shared(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let project = Project::django(places)?;
    let (mut forked, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        forked.push(cost_of_group(&modules, &project, "On")?);
        loaded.push(cost_of_group(&modules, &project, "Off")?);
    }
    let (forked, loaded) = (median(&forked), median(&loaded));
    let requests = CLIENTS * EACH;
    Ok(vec![Row {
        what: format!("memory of {PROCESSES} processes of a Django project with fork-after-load=On against Off"),
        value: Some(forked / loaded),
        unit: "×",
        bound: Bound::AtMost(0.6),
        detail: format!(
            "Pss {forked:.1} (the loader included) against {loaded:.1} MiB after {requests} requests, medians of {ROUNDS} \
             starts"
        ),
    }])
}

/// The sum of Pss of all processes, in MiB.
fn cost_of_group(modules: &Modules, project: &Project, fork_after_load: &str) -> Result<f64, Failure> {
    let options = format!("{} processes={PROCESSES} fork-after-load={fork_after_load}", project.options);
    // More threads than clients: otherwise Apache closes kept connections to have one for the next.
    let site = Site { options: &options, workers: 64, ..Site::new(Mode::Daemon, &project.script) };
    let served = Served::start(modules, Some(Module::Ours), &site)?;
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| served.request(EACH).map_err(|failure| failure.to_string()))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
    })?;
    let processes = served.processes_of_group();
    let expected = PROCESSES + usize::from(fork_after_load == "On");
    if processes.len() != expected {
        return Err(format!("expected {expected} processes of the group, found {processes:?}").into());
    }
    let bytes = processes.into_iter().map(|pid| process::memory(pid, "Pss")).sum::<Result<u64, _>>()?;
    served.stop()?;
    Ok(bytes as f64 / f64::from(1 << 20))
}

/// Pss + Private_Dirty in MiB.
fn cost(modules: &Modules, module: Module, mode: Mode) -> Result<f64, Failure> {
    let hello = Served::start(modules, Some(module), &Site::hello(mode))?;
    hello.request(REQUESTS)?;
    let pid = hello.application_process()?;
    let bytes = process::memory(pid, "Pss")? + process::memory(pid, "Private_Dirty")?;
    hello.stop()?;
    Ok(bytes as f64 / f64::from(1 << 20))
}
