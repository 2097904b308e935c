//! The environ of a deciding script. It is made anew each time: these are few, and no two questions need be alike.

use std::sync::Arc;

use pyo3::{Python, ffi};
use wsgi_protocol::consult::{Consultation, Question};
use wsgi_protocol::keys;

use crate::object::{Object, Raise, Raised, dict, done, get, latin1, owned, put, text};
use crate::slot::instance;
use crate::wsgi::environ::{COMPATIBLE_VERSION, server_version, value, version};
use crate::wsgi::errors::{self, Log};
use crate::wsgi::session::Session;

use super::ssl::Auth;

/// The environ for a question.
pub(super) fn build<'py>(py: Python<'py>, session: &Arc<Session>, asked: &Consultation<'_>) -> Raise<Object<'py>> {
    let interpreter = session.interpreter;
    let Some(parts) = interpreter.parts() else { return Err(Raised) };
    let environ = dict(py)?;
    for entry in asked.facts.entries() {
        let name = match keys::name(entry.key) {
            Some(name) => text(py, name)?,
            None => latin1(py, entry.name.or_empty())?,
        };
        let value = value(py, entry)?;
        // SAFETY: alive, attached; an exact dict.
        done(unsafe { ffi::PyDict_SetItem(environ.as_ptr(), name.as_ptr(), value.as_ptr()) })?;
    }
    put(&environ, c"apache.version", &server_version(py, &interpreter.setting.config.server)?)?;
    put(&environ, c"mod_wsgi.version", &version(py, &COMPATIBLE_VERSION)?)?;
    put(&environ, c"mod_wsgi.process_group", &text(py, "")?)?;
    put(&environ, c"mod_wsgi.application_group", &latin1(py, &interpreter.group)?)?;
    let log = Log::Request(Arc::clone(session));
    let (_, stream) = errors::open(&parts.log.get(py), &parts.text_wrapper.get(py), log)?;
    put(&environ, c"wsgi.errors", &stream)?;
    if asked.question == Question::Dispatch {
        put(&environ, c"mod_wsgi.request_handler", &latin1(py, asked.facts.handler.or_empty())?)?;
        put(&environ, c"mod_wsgi.handler_script", &latin1(py, asked.facts.handler_script.or_empty())?)?;
    } else {
        // SAFETY: the type was made for this value.
        let auth = unsafe { instance(&parts.auth.get(py), Auth(Arc::clone(session)))? };
        put(&environ, c"mod_ssl.is_https", &get(&auth, c"ssl_is_https")?)?;
        put(&environ, c"mod_ssl.var_lookup", &get(&auth, c"ssl_var_lookup")?)?;
    }
    if !asked.facts.request_rec.is_null() {
        // SAFETY: attached; a capsule without a name and without a destructor around the host's pointer.
        let capsule = unsafe { owned(py, ffi::PyCapsule_New(asked.facts.request_rec, std::ptr::null(), None))? };
        put(&environ, c"apache.request_rec", &capsule)?;
    }
    Ok(environ)
}
