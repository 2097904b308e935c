//! Which idle workers wait for events.
//!
//! While requests are short, one worker at a time is enough: it takes event after event, and nobody has to be woken or
//! has to queue for the GIL, which only one thread can hold anyway. (With all idle workers waiting in the poller, eight
//! busy connections cost six futex calls per request in the GIL alone.) When the worker that took an event does not come
//! back because its request waits for something, or computes for long, others have to wait for events too: a standby
//! notices, and for a while every idle worker waits in the poller. The standby looks every [`PATIENCE`] while there is
//! traffic and sleeps when there is none. It tells by the thread's state whether a worker waits or was merely not
//! scheduled, so that a busy machine does not look like a slow application.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a request may keep the only waiting worker away.
const PATIENCE: Duration = Duration::from_millis(1);

/// How much processor time a request may take meanwhile, if it does not wait.
const COMPUTING: Duration = Duration::from_millis(5);

/// How long all idle workers wait for events after one was kept away.
const EAGERNESS: Duration = Duration::from_millis(250);

/// How long after the last event the standby goes on looking.
const ALERTNESS: Duration = Duration::from_millis(4);

/// See the module.
pub(super) struct Crew {
    base: Instant,
    /// Workers that wait in the poller, or are on their way to it.
    waiting: AtomicU32,
    /// When the last of them took an event.
    left_alone: AtomicU64,
    /// The thread that did.
    left_by: AtomicI32,
    /// Until when all idle workers wait.
    eager_until: AtomicU64,
    /// The standby looks by itself: nobody needs to wake it.
    alert: AtomicBool,
    ended: AtomicBool,
    /// Whether there is a standby.
    bench: Mutex<bool>,
    standby: Condvar,
    resting: Condvar,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Crew {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            waiting: AtomicU32::new(0),
            left_alone: AtomicU64::new(0),
            left_by: AtomicI32::new(0),
            eager_until: AtomicU64::new(0),
            alert: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            bench: Mutex::new(false),
            standby: Condvar::new(),
            resting: Condvar::new(),
        }
    }

    fn now(&self) -> u64 {
        micros(self.base.elapsed())
    }

    fn bench(&self) -> MutexGuard<'_, bool> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by an idle worker; returns when it shall wait in the poller, or when everything ends.
    pub(super) fn turn(&self) {
        loop {
            let others = self.waiting.fetch_add(1, Ordering::SeqCst);
            if others == 0 || self.now() < self.eager_until.load(Ordering::Relaxed) || self.ended() {
                return;
            }
            if !self.steps_back() {
                self.rest();
            }
        }
    }

    /// Counts out a worker that has only looked. `true`: whoever was waiting has gone meanwhile, and could not tell that
    /// it left nobody behind, as this one was counted; it must not rest.
    fn steps_back(&self) -> bool {
        self.waiting.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Called by a worker (the kernel's number of its thread) that the poller has let go.
    pub(super) fn took(&self, thread: i32) {
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.left_by.store(thread, Ordering::Relaxed);
            self.left_alone.store(self.now(), Ordering::Relaxed);
            if !self.alert.load(Ordering::SeqCst) {
                // It may be asleep, or not there at all.
                let bench = self.bench();
                if *bench {
                    self.standby.notify_one();
                }
            }
        }
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn rest(&self) {
        let mut bench = self.bench();
        if *bench {
            // Woken to become the standby, or because all are wanted.
            if !self.ended() {
                drop(self.resting.wait(bench).unwrap_or_else(PoisonError::into_inner));
            }
            return;
        }
        *bench = true;
        let mut suspect = None;
        while !self.ended() {
            let now = self.now();
            let alone = self.waiting.load(Ordering::SeqCst) == 0;
            let since = now.saturating_sub(self.left_alone.load(Ordering::Relaxed));
            if alone && since >= micros(PATIENCE) && self.stays_away(&mut suspect) {
                self.eager_until.store(now + micros(EAGERNESS), Ordering::Relaxed);
                break;
            }
            if now < self.eager_until.load(Ordering::Relaxed) {
                break;
            }
            if alone || since < micros(ALERTNESS) {
                self.alert.store(true, Ordering::SeqCst);
                let (again, _) = self.standby.wait_timeout(bench, PATIENCE).unwrap_or_else(PoisonError::into_inner);
                bench = again;
                continue;
            }
            self.alert.store(false, Ordering::SeqCst);
            // Whoever takes an event from here on sees that it has to wake the standby; who did before is seen here.
            if self.waiting.load(Ordering::SeqCst) > 0 {
                bench = self.standby.wait(bench).unwrap_or_else(PoisonError::into_inner);
            }
        }
        *bench = false;
        self.alert.store(false, Ordering::SeqCst);
        drop(bench);
        self.resting.notify_all();
    }

    /// Whether the worker that left the poller alone will not be back at once.
    fn stays_away(&self, suspect: &mut Option<Suspect>) -> bool {
        let thread = self.left_by.load(Ordering::Relaxed);
        let since = self.left_alone.load(Ordering::Relaxed);
        if !is_running(thread) {
            return true;
        }
        let used = processor_time(thread);
        match suspect {
            Some(known) if known.since == since => used.saturating_sub(known.used) >= COMPUTING,
            _ => {
                *suspect = Some(Suspect { since, used });
                false
            }
        }
    }

    /// Everything ends: nobody rests any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(self.bench());
        self.standby.notify_all();
        self.resting.notify_all();
    }
}

/// A worker that has been away for long but was running.
struct Suspect {
    since: u64,
    used: Duration,
}

/// Whether a thread runs or waits for a processor, as opposed to waiting for anything else.
fn is_running(thread: i32) -> bool {
    let stat = std::fs::read(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // "number (name) state …", and the name may hold anything.
    let state = stat.iter().rposition(|byte| *byte == b')').and_then(|end| stat.get(end + 2));
    state == Some(&b'R')
}

/// The processor time that a thread of this process has used.
fn processor_time(thread: i32) -> Duration {
    // The kernel's encoding of "the processor time of this thread".
    const SCHEDULED_PER_THREAD: i32 = 6;
    let clock = (!thread << 3) | SCHEDULED_PER_THREAD;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is writable.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Workers that say when they wait for events, and "take" one when they are told to.
    fn crew(workers: usize) -> (Arc<Crew>, Receiver<usize>) {
        let crew = Arc::new(Crew::new());
        let (says, heard) = channel();
        for worker in 0..workers {
            let (crew, says) = (Arc::clone(&crew), says.clone());
            std::thread::spawn(move || {
                crew.turn();
                says.send(worker).expect("is heard");
            });
        }
        (crew, heard)
    }

    const SOON: Duration = Duration::from_secs(10);
    const NOT_AT_ONCE: Duration = Duration::from_millis(30);

    /// No thread has this number: it does not run.
    const NOBODY: i32 = 0;

    #[test]
    fn a_thread_is_seen_running_or_waiting() {
        // SAFETY: cannot fail.
        let own = unsafe { libc::gettid() };
        assert!(is_running(own));
        let (says, heard) = channel();
        let (ends, end) = channel::<()>();
        let other = std::thread::spawn(move || {
            // SAFETY: as above.
            says.send(unsafe { libc::gettid() }).expect("is heard");
            let _ = end.recv();
        });
        let thread = heard.recv().expect("is said");
        while is_running(thread) {
            std::thread::yield_now();
        }
        drop(ends);
        other.join().expect("ends");
        let before = processor_time(own);
        while processor_time(own) == before {}
    }

    #[test]
    fn one_worker_waits_while_nothing_happens() {
        let (crew, heard) = crew(4);
        assert!(heard.recv_timeout(SOON).is_ok());
        assert!(heard.recv_timeout(NOT_AT_ONCE).is_err(), "a second one waits too");
        crew.end();
        for _ in 0..3 {
            assert!(heard.recv_timeout(SOON).is_ok(), "nobody rests at the end");
        }
    }

    #[test]
    fn others_step_in_when_the_only_one_stays_away() {
        let (crew, heard) = crew(4);
        assert!(heard.recv_timeout(SOON).is_ok());
        while !*crew.bench() {
            std::thread::yield_now();
        }
        crew.took(NOBODY);
        assert!(heard.recv_timeout(SOON).is_ok(), "nobody waits for events");
        crew.end();
    }

    #[test]
    fn whoever_looks_while_the_only_one_leaves_takes_its_place() {
        let crew = Crew::new();
        crew.turn();
        let others = crew.waiting.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 1, "one waits, so this one need not");
        crew.took(NOBODY);
        assert!(crew.steps_back(), "nobody waits, and nobody was told");
        crew.turn();
        assert_eq!(crew.waiting.load(Ordering::SeqCst), 1);
        crew.waiting.fetch_add(1, Ordering::SeqCst);
        assert!(!crew.steps_back(), "another one waits");
    }

    #[test]
    fn a_standby_that_sleeps_is_woken() {
        let (crew, heard) = crew(2);
        assert!(heard.recv_timeout(SOON).is_ok());
        // Long enough for the standby to have gone to sleep.
        assert!(heard.recv_timeout(NOT_AT_ONCE).is_err());
        crew.took(NOBODY);
        assert!(heard.recv_timeout(SOON).is_ok());
    }
}
