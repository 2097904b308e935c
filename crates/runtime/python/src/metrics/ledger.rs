//! All accounts of the process, and the windows that they are read in.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wsgi_protocol::launch::Telemetry;

use super::account::{Account, Current, Finished, Window};
use super::meter::{Cpu, usage};
use crate::telemetry::{Described, SlowRequests, Slowness};
use crate::thread::Record;
use crate::wsgi::adapter::now;

/// See the module.
pub(crate) struct Ledger {
    recording: AtomicBool,
    /// `WSGITelemetryService` takes the numbers: there is one reader of a window.
    reported: bool,
    /// `WSGISlowRequests`
    slow: Option<SlowRequests>,
    /// When the process began to run Python, microseconds since the epoch.
    started: AtomicI64,
    /// Requests that are being served and recorded.
    active: AtomicU32,
    records: Mutex<Vec<Arc<Record>>>,
    last: Mutex<Last>,
}

/// The end of the last window.
struct Last {
    stamp: i64,
    /// Just before and just after `stamp` was read: a window is never shorter than what was counted in it, even if the
    /// thread had to wait between two looks at a clock.
    before: Instant,
    after: Instant,
    cpu: Cpu,
}

impl Last {
    fn now() -> Self {
        let before = Instant::now();
        let stamp = now();
        Self { stamp, before, after: Instant::now(), cpu: process_cpu() }
    }
}

fn process_cpu() -> Cpu {
    usage(libc::RUSAGE_SELF).map_or(Cpu::default(), |usage| Cpu::of(&usage))
}

/// What one thread did in a window; times are microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) completed: u64,
    pub(crate) busy: u64,
    pub(crate) cpu: u64,
    pub(crate) elapsed: u64,
    pub(crate) longest: u64,
}

/// What the process did in a window.
pub(crate) struct Report {
    /// Microseconds since the epoch.
    pub(crate) start: i64,
    /// See `start`.
    pub(crate) stop: i64,
    /// The window's length in seconds.
    pub(crate) period: f64,
    pub(crate) window: Window,
    /// By thread, as many as the process may have.
    pub(crate) slots: Vec<Slot>,
    /// How many threads the process may have.
    pub(crate) maximum: u32,
    /// How many have served a request since the process began.
    pub(crate) started: usize,
    /// How many have served one in the window.
    pub(crate) active: usize,
    /// Processors kept busy by the process.
    pub(crate) cpu_user: f64,
    /// See `cpu_user`.
    pub(crate) cpu_system: f64,
}

impl Report {
    /// The part of all threads' time that was spent on requests.
    pub(crate) fn utilization(&self) -> f64 {
        ratio(float(self.window.busy) / 1e6, self.period * f64::from(self.maximum))
    }

    /// Requests per second.
    pub(crate) fn throughput(&self) -> f64 {
        ratio(float(self.window.requests), self.period)
    }
}

/// A count as Python's `float`.
#[expect(clippy::cast_precision_loss, reason = "no count of a process reaches 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// How many slots a report has at most, whatever numbers threads have.
const MOST_SLOTS: usize = 65_536;

impl Ledger {
    /// An empty one.
    pub(crate) fn new(telemetry: Option<&Telemetry>) -> Self {
        Self {
            recording: AtomicBool::new(telemetry.is_some()),
            reported: telemetry.is_some(),
            slow: telemetry.and_then(|own| SlowRequests::new(own.slow_requests, own.capture_user_agent)),
            started: AtomicI64::new(now()),
            active: AtomicU32::new(0),
            records: Mutex::default(),
            last: Mutex::new(Last::now()),
        }
    }

    /// When the process began to run Python, microseconds since the epoch.
    pub(crate) fn started(&self) -> i64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The process is a new one, forked from the one that this was made in. No request was served there.
    pub(crate) fn begin_again(&self) {
        self.started.store(now(), Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last::now();
    }

    /// Whether requests are recorded.
    pub(crate) fn recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    /// Whether applications may see what is recorded.
    pub(crate) fn shows(&self) -> bool {
        self.recording() && !self.reported
    }

    /// Records from now on. Without effect when that is already so.
    pub(crate) fn start_recording(&self) {
        if !self.recording.swap(true, Ordering::Relaxed) {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Last::now();
            for record in self.records().iter() {
                account(record).open(last.stamp);
            }
        }
    }

    /// A thread that may serve.
    pub(crate) fn enlist(&self, record: &Arc<Record>) {
        self.records().push(Arc::clone(record));
    }

    fn records(&self) -> MutexGuard<'_, Vec<Arc<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The threads that have a number, in its order.
    pub(crate) fn serving_threads(&self) -> Vec<Arc<Record>> {
        let mut records: Vec<_> = self.records().iter().filter(|record| record.number() > 0).cloned().collect();
        records.sort_by_key(|record| record.number());
        records
    }

    /// Requests that are being served and recorded.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// A request begins on a thread; `None` when nothing is recorded.
    pub(crate) fn begin(
        &self,
        record: &Record,
        begun: i64,
        describe: impl FnOnce(&SlowRequests) -> Box<Described>,
    ) -> Option<Open<'_>> {
        if !self.recording() {
            return None;
        }
        let active = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        let described = self.slow.as_ref().map(describe);
        account(record).begin(begun, active, described);
        Some(Open { ledger: self })
    }

    /// A request has ended on a thread.
    pub(crate) fn finish(&self, record: &Record, request: &Finished<'_>, begun: i64) {
        if !self.recording() {
            return;
        }
        let ended = account(record).finish(request, begun);
        if let (Some(slow), Some(described)) = (&self.slow, ended.described) {
            slow.note(Slowness::ended(described, ended.begun, ended.active_at_start, request, self.active()));
        }
    }

    /// The slow requests that have ended since this was asked, and those that go on.
    pub(crate) fn slow_requests(&self) -> Vec<Slowness> {
        let Some(slow) = &self.slow else { return Vec::new() };
        let mut all = slow.take();
        let present = now();
        for record in self.serving_threads() {
            let account = account(&record);
            if let Some(Current { begun, active_at_start, described: Some(described), .. }) = &account.current
                && slow.is_slow(u64::try_from(present - begun).unwrap_or(0))
            {
                all.push(Slowness::active(described.clone(), *begun, present, *active_at_start));
            }
        }
        all
    }

    /// Requests that have ended since the process began, and those that are being served.
    pub(crate) fn lifetime(&self) -> (u64, u64) {
        let threads = self.serving_threads();
        let active = threads.iter().filter(|record| record.serving.load(Ordering::Relaxed) != 0).count() as u64;
        let begun: u64 = threads.iter().map(|record| record.requests.load(Ordering::Relaxed)).sum();
        (begun.saturating_sub(active), active)
    }

    /// What happened since this was asked for the last time.
    pub(crate) fn drain(&self, maximum: u32) -> Report {
        let records = self.serving_threads();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let present = Last::now();
        let most = records.last().map_or(0, |record| record.number()).max(maximum);
        let mut slots = vec![Slot::default(); (most as usize).min(MOST_SLOTS)];
        let mut window = Window::default();
        let mut active = 0;
        for record in &records {
            let drained = account(record).drain(present.stamp);
            let own = &drained.window;
            if let Some(slot) = slots.get_mut(record.number() as usize - 1) {
                slot.completed += own.requests;
                slot.busy += own.busy;
                slot.cpu += own.cpu;
                slot.elapsed = drained.elapsed;
                slot.longest = own.longest;
            }
            active += usize::from(own.requests > 0 || own.busy > 0 || drained.elapsed > 0);
            window.add(own);
        }
        let period = present.after.duration_since(last.before).as_secs_f64();
        let cpu = present.cpu.since(last.cpu);
        let report = Report {
            start: last.stamp,
            stop: present.stamp,
            period,
            window,
            slots,
            maximum: most,
            started: records.len(),
            active,
            cpu_user: ratio(float(cpu.user) / 1e6, period),
            cpu_system: ratio(float(cpu.system) / 1e6, period),
        };
        *last = present;
        report
    }
}

/// A thread's account.
pub(crate) fn account(record: &Record) -> MutexGuard<'_, Account> {
    record.account.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request as active while it lives, also while a panic unwinds.
pub(crate) struct Open<'a> {
    ledger: &'a Ledger,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.ledger.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Tally;

    fn request(tally: &Tally, from: i64, status: u16) -> Finished<'_> {
        Finished {
            tally,
            request_start: from,
            queue_start: 0,
            daemon_start: 0,
            finish: from + 10,
            status,
            cpu: Some(Cpu { user: 3, system: 4 }),
        }
    }

    // Covers: rule:telemetry/free-when-off, rule:api/recording-needed
    #[test]
    fn a_window_holds_what_happened_in_it() {
        let ledger = Ledger::new(None);
        let (first, second, spare) = (Record::new(1), Record::new(2), Record::new(0));
        for record in [&second, &first, &spare] {
            ledger.enlist(record);
        }
        let describe = |_: &SlowRequests| unreachable!("nobody reports slow requests");
        assert!(ledger.begin(&first, now(), describe).is_none(), "nothing is recorded yet");
        ledger.start_recording();
        ledger.start_recording();
        assert!(ledger.shows());
        let tally = Tally { input_bytes: 5, output_writes: 1, ..Tally::default() };
        let open = ledger.begin(&first, now(), describe).expect("recorded");
        assert_eq!(ledger.active(), 1);
        ledger.finish(&first, &request(&tally, now(), 200), 0);
        drop(open);
        ledger.finish(&second, &request(&tally, now(), 503), now());
        let report = ledger.drain(4);
        assert_eq!((ledger.active(), report.started, report.active, report.maximum), (0, 2, 2, 4));
        assert_eq!((report.window.requests, report.window.statuses), (2, [0, 1, 0, 0, 1]));
        assert_eq!((report.window.input_bytes, report.window.output_writes, report.window.cpu), (10, 2, 14));
        let completed: Vec<u64> = report.slots.iter().map(|slot| slot.completed).collect();
        assert_eq!(completed, [1, 1, 0, 0]);
        assert!(report.stop >= report.start && report.period > 0.0);
        let next = ledger.drain(1);
        assert_eq!((next.window.requests, next.active, next.start), (0, 0, report.stop));
        assert_eq!(next.slots.len(), 2, "every thread has a slot, however few are configured");
    }

    #[test]
    fn telemetry_keeps_the_numbers_to_itself() {
        let ledger = Ledger::new(Some(&Telemetry::default()));
        assert!(ledger.recording() && !ledger.shows());
    }
}
