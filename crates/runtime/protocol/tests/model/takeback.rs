//! A worker that takes a request, a child that takes it back, and everybody who uses the same table meanwhile.

use loom::sync::Arc;
use loom::thread;
use wsgi_protocol::page::{ProcessSlot, ThreadSlot};
use wsgi_protocol::sync::{AtomicU32, Ordering};
use wsgi_protocol::takeback;
use wsgi_protocol::withdrawal::{CELLS, Withdrawals};

use crate::check;

/// A group of two processes with a worker each.
#[derive(Default)]
struct Group {
    withdrawals: Withdrawals,
    processes: [ProcessSlot; 2],
    threads: [ThreadSlot; 2],
}

const FIRST: usize = 0;
const SECOND: usize = 1;

const A: u64 = 7;
const B: u64 = 8;

impl Group {
    /// A worker comes to a request. `true`: it serves it.
    fn work(&self, at: usize, ticket: u64) -> bool {
        takeback::take(&self.threads[at], &self.processes[at], ticket);
        !takeback::is_withdrawn(&self.withdrawals, &self.processes[at], ticket)
    }

    fn withdraw(&self, at: usize, ticket: u64) -> bool {
        takeback::withdraw(&self.withdrawals, &self.processes[at], ticket, u32::try_from(at).unwrap())
    }

    /// A child takes its request back. `true`: it sends it elsewhere.
    fn take_back(&self, at: usize, ticket: u64) -> bool {
        if !self.withdraw(at, ticket) {
            return false;
        }
        if takeback::has_taken(self.threads.iter(), ticket) {
            takeback::keep(&self.withdrawals, &self.processes[at], ticket);
            return false;
        }
        true
    }

    /// The parent sees that a process has ended.
    fn end(&self, at: usize, pid: u32) -> bool {
        takeback::ended(&self.withdrawals, &self.processes[at], pid, u32::try_from(at).unwrap())
    }

    fn is_stuck(&self, at: usize) -> bool {
        // Not a load: to loom, that might still give any of several stores that nothing orders.
        self.processes[at].stuck.fetch_add(0, Ordering::AcqRel) != 0
    }
}

/// Runs something on a thread of its own, which stands for another process.
fn beside<T: 'static>(group: &Arc<Group>, run: impl FnOnce(&Group) -> T + 'static) -> thread::JoinHandle<T> {
    let group = Arc::clone(group);
    thread::spawn(move || run(&group))
}

// Covers: rule:daemon/served-once
#[test]
fn a_request_is_never_served_twice() {
    check(None, || {
        let group = Arc::new(Group::default());
        let worker = beside(&group, |group| group.work(FIRST, A));
        let elsewhere = group.take_back(FIRST, A);
        let served = worker.join().unwrap();
        assert!(!(served && elsewhere), "both served it");
    });
}

#[test]
fn a_withdrawal_is_not_lost_while_another_comes_and_goes() {
    check(Some(3), || {
        let group = Arc::new(Group::default());
        assert!(group.withdraw(FIRST, A));
        let child = beside(&group, |group| group.take_back(SECOND, B));
        let worker = beside(&group, |group| group.work(SECOND, B));
        assert!(!group.work(FIRST, A), "it was withdrawn before the process came to it");
        let (elsewhere, served) = (child.join().unwrap(), worker.join().unwrap());
        assert!(!(served && elsewhere), "both served the other one");
    });
}

#[test]
fn the_table_is_empty_and_no_process_shunned_when_all_is_done() {
    check(Some(3), || {
        let group = Arc::new(Group::default());
        let child = beside(&group, |group| group.take_back(FIRST, A));
        let served = group.work(FIRST, A);
        if child.join().unwrap() {
            assert!(!served);
        }
        // Whoever saw the other removed the entry; a worker that saw none has served what the child left to it.
        assert!(!group.withdrawals.any() && !group.is_stuck(FIRST));
    });
}

#[test]
fn children_that_find_no_room_leave_no_process_shunned() {
    check(Some(3), || {
        let group = Arc::new(Group::default());
        for ticket in 0..u64::try_from(CELLS).unwrap() {
            assert!(group.withdraw(SECOND, 100 + ticket));
        }
        let other = beside(&group, |group| group.withdraw(FIRST, A));
        assert!(!group.withdraw(FIRST, B) && !other.join().unwrap());
        assert!(!group.is_stuck(FIRST), "no entry would ever reset it");
    });
}

#[test]
fn a_process_that_throws_a_request_away_is_no_longer_shunned() {
    check(None, || {
        let group = Arc::new(Group::default());
        let child = beside(&group, |group| group.withdraw(FIRST, A));
        // It finds the connection closed, so it takes nothing.
        let thrown_away = takeback::is_withdrawn(&group.withdrawals, &group.processes[FIRST], A);
        assert!(child.join().unwrap());
        assert_eq!(group.is_stuck(FIRST), !thrown_away);
    });
}

#[test]
fn the_end_of_a_process_takes_nothing_from_another() {
    check(Some(3), || {
        let group = Arc::new(Group::default());
        group.processes[FIRST].pid.store(10, Ordering::Relaxed);
        assert!(group.withdraw(FIRST, A));
        let parent = beside(&group, |group| group.end(FIRST, 10));
        // The entry of the first may be reused for the second while the parent looks at it.
        let worker = beside(&group, |group| group.work(FIRST, A));
        assert!(group.withdraw(SECOND, B));
        assert!(parent.join().unwrap());
        let _ = worker.join().unwrap();
        assert!(!group.work(SECOND, B), "the parent removed the entry of another process");
    });
}

/// While a process leaves, its successor accepts from the same listener: a request that was sent to the one may be read
/// by the other, after the parent has seen the end of the first.
#[test]
fn a_request_in_the_backlog_is_not_served_after_it_was_taken_back() {
    check(Some(3), || {
        let group = Arc::new(Group::default());
        group.processes[FIRST].pid.store(10, Ordering::Relaxed);
        let parent = beside(&group, |group| assert!(group.end(FIRST, 10)));
        taken_back_from_a_backlog(&group, &group.processes[FIRST].in_flight, |group| group.take_back(FIRST, A));
        parent.join().unwrap();
    });
}

/// From the overflow listener any process may accept.
#[test]
fn a_request_of_the_overflow_listener_is_not_served_after_it_was_taken_back() {
    check(Some(3), || {
        let group = Arc::new(Group::default());
        let waiting = Arc::new(AtomicU32::new(0));
        let parent = beside(&group, {
            let waiting = Arc::clone(&waiting);
            move |group| group.withdrawals.clear(takeback::ANYWHERE, &waiting)
        });
        taken_back_from_a_backlog(&group, &waiting, |group| {
            if !takeback::withdraw_anywhere(&group.withdrawals, A) {
                return false;
            }
            let taken = takeback::has_taken(group.threads.iter(), A);
            if taken {
                group.withdrawals.take(A);
            }
            !taken
        });
        parent.join().unwrap();
    });
}

/// A child takes a request back while a process finds it in the backlog of a listener; `counted` counts the child for as
/// long as its connection is open.
fn taken_back_from_a_backlog(group: &Arc<Group>, counted: &AtomicU32, take_back: impl FnOnce(&Group) -> bool) {
    counted.fetch_add(1, Ordering::AcqRel);
    let open = Arc::new(AtomicU32::new(1));
    let process = beside(group, {
        let open = Arc::clone(&open);
        let is_open = move || open.load(Ordering::Acquire) == 1;
        // It looks when it has read the request, and again when it has taken it.
        move |group| is_open() && group.work(SECOND, A) && is_open()
    });
    let gives_up = take_back(group);
    open.store(0, Ordering::Release);
    counted.fetch_sub(1, Ordering::AcqRel);
    let served = process.join().unwrap();
    assert!(!(served && gives_up), "both served it");
}
