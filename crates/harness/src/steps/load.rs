//! The load step.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use regex::bytes::Regex;

use super::http::{self, Request};
use super::wire::Connection;
use super::{Produced, Setting};
use crate::runner::outcome::{Failure, FailureKind};
use crate::runner::perform::Performed;
use crate::scenario::Value;
use crate::scenario::schema::{Connections, Load};

/// How many clients there are unless the step says otherwise, and at most.
const CLIENTS: u32 = 8;
const MOST_CLIENTS: u32 = 512;

/// How long the clients send where nothing else ends them.
const LENGTH: Duration = Duration::from_secs(1);

/// The longest time of one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// What a client waits after a failure, so that a server that is away is not counted a thousand times in a second.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// The most times whose spread is kept exactly.
const MOST_TIMES: usize = 2_000_000;

/// What one client or all of them saw.
#[derive(Default)]
struct Tally {
    requests: u64,
    served: u64,
    retried: u64,
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<String, (u64, Duration)>,
    latencies: Vec<Duration>,
}

impl Tally {
    fn failed(&self) -> u64 {
        self.requests - self.served
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.served += other.served;
        self.retried += other.retried;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (error, (count, first)) in other.errors {
            let known = self.errors.entry(error).or_insert((0, first));
            known.0 += count;
            known.1 = known.1.min(first);
        }
        self.latencies.extend(other.latencies);
    }
}

/// What all clients share.
struct Course<'a> {
    step: &'a Load,
    setting: &'a Setting<'a>,
    requests: &'a [Request],
    matches: Option<Regex>,
    over: AtomicBool,
    sent: AtomicU64,
    began: Instant,
}

/// Sends requests until the time, their number or the steps beside them are done.
pub(super) fn run(step: &Load, setting: &Setting<'_>) -> Produced {
    let requests: Result<Vec<_>, _> =
        step.requests.as_slice().iter().map(|request| http::prepare(request, setting.stage)).collect();
    let matches = step.matches.as_deref().map(Regex::new).transpose();
    let (requests, matches) = match (requests, matches) {
        (Ok(requests), Ok(matches)) if !requests.is_empty() => (requests, matches),
        (Ok(_), Ok(_)) => return Produced::failed(FailureKind::Step, "there are no requests to send".to_owned()),
        (Err(error), _) => return Produced::failed(FailureKind::Step, error),
        (_, Err(error)) => return Produced::failed(FailureKind::Step, error.to_string()),
    };
    let course = Course {
        step,
        setting,
        requests: &requests,
        matches,
        over: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        began: Instant::now(),
    };
    let tally = Mutex::new(Tally::default());
    let (course, total) = (&course, &tally);
    let (beside, unstarted) = std::thread::scope(|threads| {
        let clients = step.clients.unwrap_or(CLIENTS).clamp(1, MOST_CLIENTS);
        let mut unstarted = 0;
        for number in 0..clients {
            let client =
                std::thread::Builder::new().name(format!("client {number}")).spawn_scoped(threads, move || {
                    let own = client(course, number);
                    if let Ok(mut total) = total.lock() {
                        total.add(own);
                    }
                });
            unstarted += u32::from(client.is_err());
        }
        let beside = meanwhile(course);
        let end = step
            .length
            .map(Duration::from)
            .or_else(|| (setting.prepared.nested.is_empty() && step.total.is_none()).then_some(LENGTH));
        if let Some(end) = end {
            // The limit ends the clients too.
            let _ = setting.limit.pause(end.saturating_sub(course.began.elapsed()));
        }
        if step.total.is_none() || !setting.prepared.nested.is_empty() {
            course.over.store(true, Ordering::Relaxed);
        }
        (beside, unstarted)
    });
    let tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut produced = assemble(tally, course.began.elapsed());
    for (performed, id) in beside {
        produced.inner.extend(performed.failures);
        produced.captured.extend(performed.captured);
        produced.captured.extend(id.map(|id| (id, performed.result)));
    }
    if unstarted > 0 {
        produced.fail(FailureKind::Infrastructure, format!("{unstarted} clients could not be started"));
    }
    produced
}

/// Does the steps beside the load, each with the names that those before it gave.
fn meanwhile(course: &Course<'_>) -> Vec<(Performed, Option<String>)> {
    let setting = course.setting;
    let mut scope = setting.scope.child();
    let mut done = Vec::new();
    for step in &setting.prepared.nested {
        if let Some(id) = &step.id {
            setting.stage.mark(id);
        }
        let mut performed = setting.performer.perform(step, &scope, setting.limit);
        for (name, value) in &performed.captured {
            scope.set(name.clone(), value.clone());
        }
        if let Some(id) = &step.id {
            scope.set(id.clone(), performed.result.clone());
        }
        let fails = !performed.failures.is_empty() && !step.soft;
        if step.soft {
            performed.failures.clear();
        }
        done.push((performed, step.id.clone()));
        if fails || setting.limit.check().is_err() {
            break;
        }
    }
    done
}

/// The part of one client.
fn client(course: &Course<'_>, number: u32) -> Tally {
    let Course { step, setting, .. } = course;
    let keeps = match step.connections {
        Connections::Kept => true,
        Connections::Fresh => false,
        Connections::Mixed => number.is_multiple_of(2),
    };
    let mut tally = Tally::default();
    let mut kept: Option<Connection> = None;
    for turn in number as usize.. {
        // Steps that are done at once must not end the load before it has begun.
        let begun = turn > number as usize;
        if begun && course.over.load(Ordering::Relaxed) || setting.limit.check().is_err() {
            break;
        }
        if step.total.is_some_and(|total| course.sent.fetch_add(1, Ordering::Relaxed) >= total) {
            break;
        }
        let request = &course.requests[turn % course.requests.len()];
        let limit = setting.limit.at_most(step.timeout.map_or(REQUEST_LIMIT, Duration::from));
        let started = Instant::now();
        let (exchange, left) = http::exchange(request, kept.take(), None, None, setting.stage, limit);
        kept = left.filter(|_| keeps);
        let took = started.elapsed();
        tally.requests += 1;
        tally.retried += u64::from(exchange.retried);
        if let Some(response) = &exchange.response {
            *tally.statuses.entry(response.status).or_default() += 1;
        }
        match course.fault(request, &exchange) {
            None => {
                tally.served += 1;
                if tally.latencies.len() < MOST_TIMES {
                    tally.latencies.push(took);
                }
            }
            Some(fault) => {
                tally.errors.entry(fault).or_insert((0, course.began.elapsed())).0 += 1;
                let _ = setting.limit.pause(AFTER_FAILURE);
            }
        }
        if let Some(pause) = step.pause {
            let _ = setting.limit.pause(pause.into());
        }
    }
    tally
}

impl Course<'_> {
    /// What is wrong with an answer.
    fn fault(&self, request: &Request, exchange: &http::Exchange) -> Option<String> {
        let of = |text: &str| Some(format!("{} {}: {text}", request.method, request.target));
        if let Some(error) = &exchange.error {
            return of(&error.to_string());
        }
        let Some(response) = &exchange.response else { return of("no answer") };
        let accepted = self.step.accept.as_slice();
        let served = if accepted.is_empty() { response.status < 400 } else { accepted.contains(&response.status) };
        if !served {
            return of(&format!("status {}", response.status));
        }
        if self.matches.as_ref().is_some_and(|pattern| !pattern.is_match(&response.body)) {
            return of("the body is not the expected one");
        }
        None
    }
}

/// The value at a share of sorted times.
fn percentile(sorted: &[Duration], share: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * share).div_ceil(100)).copied()
}

fn assemble(mut tally: Tally, elapsed: Duration) -> Produced {
    tally.latencies.sort_unstable();
    let times = &tally.latencies;
    let mean = u32::try_from(times.len()).ok().and_then(|count| times.iter().sum::<Duration>().checked_div(count));
    let latency = [
        ("mean", mean.into()),
        ("p50", percentile(times, 50).into()),
        ("p90", percentile(times, 90).into()),
        ("p99", percentile(times, 99).into()),
        ("max", times.last().copied().into()),
    ];
    let statuses: IndexMap<String, Value> =
        tally.statuses.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
    let mut errors: Vec<_> = tally.errors.iter().collect();
    errors.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    let rate = tally.served as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
    let shown: Vec<Value> = errors
        .iter()
        .map(|(error, (count, first))| {
            Value::record([("error", error.as_str().into()), ("count", (*count).into()), ("first", (*first).into())])
        })
        .collect();
    let mut produced = Produced::with([
        ("requests", tally.requests.into()),
        ("served", tally.served.into()),
        ("failed", tally.failed().into()),
        ("retried", tally.retried.into()),
        ("statuses", Value::Map(statuses)),
        ("errors", Value::List(shown)),
        ("latency", Value::record(latency)),
        ("rate", rate.into()),
        ("elapsed", elapsed.into()),
    ]);
    if tally.requests == 0 {
        produced.fail(FailureKind::Step, "not one request was sent");
    } else if tally.failed() > 0 {
        let text = format!("{} of {} requests failed", tally.failed(), tally.requests);
        let mut failure = Failure::new(FailureKind::Step, "", text);
        failure.notes = errors
            .iter()
            .map(|(error, (count, first))| format!("{count} × {error} (first after {first:.1?})"))
            .collect();
        produced.unchecked = Some(("failed", failure));
    }
    produced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut all = Tally::default();
        for client in 1..=2_u64 {
            let mut own = Tally { requests: 10, served: 10 - client, retried: client, ..Tally::default() };
            own.statuses.insert(200, 10 - client);
            own.errors.insert("GET /: status 503".to_owned(), (client, Duration::from_secs(client)));
            own.latencies = vec![Duration::from_millis(client); 8];
            all.add(own);
        }
        let mut produced = assemble(all, Duration::from_secs(2));
        let number = |name: &str| produced.members[name].clone();
        assert_eq!((number("requests"), number("served")), (Value::Int(20), Value::Int(17)));
        assert_eq!((number("failed"), number("retried")), (Value::Int(3), Value::Int(3)));
        assert_eq!(number("rate"), Value::Float(8.5));
        let (member, failure) = produced.unchecked.take().unwrap();
        assert_eq!((member, failure.message.as_str()), ("failed", "3 of 20 requests failed"));
        assert_eq!(failure.notes, ["3 × GET /: status 503 (first after 1.0s)"]);
    }

    #[test]
    fn shares_of_few_times() {
        let times: Vec<_> = (1..=4).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Some(Duration::from_millis(3)));
        assert_eq!(percentile(&times, 99), Some(Duration::from_millis(4)));
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn no_request_at_all_is_a_fault() {
        assert_eq!(assemble(Tally::default(), Duration::ZERO).failures.len(), 1);
    }
}
