//! `WSGIRestrictSignal`: registrations of signal handlers are logged and ignored, because Apache or the daemon manages
//! the process's signals.
//!
//! The function in `_signal` is replaced, which `signal.signal` calls: so the `signal` module (and `enum`, which it
//! drags along) is imported only by those who want it.

use std::sync::atomic::Ordering;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::interpreter::Interpreter;
use crate::object::{
    Object, Raise, Raised, borrowed, call, call_method, dict, get, import, integer, owned, put, set, text,
};
use crate::slot::{Arguments, NativeType, entered, instance, native_type, value_of};

/// The value inside a `mod_wsgi.SignalIntercept`.
struct Intercept {
    interpreter: &'static Interpreter,
    original: crate::object::Stored,
}

/// Puts the intercept in place.
pub(crate) fn intercept<'py>(py: Python<'py>, interpreter: &'static Interpreter, module: &Object<'py>) -> Raise<()> {
    let slots = [(ffi::Py_tp_call, call_slot as *mut std::ffi::c_void)];
    let kind = native_type::<Intercept>(py, module, &NativeType { name: c"mod_wsgi.SignalIntercept", slots: &slots })?;
    let signal = import(py, c"_signal")?;
    let original = crate::object::Stored::new(get(&signal, c"signal")?);
    // SAFETY: `kind` was just made for `Intercept`.
    let intercept = unsafe { instance(&kind, Intercept { interpreter, original })? };
    set(&signal, c"signal", &intercept)
}

/// A service process ends its script by an exception: SIGTERM, and what else asks a process to leave, raises `SystemExit`
/// on the main thread.
pub(crate) fn leave_on_terminate(py: Python<'_>) -> Raise<()> {
    let names = dict(py)?;
    let builtins = import(py, c"builtins")?;
    put(&names, c"__builtins__", &builtins)?;
    let source = text(py, "def leave(*_):\n    raise SystemExit\n")?;
    let code = call(&get(&builtins, c"compile")?, &[&source, &text(py, "<mod_wsgi>")?, &text(py, "exec")?])?;
    // SAFETY: alive, attached; the evaluation defines the name that is asked for next.
    let leave = unsafe {
        owned(py, ffi::PyEval_EvalCode(code.as_ptr(), names.as_ptr(), names.as_ptr()))?;
        borrowed(py, ffi::PyDict_GetItemString(names.as_ptr(), c"leave".as_ptr()))?
    };
    let signal = import(py, c"_signal")?;
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGXCPU] {
        call_method(&signal, c"signal", &[&integer(py, i64::from(number))?, &leave])?;
    }
    Ok(())
}

unsafe extern "C" fn call_slot(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type, a tuple, and a dict or null.
    unsafe {
        entered(|py| {
            let intercept = value_of::<Intercept>(object);
            let setting = intercept.interpreter.setting;
            // A child that the application forked is its own.
            if std::process::id() != setting.pid.load(Ordering::Relaxed) {
                return crate::object::owned(py, ffi::PyObject_Call(intercept.original.as_ptr(), arguments, keywords));
            }
            let count = ffi::PyTuple_Size(arguments);
            let values: Vec<_> = (0..count).map(|index| ffi::PyTuple_GetItem(arguments, index)).collect();
            let positional = Arguments::new("signal", values.as_ptr(), count);
            positional.between(py, 2, 2)?;
            let (Some(number), Some(handler)) = (positional.get(py, 0), positional.get(py, 1)) else {
                return Err(Raised);
            };
            let number = signal_number(&number)?;
            let message = format!(
                "Ignoring Python signal handler registration for signal {number} in WSGI process; \
                 mod_wsgi manages signals."
            );
            setting.log_attached(py, Level::Info, &message);
            crate::traceback::stack(py, intercept.interpreter, Level::Info);
            Ok(handler)
        })
    }
}

fn signal_number(value: &Object<'_>) -> Raise<i64> {
    let int = get(&import(value.py(), c"builtins")?, c"int")?;
    let number = call(&int, &[value])?;
    // SAFETY: alive, attached.
    unsafe {
        let number = ffi::PyLong_AsLongLong(number.as_ptr());
        if number == -1 && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(number) }
    }
}
