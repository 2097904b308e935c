//! The signals that come while a server runs in the foreground.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

/// The signals that came.
pub(super) struct Signals {
    /// How many asked for the end.
    ends: Arc<AtomicUsize>,
    /// Whether the first of them lets running requests finish.
    softly: Arc<AtomicBool>,
    graceful: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over: SIGTERM lets running requests finish, the others do not; a second one ends everything at once.
    pub(super) fn take() -> io::Result<Self> {
        let signals = Self { ends: Arc::default(), softly: Arc::default(), graceful: Arc::default() };
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            let (ends, softly) = (Arc::clone(&signals.ends), Arc::clone(&signals.softly));
            let count = move || {
                if ends.fetch_add(1, Ordering::SeqCst) == 0 {
                    softly.store(signal == SIGTERM, Ordering::SeqCst);
                }
            };
            // SAFETY: the handler only changes two atomic numbers, which a signal handler may do at any time.
            unsafe { signal_hook::low_level::register(signal, count) }?;
        }
        signal_hook::flag::register(SIGUSR1, Arc::clone(&signals.graceful))?;
        Ok(signals)
    }

    /// The number of signals that asked for the end, to be looked at by whoever waits.
    pub(super) fn ends(&self) -> &Arc<AtomicUsize> {
        &self.ends
    }

    /// Whether the end was asked for.
    pub(super) fn end(&self) -> bool {
        self.ends.load(Ordering::SeqCst) > 0
    }

    /// Whether running requests may finish first.
    pub(super) fn softly(&self) -> bool {
        self.softly.load(Ordering::SeqCst)
    }

    /// Whether nothing is to be waited for any more.
    pub(super) fn at_once(&self) -> bool {
        self.ends.load(Ordering::SeqCst) > 1
    }

    /// Whether a graceful restart was asked for since the last call.
    pub(super) fn graceful(&self) -> bool {
        self.graceful.swap(false, Ordering::SeqCst)
    }
}
