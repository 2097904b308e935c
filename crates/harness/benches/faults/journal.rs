//! The error log: which requests it says have failed.
//!
//! A line that tells of a failed request carries its client's port, and a client gives up its connection after a failure. So
//! what it saw and what was logged can be compared connection by connection, and a line that is missing is not made up for by
//! one that is there twice.

use std::collections::BTreeMap;

/// How a request failed, for the client that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With another status than 200.
    Status(u16),
    /// The connection ended in the middle of an answer, or before it.
    Broken(String),
    /// The answer is not what it should be. Nobody but the client sees that, and it may be all that there is to see.
    Damaged(String),
}

/// A request that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// The port of the client's end of the connection.
    pub(crate) port: u16,
    pub(crate) outcome: Outcome,
}

/// What the log says of one connection.
#[derive(Debug, Default)]
struct Told<'l> {
    /// The lines that tell of failures.
    lines: Vec<&'l str>,
    failed: Vec<&'l Failed>,
}

impl Told<'_> {
    /// A script that does not load has its traceback under a code of its own, beside the one of the failure.
    fn failures(&self) -> usize {
        let of = |wanted: &[&str]| {
            self.lines.iter().filter(|line| code(line).is_some_and(|code| wanted.contains(&code))).count()
        };
        self.lines.len() - of(&["WSGI0174"]).min(of(&["WSGI0105", "WSGI0109"]))
    }

    fn holds(&self) -> bool {
        let damaged = self.failed.iter().filter(|failed| matches!(failed.outcome, Outcome::Damaged(_))).count();
        (self.failed.len() - damaged..=self.failed.len()).contains(&self.failures())
    }
}

/// The log beside what clients saw.
pub(crate) struct Journal<'l> {
    connections: BTreeMap<u16, Told<'l>>,
}

impl<'l> Journal<'l> {
    /// Puts the lines of the log and the failures together by the connections that they are about.
    pub(crate) fn new(log: &'l str, failures: impl Iterator<Item = &'l Failed>) -> Self {
        let mut connections: BTreeMap<u16, Told<'l>> = BTreeMap::new();
        for (port, line) in log.lines().filter_map(|line| Some((client(line)?, line))).filter(|(_, line)| tells(line)) {
            connections.entry(port).or_default().lines.push(line);
        }
        for failed in failures {
            connections.entry(failed.port).or_default().failed.push(failed);
        }
        Self { connections }
    }

    /// How many failures the log tells of.
    pub(crate) fn lines(&self) -> usize {
        self.connections.values().map(Told::failures).sum()
    }

    /// The codes of these lines, with how many there are of each.
    pub(crate) fn codes(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let codes = self.connections.values().flat_map(|told| &told.lines).filter_map(|line| code(line));
        codes.for_each(|code| *counts.entry(code).or_default() += 1);
        counts.iter().map(|(code, count)| format!("{count} × {code}")).collect::<Vec<_>>().join(", ")
    }

    /// Failed requests without a line, and lines without a failed request: the connections that they are about.
    pub(crate) fn faults(&self) -> Vec<String> {
        const SHOWN: usize = 3;
        let wrong: Vec<_> = self.connections.iter().filter(|(_, told)| !told.holds()).collect();
        let mut faults: Vec<String> = wrong
            .iter()
            .take(SHOWN)
            .map(|(port, told)| {
                let outcomes: Vec<_> = told.failed.iter().map(|failed| &failed.outcome).collect();
                format!("the client at port {port} saw {outcomes:?}, and the log has {:?}", told.lines)
            })
            .collect();
        if wrong.len() > SHOWN {
            faults.push(format!("{} more connections like that", wrong.len() - SHOWN));
        }
        faults
    }
}

/// The port of the client that a line is about.
fn client(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("[client ")?;
    let (address, _) = rest.split_once(']')?;
    address.rsplit_once(':')?.1.parse().ok()
}

/// Whether a line tells that a request failed: it has a code and is more than a warning.
fn tells(line: &str) -> bool {
    [":error]", ":crit]", ":alert]", ":emerg]"].iter().any(|level| line.contains(level)) && code(line).is_some()
}

/// The code of a line of the log.
fn code(line: &str) -> Option<&str> {
    const LENGTH: usize = "WSGI0000".len();
    let begin = line.find("WSGI0")?;
    line.get(begin..begin + LENGTH)
}
