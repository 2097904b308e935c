//! `wsgi.input`: the type `mod_wsgi.Input`.

use std::sync::Arc;

use pyo3::{Python, ffi};

use crate::gateway::ReadFailure;
use crate::metrics::Io;
use crate::object::{Object, Raise, Raised, append, bytes, list, none, os_error, owned, raise, runtime_error, size};
use crate::slot::{
    Arguments, Methods, NO_MORE_METHODS, NativeType, entered, method, native_type, plain_method, value_of,
};
use crate::wsgi::session::Session;

/// How much is read at once when lines are wanted or the body's length is unknown.
const CHUNK: usize = 16 * 1024;

/// The most bytes that are set aside before the first of them has arrived.
const FIRST_ALLOCATION: usize = 1024 * 1024;

/// What was read of a request's body.
#[derive(Default)]
pub(crate) struct Body {
    /// Bytes read beyond what was asked for (lines), from `start`.
    buffer: Vec<u8>,
    start: usize,
    /// The body's end was reached.
    pub(crate) ended: bool,
    /// Reading failed: it is not tried again.
    failed: bool,
    /// A thread is reading right now.
    busy: bool,
    /// How many bytes are still to come, when that is known.
    pub(crate) remaining: Option<u64>,
    /// Reads of the gateway.
    pub(crate) reads: u64,
    /// Bytes that came.
    pub(crate) length: u64,
}

impl Body {
    /// For a new request; keeps the buffer's memory.
    pub(crate) fn begin(&mut self, content_length: i64) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let remaining = u64::try_from(content_length).ok();
        *self = Self { buffer, remaining, ended: remaining == Some(0), ..Self::default() };
    }
}

/// The value inside a `mod_wsgi.Input`.
pub(crate) struct Input(pub(crate) Arc<Session>);

static METHODS: Methods<5> = Methods([
    method(c"read", read_slot),
    method(c"readline", readline_slot),
    method(c"readlines", readlines_slot),
    plain_method(c"close", close_slot),
    NO_MORE_METHODS,
]);

/// Makes the type.
pub(crate) fn make<'py>(py: Python<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    let slots = [
        (ffi::Py_tp_methods, METHODS.pointer().cast()),
        (ffi::Py_tp_iter, iter_slot as *mut std::ffi::c_void),
        (ffi::Py_tp_iternext, next_slot as *mut std::ffi::c_void),
    ];
    native_type::<Input>(py, module, &NativeType { name: c"mod_wsgi.Input", slots: &slots })
}

/// A reading of so many bytes; without an argument the number is -1.
///
/// # Safety
/// `object` is a live `mod_wsgi.Input`, for as long as what is returned.
unsafe fn begun<'a, 'py>(
    py: Python<'py>,
    object: *mut ffi::PyObject,
    arguments: Arguments<'_>,
) -> Raise<(Reading<'a, 'py>, i64)> {
    arguments.between(py, 0, 1)?;
    let size = arguments.size(py, 0, -1)?;
    // SAFETY: promised by the caller.
    let session = unsafe { &value_of::<Input>(object).0 };
    Ok((Reading::begin(py, session, arguments.function())?, size))
}

unsafe extern "C" fn read_slot(
    object: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type and its arguments.
    unsafe {
        entered(|py| {
            let (reading, limit) = begun(py, object, Arguments::new("read", first, count))?;
            reading.read(usize::try_from(limit).ok())
        })
    }
}

unsafe extern "C" fn readline_slot(
    object: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type and its arguments.
    unsafe {
        entered(|py| {
            let (reading, limit) = begun(py, object, Arguments::new("readline", first, count))?;
            reading.line(usize::try_from(limit).ok())
        })
    }
}

unsafe extern "C" fn readlines_slot(
    object: *mut ffi::PyObject,
    first: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type and its arguments.
    unsafe {
        entered(|py| {
            let (reading, hint) = begun(py, object, Arguments::new("readlines", first, count))?;
            let lines = list(py)?;
            let mut total = 0;
            loop {
                let line = reading.line(None)?;
                let length = crate::object::bytes_of(&line).map_or(0, <[u8]>::len);
                if length == 0 {
                    return Ok(lines);
                }
                append(&lines, &line)?;
                total += i64::try_from(length).unwrap_or(i64::MAX);
                if hint > 0 && total >= hint {
                    return Ok(lines);
                }
            }
        })
    }
}

unsafe extern "C" fn close_slot(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            let session = &value_of::<Input>(object).0;
            if session.state.borrow(py).finished {
                return Err(raise(py, runtime_error(), "close() called on wsgi.input after request completed"));
            }
            Ok(none(py))
        })
    }
}

unsafe extern "C" fn iter_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            if value_of::<Input>(object).0.state.borrow(py).finished {
                return Err(after_end(py));
            }
            Ok(pyo3::Bound::from_borrowed_ptr(py, object))
        })
    }
}

unsafe extern "C" fn next_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            let session = &value_of::<Input>(object).0;
            if session.state.borrow(py).finished {
                return Err(after_end(py));
            }
            let line = Reading::begin(py, session, "readline")?.line(None)?;
            let empty = crate::object::bytes_of(&line).is_none_or(<[u8]>::is_empty);
            Ok(if empty { None } else { Some(line) })
        })
    }
}

fn after_end(py: Python<'_>) -> Raised {
    raise(py, runtime_error(), "iteration of wsgi.input attempted after request completed")
}

/// One call that reads. While it lasts, no other thread reads the same body.
struct Reading<'a, 'py> {
    py: Python<'py>,
    session: &'a Session,
}

impl Drop for Reading<'_, '_> {
    fn drop(&mut self) {
        self.session.state.borrow_mut(self.py).body.busy = false;
    }
}

impl<'a, 'py> Reading<'a, 'py> {
    fn begin(py: Python<'py>, session: &'a Session, method: &str) -> Raise<Self> {
        let mut state = session.state.borrow_mut(py);
        let refusal = if state.finished {
            Some((runtime_error(), format!("{method}() called on wsgi.input after request completed")))
        } else if state.body.failed {
            let text = "mod_wsgi request data read error: input is already in error state";
            Some((os_error(), text.to_owned()))
        } else if state.body.busy {
            Some((runtime_error(), format!("{method}() called on wsgi.input while another thread reads it")))
        } else {
            state.body.busy = true;
            None
        };
        drop(state);
        match refusal {
            Some((kind, message)) => Err(raise(py, kind, &message)),
            None => Ok(Self { py, session }),
        }
    }

    /// Reads from the gateway; 0 is the end.
    fn pull(&self, into: &mut [u8]) -> Raise<usize> {
        if self.session.state.borrow(self.py).body.ended {
            return Ok(0);
        }
        let outcome = self.session.released(self.py, Io::Input, |gateway| gateway.read_body(into));
        let mut state = self.session.state.borrow_mut(self.py);
        let body = &mut state.body;
        match outcome {
            Some(Ok(count)) => {
                body.reads += 1;
                body.length += count as u64;
                if let Some(remaining) = &mut body.remaining {
                    *remaining = remaining.saturating_sub(count as u64);
                }
                body.ended = count == 0 && !into.is_empty();
                Ok(count)
            }
            Some(Err(ReadFailure(text))) => {
                body.failed = true;
                drop(state);
                Err(raise(self.py, os_error(), &format!("mod_wsgi request data read error: {text}")))
            }
            None => {
                drop(state);
                Err(raise(self.py, runtime_error(), "read() called on wsgi.input after request completed"))
            }
        }
    }

    /// Bytes that were read before and not asked for, at most `limit`.
    fn buffered(&self, limit: usize) -> Vec<u8> {
        let mut state = self.session.state.borrow_mut(self.py);
        let body = &mut state.body;
        let available = &body.buffer[body.start..];
        let taken = available[..available.len().min(limit)].to_vec();
        body.start += taken.len();
        if body.start == body.buffer.len() {
            body.buffer.clear();
            body.start = 0;
        }
        taken
    }

    /// `read`: `None` is all.
    fn read(&self, limit: Option<usize>) -> Raise<Object<'py>> {
        let limit = limit.unwrap_or(isize::MAX as usize);
        if limit == 0 {
            self.pull(&mut [])?;
            return bytes(self.py, b"");
        }
        let before = self.buffered(limit);
        if before.len() == limit {
            return bytes(self.py, &before);
        }
        let (ended, remaining) = {
            let state = self.session.state.borrow(self.py);
            (state.body.ended, state.body.remaining)
        };
        if ended {
            return bytes(self.py, &before);
        }
        // What is known to come is read straight into the result; an unknown rest lets the result grow.
        let expected = remaining.map_or(CHUNK, |remaining| usize::try_from(remaining).unwrap_or(usize::MAX));
        let capacity = before.len().saturating_add(expected.min(FIRST_ALLOCATION)).clamp(1, limit);
        let mut result = Growing::new(self.py, capacity)?;
        result.rest()[..before.len()].copy_from_slice(&before);
        result.filled = before.len();
        while result.filled < limit {
            if result.rest().is_empty() {
                result.grow(limit)?;
            }
            match self.pull(result.rest())? {
                0 => break,
                count => result.filled += count,
            }
            if self.session.state.borrow(self.py).body.remaining == Some(0) {
                // The body is complete: asking again would only find its end.
                self.session.state.borrow_mut(self.py).body.ended = true;
                break;
            }
        }
        result.finish()
    }

    /// `readline`: `None` is without a limit.
    fn line(&self, limit: Option<usize>) -> Raise<Object<'py>> {
        let limit = limit.unwrap_or(isize::MAX as usize);
        let mut searched = 0;
        loop {
            {
                let mut state = self.session.state.borrow_mut(self.py);
                let body = &mut state.body;
                let available = &body.buffer[body.start..];
                let window = &available[..available.len().min(limit)];
                let newline = find_newline(&window[searched.min(window.len())..]).map(|at| at + searched + 1);
                let complete = newline.or_else(|| (window.len() == limit || body.ended).then_some(window.len()));
                if let Some(length) = complete {
                    let line = bytes(self.py, &window[..length]);
                    body.start += length;
                    if body.start == body.buffer.len() {
                        body.buffer.clear();
                        body.start = 0;
                    }
                    return line;
                }
                searched = window.len();
            }
            self.more()?;
        }
    }

    /// Reads a chunk into the buffer.
    fn more(&self) -> Raise<()> {
        let mut buffer = {
            let mut state = self.session.state.borrow_mut(self.py);
            let body = &mut state.body;
            let start = std::mem::take(&mut body.start);
            body.buffer.drain(..start);
            std::mem::take(&mut body.buffer)
        };
        let kept = buffer.len();
        buffer.resize(kept + CHUNK, 0);
        let outcome = self.pull(&mut buffer[kept..]);
        buffer.truncate(kept + outcome.as_ref().copied().unwrap_or(0));
        let mut state = self.session.state.borrow_mut(self.py);
        state.body.buffer = buffer;
        if state.body.remaining == Some(0) {
            state.body.ended = true;
        }
        outcome.map(|_| ())
    }
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    // SAFETY: readable for its length; the result is null or inside.
    let found = unsafe { libc::memchr(bytes.as_ptr().cast(), i32::from(b'\n'), bytes.len()) };
    (!found.is_null()).then(|| found as usize - bytes.as_ptr() as usize)
}

unsafe extern "C" {
    /// Documented C API that pyo3-ffi leaves out.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> std::ffi::c_int;
}

/// A `bytes` object that nobody else has seen yet, being filled.
struct Growing<'py> {
    py: Python<'py>,
    object: *mut ffi::PyObject,
    capacity: usize,
    filled: usize,
}

impl<'py> Growing<'py> {
    fn new(py: Python<'py>, capacity: usize) -> Raise<Self> {
        // SAFETY: attached.
        let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size(capacity)) };
        if object.is_null() {
            return Err(Raised);
        }
        let mut growing = Self { py, object, capacity, filled: 0 };
        // Rust's slices want initialised bytes, and a reader that lies about its count must not show old memory.
        growing.rest().fill(0);
        Ok(growing)
    }

    fn rest(&mut self) -> &mut [u8] {
        // SAFETY: the object is alive, its bytes are initialised, and nobody else knows it.
        unsafe {
            let start = ffi::PyBytes_AsString(self.object).cast::<u8>();
            std::slice::from_raw_parts_mut(start.add(self.filled), self.capacity - self.filled)
        }
    }

    fn resize(&mut self, capacity: usize) -> Raise<()> {
        // SAFETY: ours alone, as `_PyBytes_Resize` demands; on failure it gives the object back and sets null.
        if unsafe { _PyBytes_Resize(&raw mut self.object, size(capacity)) } < 0 {
            return Err(Raised);
        }
        self.capacity = capacity;
        Ok(())
    }

    fn grow(&mut self, limit: usize) -> Raise<()> {
        self.resize(self.capacity.saturating_mul(2).min(limit))?;
        self.rest().fill(0);
        Ok(())
    }

    fn finish(mut self) -> Raise<Object<'py>> {
        if self.filled < self.capacity {
            self.resize(self.filled)?;
        }
        let object = std::mem::replace(&mut self.object, std::ptr::null_mut());
        // SAFETY: the one reference, handed over.
        unsafe { owned(self.py, object) }
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        // SAFETY: null, or the one reference; attached, as `py` lives.
        unsafe { ffi::Py_XDECREF(self.object) };
    }
}
