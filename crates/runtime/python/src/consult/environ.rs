//! The environ of a deciding script. It is made anew each time: these are few, and no two questions need be alike.

use pyo3::{Python, ffi};
use wsgi_protocol::consult::{Consultation, Question};
use wsgi_protocol::keys;

use super::aids::Aids;
use crate::object::{Object, Raise, dict, done, get, latin1, owned, put, text};
use crate::wsgi::environ::{COMPATIBLE_VERSION, server_version, value, version};

/// The environ for a question.
pub(super) fn build<'py>(py: Python<'py>, aids: &Aids, asked: &Consultation<'_>) -> Raise<Object<'py>> {
    let interpreter = aids.session.interpreter;
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
    put(&environ, c"wsgi.errors", &aids.errors(py))?;
    if asked.question == Question::Dispatch {
        put(&environ, c"mod_wsgi.request_handler", &latin1(py, asked.facts.handler.or_empty())?)?;
        put(&environ, c"mod_wsgi.handler_script", &latin1(py, asked.facts.handler_script.or_empty())?)?;
    } else {
        let auth = aids.auth(py);
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
