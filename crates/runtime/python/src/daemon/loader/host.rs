//! The engine's surroundings in a loader, and in a process that was forked from it.

use std::sync::{Mutex, OnceLock, PoisonError};

use wsgi_protocol::abi::{Level, Record};
use wsgi_protocol::scoreboard::Snapshot;

use crate::daemon::line::ServerLog;
use crate::daemon::server::Server;
use crate::gateway::{Changed, Process};

/// A script, and the application group that it was loaded for.
type Loaded = (Vec<u8>, Vec<u8>);

/// See the module.
pub(in crate::daemon) struct Host {
    log: ServerLog,
    /// After the fork: who answers for the process.
    server: OnceLock<&'static Server>,
    /// What was loaded before.
    loaded: Mutex<Vec<Loaded>>,
}

impl Host {
    pub(super) fn new(log: ServerLog) -> Self {
        Self { log, server: OnceLock::new(), loaded: Mutex::default() }
    }

    pub(super) fn log(&self) -> &ServerLog {
        &self.log
    }

    /// The process serves from here on.
    pub(super) fn become_server(&self, server: &'static Server) {
        // Called once, by the only thread.
        let _ = self.server.set(server);
        for (script, group) in self.loaded.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            server.script_loaded(&script, &group);
        }
    }
}

impl Process for Host {
    fn log(&self, record: &Record<'_>) {
        self.log.write(record);
    }

    fn try_log(&self, record: &Record<'_>) -> bool {
        self.log.try_write(record)
    }

    fn logs(&self, level: Level) -> bool {
        self.log.logs(level)
    }

    fn interpreters(&self, count: usize) {
        if let Some(server) = self.server.get() {
            server.interpreters(count);
        }
    }

    fn script_changed(&self, script: &[u8], version: u64) -> Changed {
        self.server.get().map_or(Changed::Reload, |server| server.script_changed(script, version))
    }

    fn script_loaded(&self, script: &[u8], group: &[u8]) {
        match self.server.get() {
            Some(server) => server.script_loaded(script, group),
            None => {
                let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
                loaded.push((script.to_vec(), group.to_vec()));
            }
        }
    }

    fn loading_started(&self) {
        if let Some(server) = self.server.get() {
            server.loading_started();
        }
    }

    fn loading_finished(&self, loaded: bool) {
        if let Some(server) = self.server.get() {
            server.loading_finished(loaded);
        }
    }

    fn scoreboard(&self) -> Option<Snapshot> {
        self.server.get().and_then(|server| server.scoreboard())
    }
}
