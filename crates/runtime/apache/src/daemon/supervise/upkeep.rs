//! What could not be started when it was due: tried again now and then, as the system may have refused it for a moment
//! only, when a process or a descriptor was one too many.

use std::time::{Duration, Instant};

use super::ended::{delay_after, stops};
use super::{SOON, Supervisor};

impl Supervisor {
    /// Starts what should run and does not. Apache calls for it every ten seconds or sooner, and so does the end of any
    /// process.
    pub(super) fn keep_up(&self) {
        if std::process::id() != self.parent || stops() {
            return;
        }
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
            self.fill(group);
        }
        self.save();
    }

    /// Starts a process in each slot that has none: it could not be started, or ordered, before.
    pub(super) fn fill(&self, group: usize) {
        let empty: Vec<usize> = {
            let saved = self.saved.borrow();
            let slots = saved.groups[group].slots.iter().enumerate();
            slots.filter(|(_, slot)| slot.process.is_none()).map(|(number, _)| number).collect()
        };
        for slot in empty.into_iter().filter(|_| !stops()) {
            let place = self.saved.borrow().groups[group].free_place(slot);
            let life = self.lives.borrow().get(group).and_then(|slots| slots.get(slot)).copied().unwrap_or_default();
            self.start_process(group, slot, place, delay_after(life.failures));
        }
    }
}
