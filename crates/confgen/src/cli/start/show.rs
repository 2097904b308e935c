//! The logs of a running server on the terminal: errors on standard error, requests on standard output.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::preflight;
use crate::httpd::{Level, LogLine, LogTail};

/// A log file that is shown here is emptied when it grows beyond this.
const LARGEST_LOG: u64 = 16 << 20;

/// The logs that are shown.
pub(super) struct Shown {
    errors: LogTail,
    /// The access log, and its lines that are left out: those of our own requests, by their beginning, with their number.
    requests: Option<(LogTail, BTreeMap<String, usize>)>,
    /// Whether files that grow are emptied: nobody else has a use for them.
    emptied: bool,
    coloured: bool,
    /// Whether a line told of an error.
    errors_seen: bool,
    /// While applications are loaded: what says the same a second time.
    repeated: Option<Repeated>,
}

/// A script that fails when its process starts is loaded again for the first request, and fails again: once is enough.
#[derive(Default)]
struct Repeated {
    scripts: Vec<String>,
    clients: Vec<String>,
}

impl Repeated {
    fn is_repeated(&mut self, line: &LogLine) -> bool {
        let Some(client) = &line.client else {
            if preflight::is_failed_load(line) {
                self.scripts.extend(quoted(&line.message));
            }
            return false;
        };
        if preflight::is_failed_load(line) && quoted(&line.message).is_some_and(|script| self.scripts.contains(&script))
        {
            self.clients.push(client.clone());
        }
        self.clients.contains(client)
    }
}

/// What stands in the first quotes of a message.
fn quoted(message: &str) -> Option<String> {
    message.split('\'').nth(1).map(str::to_owned)
}

impl Shown {
    /// Shows an error log from its start.
    pub(super) fn errors(log: &Path, emptied: bool, coloured: bool) -> Self {
        Self {
            errors: LogTail::from_start(log),
            requests: None,
            emptied,
            coloured,
            errors_seen: false,
            repeated: Some(Repeated::default()),
        }
    }

    /// Shows an access log as well, without the lines of some requests, which are named by how they begin.
    pub(super) fn requests(self, log: &Path, left_out: impl IntoIterator<Item = String>) -> Self {
        let mut counted = BTreeMap::new();
        for beginning in left_out {
            *counted.entry(beginning).or_insert(0) += 1;
        }
        Self { requests: Some((LogTail::from_start(log), counted)), ..self }
    }

    /// From now on every line is shown, also one that says the same as another.
    pub(super) fn loaded(&mut self) {
        self.repeated = None;
    }

    /// Whether an error was shown.
    pub(super) fn errors_seen(&self) -> bool {
        self.errors_seen
    }

    /// Shows what has come, waiting so long for it. A reader that went away is no reason to end a server.
    pub(super) fn show(&mut self, wait: Duration) {
        let errors = self.errors.wait_for(wait, |_| true).map(|(_, lines)| lines).unwrap_or_default();
        self.errors_seen |= errors.iter().any(|line| line.level.is_some_and(|level| level <= Level::Error));
        let mut out = io::stderr().lock();
        for line in errors.iter().filter(|line| !is_noise(line)) {
            if !self.repeated.as_mut().is_some_and(|repeated| repeated.is_repeated(line)) {
                let _ = writeln!(out, "{}", self.text(line));
            }
        }
        drop(out);
        if let Some((requests, left_out)) = &mut self.requests {
            let lines = requests.read().unwrap_or_default();
            let mut out = io::stdout().lock();
            for line in lines.iter().filter(|line| !takes_one(left_out, &line.raw)) {
                let _ = writeln!(out, "{}", line.raw);
            }
            let _ = out.flush();
        }
        if self.emptied {
            let requests = self.requests.iter().map(|(requests, _)| requests);
            for tail in requests.chain([&self.errors]) {
                empty_if_large(tail.path(), tail.offset());
            }
        }
    }

    fn text(&self, line: &LogLine) -> String {
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

/// Whether a line is one of those that are left out; each is left out once.
fn takes_one(left_out: &mut BTreeMap<String, usize>, line: &str) -> bool {
    let fits = |(beginning, left): &(&String, &mut usize)| **left > 0 && line.starts_with(beginning.as_str());
    match left_out.iter_mut().find(fits) {
        Some((_, left)) => {
            *left -= 1;
            true
        }
        None => false,
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
