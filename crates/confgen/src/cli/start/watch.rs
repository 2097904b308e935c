//! A server in the foreground, from its start to its end: its log lines are shown, signals end it in order.

use std::time::Duration;

use super::preflight::{Outcome, Preflight};
use super::show::Shown;
use super::signals::Signals;
use crate::cli::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{Server, Signal};

/// How long a server may take to stop once running requests need not finish any more.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The same under a debugger: a process that waits for a command at its prompt does not hear the signal.
const DEBUG_STOP_LIMIT: Duration = Duration::from_millis(500);

/// How often signals and the server are looked at while no log line comes.
const SLICE: Duration = Duration::from_millis(50);

/// A server that is watched.
pub(super) struct Watch<'a> {
    pub(super) server: &'a mut Server,
    pub(super) signals: &'a Signals,
    pub(super) shown: Option<Shown>,
    /// How long running requests may take to finish when SIGTERM asks for the end.
    pub(super) grace: Duration,
    /// Whether one process is being debugged.
    pub(super) debugged: bool,
}

/// How waiting for the applications ended.
pub(super) enum Loaded {
    /// What became of the applications.
    Judged(Outcome),
    /// The server ended, or was stopped, before.
    Ended(Result<Exit, Failure>),
}

impl Watch<'_> {
    /// Watches until it is known of every application whether it serves; `note` tells the user what is waited for.
    pub(super) fn until_loaded(&mut self, mut preflight: Preflight, note: impl Fn(&str)) -> Loaded {
        loop {
            if let Some(end) = self.turn() {
                return Loaded::Ended(end);
            }
            if let Some(outcome) = preflight.look(&note) {
                if let Some(shown) = &mut self.shown {
                    shown.loaded();
                }
                return Loaded::Judged(outcome);
            }
        }
    }

    /// Watches until the server ends or is to be stopped.
    pub(super) fn until_the_end(&mut self) -> Result<Exit, Failure> {
        loop {
            if let Some(end) = self.turn() {
                return end;
            }
        }
    }

    /// Whether an error was logged since the start, as far as the log is shown here.
    pub(super) fn errors_seen(&self) -> bool {
        self.shown.as_ref().is_some_and(Shown::errors_seen)
    }

    fn turn(&mut self) -> Option<Result<Exit, Failure>> {
        match &mut self.shown {
            Some(shown) => shown.show(SLICE),
            None => drop(self.server.wait(SLICE)),
        }
        if let Some(status) = self.server.status() {
            self.show_rest();
            if status.success() {
                return Some(Ok(Exit::Ok));
            }
            let diagnostic = Diagnostic::error(Code::Ended, format!("httpd ended by itself ({status})"));
            return Some(Err(Failure::new(Exit::Environment, diagnostic)));
        }
        if self.signals.graceful() {
            // A server that is just ending shows in the next turn.
            let _ = self.server.graceful();
        }
        self.signals.end().then(|| self.stop())
    }

    /// Stops the server: running requests may finish if the signal was a soft one, and a second signal ends everything at once.
    pub(super) fn stop(&mut self) -> Result<Exit, Failure> {
        let signals = self.signals;
        let softly = signals.softly() && !self.debugged && !self.grace.is_zero();
        if softly && self.server.graceful_stop().is_ok() {
            let mut left = self.grace;
            // The log is shown while requests finish.
            while !left.is_zero() && self.server.is_running() && !signals.at_once() {
                let slice = left.min(SLICE);
                self.server.wait(slice);
                self.show_rest();
                left -= slice;
            }
        }
        let limit = if self.debugged { DEBUG_STOP_LIMIT } else { STOP_LIMIT };
        let report = self.server.stop_unless(Signal::SIGTERM, limit, || signals.at_once());
        let report = report.map_err(|error| {
            Failure::new(Exit::Environment, Diagnostic::error(Code::Stop, format!("cannot stop httpd: {error}")))
        })?;
        self.show_rest();
        if signals.at_once() || self.debugged {
            // That is what was asked for.
            return Ok(Exit::Ok);
        }
        let mut diagnostics = Vec::new();
        if report.forced {
            diagnostics
                .push(Diagnostic::error(Code::Stop, format!("httpd did not stop within {limit:?} and was killed")));
        }
        diagnostics.extend(report.leaks.iter().map(|leak| {
            let message = format!("process {} ({}) outlived httpd and was killed", leak.pid, leak.command);
            Diagnostic::error(Code::Stop, message)
        }));
        if diagnostics.is_empty() { Ok(Exit::Ok) } else { Err(Failure { exit: Exit::Environment, diagnostics }) }
    }

    fn show_rest(&mut self) {
        if let Some(shown) = &mut self.shown {
            shown.show(Duration::ZERO);
        }
    }
}
