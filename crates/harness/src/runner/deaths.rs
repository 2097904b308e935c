//! Processes of the server that a signal has ended, and that the scenario does not name.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

use confgen::httpd::{Death, LogLine, Signal};
use regex::Regex;

use super::audit::Allowed;
use super::outcome::{Failure, FailureKind};
use crate::scenario::schema::DeathAllowance;
use crate::steps::{Sent, StopSummary};

/// Lines by which httpd (at level notice) and the module tell that a signal has ended a process. They are a second source:
/// a process that lived for some milliseconds only may have escaped the first one.
static TOLD: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"AH0005[12]: child pid (?<pid>\d+) exit signal .*\((?<signal>\d+)\)",
        r"pid (?<pid>\d+) of group '[^']*' died of signal (?<signal>\d+)",
    ]
    .iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// Signals to the parent that let it end its children.
const RESTARTS: &[Signal] =
    &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGWINCH, Signal::SIGQUIT];

/// Codes of the lines that a parent writes when it restarts: of prefork, worker and event, gracefully or at once.
const RESTART_LINES: &[&str] = &["AH00171", "AH00173", "AH00297", "AH00298", "AH00493", "AH00494"];

/// What the deaths of a cell are judged by.
pub(super) struct Reasons<'a> {
    /// The pid of the server's parent process.
    pub(super) parent: u32,
    /// Whether the end of the parent is a failure already.
    pub(super) parent_reported: bool,
    /// Signals that steps have sent.
    pub(super) sent: &'a [Sent],
    /// Signals that the scenario names.
    pub(super) named: &'a [DeathAllowance],
    /// Lines of the log that the scenario names.
    pub(super) allowed: &'a Allowed,
    /// The lines of all error logs.
    pub(super) lines: &'a [LogLine],
}

/// A death, from whichever source.
struct Found<'a> {
    pid: u32,
    signal: i32,
    seen: Option<Instant>,
    death: Option<&'a Death>,
}

impl Reasons<'_> {
    /// Every death that the scenario does not name.
    pub(super) fn unexpected(&self, stopped: Option<&StopSummary>) -> Vec<Failure> {
        let deaths = stopped.map(|stopped| stopped.deaths.as_slice()).unwrap_or_default();
        let mut found: Vec<Found<'_>> = deaths
            .iter()
            .map(|death| Found { pid: death.pid, signal: death.signal, seen: Some(death.seen), death: Some(death) })
            .collect();
        for (pid, signal) in self.lines.iter().filter_map(told) {
            if found.iter().all(|known| known.pid != pid) {
                found.push(Found { pid, signal, seen: None, death: None });
            }
        }
        found.retain(|one| !self.is_named(one, stopped));
        found.iter().map(|one| failure(one, one.pid == self.parent)).collect()
    }

    fn is_named(&self, found: &Found<'_>, stopped: Option<&StopSummary>) -> bool {
        (self.parent_reported && found.pid == self.parent)
            || self.named.iter().any(|named| named.signal() as i32 == found.signal)
            || self.sent.iter().any(|sent| sent.pid == found.pid && sent.signal as i32 == found.signal)
            || self.ends_with_the_server(found, stopped)
            || self.lines.iter().any(|line| self.allowed.names(line) && mentions(&line.message, found.pid))
    }

    /// Whether the parent has restarted, whoever asked it to.
    fn restarted(&self) -> bool {
        let code = |line: &LogLine| line.code.as_deref().is_some_and(|code| RESTART_LINES.contains(&code));
        self.lines.iter().any(code)
    }

    /// A parent that stops or restarts ends its children by SIGTERM.
    fn ends_with_the_server(&self, found: &Found<'_>, stopped: Option<&StopSummary>) -> bool {
        let restarts = self
            .sent
            .iter()
            .filter(|sent| sent.pid == self.parent && RESTARTS.contains(&sent.signal))
            .map(|sent| sent.at);
        let first = restarts.chain(stopped.map(|stopped| stopped.asked)).min();
        found.pid != self.parent
            && found.signal == Signal::SIGTERM as i32
            && (self.restarted() || first.is_some_and(|first| found.seen.is_none_or(|seen| seen >= first)))
    }
}

fn told(line: &LogLine) -> Option<(u32, i32)> {
    let captures = TOLD.iter().find_map(|pattern| pattern.captures(&line.message))?;
    Some((captures["pid"].parse().ok()?, captures["signal"].parse().ok()?))
}

/// Whether a text has the number as a word.
fn mentions(text: &str, pid: u32) -> bool {
    text.split(|character: char| !character.is_ascii_alphanumeric()).any(|word| word.parse() == Ok(pid))
}

/// A signal's name without `SIG`, or its number.
pub(super) fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.as_str()[3..].to_owned())
}

fn failure(found: &Found<'_>, is_server: bool) -> Failure {
    let name = signal_name(found.signal);
    let process = match found.death {
        _ if is_server => "the server".to_owned(),
        Some(death) => format!("process {} ({})", found.pid, death.name),
        None => format!("process {}", found.pid),
    };
    let mut failure = Failure::new(FailureKind::Death, "", format!("{process} died of SIG{name}"));
    if let Some(death) = found.death.filter(|death| death.core) {
        failure.notes.push(match death.folder.as_deref().and_then(|folder| core_file(folder, death.pid)) {
            Some(file) => format!("it dumped core: {file}"),
            None => "it dumped core; where, says /proc/sys/kernel/core_pattern".to_owned(),
        });
    }
    if is_server {
        failure.notes.push("no step asked for the end of the server".to_owned());
    }
    failure.note(format!("if the scenario is about this, say so: `allow-death: [{name}]`"))
}

/// The core file of a process in a folder.
fn core_file(folder: &Path, pid: u32) -> Option<String> {
    [format!("core.{pid}"), "core".to_owned()]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::schema::LogAllowance;
    use std::time::Duration;

    fn death(pid: u32, signal: Signal, seen: Instant) -> Death {
        Death { pid, name: "(wsgi:d)".into(), signal: signal as i32, core: false, folder: None, seen }
    }

    fn stopped(asked: Instant, deaths: Vec<Death>) -> StopSummary {
        StopSummary { duration: Duration::ZERO, status: None, forced: false, leaks: Vec::new(), asked, deaths }
    }

    fn unexpected(sent: &[Sent], named: &[&str], allowed: &[&str], log: &str, stopped: &StopSummary) -> Vec<String> {
        let named: Vec<DeathAllowance> =
            named.iter().map(|name| serde_json::from_value((*name).into()).unwrap()).collect();
        let codes: Vec<_> = allowed.iter().map(|code| LogAllowance::Code((*code).to_owned())).collect();
        let allowed = Allowed::new(&codes);
        let lines: Vec<LogLine> = log.lines().map(LogLine::parse).collect();
        let reasons =
            Reasons { parent: 1, parent_reported: false, sent, named: &named, allowed: &allowed, lines: &lines };
        reasons.unexpected(Some(stopped)).into_iter().map(|failure| failure.message).collect()
    }

    #[test]
    fn every_death_is_one_that_the_scenario_names() {
        let now = Instant::now();
        let crashed = stopped(now, vec![death(7, Signal::SIGSEGV, now)]);
        let message = "process 7 ((wsgi:d)) died of SIGSEGV";
        assert_eq!(unexpected(&[], &[], &[], "", &crashed), [message]);
        assert!(unexpected(&[], &["SEGV"], &[], "", &crashed).is_empty());
        let sent = |pid, signal| Sent { pid, signal, at: now };
        assert!(unexpected(&[sent(7, Signal::SIGSEGV)], &[], &[], "", &crashed).is_empty());
        assert_eq!(unexpected(&[sent(7, Signal::SIGKILL)], &["KILL"], &[], "", &crashed), [message]);
        assert_eq!(unexpected(&[sent(8, Signal::SIGSEGV)], &[], &[], "", &crashed), [message]);
        let line = "[t] [wsgi:error] [pid 1:tid 1] WSGI0902: pid 7 of group 'd' died of signal 11 (SIGSEGV)";
        assert_eq!(unexpected(&[], &[], &[], line, &crashed), [message]);
        assert!(unexpected(&[], &[], &["WSGI0902"], line, &crashed).is_empty());
        assert_eq!(unexpected(&[], &[], &["WSGI0902"], &line.replace("pid 7", "pid 77"), &crashed), [message]);
    }

    #[test]
    fn a_parent_that_dies_as_its_stop_begins_is_the_server() {
        let now = Instant::now();
        let killed = stopped(now, vec![death(1, Signal::SIGKILL, now)]);
        assert_eq!(unexpected(&[], &[], &[], "", &killed), ["the server died of SIGKILL"]);
    }

    #[test]
    fn a_notice_of_httpd_is_a_death_too() {
        let line = "[t] [core:notice] [pid 1:tid 1] AH00052: child pid 9 exit signal Segmentation fault (11)";
        let quiet = stopped(Instant::now(), Vec::new());
        assert_eq!(unexpected(&[], &[], &[], line, &quiet), ["process 9 died of SIGSEGV"]);
        assert!(unexpected(&[], &[], &["AH00052"], line, &quiet).is_empty());
    }

    #[test]
    fn children_may_end_by_the_signal_of_a_stop_but_not_before_it() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let early = stopped(later, vec![death(7, Signal::SIGTERM, now)]);
        assert_eq!(unexpected(&[], &[], &[], "", &early).len(), 1);
        assert!(unexpected(&[], &[], &[], "", &stopped(now, vec![death(7, Signal::SIGTERM, later)])).is_empty());
        assert_eq!(unexpected(&[], &[], &[], "", &stopped(now, vec![death(7, Signal::SIGKILL, later)])).len(), 1);
        assert_eq!(unexpected(&[], &[], &[], "", &stopped(now, vec![death(1, Signal::SIGTERM, later)])).len(), 1);
        let restart = Sent { pid: 1, signal: Signal::SIGHUP, at: now };
        assert!(unexpected(&[restart], &[], &[], "", &early).is_empty());
        // The restart may be the work of a program that a step has started.
        let line = "[t] [mpm_prefork:notice] [pid 1:tid 1] AH00171: Graceful restart requested, doing restart";
        assert!(unexpected(&[], &[], &[], line, &early).is_empty());
        assert_eq!(unexpected(&[], &[], &[], &line.replace("AH00171", "AH00163"), &early).len(), 1);
    }
}
