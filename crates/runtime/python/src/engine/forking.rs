//! One process loads, and is forked into those that serve (`fork-after-load=On`).
//!
//! Forking copies the thread that forks and no other, so the loader has no thread of ours, and only the main interpreter:
//! Python deletes all others in the child. Applications may have started threads of their own while they were loaded;
//! they are named in the log, as nothing else can be done about them.

use std::io;
use std::sync::atomic::Ordering;

use pyo3::{Python, ffi};

use super::Engine;
use crate::object::{Raise, call_method, get, import, list_item, list_length, number_of, shown};
use crate::script::version_of;
use crate::thread::{enter, gilstate};

/// A script that was loaded before the fork, or was to be, and the version that its file had.
pub(crate) struct Version {
    path: Vec<u8>,
    version: u64,
}

impl Version {
    /// Whether the file is another one now.
    pub(crate) fn is_outdated(&self) -> bool {
        version_of(&self.path) != self.version
    }
}

/// The threads of the process but the calling one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OtherThreads {
    /// The names of those that Python knows.
    pub(crate) named: Vec<String>,
    /// How many there are besides.
    pub(crate) unknown: usize,
}

impl Engine {
    /// Whether a script of the configuration is loaded before the fork: one of the main interpreter.
    fn is_shared(group: &[u8]) -> bool {
        group.is_empty()
    }

    /// Loads what all processes share. Failures are logged and the rest is loaded.
    pub(crate) fn load_shared(&'static self) -> Vec<Version> {
        let mut worker = self.worker(0);
        let imports = self.setting.config.imports.iter().filter(|import| Self::is_shared(&import.application_group));
        imports
            .map(|import| {
                // As it is before: a script that changes meanwhile is one that has changed.
                let version = Version { path: import.script.clone(), version: version_of(&import.script) };
                self.import(&mut worker, &import.script, &import.application_group, true);
                version
            })
            .collect()
    }

    /// Loads what each process has to load for itself.
    pub(crate) fn load_own(&'static self) {
        let mut imports = self.unshared().peekable();
        if imports.peek().is_none() {
            return;
        }
        let mut worker = self.worker(0);
        for import in imports {
            self.import(&mut worker, &import.script, &import.application_group, true);
        }
    }

    /// The scripts that are to be loaded at the start, but in interpreters that do not outlive a fork.
    pub(crate) fn unshared(&'static self) -> impl Iterator<Item = &'static wsgi_protocol::launch::Import> {
        self.setting.config.imports.iter().filter(|import| !Self::is_shared(&import.application_group))
    }

    /// Runs `work` on the thread that started Python.
    fn on_main<R>(&'static self, work: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
        // SAFETY: the state of this thread, which is the one that started Python and is not attached.
        unsafe { enter(self.main_state, work) }
    }

    /// Threads besides the one that forks.
    pub(crate) fn other_threads(&'static self) -> OtherThreads {
        let named = self.on_main(|py| {
            names_of_others(py).unwrap_or_else(|raised| {
                raised.forget(py);
                Vec::new()
            })
        });
        let all = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        OtherThreads { unknown: all.saturating_sub(1 + named.len()), named }
    }

    /// Takes everything that was loaded out of the garbage collector's sight: it would write to each object's header,
    /// and memory that is written to is shared no longer. Returns how many objects those are.
    pub(crate) fn freeze(&'static self) -> u64 {
        self.on_main(|py| {
            let frozen = || -> Raise<u64> {
                let gc = import(py, c"gc")?;
                call_method(&gc, c"collect", &[])?;
                call_method(&gc, c"freeze", &[])?;
                Ok(number_of(&call_method(&gc, c"get_freeze_count", &[])?))
            };
            frozen().unwrap_or_else(|raised| {
                raised.forget(py);
                0
            })
        })
    }

    /// Forks by `fork`, which returns twice, as `os.fork()` does: hooks of `os.register_at_fork()` run before and after.
    /// `Ok(None)` is the child.
    pub(crate) fn fork(
        &'static self,
        fork: impl FnOnce() -> io::Result<Option<libc::pid_t>>,
    ) -> io::Result<Option<libc::pid_t>> {
        self.on_main(|_| {
            // SAFETY: attached to the main interpreter by the thread that started it.
            unsafe {
                ffi::PyOS_BeforeFork();
                let forked = fork();
                if matches!(forked, Ok(None)) {
                    // Hooks are the application's, and the process is one that serves from here on.
                    self.begin_again();
                    ffi::PyOS_AfterFork_Child();
                    gilstate::discover();
                } else {
                    ffi::PyOS_AfterFork_Parent();
                }
                forked
            }
        })
    }

    /// What was counted and remembered is the loader's.
    fn begin_again(&'static self) {
        self.setting.pid.store(std::process::id(), Ordering::Relaxed);
        self.setting.ledger.begin_again();
        self.main.collections.forget();
    }
}

/// The names of Python's threads but the calling one.
fn names_of_others(py: Python<'_>) -> Raise<Vec<String>> {
    let threading = import(py, c"threading")?;
    let own = call_method(&threading, c"current_thread", &[])?;
    let threads = call_method(&threading, c"enumerate", &[])?;
    let mut names = Vec::new();
    for index in 0..list_length(&threads) {
        let thread = list_item(&threads, index)?;
        if thread.as_ptr() != own.as_ptr() {
            names.push(shown(&get(&thread, c"name")?));
        }
    }
    Ok(names)
}
