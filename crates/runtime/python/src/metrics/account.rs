//! What one thread has done since the last time somebody asked.

use super::histogram::Phase;
use super::meter::{Cpu, Tally, microseconds};
use crate::telemetry::Described;

/// The phases of a request, in the order of [`Window::phases`].
pub(crate) const PHASES: [&str; 8] = [
    "server_time",
    "queue_time",
    "daemon_time",
    "application_time",
    "request_time",
    "gil_wait_time",
    "input_read_time",
    "output_write_time",
];

/// The places of phases that only daemon mode has.
pub(crate) const QUEUE: usize = 1;
/// See [`QUEUE`].
pub(crate) const DAEMON: usize = 2;

/// What happened in one window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) requests: u64,
    /// Counts of 1xx to 5xx.
    pub(crate) statuses: [u64; 5],
    pub(crate) input_bytes: u64,
    pub(crate) input_reads: u64,
    pub(crate) output_bytes: u64,
    pub(crate) output_writes: u64,
    pub(crate) gil_count: u64,
    pub(crate) phases: [Phase; 8],
    /// Microseconds in which a request was being served.
    pub(crate) busy: u64,
    /// Processor time in microseconds.
    pub(crate) cpu: u64,
    /// The longest request that ended, in microseconds.
    pub(crate) longest: u64,
}

impl Window {
    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        for (own, more) in self.statuses.iter_mut().zip(&other.statuses) {
            *own += more;
        }
        self.input_bytes += other.input_bytes;
        self.input_reads += other.input_reads;
        self.output_bytes += other.output_bytes;
        self.output_writes += other.output_writes;
        self.gil_count += other.gil_count;
        for (own, more) in self.phases.iter_mut().zip(&other.phases) {
            own.add(more);
        }
        self.busy += other.busy;
        self.cpu += other.cpu;
        self.longest = self.longest.max(other.longest);
    }
}

/// The times of a request's phases in microseconds, in the order of [`PHASES`].
pub(crate) type PhaseTimes = [Option<u64>; 8];

/// A request that is being served.
#[derive(Debug)]
pub(crate) struct Current {
    /// When the thread took it, microseconds since the epoch.
    pub(crate) begun: i64,
    /// Until when its time was added to a window's.
    counted: i64,
    /// How many requests the process served when it began, this one included.
    pub(crate) active_at_start: u32,
    /// What a report says of it, when slow requests are reported.
    pub(crate) described: Option<Box<Described>>,
}

/// A request that has ended. Times are microseconds since the epoch.
pub(crate) struct Finished<'a> {
    pub(crate) tally: &'a Tally,
    pub(crate) request_start: i64,
    pub(crate) queue_start: i64,
    pub(crate) daemon_start: i64,
    /// When response and application were done.
    pub(crate) finish: i64,
    /// The status that the client got.
    pub(crate) status: u16,
    /// The thread's processor time, when it is known.
    pub(crate) cpu: Option<Cpu>,
}

impl Finished<'_> {
    /// The phases in microseconds, `None` for those that this mode has not.
    pub(crate) fn phases(&self) -> PhaseTimes {
        let span = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        // A request that ended before its application was called has spent all its time on the way there.
        let called = if self.tally.application_start == 0 { self.finish } else { self.tally.application_start };
        let in_daemon = self.queue_start != 0;
        let served = span(self.request_start, if in_daemon { self.queue_start } else { called });
        let queued = in_daemon.then(|| span(self.queue_start, self.daemon_start));
        let daemon = in_daemon.then(|| span(self.daemon_start, called));
        let application = span(called, self.finish);
        let request = served + queued.unwrap_or(0) + daemon.unwrap_or(0) + application;
        let meter = &self.tally.meter;
        [
            Some(served),
            queued,
            daemon,
            Some(application),
            Some(request),
            Some(microseconds(meter.gil_wait)),
            Some(microseconds(meter.input)),
            Some(microseconds(meter.output)),
        ]
    }
}

/// One thread's account. Its own requests and whoever drains it use it, so its lock is nearly always free.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) current: Option<Current>,
    window: Window,
    /// When the window began, microseconds since the epoch.
    opened: i64,
    /// Microseconds of all requests that ended since recording began.
    ended_busy: u64,
}

/// What a drain takes from an account.
pub(crate) struct Drained {
    pub(crate) window: Window,
    /// How long the present request is being served, in microseconds.
    pub(crate) elapsed: u64,
}

impl Account {
    /// A request begins.
    pub(crate) fn begin(&mut self, begun: i64, active_at_start: u32, described: Option<Box<Described>>) {
        self.current = Some(Current { begun, counted: begun, active_at_start, described });
    }

    /// Recording begins: no request is busy in the window before that.
    pub(crate) fn open(&mut self, now: i64) {
        self.opened = now;
    }

    /// A request ends. `begun` is for one that began before recording did.
    pub(crate) fn finish(&mut self, request: &Finished<'_>, begun: i64) -> Current {
        let counted = begun.max(self.opened);
        let current = self.current.take().unwrap_or(Current { begun, counted, active_at_start: 1, described: None });
        let window = &mut self.window;
        let tally = request.tally;
        window.requests += 1;
        if let Some(count) = window.statuses.get_mut(usize::from(request.status / 100).wrapping_sub(1)) {
            *count += 1;
        }
        window.input_bytes += tally.input_bytes;
        window.input_reads += tally.input_reads;
        window.output_bytes += tally.output_bytes;
        window.output_writes += tally.output_writes;
        window.gil_count += tally.meter.gil_count;
        for (phase, time) in window.phases.iter_mut().zip(request.phases()) {
            if let Some(time) = time {
                phase.count(time);
            }
        }
        let duration = u64::try_from(request.finish - current.begun).unwrap_or(0);
        window.busy += u64::try_from(request.finish - current.counted).unwrap_or(0);
        window.cpu += request.cpu.map_or(0, Cpu::total);
        window.longest = window.longest.max(duration);
        self.ended_busy += duration;
        current
    }

    /// Takes the window, and begins the next one.
    pub(crate) fn drain(&mut self, now: i64) -> Drained {
        let mut elapsed = 0;
        if let Some(current) = &mut self.current {
            elapsed = u64::try_from(now - current.begun).unwrap_or(0);
            self.window.busy += u64::try_from(now - current.counted).unwrap_or(0);
            current.counted = now.max(current.counted);
        }
        self.opened = now;
        Drained { window: std::mem::take(&mut self.window), elapsed }
    }

    /// Microseconds of requests since recording began, the present one included.
    pub(crate) fn busy(&self, now: i64) -> u64 {
        let present = self.current.as_ref().map_or(0, |current| u64::try_from(now - current.begun).unwrap_or(0));
        self.ended_busy + present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(tally: &Tally, finish: i64) -> Finished<'_> {
        Finished { tally, request_start: 1_000, queue_start: 0, daemon_start: 0, finish, status: 200, cpu: None }
    }

    #[test]
    fn a_long_request_is_busy_in_every_window() {
        let mut account = Account::default();
        account.begin(2_000, 3, None);
        let first = account.drain(5_000);
        assert_eq!((first.window.busy, first.elapsed, first.window.requests), (3_000, 3_000, 0));
        let tally = Tally { application_start: 2_500, status: 200, ..Tally::default() };
        let current = account.finish(&finished(&tally, 9_000), 0);
        assert_eq!((current.begun, current.active_at_start), (2_000, 3));
        assert_eq!(account.busy(20_000), 7_000);
        let second = account.drain(10_000);
        assert_eq!((second.window.busy, second.elapsed), (4_000, 0));
        assert_eq!(
            (second.window.longest, second.window.requests, second.window.statuses),
            (7_000, 1, [0, 1, 0, 0, 0])
        );
        assert_eq!(account.drain(11_000).window.requests, 0);
    }

    #[test]
    fn a_request_that_began_before_recording_is_busy_since_then() {
        let mut account = Account::default();
        account.open(5_000);
        account.finish(&finished(&Tally::default(), 9_000), 2_000);
        let drained = account.drain(9_500);
        assert_eq!((drained.window.busy, drained.window.longest), (4_000, 7_000));
        account.finish(&finished(&Tally::default(), 10_000), 2_000);
        assert_eq!(account.drain(10_000).window.busy, 500, "its time belongs to the window it ends in, from its start");
    }

    #[test]
    fn phases_follow_each_other() {
        let tally = Tally { application_start: 2_500, ..Tally::default() };
        let embedded = finished(&tally, 9_000).phases();
        assert_eq!(embedded[..5], [Some(1_500), None, None, Some(6_500), Some(8_000)]);
        let daemon = Finished { queue_start: 1_100, daemon_start: 1_300, ..finished(&tally, 9_000) };
        assert_eq!(daemon.phases()[..5], [Some(100), Some(200), Some(1_200), Some(6_500), Some(8_000)]);
        let uncalled = Tally::default();
        assert_eq!(finished(&uncalled, 9_000).phases()[..5], [Some(8_000), None, None, Some(0), Some(8_000)]);
    }
}
