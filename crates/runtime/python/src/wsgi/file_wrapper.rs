//! `wsgi.file_wrapper`: the class `mod_wsgi.FileWrapper`, and the way around it for regular files.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use pyo3::{Python, ffi};

use crate::object::{
    Object, Raise, Raised, attribute_error, call_method, find, full_type_name, integer, is_none, matches, none, owned,
    raise, type_error, value_error,
};
use crate::slot::{
    Attributes, Methods, NO_MORE_ATTRIBUTES, NO_MORE_METHODS, attribute, entered, make_type, plain_method,
};

const DEFAULT_BLOCK: ffi::Py_ssize_t = 8192;

/// A `FileWrapper` in memory. It may be subclassed and may be part of reference cycles, so it is a container for the
/// garbage collector.
#[repr(C)]
struct FileWrapper {
    head: ffi::PyObject,
    /// Null before `__init__` and after `close()`.
    file: *mut ffi::PyObject,
    block: ffi::Py_ssize_t,
    closed: bool,
}

/// Does something to an object that no other thread may be at: with a GIL its holder is alone anyway.
///
/// # Safety
/// Attached; `object` is alive. `work` runs no Python code.
unsafe fn alone<R>(object: *mut ffi::PyObject, work: impl FnOnce() -> R) -> R {
    #[cfg(not(Py_GIL_DISABLED))]
    {
        let _ = object;
        work()
    }
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: promised by the caller; a zeroed section is what `Begin` fills, and it does not move before its end. What
    // `work` does here cannot panic.
    unsafe {
        let mut section: ffi::PyCriticalSection = std::mem::zeroed();
        ffi::PyCriticalSection_Begin(&raw mut section, object);
        let result = work();
        ffi::PyCriticalSection_End(&raw mut section);
        result
    }
}

static METHODS: Methods<2> = Methods([plain_method(c"close", close_slot), NO_MORE_METHODS]);

static ATTRIBUTES: Attributes<3> =
    Attributes([attribute(c"filelike", file_slot), attribute(c"blksize", block_slot), NO_MORE_ATTRIBUTES]);

/// Makes the type.
pub(crate) fn make<'py>(py: Python<'py>, module: &Object<'py>) -> Raise<Object<'py>> {
    let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_new, new_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_init, init_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_dealloc, dealloc_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_traverse, traverse_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_clear, clear_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_iter, iter_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_iternext, next_slot as *mut std::ffi::c_void),
        slot(ffi::Py_tp_methods, METHODS.pointer().cast()),
        slot(ffi::Py_tp_getset, ATTRIBUTES.pointer()),
        ffi::PyType_Slot::default(),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    make_type(py, module, c"mod_wsgi.FileWrapper", size_of::<FileWrapper>(), flags, &mut slots)
}

unsafe extern "C" fn new_slot(
    kind: *mut ffi::PyTypeObject,
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the type or a subclass; fresh memory is zeroed, which is a wrapper without a file.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind, 0);
        if !object.is_null() {
            (*object.cast::<FileWrapper>()).block = DEFAULT_BLOCK;
        }
        object
    }
}

unsafe extern "C" fn init_slot(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> std::ffi::c_int {
    // SAFETY: CPython calls with an object of the type, a tuple, and a dict or null. The parser fills both variables
    // with a borrowed object and a number, as the format says.
    unsafe {
        entered(|py| {
            let mut file = std::ptr::null_mut::<ffi::PyObject>();
            let mut block = DEFAULT_BLOCK;
            let mut names = [c"filelike".as_ptr().cast_mut(), c"blksize".as_ptr().cast_mut(), std::ptr::null_mut()];
            let parsed = ffi::PyArg_ParseTupleAndKeywords(
                arguments,
                keywords,
                c"O|n:FileWrapper".as_ptr(),
                names.as_mut_ptr().cast(),
                &raw mut file,
                &raw mut block,
            );
            if parsed == 0 {
                return Err(Raised);
            }
            if block < 0 {
                return Err(raise(py, value_error(), "blksize must not be negative"));
            }
            ffi::Py_INCREF(file);
            let wrapper = object.cast::<FileWrapper>();
            let before = alone(object, || {
                (*wrapper).block = block;
                (*wrapper).closed = false;
                std::mem::replace(&mut (*wrapper).file, file)
            });
            ffi::Py_XDECREF(before);
            Ok(())
        })
    }
}

unsafe extern "C" fn dealloc_slot(object: *mut ffi::PyObject) {
    // SAFETY: called once for an object of the type or of a subclass, which goes through its own dealloc first. The
    // object owns its file and, as every object of a heap type, its type.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        ffi::PyObject_GC_UnTrack(object.cast());
        let file = std::mem::replace(&mut (*object.cast::<FileWrapper>()).file, std::ptr::null_mut());
        ffi::Py_XDECREF(file);
        let free = (*kind).tp_free.unwrap_or(ffi::PyObject_GC_Del);
        free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

unsafe extern "C" fn traverse_slot(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: the collector calls with an object of the type; visiting does not change anything.
    unsafe {
        for reference in [(*object.cast::<FileWrapper>()).file, ffi::Py_TYPE(object).cast()] {
            if !reference.is_null() {
                let status = visit(reference, argument);
                if status != 0 {
                    return status;
                }
            }
        }
        0
    }
}

unsafe extern "C" fn clear_slot(object: *mut ffi::PyObject) -> std::ffi::c_int {
    // SAFETY: the collector calls with an object of the type.
    unsafe {
        let file = std::mem::replace(&mut (*object.cast::<FileWrapper>()).file, std::ptr::null_mut());
        ffi::Py_XDECREF(file);
        0
    }
}

/// The file of a wrapper that is not closed.
///
/// # Safety
/// `object` is a wrapper.
unsafe fn open_file<'py>(py: Python<'py>, object: *mut ffi::PyObject) -> Raise<Object<'py>> {
    // SAFETY: promised by the caller.
    unsafe {
        let wrapper = object.cast::<FileWrapper>();
        let (closed, file) =
            alone(object, || ((*wrapper).closed, pyo3::Bound::from_borrowed_ptr_or_opt(py, (*wrapper).file)));
        if closed {
            return Err(raise(py, value_error(), "I/O operation on closed file"));
        }
        Ok(file.unwrap_or_else(|| none(py)))
    }
}

unsafe extern "C" fn iter_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            open_file(py, object)?;
            crate::object::borrowed(py, object)
        })
    }
}

unsafe extern "C" fn next_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            let file = open_file(py, object)?;
            let block = integer(py, (*object.cast::<FileWrapper>()).block as i64)?;
            let data = call_method(&file, c"read", &[&block])?;
            match crate::object::bytes_of(&data) {
                Some([]) => Ok(None),
                Some(_) => Ok(Some(data)),
                None => {
                    let message = format!("file wrapper read() must return bytes, not {}", full_type_name(&data));
                    Err(raise(py, type_error(), &message))
                }
            }
        })
    }
}

unsafe extern "C" fn close_slot(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe {
        entered(|py| {
            let wrapper = object.cast::<FileWrapper>();
            let (was_closed, held) = alone(object, || {
                let held = std::mem::replace(&mut (*wrapper).file, std::ptr::null_mut());
                (std::mem::replace(&mut (*wrapper).closed, true), held)
            });
            if was_closed {
                return Ok(none(py));
            }
            let file = pyo3::Bound::from_owned_ptr_or_opt(py, held).unwrap_or_else(|| none(py));
            match find(&file, c"close")? {
                Some(close) => crate::object::call(&close, &[]),
                None => Ok(none(py)),
            }
        })
    }
}

unsafe extern "C" fn file_slot(object: *mut ffi::PyObject, _: *mut std::ffi::c_void) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe { entered(|py| open_file(py, object)) }
}

unsafe extern "C" fn block_slot(object: *mut ffi::PyObject, _: *mut std::ffi::c_void) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type.
    unsafe { entered(|py| integer(py, (*object.cast::<FileWrapper>()).block as i64)) }
}

/// What of a regular file is to be sent without reading it through Python.
pub(crate) struct Span {
    /// A descriptor of our own. The application may close the file object meanwhile, on this thread or on another one,
    /// and its number may then be another file's.
    pub(crate) file: OwnedFd,
    /// Where the file object stands.
    pub(crate) offset: u64,
    /// How much is there from `offset` on.
    pub(crate) available: u64,
}

/// Whether a returned object is a wrapper around a regular file, and which part of it is meant. Everything else is
/// iterated. `kind` is the type from [`make`].
pub(crate) fn span(py: Python<'_>, kind: *mut ffi::PyObject, object: &Object<'_>) -> Raise<Option<Span>> {
    // SAFETY: alive, attached; `kind` is a type, and the check comes before the layout is used.
    let file = unsafe {
        if ffi::PyObject_TypeCheck(object.as_ptr(), kind.cast()) == 0 {
            return Ok(None);
        }
        let wrapper = object.as_ptr().cast::<FileWrapper>();
        alone(object.as_ptr(), || pyo3::Bound::from_borrowed_ptr_or_opt(py, (*wrapper).file))
    };
    // Closed, or never given one.
    let Some(file) = file else { return Ok(None) };
    let Some(descriptor) = number(py, &file, c"fileno")?.and_then(|number| i32::try_from(number).ok()) else {
        return Ok(None);
    };
    // Before Python code runs again, which may close it. A descriptor that cannot be duplicated is read through Python.
    let Some(copy) = duplicate(descriptor) else { return Ok(None) };
    let Some(offset) = number(py, &file, c"tell")?.and_then(|number| u64::try_from(number).ok()) else {
        return Ok(None);
    };
    // SAFETY: fills a zeroed structure of the right type.
    let status = unsafe {
        let mut status = std::mem::zeroed::<libc::stat>();
        if libc::fstat(copy.as_raw_fd(), &raw mut status) != 0 {
            return Ok(None);
        }
        status
    };
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(None);
    }
    let size = u64::try_from(status.st_size).unwrap_or(0);
    Ok(Some(Span { file: copy, offset, available: size.saturating_sub(offset) }))
}

/// Another descriptor for the same open file.
fn duplicate(descriptor: i32) -> Option<OwnedFd> {
    // SAFETY: no pointers; what is not an open descriptor gives an error. A descriptor that comes is fresh.
    unsafe {
        let copy = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3);
        (copy >= 0).then(|| OwnedFd::from_raw_fd(copy))
    }
}

/// `file.name()` as a number; `None` when there is no such method, when it fails (as `io.BytesIO().fileno()` does), or
/// when it gives something else.
fn number(py: Python<'_>, file: &Object<'_>, name: &std::ffi::CStr) -> Raise<Option<i64>> {
    let value = match call_method(file, name, &[]) {
        Ok(value) => value,
        Err(raised) => {
            // An attempt at something optional: only what must not be swallowed goes on.
            let ordinary = matches(py, attribute_error())
                // SAFETY: attached; the type is static.
                || matches(py, unsafe { ffi::PyExc_Exception });
            if !ordinary {
                return Err(raised);
            }
            raised.forget(py);
            return Ok(None);
        }
    };
    // SAFETY: alive, attached; asked of an `int` only.
    unsafe {
        if ffi::PyLong_Check(value.as_ptr()) == 0 || is_none(&value) {
            return Ok(None);
        }
        let number = ffi::PyLong_AsLongLong(value.as_ptr());
        if number == -1 && !ffi::PyErr_Occurred().is_null() {
            Raised.forget(py);
            return Ok(None);
        }
        Ok(Some(number))
    }
}

/// `iter(object)`, for what is not sent as a file.
pub(crate) fn iterator<'py>(object: &Object<'py>) -> Raise<Object<'py>> {
    // SAFETY: alive, attached.
    unsafe { owned(object.py(), ffi::PyObject_GetIter(object.as_ptr())) }
}
