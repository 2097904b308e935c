//! `mod_wsgi.LogHandler`: records of Python's `logging` on their way to Apache's log.

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::interpreter::Interpreter;
use crate::module::interpreter_of;
use crate::object::{Object, Raise, call, dict, get, import, none, owned, path_of, put, set, text, text_of};
use crate::slot::{Arguments, Methods, NO_MORE_METHODS, entered, method, plain_method};
use crate::wsgi::session::current;

/// `LogHandler` in Python: a subclass of `logging.Handler`, made when somebody asks for it, so that `logging` is
/// imported only then.
const LOG_HANDLER: &str = include_str!("log_handler.py");

/// What the Python source calls.
static FUNCTIONS: Methods<5> = Methods([
    method(c"_logs", logs_slot),
    method(c"_log", log_slot),
    plain_method(c"_json", json_slot),
    method(c"_log_json", log_json_slot),
    NO_MORE_METHODS,
]);

/// Makes the class and puts it into the module `mod_wsgi`. `bound` is the module's capsule.
pub(crate) fn make<'py>(py: Python<'py>, interpreter: &Interpreter, bound: &Object<'py>) -> Raise<Object<'py>> {
    let builtins = import(py, c"builtins")?;
    let (file, mode) = (text(py, "<mod_wsgi>")?, text(py, "exec")?);
    let code = call(&get(&builtins, c"compile")?, &[&text(py, LOG_HANDLER)?, &file, &mode])?;
    let names = dict(py)?;
    put(&names, c"__builtins__", &builtins)?;
    put(&names, c"__name__", &text(py, "mod_wsgi")?)?;
    let module = text(py, "mod_wsgi")?;
    // SAFETY: the functions of the table expect the capsule.
    for function in unsafe { FUNCTIONS.bind(py, bound, &module) } {
        let (name, function) = function?;
        put(&names, name, &function)?;
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

/// Where a record comes from.
struct Origin {
    level: Level,
    file: Vec<u8>,
    number: u32,
}

impl Origin {
    /// Out of the arguments: the level is the first, file and line are the third and fourth.
    fn of(py: Python<'_>, arguments: &Arguments<'_>) -> Raise<Self> {
        Ok(Self {
            level: level_of(arguments.size(py, 0, 0)?),
            file: arguments.get(py, 2).and_then(|file| path_of(&file)).unwrap_or_default(),
            number: u32::try_from(arguments.size(py, 3, 0)?).unwrap_or(0),
        })
    }

    fn source(&self) -> Option<(&[u8], u32)> {
        (!self.file.is_empty()).then_some((self.file.as_slice(), self.number))
    }
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
            let origin = Origin::of(py, &arguments)?;
            let text = |index| arguments.get(py, index).and_then(|value| text_of(&value)).unwrap_or_default();
            let session = current(interpreter);
            let object = match &session {
                Some(session) => session.object(py, origin.level),
                None => interpreter.object(origin.level),
            };
            let object = object.text("logger", text(4).as_bytes()).text("message", text(1).as_bytes());
            let object = crate::json::source(object, origin.source()).some("exception", text(5).as_bytes()).finish();
            let record = crate::logging::object(origin.level, &object);
            match session {
                Some(session) => session.log(py, &record),
                None => interpreter.setting.write(py, &record),
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
            let origin = Origin::of(py, &arguments)?;
            let line = arguments.get(py, 1).and_then(|line| text_of(&line)).unwrap_or_default();
            match current(interpreter) {
                Some(session) => session.log_line(py, origin.level, line.as_bytes(), origin.source()),
                None => interpreter.log_line(py, origin.level, line.as_bytes(), origin.source()),
            }
            Ok(none(py))
        })
    }
}
