//! A group's status page on the server's side: making and mapping it, and choosing and counting by it.
//!
//! Each slot of a group has [`PLACES`] places on the page, so that a process and its successor are told apart while
//! both run. Daemons write to the page what they like: nothing here believes more of it than a preference.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use wsgi_protocol::page::{self, Layout, Page, ProcessSlot, State, Wish};
use wsgi_protocol::takeback;
use wsgi_protocol::tally;

use super::death::Death;

/// Places per slot: for the process that serves, the one that is to follow, and one that finishes what it has.
/// More than one may do the last; see [`super::fleet`] for what happens then.
pub(crate) const PLACES: u32 = 3;

/// The slot that a place belongs to.
pub(crate) fn slot_of(place: u32) -> u32 {
    place / PLACES
}

/// The place that a successor gets.
pub(crate) fn other_place(place: u32) -> u32 {
    slot_of(place) * PLACES + (place + 1) % PLACES
}

/// A page in this process.
pub(crate) struct StatusPage {
    page: Page,
    base: *mut libc::c_void,
    size: usize,
}

// SAFETY: everything behind the pointer is an atomic; the mapping goes with the value.
unsafe impl Send for StatusPage {}
// SAFETY: as above.
unsafe impl Sync for StatusPage {}

/// Makes the memory of a page: its size can never change.
pub(crate) fn create(layout: Layout) -> io::Result<OwnedFd> {
    let size = i64::try_from(layout.size()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let check = |result: c_int| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    // SAFETY: a constant name; the descriptor is fresh.
    unsafe {
        let descriptor =
            check(libc::memfd_create(c"wsgi status".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING))?;
        let owned = OwnedFd::from_raw_fd(descriptor);
        check(libc::ftruncate(descriptor, size))?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        check(libc::fcntl(descriptor, libc::F_ADD_SEALS, seals))?;
        Ok(owned)
    }
}

impl StatusPage {
    /// Maps a page that [`create`] made with the same layout.
    pub(crate) fn map(descriptor: RawFd, layout: Layout) -> io::Result<Self> {
        let size = layout.size();
        // SAFETY: a zeroed record is valid, and fstat only writes to it.
        let found = unsafe {
            let mut found: libc::stat = std::mem::zeroed();
            if libc::fstat(descriptor, &raw mut found) < 0 {
                return Err(io::Error::last_os_error());
            }
            usize::try_from(found.st_size).unwrap_or(0)
        };
        if found < size {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the status page is smaller than its layout"));
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address; the file's size is sealed.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, descriptor, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: page-aligned memory of the layout's size, mapped as long as the value lives.
        let page = unsafe { Page::new(base.cast(), layout) };
        Ok(Self { page, base, size })
    }

    /// Makes and maps a page.
    pub(crate) fn make(layout: Layout) -> io::Result<(OwnedFd, Self)> {
        let descriptor = create(layout)?;
        let page = Self::map(descriptor.as_raw_fd(), layout)?;
        let mut identity = [0u8; 8];
        // SAFETY: room for as many bytes as it says. Without random numbers the address has to do.
        let count = unsafe { libc::getrandom(identity.as_mut_ptr().cast(), identity.len(), 0) };
        let identity = if count == 8 { u64::from_ne_bytes(identity) } else { page.base as u64 };
        page.page.initialise(identity);
        Ok((descriptor, page))
    }

    /// The page itself.
    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// Whether it is laid out as this version of the module expects it.
    pub(crate) fn is_current(&self) -> bool {
        let header = self.page.header();
        (header.magic.load(Ordering::Acquire), header.version.load(Ordering::Relaxed)) == (page::MAGIC, page::VERSION)
    }

    /// What tells this page from others.
    pub(crate) fn identity(&self) -> u64 {
        self.page.header().identity.load(Ordering::Relaxed)
    }

    /// Whether a process has taken the request with this ticket.
    pub(crate) fn has_taken(&self, ticket: u64) -> bool {
        self.page.has_taken(ticket)
    }

    /// A process is about to be started at a place, `soon` or after a delay: nothing of the one before counts any more.
    pub(crate) fn starting(&self, place: u32, start: u32, soon: bool) {
        for thread in 0..self.page.threads() {
            if let Some(thread) = self.page.thread(place, thread) {
                thread.request_start.store(0, Ordering::Relaxed);
            }
        }
        if let Some(process) = self.page.process(place) {
            takeback::starting(self.page.withdrawals(), process, place, start, soon);
        }
    }

    /// The process at a place was started.
    pub(crate) fn started(&self, place: u32, pid: libc::pid_t) {
        if let Some(process) = self.page.process(place) {
            process.pid.store(u32::try_from(pid).unwrap_or(0), Ordering::Release);
        }
    }

    /// The process at a place is gone.
    pub(crate) fn ended(&self, place: u32, pid: libc::pid_t) {
        if let Some(process) = self.page.process(place) {
            takeback::ended(self.page.withdrawals(), process, u32::try_from(pid).unwrap_or(0), place);
            self.clear_overflow();
        }
    }

    /// Removes entries of the overflow listener that no process will come across, as far as their children have gone.
    fn clear_overflow(&self) {
        self.page.withdrawals().clear(takeback::ANYWHERE, &self.page.header().waiting);
    }

    /// Takes back a request that was sent to the overflow listener.
    pub(crate) fn withdraw_anywhere(&self, ticket: u64) -> bool {
        takeback::withdraw_anywhere(self.page.withdrawals(), ticket)
    }

    /// A request of the overflow listener that was taken back was served all the same.
    pub(crate) fn forget_withdrawal(&self, ticket: u64) {
        self.page.withdrawals().take(ticket);
    }

    /// Takes a request back from the process at a place, which is not preferred for a while. `false`: there is no room
    /// for it. Afterwards the caller looks whether the process has taken it all the same.
    pub(crate) fn withdraw(&self, ticket: u64, place: u32) -> bool {
        let process = self.page.process(place);
        process.is_some_and(|process| takeback::withdraw(self.page.withdrawals(), process, ticket, place))
    }

    /// A request that was taken back was served all the same.
    pub(crate) fn keep_after_all(&self, ticket: u64, place: u32) {
        if let Some(process) = self.page.process(place) {
            takeback::keep(self.page.withdrawals(), process, ticket);
        }
    }

    /// Whether a process other than the one at `place` has a free thread.
    pub(crate) fn has_room_elsewhere(&self, place: u32) -> bool {
        self.processes().any(|(other, process)| {
            other != place && process.stuck.load(Ordering::Relaxed) == 0 && process.busy() < self.page.threads()
        })
    }

    /// Those that accept requests.
    fn processes(&self) -> impl Iterator<Item = (u32, &ProcessSlot)> {
        let all = (0..self.page.processes()).filter_map(|place| Some((place, self.page.process(place)?)));
        all.filter(|(_, process)| State::from_number(process.state.load(Ordering::Acquire)) == State::Ready)
    }

    /// A request waits for long. When that is because every thread of the group is busy, and for the first time since a
    /// minute: how many threads that are. `now` is a time of [`seconds`].
    pub(crate) fn newly_at_capacity(&self, now: u32) -> Option<u32> {
        const EPISODE: u32 = 60;
        let threads = self.page.threads();
        let mut all = 0;
        for (_, process) in self.processes() {
            if process.busy() < threads {
                return None;
            }
            all += threads;
        }
        if all == 0 {
            return None;
        }
        let last = self.page.header().at_capacity.swap(now, Ordering::Relaxed);
        (last == 0 || now.saturating_sub(last) > EPISODE).then_some(all)
    }

    /// Counts the end of a process that did not say why.
    pub(crate) fn count_end(&self, death: Death) {
        match death {
            Death::Signal(_) => self.page.tally().stopped(tally::CRASHED),
            // The aborted one said why before.
            Death::Exit(0 | 255) => {}
            Death::Exit(_) => self.page.tally().stopped(tally::EXITED),
        }
    }

    /// How many requests were begun at a place, by whichever processes.
    pub(crate) fn requests(&self, place: u32) -> u64 {
        self.page.process(place).map_or(0, |process| process.requests.load(Ordering::Relaxed))
    }

    /// Whether the process at a place got as far as accepting requests.
    pub(crate) fn has_started(&self, place: u32) -> bool {
        let state = self.page.process(place).map(|process| process.state.load(Ordering::Acquire));
        !matches!(state.map(State::from_number), None | Some(State::Starting | State::Empty))
    }

    /// Whether the process at a place wants a successor.
    pub(crate) fn wish(&self, place: u32) -> Wish {
        self.page.process(place).map_or(Wish::None, |process| Wish::from_number(process.wish.load(Ordering::Acquire)))
    }

    /// Takes back the wish of the process at a place, if it is because of a script.
    pub(crate) fn take_back_script_wish(&self, place: u32) {
        if let Some(process) = self.page.process(place) {
            process.take_back_script_wish();
        }
    }

    /// Answers a wish.
    pub(crate) fn set_wish(&self, place: u32, wish: Wish) {
        if let Some(process) = self.page.process(place) {
            process.wish.store(wish as u32, Ordering::Release);
        }
    }

    /// A successor is about to load.
    pub(crate) fn successor_begins(&self) {
        self.page.header().loading.store(0, Ordering::Release);
    }

    /// A successor has ended: what it was loading is not to be tried again. `true`: it was loading something.
    pub(crate) fn give_up(&self) -> bool {
        self.page.header().give_up()
    }

    /// What a process was serving, for the line about its death.
    pub(crate) fn serving(&self, place: u32) -> Vec<String> {
        (0..self.page.threads())
            .filter_map(|thread| self.page.thread(place, thread))
            .filter(|thread| thread.request_start.load(Ordering::Acquire) != 0)
            .map(wsgi_protocol::page::ThreadSlot::description)
            .collect()
    }

    /// Takes a row for this Apache child.
    pub(crate) fn claim_row(&self, pid: u32) -> Option<u32> {
        (0..self.page.layout().children()).find(|row| {
            self.page
                .child(*row)
                .is_some_and(|child| child.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Relaxed).is_ok())
        })
    }

    /// Gives back what an Apache child held that has ended, whether it could do so itself or not.
    pub(crate) fn give_back(&self, pid: u32) {
        for row in 0..self.page.layout().children() {
            let Some(child) = self.page.child(row) else { continue };
            if child.pid.load(Ordering::Acquire) != pid {
                continue;
            }
            for place in 0..self.page.processes() {
                if let (Some(held), Some(process)) = (self.page.held(row, place), self.page.process(place)) {
                    subtract(&process.in_flight, held.swap(0, Ordering::AcqRel));
                }
            }
            subtract(&self.page.header().waiting, child.waiting.swap(0, Ordering::AcqRel));
            child.pid.store(0, Ordering::Release);
        }
    }

    /// The process that a new request should go to, and how busy it is. Processes that accept come before those that
    /// are on their way in or out.
    fn least_busy(&self) -> Option<(u32, u32)> {
        let rank = |state| match state {
            State::Ready => 0,
            State::Broken => 1,
            State::Starting => 2,
            State::Draining => 3,
            State::Empty => 4,
        };
        (0..self.page.processes())
            .filter_map(|place| {
                let process = self.page.process(place)?;
                let state = State::from_number(process.state.load(Ordering::Acquire));
                let stuck = process.stuck.load(Ordering::Relaxed) != 0;
                Some((rank(state), stuck, process.busy(), place))
            })
            .min()
            .map(|(_, _, busy, place)| (place, busy))
    }
}

impl Drop for StatusPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base, self.size) };
    }
}

/// Seconds of a clock that only goes forward, never 0.
pub(crate) fn seconds() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    u32::try_from(time.tv_sec).unwrap_or(u32::MAX).max(1)
}

/// Subtracts without going below zero: the other side of the count may have been written to.
fn subtract(count: &AtomicU32, amount: u32) {
    let _ = count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |value| Some(value.saturating_sub(amount)));
}

/// A request that is counted on the page as long as the value lives.
pub(crate) struct Claim<'p> {
    page: &'p StatusPage,
    row: Option<u32>,
    at: Target,
}

/// Where a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To the process at this place.
    Place(u32),
    /// To whichever process has a free thread first.
    Overflow,
}

impl<'p> Claim<'p> {
    /// Chooses where a request goes, and counts it there.
    pub(crate) fn choose(page: &'p StatusPage, row: Option<u32>, has_overflow: bool) -> Self {
        let header = page.page.header();
        let threads = page.page.threads().max(1);
        if let Some((place, _)) = page.least_busy() {
            let waits = has_overflow && header.waiting.load(Ordering::Relaxed) > 0;
            let claim = Self::count(page, row, Target::Place(place));
            let busy = page.page.process(place).map_or(0, ProcessSlot::busy);
            // Nobody overtakes a request that waits for a free thread of the group, and nobody queues at one process
            // while another may become free first.
            if !has_overflow || (busy <= threads && !waits) {
                return claim;
            }
        }
        Self::count(page, row, if has_overflow { Target::Overflow } else { Target::Place(0) })
    }

    fn count(page: &'p StatusPage, row: Option<u32>, at: Target) -> Self {
        let claim = Self { page, row, at };
        claim.change(|count| {
            count.fetch_add(1, Ordering::AcqRel);
        });
        claim
    }

    fn change(&self, change: impl Fn(&AtomicU32)) {
        let page = &self.page.page;
        let (shared, own) = match self.at {
            Target::Place(place) => {
                (page.process(place).map(|process| &process.in_flight), self.row.and_then(|row| page.held(row, place)))
            }
            Target::Overflow => {
                (Some(&page.header().waiting), self.row.and_then(|row| page.child(row)).map(|child| &child.waiting))
            }
        };
        shared.into_iter().chain(own).for_each(change);
    }

    /// Whether any process of the group serves, or is about to.
    pub(crate) fn group_runs(&self) -> bool {
        (0..self.page.page.processes()).any(|place| {
            let state = self.page.page.process(place).map(|process| process.state.load(Ordering::Acquire));
            state.is_some_and(|state| State::from_number(state) != State::Empty)
        })
    }

    /// Where the request goes.
    pub(crate) fn target(&self) -> Target {
        self.at
    }

    /// The pid of the process that the request was sent to, as far as is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        let Target::Place(place) = self.at else { return None };
        self.page.page.process(place).map(|process| process.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// The process at `place` has taken the request.
    pub(crate) fn accepted_by(&mut self, place: u32) {
        if self.at == Target::Place(place) || place >= self.page.page.processes() {
            return;
        }
        self.change(|count| subtract(count, 1));
        self.at = Target::Place(place);
        self.change(|count| {
            count.fetch_add(1, Ordering::AcqRel);
        });
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.change(|count| subtract(count, 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(processes: u32, threads: u32) -> StatusPage {
        let layout = Layout::new(processes * PLACES, threads, 2).expect("small");
        let (_, page) = StatusPage::make(layout).expect("memory");
        for slot in 0..processes {
            page.page.process(slot * PLACES).expect("is there").state.store(State::Ready as u32, Ordering::Relaxed);
        }
        page
    }

    #[test]
    fn the_page_cannot_change_its_size() {
        let layout = Layout::new(2, 1, 1).expect("small");
        let (descriptor, _) = StatusPage::make(layout).expect("memory");
        for size in [0, 1_000_000] {
            // SAFETY: no pointers.
            let result = unsafe { libc::ftruncate(descriptor.as_raw_fd(), size) };
            assert_eq!(result, -1, "the size became {size}");
        }
    }

    #[test]
    fn requests_spread_and_then_overflow() {
        let page = page(2, 2);
        let claims: Vec<_> = (0..4).map(|_| Claim::choose(&page, None, true)).collect();
        let targets: Vec<_> = claims.iter().map(Claim::target).collect();
        assert_eq!(targets, [Target::Place(0), Target::Place(PLACES), Target::Place(0), Target::Place(PLACES)]);
        let fifth = Claim::choose(&page, None, true);
        assert_eq!(fifth.target(), Target::Overflow);
        drop(claims);
        // The one that waits is not overtaken.
        assert_eq!(Claim::choose(&page, None, true).target(), Target::Overflow);
        drop(fifth);
        assert_eq!(Claim::choose(&page, None, true).target(), Target::Place(0));
    }

    #[test]
    fn without_an_overflow_listener_a_full_process_still_gets_requests() {
        let page = page(1, 1);
        let _first = Claim::choose(&page, None, false);
        assert_eq!(Claim::choose(&page, None, false).target(), Target::Place(0));
    }

    #[test]
    fn a_process_that_leaves_gets_nothing_while_another_accepts() {
        let page = page(1, 2);
        page.page.process(0).expect("is there").state.store(State::Draining as u32, Ordering::Relaxed);
        page.page.process(1).expect("is there").state.store(State::Ready as u32, Ordering::Relaxed);
        assert_eq!(Claim::choose(&page, None, false).target(), Target::Place(1));
        assert_eq!((other_place(0), other_place(PLACES - 1), other_place(PLACES)), (1, 0, PLACES + 1));
    }

    #[test]
    fn what_a_dead_child_held_is_given_back() {
        let page = page(2, 1);
        let row = page.claim_row(4711);
        std::mem::forget(Claim::choose(&page, row, true));
        std::mem::forget(Claim::choose(&page, row, true));
        std::mem::forget(Claim::choose(&page, row, true));
        assert_eq!(page.page.header().waiting.load(Ordering::Relaxed), 1);
        let alive = Claim::choose(&page, None, true);
        page.give_back(4711);
        assert_eq!(page.page.header().waiting.load(Ordering::Relaxed), 1, "the one of the living child");
        drop(alive);
        assert_eq!(page.page.header().waiting.load(Ordering::Relaxed), 0);
        for place in 0..2 * PLACES {
            assert_eq!(page.page.process(place).expect("is there").in_flight.load(Ordering::Relaxed), 0);
        }
        assert_eq!(page.claim_row(4712), row, "the row is free again");
    }

    #[test]
    fn a_process_that_took_a_waiting_request_is_counted() {
        let page = page(2, 1);
        let _busy = [Claim::choose(&page, None, true), Claim::choose(&page, None, true)];
        let mut claim = Claim::choose(&page, None, true);
        claim.accepted_by(PLACES);
        assert_eq!(claim.target(), Target::Place(PLACES));
        assert_eq!(page.page.header().waiting.load(Ordering::Relaxed), 0);
        assert_eq!(page.page.process(PLACES).expect("is there").in_flight.load(Ordering::Relaxed), 2);
        // A number that no process has is not believed.
        claim.accepted_by(99);
        assert_eq!(claim.target(), Target::Place(PLACES));
    }

    #[test]
    fn requests_whose_clients_read_need_no_thread() {
        let page = page(2, 1);
        let _claims: Vec<_> = (0..2).map(|_| Claim::choose(&page, None, true)).collect();
        assert_eq!(Claim::choose(&page, None, true).target(), Target::Overflow);
        page.page.process(PLACES).expect("is there").unread.store(1, Ordering::Relaxed);
        assert_eq!(Claim::choose(&page, None, true).target(), Target::Place(PLACES));
        // What the process writes there is not believed beyond its own requests.
        page.page.process(PLACES).expect("is there").unread.store(u32::MAX, Ordering::Relaxed);
        assert_eq!(Claim::choose(&page, None, true).target(), Target::Place(PLACES));
        page.starting(PLACES, 2, true);
        assert_eq!(page.page.process(PLACES).expect("is there").unread.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_count_that_was_written_to_does_not_wrap() {
        let page = page(1, 1);
        let claim = Claim::choose(&page, None, false);
        page.page.process(0).expect("is there").in_flight.store(0, Ordering::Relaxed);
        drop(claim);
        assert_eq!(page.page.process(0).expect("is there").in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_page_that_anybody_writes_to_is_read_within_bounds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/fuzz/corpus/claims");
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus).expect("the fuzzer's corpus is checked in") {
            super::super::claims::claims(&std::fs::read(entry.expect("readable").path()).expect("readable"));
            inputs += 1;
        }
        assert!(inputs > 0, "{corpus} is empty");
    }

    #[test]
    fn a_stuck_process_is_not_preferred_until_it_is_replaced() {
        let page = page(2, 2);
        assert!(page.has_room_elsewhere(0));
        assert!(page.withdraw(7, 0));
        let claims: Vec<_> = (0..2).map(|_| Claim::choose(&page, None, true)).collect();
        assert!(claims.iter().all(|claim| claim.target() == Target::Place(PLACES)));
        assert!(!page.has_room_elsewhere(0) && !page.has_room_elsewhere(PLACES));
        drop(claims);
        page.keep_after_all(7, 0);
        assert!(page.has_room_elsewhere(PLACES), "it was not stuck");
        assert!(page.withdraw(8, 0));
        page.started(0, 10);
        page.ended(0, 10);
        assert!(!page.page.withdrawals().any(), "it can serve nothing any more");
        page.starting(0, 2, true);
        page.page.process(0).expect("is there").state.store(State::Ready as u32, Ordering::Relaxed);
        assert_eq!(Claim::choose(&page, None, true).target(), Target::Place(0));
        let full = (100..1000).find(|ticket| !page.withdraw(*ticket, 2)).expect("room is bounded");
        assert!(!page.withdraw(full, 0) && page.has_room_elsewhere(2), "nobody would say that it goes on");
    }

    #[test]
    fn capacity_is_reached_when_every_thread_is_busy_and_said_once_per_episode() {
        let page = page(2, 1);
        let first = Claim::choose(&page, None, true);
        assert_eq!(page.newly_at_capacity(1000), None);
        let _second = Claim::choose(&page, None, true);
        assert_eq!(page.newly_at_capacity(1000), Some(2));
        assert_eq!(page.newly_at_capacity(1000), None, "said a moment ago");
        assert_eq!(page.newly_at_capacity(1050), None);
        assert_eq!(page.newly_at_capacity(1110), None, "the same episode, however long it lasts");
        drop(first);
        assert_eq!(page.newly_at_capacity(1200), None, "a thread is free");
        let _third = Claim::choose(&page, None, true);
        assert_eq!(page.newly_at_capacity(1200), Some(2), "a minute without waiting requests is over");
        assert_eq!(page.newly_at_capacity(1260), None);
        assert_eq!(page.newly_at_capacity(1321), Some(2), "the next one");
    }

    #[test]
    fn a_group_that_still_loads_is_not_at_capacity_and_keeps_nothing_back() {
        let page = page(1, 1);
        let state = &page.page.process(0).expect("is there").state;
        state.store(State::Starting as u32, Ordering::Relaxed);
        assert_eq!(page.newly_at_capacity(1000), None);
        state.store(State::Ready as u32, Ordering::Relaxed);
        let _claim = Claim::choose(&page, None, true);
        assert_eq!(page.newly_at_capacity(1010), Some(1), "nothing was said before");
    }

    #[test]
    fn a_successor_at_the_same_place_is_not_cleared() {
        let page = page(1, 1);
        page.started(0, 10);
        page.started(0, 11);
        page.ended(0, 10);
        assert_eq!(page.page.process(0).expect("is there").pid.load(Ordering::Relaxed), 11);
    }
}
