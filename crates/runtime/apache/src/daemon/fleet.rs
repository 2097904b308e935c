//! The fleet of a group: every decision about which process follows which, as functions over plain state.
//!
//! Nothing here has a clock, a descriptor or a process. The supervisor reports what it has seen and carries out the
//! returned [`Action`]s in their order, so that tests can try any sequence of events.
//!
//! A process that no longer holds its slot is one of [`SavedGroup::former`]. Until it is asked to leave it serves, and each slot
//! has at most one such process: a successor that has not served when it is itself replaced goes first.

use super::retained::{SavedGroup, SavedLoader, SavedProcess};
use super::status_page::{PLACES, other_place, slot_of};
use crate::directives::Handover;

/// What the supervisor has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask the process to finish the requests that it has, and to end.
    Leave(SavedProcess),
    /// Ask the process to end at once.
    End(SavedProcess),
    /// Forget a process that its loader was to fork and has not forked.
    Abandon(SavedProcess),
    /// Start a process at this place of a slot.
    Start {
        /// The slot.
        slot: usize,
        /// The place.
        place: u32,
    },
}

/// What the status page says of a slot's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// It has begun to serve.
    pub(super) serves: bool,
    /// It wants a successor.
    pub(super) wants: bool,
}

/// A process that gets its successor now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rolled {
    pub(super) slot: usize,
    pub(super) process: SavedProcess,
    pub(super) actions: Vec<Action>,
}

impl SavedProcess {
    /// The number of its slot.
    pub(super) fn slot(&self) -> usize {
        slot_of(self.place) as usize
    }

    /// Notes that it is asked to leave. `None`: it was asked before.
    pub(super) fn ask_to_leave(&mut self) -> Option<Action> {
        (!std::mem::replace(&mut self.told, true)).then_some(Action::Leave(*self))
    }
}

impl SavedGroup {
    /// The process that serves a slot until the next one does.
    pub(super) fn predecessor(&self, slot: usize) -> Option<&SavedProcess> {
        self.former.iter().rfind(|process| process.slot() == slot && !process.told)
    }

    /// Whether a process may be started in a slot that has none. In turn, all that were there have to end first, with the
    /// loaders that have loaded the application for them.
    pub(super) fn may_start(&self, slot: usize, handover: Handover) -> bool {
        let left_over = || self.former.iter().any(|process| process.slot() == slot) || !self.loaders.is_empty();
        handover == Handover::Overlap || !left_over()
    }

    /// A new configuration takes over a slot. `served`: its process has begun to serve.
    pub(super) fn hand_over(&mut self, slot: usize, served: bool, handover: Handover) -> Vec<Action> {
        let mut actions = Vec::new();
        let place = match self.slots[slot].process {
            None => self.free_place(slot),
            // Should it be forked all the same, it finds that nobody wants it.
            Some(process) if process.is_ordered() && !served => {
                self.slots[slot].rolls = false;
                self.slots[slot].process = None;
                actions.push(Action::Abandon(process));
                process.place
            }
            Some(process) => {
                actions.extend(self.succeed(slot, served, handover));
                self.place_after(process.place)
            }
        };
        if handover == Handover::Sequential {
            actions.extend(self.leave(slot));
        }
        if self.may_start(slot, handover) {
            actions.push(Action::Start { slot, place });
        }
        actions
    }

    /// Takes the process out of a slot that is to have another one.
    fn succeed(&mut self, slot: usize, served: bool, handover: Handover) -> Vec<Action> {
        self.slots[slot].rolls = false;
        let Some(process) = self.slots[slot].process.take() else { return Vec::new() };
        let mut actions = if served { self.leave(slot) } else { Vec::new() };
        let told = !served && (handover == Handover::Sequential || self.predecessor(slot).is_some());
        let process = SavedProcess { told, ..process };
        self.former.push(process);
        actions.extend(told.then_some(Action::End(process)));
        actions
    }

    /// Asks those that held a slot before to leave. Its process has begun to serve, and has done so itself unless it was
    /// ended between the two; or nobody is to take over from them while they run.
    fn leave(&mut self, slot: usize) -> Vec<Action> {
        let of_slot = self.former.iter_mut().filter(|process| process.slot() == slot);
        of_slot.filter_map(SavedProcess::ask_to_leave).collect()
    }

    /// Chooses the process that gets a successor now, if there is one: one at a time, in turn. `last` is the slot that had
    /// its turn before.
    pub(super) fn roll(&mut self, seen: &[Seen], last: &mut usize, handover: Handover) -> Option<Rolled> {
        for (slot, seen) in self.slots.iter_mut().zip(seen) {
            // In turn, a slot rolls without a process until the one before has ended.
            let loads = slot.process.is_some() || handover == Handover::Sequential;
            slot.rolls &= loads && !(slot.process.is_some() && seen.serves);
        }
        if self.slots.iter().any(|slot| slot.rolls) {
            return None;
        }
        let slots = self.slots.len();
        let wants =
            |slot: &usize| seen.get(*slot).is_some_and(|seen| seen.wants) && self.slots[*slot].process.is_some();
        let left_over = |slot: &usize| self.former.iter().any(|process| process.slot() == *slot);
        let slot = (1..=slots).map(|step| (*last + step) % slots).find(|slot| wants(slot) && !left_over(slot))?;
        *last = slot;
        let process = self.slots[slot].process.take()?;
        self.former.push(process);
        self.slots[slot].rolls = true;
        let actions = match handover {
            Handover::Overlap => vec![Action::Start { slot, place: self.place_after(process.place) }],
            Handover::Sequential => self.leave(slot),
        };
        Some(Rolled { slot, process, actions })
    }

    /// The process of a slot has ended. `served`: it had begun to serve.
    pub(super) fn vacated(&mut self, slot: usize, served: bool) -> Vec<Action> {
        self.slots[slot].process = None;
        self.slots[slot].rolls = false;
        if served { self.leave(slot) } else { Vec::new() }
    }

    /// Gives a slot back to the process that was about to be replaced. `false`: it is gone.
    pub(super) fn reinstate(&mut self, slot: usize) -> bool {
        let serves = |process: &SavedProcess| process.slot() == slot && !process.told;
        let Some(position) = self.former.iter().rposition(serves) else { return false };
        let process = self.former.remove(position);
        self.slots[slot].process = Some(process);
        self.slots[slot].rolls = false;
        true
    }

    /// The slots without a process in which one may be started now, and where.
    pub(super) fn vacancies(&self, handover: Handover) -> Vec<(usize, u32)> {
        let empty = self.slots.iter().enumerate().filter(|(_, slot)| slot.process.is_none()).map(|(slot, _)| slot);
        empty.filter(|slot| self.may_start(*slot, handover)).map(|slot| (slot, self.free_place(slot))).collect()
    }

    /// The loaders of an earlier configuration that have no process and may never have one: they may still load, for ever
    /// perhaps, and read nothing meanwhile.
    ///
    /// A loader whose report has not arrived may have forked a process all the same, which serves. So this is asked after
    /// all slots were handed over: what served is among the former ones then, and a loader never ends before its processes.
    pub(super) fn loaders_to_end(&self) -> impl Iterator<Item = &SavedLoader> {
        let has_processes = |loader: &SavedLoader| self.processes().any(|process| process.loader == Some(loader.pid));
        self.loaders.iter().filter(move |loader| loader.retired && !loader.forked && !has_processes(loader))
    }

    /// Whether another process has the place of this one.
    pub(super) fn has_another_at(&self, process: &SavedProcess) -> bool {
        let mut all = self.processes();
        all.any(|other| (other.place, other.page) == (process.place, process.page) && other.start != process.start)
    }

    /// Whether every place of a slot has a process on the present page. The next one would share a place, and its
    /// workers would overwrite by which tickets the requests of the other one are found: the group gets another page.
    pub(super) fn has_full_slot(&self) -> bool {
        let here =
            |slot: usize| self.processes().filter(move |process| process.slot() == slot && process.page == self.pages);
        (0..self.slots.len()).any(|slot| here(slot).count() >= PLACES as usize)
    }

    /// The place for a process of a slot that has none.
    pub(super) fn free_place(&self, slot: usize) -> u32 {
        let first = u32::try_from(slot).unwrap_or(0) * PLACES;
        let taken = self.former.iter().any(|process| process.place == first && process.page == self.pages);
        if taken { self.place_after(first) } else { first }
    }

    /// The place for the process that follows one at this place. Another one of the slot, so that children still find at
    /// the old one which requests it had taken; but none that a former process has, whose requests are found there. One is
    /// free: [`SavedGroup::has_full_slot`] is asked first.
    pub(super) fn place_after(&self, place: u32) -> u32 {
        let slot = slot_of(place) as usize;
        let of_slot = || self.former.iter().filter(|process| process.slot() == slot && process.page == self.pages);
        let mut places = std::iter::successors(Some(other_place(place)), |place| Some(other_place(*place)));
        let free = places.by_ref().take(PLACES as usize).find(|place| of_slot().all(|process| process.place != *place));
        free.or_else(|| of_slot().find(|process| process.told).map(|process| process.place)).unwrap_or(place)
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
