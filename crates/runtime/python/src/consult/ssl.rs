//! `mod_ssl.is_https()` and `mod_ssl.var_lookup(name)` of a deciding script's environ. They end with the call.

use std::sync::Arc;

use pyo3::{Python, ffi};

use crate::object::{
    Object, Raise, Raised, bytes_of, full_type_name, integer, latin1, none, owned, raise, runtime_error, type_error,
};
use crate::slot::{
    Arguments, Methods, NO_MORE_METHODS, NativeType, entered, method, native_type, plain_method, value_of,
};
use crate::wsgi::session::Session;

/// The request that a script may ask about.
pub(crate) struct Auth(pub(crate) Arc<Session>);

static METHODS: Methods<3> = Methods([
    plain_method(c"ssl_is_https", is_https_slot),
    method(c"ssl_var_lookup", var_lookup_slot),
    NO_MORE_METHODS,
]);

/// Makes the type.
pub(crate) fn make<'py>(py: Python<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    let slots = [(ffi::Py_tp_methods, METHODS.pointer().cast())];
    native_type::<Auth>(py, module, &NativeType { name: c"mod_wsgi.Auth", slots: &slots })
}

impl Auth {
    fn expired(&self, py: Python<'_>) -> Raise<()> {
        if self.0.state.borrow(py).finished { Err(Self::refusal(py)) } else { Ok(()) }
    }

    fn refusal(py: Python<'_>) -> Raised {
        raise(py, runtime_error(), "request object has expired")
    }
}

unsafe extern "C" fn is_https_slot(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            let auth = value_of::<Auth>(object);
            auth.expired(py)?;
            match auth.0.quick(py, |gateway| gateway.is_https()) {
                Some(encrypted) => integer(py, i64::from(encrypted)),
                None => Err(Auth::refusal(py)),
            }
        })
    }
}

unsafe extern "C" fn var_lookup_slot(
    object: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type and its arguments.
    unsafe {
        entered(|py| {
            let auth = value_of::<Auth>(object);
            auth.expired(py)?;
            let name = variable_name(py, &Arguments::new("ssl_var_lookup", first, count).only(py)?)?;
            match auth.0.quick(py, |gateway| gateway.ssl_variable(&name)) {
                Some(Some(value)) => latin1(py, &value),
                Some(None) => Ok(none(py)),
                None => Err(Auth::refusal(py)),
            }
        })
    }
}

fn variable_name(py: Python<'_>, name: &Object<'_>) -> Raise<Vec<u8>> {
    if let Some(bytes) = bytes_of(name) {
        return Ok(bytes.to_vec());
    }
    // SAFETY: alive, attached.
    if unsafe { ffi::PyUnicode_Check(name.as_ptr()) } == 0 {
        let text = format!("byte string value expected, value of type {} found", full_type_name(name));
        return Err(raise(py, type_error(), &text));
    }
    // SAFETY: a str, alive, attached.
    let encoded = unsafe { owned(py, ffi::PyUnicode_AsLatin1String(name.as_ptr())) };
    match encoded {
        Ok(encoded) => Ok(bytes_of(&encoded).unwrap_or_default().to_vec()),
        Err(raised) => {
            raised.forget(py);
            let text = "byte string value expected, value containing non 'latin-1' characters found";
            Err(raise(py, type_error(), text))
        }
    }
}
