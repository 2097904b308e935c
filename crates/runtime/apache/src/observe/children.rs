//! Apache's children that run Python: a page with a place for each, as daemon groups have one.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use wsgi_protocol::page::{Layout, MAX_PROCESSES, Page, ProcessSlot, State};

use crate::daemon::StatusPage;

/// The page of one generation, made by the parent; children share it.
pub(crate) struct Children {
    page: StatusPage,
    /// This child's place; `None` in a child for which there was no room.
    own: OnceLock<Option<u32>>,
}

impl Children {
    /// A page with room for so many children.
    pub(crate) fn new(most: u32) -> io::Result<Self> {
        let layout = Layout::new(most.clamp(1, MAX_PROCESSES), 0, 0).ok_or(io::ErrorKind::InvalidInput)?;
        // The descriptor is not needed any more: children have the mapping.
        let (_, page) = StatusPage::make(layout)?;
        Ok(Self { page, own: OnceLock::new() })
    }

    /// The page.
    pub(crate) fn page(&self) -> &Page {
        self.page.page()
    }

    /// Takes a place for this child.
    pub(crate) fn join(&self) {
        let pid = std::process::id();
        let place = (0..self.page().processes()).find(|place| {
            self.page()
                .process(*place)
                .is_some_and(|slot| slot.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Relaxed).is_ok())
        });
        // A child joins once.
        let _ = self.own.set(place);
        if let Some(slot) = self.own() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            slot.started.store(i64::try_from(now.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
            slot.starts.fetch_add(1, Ordering::Relaxed);
            slot.in_flight.store(0, Ordering::Relaxed);
            slot.interpreters.store(0, Ordering::Relaxed);
            slot.state.store(State::Starting as u32, Ordering::Release);
        }
    }

    /// Python runs in this child, or could not be started.
    pub(crate) fn set_state(&self, state: State) {
        if let Some(slot) = self.own() {
            slot.state.store(state as u32, Ordering::Release);
        }
    }

    /// This child's place.
    pub(crate) fn own(&self) -> Option<&ProcessSlot> {
        self.page().process(self.own.get().copied().flatten()?)
    }

    /// A child has ended: its place is free. In the parent.
    pub(crate) fn ended(&self, pid: libc::pid_t) {
        for place in 0..self.page().processes() {
            self.page.ended(place, pid);
        }
    }

    /// Counts a request in this child as long as the value lives.
    pub(crate) fn count(&self) -> Option<InFlight<'_>> {
        let slot = self.own()?;
        slot.requests.fetch_add(1, Ordering::Relaxed);
        slot.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(InFlight(&slot.in_flight))
    }
}

/// A request that is being served.
pub(crate) struct InFlight<'c>(&'c AtomicU32);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_counted_and_given_back() {
        let children = Children::new(2).expect("memory");
        assert!(children.count().is_none(), "before it joined");
        children.join();
        let slot = children.own().expect("there is room");
        let request = children.count();
        assert_eq!((slot.in_flight.load(Ordering::Relaxed), slot.requests.load(Ordering::Relaxed)), (1, 1));
        drop(request);
        assert_eq!(slot.in_flight.load(Ordering::Relaxed), 0);
        children.ended(libc::pid_t::try_from(std::process::id()).expect("a pid"));
        assert_eq!(slot.pid.load(Ordering::Relaxed), 0);
        assert_eq!(slot.requests.load(Ordering::Relaxed), 1, "counters go on with the next child");
    }
}
