//! Requests per second, ours against C mod_wsgi, in turns.

use std::fs;
use std::path::Path;
use std::process::Command;

use confgen::httpd::ServerRoot;

use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::statistics::median;
use crate::{Failure, Places};

/// Turns each server gets, and how many seconds a turn takes.
const ROUNDS: usize = 7;
const SECONDS: u32 = 2;

/// How many pairs of servers two builds of ours are compared with, and the turns of each: a difference of two percent has
/// to show.
const BASELINE_PAIRS: usize = 12;
const BASELINE_ROUNDS: usize = 2;

/// The bytes of a form or an upload, as `wrk` sends them.
const POST_10K: &str = "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", 10240)\n";

/// An application with a subscriber of all events, while metrics are recorded.
const SUBSCRIBED: &str = r#"import mod_wsgi

seen = 0

def subscriber(name, **event):
    global seen
    seen += 1

mod_wsgi.subscribe_events(subscriber)
mod_wsgi.start_recording_metrics()

def application(environ, start_response):
    body = b"Hello World!\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

const ONE_MEGABYTE: &str = r#"body = b"x" * 1048576

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
"#;

const STREAMED: &str = r#"block = b"x" * 1024

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(10):
        yield block
"#;

const UPLOAD: &str = r#"def application(environ, start_response):
    body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// Hello world.
pub(crate) fn hello(places: &Places, mode: Mode, bound: Bound) -> Result<Vec<Row>, Failure> {
    compare(places, mode.name(), &Site::hello(mode), None, bound).map(|row| vec![row])
}

/// Hello world with a subscriber of events and metrics.
pub(crate) fn subscribed(places: &Places) -> Result<Vec<Row>, Failure> {
    let row = |mode: Mode| -> Result<Row, Failure> {
        let what = format!("{} with a subscriber of events and metrics", mode.name());
        compare(places, &what, &Site::new(mode, SUBSCRIBED), None, Bound::AtLeast(3.0))
    };
    Ok(vec![row(Mode::Embedded)?, row(Mode::Daemon)?])
}

/// Bodies of several kinds, in daemon mode.
pub(crate) fn transfers(places: &Places) -> Result<Vec<Row>, Failure> {
    let row = |what, script, wrk, bound| {
        compare(places, &format!("daemon, {what}"), &Site::new(Mode::Daemon, script), wrk, Bound::AtLeast(bound))
    };
    Ok(vec![
        row("1 MB response", ONE_MEGABYTE, None, 2.0)?,
        row("10 × 1 KB streamed", STREAMED, None, 1.3)?,
        row("10 KB POST", UPLOAD, Some(POST_10K), 1.5)?,
    ])
}

/// Both servers run all the time; whose turn it is not, waits.
fn compare(places: &Places, what: &str, site: &Site<'_>, wrk: Option<&str>, bound: Bound) -> Result<Row, Failure> {
    let folder = ServerRoot::temporary(None)?;
    let script = wrk.map(|text| (folder.path().join("request.lua"), text));
    if let Some((path, text)) = &script {
        fs::write(path, text)?;
    }
    let script = script.as_ref().map(|(path, _)| path.as_path());
    let modules = Modules::new(places)?;
    let ours = Served::start(&modules, Some(Module::Ours), site)?;
    let peer = Served::start(&modules, Some(Module::Peer), site)?;
    let mut rates = Rates::default();
    rates.take_turns((ours, peer), script, ROUNDS)?;
    Ok(rates.row(format!("{what}: requests/s against C mod_wsgi"), bound))
}

/// Hello world in both modes against another build of our module.
pub(crate) fn baseline(places: &Places) -> Result<Vec<Row>, Failure> {
    let Some(dist) = &places.baseline else { return Ok(Vec::new()) };
    let (new, old) = (Modules::new(places)?, Modules::with_ours_from(places, dist)?);
    let row = |mode: Mode| -> Result<Row, Failure> {
        let site = Site::hello(mode);
        let start = |modules| Served::start(modules, Some(Module::Ours), &site);
        let mut rates = Rates::default();
        // Two servers of the very same build differ by several percent for as long as they run: many pairs even that out.
        for pair in 0..BASELINE_PAIRS {
            if pair % 2 == 0 {
                let servers = (start(&new)?, start(&old)?);
                rates.take_turns(servers, None, BASELINE_ROUNDS)?;
            } else {
                let second = start(&old)?;
                rates.take_turns((start(&new)?, second), None, BASELINE_ROUNDS)?;
            }
        }
        Ok(rates.row(format!("{}: requests/s against the baseline build", mode.name()), Bound::AtLeast(0.98)))
    };
    Ok(vec![row(Mode::Embedded)?, row(Mode::Daemon)?])
}

/// Requests per second of two servers that take turns.
#[derive(Default)]
struct Rates {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Rates {
    /// Loads both servers in turns, then ends them.
    fn take_turns(
        &mut self,
        (first, second): (Served, Served),
        script: Option<&Path>,
        rounds: usize,
    ) -> Result<(), Failure> {
        load(&first, script, 1)?;
        load(&second, script, 1)?;
        for round in 0..rounds {
            // The order alternates, so that neither always runs on a warmer machine.
            if round % 2 == 0 {
                self.first.push(load(&first, script, SECONDS)?);
                self.second.push(load(&second, script, SECONDS)?);
            } else {
                self.second.push(load(&second, script, SECONDS)?);
                self.first.push(load(&first, script, SECONDS)?);
            }
        }
        first.stop()?;
        second.stop()
    }

    /// The first one's median rate over the second one's.
    fn row(&self, what: String, bound: Bound) -> Row {
        let (rate, other_rate) = (median(&self.first), median(&self.second));
        let turns = self.first.len();
        Row {
            what,
            value: Some(rate / other_rate),
            unit: "×",
            bound,
            detail: format!("{rate:.0} against {other_rate:.0} requests/s, medians of {turns} turns of {SECONDS} s"),
        }
    }
}

/// Loads a server over eight kept connections and says how many requests per second it answered.
#[expect(clippy::disallowed_methods, reason = "the load generator is a program of its own and is started here only")]
fn load(served: &Served, script: Option<&Path>, seconds: u32) -> Result<f64, Failure> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c8", &format!("-d{seconds}s")]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let output = command.arg(served.url("/")).output().map_err(|cause| format!("cannot run wrk: {cause}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("not every request was answered:\n{text}").into());
    }
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(rate.ok_or_else(|| format!("wrk printed no rate:\n{text}"))?.trim().parse()?)
}
