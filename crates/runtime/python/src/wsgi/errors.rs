//! `wsgi.errors`, `sys.stderr` and `sys.stdout`: an `io.TextIOWrapper` over a buffer that writes log records, one per
//! line. Lines begun and not ended wait for the rest, for a flush, or for the request's end.

use std::cell::RefCell;
use std::sync::Arc;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::interpreter::Interpreter;
use crate::object::{
    Object, Raise, Raised, Stored, boolean, call_keywords, dict, done, integer, none, os_error, owned, put, raise,
    runtime_error, text, tuple, type_error,
};
use crate::slot::{
    Arguments, Attributes, Methods, NO_MORE_ATTRIBUTES, NO_MORE_METHODS, NativeType, attribute, entered, instance,
    method, native_type, plain_method, value_of,
};
use crate::wsgi::session::{Session, current};

/// Where a log buffer writes.
pub(crate) enum Log {
    /// `wsgi.errors` of one request.
    Request(Arc<Session>),
    /// A standard stream: the log of the request that the writing thread serves, else the process's log.
    Stream(&'static Interpreter, Stream),
}

/// The standard streams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// `sys.stderr`
    Stderr = 0,
    /// `sys.stdout`
    Stdout = 1,
}

thread_local! {
    /// The lines that this thread has begun on `sys.stderr` and `sys.stdout`. Per thread, as lines of two requests
    /// must not run into each other.
    static BEGUN: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

static METHODS: Methods<10> = Methods([
    method(c"write", write_slot),
    method(c"writelines", writelines_slot),
    plain_method(c"flush", flush_slot),
    plain_method(c"close", close_slot),
    plain_method(c"isatty", no_slot),
    plain_method(c"fileno", fileno_slot),
    plain_method(c"readable", no_slot),
    plain_method(c"seekable", no_slot),
    plain_method(c"writable", yes_slot),
    NO_MORE_METHODS,
]);

static ATTRIBUTES: Attributes<5> = Attributes([
    attribute(c"name", name_slot),
    attribute(c"closed", closed_slot),
    attribute(c"encoding", encoding_slot),
    attribute(c"errors", errors_slot),
    NO_MORE_ATTRIBUTES,
]);

/// Makes the buffer's type.
pub(crate) fn make<'py>(py: Python<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    let slots = [(ffi::Py_tp_methods, METHODS.pointer().cast()), (ffi::Py_tp_getset, ATTRIBUTES.pointer())];
    native_type::<Log>(py, module, &NativeType { name: c"mod_wsgi.Log", slots: &slots })
}

/// Makes a buffer and the text object over it. `kind` is the type from [`make`], `wrapper` is `io.TextIOWrapper`.
pub(crate) fn open<'py>(kind: &Object<'py>, wrapper: &Object<'py>, log: Log) -> Raise<(Object<'py>, Object<'py>)> {
    let py = kind.py();
    // SAFETY: `kind` was made for `Log`.
    let buffer = unsafe { instance(kind, log)? };
    let keywords = dict(py)?;
    put(&keywords, c"encoding", &text(py, "utf-8")?)?;
    put(&keywords, c"errors", &text(py, "replace")?)?;
    put(&keywords, c"line_buffering", &boolean(py, true))?;
    put(&keywords, c"write_through", &boolean(py, true))?;
    let stream = call_keywords(wrapper, &tuple(py, std::slice::from_ref(&buffer))?, &keywords)?;
    Ok((buffer, stream))
}

/// Takes the line that this thread has begun on a stream.
fn take_begun(stream: Stream) -> Vec<u8> {
    BEGUN.try_with(|begun| std::mem::take(&mut begun.borrow_mut()[stream as usize])).unwrap_or_default()
}

/// Whether the text object of a request is surely what [`open`] made, so that it can be another request's. `reconfigure`
/// and `detach` flush it first, and what they change cannot all be seen; a line that was written flushes it as well, but
/// making another object costs less than logging one did.
pub(crate) fn is_as_made(py: Python<'_>, session: &Session, stream: &Stored) -> bool {
    !session.state.borrow(py).errors_flushed && !stream.has_attributes()
}

/// Logs the lines that this thread has begun on the standard streams: its request is over.
pub(crate) fn flush_streams(py: Python<'_>, interpreter: &'static Interpreter) {
    for stream in [Stream::Stderr, Stream::Stdout] {
        let begun = take_begun(stream);
        if !begun.is_empty() {
            emit_stream(py, interpreter, &begun);
        }
    }
}

/// Logs the line that a request has begun on `wsgi.errors`.
pub(crate) fn flush_request(py: Python<'_>, session: &Session) {
    let begun = std::mem::take(&mut session.state.borrow_mut(py).errors_line);
    if !begun.is_empty() {
        session.log_line(py, Level::Error, &begun, None);
    }
}

fn emit_stream(py: Python<'_>, interpreter: &'static Interpreter, line: &[u8]) {
    match current(interpreter) {
        Some(session) => session.log_line(py, Level::Error, line, None),
        None => interpreter.log_line(py, Level::Error, line, None),
    }
}

/// Takes the complete lines out of `begun` and `data`; what is left is in `begun`.
fn complete_lines(begun: &mut Vec<u8>, data: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = data.split(|byte| *byte == b'\n').peekable();
    let mut lines = Vec::new();
    while let Some(piece) = pieces.next() {
        begun.extend_from_slice(piece);
        if pieces.peek().is_some() {
            lines.push(std::mem::take(begun));
        }
    }
    lines
}

impl Log {
    fn write(&self, py: Python<'_>, data: &[u8], function: &str) -> Raise<()> {
        match self {
            Self::Request(session) => {
                let lines = {
                    let mut state = session.state.borrow_mut(py);
                    if state.finished {
                        drop(state);
                        return Err(after_end(py, function));
                    }
                    complete_lines(&mut state.errors_line, data)
                };
                for line in lines {
                    session.log_line(py, Level::Error, &line, None);
                }
            }
            Self::Stream(interpreter, stream) => {
                let lines = BEGUN.try_with(|begun| complete_lines(&mut begun.borrow_mut()[*stream as usize], data));
                // At the end of its thread there is nothing that a line could wait in.
                let lines = lines.unwrap_or_else(|_| complete_lines(&mut Vec::new(), data));
                for line in lines {
                    emit_stream(py, interpreter, &line);
                }
            }
        }
        Ok(())
    }

    fn flush(&self, py: Python<'_>) -> Raise<()> {
        match self {
            Self::Request(session) => {
                let finished = {
                    let mut state = session.state.borrow_mut(py);
                    state.errors_flushed = true;
                    state.finished && !state.errors_line.is_empty()
                };
                if finished {
                    return Err(after_end(py, "flush"));
                }
                flush_request(py, session);
            }
            Self::Stream(interpreter, stream) => {
                let begun = take_begun(*stream);
                if !begun.is_empty() {
                    emit_stream(py, interpreter, &begun);
                }
            }
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Request(session) if session.aside => "<log>",
            Self::Request(_) => "<wsgi.errors>",
            Self::Stream(_, Stream::Stderr) => "<stderr>",
            Self::Stream(_, Stream::Stdout) => "<stdout>",
        }
    }
}

fn after_end(py: Python<'_>, function: &str) -> Raised {
    raise(py, runtime_error(), &format!("{function}() called on wsgi.errors after request completed"))
}

/// Runs `work` on the bytes of a bytes-like object, or of a `str` after one warning.
fn with_bytes<R>(py: Python<'_>, value: &Object<'_>, work: impl FnOnce(&[u8]) -> Raise<R>) -> Raise<R> {
    // SAFETY: alive, attached; the buffer is released after use.
    unsafe {
        if ffi::PyUnicode_Check(value.as_ptr()) != 0 {
            let warning = c"writing str to the buffer of a mod_wsgi log object; write bytes, or write to the object";
            done(ffi::PyErr_WarnEx(crate::object::deprecation_warning(), warning.as_ptr(), 1))?;
            let encoded =
                owned(py, ffi::PyUnicode_AsEncodedString(value.as_ptr(), c"utf-8".as_ptr(), c"replace".as_ptr()))?;
            return work(crate::object::bytes_of(&encoded).unwrap_or_default());
        }
        let mut view = std::mem::zeroed::<ffi::Py_buffer>();
        done(ffi::PyObject_GetBuffer(value.as_ptr(), &raw mut view, ffi::PyBUF_SIMPLE))?;
        let length = usize::try_from(view.len).unwrap_or(0);
        let data =
            if length == 0 { Vec::new() } else { std::slice::from_raw_parts(view.buf.cast::<u8>(), length).to_vec() };
        ffi::PyBuffer_Release(&raw mut view);
        work(&data)
    }
}

unsafe extern "C" fn write_slot(
    object: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type and its arguments.
    unsafe {
        entered(|py| {
            let log = value_of::<Log>(object);
            let value = Arguments::new("write", first, count).only(py)?;
            let written = with_bytes(py, &value, |data| log.write(py, data, "write").map(|()| data.len()))?;
            integer(py, i64::try_from(written).unwrap_or(i64::MAX))
        })
    }
}

unsafe extern "C" fn writelines_slot(
    object: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type and its arguments.
    unsafe {
        entered(|py| {
            let log = value_of::<Log>(object);
            let lines = Arguments::new("writelines", first, count).only(py)?;
            let lines = match owned(py, ffi::PyObject_GetIter(lines.as_ptr())) {
                Ok(lines) => lines,
                Err(raised) => {
                    raised.forget(py);
                    let message = "writelines() argument must be an iterable of bytes-like objects";
                    return Err(raise(py, type_error(), message));
                }
            };
            while let Some(line) = pyo3::Bound::from_owned_ptr_or_opt(py, ffi::PyIter_Next(lines.as_ptr())) {
                with_bytes(py, &line, |data| log.write(py, data, "writelines"))?;
            }
            if ffi::PyErr_Occurred().is_null() { Ok(none(py)) } else { Err(Raised) }
        })
    }
}

unsafe extern "C" fn flush_slot(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe { entered(|py| value_of::<Log>(object).flush(py).map(|()| none(py))) }
}

/// Closing changes nothing: the log outlives every application.
unsafe extern "C" fn close_slot(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { entered(|py| Ok(none(py))) }
}

unsafe extern "C" fn no_slot(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { entered(|py| Ok(boolean(py, false))) }
}

unsafe extern "C" fn yes_slot(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { entered(|py| Ok(boolean(py, true))) }
}

/// Descriptor 2 of the process leads to a log as well: C code may write there, `faulthandler` above all. Nothing else has a
/// descriptor, as what is written there would miss the log of its request.
unsafe extern "C" fn fileno_slot(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| match value_of::<Log>(object) {
            Log::Stream(_, Stream::Stderr) => integer(py, i64::from(libc::STDERR_FILENO)),
            _ => Err(raise(py, os_error(), "wsgi.errors log object has no file descriptor")),
        })
    }
}

unsafe extern "C" fn name_slot(object: *mut ffi::PyObject, _: *mut std::ffi::c_void) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe { entered(|py| text(py, value_of::<Log>(object).name())) }
}

unsafe extern "C" fn closed_slot(_: *mut ffi::PyObject, _: *mut std::ffi::c_void) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { entered(|py| Ok(boolean(py, false))) }
}

unsafe extern "C" fn encoding_slot(_: *mut ffi::PyObject, _: *mut std::ffi::c_void) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { entered(|py| text(py, "utf-8")) }
}

unsafe extern "C" fn errors_slot(_: *mut ffi::PyObject, _: *mut std::ffi::c_void) -> *mut ffi::PyObject {
    // SAFETY: called by CPython.
    unsafe { entered(|py| text(py, "replace")) }
}

#[cfg(test)]
mod tests {
    use super::complete_lines;

    #[test]
    fn lines_are_put_together() {
        let mut begun = Vec::new();
        assert!(complete_lines(&mut begun, b"part").is_empty());
        assert_eq!(complete_lines(&mut begun, b"ial\n\nnext"), [b"partial".to_vec(), Vec::new()]);
        assert_eq!(begun, b"next");
        assert_eq!(complete_lines(&mut begun, b"\n"), [b"next".to_vec()]);
        assert!(begun.is_empty());
    }
}
