//! Which threads of ours may be in an interpreter while interpreters end: none.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Held by threads that visit interpreters. Once interpreters begin to end there are no visits any more, for as long as
/// the process lives: a thread that wants the GIL of a Python that has ended would be ended in the middle of its Rust code.
#[derive(Default)]
pub(super) struct Visits(RwLock<()>);

/// A visit, which keeps interpreters from ending.
pub(super) struct Visit<'v>(#[expect(dead_code, reason = "held for its end")] RwLockReadGuard<'v, ()>);

impl Visits {
    /// Begins a visit; `None` when interpreters end, or have ended. Never waits.
    pub(super) fn begin(&self) -> Option<Visit<'_>> {
        self.0.try_read().ok().map(Visit)
    }

    /// Waits for the visits that have begun. There are none afterwards.
    pub(super) fn end_for_good(&self) {
        // The lock is never given back.
        std::mem::forget(self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_visits_after_the_end() {
        let visits = Visits::default();
        drop((visits.begin().expect("Python runs"), visits.begin().expect("several at a time")));
        visits.end_for_good();
        assert!(visits.begin().is_none() && visits.begin().is_none());
    }
}
