//! The modules `mod_wsgi` and `apache` of an interpreter.

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::events::List;
use crate::interpreter::Interpreter;
use crate::log_handler;
use crate::metrics::{self, Meter};
use crate::object::{
    Object, Raise, Raised, append, attribute_error, from_sys, import, import_error, integer, latin1, list, list_item,
    list_length, matches, none, owned, put, raise, runtime_error, set, text, text_of,
};
use crate::slot::{Arguments, Methods, NO_MORE_METHODS, entered, method};
use crate::wsgi::environ::{COMPATIBLE_VERSION, server_version, version};
use crate::wsgi::session::current;

static FUNCTIONS: Methods<11> = Methods([
    method(c"subscribe_events", subscribe_events_slot),
    method(c"subscribe_shutdown", subscribe_shutdown_slot),
    method(c"subscribe_signals", subscribe_signals_slot),
    method(c"request_data", request_data_slot),
    method(c"start_recording_metrics", start_recording_metrics_slot),
    method(c"request_metrics", request_metrics_slot),
    method(c"process_metrics", process_metrics_slot),
    method(c"server_metrics", server_metrics_slot),
    method(c"__getattr__", getattr_slot),
    method(c"__dir__", dir_slot),
    NO_MORE_METHODS,
]);

/// Finds or makes the module `mod_wsgi`. The package of this name from PyPI is kept when it is there, so that its
/// submodules stay importable.
pub(crate) fn begin<'py>(py: Python<'py>, interpreter: &Interpreter) -> Raise<Object<'py>> {
    match import(py, c"mod_wsgi") {
        Ok(module) => {
            let text = "Imported existing 'mod_wsgi' Python extension module.";
            interpreter.setting.log_attached(py, Level::Info, text);
            Ok(module)
        }
        Err(raised) if matches(py, import_error()) => {
            raised.forget(py);
            fresh(py, c"mod_wsgi")
        }
        Err(raised) => Err(raised),
    }
}

/// A new module in `sys.modules`.
fn fresh<'py>(py: Python<'py>, name: &std::ffi::CStr) -> Raise<Object<'py>> {
    // SAFETY: attached; the name ends in NUL.
    let module = unsafe { owned(py, ffi::PyModule_New(name.as_ptr()))? };
    let modules = from_sys(py, c"modules")?;
    put(&modules, name, &module)?;
    Ok(module)
}

/// Fills the module `mod_wsgi`; gives the three lists of callbacks.
pub(crate) fn fill<'py>(
    py: Python<'py>,
    interpreter: &'static Interpreter,
    module: &Object<'py>,
    file_wrapper: &Object<'py>,
    timeout: &Object<'py>,
) -> Raise<[Object<'py>; 3]> {
    let config = &interpreter.setting.config;
    set(module, c"version", &version(py, &COMPATIBLE_VERSION)?)?;
    set(module, c"process_group", &latin1(py, &config.process_group)?)?;
    set(module, c"application_group", &latin1(py, &interpreter.group)?)?;
    set(module, c"maximum_processes", &integer(py, i64::from(config.maximum_processes))?)?;
    set(module, c"threads_per_process", &integer(py, i64::from(config.threads_per_process))?)?;
    set(module, c"FileWrapper", file_wrapper)?;
    set(module, c"RequestTimeout", timeout)?;
    let bound = capsule(py, interpreter)?;
    let name = text(py, "mod_wsgi")?;
    // SAFETY: the functions of the module expect the capsule.
    for function in unsafe { FUNCTIONS.bind(py, &bound, &name) } {
        let (name, function) = function?;
        set(module, name, &function)?;
    }
    let lists = [list(py)?, list(py)?, list(py)?];
    for (name, list) in [c"event_callbacks", c"shutdown_callbacks", c"signal_callbacks"].iter().zip(&lists) {
        set(module, name, list)?;
    }
    // The extension's own version, so that reports reach the right project.
    let ours = fresh(py, c"mod_wsgi_rs")?;
    set(&ours, c"version", &text(py, env!("CARGO_PKG_VERSION"))?)?;
    Ok(lists)
}

/// Makes the module `apache`. In embedded mode a module of that name that can be imported is augmented.
pub(crate) fn apache(py: Python<'_>, interpreter: &Interpreter) -> Raise<()> {
    let setting = interpreter.setting;
    let existing = if setting.embedded() {
        match import(py, c"apache") {
            Ok(module) => Some(module),
            Err(raised) if matches(py, import_error()) => {
                raised.forget(py);
                None
            }
            Err(raised) => return Err(raised),
        }
    } else {
        None
    };
    let module = match existing {
        Some(module) => module,
        None => fresh(py, c"apache")?,
    };
    let server = &setting.config.server;
    set(&module, c"version", &server_version(py, server)?)?;
    set(&module, c"description", &latin1(py, &server.description)?)?;
    set(&module, c"build_date", &latin1(py, &server.build_date)?)?;
    set(&module, c"mpm_name", &latin1(py, &server.mpm_name)?)?;
    set(&module, c"maximum_processes", &integer(py, i64::from(server.maximum_processes))?)?;
    set(&module, c"threads_per_process", &integer(py, i64::from(server.threads_per_process))?)
}

const CAPSULE: &std::ffi::CStr = c"mod_wsgi.interpreter";

pub(crate) fn capsule<'py>(py: Python<'py>, interpreter: &'static Interpreter) -> Raise<Object<'py>> {
    let pointer = std::ptr::from_ref(interpreter).cast_mut().cast();
    // SAFETY: attached; the pointer is not null and lives for ever, as does the name.
    unsafe { owned(py, ffi::PyCapsule_New(pointer, CAPSULE.as_ptr(), None)) }
}

/// The interpreter that a function of the module was made for.
///
/// # Safety
/// `bound` is what [`capsule`] made.
pub(crate) unsafe fn interpreter_of(bound: *mut ffi::PyObject) -> Raise<&'static Interpreter> {
    // SAFETY: promised by the caller.
    unsafe {
        let pointer = ffi::PyCapsule_GetPointer(bound, CAPSULE.as_ptr()).cast::<Interpreter>();
        pointer.as_ref().ok_or(Raised)
    }
}

/// A subscription: appends to the list in the module, which applications may also change themselves.
unsafe fn subscribe(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    function: &'static str,
    list: List,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            let interpreter = interpreter_of(bound)?;
            let callback = Arguments::new(function, first, count).only(py)?;
            if list == List::Signal && interpreter.setting.embedded() {
                let message = "mod_wsgi.subscribe_signals() called outside daemon mode; the callback will not be \
                               invoked. Signal callbacks are only delivered in daemon mode processes.";
                interpreter.setting.log_attached(py, Level::Info, message);
                crate::traceback::stack(py, interpreter, Level::Info);
                return Ok(callback);
            }
            let Some(callbacks) = list.present(py, interpreter)? else {
                let name = list.name().to_string_lossy();
                return Err(raise(py, runtime_error(), &format!("mod_wsgi {name} not initialised")));
            };
            if ffi::PyList_Check(callbacks.as_ptr()) == 0 {
                return Err(raise(py, runtime_error(), "Failed to register event subscriber"));
            }
            append(&callbacks, &callback)?;
            if list == List::Events {
                interpreter.observe(true);
            }
            Ok(callback)
        })
    }
}

unsafe extern "C" fn subscribe_events_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { subscribe(bound, first, count, "subscribe_events", List::Events) }
}

unsafe extern "C" fn subscribe_shutdown_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { subscribe(bound, first, count, "subscribe_shutdown", List::Shutdown) }
}

unsafe extern "C" fn subscribe_signals_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { subscribe(bound, first, count, "subscribe_signals", List::Signal) }
}

/// A function without arguments.
unsafe fn plain<'py>(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    name: &'static str,
    work: impl FnOnce(Python<'py>, &'static Interpreter) -> Raise<Object<'py>>,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            Arguments::new(name, first, count).between(py, 0, 0)?;
            work(py, interpreter_of(bound)?)
        })
    }
}

unsafe extern "C" fn request_data_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe {
        plain(bound, first, count, "request_data", |py, interpreter| match current(interpreter) {
            Some(session) => crate::events::request_data(py, &session),
            None => Err(raise(py, runtime_error(), "no active request for thread")),
        })
    }
}

unsafe extern "C" fn start_recording_metrics_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe {
        plain(bound, first, count, "start_recording_metrics", |py, interpreter| {
            let ledger = &interpreter.setting.ledger;
            if !ledger.recording() {
                ledger.start_recording();
                if let Some(session) = current(interpreter) {
                    let meter = &mut session.state.borrow_mut(py).meter;
                    if !meter.on {
                        *meter = Meter::running();
                    }
                }
            }
            Ok(none(py))
        })
    }
}

unsafe extern "C" fn request_metrics_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe {
        plain(bound, first, count, "request_metrics", |py, interpreter| {
            let setting = interpreter.setting;
            if setting.ledger.shows() { metrics::request_metrics(py, setting) } else { Ok(none(py)) }
        })
    }
}

unsafe extern "C" fn process_metrics_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe {
        plain(bound, first, count, "process_metrics", |py, interpreter| {
            let setting = interpreter.setting;
            if setting.ledger.shows() { metrics::process_metrics(py, setting) } else { Ok(none(py)) }
        })
    }
}

unsafe extern "C" fn server_metrics_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe {
        plain(bound, first, count, "server_metrics", |py, interpreter| {
            let setting = interpreter.setting;
            if !setting.config.server_metrics {
                return Ok(none(py));
            }
            // Another process may have to answer.
            match crate::thread::detached(py, || setting.process.scoreboard()) {
                Some(snapshot) => metrics::server_metrics(py, &snapshot),
                None => Ok(none(py)),
            }
        })
    }
}

/// What `__getattr__` makes when it is asked for.
const MADE_ON_DEMAND: [&str; 2] = ["LogHandler", "active_requests"];

/// The module's `__dir__`: also what is not made yet.
unsafe extern "C" fn dir_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe {
        plain(bound, first, count, "__dir__", |py, interpreter| {
            let names = list(py)?;
            let Some(parts) = interpreter.parts() else { return Ok(names) };
            let own = owned(py, ffi::PyDict_Keys(ffi::PyModule_GetDict(parts.module.as_ptr())))?;
            for index in 0..list_length(&own) {
                let name = list_item(&own, index)?;
                let hidden = text_of(&name)
                    .is_some_and(|name| name == "__getattr__" || name == "__dir__" || MADE_ON_DEMAND.contains(&&*name));
                if !hidden {
                    append(&names, &name)?;
                }
            }
            for name in MADE_ON_DEMAND {
                append(&names, &text(py, name)?)?;
            }
            Ok(names)
        })
    }
}

/// The module's `__getattr__`: what is made when it is asked for.
unsafe extern "C" fn getattr_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            let interpreter = interpreter_of(bound)?;
            let name = Arguments::new("__getattr__", first, count).only(py)?;
            let Some(name) = text_of(&name) else { return Err(Raised) };
            let bound: Object<'_> = pyo3::Bound::from_borrowed_ptr(py, bound);
            match name.as_str() {
                "LogHandler" => log_handler::make(py, interpreter, &bound),
                "active_requests" => interpreter.watch_requests(py),
                _ => {
                    let message = format!("module 'mod_wsgi' has no attribute '{name}'");
                    Err(raise(py, attribute_error(), &message))
                }
            }
        })
    }
}
