//! Scripts that are loaded without a request.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use wsgi_protocol::abi::Level;
use wsgi_protocol::script_file::ScriptFile;
use wsgi_protocol::scripts::Entry;

use super::interpreters::Refused;
use super::{Engine, Worker};
use crate::script::{self, Wanted};
use crate::thread::enter;
use crate::traceback::Destination;

/// What became of a script that was to be loaded without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Imported {
    Loaded,
    /// There can be no interpreter for it: a request for it will be told.
    NoRoom,
    /// It was logged why.
    Failed,
}

impl Engine {
    /// Loads the scripts that the configuration wants loaded at the start, on the calling thread. Failures are logged
    /// and the rest is loaded.
    pub fn run_imports(&'static self) {
        if !self.setting.config.imports.is_empty() {
            let mut worker = self.worker(0);
            self.import_with(&mut worker);
        }
    }

    /// Loads what another process of the group has loaded, on the calling thread. `Err` is the script that cannot be
    /// loaded; it was logged why. Scripts whose files are gone serve nobody and are passed over. `begins` hears of each
    /// before it is loaded.
    pub(crate) fn preload<'e>(
        &'static self,
        entries: &[Entry<'e>],
        begins: impl Fn(&Entry<'e>),
    ) -> Result<(), Entry<'e>> {
        let mut worker = self.worker(0);
        for entry in entries {
            if !Path::new(OsStr::from_bytes(entry.path)).exists() {
                continue;
            }
            begins(entry);
            let own = self.setting.config.imports.iter().any(|import| import.application_group == entry.group);
            if self.import(&mut worker, entry.path, entry.group, own) == Imported::Failed {
                return Err(*entry);
            }
        }
        Ok(())
    }

    /// [`Engine::run_imports`] with the thread's own worker.
    pub(crate) fn import_with(&'static self, worker: &mut Worker) {
        for import in &self.setting.config.imports {
            self.import(worker, &import.script, &import.application_group, true);
        }
    }

    /// Loads one script. `own`: the configuration names the group.
    pub(super) fn import(&'static self, worker: &mut Worker, path: &[u8], group: &[u8], own: bool) -> Imported {
        let script = String::from_utf8_lossy(path);
        let found = self.interpreter(worker, group, own);
        if !own && matches!(found, Err(Refused::Full)) {
            return Imported::NoRoom;
        }
        let state = found.ok().and_then(|interpreter| Some((interpreter, worker.state(interpreter)?)));
        let Some((interpreter, state)) = state else {
            let name = String::from_utf8_lossy(group);
            let text = format!("WSGI0040: The interpreter '{name}' for the script '{script}' is not available.");
            self.setting.log(Level::Critical, &text);
            return Imported::Failed;
        };
        let wanted = Wanted { path, version: ScriptFile::UNKNOWN, reloading: false, fold_case: false, resource: path };
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: this thread's own state, which is not attached now.
            unsafe {
                enter(state, |py| {
                    let to = Destination::Process(interpreter);
                    script::module(py, to, &wanted, script::standing(py, to, &wanted)).is_ok()
                })
            }
        }));
        match loaded {
            Ok(true) => Imported::Loaded,
            Ok(false) => Imported::Failed,
            Err(panic) => {
                let text = crate::slot::panic_text(&*panic);
                self.setting.log(Level::Error, &format!("Internal error while loading '{script}': {text}"));
                Imported::Failed
            }
        }
    }
}
