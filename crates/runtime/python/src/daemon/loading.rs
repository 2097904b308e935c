//! Who hears the server while a process loads what it will serve: that may take for ever.
//!
//! A successor that is late gives up, so that the process which it was to replace may ask for another one. Whoever is to
//! end has `shutdown-timeout=` for the rest of its loading. A process that is itself replaced before it serves passes on
//! to its predecessor that both of them may go.
//!
//! Whether the process serves or ends is decided once, by whoever is first: the thread that loads, which takes
//! connections and tells the predecessor to leave only if it was ([`Loading::serves`]), or the one that watches.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::GIVEN_UP;

use super::fork::Held;
use super::monitor;
use super::poller::Wakeup;
use super::server::Server;
use super::signals;
use super::start::leave;
use crate::engine::{Engine, Stacks};

/// How long the interpreter's lock is waited for, to log where the loading hangs.
const STACKS: Duration = Duration::from_secs(1);

/// A thread that watches until the value is dropped.
pub(super) struct Loading {
    shared: Arc<Shared>,
    control: RawFd,
    thread: Option<JoinHandle<()>>,
}

/// What a start comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is not known yet.
    Open,
    /// The process serves.
    Serves,
    /// It was told to end, or nobody wants it any more.
    Ends,
    /// It gives up, and ends at once.
    GivesUp,
}

/// The first decision, which holds.
struct Decision(AtomicU8);

impl Decision {
    const ALL: [Outcome; 4] = [Outcome::Open, Outcome::Serves, Outcome::Ends, Outcome::GivesUp];

    const fn new() -> Self {
        Self(AtomicU8::new(Outcome::Open as u8))
    }

    /// Decides, if nobody did before. Returns what holds.
    fn make(&self, outcome: Outcome) -> Outcome {
        let made = self.0.compare_exchange(Outcome::Open as u8, outcome as u8, Ordering::AcqRel, Ordering::Acquire);
        made.map_or_else(|before| Self::ALL[usize::from(before) % Self::ALL.len()], |_| outcome)
    }
}

struct Shared {
    over: Wakeup,
    decision: Decision,
    /// The script that is being loaded.
    script: Mutex<Vec<u8>>,
}

struct Watch {
    server: &'static Server,
    shared: Arc<Shared>,
    control: RawFd,
    predecessor: Option<Held<OwnedFd>>,
    /// When a successor has taken too long.
    late: Option<Instant>,
}

impl Loading {
    /// Begins to watch. `replaces`: another process goes on serving until this one does.
    pub(super) fn watch(
        server: &'static Server,
        control: Option<&Held<OwnedFd>>,
        predecessor: Option<&Held<OwnedFd>>,
        replaces: bool,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { over: Wakeup::new()?, decision: Decision::new(), script: Mutex::default() });
        // It is closed after the thread has ended, or with the process.
        let control = control.map_or(-1, |control| control.as_raw_fd());
        let watch = Watch {
            server,
            shared: Arc::clone(&shared),
            control,
            predecessor: predecessor.map(Held::again).transpose()?,
            late: replaces.then(|| Instant::now() + server.timeouts.loading()),
        };
        let thread = std::thread::Builder::new().spawn(move || watch.run())?;
        Ok(Self { shared, control, thread: Some(thread) })
    }

    /// Everything is loaded. `true`: the process serves from now on; `false`: it was told to end before. Does not return
    /// when it is about to give up.
    pub(super) fn serves(&mut self) -> bool {
        let mut entry = libc::pollfd { fd: self.control, events: libc::POLLIN, revents: 0 };
        let caught = signals::look();
        // What came before this moment counts, whether or not the thread has had the time to see it.
        // SAFETY: one entry.
        let ends =
            caught.has(libc::SIGTERM) || caught.has(libc::SIGINT) || unsafe { libc::poll(&raw mut entry, 1, 0) > 0 };
        let outcome = self.shared.decision.make(if ends { Outcome::Ends } else { Outcome::Serves });
        if outcome == Outcome::GivesUp
            && let Some(thread) = self.thread.take()
        {
            // It ends the process.
            let _ = thread.join();
        }
        outcome == Outcome::Serves
    }

    /// What is loaded now.
    pub(super) fn names(&self, script: &[u8]) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = script.to_vec();
    }

    /// Nothing is watched any more.
    pub(super) fn is_over(&self) {
        self.shared.over.wake();
    }
}

/// Logs what Python's threads are doing, if that can be had: the process is about to end because one of them hangs.
pub(super) fn dump_stacks(engine: &'static Engine) {
    let (written, wait) = channel();
    let dump = move || {
        engine.dump_stacks(Stacks::All, Level::Info);
        let _ = written.send(());
    };
    if std::thread::Builder::new().spawn(dump).is_ok() {
        let _ = wait.recv_timeout(STACKS);
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.is_over();
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

impl Watch {
    fn run(mut self) {
        // Ends the process, unless it is dropped with this thread: then the monitor has heard of the same.
        let mut end: Option<Sender<()>> = None;
        loop {
            let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            let over = self.shared.over.as_fd().as_raw_fd();
            let signals = if end.is_some() { -1 } else { self.server.board.monitor.as_fd().as_raw_fd() };
            let mut entries = [entry(over), entry(self.control), entry(signals)];
            let left = self.late.map(|late| late.saturating_duration_since(Instant::now()));
            let milliseconds =
                left.map_or(-1, |left| i32::try_from(left.as_millis()).map_or(i32::MAX, |left| left + 1));
            // SAFETY: three entries.
            unsafe { libc::poll(entries.as_mut_ptr(), 3, milliseconds) };
            let [over, control, signal] = entries.map(|entry| entry.revents);
            if over == 0 && left.is_some_and(|left| left.is_zero()) {
                self.late = None;
                if self.shared.decision.make(Outcome::GivesUp) != Outcome::Serves {
                    self.give_up();
                }
            }
            if control != 0 {
                self.shared.decision.make(Outcome::Ends);
                // What is there is left to the monitor, should it come to that.
                self.control = -1;
                if control & libc::POLLIN != 0
                    && let Some(predecessor) = &self.predecessor
                {
                    leave(predecessor);
                }
                end = end.or_else(|| self.end());
            }
            if signal != 0 {
                self.server.board.monitor.clear();
                let caught = signals::look();
                if caught.has(libc::SIGTERM) || caught.has(libc::SIGINT) {
                    self.shared.decision.make(Outcome::Ends);
                    end = end.or_else(|| self.end());
                }
            }
            // After what has to be passed on.
            if over != 0 {
                return;
            }
        }
    }

    fn end(&self) -> Option<Sender<()>> {
        let shutdown = Duration::from_millis(self.server.timeouts.shutdown);
        if shutdown.is_zero() { None } else { monitor::reaper(self.server, shutdown).ok() }
    }

    /// The process serves nobody, and another one does.
    fn give_up(&self) -> ! {
        let server = self.server;
        if let Some(engine) = server.engine() {
            dump_stacks(engine);
        }
        server.status.give_up();
        let script = self.shared.script.lock().unwrap_or_else(PoisonError::into_inner);
        let what = match &script[..] {
            [] => "it".to_owned(),
            script => format!("loading script '{}'", String::from_utf8_lossy(script)),
        };
        server.log.say(
            Level::Error,
            &format!(
                "WSGI0935: Rolling restart of daemon process '{}' was given up as {what} took longer than {} seconds; \
                 the old process goes on serving.",
                server.group,
                server.timeouts.loading().as_secs()
            ),
        );
        if let Some(engine) = server.engine() {
            engine.aborted();
        }
        // SAFETY: nothing may run any more, neither clean-ups nor other threads.
        unsafe { libc::_exit(GIVEN_UP) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_decision_holds() {
        for first in [Outcome::Serves, Outcome::Ends, Outcome::GivesUp] {
            let decision = Decision::new();
            assert_eq!(decision.make(first), first);
            for later in [Outcome::Serves, Outcome::Ends, Outcome::GivesUp] {
                assert_eq!(decision.make(later), first, "{later:?} came too late");
            }
        }
    }
}
