//! Which cell runs when: as many at once as there are tokens, and some of them alone.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A cell in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its index in the plan.
    pub(super) cell: usize,
    /// Whether it runs alone.
    pub(super) exclusive: bool,
}

#[derive(Debug, Default)]
struct State {
    shared: VecDeque<usize>,
    exclusive: VecDeque<usize>,
    running: usize,
    alone: bool,
    closed: bool,
}

/// Hands out cells to workers.
///
/// Those that share the machine go first, in the given order; the exclusive ones follow one by one, when nothing else runs. In
/// between they would make the machine idle twice each.
#[derive(Debug)]
pub(super) struct Schedule {
    tokens: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// The right to run a cell; given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    schedule: &'a Schedule,
    /// The cell.
    pub(super) cell: usize,
}

impl Schedule {
    /// A schedule of these cells with so many tokens.
    pub(super) fn new(entries: impl IntoIterator<Item = Entry>, tokens: usize) -> Self {
        let mut state = State::default();
        for entry in entries {
            if entry.exclusive { &mut state.exclusive } else { &mut state.shared }.push_back(entry.cell);
        }
        Self { tokens: tokens.max(1), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next cell, once it may run; nothing when all have been handed out.
    pub(super) fn next(&self) -> Option<Ticket<'_>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if !state.alone
                && state.running < self.tokens
                && let Some(cell) = state.shared.pop_front()
            {
                state.running += 1;
                return Some(Ticket { schedule: self, cell });
            }
            if state.shared.is_empty() {
                if state.running == 0
                    && let Some(cell) = state.exclusive.pop_front()
                {
                    state.running = 1;
                    state.alone = true;
                    return Some(Ticket { schedule: self, cell });
                }
                if state.exclusive.is_empty() {
                    return None;
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands out nothing any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked holds no half-made state: every change is a single one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut state = self.schedule.lock();
        state.running = state.running.saturating_sub(1);
        state.alone = false;
        drop(state);
        self.schedule.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn exclusive_cells_run_alone_and_every_cell_once() {
        let entries: Vec<Entry> = (0..40).map(|cell| Entry { cell, exclusive: cell % 5 == 0 }).collect();
        let schedule = Schedule::new(entries.clone(), 4);
        let (running, most, seen) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some(ticket) = schedule.next() {
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        for _ in 0..50 {
                            std::thread::yield_now();
                            if entries[ticket.cell].exclusive {
                                assert_eq!(running.load(Ordering::SeqCst), 1);
                            }
                        }
                        seen.lock().unwrap().push(ticket.cell);
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn a_closed_schedule_hands_out_nothing() {
        let schedule = Schedule::new([Entry { cell: 0, exclusive: false }, Entry { cell: 1, exclusive: true }], 1);
        let ticket = schedule.next().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| schedule.next().is_none());
            schedule.close();
            assert!(waiting.join().unwrap());
        });
        assert_eq!(ticket.cell, 0);
    }
}
