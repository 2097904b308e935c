//! The modules `mod_wsgi` and `apache` of an interpreter.

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::events::List;
use crate::interpreter::Interpreter;
use crate::metrics::{self, Meter};
use crate::object::{
    Object, Raise, Raised, append, attribute_error, call, dict, done, find, from_sys, get, import, import_error,
    integer, latin1, list, list_length, matches, none, owned, path_of, put, raise, runtime_error, set, text, text_of,
};
use crate::slot::{Arguments, Methods, NO_MORE_METHODS, entered, function, method, plain_method};
use crate::wsgi::environ::{COMPATIBLE_VERSION, server_version, version};
use crate::wsgi::session::current;

/// `LogHandler` in Python: a subclass of `logging.Handler`, made when somebody asks for it, so that `logging` is
/// imported only then.
const LOG_HANDLER: &str = include_str!("log_handler.py");

static FUNCTIONS: Methods<15> = Methods([
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
    method(c"_logs", logs_slot),
    method(c"_log", log_slot),
    plain_method(c"_json", json_slot),
    method(c"_log_json", log_json_slot),
    NO_MORE_METHODS,
]);

/// Functions that only `log_handler.py` gets.
const PRIVATE: [&std::ffi::CStr; 4] = [c"_logs", c"_log", c"_json", c"_log_json"];

/// Finds or makes the module `mod_wsgi`. The package of this name from PyPI is kept when it is there, so that its
/// submodules stay importable.
pub(crate) fn begin<'py>(py: Python<'py>, interpreter: &Interpreter) -> Raise<Object<'py>> {
    match import(py, c"mod_wsgi") {
        Ok(module) => {
            let text = "Imported existing 'mod_wsgi' Python extension module.";
            interpreter.setting.log(Level::Info, text);
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
    for index in 0..FUNCTIONS.0.len() - 1 {
        // SAFETY: the static table's entries have names.
        let entry_name = unsafe { std::ffi::CStr::from_ptr(FUNCTIONS.0[index].ml_name) };
        if !PRIVATE.contains(&entry_name) {
            set(module, entry_name, &entry(py, index, &bound, &name)?)?;
        }
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

fn entry<'py>(py: Python<'py>, index: usize, bound: &Object<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    // SAFETY: an entry of the static table; its function expects the capsule.
    unsafe { function(py, FUNCTIONS.pointer().add(index), bound, Some(module)) }
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
            let arguments = Arguments::new(function, first, count);
            arguments.between(py, 1, 1)?;
            let Some(callback) = arguments.get(py, 0) else { return Err(Raised) };
            if list == List::Signal && interpreter.setting.embedded() {
                let message = "mod_wsgi.subscribe_signals() called outside daemon mode; the callback will not be \
                               invoked. Signal callbacks are only delivered in daemon mode processes.";
                interpreter.setting.log(Level::Info, message);
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
            for name in strings(&own) {
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
            let arguments = Arguments::new("__getattr__", first, count);
            arguments.between(py, 1, 1)?;
            let Some(name) = arguments.get(py, 0).and_then(|name| text_of(&name)) else { return Err(Raised) };
            let bound: Object<'_> = pyo3::Bound::from_borrowed_ptr(py, bound);
            match name.as_str() {
                "LogHandler" => log_handler(py, interpreter, &bound),
                "active_requests" => interpreter.watch_requests(py),
                _ => {
                    let message = format!("module 'mod_wsgi' has no attribute '{name}'");
                    Err(raise(py, attribute_error(), &message))
                }
            }
        })
    }
}

fn log_handler<'py>(py: Python<'py>, interpreter: &Interpreter, bound: &Object<'py>) -> Raise<Object<'py>> {
    let builtins = import(py, c"builtins")?;
    let (file, mode) = (text(py, "<mod_wsgi>")?, text(py, "exec")?);
    let code = call(&get(&builtins, c"compile")?, &[&text(py, LOG_HANDLER)?, &file, &mode])?;
    let names = dict(py)?;
    put(&names, c"__builtins__", &builtins)?;
    put(&names, c"__name__", &text(py, "mod_wsgi")?)?;
    let module = text(py, "mod_wsgi")?;
    for index in 0..FUNCTIONS.0.len() - 1 {
        // SAFETY: the static table's entries have names.
        let name = unsafe { std::ffi::CStr::from_ptr(FUNCTIONS.0[index].ml_name) };
        if PRIVATE.contains(&name) {
            put(&names, name, &entry(py, index, bound, &module)?)?;
        }
    }
    // SAFETY: alive, attached; borrowed or null.
    let handler = unsafe {
        owned(py, ffi::PyEval_EvalCode(code.as_ptr(), names.as_ptr(), names.as_ptr()))?;
        crate::object::borrowed(py, ffi::PyDict_GetItemString(names.as_ptr(), c"LogHandler".as_ptr()))?
    };
    let Some(parts) = interpreter.parts() else { return Ok(handler) };
    set(&parts.module.get(py), c"LogHandler", &handler)?;
    Ok(handler)
}

fn level_of(number: i64) -> Level {
    Level::from_number(u8::try_from(number).unwrap_or(u8::MAX))
}

unsafe extern "C" fn logs_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            let interpreter = interpreter_of(bound)?;
            let level = level_of(Arguments::new("_logs", first, count).size(py, 0, 0)?);
            let logs = match current(interpreter) {
                Some(session) => session.logs(py, level),
                None => interpreter.setting.process.logs(level),
            };
            Ok(crate::object::boolean(py, logs))
        })
    }
}

/// `_json()`: whether records are JSON here.
unsafe extern "C" fn json_slot(bound: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule.
    unsafe {
        entered(|py| {
            let interpreter = interpreter_of(bound)?;
            let json = match current(interpreter) {
                Some(session) => session.is_json(py),
                None => interpreter.setting.config.json_log,
            };
            Ok(crate::object::boolean(py, json))
        })
    }
}

/// `_log_json(level, message, file, number, logger, exception)`
unsafe extern "C" fn log_json_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            let interpreter = interpreter_of(bound)?;
            let arguments = Arguments::new("_log_json", first, count);
            arguments.between(py, 6, 6)?;
            let level = level_of(arguments.size(py, 0, 0)?);
            let text = |index| arguments.get(py, index).and_then(|value| text_of(&value)).unwrap_or_default();
            let file = arguments.get(py, 2).and_then(|file| path_of(&file)).unwrap_or_default();
            let number = u32::try_from(arguments.size(py, 3, 0)?).unwrap_or(0);
            let source = (!file.is_empty()).then_some((file.as_slice(), number));
            let session = current(interpreter);
            let object = match &session {
                Some(session) => session.object(py, level),
                None => interpreter.object(level),
            };
            let object = object.text("logger", text(4).as_bytes()).text("message", text(1).as_bytes());
            let object = crate::json::source(object, source).some("exception", text(5).as_bytes()).finish();
            let record = crate::logging::object(level, &object);
            match session {
                Some(session) => session.log(py, &record),
                None => interpreter.setting.process.log(&record),
            }
            Ok(none(py))
        })
    }
}

/// `_log(level, line, file, number)`
unsafe extern "C" fn log_slot(
    bound: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the bound capsule and the arguments.
    unsafe {
        entered(|py| {
            let interpreter = interpreter_of(bound)?;
            let arguments = Arguments::new("_log", first, count);
            arguments.between(py, 4, 4)?;
            let level = level_of(arguments.size(py, 0, 0)?);
            let line = arguments.get(py, 1).and_then(|line| text_of(&line)).unwrap_or_default();
            let file = arguments.get(py, 2).and_then(|file| path_of(&file)).unwrap_or_default();
            let number = u32::try_from(arguments.size(py, 3, 0)?).unwrap_or(0);
            let source = (!file.is_empty()).then_some((file.as_slice(), number));
            match current(interpreter) {
                Some(session) => session.log_line(py, level, line.as_bytes(), source),
                None => interpreter.log_line(level, line.as_bytes(), source),
            }
            Ok(none(py))
        })
    }
}

/// Applies `python-path`: each entry through `site.addsitedir`, so that its `.pth` files count, then everything that
/// was added moves to the front in the configured order. `home` stands before all of it.
pub(crate) fn search_path(py: Python<'_>, interpreter: &Interpreter) -> Raise<()> {
    let setting = interpreter.setting;
    let scopes = setting.config.scopes.iter();
    let scoped =
        scopes.filter(|scope| scope.application_group.as_ref().is_none_or(|group| *group == interpreter.group));
    // One after the other, so that the entries of a more specific block stand before those of a less specific one.
    for entries in [&setting.config.path].into_iter().chain(scoped.map(|scope| &scope.path)) {
        if !entries.is_empty() {
            add_site_folders(py, interpreter, entries)?;
        }
    }
    if let Some(home) = &setting.config.working_directory {
        let path = from_sys(py, c"path")?;
        let home = crate::object::filesystem(py, home)?;
        // SAFETY: alive, attached; the index is within the list.
        done(unsafe { ffi::PyList_Insert(path.as_ptr(), 0, home.as_ptr()) })?;
    }
    Ok(())
}

fn add_site_folders(py: Python<'_>, interpreter: &Interpreter, entries: &[Vec<u8>]) -> Raise<()> {
    let setting = interpreter.setting;
    let logged = |raised: Raised, code: &str, what: &str| {
        setting.log(Level::Error, &format!("WSGI{code}: {what}"));
        if let Some(exception) = raised.take(py) {
            let message = format!("{}: {}", crate::object::type_name(&exception), crate::object::shown(&exception));
            setting.log(Level::Error, &message);
        }
    };
    let site = match import(py, c"site") {
        Ok(site) => site,
        Err(raised) => {
            logged(raised, "0095", "Unable to import Python module 'site'; the module search path is not extended.");
            return Ok(());
        }
    };
    let add = match find(&site, c"addsitedir") {
        Ok(Some(add)) => add,
        Ok(None) | Err(_) => {
            logged(Raised, "0094", "Unable to locate 'site.addsitedir'; the module search path is not extended.");
            return Ok(());
        }
    };
    let path = from_sys(py, c"path")?;
    let before = strings(&path);
    for entry in entries {
        let shown = String::from_utf8_lossy(entry);
        let process = &setting.phrases.process;
        setting.log(Level::Info, &format!("Adding '{shown}' to Python module search path for {process}."));
        let folder = crate::object::filesystem(py, entry)?;
        if let Err(raised) = call(&add, &[&folder]) {
            logged(raised, "0091", &format!("Call to 'site.addsitedir()' failed for '{shown}'."));
            break;
        }
    }
    // `site` appends; what it appended goes to the front. A folder that was there before moves as well when it is one of
    // the entries themselves.
    let mut added = Vec::new();
    let mut kept = Vec::new();
    for item in strings(&path) {
        let bytes = path_of(&item).unwrap_or_default();
        let listed = before.iter().any(|old| path_of(old).unwrap_or_default() == bytes);
        let own = entries.iter().any(|entry| **entry == bytes);
        if own || !listed { added.push(item) } else { kept.push(item) }
    }
    let reordered = list(py)?;
    for item in added.iter().chain(&kept) {
        append(&reordered, item)?;
    }
    // SAFETY: alive, attached; replaces the list's whole content.
    done(unsafe { ffi::PyList_SetSlice(path.as_ptr(), 0, crate::object::size(list_length(&path)), reordered.as_ptr()) })
}

fn strings<'py>(list: &Object<'py>) -> Vec<Object<'py>> {
    (0..list_length(list)).filter_map(|index| crate::object::list_item(list, index).ok()).collect()
}
