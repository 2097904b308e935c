//! How Python calls into the engine: the one place that catches panics, and native types with a Rust value inside.
//!
//! A panic that crosses `extern "C"` aborts the process, so every slot, method and callback goes through
//! [`entered`], which makes it a `SystemError` in Python.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::{Python, ffi};

use crate::object::{Object, Raise, Raised, owned, raise, system_error, type_error};

/// What a slot gives back to CPython.
pub(crate) trait Answer {
    /// The C type.
    type Raw;
    /// Hands the value over.
    fn raw(self) -> Self::Raw;
    /// "An exception is set."
    fn failure() -> Self::Raw;
}

impl Answer for Object<'_> {
    type Raw = *mut ffi::PyObject;
    fn raw(self) -> Self::Raw {
        self.into_ptr()
    }
    fn failure() -> Self::Raw {
        std::ptr::null_mut()
    }
}

/// For `tp_iternext`: null without an exception ends the iteration.
impl Answer for Option<Object<'_>> {
    type Raw = *mut ffi::PyObject;
    fn raw(self) -> Self::Raw {
        self.map_or(std::ptr::null_mut(), Object::into_ptr)
    }
    fn failure() -> Self::Raw {
        std::ptr::null_mut()
    }
}

impl Answer for () {
    type Raw = c_int;
    fn raw(self) -> c_int {
        0
    }
    fn failure() -> c_int {
        -1
    }
}

/// Runs the body of a slot.
///
/// # Safety
/// CPython called, so the thread is attached to the interpreter that owns everything passed in.
pub(crate) unsafe fn entered<'py, T: Answer>(body: impl FnOnce(Python<'py>) -> Raise<T>) -> T::Raw {
    // SAFETY: promised by the caller.
    let py = unsafe { Python::assume_attached() };
    match catch_unwind(AssertUnwindSafe(|| body(py))) {
        Ok(Ok(answer)) => answer.raw(),
        Ok(Err(Raised)) => T::failure(),
        Err(panic) => {
            let Raised = raise(py, system_error(), &format!("internal error of mod_wsgi: {}", panic_text(&*panic)));
            T::failure()
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic.downcast_ref::<&str>().copied().unwrap_or("unknown panic"),
    }
}

/// The positional arguments of a call, borrowed from the caller.
pub(crate) struct Arguments<'a> {
    function: &'static str,
    values: &'a [*mut ffi::PyObject],
}

impl<'a> Arguments<'a> {
    /// The arguments of a `METH_FASTCALL` function.
    ///
    /// # Safety
    /// What CPython passed: `count` live objects from `first`.
    pub(crate) unsafe fn new(function: &'static str, first: *const *mut ffi::PyObject, count: ffi::Py_ssize_t) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: promised by the caller; without arguments the pointer may be null.
        let values = if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(first, count) } };
        Self { function, values }
    }

    /// The function's name.
    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// Checks their number, with the wording of CPython's own argument parser.
    pub(crate) fn between(&self, py: Python<'_>, least: usize, most: usize) -> Raise<()> {
        let given = self.values.len();
        if (least..=most).contains(&given) {
            return Ok(());
        }
        if most == 0 {
            let message = format!("{}() takes no arguments ({given} given)", self.function);
            return Err(raise(py, type_error(), &message));
        }
        let (bound, number) = match () {
            () if least == most => ("exactly", least),
            () if given < least => ("at least", least),
            () => ("at most", most),
        };
        let plural = if number == 1 { "" } else { "s" };
        let function = self.function;
        let message = format!("{function}() takes {bound} {number} argument{plural} ({given} given)");
        Err(raise(py, type_error(), &message))
    }

    /// The argument of a function that takes exactly one.
    pub(crate) fn only<'py>(&self, py: Python<'py>) -> Raise<Object<'py>> {
        self.between(py, 1, 1)?;
        self.get(py, 0).ok_or(Raised)
    }

    /// The argument at `index`, when it was given.
    pub(crate) fn get<'py>(&self, py: Python<'py>, index: usize) -> Option<Object<'py>> {
        // SAFETY: the caller keeps its arguments alive during the call.
        self.values.get(index).map(|value| unsafe { pyo3::Bound::from_borrowed_ptr(py, *value) })
    }

    /// The argument at `index` as a size, `default` when it was not given.
    pub(crate) fn size(&self, py: Python<'_>, index: usize, default: i64) -> Raise<i64> {
        let Some(value) = self.values.get(index) else {
            return Ok(default);
        };
        // SAFETY: alive during the call, attached.
        unsafe {
            let number = ffi::PyLong_AsLongLong(*value);
            if number == -1 && !ffi::PyErr_Occurred().is_null() {
                return Err(Raised);
            }
            let _ = py;
            Ok(number)
        }
    }
}

/// Refuses keyword arguments, as CPython does for functions that have none.
pub(crate) fn no_keywords(py: Python<'_>, function: &str, names: *mut ffi::PyObject) -> Raise<()> {
    // SAFETY: null or the tuple of names that CPython passed.
    if names.is_null() || unsafe { ffi::PyTuple_Size(names) } == 0 {
        return Ok(());
    }
    Err(raise(py, type_error(), &format!("{function}() takes no keyword arguments")))
}

/// A table of functions that CPython keeps pointers into.
pub(crate) struct Methods<const N: usize>(pub(crate) [ffi::PyMethodDef; N]);

// SAFETY: never changed; CPython only reads it.
unsafe impl<const N: usize> Sync for Methods<N> {}

impl<const N: usize> Methods<N> {
    /// The table's address, as CPython wants it.
    pub(crate) fn pointer(&'static self) -> *mut ffi::PyMethodDef {
        self.0.as_ptr().cast_mut()
    }

    /// The table's functions as built-in functions bound to an object, with their names.
    ///
    /// # Safety
    /// They expect `bound` as their first argument.
    pub(crate) unsafe fn bind<'py>(
        &'static self,
        py: Python<'py>,
        bound: &Object<'py>,
        module: &Object<'py>,
    ) -> impl Iterator<Item = Raise<(&'static CStr, Object<'py>)>> {
        let entries = self.0.iter().take_while(|entry| !entry.ml_name.is_null());
        entries.map(move |entry| {
            // SAFETY: an entry of a static table before its end, which has a static name; the rest is promised by the
            // caller.
            unsafe {
                let name = CStr::from_ptr(entry.ml_name);
                Ok((name, function(py, std::ptr::from_ref(entry).cast_mut(), bound, Some(module))?))
            }
        })
    }
}

/// A table of computed attributes.
pub(crate) struct Attributes<const N: usize>(pub(crate) [ffi::PyGetSetDef; N]);

// SAFETY: as for `Methods`.
unsafe impl<const N: usize> Sync for Attributes<N> {}

impl<const N: usize> Attributes<N> {
    /// The table's address, as CPython wants it.
    pub(crate) fn pointer(&'static self) -> *mut c_void {
        self.0.as_ptr().cast_mut().cast()
    }
}

/// The end of a table of methods.
pub(crate) const NO_MORE_METHODS: ffi::PyMethodDef = ffi::PyMethodDef::zeroed();

/// The end of a table of attributes.
pub(crate) const NO_MORE_ATTRIBUTES: ffi::PyGetSetDef = ffi::PyGetSetDef {
    name: std::ptr::null(),
    get: None,
    set: None,
    doc: std::ptr::null(),
    closure: std::ptr::null_mut(),
};

/// A method with positional arguments.
pub(crate) const fn method(name: &'static CStr, function: ffi::PyCFunctionFast) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: std::ptr::null(),
    }
}

/// A function that looks at keyword arguments itself.
pub(crate) const fn keyword_method(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: std::ptr::null(),
    }
}

/// A method without arguments.
pub(crate) const fn plain_method(name: &'static CStr, function: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: std::ptr::null(),
    }
}

/// A read-only attribute.
pub(crate) const fn attribute(name: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: std::ptr::null(),
        closure: std::ptr::null_mut(),
    }
}

/// How an object of a native type lies in memory.
#[repr(C)]
struct Instance<T> {
    head: ffi::PyObject,
    value: MaybeUninit<T>,
}

/// A native type to be made in an interpreter.
pub(crate) struct NativeType<'a> {
    /// Its full name, such as `mod_wsgi.Input`.
    pub(crate) name: &'static CStr,
    /// Its slots, without deallocation and without the end.
    pub(crate) slots: &'a [(c_int, *mut c_void)],
}

/// Makes a native type whose objects hold a `T` and are made by the engine alone.
pub(crate) fn native_type<'py, T>(
    py: Python<'py>,
    module: &Object<'py>,
    native: &NativeType<'_>,
) -> Raise<Object<'py>> {
    let mut slots: Vec<ffi::PyType_Slot> =
        native.slots.iter().map(|(slot, function)| ffi::PyType_Slot { slot: *slot, pfunc: *function }).collect();
    slots.push(ffi::PyType_Slot { slot: ffi::Py_tp_dealloc, pfunc: deallocate::<T> as *mut c_void });
    slots.push(ffi::PyType_Slot::default());
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    make_type(py, module, native.name, size_of::<Instance<T>>(), flags, &mut slots)
}

/// Makes a type from its parts; `slots` ends with a zeroed one.
pub(crate) fn make_type<'py>(
    py: Python<'py>,
    module: &Object<'py>,
    name: &'static CStr,
    instance_size: usize,
    flags: std::ffi::c_ulong,
    slots: &mut [ffi::PyType_Slot],
) -> Raise<Object<'py>> {
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: c_int::try_from(instance_size).unwrap_or(c_int::MAX),
        itemsize: 0,
        flags: c_uint::try_from(flags).unwrap_or(0),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; name, slots and what they point to fit `PyType_FromModuleAndSpec`, which copies the slots.
    unsafe { owned(py, ffi::PyType_FromModuleAndSpec(module.as_ptr(), &raw mut spec, std::ptr::null_mut())) }
}

/// Makes an object of a type from [`native_type`] with the same `T`.
///
/// # Safety
/// `kind` is such a type.
pub(crate) unsafe fn instance<'py, T>(kind: &Object<'py>, value: T) -> Raise<Object<'py>> {
    // SAFETY: the type's objects are laid out as `Instance<T>`; the value is written before anybody sees the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0);
        if object.is_null() {
            return Err(Raised);
        }
        (*object.cast::<Instance<T>>()).value.write(value);
        owned(kind.py(), object)
    }
}

/// The value inside an object of a native type.
///
/// # Safety
/// `object` is a live object made by [`instance`] with the same `T`, and stays so for `'a`.
pub(crate) unsafe fn value_of<'a, T>(object: *mut ffi::PyObject) -> &'a T {
    // SAFETY: promised by the caller; the value was written when the object was made.
    unsafe { (*object.cast::<Instance<T>>()).value.assume_init_ref() }
}

/// `tp_dealloc` of native types.
unsafe extern "C" fn deallocate<T>(object: *mut ffi::PyObject) {
    // SAFETY: called once for an object of the type, whose value was written when it was made. An object of a heap
    // type owns a reference to its type.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let value = (*object.cast::<Instance<T>>()).value.assume_init_read();
        // A panic while dropping must not reach C; there is nobody to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        let free = (*kind).tp_free.unwrap_or(ffi::PyObject_Free);
        free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// Makes a built-in function bound to an object.
///
/// # Safety
/// `definition` lives forever and its function expects `bound` as its first argument.
pub(crate) unsafe fn function<'py>(
    py: Python<'py>,
    definition: *mut ffi::PyMethodDef,
    bound: &Object<'py>,
    module: Option<&Object<'py>>,
) -> Raise<Object<'py>> {
    let module = module.map_or(std::ptr::null_mut(), Object::as_ptr);
    // SAFETY: promised by the caller.
    unsafe { owned(py, ffi::PyCFunction_NewEx(definition, bound.as_ptr(), module)) }
}

/// A C string for a name given as text, for formats that want one; a NUL ends it early.
pub(crate) fn c_text(text: &str) -> std::ffi::CString {
    let cut = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
    std::ffi::CString::new(&text.as_bytes()[..cut]).unwrap_or_default()
}
