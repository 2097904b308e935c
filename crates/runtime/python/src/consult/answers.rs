//! What the functions of deciding scripts may return, and what it means.

use pyo3::ffi;
use wsgi_protocol::consult::Advice;

use crate::object::{Object, Raise, Raised, bytes_of, is_none, owned, raise, restore, type_error};

/// An answer, with the texts that belong to it.
pub(crate) type Advised = (Advice, Vec<Option<Vec<u8>>>);

/// Why a result is no answer.
pub(super) enum Unfit {
    /// An exception.
    Raised(Raised),
    /// This is to be logged.
    Wrong(String),
    /// Both.
    Both(String, Raised),
}

impl From<Raised> for Unfit {
    fn from(raised: Raised) -> Self {
        Self::Raised(raised)
    }
}

fn plain(advice: Advice) -> Advised {
    (advice, Vec::new())
}

fn with(text: Vec<u8>) -> Advised {
    (Advice::Yes, vec![Some(text)])
}

/// `True` or `False` themselves.
fn boolean(result: &Object<'_>) -> Option<bool> {
    // SAFETY: attached; both objects live as long as the interpreter.
    unsafe {
        match () {
            () if result.as_ptr() == ffi::Py_True() => Some(true),
            () if result.as_ptr() == ffi::Py_False() => Some(false),
            () => None,
        }
    }
}

fn is_text(result: &Object<'_>) -> bool {
    // SAFETY: alive, attached.
    unsafe { ffi::PyUnicode_Check(result.as_ptr()) != 0 }
}

fn encoded(text: &Object<'_>, encoding: &std::ffi::CStr) -> Raise<Vec<u8>> {
    // SAFETY: a str, alive, attached; the names end in NUL, null is strict.
    let bytes = unsafe {
        owned(text.py(), ffi::PyUnicode_AsEncodedString(text.as_ptr(), encoding.as_ptr(), std::ptr::null()))?
    };
    Ok(bytes_of(&bytes).unwrap_or_default().to_vec())
}

/// What `check_password` returned.
pub(super) fn password(result: &Object<'_>) -> Result<Advised, Unfit> {
    match boolean(result) {
        Some(true) => return Ok(plain(Advice::Yes)),
        Some(false) => return Ok(plain(Advice::No)),
        None => {}
    }
    if is_none(result) {
        return Ok(plain(Advice::Nothing));
    }
    let wrong = || {
        let text = "WSGI0177: Basic auth provider must return True, False, None or user name as string.";
        Unfit::Wrong(text.to_owned())
    };
    if !is_text(result) {
        return Err(wrong());
    }
    let name = encoded(result, c"utf-8")?;
    if name.is_empty() {
        return Err(Unfit::Wrong("WSGI0176: Basic auth provider returned empty user name string.".to_owned()));
    }
    // Apache's texts end at a NUL byte: the rest would be lost, and the name would be another user's.
    if name.contains(&0) { Err(wrong()) } else { Ok(with(name)) }
}

/// What `get_realm_hash` returned.
pub(super) fn realm_hash(result: &Object<'_>) -> Result<Advised, Unfit> {
    if is_none(result) {
        return Ok(plain(Advice::Nothing));
    }
    let hash = if is_text(result) {
        encoded(result, c"latin-1")?
    } else if let Some(bytes) = bytes_of(result) {
        bytes.to_vec()
    } else {
        let text = "WSGI0179: Digest auth provider must return None or string object.";
        return Err(Unfit::Wrong(text.to_owned()));
    };
    if hash.is_empty() {
        return Err(Unfit::Wrong("WSGI0178: Digest auth provider returned empty realm hash.".to_owned()));
    }
    Ok(with(hash))
}

/// What `groups_for_user` returned.
pub(super) fn groups(result: &Object<'_>, script: &str) -> Result<Advised, Unfit> {
    let py = result.py();
    // SAFETY: alive, attached.
    let iterator = unsafe { owned(py, ffi::PyObject_GetIter(result.as_ptr())) }.map_err(|raised| {
        let text = format!(
            "WSGI0051: Result returned from 'groups_for_user' in '{script}' is not iterable; expected an iterable \
             sequence of byte strings."
        );
        Unfit::Both(text, raised)
    })?;
    let mut groups = Vec::new();
    loop {
        // SAFETY: an iterator, alive, attached; null without an exception is the end.
        let item = unsafe { pyo3::Bound::from_owned_ptr_or_opt(py, ffi::PyIter_Next(iterator.as_ptr())) };
        let Some(item) = item else {
            // SAFETY: attached.
            let ended = unsafe { ffi::PyErr_Occurred() }.is_null();
            // What came before the exception is not all: a rule that forbids a group must not pass because of it.
            return if ended { Ok((Advice::Yes, groups)) } else { Err(Unfit::Raised(Raised)) };
        };
        let name = if is_text(&item) {
            encoded(&item, c"latin-1").map_err(|raised| {
                let text = format!(
                    "WSGI0049: Item returned from 'groups_for_user' in '{script}' is a string containing characters \
                     that cannot be encoded as latin-1; expected a byte string."
                );
                Unfit::Both(text, raised)
            })?
        } else if let Some(bytes) = bytes_of(&item) {
            bytes.to_vec()
        } else {
            let text = format!("WSGI0050: Item returned from 'groups_for_user' in '{script}' is not a byte string.");
            return Err(Unfit::Wrong(text));
        };
        groups.push(Some(name));
    }
}

/// What `allow_access` returned.
pub(super) fn access(result: &Object<'_>, script: &str) -> Result<Advised, Unfit> {
    match boolean(result) {
        Some(true) => Ok(plain(Advice::Yes)),
        Some(false) => Ok(plain(Advice::No)),
        None if is_none(result) => Ok(plain(Advice::Nothing)),
        None => Err(Unfit::Wrong(format!(
            "WSGI0055: Result returned from 'allow_access' in '{script}' must be a boolean or None."
        ))),
    }
}

/// One function of a dispatch script.
pub(super) struct Choice {
    pub(super) function: &'static str,
    /// What it returns, in the words of an error.
    what: &'static str,
    /// What that has to be.
    kind: &'static str,
}

/// The functions in the order in which they are asked; the answers keep it.
pub(super) const DISPATCH: &[Choice] = &[
    Choice { function: "process_group", what: "Process group", kind: "byte string" },
    Choice { function: "application_group", what: "Application group", kind: "string object" },
    Choice { function: "callable_object", what: "Callable object", kind: "string object" },
];

impl Choice {
    /// The name that was returned; `None` leaves the choice to the configuration.
    pub(super) fn read(&self, result: &Object<'_>) -> Raise<Option<Vec<u8>>> {
        let py = result.py();
        if is_none(result) {
            return Ok(None);
        }
        if let Some(bytes) = bytes_of(result) {
            return Ok(Some(bytes.to_vec()));
        }
        if !is_text(result) {
            return Err(raise(py, type_error(), &format!("{} must be a {}", self.what, self.kind)));
        }
        encoded(result, c"latin-1").map(Some).map_err(|raised| {
            let cause = raised.take(py);
            let text = format!("{} must be a byte string, value containing non 'latin-1' characters found", self.what);
            let raised = raise(py, type_error(), &text);
            let (Some(cause), Some(exception)) = (cause, raised.take(py)) else { return Raised };
            // SAFETY: both are exceptions, alive, attached; the call takes over the reference to the cause.
            unsafe { ffi::PyException_SetCause(exception.as_ptr(), cause.into_ptr()) };
            restore(&exception)
        })
    }
}
