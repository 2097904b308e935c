//! Python values and calls: `Bound` for what is owned, [`Raised`] for "an exception is set".
//!
//! pyo3's own `PyErr` is not used: it attaches by itself and keeps types in process-wide statics, which sub-interpreters
//! do not share. An exception stays where CPython keeps it, on the thread state, until somebody takes or reports it.

use std::ffi::CStr;
use std::ptr::NonNull;

use pyo3::{Bound, PyAny, Python, ffi};

/// An owned reference.
pub(crate) type Object<'py> = Bound<'py, PyAny>;

/// A Python exception is set on the current thread state.
#[derive(Debug)]
#[must_use]
pub(crate) struct Raised;

/// The result of everything that can raise.
pub(crate) type Raise<T> = Result<T, Raised>;

/// Takes ownership of a new reference, null meaning that an exception is set.
///
/// # Safety
/// `pointer` is null or a new reference that belongs to the attached interpreter.
pub(crate) unsafe fn owned(py: Python<'_>, pointer: *mut ffi::PyObject) -> Raise<Object<'_>> {
    // SAFETY: promised by the caller.
    unsafe { Bound::from_owned_ptr_or_opt(py, pointer) }.ok_or(Raised)
}

/// Makes an owned reference from a borrowed one, null meaning that an exception is set.
///
/// # Safety
/// `pointer` is null or points to a live object of the attached interpreter.
pub(crate) unsafe fn borrowed(py: Python<'_>, pointer: *mut ffi::PyObject) -> Raise<Object<'_>> {
    // SAFETY: promised by the caller.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, pointer) }.ok_or(Raised)
}

/// Turns CPython's "-1 is failure" into a result.
pub(crate) fn done(status: std::ffi::c_int) -> Raise<()> {
    if status < 0 { Err(Raised) } else { Ok(()) }
}

/// A reference kept outside of an attached section, such as in an interpreter's own tables. It is given back with
/// [`Stored::release`]; dropping it without leaves the object alive, which is right when the interpreter has ended.
pub(crate) struct Stored(NonNull<ffi::PyObject>);

// SAFETY: the pointer is only used while attached to its interpreter (a `Python` token is asked for).
unsafe impl Send for Stored {}
// SAFETY: as above.
unsafe impl Sync for Stored {}

impl Stored {
    /// Keeps the reference.
    pub(crate) fn new(object: Object<'_>) -> Self {
        let pointer = object.into_ptr();
        // SAFETY: a `Bound` is never null.
        Self(unsafe { NonNull::new_unchecked(pointer) })
    }

    /// The object. The token is one of the object's own interpreter: each `Stored` lives in that interpreter's tables.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Object<'py> {
        // SAFETY: the reference that `self` holds keeps it alive.
        unsafe { Bound::from_borrowed_ptr(py, self.0.as_ptr()) }
    }

    /// The bare pointer, for calls that borrow.
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives the reference back.
    pub(crate) fn release(self, py: Python<'_>) {
        // SAFETY: `self` holds one reference, handed over here.
        drop(unsafe { Bound::from_owned_ptr(py, self.0.as_ptr()) });
    }

    /// How many references there are, this one included. Only meaningful under a GIL.
    pub(crate) fn references(&self) -> isize {
        // SAFETY: the object is alive.
        unsafe { ffi::Py_REFCNT(self.0.as_ptr()) }
    }

    /// Whether anybody has set attributes of its own on an object whose type keeps them in a dict.
    pub(crate) fn has_attributes(&self) -> bool {
        // SAFETY: the object is alive; a positive offset is where such an object has its dict, null until it needs one.
        unsafe {
            let offset = (*ffi::Py_TYPE(self.0.as_ptr())).tp_dictoffset;
            offset > 0 && !self.0.as_ptr().byte_offset(offset).cast::<*mut ffi::PyObject>().read().is_null()
        }
    }
}

/// `str` from bytes as latin-1 (PEP 3333's "bytes-as-latin1").
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Raise<Object<'py>> {
    // SAFETY: attached; the slice is readable for its length.
    unsafe { owned(py, ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), size(bytes.len()), std::ptr::null())) }
}

/// `str` from bytes in the file system's encoding, with surrogateescape.
pub(crate) fn filesystem<'py>(py: Python<'py>, bytes: &[u8]) -> Raise<Object<'py>> {
    // SAFETY: attached; the slice is readable for its length.
    unsafe { owned(py, ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), size(bytes.len()))) }
}

/// `str` from text.
pub(crate) fn text<'py>(py: Python<'py>, text: &str) -> Raise<Object<'py>> {
    // SAFETY: attached; the text is readable for its length.
    unsafe { owned(py, ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), size(text.len()))) }
}

/// An interned `str`, for keys and attribute names.
pub(crate) fn interned<'py>(py: Python<'py>, name: &CStr) -> Raise<Object<'py>> {
    // SAFETY: attached; the name ends in NUL.
    unsafe { owned(py, ffi::PyUnicode_InternFromString(name.as_ptr())) }
}

/// `bytes`.
pub(crate) fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> Raise<Object<'py>> {
    // SAFETY: attached; the slice is readable for its length.
    unsafe { owned(py, ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), size(bytes.len()))) }
}

/// `int`.
pub(crate) fn integer(py: Python<'_>, value: i64) -> Raise<Object<'_>> {
    // SAFETY: attached.
    unsafe { owned(py, ffi::PyLong_FromLongLong(value)) }
}

/// `float`.
pub(crate) fn float(py: Python<'_>, value: f64) -> Raise<Object<'_>> {
    // SAFETY: attached.
    unsafe { owned(py, ffi::PyFloat_FromDouble(value)) }
}

/// `True` or `False`.
pub(crate) fn boolean(py: Python<'_>, value: bool) -> Object<'_> {
    let pointer = if value { ffi::Py_True } else { ffi::Py_False };
    // SAFETY: attached; both objects are immortal or owned by the interpreter.
    unsafe { Bound::from_borrowed_ptr(py, pointer()) }
}

/// `None`.
pub(crate) fn none(py: Python<'_>) -> Object<'_> {
    // SAFETY: attached.
    unsafe { Bound::from_borrowed_ptr(py, ffi::Py_None()) }
}

/// A tuple of these.
pub(crate) fn tuple<'py>(py: Python<'py>, items: &[Object<'py>]) -> Raise<Object<'py>> {
    // SAFETY: attached; each slot of the fresh tuple is filled once with an own reference.
    unsafe {
        let tuple = owned(py, ffi::PyTuple_New(size(items.len())))?;
        for (index, item) in items.iter().enumerate() {
            done(ffi::PyTuple_SetItem(tuple.as_ptr(), size(index), item.clone().into_ptr()))?;
        }
        Ok(tuple)
    }
}

/// An empty list.
pub(crate) fn list(py: Python<'_>) -> Raise<Object<'_>> {
    // SAFETY: attached.
    unsafe { owned(py, ffi::PyList_New(0)) }
}

/// An empty dict.
pub(crate) fn dict(py: Python<'_>) -> Raise<Object<'_>> {
    // SAFETY: attached.
    unsafe { owned(py, ffi::PyDict_New()) }
}

/// `object.name`.
pub(crate) fn get<'py>(object: &Object<'py>, name: &CStr) -> Raise<Object<'py>> {
    // SAFETY: both are alive, attached.
    unsafe { owned(object.py(), ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr())) }
}

/// `object.name`, where an `AttributeError` means "there is none".
pub(crate) fn find<'py>(object: &Object<'py>, name: &CStr) -> Raise<Option<Object<'py>>> {
    found(object.py(), get(object, name))
}

/// [`find`] with an interned name, which is quick when the object is a module.
pub(crate) fn find_named<'py>(object: &Stored, name: &Stored, py: Python<'py>) -> Raise<Option<Object<'py>>> {
    let (object, name) = (object.as_ptr(), name.as_ptr());
    // SAFETY: both are alive, attached; a module's dict is an exact dict as long as the module lives. What it lends is
    // counted before another thread can take it away, which takes a GIL.
    unsafe {
        if cfg!(not(Py_GIL_DISABLED)) && ffi::PyModule_CheckExact(object) != 0 {
            let value = ffi::PyDict_GetItemWithError(ffi::PyModule_GetDict(object), name);
            if !value.is_null() {
                return borrowed(py, value).map(Some);
            }
            Raised.forget(py);
        }
        found(py, owned(py, ffi::PyObject_GetAttr(object, name)))
    }
}

fn found<'py>(py: Python<'py>, got: Raise<Object<'py>>) -> Raise<Option<Object<'py>>> {
    match got {
        Ok(value) => Ok(Some(value)),
        Err(raised) if matches(py, attribute_error()) => {
            raised.forget(py);
            Ok(None)
        }
        Err(raised) => Err(raised),
    }
}

/// `object.name = value`.
pub(crate) fn set(object: &Object<'_>, name: &CStr, value: &Object<'_>) -> Raise<()> {
    // SAFETY: all are alive, attached.
    done(unsafe { ffi::PyObject_SetAttrString(object.as_ptr(), name.as_ptr(), value.as_ptr()) })
}

/// `dict[name] = value` for an exact dict.
pub(crate) fn put(dict: &Object<'_>, name: &CStr, value: &Object<'_>) -> Raise<()> {
    // SAFETY: all are alive, attached.
    done(unsafe { ffi::PyDict_SetItemString(dict.as_ptr(), name.as_ptr(), value.as_ptr()) })
}

/// `mapping[name]`.
pub(crate) fn item<'py>(mapping: &Object<'py>, name: &CStr) -> Raise<Object<'py>> {
    // SAFETY: alive, attached; the name ends in NUL.
    unsafe { owned(mapping.py(), ffi::PyMapping_GetItemString(mapping.as_ptr(), name.as_ptr())) }
}

/// A count that is an `int`; 0 for anything else.
pub(crate) fn number_of(value: &Object<'_>) -> u64 {
    // SAFETY: alive, attached; an exception is not left behind.
    unsafe {
        let number = ffi::PyLong_AsUnsignedLongLong(value.as_ptr());
        if number == u64::MAX && !ffi::PyErr_Occurred().is_null() {
            Raised.forget(value.py());
            return 0;
        }
        number
    }
}

/// Appends to a list.
pub(crate) fn append(list: &Object<'_>, value: &Object<'_>) -> Raise<()> {
    // SAFETY: both are alive, attached.
    done(unsafe { ffi::PyList_Append(list.as_ptr(), value.as_ptr()) })
}

/// Calls with positional arguments.
pub(crate) fn call<'py>(callable: &Object<'py>, arguments: &[&Object<'py>]) -> Raise<Object<'py>> {
    // The slot before the arguments is the callee's to use (PY_VECTORCALL_ARGUMENTS_OFFSET).
    let mut slots = [std::ptr::null_mut(); 6];
    assert!(arguments.len() < slots.len(), "as many as any caller here has");
    for (slot, argument) in slots[1..].iter_mut().zip(arguments) {
        *slot = argument.as_ptr();
    }
    // SAFETY: attached; all arguments are alive during the call, and slot 0 may be overwritten.
    unsafe {
        let count = arguments.len() | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        owned(
            callable.py(),
            ffi::PyObject_Vectorcall(callable.as_ptr(), slots[1..].as_ptr(), count, std::ptr::null_mut()),
        )
    }
}

/// Calls with positional and keyword arguments.
pub(crate) fn call_keywords<'py>(
    callable: &Object<'py>,
    arguments: &Object<'py>,
    keywords: &Object<'py>,
) -> Raise<Object<'py>> {
    // SAFETY: attached; the arguments are a tuple and a dict.
    unsafe { owned(callable.py(), ffi::PyObject_Call(callable.as_ptr(), arguments.as_ptr(), keywords.as_ptr())) }
}

/// `object.name(arguments…)`.
pub(crate) fn call_method<'py>(object: &Object<'py>, name: &CStr, arguments: &[&Object<'py>]) -> Raise<Object<'py>> {
    call(&get(object, name)?, arguments)
}

/// Imports a module.
pub(crate) fn import<'py>(py: Python<'py>, name: &CStr) -> Raise<Object<'py>> {
    // SAFETY: attached; the name ends in NUL.
    unsafe { owned(py, ffi::PyImport_ImportModule(name.as_ptr())) }
}

/// `sys.name`.
pub(crate) fn from_sys<'py>(py: Python<'py>, name: &CStr) -> Raise<Object<'py>> {
    // SAFETY: attached. `PySys_GetObject` sets no exception when there is none.
    match unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PySys_GetObject(name.as_ptr())) } {
        Some(object) => Ok(object),
        None => Err(raise(py, runtime_error(), &format!("lost sys.{}", name.to_string_lossy()))),
    }
}

/// `len(object)` for an exact list.
pub(crate) fn list_length(list: &Object<'_>) -> usize {
    // SAFETY: alive, attached; not a list gives -1 and an exception that is not left behind.
    let length = unsafe { ffi::PyList_Size(list.as_ptr()) };
    usize::try_from(length).unwrap_or_else(|_| {
        Raised.forget(list.py());
        0
    })
}

/// `list[index]`.
pub(crate) fn list_item<'py>(list: &Object<'py>, index: usize) -> Raise<Object<'py>> {
    // SAFETY: alive, attached; the index is checked by CPython. A reference of our own from the start, as without a GIL
    // another thread may take the item out of the list.
    unsafe { owned(list.py(), ffi::compat::PyList_GetItemRef(list.as_ptr(), size(index))) }
}

/// The bytes of a `bytes` object (or of a subclass), `None` for anything else.
pub(crate) fn bytes_of<'a>(object: &'a Object<'_>) -> Option<&'a [u8]> {
    // SAFETY: alive, attached; `bytes` are immutable and live as long as the object.
    unsafe {
        if ffi::PyBytes_Check(object.as_ptr()) == 0 {
            return None;
        }
        let start = ffi::PyBytes_AsString(object.as_ptr()).cast::<u8>();
        let length = usize::try_from(ffi::PyBytes_Size(object.as_ptr())).unwrap_or(0);
        Some(std::slice::from_raw_parts(start, length))
    }
}

/// The text of a `str`; what UTF-8 has no form for (lone surrogates) becomes `?`. Other objects give `None`.
pub(crate) fn text_of(object: &Object<'_>) -> Option<String> {
    let py = object.py();
    // SAFETY: alive, attached.
    unsafe {
        if ffi::PyUnicode_Check(object.as_ptr()) == 0 {
            return None;
        }
        let encoded =
            owned(py, ffi::PyUnicode_AsEncodedString(object.as_ptr(), c"utf-8".as_ptr(), c"replace".as_ptr()));
        match encoded {
            Ok(encoded) => bytes_of(&encoded).map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            Err(raised) => {
                raised.forget(py);
                None
            }
        }
    }
}

/// The bytes of a file system path that is a `str`, as they came from [`filesystem`].
pub(crate) fn path_of(object: &Object<'_>) -> Option<Vec<u8>> {
    // SAFETY: alive, attached.
    let encoded = unsafe { owned(object.py(), ffi::PyUnicode_EncodeFSDefault(object.as_ptr())) };
    match encoded {
        Ok(encoded) => bytes_of(&encoded).map(<[u8]>::to_vec),
        Err(raised) => {
            raised.forget(object.py());
            None
        }
    }
}

/// `str(object)`, or what can be said of an object whose own `str` fails.
pub(crate) fn shown(object: &Object<'_>) -> String {
    // SAFETY: alive, attached.
    match unsafe { owned(object.py(), ffi::PyObject_Str(object.as_ptr())) } {
        Ok(text) => text_of(&text).unwrap_or_default(),
        Err(raised) => {
            raised.forget(object.py());
            format!("<unprintable {} object>", type_name(object))
        }
    }
}

/// `repr(object)`, or what can be said of an object whose own `repr` fails.
pub(crate) fn represented(object: &Object<'_>) -> String {
    // SAFETY: alive, attached.
    match unsafe { owned(object.py(), ffi::PyObject_Repr(object.as_ptr())) } {
        Ok(text) => text_of(&text).unwrap_or_default(),
        Err(raised) => {
            raised.forget(object.py());
            format!("<unprintable {} object>", type_name(object))
        }
    }
}

/// The name of an object's type, as CPython's own messages show it (`%.200s` of `tp_name`).
pub(crate) fn full_type_name(object: &Object<'_>) -> String {
    // SAFETY: alive, attached; a type's name ends in NUL.
    unsafe { CStr::from_ptr((*ffi::Py_TYPE(object.as_ptr())).tp_name) }.to_string_lossy().into_owned()
}

/// The last part of [`full_type_name`].
pub(crate) fn type_name(object: &Object<'_>) -> String {
    let name = full_type_name(object);
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

/// Whether the object is `None`.
pub(crate) fn is_none(object: &Object<'_>) -> bool {
    // SAFETY: attached.
    unsafe { object.as_ptr() == ffi::Py_None() }
}

/// Whether the object can be called.
pub(crate) fn is_callable(object: &Object<'_>) -> bool {
    // SAFETY: alive, attached.
    unsafe { ffi::PyCallable_Check(object.as_ptr()) != 0 }
}

/// Sets an exception with a text.
pub(crate) fn raise(py: Python<'_>, kind: *mut ffi::PyObject, message: &str) -> Raised {
    if let Ok(message) = text(py, message) {
        // SAFETY: attached; the kind is one of the interpreter's exception types.
        unsafe { ffi::PyErr_SetObject(kind, message.as_ptr()) };
    }
    Raised
}

/// Whether the exception that is set is one of this kind.
pub(crate) fn matches(_py: Python<'_>, kind: *mut ffi::PyObject) -> bool {
    // SAFETY: attached; without an exception the answer is no.
    unsafe { !ffi::PyErr_Occurred().is_null() && ffi::PyErr_ExceptionMatches(kind) != 0 }
}

impl Raised {
    /// Clears the exception.
    pub(crate) fn forget(self, _py: Python<'_>) {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
    }

    /// Takes the exception off the thread state, complete with its traceback.
    pub(crate) fn take(self, py: Python<'_>) -> Option<Object<'_>> {
        // SAFETY: attached.
        unsafe { taken(py) }
    }
}

/// See [`Raised::take`].
///
/// # Safety
/// Attached, which `py` shows.
#[cfg(Py_3_12)]
unsafe fn taken(py: Python<'_>) -> Option<Object<'_>> {
    // SAFETY: a new reference or null.
    unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyErr_GetRaisedException()) }
}

/// See [`Raised::take`]. Before 3.12 an exception that comes straight from C code carries no traceback yet; without
/// adding it here its record would have no frames.
///
/// # Safety
/// Attached, which `py` shows.
#[cfg(not(Py_3_12))]
unsafe fn taken(py: Python<'_>) -> Option<Object<'_>> {
    let (mut kind, mut value, mut traceback) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the three references are ours after the fetch; normalising keeps that.
    unsafe {
        ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback);
        if kind.is_null() {
            return None;
        }
        ffi::PyErr_NormalizeException(&raw mut kind, &raw mut value, &raw mut traceback);
        if !value.is_null() && !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        ffi::Py_XDECREF(kind);
        ffi::Py_XDECREF(traceback);
        Bound::from_owned_ptr_or_opt(py, value)
    }
}

/// Sets an exception again that [`Raised::take`] took.
pub(crate) fn restore(exception: &Object<'_>) -> Raised {
    // SAFETY: attached; the value is an exception instance, its type and traceback are borrowed and counted here.
    unsafe {
        let kind = ffi::Py_TYPE(exception.as_ptr()).cast::<ffi::PyObject>();
        ffi::Py_INCREF(kind);
        let traceback = ffi::PyException_GetTraceback(exception.as_ptr());
        restore_parts(kind, exception.clone().into_ptr(), traceback);
    }
    Raised
}

/// Sets an exception from its three parts, taking their references.
///
/// # Safety
/// Attached; three owned references of one exception, the traceback possibly null.
#[cfg_attr(Py_3_12, expect(deprecated, reason = "its successor takes no traceback, which re-raising needs"))]
pub(crate) unsafe fn restore_parts(kind: *mut ffi::PyObject, value: *mut ffi::PyObject, traceback: *mut ffi::PyObject) {
    // SAFETY: promised by the caller.
    unsafe { ffi::PyErr_Restore(kind, value, traceback) };
}

macro_rules! exception_types {
    ($($name:ident = $static:ident),* $(,)?) => {$(
        /// The exception type of this name. Built-in exception types are shared by all interpreters.
        pub(crate) fn $name() -> *mut ffi::PyObject {
            // SAFETY: initialised with Python, never changed.
            unsafe { ffi::$static }
        }
    )*};
}

exception_types! {
    attribute_error = PyExc_AttributeError,
    deprecation_warning = PyExc_DeprecationWarning,
    import_error = PyExc_ImportError,
    os_error = PyExc_OSError,
    runtime_error = PyExc_RuntimeError,
    system_error = PyExc_SystemError,
    system_exit = PyExc_SystemExit,
    type_error = PyExc_TypeError,
    value_error = PyExc_ValueError,
    base_exception = PyExc_BaseException,
}

/// A length as CPython counts; slices are never longer than that.
pub(crate) fn size(length: usize) -> ffi::Py_ssize_t {
    ffi::Py_ssize_t::try_from(length).unwrap_or(ffi::Py_ssize_t::MAX)
}
