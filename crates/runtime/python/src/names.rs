//! The events of requests: their names and keys, made once per interpreter, and how one is handed to a callback.
//!
//! A callback gets an event as keyword arguments. The keys are always the same, so the values go there from an array, with
//! a tuple of the keys that all calls share: a dict is made only when a callback has something to merge into the event.

use pyo3::{Python, ffi};

use crate::object::{Object, Raise, Stored, borrowed, dict, done, interned, is_none, owned, tuple};
use crate::slot::c_text;

/// What `request_started` has, in the order in which callbacks see it.
const STARTED: &[&str] = &[
    "request_id",
    "thread_id",
    "daemon_connects",
    "daemon_restarts",
    "server_pid",
    "request_start",
    "queue_start",
    "daemon_start",
    "application_object",
    "callable_object",
    "request_environ",
    "application_start",
    "request_data",
];

/// What `response_started` has.
const RESPONSE: &[&str] = &["request_id", "response_status", "response_headers", "exception_info", "request_data"];

/// What `request_exception` has.
const EXCEPTION: &[&str] = &["request_id", "exception_info", "request_data"];

/// What `request_finished` has.
const FINISHED: &[&str] = &[
    "request_id",
    "thread_id",
    "server_pid",
    "request_start",
    "queue_start",
    "daemon_start",
    "input_reads",
    "input_length",
    "input_time",
    "output_length",
    "output_writes",
    "output_time",
    "cpu_user_time",
    "cpu_system_time",
    "cpu_time",
    "application_finish",
    "application_time",
    "status",
    "gil_wait_time",
    "gil_wait_count",
    "request_data",
];

/// The most keys that an event has.
const MOST: usize = FINISHED.len();

/// An event of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Started,
    Response,
    Exception,
    Finished,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Started, Self::Response, Self::Exception, Self::Finished];

    /// The event's name.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Started => "request_started",
            Self::Response => "response_started",
            Self::Exception => "request_exception",
            Self::Finished => "request_finished",
        }
    }

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Started => STARTED,
            Self::Response => RESPONSE,
            Self::Exception => EXCEPTION,
            Self::Finished => FINISHED,
        }
    }

    /// A key's place in the event, found when the program is compiled: `const { Kind::Started.place("request_id") }`.
    ///
    /// # Panics
    /// While compiling, when the event has no such key.
    pub(crate) const fn place(self, key: &str) -> Place {
        let keys = self.keys();
        let key = key.as_bytes();
        let mut index = 0;
        while index < keys.len() {
            let known = keys[index].as_bytes();
            let mut at = 0;
            while at < key.len() && at < known.len() && known[at] == key[at] {
                at += 1;
            }
            if at == key.len() && at == known.len() {
                return Place { kind: self, index };
            }
            index += 1;
        }
        panic!("the event has no such key")
    }
}

/// The place of a key in an event.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    kind: Kind,
    index: usize,
}

/// The names of one event.
struct Named {
    name: Stored,
    /// A tuple of the keys.
    keys: Stored,
}

/// The names in one interpreter.
pub(crate) struct Names([Named; 4]);

impl Names {
    /// Makes them.
    pub(crate) fn new(py: Python<'_>) -> Raise<Self> {
        let named = |kind: Kind| -> Raise<Named> {
            let keys = kind.keys().iter().map(|key| interned(py, &c_text(key))).collect::<Raise<Vec<_>>>()?;
            Ok(Named { name: Stored::new(interned(py, &c_text(kind.text()))?), keys: Stored::new(tuple(py, &keys)?) })
        };
        let [started, response, exception, finished] = Kind::ALL.map(named);
        Ok(Self([started?, response?, exception?, finished?]))
    }

    /// A new event. Its values are `None` until they are given.
    pub(crate) fn event<'py>(&self, py: Python<'py>, kind: Kind) -> Event<'_, 'py> {
        // SAFETY: attached. `None` lives as long as Python; the slots only borrow it.
        let nothing = unsafe { ffi::Py_None() };
        let named = &self.0[kind as usize];
        let mut slots = [nothing; MOST + 2];
        slots[NAME] = named.name.as_ptr();
        Event { py, kind, named, slots, merged: None }
    }
}

/// The slot of the event's name. The one before is the callee's to use (`PY_VECTORCALL_ARGUMENTS_OFFSET`), those after are
/// the values in the order of the keys.
const NAME: usize = 1;

/// An event being made, and then handed to one callback after the other.
pub(crate) struct Event<'a, 'py> {
    py: Python<'py>,
    kind: Kind,
    named: &'a Named,
    /// The arguments of a call. Values are owned, unless they are `None`; the name is borrowed from `named`.
    slots: [*mut ffi::PyObject; MOST + 2],
    /// The event as a dict, since a callback had something to add.
    merged: Option<Object<'py>>,
}

impl<'py> Event<'_, 'py> {
    /// Gives a key its value, before anybody is called.
    pub(crate) fn put(&mut self, place: Place, value: Object<'py>) {
        debug_assert!(place.kind == self.kind, "a place in another event");
        if is_none(&value) {
            return;
        }
        let slot = &mut self.slots[NAME + 1 + place.index];
        debug_assert!(std::ptr::eq(*slot, crate::object::none(self.py).as_ptr()), "given once");
        *slot = value.into_ptr();
    }

    /// `callback(name, **event)`
    pub(crate) fn tell(&mut self, callback: &Object<'py>) -> Raise<Object<'py>> {
        let arguments = self.slots[NAME..].as_ptr();
        let one = 1 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let callback = callback.as_ptr();
        // SAFETY: attached; name and values are alive during the call, there are as many values as keys, and the slot
        // before the arguments may be overwritten; keys are an exact tuple of `str`, the merged event an exact dict.
        unsafe {
            let answer = match &self.merged {
                None => ffi::PyObject_Vectorcall(callback, arguments, one, self.named.keys.as_ptr()),
                Some(merged) => ffi::PyObject_VectorcallDict(callback, arguments, one, merged.as_ptr()),
            };
            owned(self.py, answer)
        }
    }

    /// Merges what a callback returned, when that is a dict.
    pub(crate) fn merge(&mut self, answer: &Object<'py>) -> Raise<()> {
        // SAFETY: alive, attached.
        if unsafe { ffi::PyDict_Check(answer.as_ptr()) } == 0 {
            return Ok(());
        }
        let merged = match &self.merged {
            Some(merged) => merged.clone(),
            None => {
                let merged = self.as_dict()?;
                self.merged = Some(merged.clone());
                merged
            }
        };
        // SAFETY: both are dicts, alive, attached.
        done(unsafe { ffi::PyDict_Update(merged.as_ptr(), answer.as_ptr()) })
    }

    fn as_dict(&self) -> Raise<Object<'py>> {
        let event = dict(self.py)?;
        for (index, value) in self.slots[NAME + 1..].iter().take(self.kind.keys().len()).enumerate() {
            // SAFETY: all are alive, attached; an exact dict, and a tuple that has as many items.
            unsafe {
                let key = ffi::PyTuple_GetItem(self.named.keys.as_ptr(), crate::object::size(index));
                done(ffi::PyDict_SetItem(event.as_ptr(), key, *value))?;
            }
        }
        Ok(event)
    }

    /// A value as the callbacks have left it.
    pub(crate) fn value(&self, place: Place) -> Raise<Object<'py>> {
        debug_assert!(place.kind == self.kind, "a place in another event");
        // SAFETY: all are alive, attached; an exact dict that has every key, and a tuple that has as many items.
        unsafe {
            match &self.merged {
                None => borrowed(self.py, self.slots[NAME + 1 + place.index]),
                Some(merged) => {
                    let key = ffi::PyTuple_GetItem(self.named.keys.as_ptr(), crate::object::size(place.index));
                    borrowed(self.py, ffi::PyDict_GetItemWithError(merged.as_ptr(), key))
                }
            }
        }
    }
}

impl Drop for Event<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: attached; `put` has stored owned references, and nothing where `None` is.
        unsafe {
            let nothing = ffi::Py_None();
            for value in &self.slots[NAME + 1..] {
                if *value != nothing {
                    ffi::Py_DECREF(*value);
                }
            }
        }
    }
}
