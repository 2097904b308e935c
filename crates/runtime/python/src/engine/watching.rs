//! What other threads do to those that serve: see where they are, and take them out of an application.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use pyo3::ffi;
use wsgi_protocol::abi::Level;

use super::Engine;
use crate::interpreter::Interpreter;
use crate::thread::Record;

/// Whose stacks are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacks {
    /// Those of all threads that run Python code.
    All,
    /// That of the worker with this number.
    Worker(u32),
}

impl Engine {
    /// Returns once the main interpreter's GIL was held: for a watchdog that sees whether it can be had.
    pub fn probe_gil(&'static self) {
        if !self.stopping.load(Ordering::SeqCst) {
            self.visit(self.main, |_| ());
        }
    }

    /// Whether there may be interpreters with a GIL of their own.
    #[must_use]
    pub fn expects_own_gils(&self) -> bool {
        self.setting.config.scopes.iter().any(|scope| scope.own_gil == Some(true))
    }

    /// Whether no application of the process may set signal handlers.
    pub(crate) fn restricts_signals(&self) -> bool {
        let config = &self.setting.config;
        config.restrict.signal && config.scopes.iter().all(|scope| scope.restrict_signal != Some(false))
    }

    /// Returns once the GIL of each such interpreter was held.
    pub fn probe_own_gils(&'static self) {
        for interpreter in self.all().into_iter().skip(1).filter(|interpreter| interpreter.owns_gil()) {
            if !self.stopping.load(Ordering::SeqCst) {
                self.visit(interpreter, |_| ());
            }
        }
    }

    /// Sends `mod_wsgi.RequestTimeout` into the application that the worker with this number is running, if that is the one
    /// which is meant: `is_meant` is asked when the request can no longer end. False: it is not.
    #[must_use]
    pub fn interrupt(&'static self, number: u32, is_meant: impl Fn() -> bool) -> bool {
        let Some(record) = self.record(number) else { return false };
        let Some(interpreter) = self.serving(&record) else { return false };
        let interrupted = self.visit(interpreter, |py| {
            // Checked again with the GIL held: the request may have ended meanwhile.
            let _steady = record.steady();
            if record.serving.load(Ordering::Relaxed) != interpreter.index + 1 || !is_meant() {
                return false;
            }
            let Some(parts) = interpreter.parts() else { return false };
            let timeout = parts.timeout.get(py);
            record.interrupted.store(true, Ordering::Relaxed);
            // SAFETY: attached to the interpreter of that thread's request; the class is alive.
            unsafe { ffi::PyThreadState_SetAsyncExc(ident(record.ident()), timeout.as_ptr()) == 1 }
        });
        interrupted.unwrap_or(false)
    }

    /// Interrupts every application that is running, because the process ends.
    pub(crate) fn interrupt_all(&'static self) {
        let workers: Vec<Arc<Record>> = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for record in workers {
            let number = record.number();
            if record.serving.load(Ordering::Relaxed) != 0 && self.interrupt(number, || true) {
                let text = format!(
                    "The request of thread {number} {} is interrupted, because the process ends.",
                    self.setting.phrases.in_process
                );
                self.setting.log(Level::Info, &text);
            }
        }
    }

    fn record(&self, number: u32) -> Option<Arc<Record>> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().find(|record| record.number() == number).cloned()
    }

    fn serving(&self, record: &Record) -> Option<&'static Interpreter> {
        let index = record.serving.load(Ordering::Relaxed).checked_sub(1)?;
        self.all().into_iter().find(|interpreter| interpreter.index == index)
    }

    /// Logs the stacks of Python threads. Needs the GIL, so it waits as long as C code keeps it.
    pub fn dump_stacks(&'static self, which: Stacks, level: Level) {
        let workers: Vec<Arc<Record>> = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for interpreter in self.all() {
            let name = |thread: u64| {
                let known = workers.iter().find(|record| record.ident() == thread);
                match which {
                    Stacks::All => Some(known.map_or(thread.to_string(), |record| record.number().to_string())),
                    Stacks::Worker(number) => {
                        known.filter(|record| record.number() == number).map(|record| record.number().to_string())
                    }
                }
            };
            let wanted = match which {
                Stacks::All => true,
                Stacks::Worker(number) => {
                    let record = workers.iter().find(|record| record.number() == number);
                    record.and_then(|record| self.serving(record)).is_some_and(|own| std::ptr::eq(own, interpreter))
                }
            };
            if wanted {
                if which == Stacks::All {
                    self.setting.log(
                        level,
                        &format!(
                            "Dumping stack trace for active Python threads of {} {}.",
                            interpreter.label, self.setting.phrases.in_process
                        ),
                    );
                }
                self.visit(interpreter, |py| interpreter.dump_stacks(py, level, name));
            }
        }
    }

    /// Tells subscribers of a signal that the process has received, such as `SIGHUP`.
    pub fn signal(&'static self, name: &str, number: i32) {
        if self.stopping.load(Ordering::SeqCst) {
            return;
        }
        for interpreter in self.all() {
            if self.visit(interpreter, |py| crate::events::process_signal(py, interpreter, name, number)).is_none() {
                let text = format!("WSGI0209: {name} could not be announced in the {}.", interpreter.label);
                self.setting.log(Level::Error, &text);
            }
        }
    }
}

/// A thread's identity as the C API wants it.
pub(super) fn ident(number: u64) -> std::ffi::c_long {
    std::ffi::c_long::from_ne_bytes(number.to_ne_bytes())
}
