//! What the process that runs the application costs, ours against C mod_wsgi's.

use confgen::httpd::process;

use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
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
            value: ours / peer,
            unit: "×",
            bound: Bound::AtMost(1.0),
            detail: format!("Pss + Private_Dirty {ours:.1} against {peer:.1} MiB, medians of {ROUNDS} starts"),
        });
    }
    Ok(rows)
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
