//! Who gets a request: the worker that takes it from its socket, or the Apache child that takes it back.
//!
//! These are the steps of both sides on the status page, and of the parent when a process starts or ends. A request is
//! served at most once because both sides write before they read:
//!
//! ```text
//! worker                                     child
//! writes the ticket into its slot  (take)    enters the ticket as withdrawn     (withdraw)
//! ── fence ──                                ── fence ──
//! is the ticket withdrawn? (is_withdrawn)    does a slot have the ticket?       (has_taken)
//! ```
//!
//! At least one of them sees the other. When both do, the worker turns the request away and the child sends it again
//! under another ticket. `tests/model` runs these functions in every order that the memory model permits.

use crate::page::{ProcessSlot, State, ThreadSlot, Wish};
use crate::sync::{Ordering, fence};
use crate::withdrawal::Withdrawals;

/// A worker takes the request with this ticket. It serves the request unless [`is_withdrawn`] says otherwise afterwards.
pub fn take(thread: &ThreadSlot, process: &ProcessSlot, ticket: u64) {
    thread.ticket.store(ticket, Ordering::Release);
    fence(Ordering::SeqCst);
    not_stuck(process);
}

/// Whether the child has taken the request back; the entry is removed then. A process that comes across one proves that
/// it makes progress: while others are preferred, it gets no request by which it could show that.
pub fn is_withdrawn(withdrawals: &Withdrawals, process: &ProcessSlot, ticket: u64) -> bool {
    let withdrawn = withdrawals.take(ticket);
    if withdrawn {
        not_stuck(process);
    }
    withdrawn
}

/// Written only when it changes: every child that chooses a process reads this cache line.
fn not_stuck(process: &ProcessSlot) {
    if process.stuck.load(Ordering::Relaxed) != 0 {
        process.stuck.store(0, Ordering::Relaxed);
    }
}

/// A child takes its request back from the process at `place`, and prefers others for a while. `false`: the table is
/// full, and nothing has changed. Afterwards the child looks at [`has_taken`]: the process may have been faster.
#[must_use]
pub fn withdraw(withdrawals: &Withdrawals, process: &ProcessSlot, ticket: u64, place: u32) -> bool {
    // Before the ticket, by which the process finds out that it is no longer stuck.
    let before = process.stuck.swap(1, Ordering::AcqRel);
    let entered = withdrawals.add(ticket, place);
    if !entered && before == 0 {
        // No entry would ever reset it.
        process.stuck.swap(0, Ordering::AcqRel);
    }
    fence(Ordering::SeqCst);
    entered
}

/// The place of an entry whose request was sent to the overflow listener: any process may take it.
pub const ANYWHERE: u32 = u32::MAX;

/// As [`withdraw`], of a request that was sent to the overflow listener.
#[must_use]
pub fn withdraw_anywhere(withdrawals: &Withdrawals, ticket: u64) -> bool {
    let entered = withdrawals.add(ticket, ANYWHERE);
    fence(Ordering::SeqCst);
    entered
}

/// Whether one of these workers has taken the request. A ticket stays in its slot after the request, and after the end of
/// the process, until the worker takes the next one.
pub fn has_taken<'p>(mut threads: impl Iterator<Item = &'p ThreadSlot>, ticket: u64) -> bool {
    threads.any(|thread| thread.ticket.load(Ordering::Acquire) == ticket)
}

/// A child leaves the request where it is: it was taken before it was withdrawn.
pub fn keep(withdrawals: &Withdrawals, process: &ProcessSlot, ticket: u64) {
    withdrawals.take(ticket);
    process.stuck.store(0, Ordering::Relaxed);
}

/// The parent starts a process in this slot, now or after a delay: nothing of the one before it counts any more.
pub fn starting(withdrawals: &Withdrawals, process: &ProcessSlot, place: u32, start: u32, now: bool) {
    // Entries that had to stay when the process before it ended.
    withdrawals.clear(place, &process.in_flight);
    process.stuck.store(0, Ordering::Relaxed);
    process.unread.store(0, Ordering::Relaxed);
    process.generation.store(start, Ordering::Release);
    process.starts.fetch_add(1, Ordering::Relaxed);
    process.interpreters.store(0, Ordering::Relaxed);
    process.wish.store(Wish::None as u32, Ordering::Relaxed);
    let state = if now { State::Starting } else { State::Empty };
    process.state.store(state as u32, Ordering::Release);
}

/// The parent has seen the process with this pid end. `false`: its slot has another process already.
pub fn ended(withdrawals: &Withdrawals, process: &ProcessSlot, pid: u32, place: u32) -> bool {
    let own = process.pid.compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if own {
        process.state.store(State::Empty as u32, Ordering::Release);
        withdrawals.clear(place, &process.in_flight);
    }
    own
}
