//! The end of Python in this process.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use pyo3::ffi;
use wsgi_protocol::abi::Level;

use super::Engine;
use crate::keeper::{Idle, wind_up};
use crate::telemetry::Reporter;
use crate::thread::{Record, enter, own_ident, visit};

impl Engine {
    fn reporter(&self) -> Option<&'static Reporter> {
        self.reporter.get().copied().flatten()
    }

    /// The process will end for this reason, once its requests have: said before [`Engine::stop`].
    pub fn will_stop(&self, reason: &str) {
        if self.end.set(reason.to_owned()).is_ok()
            && let Some(reporter) = self.reporter()
        {
            reporter.stopping(reason, self.setting.ledger.lifetime().1);
        }
    }

    /// The process is about to be aborted, because it did not end in time.
    pub fn aborted(&self) {
        if let Some(reporter) = self.reporter() {
            let reason = self.end.get().map_or("", String::as_str);
            reporter.stopped(reason, false, self.setting.ledger.lifetime());
        }
    }

    /// Ends Python: no new requests are served, subscribers are told, applications' threads are joined, `atexit`
    /// callbacks run, interpreters are destroyed. `reason` is the event's `shutdown_reason`. What cannot be ended
    /// safely, because threads are still in it, is left to the process's own end.
    pub fn stop(&'static self, reason: &str) {
        if self.is_inside() || self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        self.will_stop(reason);
        self.announce_stop(reason);
        if let Some(reporter) = self.reporter() {
            reporter.finish();
        }
        if self.setting.config.destroy_interpreter {
            self.destroy();
        }
        if let Some(reporter) = self.reporter() {
            reporter.stopped(reason, true, self.setting.ledger.lifetime());
        }
    }

    /// Whether the calling thread is inside an application, which has ended the process (`exit()` of the C library). It
    /// would wait for a lock that it holds itself.
    fn is_inside(&self) -> bool {
        let own = own_ident();
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().any(|record| record.ident() == own && record.busy.load(Ordering::SeqCst))
    }

    fn announce_stop(&'static self, reason: &str) {
        for interpreter in self.all() {
            if self.visit(interpreter, |py| crate::events::process_stopping(py, interpreter, reason)).is_none() {
                let text = format!("WSGI0104: The stop could not be announced in the {}.", interpreter.label);
                self.setting.log(Level::Error, &text);
            }
        }
    }

    /// Ends the interpreters, as far as nobody is in them.
    fn destroy(&'static self) {
        let phrases = &self.setting.phrases;
        let workers: Vec<Arc<Record>> = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A thread that is inside an application must keep its states. Others can never attach again: `serve` sees
        // `stopping`.
        let idle = workers.iter().filter(|record| !record.busy.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let all = idle.len() == workers.len();
        let left_in = |index| Idle { states: idle.iter().filter_map(|record| record.surrender(index)).collect(), all };
        let mut ended = all;
        self.visits.end_for_good();
        let subordinate: Vec<_> = self.all().into_iter().skip(1).collect();
        if let Some(Some(keeper)) = self.keeper.get() {
            self.setting.log(Level::Info, &format!("Destroying Python sub-interpreters {}.", phrases.in_process));
            for interpreter in subordinate.into_iter().rev() {
                ended &= keeper.end(interpreter, left_in(interpreter.index));
            }
        }
        // Daemon threads of the application do not hinder the main interpreter's end, but they must not wake up in the
        // middle of a process that is still doing something else: Python ends them when they next want the GIL.
        if !ended {
            // The thread that started Python may be the busy one: its state is not this thread's to use.
            let _ = visit(self.main, |py| {
                if std::thread::current().id() != self.main_thread {
                    self.main.release_main_thread(py);
                }
                wind_up(py, self.main, &left_in(0))
            });
            return;
        }
        // SAFETY: the state of the thread that started Python, which has left it for good when this is another thread.
        unsafe { enter(self.main_state, |py| wind_up(py, self.main, &left_in(0))) };
        self.setting.log(Level::Info, &format!("Terminating Python runtime {}.", phrases.in_process));
        // SAFETY: as above; no other interpreter is left, and no thread of the engine attaches any more.
        unsafe {
            ffi::PyEval_RestoreThread(self.main_state.0);
            ffi::Py_FinalizeEx();
        }
        self.setting.log(Level::Info, &format!("Python runtime has shut down {}.", phrases.in_process));
    }
}
