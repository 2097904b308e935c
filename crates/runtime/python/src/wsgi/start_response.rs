//! `start_response` and `write`: built-in functions bound to a `mod_wsgi.Adapter`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::head::HOP_BY_HOP;

use crate::gateway::SendFailure;
use crate::object::{
    Object, Raise, Raised, bytes_of, full_type_name, is_none, none, os_error, raise, restore_parts, runtime_error,
    type_error,
};
use crate::slot::{
    Arguments, Methods, NO_MORE_METHODS, NativeType, entered, function, keyword_method, native_type, no_keywords,
    value_of,
};
use crate::wsgi::session::{NotSent, OwnedHead, Session, State};
use crate::wsgi::validate;

/// The value inside a `mod_wsgi.Adapter`.
pub(crate) struct Adapter(pub(crate) Arc<Session>);

static START_RESPONSE: Methods<2> = Methods([keyword_method(c"start_response", start_response_slot), NO_MORE_METHODS]);
static WRITE: Methods<2> = Methods([keyword_method(c"write", write_slot), NO_MORE_METHODS]);

/// Makes the type.
pub(crate) fn make<'py>(py: Python<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    native_type::<Adapter>(py, module, &NativeType { name: c"mod_wsgi.Adapter", slots: &[] })
}

/// `start_response` for an adapter object.
pub(crate) fn start_response<'py>(adapter: &Object<'py>) -> Raise<Object<'py>> {
    // SAFETY: the table is static, and its function expects an adapter.
    unsafe { function(adapter.py(), START_RESPONSE.pointer(), adapter, None) }
}

unsafe extern "C" fn start_response_slot(
    object: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the adapter that the function was bound to, and its arguments.
    unsafe {
        entered(|py| {
            no_keywords(py, "start_response", names)?;
            let arguments = Arguments::new("start_response", first, count);
            let session = &value_of::<Adapter>(object).0;
            started(py, session, &arguments)?;
            let adapter: Object<'_> = pyo3::Bound::from_borrowed_ptr(py, object);
            function(py, WRITE.pointer(), &adapter, None)
        })
    }
}

fn started(py: Python<'_>, session: &Session, arguments: &Arguments<'_>) -> Raise<()> {
    if session.state.borrow(py).finished {
        return Err(raise(py, runtime_error(), "start_response() called after request completed"));
    }
    arguments.between(py, 2, 3)?;
    let (Some(status), Some(headers)) = (arguments.get(py, 0), arguments.get(py, 1)) else {
        return Err(Raised);
    };
    // SAFETY: alive, attached.
    if unsafe { ffi::PyList_Check(headers.as_ptr()) } == 0 {
        let message = format!("start_response() argument 2 must be list, not {}", full_type_name(&headers));
        return Err(raise(py, type_error(), &message));
    }
    let exception = arguments.get(py, 2).filter(|exception| !is_none(exception));
    if let Some(exception) = &exception
        // SAFETY: alive, attached.
        && unsafe { ffi::PyTuple_Check(exception.as_ptr()) } == 0
    {
        let message = "start_response() argument 'exc_info' must be a 3-tuple or None";
        return Err(raise(py, runtime_error(), message));
    }
    if session.state.borrow(py).response.sent {
        return Err(match exception {
            Some(exception) => raise_again(py, &exception),
            None => raise(py, runtime_error(), "start_response() called more than once without exc_info"),
        });
    }
    crate::events::response_started(py, session, &status, &headers, exception.as_ref());

    // Validation may run code of the application, so the session's state is not borrowed meanwhile. A head that was
    // accepted before stands until another one is accepted.
    let mut head = {
        let mut state = session.state.borrow_mut(py);
        if state.response.started { OwnedHead::default() } else { std::mem::take(&mut state.response.head) }
    };
    let valid = fill(py, &mut head, status, &headers);
    let dropped = head.dropped;
    let mut state = session.state.borrow_mut(py);
    if valid.is_ok() || !state.response.started {
        state.response.started = valid.is_ok();
        state.response.head = head;
    }
    drop(state);
    if dropped != 0 {
        warn_of_dropped(py, session, dropped);
    }
    valid
}

/// Warns of header fields that only the server may set, once for each field and interpreter.
fn warn_of_dropped(py: Python<'_>, session: &Session, dropped: u16) {
    let known = session.interpreter.dropped_fields.fetch_or(dropped, Ordering::Relaxed);
    for (index, name) in HOP_BY_HOP.iter().enumerate() {
        if (dropped & !known) >> index & 1 == 1 {
            let message = format!(
                "WSGI0950: The field '{name}' of a response was dropped: it belongs to the connection, which the server \
                 manages. Remove it from the application or its middleware. Further responses with '{name}' are not logged."
            );
            session.log_line(py, Level::Warning, message.as_bytes(), None);
        }
    }
}

fn fill(py: Python<'_>, head: &mut OwnedHead, status: Object<'_>, headers: &Object<'_>) -> Raise<()> {
    let line = validate::Latin1::new(status)?;
    let number = validate::status(py, line.bytes())?;
    head.begin(number, line.bytes());
    validate::headers(headers, head)
}

/// Raises the exception of an `exc_info` tuple again.
fn raise_again(py: Python<'_>, exception: &Object<'_>) -> Raised {
    // SAFETY: a tuple, alive, attached; each part is counted before it is handed over.
    unsafe {
        let length = ffi::PyTuple_Size(exception.as_ptr());
        if length != 3 {
            let message = format!("function takes exactly 3 arguments ({length} given)");
            return raise(py, type_error(), &message);
        }
        let part = |index| ffi::PyTuple_GetItem(exception.as_ptr(), index);
        let (kind, value, traceback) = (part(0), part(1), part(2));
        if ffi::PyExceptionClass_Check(kind) == 0 {
            return raise(py, type_error(), "exceptions must derive from BaseException");
        }
        let traceback = if ffi::PyTraceBack_Check(traceback) != 0 { traceback } else { std::ptr::null_mut() };
        ffi::Py_INCREF(kind);
        ffi::Py_XINCREF(value);
        ffi::Py_XINCREF(traceback);
        restore_parts(kind, value, traceback);
    }
    Raised
}

unsafe extern "C" fn write_slot(
    object: *mut ffi::PyObject,
    first: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the adapter that the function was bound to, and its arguments.
    unsafe {
        entered(|py| {
            no_keywords(py, "write", names)?;
            let session = &value_of::<Adapter>(object).0;
            if session.state.borrow(py).finished {
                return Err(raise(py, runtime_error(), "write() called after request completed"));
            }
            let data = Arguments::new("write", first, count).only(py)?;
            let Some(block) = bytes_of(&data) else {
                let message = format!("write() argument must be bytes, not {}", full_type_name(&data));
                return Err(raise(py, type_error(), &message));
            };
            match output(py, session, block)? {
                Output::Sent | Output::Excess => Ok(none(py)),
                Output::Failed(failure) => Err(send_failure(py, &failure)),
            }
        })
    }
}

/// What became of a block of output.
pub(crate) enum Output {
    /// It is on its way, or there was nothing to send.
    Sent,
    /// It was more than the declared `Content-Length`: cut, and the rest is of no use.
    Excess,
    /// It could not be sent.
    Failed(SendFailure),
}

/// The exception for output that could not be sent, for callers of `write`.
fn send_failure(py: Python<'_>, failure: &SendFailure) -> Raised {
    match failure {
        SendFailure::ClientGone => raise(py, os_error(), "mod_wsgi client connection closed"),
        SendFailure::Failed(text) => raise(py, os_error(), &format!("mod_wsgi failed to write response data: {text}")),
    }
}

/// Takes the head for sending, which is due now: checks that there is one, and reads its `Content-Length`.
pub(crate) fn due_head(py: Python<'_>, state: &mut State) -> Raise<Option<OwnedHead>> {
    if state.response.sent {
        return Ok(None);
    }
    if !state.response.started {
        let message = "start_response() must be called before response content is produced";
        return Err(raise(py, runtime_error(), message));
    }
    let response = &mut state.response;
    response.length = validate::content_length(py, &response.head)?;
    let status = response.head.status;
    response.status = status;
    response.bodyless = state.is_head || status == 204 || status == 304;
    response.sent = true;
    Ok(Some(std::mem::take(&mut response.head)))
}

/// Cuts a block to what the declared length leaves, and counts it.
pub(crate) fn admit<'a>(state: &mut State, block: &'a [u8]) -> (&'a [u8], bool) {
    let response = &mut state.response;
    let before = response.generated;
    response.generated += block.len() as u64;
    match response.length {
        Some(length) if response.generated > length => {
            let room = usize::try_from(length.saturating_sub(before)).unwrap_or(usize::MAX);
            (&block[..room.min(block.len())], true)
        }
        _ => (block, false),
    }
}

/// Sends a block of the response. Empty blocks are skipped and do not trigger the headers.
pub(crate) fn output(py: Python<'_>, session: &Session, block: &[u8]) -> Raise<Output> {
    if block.is_empty() {
        return Ok(Output::Sent);
    }
    let (head, data, excess) = {
        let mut state = session.state.borrow_mut(py);
        if state.response.abandoned {
            return Ok(Output::Failed(SendFailure::ClientGone));
        }
        let head = due_head(py, &mut state)?;
        let (data, excess) = admit(&mut state, block);
        state.response.writes += 1;
        (head, data, excess)
    };
    if head.is_some() || !data.is_empty() {
        match session.send(py, head, data) {
            Ok(()) => {}
            Err(NotSent::Failure(failure)) => {
                session.state.borrow_mut(py).response.abandoned = true;
                return Ok(Output::Failed(failure));
            }
            Err(NotSent::Finished) => {
                return Err(raise(py, runtime_error(), "write() called after request completed"));
            }
        }
    }
    Ok(if excess { Output::Excess } else { Output::Sent })
}

/// Warns when a finished response is not as long as it said. True: it is too short, so the client waits for bytes that
/// will not come.
pub(crate) fn check_length(py: Python<'_>, session: &Session) -> bool {
    let (length, generated, bodyless) = {
        let response = &session.state.borrow(py).response;
        (response.length, response.generated, response.bodyless)
    };
    let Some(length) = length.filter(|length| *length != generated && !(bodyless && generated <= *length)) else {
        return false;
    };
    let script = String::from_utf8_lossy(&session.state.borrow(py).script).into_owned();
    let message = format!("Content length mismatch, expected {length}, response generated {generated}: {script}");
    session.log_line(py, Level::Warning, message.as_bytes(), None);
    generated < length && !bodyless
}
