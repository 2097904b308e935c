//! Exceptions on their way to the log.

use pyo3::Python;
use wsgi_protocol::abi::Level;

use crate::interpreter::Interpreter;
use crate::logging::record;
use crate::object::{
    Object, Raise, Raised, call_method, get, import, integer, is_none, list_item, list_length, none, shown,
    system_exit, text_of, type_name,
};
use crate::wsgi::session::Session;

/// Where something is logged: the request's log, or the process's.
#[derive(Clone, Copy)]
pub(crate) enum Destination<'a> {
    /// The log of this request.
    Request(&'a Session),
    /// The log of the process.
    Process(&'static Interpreter),
}

impl Destination<'_> {
    pub(crate) fn interpreter(&self) -> &'static Interpreter {
        match self {
            Self::Request(session) => session.interpreter,
            Self::Process(interpreter) => interpreter,
        }
    }

    /// Logs a line as it is.
    pub(crate) fn line(&self, py: Python<'_>, level: Level, text: &str) {
        match self {
            Self::Request(session) => session.log(py, &record(level, text.as_bytes(), None)),
            Self::Process(interpreter) => interpreter.setting.log_attached(py, level, text),
        }
    }

    /// Whether records of the application are JSON there.
    fn is_json(&self, py: Python<'_>) -> bool {
        match self {
            Self::Request(session) => session.is_json(py),
            Self::Process(interpreter) => interpreter.setting.config.json_log,
        }
    }

    /// Logs an exception as one JSON object: the header line, which begins with a code, and the traceback.
    fn object(&self, py: Python<'_>, header: &str, exception: &Object<'_>) {
        let object = match self {
            Self::Request(session) => session.object(py, Level::Error),
            Self::Process(interpreter) => interpreter.object(Level::Error),
        };
        let (code, message) = header.split_once(": ").unwrap_or(("", header));
        let trace = match formatted(py, exception) {
            Ok(trace) => trace,
            Err(raised) => {
                raised.forget(py);
                format!("{}: {}", type_name(exception), shown(exception))
            }
        };
        let object = object.text("code", code.as_bytes()).text("message", message.as_bytes());
        let object = object.text("exception", trace.trim_end().as_bytes()).finish();
        let record = crate::logging::object(Level::Error, &object);
        match self {
            Self::Request(session) => session.log(py, &record),
            Self::Process(interpreter) => interpreter.setting.write(py, &record),
        }
    }

    /// Logs a line, behind the `[script …]` prefix when it belongs to a request.
    pub(crate) fn prefixed(&self, py: Python<'_>, level: Level, text: &str) {
        match self {
            Self::Request(session) => session.log_line(py, level, text.as_bytes(), None),
            Self::Process(interpreter) => interpreter.setting.log_attached(py, level, text),
        }
    }
}

/// How an exception that ended a script was recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `mod_wsgi.RequestTimeout`, injected by interrupt-timeout. Not recorded here.
    RequestTimeout,
    /// Anything else.
    Other,
}

/// Takes the exception that is set and records it: header line (0174, 0175) and traceback.
pub(crate) fn report(py: Python<'_>, raised: Raised, to: Destination<'_>, script: &str) -> Kind {
    let Some(exception) = raised.take(py) else {
        return Kind::Other;
    };
    let interpreter = to.interpreter();
    if interpreter.is_timeout(&exception) {
        return Kind::RequestTimeout;
    }
    let where_ = format!("for {} {}", interpreter.label, interpreter.setting.phrases.of_process);
    let prefix = match to {
        Destination::Request(session) => {
            format!("[script {}] ", String::from_utf8_lossy(&session.state.borrow(py).script))
        }
        Destination::Process(_) => String::new(),
    };
    let header = if is_instance(&exception, system_exit()) {
        format!("WSGI0175: {prefix}SystemExit exception raised by WSGI script '{script}' {where_}; ignored.")
    } else {
        let name = type_name(&exception);
        format!(
            "WSGI0174: {prefix}{name} exception raised processing WSGI script '{script}' {where_}. \
             (Exception occurred processing WSGI script '{script}'.)"
        )
    };
    let json = to.is_json(py);
    if json {
        to.object(py, &header, &exception);
    } else {
        to.line(py, Level::Error, &header);
    }
    if let Destination::Request(session) = to
        && !session.aside
    {
        crate::events::request_exception(py, session, &exception);
    }
    if !json {
        trace(py, &exception, to);
    }
    Kind::Other
}

/// Whether an exception is of a kind.
pub(crate) fn is_instance(exception: &Object<'_>, kind: *mut pyo3::ffi::PyObject) -> bool {
    // SAFETY: alive, attached; `kind` is an exception type.
    unsafe { pyo3::ffi::PyErr_GivenExceptionMatches(exception.as_ptr(), kind) != 0 }
}

/// Logs an exception as Python shows it, a record per line, blank lines left out.
pub(crate) fn trace(py: Python<'_>, exception: &Object<'_>, to: Destination<'_>) {
    match formatted(py, exception) {
        Ok(text) => {
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                to.line(py, Level::Error, line);
            }
        }
        Err(raised) => {
            raised.forget(py);
            to.line(py, Level::Error, &format!("{}: {}", type_name(exception), shown(exception)));
        }
    }
}

fn formatted(py: Python<'_>, exception: &Object<'_>) -> Raise<String> {
    let module = import(py, c"traceback")?;
    // SAFETY: attached; a new reference or null, without an exception.
    let traceback =
        unsafe { pyo3::Bound::from_owned_ptr_or_opt(py, pyo3::ffi::PyException_GetTraceback(exception.as_ptr())) };
    let kind = get(exception, c"__class__")?;
    let traceback = traceback.unwrap_or_else(|| none(py));
    let lines = call_method(&module, c"format_exception", &[&kind, exception, &traceback])?;
    let mut text = String::new();
    for index in 0..list_length(&lines) {
        text.push_str(&text_of(&list_item(&lines, index)?).unwrap_or_default());
    }
    Ok(text)
}

/// Logs the Python stack of the calling thread at a level, as `traceback.print_stack` shows it.
pub(crate) fn stack(py: Python<'_>, interpreter: &'static Interpreter, level: Level) {
    if !interpreter.setting.process.logs(level) {
        return;
    }
    let lines = || -> Raise<Vec<String>> {
        let module = import(py, c"traceback")?;
        let entries = call_method(&module, c"format_stack", &[])?;
        (0..list_length(&entries)).map(|index| Ok(text_of(&list_item(&entries, index)?).unwrap_or_default())).collect()
    };
    match lines() {
        Ok(entries) => {
            for line in entries.iter().flat_map(|entry| entry.lines()).filter(|line| !line.trim().is_empty()) {
                interpreter.setting.log_attached(py, level, line);
            }
        }
        Err(raised) => raised.forget(py),
    }
}

/// Logs the stack of a frame and its callers, as the stack dumps of the timers show it.
pub(crate) fn frames(py: Python<'_>, interpreter: &Interpreter, level: Level, thread: &str, frame: Object<'_>) {
    let mut frame = frame;
    // Logged at the end, as other threads may run meanwhile and change the frames.
    let mut lines = Vec::new();
    // A bound, because a dump must end even when the stack is a runaway recursion.
    for _ in 0..200 {
        let part = || -> Raise<(String, i64, String, Object<'_>)> {
            let code = get(&frame, c"f_code")?;
            let file = shown(&get(&code, c"co_filename")?);
            let function = shown(&get(&code, c"co_name")?);
            let line = shown(&get(&frame, c"f_lineno")?).parse().unwrap_or(0);
            Ok((file, line, function, get(&frame, c"f_back")?))
        };
        let (file, line, function, back) = match part() {
            Ok(part) => part,
            Err(raised) => {
                raised.forget(py);
                break;
            }
        };
        lines.push(if lines.is_empty() {
            format!("Thread {thread} executing file \"{file}\", line {line}, in {function}")
        } else {
            format!("called from file \"{file}\", line {line}, in {function}")
        });
        if is_none(&back) {
            break;
        }
        frame = back;
    }
    for line in &lines {
        interpreter.setting.log_attached(py, level, line);
    }
}

/// `dict[number]` for a dict with integer keys.
pub(crate) fn by_number<'py>(dict: &Object<'py>, number: u64) -> Raise<Option<Object<'py>>> {
    let py = dict.py();
    let key = integer(py, i64::try_from(number).unwrap_or(i64::MAX))?;
    // SAFETY: alive, attached; borrowed or null, where null without an exception is "not there".
    unsafe {
        let value = pyo3::ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        if value.is_null() && !pyo3::ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        Ok(pyo3::Bound::from_borrowed_ptr_or_opt(py, value))
    }
}
