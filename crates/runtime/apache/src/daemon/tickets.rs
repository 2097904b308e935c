//! The numbers by which requests of a group are found on its status page.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives each request of a child a number that no other request of the group has.
///
/// Tickets stay on the page after the request, the process and the child. So a child begins at a random number of 64
/// bits: its process number would not do, because a later child may have the same.
#[derive(Default)]
pub(super) struct Tickets(AtomicU64);

impl Tickets {
    /// Begins at a number of this child's own.
    pub(super) fn begin(&self) {
        let mut start = [0u8; 8];
        // SAFETY: room for as many bytes as it says.
        let count = unsafe { libc::getrandom(start.as_mut_ptr().cast(), start.len(), 0) };
        let start = if count == 8 { u64::from_ne_bytes(start) } else { otherwise() };
        self.0.store(start, Ordering::Relaxed);
    }

    /// The next one; never 0, which is no ticket.
    pub(super) fn next(&self) -> u64 {
        loop {
            let ticket = self.0.fetch_add(1, Ordering::Relaxed);
            if ticket != 0 {
                return ticket;
            }
        }
    }
}

/// What has to do on a system without random numbers: process and time.
fn otherwise() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(std::process::id()) << 32 ^ u64::try_from(elapsed.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: rule:daemon/tickets
    #[test]
    fn two_children_of_the_same_process_number_share_no_ticket() {
        let (first, second) = (Tickets::default(), Tickets::default());
        first.begin();
        second.begin();
        let of = |tickets: &Tickets| (0..1000).map(|_| tickets.next()).collect::<std::collections::HashSet<_>>();
        let (first, second) = (of(&first), of(&second));
        assert_eq!((first.len(), second.len()), (1000, 1000));
        assert!(first.is_disjoint(&second));
    }

    #[test]
    fn none_is_zero() {
        let tickets = Tickets(AtomicU64::new(u64::MAX));
        assert_eq!((tickets.next(), tickets.next()), (u64::MAX, 1));
    }
}
