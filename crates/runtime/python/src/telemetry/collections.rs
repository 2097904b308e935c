//! What Python's garbage collector does, per interpreter.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::{Python, ffi};

use super::packet::Packet;
use crate::interpreter::Interpreter;
use crate::metrics::float;
use crate::object::{
    Raise, append, borrowed, call_method, get, import, item, list_item, list_length, none, number_of, size, text_of,
};
use crate::slot::{Arguments, Methods, NO_MORE_METHODS, entered, function, method};
use crate::wsgi::adapter::now;
use crate::wsgi::environ::seconds;

/// The most collections that wait for a report.
const MOST_WAITING: usize = 256;

/// One collection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collection {
    /// Microseconds since the epoch.
    begun: i64,
    /// Microseconds.
    duration: u64,
    generation: u64,
    collected: u64,
    uncollectable: u64,
}

impl Collection {
    /// Writes the record.
    pub(super) fn write(&self, packet: &mut Packet) {
        packet.number(320, seconds(self.begun));
        packet.number(321, float(self.duration) / 1e6);
        packet.count(322, self.generation);
        packet.count(323, self.collected);
        packet.count(324, self.uncollectable);
    }
}

#[derive(Default)]
struct Waiting {
    begun: Option<(i64, Instant)>,
    ended: Vec<Collection>,
    dropped: u64,
}

/// The collections of an interpreter that were not reported yet.
#[derive(Default)]
pub(crate) struct Collections(Mutex<Waiting>);

impl Collections {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Never held over anything that may wait.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        self.waiting().begun = Some((now(), Instant::now()));
    }

    fn end(&self, generation: u64, collected: u64, uncollectable: u64) {
        let mut waiting = self.waiting();
        let Some((begun, at)) = waiting.begun.take() else { return };
        if waiting.ended.len() >= MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        let duration = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
        waiting.ended.push(Collection { begun, duration, generation, collected, uncollectable });
    }

    /// Forgets all.
    pub(crate) fn forget(&self) {
        *self.waiting() = Waiting::default();
    }

    /// Takes them, with the number of those that were lost so far.
    pub(super) fn take(&self) -> (Vec<Collection>, u64) {
        let mut waiting = self.waiting();
        (std::mem::take(&mut waiting.ended), waiting.dropped)
    }
}

static CALLBACK: Methods<2> = Methods([method(c"collected", collected_slot), NO_MORE_METHODS]);

/// Listens to the collector of the interpreter.
pub(crate) fn watch(py: Python<'_>, interpreter: &'static Interpreter) -> Raise<()> {
    let bound = crate::module::capsule(py, interpreter)?;
    // SAFETY: the table is static, and its function expects the capsule.
    let callback = unsafe { function(py, CALLBACK.pointer(), &bound, None)? };
    append(&get(&import(py, c"gc")?, c"callbacks")?, &callback)
}

unsafe extern "C" fn collected_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            let interpreter = crate::module::interpreter_of(bound)?;
            let arguments = Arguments::new("collected", first, count);
            arguments.between(py, 2, 2)?;
            let phase = arguments.get(py, 0).and_then(|phase| text_of(&phase)).unwrap_or_default();
            if phase == "start" {
                interpreter.collections.begin();
            } else if let Some(information) = arguments.get(py, 1) {
                let number = |key| item(&information, key).map(|value| number_of(&value));
                interpreter.collections.end(number(c"generation")?, number(c"collected")?, number(c"uncollectable")?);
            }
            Ok(none(py))
        })
    }
}

/// Writes the state of the collector. Attached to the interpreter.
pub(super) fn snapshot(py: Python<'_>, dropped: u64, packet: &mut Packet) -> Raise<()> {
    let gc = import(py, c"gc")?;
    let triple = |packet: &mut Packet, name, first: u16| -> Raise<()> {
        let values = call_method(&gc, name, &[])?;
        for index in 0..3u16 {
            // SAFETY: alive, attached; not a tuple, or shorter, is an error of Python.
            let value = unsafe { borrowed(py, ffi::PyTuple_GetItem(values.as_ptr(), size(usize::from(index))))? };
            packet.count(first + index, number_of(&value));
        }
        Ok(())
    };
    triple(packet, c"get_count", 300)?;
    triple(packet, c"get_threshold", 303)?;
    let stats = call_method(&gc, c"get_stats", &[])?;
    for (key, first) in [(c"collections", 306u16), (c"collected", 309), (c"uncollectable", 312)] {
        for index in 0..list_length(&stats).min(3) {
            let value = item(&list_item(&stats, index)?, key)?;
            packet.count(first + u16::try_from(index).unwrap_or(0), number_of(&value));
        }
    }
    let enabled = call_method(&gc, c"isenabled", &[])?;
    packet.count(315, number_of(&enabled));
    packet.count(316, number_of(&call_method(&gc, c"get_freeze_count", &[])?));
    packet.count(317, dropped);
    Ok(())
}
