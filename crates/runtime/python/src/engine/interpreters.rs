//! The interpreters of the process: made on first use, and visited by threads that do not serve.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use super::{Engine, Worker};
use crate::gateway::Gateway;
use crate::interpreter::Interpreter;
use crate::keeper::Keeper;
use crate::object::{call_method, import};
use crate::thread::visit;

/// Why there is no interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The cap was met.
    Full,
    /// It could not be made; the reason was logged.
    Failed,
}

impl Engine {
    /// The interpreter of an application group, made on first use. `own`: the configuration names the group; others are the
    /// choice of clients.
    pub(super) fn interpreter(
        &'static self,
        worker: &Worker,
        group: &[u8],
        own: bool,
    ) -> Result<&'static Interpreter, Refused> {
        if group.is_empty() {
            return Ok(self.main);
        }
        if let Some(known) = worker.known(group).or_else(|| self.existing(group)) {
            return Ok(known);
        }
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.existing(group) {
            return Ok(known);
        }
        let index = self.interpreters.read().unwrap_or_else(PoisonError::into_inner).len();
        if !self.has_room(index - 1, own) {
            return Err(Refused::Full);
        }
        let keeper = self.keeper.get_or_init(|| Keeper::start(self.setting, self.main));
        // Counted before it is there: while Python makes it, a fork would meet half of it.
        self.setting.sub_interpreters.store(index, Ordering::Relaxed);
        let Some(made) = keeper.as_ref().and_then(|keeper| keeper.make(index, group)) else {
            self.setting.sub_interpreters.store(index - 1, Ordering::Relaxed);
            return Err(Refused::Failed);
        };
        if own {
            self.own_groups.fetch_add(1, Ordering::Relaxed);
        }
        self.interpreters.write().unwrap_or_else(PoisonError::into_inner).push(made);
        self.setting.process.interpreters(index + 1);
        Ok(made)
    }

    /// Whether another sub-interpreter may be made beside so many. The groups of virtual hosts always find a place,
    /// whatever names clients have chosen before.
    fn has_room(&self, made: usize, own: bool) -> bool {
        let (cap, kept) = (self.setting.config.maximum_interpreters, self.setting.config.kept_interpreters);
        let made = u32::try_from(made).unwrap_or(u32::MAX);
        match (cap, own) {
            (0, _) => true,
            (_, true) => made < cap.max(kept),
            (_, false) => {
                let still_kept = kept.saturating_sub(self.own_groups.load(Ordering::Relaxed));
                made.saturating_add(still_kept) < cap
            }
        }
    }

    /// Says that the cap is met, once per process: what came is there to stay.
    pub(super) fn say_full(&self, group: &[u8], gateway: &mut dyn Gateway) {
        if self.full.swap(true, Ordering::Relaxed) {
            return;
        }
        let (name, cap) = (String::from_utf8_lossy(group), self.setting.config.maximum_interpreters);
        let text = format!(
            "WSGI0921: No sub-interpreter for application group '{name}': {cap} is the most that \
             WSGIMaximumInterpreters allows {}. Requests for further groups get status 503 without another line.",
            self.setting.phrases.in_process
        );
        gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
    }

    fn existing(&self, group: &[u8]) -> Option<&'static Interpreter> {
        let interpreters = self.interpreters.read().unwrap_or_else(PoisonError::into_inner);
        interpreters.iter().copied().find(|interpreter| interpreter.group == group)
    }

    /// All interpreters that were made, the main one first.
    pub(crate) fn all(&self) -> Vec<&'static Interpreter> {
        self.interpreters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `work` attached to an interpreter, on a thread that does not serve; `None` when that cannot be any more.
    pub(crate) fn visit<R>(
        &self,
        interpreter: &Interpreter,
        work: impl for<'py> FnOnce(Python<'py>) -> R,
    ) -> Option<R> {
        let _visit = self.visits.begin()?;
        visit(interpreter, work)
    }

    /// How long a thread may keep the GIL of the main interpreter, in seconds.
    pub(crate) fn switch_interval(&self) -> f64 {
        let asked = self.visit(self.main, |py| {
            let interval = import(py, c"sys").and_then(|sys| call_method(&sys, c"getswitchinterval", &[]));
            // SAFETY: alive, attached; not a number gives -1 and an exception that is not left behind.
            let seconds = interval.map(|interval| unsafe { ffi::PyFloat_AsDouble(interval.as_ptr()) });
            seconds.unwrap_or(-1.0)
        });
        asked.unwrap_or_default().max(0.0)
    }
}
