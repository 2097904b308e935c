//! What an application may say in a status line and in header fields, with the exceptions for the rest.

use pyo3::{Python, ffi};

use crate::object::{
    Object, Raise, Raised, bytes, full_type_name, list_item, list_length, owned, raise, represented, type_error,
    value_error,
};
use crate::wsgi::session::OwnedHead;

/// The latin-1 bytes of a `str`, borrowed from it where CPython stores them so.
pub(crate) enum Latin1<'py> {
    /// A `str` whose characters are one byte each.
    Compact(Object<'py>),
    /// `bytes` that were made from a `str`.
    Encoded(Object<'py>),
}

impl<'py> Latin1<'py> {
    /// Takes a `str` apart.
    pub(crate) fn new(value: Object<'py>) -> Raise<Self> {
        let py = value.py();
        // SAFETY: alive, attached; the kind is asked of a `str` only.
        unsafe {
            if ffi::PyUnicode_Check(value.as_ptr()) == 0 {
                let message = format!("must be str, not {}", full_type_name(&value));
                return Err(raise(py, type_error(), &message));
            }
            #[cfg(not(Py_3_12))]
            if ffi::PyUnicode_READY(value.as_ptr()) < 0 {
                return Err(Raised);
            }
            if ffi::PyUnicode_KIND(value.as_ptr()) == ffi::PyUnicode_1BYTE_KIND {
                return Ok(Self::Compact(value));
            }
            // Raises the UnicodeEncodeError for what is not latin-1.
            owned(py, ffi::PyUnicode_AsLatin1String(value.as_ptr())).map(Self::Encoded)
        }
    }

    /// The bytes up to the first NUL: what follows one is lost.
    pub(crate) fn bytes(&self) -> &[u8] {
        let all = match self {
            // SAFETY: ready and of one-byte kind, as `new` saw; a `str` does not change.
            Self::Compact(text) => unsafe {
                let length = usize::try_from(ffi::PyUnicode_GET_LENGTH(text.as_ptr())).unwrap_or(0);
                std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(text.as_ptr()), length)
            },
            Self::Encoded(encoded) => crate::object::bytes_of(encoded).unwrap_or_default(),
        };
        match all.iter().position(|byte| *byte == 0) {
            Some(end) => &all[..end],
            None => all,
        }
    }
}

fn refuse(py: Python<'_>, what: &str, value: &[u8]) -> Raised {
    match bytes(py, value) {
        Ok(value) => raise(py, value_error(), &format!("{what}: {}", represented(&value))),
        Err(raised) => raised,
    }
}

/// Checks a status line and gives its number.
pub(crate) fn status(py: Python<'_>, line: &[u8]) -> Raise<u16> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = line.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| text.parse().ok());
    let (3, Some(number @ 100..=999)) = (digits, number) else {
        return Err(refuse(py, "status code must be a 3 digit integer", line));
    };
    let rest = &line[3..];
    if rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(refuse(py, "no space following status code", line));
    }
    if rest.iter().any(u8::is_ascii_control) {
        return Err(refuse(py, "control character in status reason phrase", line));
    }
    if number < 200 {
        // A client goes on waiting behind such a status, and takes the body for the beginning of the next answer.
        return Err(refuse(py, "status code of a response must not be informational (1xx)", line));
    }
    Ok(number)
}

fn header_name(py: Python<'_>, name: &[u8]) -> Raise<()> {
    if name.is_empty() {
        return Err(raise(py, value_error(), "header name is empty"));
    }
    match name.iter().find(|byte| byte.is_ascii_control() || **byte == b' ') {
        None => Ok(()),
        Some(b' ') => Err(refuse(py, "space character in header name", name)),
        Some(_) => Err(refuse(py, "control character in header name", name)),
    }
}

fn header_value(py: Python<'_>, value: &[u8]) -> Raise<()> {
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(refuse(py, "carriage return/line feed character in header value", value));
    }
    Ok(())
}

/// Checks the list of headers and puts them into `head`, which has begun with the status line.
pub(crate) fn headers<'py>(list: &Object<'py>, head: &mut OwnedHead) -> Raise<()> {
    let py = list.py();
    // The length is asked each time: a conversion may run code of the application that changes the list.
    let mut index = 0;
    while index < list_length(list) {
        let item = list_item(list, index)?;
        index += 1;
        // SAFETY: alive, attached; items are asked of a tuple of two only.
        let (name, value) = unsafe {
            if ffi::PyTuple_Check(item.as_ptr()) == 0 {
                let message = format!("each header must be a 2-tuple, not {}", full_type_name(&item));
                return Err(raise(py, type_error(), &message));
            }
            let length = ffi::PyTuple_Size(item.as_ptr());
            if length != 2 {
                let message = format!("each header must be a 2-tuple, got length {length}");
                return Err(raise(py, value_error(), &message));
            }
            (
                crate::object::borrowed(py, ffi::PyTuple_GetItem(item.as_ptr(), 0))?,
                crate::object::borrowed(py, ffi::PyTuple_GetItem(item.as_ptr(), 1))?,
            )
        };
        let name = Latin1::new(name)?;
        let value = Latin1::new(value)?;
        header_name(py, name.bytes())?;
        header_value(py, value.bytes())?;
        head.push(name.bytes(), value.bytes());
    }
    Ok(())
}

/// The declared length: the last `Content-Length` of a head.
pub(crate) fn content_length(py: Python<'_>, head: &OwnedHead) -> Raise<Option<u64>> {
    let declared = head.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length")).last();
    let Some((_, value)) = declared else {
        return Ok(None);
    };
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => {
            let value = crate::object::latin1(py, value)?;
            let message = format!("invalid Content-Length header value: {}", represented(&value));
            Err(raise(py, value_error(), &message))
        }
    }
}
