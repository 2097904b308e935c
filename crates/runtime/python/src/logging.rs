//! Log records, and the texts that name where something happened.

use std::sync::atomic::{AtomicU32, AtomicUsize};

use pyo3::Python;
use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::launch;

use crate::gateway::Process;
use crate::metrics::Ledger;
use crate::thread::detached;

/// A record of this text; a NUL ends it early, as it would in Apache's own functions.
pub(crate) fn record<'a>(level: Level, text: &'a [u8], source: Option<(&'a [u8], u32)>) -> Record<'a> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let (file, line) = source.map_or((Bytes::NONE, 0), |(file, line)| (Bytes::new(file), line));
    Record { level: level as u8, line, file, text: Bytes::new(&text[..end]), json: 0 }
}

/// A record whose text is a JSON object.
pub(crate) fn object(level: Level, text: &[u8]) -> Record<'_> {
    Record { level: level as u8, line: 0, file: Bytes::NONE, text: Bytes::new(text), json: 1 }
}

/// The phrases of log lines that name this process.
pub(crate) struct Phrases {
    /// `in embedded mode` or `of daemon process 'G'`: what belongs to the process.
    pub(crate) of_process: String,
    /// `in embedded mode` or `in daemon process 'G'`: what happens there.
    pub(crate) in_process: String,
    /// `embedded mode` or `daemon process 'G'`.
    pub(crate) process: String,
}

impl Phrases {
    fn new(group: &[u8]) -> Self {
        if group.is_empty() {
            let embedded = "embedded mode".to_owned();
            return Self {
                of_process: format!("in {embedded}"),
                in_process: format!("in {embedded}"),
                process: embedded,
            };
        }
        let process = format!("daemon process '{}'", String::from_utf8_lossy(group));
        Self { of_process: format!("of {process}"), in_process: format!("in {process}"), process }
    }
}

/// What every part of the engine knows of its process. Lives as long as the process.
pub(crate) struct Setting {
    pub(crate) process: &'static dyn Process,
    pub(crate) config: launch::Python,
    pub(crate) phrases: Phrases,
    /// The process that started Python. Children that an application forks differ.
    pub(crate) pid: AtomicU32,
    /// How many sub-interpreters the process holds.
    pub(crate) sub_interpreters: AtomicUsize,
    /// What was measured.
    pub(crate) ledger: Ledger,
}

impl Setting {
    pub(crate) fn new(config: launch::Python, process: &'static dyn Process) -> Self {
        let phrases = Phrases::new(&config.process_group);
        let ledger = Ledger::new(config.telemetry.as_ref());
        Self {
            process,
            config,
            phrases,
            pid: AtomicU32::new(std::process::id()),
            sub_interpreters: AtomicUsize::new(0),
            ledger,
        }
    }

    /// Whether this is embedded mode.
    pub(crate) fn embedded(&self) -> bool {
        self.config.process_group.is_empty()
    }

    /// Whether this is a service process (`threads=0`): it runs its import scripts on the main thread and no requests.
    pub(crate) fn is_service(&self) -> bool {
        !self.embedded() && self.config.threads_per_process == 0
    }

    /// Whether Python runs without a GIL here.
    pub(crate) fn free_threaded(&self) -> bool {
        cfg!(Py_GIL_DISABLED) && self.config.free_threading
    }

    /// Logs for the process. Call without the GIL.
    pub(crate) fn log(&self, level: Level, text: &str) {
        if self.process.logs(level) {
            self.process.log(&record(level, text.as_bytes(), None));
        }
    }

    /// Logs for the process with the GIL held, which is released while the log makes the thread wait.
    pub(crate) fn log_attached(&self, py: Python<'_>, level: Level, text: &str) {
        if self.process.logs(level) {
            self.write(py, &record(level, text.as_bytes(), None));
        }
    }

    /// The same for a record.
    pub(crate) fn write(&self, py: Python<'_>, record: &Record<'_>) {
        if !self.process.try_log(record) {
            detached(py, || self.process.log(record));
        }
    }

    /// What the scopes of `<WSGIInterpreterOptions>` say for an application group, `default` when none says anything:
    /// the most specific block wins, and the later one of equals. Blocks come least specific first.
    pub(crate) fn scoped<T>(&self, group: &[u8], default: T, value: impl Fn(&launch::Scope) -> Option<T>) -> T {
        let matching = self.config.scopes.iter().rev();
        let mut matching = matching.filter(|scope| scope.application_group.as_deref().is_none_or(|own| own == group));
        matching.find_map(value).unwrap_or(default)
    }
}
