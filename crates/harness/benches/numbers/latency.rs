//! How long short requests wait beside long ones.
//!
//! Arrivals are random and do not wait for answers (an open loop): the time of a request runs from when it should have been
//! sent, so that a server that stalls is not asked less.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Connection;
use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::statistics::{median, percentile};
use crate::{Failure, Places};

const APPLICATION: &str = r#"import time

def application(environ, start_response):
    time.sleep(0.05 if environ["PATH_INFO"] == "/long" else 0.001)
    body = b"done\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// Clients, so many that an arrival finds a free one while the group's 32 threads are busy.
const CLIENTS: usize = 96;
/// Turns of each server, and the length of one.
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(4);
/// Requests of the run that finds the capacity.
const CAPACITY_RUN: usize = 6000;
/// The part of the capacity that arrives.
const SHARE: f64 = 0.7;

/// One request of the plan.
struct Arrival {
    /// After the beginning.
    at: Duration,
    long: bool,
}

/// The 99th percentile of the 1 ms class, ours against C mod_wsgi.
pub(crate) fn compare(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let workers = u32::try_from(CLIENTS)? + 32;
    let site = Site { options: "processes=8 threads=4", workers, ..Site::new(Mode::Daemon, APPLICATION) };
    let ours = Served::start(&modules, Some(Module::Ours), &site)?;
    let peer = Served::start(&modules, Some(Module::Peer), &site)?;
    let capacity = capacity(&ours)?.min(capacity(&peer)?);
    let rate = SHARE * capacity;
    let (mut tail_of_ours, mut tail_of_peer) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Both get the same arrivals.
        let plan = plan(round as u64 + 1, rate);
        if round % 2 == 0 {
            tail_of_ours.push(tail(&ours, &plan)?);
            tail_of_peer.push(tail(&peer, &plan)?);
        } else {
            tail_of_peer.push(tail(&peer, &plan)?);
            tail_of_ours.push(tail(&ours, &plan)?);
        }
    }
    ours.stop()?;
    peer.stop()?;
    let (our_tail, peer_tail) = (median(&tail_of_ours), median(&tail_of_peer));
    Ok(vec![Row {
        what: "daemon, 90 % of requests take 1 ms and 10 % take 50 ms: p99 of the 1 ms class against C mod_wsgi".into(),
        value: Some(our_tail / peer_tail),
        unit: "×",
        bound: Bound::AtMost(1.0),
        detail: format!(
            "{our_tail:.1} against {peer_tail:.1} ms at {rate:.0} requests/s ({:.0} % of {capacity:.0}), 8 processes × 4 threads, \
             medians of {ROUNDS} turns of {} s",
            SHARE * 100.0,
            TURN.as_secs()
        ),
    }])
}

/// Requests per second when every client asks again at once.
fn capacity(served: &Served) -> Result<f64, Failure> {
    let mut random = Random(7);
    let plan: Vec<Arrival> =
        (0..CAPACITY_RUN).map(|_| Arrival { at: Duration::ZERO, long: random.next() < 0.1 }).collect();
    let began = Instant::now();
    run(served, &plan)?;
    Ok(CAPACITY_RUN as f64 / began.elapsed().as_secs_f64())
}

fn plan(seed: u64, rate: f64) -> Vec<Arrival> {
    let mut random = Random(seed);
    let mut at = 0.0;
    let mut plan = Vec::new();
    while at < TURN.as_secs_f64() {
        plan.push(Arrival { at: Duration::from_secs_f64(at), long: random.next() < 0.1 });
        at -= (1.0 - random.next()).ln() / rate;
    }
    plan
}

fn tail(served: &Served, plan: &[Arrival]) -> Result<f64, Failure> {
    let times = run(served, plan)?;
    let short: Vec<f64> = times.iter().zip(plan).filter(|(_, arrival)| !arrival.long).map(|(time, _)| *time).collect();
    Ok(percentile(&short, 0.99))
}

/// Sends what is planned; the time of each request in milliseconds.
fn run(served: &Served, plan: &[Arrival]) -> Result<Vec<f64>, Failure> {
    let address = served.address();
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let client = || -> Result<Vec<(usize, f64)>, String> {
        let mut connection = Connection::open(address).map_err(|cause| cause.to_string())?;
        let mut times = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(arrival) = plan.get(index) else { return Ok(times) };
            thread::sleep(arrival.at.saturating_sub(began.elapsed()));
            let path = if arrival.long { "/long" } else { "/short" };
            match connection.request("GET", path, b"") {
                Ok(200) => times.push((index, (began.elapsed() - arrival.at).as_secs_f64() * 1000.0)),
                Ok(status) => return Err(format!("{path} was answered with status {status}")),
                Err(broken) => return Err(format!("{path}: {}", broken.cause)),
            }
        }
    };
    let mut all = vec![0.0; plan.len()];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            for (index, time) in client.join().map_err(|_| "a client panicked")?? {
                all[index] = time;
            }
        }
        Ok::<(), Failure>(())
    })?;
    Ok(all)
}

/// The same numbers in every run (a linear congruence: nothing here needs better ones).
struct Random(u64);

impl Random {
    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
