//! All timers of a daemon as one state machine without threads, clocks or I/O.
//!
//! The monitor calls [`Timers::tick`] with the time and what it observes, and [`Timers::notice`] for what comes from
//! outside; both return [`Step`]s for it to carry out. [`Timers::next`] says when to call again at the latest. Times are
//! milliseconds of a clock that only goes forward, so that tests can drive it.

use wsgi_protocol::launch::Timeouts;
use wsgi_protocol::page::Wish;

/// What the timers have to know of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// The group's name, for the texts.
    pub(super) group: String,
    /// Worker threads.
    pub(super) threads: u32,
    /// `maximum-requests=`; 0 is off.
    pub(super) maximum_requests: u64,
    /// `rolling=On`: where the process may go on, it does so until its successor serves.
    pub(super) rolling: bool,
    /// The process may ask for a successor.
    pub(super) asks: bool,
    /// `handover=sequential`: the successor starts when this process has ended.
    pub(super) sequential: bool,
    /// The timeouts; 0 is off.
    pub(super) timeouts: Timeouts,
}

/// What the process is doing at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observation {
    /// Per worker thread: since when it has been serving its request.
    pub(super) active: Vec<Option<u64>>,
    /// Requests that have ended.
    pub(super) finished: u64,
    /// Whether any request has begun.
    pub(super) used: bool,
    /// The last reading or writing of a request.
    pub(super) activity: u64,
    /// When the watchdog last held the GIL, and those that interpreters have of their own.
    pub(super) watchdog: u64,
    /// Since when a script that a request waits for has been loading for the first time.
    pub(super) startup: Option<u64>,
    /// Connections on which a request may still arrive; only of interest while leaving.
    pub(super) connections: usize,
    /// Responses whose clients have not read everything although their requests have ended.
    pub(super) unread: usize,
}

/// Why the process ends: the `shutdown_reason` of the `process_stopping` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    ShutdownSignal,
    GracefulSignal,
    EvictionSignal,
    MaximumRequests,
    RestartInterval,
    InactivityTimeout,
    RequestTimeout,
    StartupTimeout,
    DeadlockTimeout,
    CpuTimeLimit,
    SignalPipeError,
    ScriptReload,
}

impl Reason {
    /// The name that applications see.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ShutdownSignal => "shutdown_signal",
            Self::GracefulSignal => "graceful_signal",
            Self::EvictionSignal => "eviction_signal",
            Self::MaximumRequests => "maximum_requests",
            Self::RestartInterval => "restart_interval",
            Self::InactivityTimeout => "inactivity_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::StartupTimeout => "startup_timeout",
            Self::DeadlockTimeout => "deadlock_timeout",
            Self::CpuTimeLimit => "cpu_time_limit",
            Self::SignalPipeError => "signal_pipe_error",
            Self::ScriptReload => "script_reload",
        }
    }
}

/// Something that happened outside the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGUSR1.
    Graceful,
    /// SIGXCPU.
    CpuLimit,
    /// The script of a request has changed.
    ScriptChanged,
    /// The successor has begun to accept.
    Leave,
    /// The server is gone.
    ParentGone,
    /// The signals can no longer be read.
    SignalsLost,
}

/// What the monitor has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write this at level info.
    Log(String),
    /// Write this at level warning.
    Warn(String),
    /// Say on the status page that other processes are to be preferred.
    Drain,
    /// Take no new connections and give idle ones back: somebody else serves this slot now.
    Leave,
    /// Ask for a successor, and go on until it serves.
    Roll {
        /// What to ask with.
        wish: Wish,
        /// The number of finished requests from which the monitor wants to hear of each.
        announce_from: Option<u64>,
    },
    /// Log the stack of this worker's request, then raise `RequestTimeout` in it.
    Interrupt {
        /// The worker's number, from 0.
        thread: usize,
        /// When that request began: the worker may have another one when the step is carried out.
        start: u64,
    },
    /// Log the stacks of all Python threads.
    DumpStacks,
    /// End the process.
    Stop {
        /// Why.
        reason: Reason,
        /// After so many milliseconds the process is aborted, whatever it still does.
        abort_after: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// `leaving`: no new requests are taken. `asked`: a successor was asked for because requests take long.
    Draining {
        reason: Reason,
        deadline: Option<u64>,
        leaving: bool,
        asked: bool,
    },
    Stopping,
}

/// The state machine.
#[derive(Debug)]
pub(super) struct Timers {
    settings: Settings,
    started: u64,
    phase: Phase,
    /// The number of finished requests that is enough; 0 is off.
    enough: u64,
    /// Why a successor was asked for.
    replaced: Option<Reason>,
    /// Per worker: the start of the request that was interrupted, and when that was.
    interrupted: Vec<Option<(u64, u64)>>,
}

/// One of the timers: looks at the time and what is observed, and adds what has to be done.
type Timer = fn(&mut Timers, u64, &Observation, &mut Vec<Step>);

/// A timeout, unless it is off.
fn milliseconds(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

impl Timers {
    /// Timers of a process that begins to serve at `now`.
    #[must_use]
    pub(super) fn new(settings: Settings, now: u64) -> Self {
        let interrupted = vec![None; settings.threads as usize];
        let enough = settings.maximum_requests;
        Self { settings, started: now, phase: Phase::Running, enough, replaced: None, interrupted }
    }

    /// request-timeout weighted by the number of threads: a process with many threads can spare one for longer.
    #[must_use]
    pub(super) fn request_threshold(&self) -> Option<u64> {
        let timeout = milliseconds(self.settings.timeouts.request)?;
        let weight = 1.0 + f64::from(self.settings.threads.max(1)).ln();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds of a timeout are far from the limits of either type"
        )]
        Some((timeout as f64 * weight) as u64)
    }

    /// Since when a request that runs past both timeouts no longer counts as active.
    fn stale_after(&self) -> Option<u64> {
        self.request_threshold().map(|threshold| threshold + self.settings.timeouts.interrupt)
    }

    /// Requests in flight that a drain waits for.
    fn waited_for(&self, now: u64, seen: &Observation) -> usize {
        let stale = self.stale_after();
        let counts = |start: u64| stale.is_none_or(|limit| now.saturating_sub(start) < limit);
        seen.active.iter().flatten().filter(|start| counts(**start)).count() + seen.unread
    }

    fn stop(&mut self, text: String, reason: Reason, steps: &mut Vec<Step>) {
        steps.push(Step::Log(text));
        self.stop_silently(reason, steps);
    }

    fn stop_silently(&mut self, reason: Reason, steps: &mut Vec<Step>) {
        self.phase = Phase::Stopping;
        steps.push(Step::Stop { reason, abort_after: milliseconds(self.settings.timeouts.shutdown) });
    }

    /// Waits for the requests in flight. As a rule new ones are taken meanwhile, as no other process may be there. When the
    /// successor waits for the end of this process they wait for the successor: under load the drain would never be done.
    fn drain(&mut self, text: String, reason: Reason, deadline: Option<u64>, steps: &mut Vec<Step>) {
        let hurries = matches!(reason, Reason::RequestTimeout | Reason::CpuTimeLimit);
        let leaving = self.settings.sequential && !hurries;
        steps.push(if leaving { Step::Leave } else { Step::Drain });
        steps.push(Step::Log(text));
        self.phase = Phase::Draining { reason, deadline, leaving, asked: false };
    }

    /// How long requests may take once nobody sends the process new ones, and the option that says so.
    fn limit_of_leaving(&self, reason: Reason) -> (Option<u64>, &'static str) {
        let timeouts = &self.settings.timeouts;
        match reason {
            Reason::EvictionSignal => (milliseconds(timeouts.eviction), "eviction-timeout"),
            _ if self.settings.sequential => (milliseconds(timeouts.graceful), "graceful-timeout"),
            _ => (milliseconds(timeouts.handover), "handover-timeout"),
        }
    }

    /// Whether it takes no new requests any more.
    fn leaves(&self) -> bool {
        matches!(self.phase, Phase::Draining { leaving: true, .. })
    }

    /// Whether the process goes on until a successor serves, instead of ending.
    fn rolls(&self) -> bool {
        self.settings.rolling && self.phase == Phase::Running
    }

    fn roll(&mut self, what: &str, reason: Reason, steps: &mut Vec<Step>) {
        let group = &self.settings.group;
        let until = if self.settings.sequential { "it is its turn to be replaced" } else { "its successor serves" };
        steps.push(Step::Log(format!("{what}; daemon process '{group}' goes on until {until}.")));
        let announce_from = (reason == Reason::MaximumRequests).then_some(self.enough);
        steps.push(Step::Roll { wish: Wish::Any, announce_from });
        self.replaced = Some(reason);
    }

    /// Something happened outside.
    pub(super) fn notice(&mut self, now: u64, notice: Notice, seen: &Observation) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.phase == Phase::Stopping {
            return steps;
        }
        let group = self.settings.group.clone();
        match notice {
            Notice::Terminate => {
                self.stop(
                    format!("Shutdown requested for daemon process '{group}'."),
                    Reason::ShutdownSignal,
                    &mut steps,
                );
            }
            Notice::ParentGone => self.stop(
                format!("Server has gone; shutdown of daemon process '{group}'."),
                Reason::ShutdownSignal,
                &mut steps,
            ),
            Notice::SignalsLost => self.stop_silently(Reason::SignalPipeError, &mut steps),
            // Its successor has loaded the present version, or will.
            Notice::ScriptChanged if self.settings.rolling && self.leaves() => {}
            Notice::ScriptChanged if self.settings.rolling => {
                steps.push(Step::Roll { wish: Wish::Script, announce_from: None });
                self.replaced = Some(Reason::ScriptReload);
            }
            Notice::ScriptChanged => self.stop_silently(Reason::ScriptReload, &mut steps),
            Notice::Graceful => {
                let eviction = milliseconds(self.settings.timeouts.eviction);
                let (what, reason) = match eviction {
                    Some(_) => ("Process eviction requested", Reason::EvictionSignal),
                    None => ("Graceful restart requested", Reason::GracefulSignal),
                };
                let limit = eviction.or(milliseconds(self.settings.timeouts.graceful));
                if self.rolls() {
                    self.roll(what, reason, &mut steps);
                    return steps;
                }
                self.end_gently(what, reason, limit, now, seen, &mut steps);
            }
            Notice::CpuLimit => {
                let limit = milliseconds(self.settings.timeouts.graceful);
                self.end_gently("Exceeded CPU time limit", Reason::CpuTimeLimit, limit, now, seen, &mut steps);
            }
            Notice::Leave => {
                let (reason, asked) = match self.phase {
                    Phase::Draining { reason, deadline, asked: true, .. } => (reason, Some(deadline)),
                    _ => (self.replaced.unwrap_or(Reason::GracefulSignal), None),
                };
                let limit = self.limit_of_leaving(reason).0;
                // In this order: who reads the line can rely on it.
                steps.push(Step::Leave);
                let why = if self.settings.sequential { "A successor is to follow" } else { "Successor is serving" };
                steps.push(Step::Log(format!("{why}; daemon process '{group}' takes no more requests.")));
                // The time of a process that has asked runs already.
                let deadline = asked.unwrap_or_else(|| limit.map(|limit| now + limit));
                self.phase = Phase::Draining { reason, deadline, leaving: true, asked: asked.is_some() };
                if self.settings.sequential && limit.is_none() {
                    // Without a time to wait there is no waiting: the successor, and its requests, wait for the end.
                    self.stop_silently(reason, &mut steps);
                }
            }
        }
        steps
    }

    fn end_gently(
        &mut self,
        what: &str,
        reason: Reason,
        limit: Option<u64>,
        now: u64,
        seen: &Observation,
        steps: &mut Vec<Step>,
    ) {
        let group = &self.settings.group;
        // Without a time to wait there is no waiting, as the option's documentation says.
        if self.waited_for(now, seen) == 0 || limit.is_none() {
            self.stop(format!("{what}; triggering immediate shutdown of daemon process '{group}'."), reason, steps);
        } else if matches!(self.phase, Phase::Draining { .. }) {
            // It already waits for the requests in flight; a second request does not push the deadline.
        } else {
            let text = format!("{what}; waiting for in-flight requests to complete in daemon process '{group}'.");
            self.drain(text, reason, limit.map(|limit| now + limit), steps);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: u64, seen: &Observation) -> Vec<Step> {
        let mut steps = Vec::new();
        let parts: [Timer; 7] = [
            Self::deadlock,
            Self::startup,
            Self::requests,
            Self::end_of_drain,
            Self::maximum_requests,
            Self::restart_interval,
            Self::inactivity,
        ];
        for part in parts {
            if self.phase == Phase::Stopping {
                break;
            }
            part(self, now, seen, &mut steps);
        }
        steps
    }

    fn deadlock(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        let Some(timeout) = milliseconds(self.settings.timeouts.deadlock) else { return };
        if now.saturating_sub(seen.watchdog) >= timeout {
            let group = &self.settings.group;
            let text = format!("Daemon process deadlock timer expired, stopping daemon process '{group}'.");
            self.stop(text, Reason::DeadlockTimeout, steps);
        }
    }

    fn startup(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        let (Some(timeout), Some(since)) = (milliseconds(self.settings.timeouts.startup), seen.startup) else { return };
        if now.saturating_sub(since) >= timeout {
            let group = &self.settings.group;
            let text = format!("Application startup timer expired, stopping daemon process '{group}'.");
            self.stop(text, Reason::StartupTimeout, steps);
        }
    }

    fn requests(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        let Some(threshold) = self.request_threshold() else { return };
        let grace = milliseconds(self.settings.timeouts.interrupt);
        let mut escalate = false;
        for (thread, start) in seen.active.iter().enumerate() {
            let Some(start) = *start else { continue };
            if now.saturating_sub(start) < threshold {
                continue;
            }
            let Some(grace) = grace else {
                escalate = true;
                break;
            };
            let Some(known) = self.interrupted.get_mut(thread) else { continue };
            match *known {
                // One injection per pass: each thread has its own grace clock.
                Some((request, at)) if request == start => escalate |= now.saturating_sub(at) >= grace,
                _ if !steps.iter().any(|step| matches!(step, Step::Interrupt { .. })) => {
                    *known = Some((start, now));
                    steps.push(Step::Interrupt { thread, start });
                }
                _ => {}
            }
        }
        if !escalate || matches!(self.phase, Phase::Draining { .. }) {
            return;
        }
        let group = self.settings.group.clone();
        let graceful = milliseconds(self.settings.timeouts.graceful);
        steps.push(Step::DumpStacks);
        if self.waited_for(now, seen) == 0 || graceful.is_none() {
            let text = format!("Daemon process request time limit exceeded, stopping daemon process '{group}'.");
            self.stop(text, Reason::RequestTimeout, steps);
        } else {
            let text = format!(
                "Daemon process request time limit exceeded; waiting for in-flight requests to complete in daemon \
                 process '{group}'."
            );
            self.drain(text, Reason::RequestTimeout, graceful.map(|graceful| now + graceful), steps);
        }
    }

    fn end_of_drain(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        let Phase::Draining { reason, deadline, leaving, asked } = self.phase else { return };
        let group = self.settings.group.clone();
        if self.waited_for(now, seen) == 0 && !(leaving && seen.connections > 0) {
            let text = format!("Requests have completed; triggering immediate shutdown of daemon process '{group}'.");
            self.stop(text, reason, steps);
        } else if deadline.is_some_and(|deadline| now >= deadline) {
            let recycles = matches!(reason, Reason::MaximumRequests | Reason::RestartInterval);
            if recycles && self.settings.asks && !leaving && !asked {
                self.ask_for_relief(reason, now, steps);
                return;
            }
            if leaving || asked {
                let (limit, option) = self.limit_of_leaving(reason);
                let (count, seconds) = (self.waited_for(now, seen), limit.unwrap_or(0) / 1000);
                steps.push(Step::Warn(format!(
                    "WSGI0970: {count} requests of daemon process '{group}', which is being replaced, have not finished \
                     within {option}={seconds}; the process is stopped."
                )));
            }
            let text = format!("Daemon process restart timer expired in daemon process '{group}'; forcing shutdown.");
            self.stop(text, reason, steps);
        }
    }

    /// Requests still run after graceful-timeout although nobody needs the restart at once: a successor takes the new ones,
    /// so that these may take longer.
    fn ask_for_relief(&mut self, reason: Reason, now: u64, steps: &mut Vec<Step>) {
        let (limit, option) = self.limit_of_leaving(reason);
        let (group, seconds) = (&self.settings.group, limit.unwrap_or(0) / 1000);
        steps.push(Step::Log(format!(
            "Requests of daemon process '{group}' still run; they may finish while a successor takes new ones \
             ({option}={seconds})."
        )));
        steps.push(Step::Roll { wish: Wish::Any, announce_from: None });
        let deadline = limit.map(|limit| now + limit);
        self.phase = Phase::Draining { reason, deadline, leaving: false, asked: true };
    }

    fn maximum_requests(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        if self.enough == 0 || seen.finished < self.enough || self.phase != Phase::Running {
            return;
        }
        let group = self.settings.group.clone();
        let graceful = milliseconds(self.settings.timeouts.graceful);
        if self.rolls() {
            // Once more after as many again, should no successor come.
            self.enough = seen.finished.saturating_add(self.settings.maximum_requests);
            self.roll("Maximum requests reached", Reason::MaximumRequests, steps);
            return;
        }
        if self.waited_for(now, seen) > 0 && graceful.is_some() {
            let text = format!("Maximum requests reached; attempting graceful shutdown of daemon process '{group}'.");
            self.drain(text, Reason::MaximumRequests, graceful.map(|graceful| now + graceful), steps);
        } else {
            let text = format!("Maximum requests reached; triggering immediate shutdown of daemon process '{group}'.");
            self.stop(text, Reason::MaximumRequests, steps);
        }
    }

    fn restart_interval(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        let Some(interval) = milliseconds(self.settings.timeouts.restart_interval) else { return };
        if now.saturating_sub(self.started) < interval || self.phase != Phase::Running {
            return;
        }
        let group = self.settings.group.clone();
        let graceful = milliseconds(self.settings.timeouts.graceful);
        if self.rolls() {
            self.started = now;
            self.roll("Application restart timer expired", Reason::RestartInterval, steps);
            return;
        }
        if self.waited_for(now, seen) > 0 && graceful.is_some() {
            let text = format!(
                "Application restart timer expired; waiting for in-flight requests to complete in process '{group}'."
            );
            self.drain(text, Reason::RestartInterval, graceful.map(|graceful| now + graceful), steps);
        } else {
            let text = format!("Application restart timer expired, stopping process '{group}'.");
            self.stop(text, Reason::RestartInterval, steps);
        }
    }

    fn inactivity(&mut self, now: u64, seen: &Observation, steps: &mut Vec<Step>) {
        let Some(timeout) = milliseconds(self.settings.timeouts.inactivity) else { return };
        let idle = seen.unread == 0 && seen.active.iter().all(Option::is_none);
        if seen.used && idle && now.saturating_sub(seen.activity) >= timeout {
            let group = &self.settings.group;
            let text = format!("Daemon process idle inactivity timer expired, stopping process '{group}'.");
            self.stop(text, Reason::InactivityTimeout, steps);
        }
    }

    /// When something may be due next, seen from `now`, unless somebody calls earlier. The end of a request that a
    /// drain waits for, reaching maximum-requests and a script's first loading call the monitor at once; everything
    /// else that begins after `now` cannot be due before a whole timeout has passed.
    #[must_use]
    pub(super) fn next(&self, now: u64, seen: &Observation) -> Option<u64> {
        if self.phase == Phase::Stopping {
            return None;
        }
        let timeouts = &self.settings.timeouts;
        let draining = matches!(self.phase, Phase::Draining { .. });
        let mut due = Vec::new();
        due.extend(milliseconds(timeouts.deadlock).map(|timeout| seen.watchdog + timeout));
        due.extend(milliseconds(timeouts.startup).and_then(|timeout| seen.startup.map(|since| since + timeout)));
        if let Some(threshold) = self.request_threshold() {
            due.push(now + threshold);
            for (thread, start) in seen.active.iter().enumerate() {
                let Some(start) = *start else { continue };
                match self.interrupted.get(thread).copied().flatten() {
                    Some((request, at)) if request == start => due.push(at + timeouts.interrupt),
                    // It was not its turn in the pass that is just over.
                    _ if timeouts.interrupt > 0 => due.push((start + threshold).max(now + 1)),
                    _ => due.push(start + threshold),
                }
                if draining {
                    due.push(start + threshold + timeouts.interrupt);
                }
            }
        }
        match self.phase {
            Phase::Draining { deadline, .. } => due.extend(deadline),
            _ => due.extend(milliseconds(timeouts.restart_interval).map(|interval| self.started + interval)),
        }
        if let Some(timeout) = milliseconds(timeouts.inactivity) {
            let idle = seen.used && seen.unread == 0 && seen.active.iter().all(Option::is_none);
            due.push(if idle { seen.activity + timeout } else { now + timeout });
        }
        // What is overdue although `tick` has run (an escalation during a drain) waits for its own event.
        due.into_iter().filter(|when| *when > now).min()
    }
}

#[cfg(test)]
#[path = "timers_tests.rs"]
mod tests;
