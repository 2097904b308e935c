//! The Python objects of one question. When a script keeps and changes none of them, they serve the next one: making
//! the text object of `wsgi.errors` costs more than the rest of a question.

use std::sync::Arc;

use pyo3::Python;
use wsgi_protocol::consult::Consultation;
use wsgi_protocol::request::JSON_LOG;

use super::ssl::Auth;
use crate::interpreter::Interpreter;
use crate::object::{Object, Raise, Raised, Stored};
use crate::slot::instance;
use crate::wsgi::environ::client;
use crate::wsgi::errors::{self, Log};
use crate::wsgi::session::Session;

/// See the module.
pub(crate) struct Aids {
    pub(super) session: Arc<Session>,
    auth: Stored,
    errors_buffer: Stored,
    errors: Stored,
}

impl Aids {
    /// Those for a question. `id` is the request's log id, where its records show it.
    pub(super) fn take(
        py: Python<'_>,
        interpreter: &'static Interpreter,
        asked: &Consultation<'_>,
        id: Vec<u8>,
    ) -> Raise<Self> {
        let reused = interpreter.aids.borrow_mut(py).pop();
        let aids = reused.map_or_else(|| Self::new(py, interpreter), Ok)?;
        let mut state = aids.session.state.borrow_mut(py);
        state.script.clear();
        state.script.extend_from_slice(asked.resource.or_empty());
        state.json = asked.facts.has(JSON_LOG);
        state.id = id;
        state.client.clear();
        state.client.extend_from_slice(client(&asked.facts).unwrap_or_default());
        state.errors_line.clear();
        state.finished = false;
        drop(state);
        Ok(aids)
    }

    fn new(py: Python<'_>, interpreter: &'static Interpreter) -> Raise<Self> {
        let Some(parts) = interpreter.parts() else { return Err(Raised) };
        let session = Session::aside(interpreter);
        // SAFETY: the type was made for this value.
        let auth = unsafe { instance(&parts.auth.get(py), Auth(Arc::clone(&session)))? };
        let log = Log::Request(Arc::clone(&session));
        let (buffer, stream) = errors::open(&parts.log.get(py), &parts.text_wrapper.get(py), log)?;
        let stored = Stored::new;
        Ok(Self { session, auth: stored(auth), errors_buffer: stored(buffer), errors: stored(stream) })
    }

    /// What `mod_ssl.…` of the environ belongs to.
    pub(super) fn auth<'py>(&self, py: Python<'py>) -> Object<'py> {
        self.auth.get(py)
    }

    /// `wsgi.errors`.
    pub(super) fn errors<'py>(&self, py: Python<'py>) -> Object<'py> {
        self.errors.get(py)
    }

    /// Keeps them for the next question, or gives up what the script has kept or changed.
    pub(super) fn leave(self, py: Python<'_>) {
        let reusable = cfg!(not(Py_GIL_DISABLED))
            && self.auth.references() == 1
            && self.errors.references() == 1
            // The text object holds it too.
            && self.errors_buffer.references() == 2
            && errors::is_as_made(py, &self.session, &self.errors);
        if reusable {
            self.session.interpreter.aids.borrow_mut(py).push(self);
        } else {
            self.release(py);
        }
    }

    /// Gives the objects up.
    pub(crate) fn release(self, py: Python<'_>) {
        for object in [self.auth, self.errors, self.errors_buffer] {
            object.release(py);
        }
    }
}
