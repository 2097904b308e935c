//! Requests that an Apache child takes back from a process that has not begun them: so that no request waits for a
//! stuck process while another of the group has a free thread, and none is served twice.
//!
//! This is the table; who does what in which order is [`crate::takeback`]'s business.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// How many requests can be withdrawn and not yet thrown away by their process; no more are withdrawn beyond that.
pub const CELLS: usize = if cfg!(feature = "model") { 2 } else { 64 };

/// The part of a status page for withdrawn requests.
#[repr(C, align(64))]
pub struct Withdrawals {
    /// How many cells are in use: 0 is all that a worker has to look at, as a rule.
    count: AtomicU32,
    cells: [Cell; CELLS],
}

#[repr(C)]
#[derive(Default)]
struct Cell {
    /// 0 is free.
    ticket: AtomicU64,
    /// The place of the process that the request was sent to.
    place: AtomicU32,
    /// 1 from before the ticket is there until after it has gone.
    used: AtomicU32,
}

impl Default for Withdrawals {
    fn default() -> Self {
        Self { count: AtomicU32::default(), cells: std::array::from_fn(|_| Cell::default()) }
    }
}

impl Withdrawals {
    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Enters a request. `false`: there is no room.
    #[must_use]
    pub fn add(&self, ticket: u64, place: u32) -> bool {
        let free = self
            .cells
            .iter()
            .find(|cell| cell.used.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        let Some(cell) = free else { return false };
        cell.place.store(place, Ordering::Release);
        // Before the ticket: whoever removes this entry subtracts one, which must not be that of another entry.
        self.change(|count| count.checked_add(1));
        cell.ticket.store(ticket, Ordering::Release);
        true
    }

    /// Takes a request out. `true`: it was there.
    pub fn take(&self, ticket: u64) -> bool {
        ticket != 0 && self.any() && self.cells.iter().any(|cell| self.free(cell, ticket))
    }

    fn free(&self, cell: &Cell, ticket: u64) -> bool {
        let mine = cell.ticket.load(Ordering::Acquire) == ticket
            && cell.ticket.compare_exchange(ticket, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if mine {
            self.change(|count| count.checked_sub(1));
            cell.used.store(0, Ordering::Release);
        }
        mine
    }

    /// The page can be written to by every process of the group: the count must not wrap.
    fn change(&self, by_one: impl FnMut(u32) -> Option<u32>) {
        let _ = self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, by_one);
    }

    /// The process at a place has ended: what it had not begun it never will. Entries whose child still has its
    /// connection open (it is counted in `in_flight`) stay: another process may find that request in the listener's
    /// backlog.
    pub fn clear(&self, place: u32, in_flight: &AtomicU32) {
        for cell in self.cells.iter().filter(|cell| cell.place.load(Ordering::Acquire) == place) {
            let ticket = cell.ticket.load(Ordering::Acquire);
            // The cell may have been freed and used for another place; that one is written before its ticket.
            if ticket != 0
                && cell.place.load(Ordering::Acquire) == place
                // After the ticket: the child was counted when it entered it.
                && in_flight.load(Ordering::Acquire) == 0
            {
                self.free(cell, ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Box<Withdrawals> {
        Box::default()
    }

    #[test]
    fn a_request_is_taken_out_once() {
        let withdrawals = none();
        assert!(!withdrawals.any() && !withdrawals.take(7));
        assert!(withdrawals.add(7, 0) && withdrawals.add(8, 2));
        assert!(withdrawals.any());
        assert!(withdrawals.take(7) && !withdrawals.take(7));
        assert!(withdrawals.take(8) && !withdrawals.any());
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let withdrawals = none();
        let cells = u64::try_from(CELLS).expect("small");
        assert!((1..=cells).all(|ticket| withdrawals.add(ticket, 0)));
        assert!(!withdrawals.add(1000, 0));
        withdrawals.clear(3, &AtomicU32::new(0));
        assert!(!withdrawals.add(1000, 0), "those are of another process");
        withdrawals.clear(0, &AtomicU32::new(1));
        assert!(!withdrawals.add(1000, 0), "a child may still have its connection open");
        withdrawals.clear(0, &AtomicU32::new(0));
        assert!(!withdrawals.any() && withdrawals.add(1000, 0));
    }

    #[test]
    fn a_count_that_was_written_to_does_not_wrap() {
        let withdrawals = none();
        withdrawals.count.store(u32::MAX, Ordering::Relaxed);
        assert!(withdrawals.add(7, 0));
        assert!(withdrawals.any() && withdrawals.take(7));
        assert!(withdrawals.add(8, 0));
        withdrawals.count.store(0, Ordering::Relaxed);
        withdrawals.clear(0, &AtomicU32::new(0));
        assert!(!withdrawals.any());
    }
}
