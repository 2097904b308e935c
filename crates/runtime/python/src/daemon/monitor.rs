//! The main thread of a serving daemon: drives the timers, hears signals and the server, and ends the process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::LEAVE;
use wsgi_protocol::page::State;

use super::fork::Held;
use super::server::Server;
use super::signals;
use super::timers::{Notice, Reason, Step, Timers};
use super::watchdog::{Task, Watchdog};
use crate::engine::Engine;

/// How long a signal may be lost before that is noticed, in milliseconds.
const SIGNAL_CHECK: u64 = 30_000;

/// The exit status of a process that had to be aborted.
pub(super) const ABORTED: i32 = 255;

/// See the module.
pub(super) struct Monitor {
    pub(super) server: &'static Server,
    pub(super) timers: Timers,
    /// Readable at its end: the server is gone. A byte: the successor serves.
    pub(super) control: Option<Held<OwnedFd>>,
    pub(super) watchdog: Option<Watchdog>,
    /// The signals whose loss was logged, a bit for each.
    lost_signals: u64,
    /// Ends with the process when it is dropped.
    reaper: Option<Sender<()>>,
}

impl Monitor {
    pub(super) fn new(
        server: &'static Server,
        timers: Timers,
        control: Option<Held<OwnedFd>>,
        watchdog: Option<Watchdog>,
    ) -> Self {
        Self { server, timers, control, watchdog, lost_signals: 0, reaper: None }
    }

    /// Runs until the process has to end, and ends it, except for the return from `main`.
    pub(super) fn run(mut self, workers: Vec<JoinHandle<()>>) {
        let reason = self.watch();
        let group = &self.server.group;
        if let Some(engine) = self.server.engine() {
            engine.will_stop(reason.name());
        }
        self.server.stop();
        self.server.status.count_stop(reason.name());
        for worker in workers {
            // A worker that panicked is as gone as one that returned.
            let _ = worker.join();
        }
        self.server.outbox.drain();
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.stop();
        }
        self.server.say(&format!("Stopping process '{group}'."));
        if let Some(engine) = self.server.engine() {
            engine.stop(reason.name());
        }
        self.server.say(&format!("Exiting daemon process '{group}'."));
    }

    fn watch(&mut self) -> Reason {
        loop {
            let seen = self.server.observe();
            let now = self.server.board.now();
            let mut steps = Vec::new();
            for notice in self.notices() {
                steps.extend(self.timers.notice(now, notice, &seen));
            }
            steps.extend(self.timers.tick(now, &seen));
            if let Some(reason) = self.perform(&steps) {
                return reason;
            }
            if !steps.is_empty() {
                // The steps may have changed what is observed.
                continue;
            }
            self.check_signals();
            let now = self.server.board.now();
            let wait = self.timers.next(now, &seen).map(|due| due.saturating_sub(now));
            let wait = Some(wait.map_or(SIGNAL_CHECK, |wait| wait.min(SIGNAL_CHECK)));
            if let Err(error) = self.sleep(wait) {
                let group = &self.server.group;
                self.server.log.say(
                    Level::Alert,
                    &format!("WSGI0023: Unable to wait for signals in daemon process '{group}' ({error})."),
                );
                let steps = self.timers.notice(now, Notice::SignalsLost, &seen);
                if let Some(reason) = self.perform(&steps) {
                    return reason;
                }
            }
        }
    }

    /// Logs which signals no longer reach the process: C code has taken them over, as `faulthandler.register()` does. What an
    /// application without WSGIRestrictSignal does on purpose is its own affair.
    fn check_signals(&mut self) {
        if !self.server.engine().is_some_and(Engine::restricts_signals) {
            return;
        }
        for (signal, name) in signals::taken_over() {
            if self.lost_signals & (1 << signal) != 0 {
                continue;
            }
            self.lost_signals |= 1 << signal;
            let group = &self.server.group;
            let text = format!(
                "WSGI0956: {name} is handled by something else in daemon process '{group}', such as faulthandler.register() \
                 or an extension module: the process no longer reacts to it as mod_wsgi does."
            );
            self.server.log.say(Level::Warning, &text);
        }
    }

    /// What came from outside since the last time.
    fn notices(&mut self) -> Vec<Notice> {
        self.server.board.monitor.clear();
        let caught = signals::take();
        if let Some(watchdog) = &mut self.watchdog {
            caught.passed_on().for_each(|(signal, name)| watchdog.signal(signal, name));
        }
        let mut notices = Vec::new();
        if caught.has(libc::SIGTERM) || caught.has(libc::SIGINT) {
            notices.push(Notice::Terminate);
        }
        if caught.has(libc::SIGUSR1) {
            notices.push(Notice::Graceful);
        }
        if caught.has(libc::SIGXCPU) {
            notices.push(Notice::CpuLimit);
        }
        if caught.has(libc::SIGQUIT)
            && let Some(watchdog) = &self.watchdog
        {
            watchdog.task(Task::ShowStacks);
        }
        if self.server.has_changed_script() {
            notices.push(Notice::ScriptChanged);
        }
        notices.extend(self.control_notice());
        notices
    }

    fn control_notice(&mut self) -> Option<Notice> {
        let control = self.control.as_ref()?;
        let mut byte = 0u8;
        // SAFETY: room for one byte; the descriptor does not block.
        let count = unsafe { libc::read(control.as_raw_fd(), (&raw mut byte).cast(), 1) };
        match count {
            1 if byte == LEAVE => Some(Notice::Leave),
            1 => None,
            0 => {
                self.control = None;
                Some(Notice::ParentGone)
            }
            _ => None,
        }
    }

    fn sleep(&self, wait: Option<u64>) -> io::Result<()> {
        let entry = |descriptor| libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        let control = self.control.as_ref().map_or(-1, |control| control.as_raw_fd());
        let mut entries = [entry(self.server.board.monitor.as_fd().as_raw_fd()), entry(control)];
        let timeout = wait.map_or(-1, |wait| i32::try_from(wait).unwrap_or(i32::MAX));
        // SAFETY: two entries.
        if unsafe { libc::poll(entries.as_mut_ptr(), 2, timeout) } >= 0 {
            let [wakeup, control] = entries.map(|entry| entry.revents & libc::POLLNVAL != 0);
            if wakeup {
                self.server.check_lifelines();
            }
            if control {
                self.server.lost_control();
            }
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // An interruption is as good as an event.
        if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
    }

    fn perform(&mut self, steps: &[Step]) -> Option<Reason> {
        let mut stopped = None;
        if steps.iter().any(|step| matches!(step, Step::Stop { .. })) {
            // Who reads in the log that the process ends can rely on it.
            self.server.leave();
        }
        for step in steps {
            match step {
                Step::Log(text) => self.server.say(text),
                Step::Warn(text) => self.server.log.say(Level::Warning, text),
                Step::Drain => {
                    self.server.status.set_state(State::Draining);
                    self.server.board.announce_all();
                }
                Step::Leave => self.server.leave(),
                Step::Roll { wish, announce_from } => {
                    self.server.want_successor(*wish);
                    if let Some(finished) = announce_from {
                        self.server.board.announce_from(*finished);
                    }
                }
                Step::Interrupt { thread, start } => {
                    if let (Some(watchdog), Ok(worker)) = (&self.watchdog, u32::try_from(*thread)) {
                        watchdog.task(Task::Interrupt { worker, start: *start });
                    }
                }
                Step::DumpStacks => {
                    if let Some(watchdog) = &self.watchdog {
                        watchdog.task(Task::DumpStacks);
                    }
                }
                Step::Stop { reason, abort_after } => {
                    self.reaper = abort_after.and_then(|after| reaper(self.server, Duration::from_millis(after)).ok());
                    stopped = Some(*reason);
                }
            }
        }
        stopped
    }
}

/// Aborts the process after a time, unless the returned value is dropped before.
pub(super) fn reaper(server: &'static Server, after: Duration) -> io::Result<Sender<()>> {
    let (alive, _) = abort_after(after, ABORTED, move || {
        server.say(&format!("Shutdown timeout expired; aborting daemon process '{}'.", server.group));
        if let Some(engine) = server.engine() {
            engine.aborted();
        }
    })?;
    Ok(alive)
}

/// Calls `last` and aborts the process with this status after a time, unless the returned sender is dropped before. The
/// thread that waits for that can be joined then.
pub(super) fn abort_after(
    after: Duration,
    status: i32,
    last: impl FnOnce() + Send + 'static,
) -> io::Result<(Sender<()>, JoinHandle<()>)> {
    let (alive, ended) = channel::<()>();
    let thread = std::thread::Builder::new().spawn(move || {
        if ended.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
            last();
            // SAFETY: nothing may run any more, neither clean-ups nor other threads.
            unsafe { libc::_exit(status) };
        }
    })?;
    Ok((alive, thread))
}
