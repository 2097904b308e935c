//! A server in the foreground: its log lines are shown, signals end it in order.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

use super::preflight::{Flight, Preflight};
use crate::cli::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{Level, LogLine, LogTail, Server, Signal};
use crate::render::Tree;

/// How long a server may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How often signals and the server are looked at while no log line comes.
const SLICE: Duration = Duration::from_millis(100);

/// A log file that is shown here is emptied when it grows beyond this.
const LARGEST_LOG: u64 = 16 << 20;

/// The signals that came.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    graceful: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over. A second one to stop ends the program at once; the system then ends the server.
    pub(super) fn take() -> io::Result<Self> {
        let signals = Self { stop: Arc::default(), graceful: Arc::default() };
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                i32::from(Exit::Environment as u8),
                Arc::clone(&signals.stop),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
        }
        signal_hook::flag::register(SIGUSR1, Arc::clone(&signals.graceful))?;
        Ok(signals)
    }
}

/// Watches a server until it ends or is to be stopped; `shown` are the logs that are shown.
/// Where an application does not load at the start, that is the end.
pub(super) fn until_the_end(
    server: &mut Server,
    signals: &Signals,
    shown: Option<&Tree>,
    mut preflight: Option<Preflight>,
) -> Result<Exit, Failure> {
    let mut logs = shown.map(Logs::new);
    loop {
        match &mut logs {
            Some(logs) => logs.show(SLICE),
            None => drop(server.wait(SLICE)),
        }
        if let Some(status) = server.status() {
            if let Some(logs) = &mut logs {
                logs.show(Duration::ZERO);
            }
            if status.success() {
                return Ok(Exit::Ok);
            }
            return Err(Failure::new(
                Exit::Environment,
                Diagnostic::error(Code::Start, format!("httpd ended by itself ({status})")),
            ));
        }
        if signals.graceful.swap(false, Ordering::SeqCst) {
            // A server that is just ending shows in the next turn.
            let _ = server.graceful();
        }
        match preflight.as_mut().map(Preflight::look) {
            Some(Flight::Fails(diagnostic)) => {
                let stopped = stop(server, logs);
                let diagnostics =
                    std::iter::once(diagnostic).chain(stopped.err().into_iter().flat_map(|end| end.diagnostics));
                return Err(Failure { exit: Exit::Refused, diagnostics: diagnostics.collect() });
            }
            Some(Flight::Over) => preflight = None,
            Some(Flight::Goes) | None => {}
        }
        if signals.stop.load(Ordering::SeqCst) {
            return stop(server, logs);
        }
    }
}

fn stop(server: &mut Server, mut logs: Option<Logs>) -> Result<Exit, Failure> {
    let report = server.stop(Signal::SIGTERM, STOP_LIMIT, |_| {}).map_err(|error| {
        Failure::new(Exit::Environment, Diagnostic::error(Code::Start, format!("cannot stop httpd: {error}")))
    })?;
    if let Some(logs) = &mut logs {
        logs.show(Duration::ZERO);
    }
    let mut diagnostics = Vec::new();
    if report.forced {
        diagnostics
            .push(Diagnostic::error(Code::Start, format!("httpd did not stop within {STOP_LIMIT:?} and was killed")));
    }
    diagnostics.extend(report.leaks.iter().map(|leak| {
        Diagnostic::error(Code::Start, format!("process {} ({}) outlived httpd and was killed", leak.pid, leak.command))
    }));
    if diagnostics.is_empty() { Ok(Exit::Ok) } else { Err(Failure { exit: Exit::Environment, diagnostics }) }
}

/// The logs that are shown: errors on standard error, requests on standard output.
struct Logs {
    errors: LogTail,
    requests: LogTail,
    coloured: bool,
}

impl Logs {
    fn new(tree: &Tree) -> Self {
        let folder = tree.server_root.join("logs");
        let errors = tree.choice.error_log.clone().unwrap_or_else(|| folder.join("error.log"));
        Self {
            errors: LogTail::from_start(&errors),
            requests: LogTail::from_start(&folder.join("access.log")),
            coloured: io::stderr().is_terminal(),
        }
    }

    /// Shows what has come, waiting so long for it. A reader that went away is no reason to end a server.
    fn show(&mut self, wait: Duration) {
        let errors = self.errors.wait_for(wait, |_| true).map(|(_, lines)| lines).unwrap_or_default();
        let mut out = io::stderr().lock();
        for line in errors.iter().filter(|line| !is_noise(line)) {
            let _ = writeln!(out, "{}", self.shown(line));
        }
        drop(out);
        let requests = self.requests.read().unwrap_or_default();
        let mut out = io::stdout().lock();
        for line in &requests {
            let _ = writeln!(out, "{}", line.raw);
        }
        let _ = out.flush();
        empty_if_large(self.errors.path(), self.errors.offset());
        empty_if_large(self.requests.path(), self.requests.offset());
    }

    fn shown(&self, line: &LogLine) -> String {
        let Some(level) = line.level else { return line.raw.clone() };
        let module = line.module.as_deref().unwrap_or("httpd");
        let text = format!("[{module}:{level}] {}", line.message);
        match (self.coloured, level) {
            (true, Level::Emerg | Level::Alert | Level::Crit | Level::Error) => format!("\u{1b}[31m{text}\u{1b}[0m"),
            (true, Level::Warn) => format!("\u{1b}[33m{text}\u{1b}[0m"),
            _ => text,
        }
    }
}

/// httpd's own lines about its normal life: what matters of them has been said already.
fn is_noise(line: &LogLine) -> bool {
    let normal = line.level.is_some_and(|level| level > Level::Warn);
    let wsgi = line.module.as_deref() == Some("wsgi");
    normal && (!wsgi || line.level > Some(Level::Notice))
}

/// httpd appends, so a file that was emptied goes on from its start.
fn empty_if_large(path: &Path, read: u64) {
    if read > LARGEST_LOG
        && let Ok(file) = fs::OpenOptions::new().write(true).open(path)
    {
        // A file that cannot be emptied only grows.
        let _ = file.set_len(0);
    }
}
