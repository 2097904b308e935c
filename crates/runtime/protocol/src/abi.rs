//! Embedded mode: the two tables of C functions that the Apache module and `wsgi_python-X.Y.so` hand each other.
//!
//! The module opens the engine with `dlopen(RTLD_NOW | RTLD_GLOBAL)` in the Apache child, looks up [`ENGINE_SYMBOL`]
//! and calls it once with its own [`HostTable`]; it gets the [`EngineTable`] back, or null when the versions do not
//! fit. Nothing that passes here unwinds: both sides catch their panics.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;

use crate::keys::KeyId;

/// Changes when a table's existing fields change; new fields at a table's end only make its `size` grow.
pub const ABI_VERSION: u32 = 2;

/// The engine's exported entry, of type [`EngineEntry`].
pub const ENGINE_SYMBOL: &CStr = c"mod_wsgi_rs_engine";

/// See [`ENGINE_SYMBOL`]. The tables live as long as the process.
pub type EngineEntry = unsafe extern "C" fn(host: *const HostTable) -> *const EngineTable;

/// Borrowed bytes with a C layout. A null pointer stands for "absent" and differs from an empty string.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    pointer: *const u8,
    length: usize,
    borrowed: PhantomData<&'a [u8]>,
}

// SAFETY: it is a shared borrow of bytes, as `&[u8]` is.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Bytes<'_> {}

impl<'a> Bytes<'a> {
    /// "Absent."
    pub const NONE: Bytes<'static> = Bytes { pointer: std::ptr::null(), length: 0, borrowed: PhantomData };

    /// Borrows `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { pointer: bytes.as_ptr(), length: bytes.len(), borrowed: PhantomData }
    }

    /// The bytes, `None` when absent.
    #[must_use]
    pub fn get(self) -> Option<&'a [u8]> {
        if self.pointer.is_null() {
            return None;
        }
        // SAFETY: a `Bytes` is only made from a slice that lives for 'a, on either side of the table.
        Some(unsafe { std::slice::from_raw_parts(self.pointer, self.length) })
    }

    /// The bytes, empty when absent.
    #[must_use]
    pub fn or_empty(self) -> &'a [u8] {
        self.get().unwrap_or_default()
    }
}

impl Default for Bytes<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            Some(bytes) => write!(formatter, "\"{}\"", bytes.escape_ascii()),
            None => formatter.write_str("none"),
        }
    }
}

/// One environ entry. An absent value becomes `None` in the environ.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The key's number, or [`crate::keys::LITERAL`] and the key in `name`.
    pub key: KeyId,
    /// The key's name when it has no number.
    pub name: Bytes<'a>,
    /// The value's bytes.
    pub value: Bytes<'a>,
}

/// The level of a log record: Apache's (and syslog's) numbers.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `emerg`
    Emergency = 0,
    /// `alert`
    Alert = 1,
    /// `crit`
    Critical = 2,
    /// `error`
    Error = 3,
    /// `warn`
    Warning = 4,
    /// `notice`
    Notice = 5,
    /// `info`
    Info = 6,
    /// `debug`
    Debug = 7,
    /// `trace1`
    Trace = 8,
}

impl Level {
    /// Apache's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emerg",
            Self::Alert => "alert",
            Self::Critical => "crit",
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace1",
        }
    }

    /// The level with this number; numbers beyond `trace1` become `trace1`.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Emergency,
            1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            7 => Self::Debug,
            _ => Self::Trace,
        }
    }
}

/// One log record that belongs to a request, or to none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// A number of [`Level`].
    pub level: u8,
    /// The source line, 0 when unknown.
    pub line: u32,
    /// The source file, absent when unknown (becomes Apache's `%F`).
    pub file: Bytes<'a>,
    /// The text, without its line's end.
    pub text: Bytes<'a>,
    /// Not 0: the text is a JSON object, to be written as a line of its own as it is.
    pub json: u8,
}

impl Record<'_> {
    /// In a byte: the level, and whether it is JSON.
    #[must_use]
    pub fn packed_level(&self) -> u8 {
        (self.level & !JSON) | if self.json == 0 { 0 } else { JSON }
    }

    /// Takes [`Record::packed_level`] apart.
    #[must_use]
    pub fn unpack_level(packed: u8) -> (u8, u8) {
        (packed & !JSON, u8::from(packed & JSON != 0))
    }

    /// The text, when it can be written as a line of its own: an object without line ends or other control
    /// characters. Whoever made it may be hostile.
    #[must_use]
    pub fn object(&self) -> Option<&[u8]> {
        let text = self.text.or_empty();
        let whole = self.json != 0 && text.starts_with(b"{\"") && text.ends_with(b"}");
        (whole && !text.iter().any(u8::is_ascii_control)).then_some(text)
    }
}

/// The bit of a packed level that says JSON.
const JSON: u8 = 0x80;

/// One header field of a response.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The field's name.
    pub name: Bytes<'a>,
    /// The field's value.
    pub value: Bytes<'a>,
}

/// Status and header fields of a response.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawHead<'a> {
    /// The three-digit status.
    pub status: u16,
    /// The whole status line as the application gave it, such as `200 OK`.
    pub line: Bytes<'a>,
    /// The first field.
    pub fields: *const Field<'a>,
    /// How many fields there are.
    pub count: usize,
}

/// What a host function reports; the text behind a failure is asked for with [`HostTable::error_text`].
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Done.
    Ok = 0,
    /// The client has gone away.
    ClientGone = 1,
    /// It failed otherwise.
    Failed = 2,
}

/// What the Apache module offers to the engine. `request` is [`crate::request::Facts::host`].
///
/// Functions with a `request` may be called from any thread of the process, but only while the call of
/// [`EngineTable::serve`] or [`EngineTable::consult`] that was given it runs, and one at a time for each request. An
/// application may read its input or write its response on threads of its own: the engine's session has a lock around
/// its gateway, and takes the gateway out before the call returns. The host checks it in debug builds. Functions without
/// a request may be called from any thread at any time.
#[repr(C)]
pub struct HostTable {
    /// [`ABI_VERSION`].
    pub version: u32,
    /// Size of this table in bytes.
    pub size: u32,
    /// Writes a record to the server's log, from any thread.
    pub log: unsafe extern "C" fn(record: *const Record<'_>),
    /// Writes a record to the log of the request's virtual host.
    pub request_log: unsafe extern "C" fn(request: *mut c_void, record: *const Record<'_>),
    /// The highest level number that is logged for the request (null: for the server).
    pub log_level: unsafe extern "C" fn(request: *mut c_void) -> u8,
    /// Reads up to `length` bytes of the body: their count, 0 at its end, negative on failure. The first call sends
    /// `100 Continue` when the client waits for it.
    pub read_body: unsafe extern "C" fn(request: *mut c_void, buffer: *mut u8, length: usize) -> isize,
    /// Sets status and header fields; nothing is written before the first body bytes or the end. Called once.
    pub send_head: unsafe extern "C" fn(request: *mut c_void, head: *const RawHead<'_>) -> Sent,
    /// Sends body bytes, which the host copies or writes before it returns; `flush` is 0 or 1.
    pub send_body: unsafe extern "C" fn(request: *mut c_void, data: Bytes<'_>, flush: u8) -> Sent,
    /// Sends `length` bytes of an open file from `offset`. The descriptor stays the caller's.
    pub send_file: unsafe extern "C" fn(request: *mut c_void, descriptor: i32, offset: u64, length: u64) -> Sent,
    /// The text of the last failure of this request ("Connection was terminated"), valid until its next host call.
    pub error_text: unsafe extern "C" fn(request: *mut c_void) -> Bytes<'static>,
    /// Apache's log id of the request (`%L`), made on demand.
    pub request_id: unsafe extern "C" fn(request: *mut c_void) -> Bytes<'static>,
    /// The process has so many interpreters now.
    pub interpreters: unsafe extern "C" fn(count: u32),
    /// Takes one answer of a script ([`EngineTable::consult`]), copied before it returns. Answers come in their order;
    /// an absent one holds its place.
    pub answer: unsafe extern "C" fn(request: *mut c_void, answer: Bytes<'_>),
    /// 1 when the client's connection is encrypted.
    pub is_https: unsafe extern "C" fn(request: *mut c_void) -> u8,
    /// A variable of mod_ssl; absent when there is none. Valid as long as the request.
    pub ssl_variable: unsafe extern "C" fn(request: *mut c_void, name: Bytes<'_>) -> Bytes<'static>,
    /// Calls `take` once with an encoded [`crate::scoreboard::Snapshot`]; not at all when there is no scoreboard.
    pub scoreboard: unsafe extern "C" fn(take: TakeBytes, context: *mut c_void),
}

/// See [`HostTable::scoreboard`].
pub type TakeBytes = unsafe extern "C" fn(context: *mut c_void, bytes: Bytes<'_>);

/// What [`EngineTable::serve`] returns: [`SERVED`], [`TRUNCATED`], or the HTTP status of an error response that Apache
/// makes because no head was sent.
pub type Outcome = u16;

/// The response is complete.
pub const SERVED: Outcome = 0;
/// The head was sent, the rest failed: the host must not make the response look complete.
pub const TRUNCATED: Outcome = 1;

/// What the engine offers to the Apache module.
#[repr(C)]
pub struct EngineTable {
    /// [`ABI_VERSION`].
    pub version: u32,
    /// Size of this table in bytes.
    pub size: u32,
    /// Python's version as it was compiled against, such as `3.11.2`.
    pub python_version: Bytes<'static>,
    /// Starts Python with an encoded [`crate::launch::Python`]; runs its imports. 0, or a failure that was logged.
    pub start: unsafe extern "C" fn(config: Bytes<'_>) -> i32,
    /// Serves one request on the calling thread.
    pub serve: unsafe extern "C" fn(facts: *const crate::request::Facts<'_>) -> Outcome,
    /// Ends Python in the process: shutdown callbacks, `atexit`, finalisation. Called once, from the thread that
    /// called `start` or from another.
    pub stop: unsafe extern "C" fn(),
    /// Asks a script that decides on a request, on the calling thread.
    pub consult: unsafe extern "C" fn(consultation: *const crate::consult::Consultation<'_>) -> crate::consult::Advice,
    /// Interrupts what the application is doing in this process, because the process ends. From a thread that does not
    /// serve.
    pub interrupt: unsafe extern "C" fn(),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_object_is_a_line_of_its_own() {
        let object = |text: &'static [u8], json| {
            let record = Record { level: 3, line: 0, file: Bytes::NONE, text: Bytes::new(text), json };
            let (level, again) = Record::unpack_level(record.packed_level());
            assert_eq!((level, again), (3, json));
            record.object().is_some()
        };
        assert!(object(b"{\"a\":1}", 1));
        assert!(!object(b"{\"a\":1}", 0), "it does not say that it is one");
        assert!(!object(b"{\"a\":1}\n[Sat] [core:crit] gotcha {}", 1), "two lines");
        assert!(!object(b"[Sat] [core:crit] gotcha", 1));
        assert!(!object(b"{\"a\":\"\x1b\"}", 1), "a terminal would obey");
    }
}
