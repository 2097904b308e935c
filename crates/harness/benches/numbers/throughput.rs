//! Requests per second, ours against C mod_wsgi, in turns.

use std::process::Command;

use crate::pair::{Hello, Mode, Module, Modules};
use crate::report::{Bound, Row};
use crate::statistics::median;
use crate::{Failure, Places};

/// Turns each server gets, and how many seconds a turn takes.
const ROUNDS: usize = 7;
const SECONDS: u32 = 2;

/// Both servers run all the time; whose turn it is not, waits.
pub(crate) fn compare(places: &Places, mode: Mode, bound: Bound) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let ours = Hello::start(&modules, Module::Ours, mode)?;
    let peer = Hello::start(&modules, Module::Peer, mode)?;
    let (mut rate_of_ours, mut rate_of_peer) = (Vec::new(), Vec::new());
    load(&ours, 1)?;
    load(&peer, 1)?;
    for round in 0..ROUNDS {
        // Who begins changes, so that neither always runs on a warmer machine.
        if round % 2 == 0 {
            rate_of_ours.push(load(&ours, SECONDS)?);
            rate_of_peer.push(load(&peer, SECONDS)?);
        } else {
            rate_of_peer.push(load(&peer, SECONDS)?);
            rate_of_ours.push(load(&ours, SECONDS)?);
        }
    }
    ours.stop()?;
    peer.stop()?;
    let (our_rate, peer_rate) = (median(&rate_of_ours), median(&rate_of_peer));
    Ok(vec![Row {
        what: format!("{}: requests/s against C mod_wsgi", mode.name()),
        value: our_rate / peer_rate,
        unit: "×",
        bound,
        detail: format!("{our_rate:.0} against {peer_rate:.0} requests/s, medians of {ROUNDS} turns of {SECONDS} s"),
    }])
}

/// Loads a server over eight kept connections and says how many requests per second it answered.
#[expect(clippy::disallowed_methods, reason = "the load generator is a program of its own and is started here only")]
fn load(hello: &Hello, seconds: u32) -> Result<f64, Failure> {
    let output = Command::new("wrk")
        .args(["-t1", "-c8", &format!("-d{seconds}s"), &hello.url()])
        .output()
        .map_err(|cause| format!("cannot run wrk: {cause}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("not every request was answered:\n{text}").into());
    }
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(rate.ok_or_else(|| format!("wrk printed no rate:\n{text}"))?.trim().parse()?)
}
