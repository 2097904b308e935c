//! What happens during a run, told in order to reporters.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::outcome::{CellOutcome, Failure, RunOutcome, StepOutcome};
use crate::scenario::schema::StepKind;

/// Something that happened. `cell` is the index into the plan's cells.
#[derive(Debug, Clone)]
pub enum Event {
    /// Cells begin to run.
    RunStarted {
        /// How many at once.
        jobs: usize,
    },
    /// A cell began.
    CellStarted {
        /// Which.
        cell: usize,
    },
    /// A cell's server answers.
    ServerReady {
        /// Which.
        cell: usize,
        /// The address it answers at.
        url: String,
        /// From the launch to the first answer.
        after: Duration,
    },
    /// A step began.
    StepStarted {
        /// Which cell.
        cell: usize,
        /// The step's number from 0.
        step: usize,
        /// Its kind.
        kind: StepKind,
        /// Its name: the id, or the title.
        name: Option<String>,
    },
    /// A step ended.
    StepFinished {
        /// Which cell.
        cell: usize,
        /// The step's number from 0.
        step: usize,
        /// What came of it.
        outcome: Arc<StepOutcome>,
    },
    /// A cell's server is kept running until the user says so (`--hold-on-failure`, `up`).
    Held {
        /// Which cell.
        cell: usize,
        /// The address it answers at.
        url: String,
        /// The cell's private folder.
        dir: std::path::PathBuf,
        /// The pid of the server's parent process.
        parent: u32,
        /// A command line that repeats the request that failed, where one did.
        request: Option<String>,
        /// Why: what has failed, or nothing when it was asked for.
        failures: Arc<Vec<Failure>>,
    },
    /// A cell ended, or was skipped.
    CellFinished {
        /// Which.
        cell: usize,
        /// What came of it.
        outcome: Arc<CellOutcome>,
    },
    /// All is over.
    RunFinished {
        /// What came of it.
        outcome: Arc<RunOutcome>,
    },
}

/// Where events are sent. A receiver that is gone does not stop a run.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<Event>);

impl Events {
    /// A sender with its receiver.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), receiver)
    }

    /// Tells an event.
    pub fn send(&self, event: Event) {
        // Reporters may have ended early (a closed pipe); cells must still be cleaned up.
        let _ = self.0.send(event);
    }
}
