//! Who follows whom in a slot: which of its processes a new one takes over from, which are to go, and which place of the
//! status page is free.
//!
//! A process that holds its slot no more is one of [`SavedGroup::former`]. As long as it was not told to leave it serves,
//! and there is one such process per slot at most: a successor that has not served when it is replaced itself goes before
//! the one that it was to replace.

use wsgi_protocol::launch::LEAVE;

use super::retained::{SavedGroup, SavedProcess};
use super::status_page::{PLACES, other_place, slot_of};

impl SavedProcess {
    /// The number of its slot.
    pub(super) fn slot(&self) -> usize {
        slot_of(self.place) as usize
    }

    /// Tells it to finish what it has and end.
    pub(super) fn tell(&mut self) {
        if !self.told {
            // SAFETY: writes one byte from one; a process that has ended needs no telling.
            unsafe { libc::write(self.control, [LEAVE].as_ptr().cast(), 1) };
            self.told = true;
        }
    }
}

impl SavedGroup {
    /// The process that serves a slot until the next one does.
    pub(super) fn predecessor(&self, slot: usize) -> Option<&SavedProcess> {
        self.former.iter().rfind(|process| process.slot() == slot && !process.told)
    }

    /// Takes the process out of a slot that is to have another one. `served`: it had begun to serve. Returns it when it
    /// is to be ended.
    pub(super) fn succeed(&mut self, slot: usize, served: bool) -> Option<SavedProcess> {
        self.slots[slot].rolls = false;
        let process = self.slots[slot].process.take()?;
        if served {
            self.has_served(slot);
        }
        let told = !served && self.predecessor(slot).is_some();
        let process = SavedProcess { told, ..process };
        self.former.push(process);
        told.then_some(process)
    }

    /// A slot's process has begun to serve. It has told those before it to leave, unless it was ended between the two.
    pub(super) fn has_served(&mut self, slot: usize) {
        self.former.iter_mut().filter(|process| process.slot() == slot).for_each(SavedProcess::tell);
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
mod tests {
    use super::super::retained::SavedSlot;
    use super::*;

    fn process(pid: i32, place: u32) -> SavedProcess {
        SavedProcess { pid, ..SavedProcess::at(place, 0) }
    }

    /// A group of two slots, whose second one has this process.
    fn group(process: SavedProcess) -> SavedGroup {
        let slots = vec![SavedSlot::default(), SavedSlot { process: Some(process), ..SavedSlot::default() }];
        SavedGroup { slots, ..SavedGroup::default() }
    }

    fn former(group: &SavedGroup) -> Vec<(i32, bool)> {
        group.former.iter().map(|process| (process.pid, process.told)).collect()
    }

    /// Starts the next process in the second slot.
    fn start(group: &mut SavedGroup, pid: i32, after: u32) -> u32 {
        let place = group.place_after(after);
        group.slots[1].process = Some(process(pid, place));
        place
    }

    #[test]
    fn a_successor_that_never_served_goes_before_the_one_that_serves() {
        let mut group = group(process(10, PLACES));
        assert_eq!(group.succeed(1, true), None);
        let place = start(&mut group, 11, PLACES);
        // It starts again and again. Each generation takes over from the one that serves.
        for pid in [12, 13] {
            let ended = group.succeed(1, false);
            assert_eq!(ended.map(|process| process.pid), Some(pid - 1), "{:?}", group.former);
            assert_eq!(group.predecessor(1).map(|process| process.pid), Some(10));
            assert_ne!(start(&mut group, pid, place), PLACES, "the one that serves keeps its place");
        }
        assert_eq!(former(&group), [(10, false), (11, true), (12, true)]);
        assert!(group.reinstate(1));
        assert_eq!(group.slots[1].process.map(|process| process.pid), Some(10));
        assert!(!group.reinstate(1), "those that are ended never get it");
    }

    #[test]
    fn one_that_serves_has_told_those_before_it() {
        let mut group = group(process(10, PLACES));
        group.succeed(1, true);
        start(&mut group, 11, PLACES);
        assert_eq!(group.succeed(1, true), None);
        assert_eq!(former(&group), [(10, true), (11, false)]);
        assert_eq!(group.predecessor(1).map(|process| process.pid), Some(11));
        assert_eq!(group.predecessor(0), None);
    }

    #[test]
    fn the_first_process_of_a_slot_is_not_ended_before_it_serves() {
        let mut group = group(process(10, PLACES));
        assert_eq!(group.succeed(1, false), None, "nobody else serves");
        assert_eq!(group.predecessor(1).map(|process| process.pid), Some(10));
    }

    #[test]
    fn no_process_gets_a_place_that_another_one_has() {
        let mut group = group(process(10, PLACES));
        group.succeed(1, true);
        let place = start(&mut group, 11, PLACES);
        assert_eq!(place, PLACES + 1);
        // It has ended.
        group.slots[1].process = None;
        assert_ne!(group.place_after(place), PLACES);
        // Places of an earlier page are nobody's.
        group.pages = 1;
        assert_eq!(group.place_after(place), other_place(place));
    }

    // Covers: rule:daemon/own-place
    #[test]
    fn a_slot_is_full_before_a_place_is_shared() {
        let mut group = group(process(0, PLACES));
        let mut places = vec![PLACES];
        for pid in 1..i32::try_from(PLACES).expect("small") {
            assert!(!group.has_full_slot(), "{places:?}");
            group.succeed(1, true);
            let last = places[places.len() - 1];
            places.push(start(&mut group, pid, last));
        }
        assert_eq!(places, [PLACES, PLACES + 1, PLACES + 2]);
        assert!(group.has_full_slot());
        // Those of the page before are nobody's any more.
        group.pages += 1;
        assert!(!group.has_full_slot());
    }
}
