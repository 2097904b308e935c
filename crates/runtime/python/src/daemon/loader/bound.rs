//! What ends a loader, or a process that it has forked, when the application does not come back.
//!
//! A thread waits for that. It is never there at the moment of a fork, which copies no thread but the one that forks.

use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use wsgi_protocol::abi::Level;

use super::host::Host;
use crate::daemon::loading::dump_stacks;
use crate::daemon::monitor;
use crate::engine::Engine;

/// The exit status of a process that was kept from going on for too long.
const TOO_SLOW: i32 = 1;

/// Ends the process after a time, unless it is dropped before.
pub(super) struct Bound(Option<(Sender<()>, JoinHandle<()>)>);

impl Bound {
    /// There is no limit, or no thread can be made.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Before the process ends it logs this line, after the stacks of Python's threads.
    pub(super) fn new(after: Duration, host: &'static Host, engine: Option<&'static Engine>, line: String) -> Self {
        let last = move || {
            if let Some(engine) = engine {
                dump_stacks(engine);
            }
            host.log().say(Level::Error, &line);
        };
        Self(monitor::abort_after(after, TOO_SLOW, last).ok())
    }

    /// There is no limit any more, and no thread.
    pub(super) fn end(&mut self) {
        if let Some((alive, thread)) = self.0.take() {
            drop(alive);
            // It does nothing that could panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.end();
    }
}
