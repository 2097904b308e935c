//! Requests that take longer than `WSGISlowRequests` says.

use std::sync::{Mutex, PoisonError};

use wsgi_protocol::keys::{self, KeyId};
use wsgi_protocol::request::Facts;

use super::packet::Packet;
use crate::metrics::{Finished, PhaseTimes, float};
use crate::wsgi::environ::{entry, seconds};

/// The most bytes of a text in a record.
const LONGEST: usize = 512;

/// The most records of ended requests that wait for the next report.
const MOST_WAITING: usize = 256;

/// What a record says of a request, copied when the request begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described {
    thread: u32,
    server_pid: u64,
    /// `log_id`, then the texts of [`TEXTS`] and the user agent in the order of their ids.
    log_id: Vec<u8>,
    texts: [Vec<u8>; TEXTS.len()],
    user_agent: Vec<u8>,
    request_start: i64,
    queue_start: i64,
    daemon_start: i64,
}

/// Ids and environ keys of what identifies a request.
const TEXTS: [(u16, KeyId); 7] = [
    (210, keys::id("REQUEST_METHOD")),
    (211, keys::id("REQUEST_SCHEME")),
    (212, keys::id("SERVER_NAME")),
    (213, keys::id("SCRIPT_NAME")),
    (214, keys::id("PATH_INFO")),
    (215, keys::id("SERVER_PROTOCOL")),
    (216, keys::id("REMOTE_ADDR")),
];

fn cut(text: Option<&[u8]>) -> Vec<u8> {
    let text = text.unwrap_or_default();
    text[..text.len().min(LONGEST)].to_vec()
}

impl Described {
    fn of(facts: &Facts<'_>, thread: u32, daemon_start: i64, log_id: &[u8], user_agent: bool) -> Self {
        let number = |id| entry(facts, id).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let agent = if user_agent { entry(facts, keys::id("HTTP_USER_AGENT")) } else { None };
        Self {
            thread,
            server_pid: number(keys::id("mod_wsgi.server_pid")).unwrap_or_else(|| u64::from(std::process::id())),
            log_id: cut(Some(log_id)),
            texts: TEXTS.map(|(_, key)| cut(entry(facts, key))),
            user_agent: cut(agent),
            request_start: facts.request_start,
            queue_start: facts.queue_start,
            daemon_start,
        }
    }
}

/// A slow request, running or ended.
#[derive(Clone, Debug)]
pub(crate) struct Slowness {
    described: Box<Described>,
    /// Microseconds since the epoch.
    begun: i64,
    /// Microseconds.
    duration: u64,
    active_at_start: u32,
    end: Option<End>,
}

/// What is known of a request only when it has ended.
#[derive(Clone, Debug)]
struct End {
    phases: PhaseTimes,
    gil_count: u64,
    input: (u64, u64),
    output: (u64, u64),
    status: u16,
    cpu: (u64, u64),
    active: u32,
}

impl Slowness {
    /// A request that is still being served.
    pub(crate) fn active(described: Box<Described>, begun: i64, now: i64, active_at_start: u32) -> Self {
        let duration = u64::try_from(now - begun).unwrap_or(0);
        Self { described, begun, duration, active_at_start, end: None }
    }

    /// A request that has ended. `active`: how many the process served then.
    pub(crate) fn ended(
        described: Box<Described>,
        begun: i64,
        active_at_start: u32,
        request: &Finished<'_>,
        active: u32,
    ) -> Self {
        let tally = request.tally;
        let cpu = request.cpu.unwrap_or_default();
        let end = End {
            phases: request.phases(),
            gil_count: tally.meter.gil_count,
            input: (tally.input_bytes, tally.input_reads),
            output: (tally.output_bytes, tally.output_writes),
            status: request.status,
            cpu: (cpu.user, cpu.system),
            active,
        };
        let duration = u64::try_from(request.finish - begun).unwrap_or(0);
        Self { described, begun, duration, active_at_start, end: Some(end) }
    }

    /// The phases of a request that goes on: all that has passed since it was taken is the application's.
    fn so_far(&self) -> PhaseTimes {
        let span = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
        let known = &self.described;
        let daemon = known.queue_start != 0;
        let reached = if daemon { known.queue_start } else { self.begun };
        let mut phases = PhaseTimes::default();
        phases[0] = Some(span(known.request_start, reached));
        phases[1] = daemon.then(|| span(known.queue_start, known.daemon_start));
        phases[3] = Some(self.duration);
        phases
    }

    /// Writes the record.
    pub(crate) fn write(&self, packet: &mut Packet) {
        let known = &self.described;
        let time = |micros: u64| float(micros) / 1e6;
        let absent = End {
            phases: self.so_far(),
            gil_count: 0,
            input: (0, 0),
            output: (0, 0),
            status: 0,
            cpu: (0, 0),
            active: 0,
        };
        let end = self.end.as_ref().unwrap_or(&absent);
        packet.count(200, u64::from(self.end.is_some()));
        packet.number(201, seconds(self.begun));
        packet.number(202, time(self.duration));
        packet.count(203, u64::from(known.thread));
        packet.count(205, known.server_pid);
        packet.count(230, end.input.0);
        packet.count(231, end.input.1);
        packet.count(232, end.output.0);
        packet.count(233, end.output.1);
        packet.number(250, time(end.cpu.0));
        packet.number(251, time(end.cpu.1));
        let phase = |index: usize| time(end.phases[index].unwrap_or(0));
        packet.number(220, phase(0));
        packet.number(221, phase(1));
        packet.number(222, phase(2));
        packet.number(223, phase(3));
        packet.number(224, phase(5));
        packet.count(225, end.gil_count);
        packet.number(234, phase(6));
        packet.number(235, phase(7));
        packet.count(260, u64::from(self.active_at_start));
        packet.count(261, u64::from(end.active));
        packet.count(240, u64::from(end.status));
        packet.text(204, &known.log_id);
        for ((id, _), text) in TEXTS.iter().zip(&known.texts) {
            packet.text(*id, text);
        }
        packet.text(217, &known.user_agent);
    }
}

/// Slow requests of the process.
pub(crate) struct SlowRequests {
    /// Microseconds.
    threshold: u64,
    user_agent: bool,
    ended: Mutex<Vec<Slowness>>,
}

impl SlowRequests {
    /// `None` when nobody wants to know of them.
    pub(crate) fn new(seconds: f64, user_agent: bool) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a conversion that saturates is right for times of centuries"
        )]
        let threshold = (seconds * 1e6) as u64;
        (seconds > 0.0).then(|| Self { threshold, user_agent, ended: Mutex::default() })
    }

    /// What a record would say of a request that begins now.
    pub(crate) fn describe(&self, facts: &Facts<'_>, thread: u32, daemon_start: i64, log_id: &[u8]) -> Box<Described> {
        Box::new(Described::of(facts, thread, daemon_start, log_id, self.user_agent))
    }

    /// Whether a duration in microseconds is a slow one.
    pub(crate) fn is_slow(&self, duration: u64) -> bool {
        duration >= self.threshold
    }

    /// Keeps a request that has ended, when it was slow. Those beyond what a report can be expected to take are lost.
    pub(crate) fn note(&self, slowness: Slowness) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_slow(slowness.duration) && ended.len() < MOST_WAITING {
            ended.push(slowness);
        }
    }

    /// Takes those that have ended.
    pub(crate) fn take(&self) -> Vec<Slowness> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
