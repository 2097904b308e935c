//! What is counted for a whole process group on its [status page](crate::page): requests that failed, and why processes
//! ended. Nothing is counted here for a request that goes well.

use crate::sync::{AtomicU64, Ordering};
/// The upper bounds, in microseconds, of the classes that waiting times are counted in.
pub const QUEUE_BOUNDS: [u64; 10] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000];

/// Why a request of the group got no complete answer of the application. Counted by the Apache children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// queue-timeout was over (WSGI0084).
    QueueTimeout,
    /// No process took the connection (WSGI0116).
    ConnectTimeout,
    /// The connection could not be made (WSGI0115, WSGI0117).
    ConnectFailed,
    /// Every process turned the request away (WSGI0124).
    Refused,
    /// No answer within socket-timeout (WSGI0145).
    SocketTimeout,
    /// The process ended or closed before it answered (WSGI0146, WSGI0147).
    ProcessLost,
    /// The answer broke off in the middle (WSGI0118, WSGI0119).
    Truncated,
    /// The client took nothing for response-socket-timeout (WSGI0120).
    ClientTimeout,
    /// The request could not be sent, or the answer not be understood (WSGI0121, WSGI0148).
    Protocol,
    /// Everything else.
    Other,
}

impl Failed {
    /// All kinds with their names, in the order of their places.
    pub const ALL: [(Self, &str); 10] = [
        (Self::QueueTimeout, "queue_timeout"),
        (Self::ConnectTimeout, "connect_timeout"),
        (Self::ConnectFailed, "connect_failed"),
        (Self::Refused, "refused"),
        (Self::SocketTimeout, "socket_timeout"),
        (Self::ProcessLost, "process_lost"),
        (Self::Truncated, "truncated"),
        (Self::ClientTimeout, "client_timeout"),
        (Self::Protocol, "protocol"),
        (Self::Other, "other"),
    ];
}

/// Why processes end: the names of shutdown reasons, which daemons count themselves, and the ends that only the parent
/// sees.
pub const STOPS: [&str; 15] = [
    "shutdown_signal",
    "graceful_signal",
    "eviction_signal",
    "maximum_requests",
    "restart_interval",
    "inactivity_timeout",
    "request_timeout",
    "startup_timeout",
    "deadlock_timeout",
    "cpu_time_limit",
    "signal_pipe_error",
    "script_reload",
    // Those that only the parent sees.
    CRASHED,
    EXITED,
    "other",
];

/// The process died of a signal.
pub const CRASHED: &str = "crash";
/// The process ended itself with an exit status other than 0.
pub const EXITED: &str = "exit";

/// See the module.
#[repr(C, align(64))]
pub struct Tally {
    failed: [AtomicU64; Failed::ALL.len()],
    stops: [AtomicU64; STOPS.len()],
    interrupted: AtomicU64,
}

impl Tally {
    /// Counts a request that failed.
    pub fn failed(&self, kind: Failed) {
        if let Some(place) = Failed::ALL.iter().position(|(known, _)| *known == kind) {
            self.failed[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the end of a process; names that are not among [`STOPS`] count as `other`.
    pub fn stopped(&self, reason: &str) {
        let place = STOPS.iter().position(|known| *known == reason).unwrap_or(STOPS.len() - 1);
        self.stops[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that interrupt-timeout broke off.
    pub fn interrupted(&self) {
        self.interrupted.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that failed, by kind.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Failed::ALL.iter().zip(&self.failed).map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// Processes that ended, by reason.
    pub fn stops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        STOPS.iter().zip(&self.stops).map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// Requests that interrupt-timeout broke off.
    #[must_use]
    pub fn interruptions(&self) -> u64 {
        self.interrupted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_names_fit_each_other() {
        // SAFETY: numbers only, for which zeros are valid.
        let tally: Tally = unsafe { std::mem::zeroed() };
        for (kind, name) in Failed::ALL {
            tally.failed(kind);
            assert_eq!(tally.failures().find(|(known, _)| *known == name), Some((name, 1)));
        }
        tally.stopped("request_timeout");
        tally.stopped("never heard of it");
        let stops: Vec<_> = tally.stops().filter(|(_, count)| *count > 0).collect();
        assert_eq!(stops, [("request_timeout", 1), ("other", 1)]);
        let bounds = QUEUE_BOUNDS.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(bounds, "bounds rise");
    }
}
