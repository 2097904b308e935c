//! What clients saw, what is left, and whether that is as it should be.

use std::collections::BTreeMap;
use std::ops::Add;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::journal::{Failed, Journal, Outcome};
use crate::leftovers::Leftovers;
use crate::sabotage::{Blows, Cost, Fault};

/// A request that takes longer than this hung: the timeouts of the server and of its groups end sooner.
const HANG: Duration = Duration::from_secs(25);

/// What clients saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) failures: Vec<Failed>,
    /// No connection at all.
    pub(crate) unreachable: u64,
    /// Those among the damaged answers that have something of another request's.
    pub(crate) mixed_up: u64,
    /// A kept connection ended before the answer began.
    pub(crate) sent_again: u64,
    /// The longest that a request took.
    pub(crate) longest: Duration,
}

impl Counts {
    pub(crate) fn failed(&self) -> u64 {
        self.failures.len() as u64 + self.unreachable
    }

    fn damaged(&self) -> usize {
        self.failures.iter().filter(|failed| matches!(failed.outcome, Outcome::Damaged(_))).count()
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.failures.extend(other.failures);
        Self {
            sent: self.sent + other.sent,
            failures: self.failures,
            unreachable: self.unreachable + other.unreachable,
            mixed_up: self.mixed_up + other.mixed_up,
            sent_again: self.sent_again + other.sent_again,
            longest: self.longest.max(other.longest),
        }
    }
}

/// How often each status, or each kind of a broken answer, was seen.
fn tally<'f>(failures: impl Iterator<Item = &'f Failed>) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for failed in failures {
        let name = match &failed.outcome {
            Outcome::Status(status) => format!("status {status}"),
            Outcome::Broken(cause) => format!("broken off: {cause}"),
            Outcome::Damaged(how) => format!("damaged: {how}"),
        };
        *counts.entry(name).or_default() += 1;
    }
    if counts.is_empty() {
        return "none failed".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}

/// What was seen in a run.
pub(crate) struct Seen {
    pub(crate) victims: Counts,
    pub(crate) bystanders: Counts,
    /// What the saboteur did, and saw.
    pub(crate) blows: Blows,
    /// How long it took until all requests were answered again.
    pub(crate) healed: Option<Duration>,
    pub(crate) before: Leftovers,
    pub(crate) after: Leftovers,
    /// The error log.
    pub(crate) log: String,
    /// Why the server did not end well.
    pub(crate) ending: Option<String>,
}

/// How it went.
pub(crate) struct Verdict {
    seen: Seen,
    lines: usize,
    codes: String,
    faults: Vec<String>,
}

impl Verdict {
    /// Judges what was seen.
    pub(crate) fn new(fault: &Fault, seen: Seen) -> Self {
        let Seen { victims, bystanders, blows, healed, before, after, log, ending } = &seen;
        let mut faults = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        let mixed_up = victims.mixed_up + bystanders.mixed_up;
        expect(mixed_up == 0, format!("{mixed_up} answers were mixed up"));
        expect(fault.may_damage || victims.damaged() == 0, format!("{} answers were damaged", victims.damaged()));
        expect(bystanders.damaged() == 0, "answers of the other group were damaged".into());
        expect(
            fault.hits_all || bystanders.failed() == 0,
            format!("the other group had {} failures: {}", bystanders.failed(), tally(bystanders.failures.iter())),
        );
        let unreachable = victims.unreachable + bystanders.unreachable;
        expect(unreachable == 0, format!("{unreachable} clients could not connect"));

        let all = || victims.failures.iter().chain(&bystanders.failures).chain(&blows.failures);
        let strange: Vec<&Failed> = all()
            .filter(|failed| matches!(&failed.outcome, Outcome::Status(status) if !fault.statuses.contains(status)))
            .collect();
        expect(strange.is_empty(), format!("statuses that do not belong here: {}", tally(strange.into_iter())));
        expect(blows.count > 0, "nothing was done".into());
        let (failed, allowed) = (all().count() as u64, fault.cost.of(blows.count));
        expect(failed <= allowed, format!("{failed} requests failed, where {} blows may cost {allowed}", blows.count));
        let longest = victims.longest.max(bystanders.longest);
        expect(longest < HANG, format!("a request took {longest:?}"));
        expect(healed.is_some(), "it did not heal".into());
        let surplus = after.surplus(before, fault, blows.count);
        expect(surplus.is_empty(), surplus.join("; "));
        expect(!log.contains("Fatal Python"), "Python ended a process with a fatal error".into());
        faults.extend(blows.faults.iter().cloned());

        let journal = Journal::new(log, all());
        faults.extend(journal.faults());
        faults.extend(ending.clone());
        let (lines, codes) = (journal.lines(), journal.codes());
        Self { lines, codes, seen, faults }
    }

    /// Whether everything is as it should be.
    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    /// Keeps the server's log for whoever looks for the cause.
    pub(crate) fn keep_log(&self, folder: &Path, fault: &Fault) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.log", fault.name));
        fs::write(&path, &self.seen.log)?;
        Ok(path)
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.seen.victims.sent + self.seen.bystanders.sent
    }

    /// For people.
    pub(crate) fn text(&self, fault: &Fault) -> String {
        let Seen { victims, bystanders, blows, healed, before, after, .. } = &self.seen;
        let Counts { sent, unreachable, sent_again, longest, .. } = victims;
        let seen = tally(victims.failures.iter());
        let own = tally(blows.failures.iter());
        let allowed = match fault.cost {
            Cost::Outage => "any number".to_owned(),
            cost => cost.of(blows.count).to_string(),
        };
        let healed = healed.map_or_else(|| "did not heal".to_owned(), |time| format!("healed in {time:.1?}"));
        let verdict = if self.holds() { "as it should be".to_owned() } else { self.faults.join("\n             ") };
        let codes = if self.codes.is_empty() { String::new() } else { format!(" ({})", self.codes) };
        let notes: String = blows.notes.iter().map(|note| format!("\n             {note}")).collect();
        format!(
            "{:<12} {verdict}\n             {sent} requests: {seen}; {sent_again} sent again, {unreachable} without a connection; \
             longest {longest:.1?}; {healed}\n             {} blows: {own}; {allowed} requests may fail, {} lines tell of one{codes}; other \
             group {} of {}{notes}\n             before {before}\n             after  {after}",
            fault.name,
            blows.count,
            self.lines,
            bystanders.failed(),
            bystanders.sent,
        )
    }
}
