//! The names of events and of their keys, interned once per interpreter: an event is made by replacing the values of a
//! copied template, which costs a third of inserting its keys.

use pyo3::{Python, ffi};

use crate::object::{Object, Raise, Stored, dict, done, interned, none, owned};
use crate::slot::c_text;

/// All names, in no order.
const NAMES: &[&str] = &[
    "request_started",
    "response_started",
    "request_exception",
    "request_finished",
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
    "response_status",
    "response_headers",
    "exception_info",
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
    "event_callbacks",
];

/// The place of a name in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(usize);

/// A name that is known when the program is compiled: `const { name("request_id") }`.
///
/// # Panics
/// While compiling, when the name is not in the table.
pub(crate) const fn name(text: &str) -> Name {
    let text = text.as_bytes();
    let mut index = 0;
    while index < NAMES.len() {
        let known = NAMES[index].as_bytes();
        let mut at = 0;
        while at < text.len() && at < known.len() && known[at] == text[at] {
            at += 1;
        }
        if at == text.len() && at == known.len() {
            return Name(index);
        }
        index += 1;
    }
    panic!("not a known name")
}

/// What `request_started` has, in the order in which callbacks see it.
const STARTED: &[Name] = &[
    name("request_id"),
    name("thread_id"),
    name("daemon_connects"),
    name("daemon_restarts"),
    name("server_pid"),
    name("request_start"),
    name("queue_start"),
    name("daemon_start"),
    name("application_object"),
    name("callable_object"),
    name("request_environ"),
    name("application_start"),
    name("request_data"),
];

/// What `response_started` has.
const RESPONSE: &[Name] = &[
    name("request_id"),
    name("response_status"),
    name("response_headers"),
    name("exception_info"),
    name("request_data"),
];

/// What `request_exception` has.
const EXCEPTION: &[Name] = &[name("request_id"), name("exception_info"), name("request_data")];

/// What `request_finished` has.
const FINISHED: &[Name] = &[
    name("request_id"),
    name("thread_id"),
    name("server_pid"),
    name("request_start"),
    name("queue_start"),
    name("daemon_start"),
    name("input_reads"),
    name("input_length"),
    name("input_time"),
    name("output_length"),
    name("output_writes"),
    name("output_time"),
    name("cpu_user_time"),
    name("cpu_system_time"),
    name("cpu_time"),
    name("application_finish"),
    name("application_time"),
    name("status"),
    name("gil_wait_time"),
    name("gil_wait_count"),
    name("request_data"),
];

/// An event of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Started,
    Response,
    Exception,
    Finished,
}

impl Kind {
    /// The event's name.
    pub(crate) const fn name(self) -> Name {
        match self {
            Self::Started => const { name("request_started") },
            Self::Response => const { name("response_started") },
            Self::Exception => const { name("request_exception") },
            Self::Finished => const { name("request_finished") },
        }
    }

    /// [`Kind::name`] as text.
    pub(crate) const fn text(self) -> &'static str {
        NAMES[self.name().0]
    }

    const fn keys(self) -> &'static [Name] {
        match self {
            Self::Started => STARTED,
            Self::Response => RESPONSE,
            Self::Exception => EXCEPTION,
            Self::Finished => FINISHED,
        }
    }
}

/// The names in one interpreter.
pub(crate) struct Names {
    names: Vec<Stored>,
    templates: [Stored; 4],
}

impl Names {
    /// Makes them.
    pub(crate) fn new(py: Python<'_>) -> Raise<Self> {
        let names: Vec<Stored> =
            NAMES.iter().map(|text| interned(py, &c_text(text)).map(Stored::new)).collect::<Raise<_>>()?;
        let template = |kind: Kind| -> Raise<Stored> {
            let template = dict(py)?;
            for key in kind.keys() {
                // SAFETY: all are alive, attached.
                done(unsafe { ffi::PyDict_SetItem(template.as_ptr(), names[key.0].as_ptr(), none(py).as_ptr()) })?;
            }
            Ok(Stored::new(template))
        };
        let templates = [
            template(Kind::Started)?,
            template(Kind::Response)?,
            template(Kind::Exception)?,
            template(Kind::Finished)?,
        ];
        Ok(Self { names, templates })
    }

    /// The `str`, borrowed.
    pub(crate) fn pointer(&self, name: Name) -> *mut ffi::PyObject {
        self.names[name.0].as_ptr()
    }

    /// A new event with all its keys, to be given values.
    pub(crate) fn event<'py>(&self, py: Python<'py>, kind: Kind) -> Raise<Event<'_, 'py>> {
        // SAFETY: an exact dict, alive, attached.
        let event = unsafe { owned(py, ffi::PyDict_Copy(self.templates[kind as usize].as_ptr()))? };
        Ok(Event { names: self, event })
    }
}

/// An event being made.
pub(crate) struct Event<'a, 'py> {
    names: &'a Names,
    pub(crate) event: Object<'py>,
}

impl Event<'_, '_> {
    /// Gives a key its value.
    pub(crate) fn put(&self, name: Name, value: &Object<'_>) -> Raise<()> {
        // SAFETY: all are alive, attached; an exact dict.
        done(unsafe { ffi::PyDict_SetItem(self.event.as_ptr(), self.names.pointer(name), value.as_ptr()) })
    }
}
