//! An application that does not load: the first load in the server itself is the check before the flight.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{Level, LogLine, LogTail};

/// How long the first load is waited for.
const LENGTH: Duration = Duration::from_secs(15);

/// How long the rest of a traceback is waited for.
const REST: Duration = Duration::from_millis(150);

/// The most lines of the log that are shown.
const MOST_LINES: usize = 60;

/// What the module says of a script that it cannot load: it cannot be read, compiled or executed, or ends.
const CODES: &[&str] = &["WSGI0105", "WSGI0106", "WSGI0107", "WSGI0108", "WSGI0109", "WSGI0110"];

/// The look at the first load.
pub(super) struct Preflight {
    log: LogTail,
    requests: LogTail,
    line: usize,
    began: Instant,
    shown: bool,
}

/// What the look showed.
pub(super) enum Flight {
    /// Nothing wrong so far.
    Goes,
    /// The time for it is over, or requests have been answered: what fails from now on is the application's affair.
    Over,
    /// An application does not load.
    Fails(Diagnostic),
}

impl Preflight {
    /// Begins with what the logs have from this start. Lines that are shown anyway are not repeated.
    pub(super) fn new(log: &Path, requests: &Path, shown: bool) -> Self {
        Self {
            log: LogTail::from_start(log),
            requests: LogTail::from_start(requests),
            line: 0,
            began: Instant::now(),
            shown,
        }
    }

    /// Looks at what has come.
    pub(super) fn look(&mut self) -> Flight {
        let lines = self.log.read().unwrap_or_default();
        let before = self.line;
        self.line += lines.len();
        if let Some(found) = lines.iter().position(is_failed_load) {
            let mut told: Vec<LogLine> = lines[found..].to_vec();
            let end = Instant::now() + REST;
            while Instant::now() < end {
                let left = end.saturating_duration_since(Instant::now());
                told.extend(self.log.wait_for(left, |_| false).map(|(_, lines)| lines).unwrap_or_default());
            }
            return Flight::Fails(self.diagnostic(&told, before + found + 1));
        }
        let asked = self.requests.read().is_ok_and(|lines| !lines.is_empty());
        if asked || self.began.elapsed() > LENGTH { Flight::Over } else { Flight::Goes }
    }

    fn diagnostic(&self, told: &[LogLine], line: usize) -> Diagnostic {
        let errors = told.iter().filter(|line| {
            line.module.as_deref() == Some("wsgi") && line.level.is_some_and(|level| level <= Level::Error)
        });
        let errors: Vec<&str> = errors.map(|line| line.message.as_str()).take(MOST_LINES).collect();
        // The last line of a traceback says what it is about.
        let text = errors.last().copied().unwrap_or_default();
        let mut diagnostic = Diagnostic::error(Code::Start, format!("an application does not load: {text}"));
        if !self.shown {
            diagnostic = errors.iter().fold(diagnostic, |diagnostic, line| diagnostic.note(*line));
        }
        diagnostic
            .note(format!("{}:{line}", self.log.path().display()))
            .help("correct it and start again, or serve all the same with `--no-preflight`")
    }
}

/// A load at the start of a process; one that a request caused names its client.
fn is_failed_load(line: &LogLine) -> bool {
    let of_request = line.raw.contains("[client ") || line.raw.contains("[remote ");
    !of_request && line.code.as_deref().is_some_and(|code| CODES.contains(&code))
}
