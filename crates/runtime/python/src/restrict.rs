//! `WSGIRestrictStdin` and `WSGIRestrictStdout`: an object that refuses everything, in the stream's place.

use pyo3::{Python, ffi};

use crate::object::{Object, Raise, os_error, raise};
use crate::slot::{NativeType, entered, instance, native_type, value_of};

/// The value inside a `mod_wsgi.Restricted`: the stream's name.
struct Restricted(&'static str);

/// Makes the type.
pub(crate) fn make<'py>(py: Python<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    let slots = [
        (ffi::Py_tp_getattro, getattr_slot as *mut std::ffi::c_void),
        (ffi::Py_tp_setattro, setattr_slot as *mut std::ffi::c_void),
    ];
    native_type::<Restricted>(py, module, &NativeType { name: c"mod_wsgi.Restricted", slots: &slots })
}

/// Makes the object in place of `name`, such as `sys.stdin`.
pub(crate) fn restricted<'py>(kind: &Object<'py>, name: &'static str) -> Raise<Object<'py>> {
    // SAFETY: `kind` was made by `make`.
    unsafe { instance(kind, Restricted(name)) }
}

unsafe extern "C" fn getattr_slot(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe { entered(|py| -> Raise<Object<'_>> { Err(refused(py, value_of::<Restricted>(object))) }) }
}

unsafe extern "C" fn setattr_slot(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> std::ffi::c_int {
    // SAFETY: CPython calls with an object of the type.
    unsafe { entered(|py| -> Raise<()> { Err(refused(py, value_of::<Restricted>(object))) }) }
}

fn refused(py: Python<'_>, stream: &Restricted) -> crate::object::Raised {
    raise(py, os_error(), &format!("{} access restricted by mod_wsgi", stream.0))
}
