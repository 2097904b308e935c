//! What clients saw, what is left, and whether that is as it should be.

use std::collections::BTreeMap;
use std::fs;
use std::iter::Sum;
use std::ops::Add;
use std::time::Duration;

use confgen::httpd::process;

use crate::Failure;
use crate::sabotage::Fault;
use crate::server::Stage;

/// A request that takes longer than this hung: the timeouts of the server and of its groups end sooner.
const HANG: Duration = Duration::from_secs(25);

/// What clients saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    /// Another status than 200.
    pub(crate) refused: u64,
    /// The connection ended in the middle of an answer, or before it.
    pub(crate) broken: u64,
    /// No connection at all.
    pub(crate) unreachable: u64,
    /// An answer that has something of another request's.
    pub(crate) mixed_up: u64,
    /// An answer that is not what it should be, without that.
    pub(crate) damaged: u64,
    /// A kept connection ended before the answer began.
    pub(crate) sent_again: u64,
    /// Why the last connection broke.
    pub(crate) cause: Option<String>,
    /// The longest that a request took.
    pub(crate) longest: Duration,
}

impl Counts {
    pub(crate) fn failed(&self) -> u64 {
        self.refused + self.broken + self.unreachable + self.mixed_up + self.damaged
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            refused: self.refused + other.refused,
            broken: self.broken + other.broken,
            unreachable: self.unreachable + other.unreachable,
            mixed_up: self.mixed_up + other.mixed_up,
            damaged: self.damaged + other.damaged,
            sent_again: self.sent_again + other.sent_again,
            cause: self.cause.or(other.cause),
            longest: self.longest.max(other.longest),
        }
    }
}

/// What a server holds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Leftovers {
    processes: usize,
    zombies: usize,
    descriptors: usize,
    threads: usize,
    /// Private memory in KiB.
    memory: u64,
}

impl Sum for Leftovers {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            processes: sum.processes + one.processes,
            zombies: sum.zombies + one.zombies,
            descriptors: sum.descriptors + one.descriptors,
            threads: sum.threads + one.threads,
            memory: sum.memory + one.memory,
        })
    }
}

impl Leftovers {
    /// What all processes of the server hold now.
    pub(crate) fn of(stage: &Stage) -> Result<Self, Failure> {
        let pids = stage.server.members().into_iter().map(|stat| (stat.pid, stat.is_zombie()));
        let all = pids.chain([(stage.server.pid(), false)]).map(|(pid, zombie)| {
            if zombie {
                return Self { processes: 1, zombies: 1, ..Self::default() };
            }
            // A process that goes away meanwhile holds nothing.
            Self {
                processes: 1,
                zombies: 0,
                descriptors: process::open_descriptors(pid).unwrap_or(0),
                threads: fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count),
                memory: process::memory(pid, "Private_Dirty").unwrap_or(0) / 1024,
            }
        });
        Ok(all.sum())
    }

    /// Whether it is what it was before, but for a little.
    pub(crate) fn is_steady(&self, before: &Self) -> bool {
        (self.processes, self.threads) == (before.processes, before.threads)
            && self.descriptors <= before.descriptors + 4
    }

    fn text(&self) -> String {
        format!(
            "{} processes, {} zombies, {} descriptors, {} threads, {} MiB",
            self.processes,
            self.zombies,
            self.descriptors,
            self.threads,
            self.memory / 1024
        )
    }
}

/// What was seen in a run.
pub(crate) struct Seen {
    pub(crate) victims: Counts,
    pub(crate) bystanders: Counts,
    /// How long it took until all requests were answered again.
    pub(crate) healed: Option<Duration>,
    pub(crate) before: Leftovers,
    pub(crate) after: Leftovers,
    /// The error log.
    pub(crate) log: String,
    /// Failed requests of the saboteur.
    pub(crate) own_failures: u64,
    /// Why the server did not end well.
    pub(crate) ending: Option<String>,
}

/// How it went.
pub(crate) struct Verdict {
    seen: Seen,
    logged: u64,
    faults: Vec<String>,
}

impl Verdict {
    /// Judges what was seen.
    pub(crate) fn new(fault: &Fault, seen: Seen) -> Self {
        let Seen { victims, bystanders, healed, before, after, log, own_failures, ending } = &seen;
        let mut faults = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        // Lines that tell of a request that failed carry its client. Warnings do not tell of failures.
        let codes = log.lines().filter(|line| line.contains("[client ") && !line.contains(":warn]")).filter_map(code);
        let mut by_code: BTreeMap<&str, u64> = BTreeMap::new();
        codes.for_each(|code| *by_code.entry(code).or_default() += 1);
        // A script that does not load has its traceback under a code of its own.
        let of = |code: &str| by_code.get(code).copied().unwrap_or(0);
        let tracebacks = of("WSGI0174").min(of("WSGI0105") + of("WSGI0109"));
        let logged = by_code.values().sum::<u64>() - tracebacks;
        let listed: Vec<String> = by_code.iter().map(|(code, count)| format!("{count} × {code}")).collect();
        expect(victims.mixed_up == 0 && bystanders.mixed_up == 0, "answers were mixed up".into());
        expect(fault.may_damage || victims.damaged == 0, format!("{} answers were damaged", victims.damaged));
        expect(bystanders.damaged == 0, "answers of the other group were damaged".into());
        expect(bystanders.failed() == 0, format!("the other group had {} failures", bystanders.failed()));
        expect(fault.may_fail || victims.failed() == 0, format!("{} requests failed", victims.failed()));
        let longest = victims.longest.max(bystanders.longest);
        expect(longest < HANG, format!("a request took {longest:?}"));
        expect(healed.is_some(), "it did not heal".into());
        expect(after.zombies == 0, format!("{} zombies", after.zombies));
        expect(after.processes <= before.processes, "processes stayed behind".into());
        // Connections between children and daemons are kept, as many as there are threads; a leak would be one for each fault.
        expect(after.descriptors <= before.descriptors + 64, "descriptors stayed open".into());
        expect(after.threads <= before.threads + 8, "threads stayed behind".into());
        expect(after.memory <= before.memory + before.memory / 4 + 8 * 1024, "memory grew".into());
        // Nobody but the client sees that an answer is damaged.
        let unseen = victims.damaged + bystanders.damaged;
        let failed = victims.failed() + bystanders.failed() + own_failures - unseen;
        expect(
            logged == failed,
            format!("{logged} lines of the log tell of {failed} failed requests ({})", listed.join(", ")),
        );
        faults.extend(ending.clone());
        Self { seen, logged, faults }
    }

    /// Whether everything is as it should be.
    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.seen.victims.sent + self.seen.bystanders.sent
    }

    /// For people.
    pub(crate) fn text(&self, fault: &Fault) -> String {
        let Seen { victims, bystanders, healed, before, after, .. } = &self.seen;
        let Counts { sent, refused, broken, unreachable, sent_again, damaged, longest, cause, .. } = victims;
        let cause = cause.as_ref().map_or_else(String::new, |cause| format!(" ({cause})"));
        let healed = healed.map_or_else(|| "did not heal".to_owned(), |time| format!("healed in {time:.1?}"));
        let verdict = if self.holds() { "as it should be".to_owned() } else { self.faults.join("; ") };
        format!(
            "{:<12} {verdict}\n             {sent} requests: {refused} refused, {broken} broken off{cause}, {sent_again} sent again, {unreachable} without a \
             connection, {damaged} damaged, {} lines about them; longest {longest:.1?}; {healed}; other group {} of {}\n             before {}\n             \
             after  {}",
            fault.name,
            self.logged,
            bystanders.failed(),
            bystanders.sent,
            before.text(),
            after.text()
        )
    }
}

/// The code of a line of the log.
fn code(line: &str) -> Option<&str> {
    let begin = line.find("WSGI0")?;
    line.get(begin..begin + 8)
}
