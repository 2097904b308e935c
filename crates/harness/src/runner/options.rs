//! How a plan is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a plan is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// How many cells at once.
    pub jobs: usize,
    /// Whether the first failed cell ends the run; running cells are stopped, the others do not start.
    pub fail_fast: bool,
    /// Where bundles of failed cells go.
    pub artifacts: Option<PathBuf>,
    /// Whether the server of a failed cell is kept until the run is interrupted.
    pub hold_on_failure: bool,
    /// Whether the private folders of failed cells are left in place.
    pub keep: bool,
    /// The longest time of the whole run.
    pub timeout: Option<Duration>,
    /// Raised by SIGINT or SIGTERM.
    pub interrupt: Interrupt,
}

/// Says whether the run shall end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks for the end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked for it.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The flag itself, for a signal handler.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
