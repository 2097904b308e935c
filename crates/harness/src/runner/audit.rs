//! Warnings and errors that nobody asked for.

use std::collections::HashMap;
use std::sync::LazyLock;

use confgen::httpd::LogLine;
use regex::Regex;

use super::outcome::{Failure, FailureKind};
use crate::scenario::schema::LogAllowance;

/// How many lines a failure shows.
const SHOWN: usize = 40;

/// Beginnings of lines without a level that tell of a fault nonetheless: they were written past Apache's log.
const BARE_FAULTS: &[&str] = &[
    "Fatal Python error",
    "Traceback (most recent call last)",
    "thread '",
    "*** stack smashing",
    "free():",
    "malloc():",
    "double free",
    "corrupted ",
];

/// httpd's own races: a child that is asked to leave closes its pollset while a worker hands a finished connection back to it.
/// The client has its answer by then, and nothing of the scenario is to blame.
const RACES: &[&str] = &["AH03092", "AH03093", "AH03094", "AH03095", "AH03096"];

/// The error with which such a race is logged.
const CLOSED_POLLSET: &str = "(9)Bad file descriptor";

/// Advice on the group's size, given when a request has waited for a second. On a busy machine any scenario may come to
/// that; the one that is about it asks for the line.
const ADVICE: &[&str] = &["WSGI0931"];

/// What may be in a log.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    codes: Vec<String>,
    patterns: Vec<Regex>,
}

/// Whom a line belongs to that has no code of its own, such as those of a traceback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Allowed,
    Failure(usize),
}

impl Allowed {
    /// Takes allowances over; patterns have been checked when they were read.
    pub(crate) fn new<'a>(allowances: impl IntoIterator<Item = &'a LogAllowance>) -> Self {
        let mut allowed = Self::default();
        for allowance in allowances {
            match allowance {
                LogAllowance::Code(code) => allowed.codes.push(code.clone()),
                LogAllowance::Matching(pattern) => allowed.patterns.extend(Regex::new(pattern)),
            }
        }
        allowed
    }

    /// Whether a line, of any level, is one that the scenario names.
    pub(super) fn names(&self, line: &LogLine) -> bool {
        line.code.as_ref().is_some_and(|code| self.codes.contains(code))
            || self.patterns.iter().any(|pattern| pattern.is_match(&line.raw))
    }

    /// Every fault in the lines that is not allowed, those of one message together.
    pub(crate) fn unexpected(&self, lines: &[LogLine]) -> Vec<Failure> {
        let mut failures: Vec<Failure> = Vec::new();
        let mut owners: HashMap<(Option<u32>, Option<u64>), Owner> = HashMap::new();
        for line in
            lines.iter().filter(|line| (line.is_fault() && !is_race(line) && !is_advice(line)) || is_bare_fault(line))
        {
            let thread = (line.pid, line.tid);
            if self.patterns.iter().any(|pattern| pattern.is_match(&line.raw)) {
                // An allowed line by its text says nothing about the next one of the thread, unless that is its traceback.
                owners.insert(thread, Owner::Allowed);
                continue;
            }
            let owner = match (&line.code, owners.get(&thread).copied()) {
                (Some(code), _) if self.codes.contains(code) => Owner::Allowed,
                (None, Some(owner)) if continues(line) => owner,
                (None, Some(Owner::Failure(index))) if failures[index].notes.len() < SHOWN => Owner::Failure(index),
                _ => {
                    failures.push(Failure::new(FailureKind::Log, "/allow-log", describe(line)));
                    owners.insert(thread, Owner::Failure(failures.len() - 1));
                    continue;
                }
            };
            if let Owner::Failure(index) = owner {
                failures[index].notes.push(line.raw.clone());
            }
            owners.insert(thread, owner);
        }
        failures
    }
}

/// The exception that a log tells of last: what an answer of status 500 comes from.
pub(crate) fn exception(lines: &[LogLine]) -> Option<&str> {
    lines.iter().rev().map(|line| line.message.as_str()).find(|message| EXCEPTION.is_match(message))
}

/// The last line of a traceback, as `ModuleNotFoundError: No module named 'x'`.
static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "the pattern is fixed, and tests use it")]
    Regex::new(r"^([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit|Warning)(: .*)?$").unwrap()
});

fn describe(line: &LogLine) -> String {
    let level = line.level.map_or_else(|| "fault".to_owned(), |level| level.to_string());
    let module = line.module.as_deref().map(|module| format!("[{module}] ")).unwrap_or_default();
    format!("the log has an unexpected {level}: {module}{}", line.message)
}

fn is_race(line: &LogLine) -> bool {
    line.code.as_deref().is_some_and(|code| RACES.contains(&code)) && line.message.starts_with(CLOSED_POLLSET)
}

fn is_advice(line: &LogLine) -> bool {
    line.code.as_deref().is_some_and(|code| ADVICE.contains(&code))
}

fn is_bare_fault(line: &LogLine) -> bool {
    line.level.is_none() && BARE_FAULTS.iter().any(|start| line.raw.starts_with(start))
}

/// Whether a line without a code is a part of the message before it: a traceback or the exception that ends one.
fn continues(line: &LogLine) -> bool {
    let text = line.message.as_str();
    let is_exception = || {
        let name = text.split(':').next().unwrap_or_default();
        // Classes begin with a capital, or with a module; a word that somebody prints does neither.
        let class = name.rsplit('.').next().unwrap_or_default();
        (class.starts_with(char::is_uppercase) || name.contains('.'))
            && name.chars().all(|character| character.is_alphanumeric() || matches!(character, '.' | '_'))
    };
    text.is_empty()
        || text.starts_with(' ')
        || text.starts_with("Traceback (most recent call last)")
        || text.starts_with("During handling of the above exception")
        || text.starts_with("The above exception was the direct cause")
        || text.starts_with("Exception ignored")
        || is_exception()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<LogLine> {
        text.lines().map(LogLine::parse).collect()
    }

    fn allowed(codes: &[&str], patterns: &[&str]) -> Allowed {
        let codes = codes.iter().map(|code| LogAllowance::Code((*code).to_owned()));
        let patterns = patterns.iter().map(|pattern| LogAllowance::Matching((*pattern).to_owned()));
        let all: Vec<LogAllowance> = codes.chain(patterns).collect();
        Allowed::new(&all)
    }

    const LOG: &str = "\
[t] [mpm_event:notice] [pid 1:tid 1] AH00489: resuming normal operations
[t] [wsgi:error] [pid 2:tid 5] [client 127.0.0.1:1] WSGI0174: Exception raised
[t] [wsgi:error] [pid 2:tid 5] [client 127.0.0.1:1] Traceback (most recent call last):
[t] [wsgi:error] [pid 2:tid 6] printed by another thread
[t] [wsgi:error] [pid 2:tid 5] [client 127.0.0.1:1]   File \"x\", line 1, in application
[t] [wsgi:error] [pid 2:tid 5] [client 127.0.0.1:1] pkg.errors.OopsError: no";

    #[test]
    fn a_traceback_belongs_to_its_message() {
        let found = allowed(&["WSGI0174"], &[]).unexpected(&lines(LOG));
        assert_eq!(
            found.iter().map(|failure| failure.message.as_str()).collect::<Vec<_>>(),
            ["the log has an unexpected error: [wsgi] printed by another thread"]
        );
        assert!(allowed(&["WSGI0174"], &["printed by"]).unexpected(&lines(LOG)).is_empty());
        let found = allowed(&[], &["printed by"]).unexpected(&lines(LOG));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].notes.len(), 3, "the traceback is shown with the message");
    }

    #[test]
    fn the_last_exception_is_the_cause() {
        let log = lines(&format!("{LOG}\n[t] [wsgi:error] [pid 2:tid 5] bye: bye"));
        assert_eq!(exception(&log), Some("pkg.errors.OopsError: no"));
        assert_eq!(exception(&lines("[t] [wsgi:error] [pid 2] no Error: here")), None);
    }

    #[test]
    fn an_allowed_message_does_not_cover_what_else_the_thread_says() {
        let more =
            format!("{LOG}\n[t] [wsgi:error] [pid 2:tid 5] broken\n[t] [core:warn] [pid 2:tid 5] AH00999: odd\n");
        let found = allowed(&["WSGI0174"], &["printed by"]).unexpected(&lines(&more));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn races_of_httpd_itself_are_left_out() {
        let race = "[t] [mpm_event:error] [pid 1:tid 2] (9)Bad file descriptor: AH03093: process_socket: apr_pollset_add failure for keep alive";
        assert!(allowed(&[], &[]).unexpected(&lines(race)).is_empty());
        assert_eq!(allowed(&[], &[]).unexpected(&lines(&race.replace("(9)Bad file descriptor: ", ""))).len(), 1);
    }

    #[test]
    fn advice_on_a_busy_machine_is_no_fault() {
        let line = "[t] [wsgi:warn] [pid 1:tid 2] [client 127.0.0.1:1] WSGI0931: All 3 threads of daemon process group 'd' are busy";
        assert!(allowed(&[], &[]).unexpected(&lines(line)).is_empty());
        assert_eq!(allowed(&[], &[]).unexpected(&lines(&line.replace("0931", "0932"))).len(), 1);
    }

    #[test]
    fn faults_that_bypass_the_log_are_seen() {
        assert_eq!(allowed(&[], &[]).unexpected(&lines("Fatal Python error: init\nsome text")).len(), 1);
    }
}
