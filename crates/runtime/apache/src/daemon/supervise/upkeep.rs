//! What could not be started when it was due: tried again now and then, as the system may have refused it for a moment
//! only, when a process or a descriptor was one too many.

use std::time::{Duration, Instant};

use super::ended::stops;
use super::{Group, Supervisor};
use crate::codes;
use crate::daemon::pace::SOON;
use crate::daemon::parent_log;
use crate::daemon::retained::{Ending, SavedProcess};
use crate::directives::Handover;

impl Supervisor {
    /// Starts what should run and does not. Apache calls for it every ten seconds or sooner, and so does the end of any
    /// process.
    pub(super) fn keep_up(&self) {
        if std::process::id() != self.parent || stops() {
            return;
        }
        self.end_strangers();
        let now = Instant::now();
        if self.looked.get().is_some_and(|last| now.duration_since(last) < SOON) {
            return;
        }
        self.looked.set(Some(now));
        if self.saved.borrow().writer.is_none() {
            self.replace_writer(Duration::ZERO);
        }
        if self.wants_bell() && !self.has_bell() {
            self.hang_bell();
        }
        for group in 0..self.groups.len() {
            self.end_overdue(group);
            self.fill(group);
        }
        self.save();
    }

    /// In turn: a process has ended, and the one that was to follow may start.
    pub(super) fn follow(&self, group: usize) {
        if self.groups[group].plan.handover == Handover::Sequential {
            self.fill(group);
        }
    }

    /// In turn, a process that does not end keeps its successor from starting. Once it has had all the time that the options
    /// give it, it is killed.
    fn end_overdue(&self, group: usize) {
        let Group { plan, .. } = &self.groups[group];
        let Some(limit) = plan.patience().filter(|_| plan.handover == Handover::Sequential) else { return };
        let now = Instant::now();
        let overdue: Vec<SavedProcess> = {
            let (saved, paces) = (self.saved.borrow(), self.paces.borrow());
            let former = saved.groups[group].former.iter();
            let asked = |process: &SavedProcess| paces[group].get(process.slot()).and_then(|pace| pace.asked);
            let late = |process: &&SavedProcess| asked(process).is_some_and(|asked| now.duration_since(asked) > limit);
            former.filter(|process| process.told && process.ending != Ending::Forced).filter(late).copied().collect()
        };
        for process in overdue {
            parent_log::server(
                plan.server,
                &codes::PREDECESSOR_KILLED,
                format_args!(
                    "Daemon process '{}' (pid={}) was asked to end {} seconds ago and has not; it is killed, as \
                     handover=sequential has its successor wait for its end.",
                    plan.program.group,
                    process.pid,
                    limit.as_secs()
                ),
            );
            self.force(process);
        }
    }

    /// Starts a process in each slot that has none: it could not be started, or ordered, before.
    pub(super) fn fill(&self, group: usize) {
        let vacancies = self.saved.borrow().groups[group].vacancies(self.groups[group].plan.handover);
        for (slot, place) in vacancies.into_iter().filter(|_| !stops()) {
            let pace = self.paces.borrow().get(group).and_then(|slots| slots.get(slot)).copied().unwrap_or_default();
            self.start_process(group, slot, place, pace.delay(Instant::now()));
        }
    }
}
