//! The facts of one request and its environ entries.
//!
//! In embedded mode a [`Facts`] is handed over by pointer; in daemon mode [`encode`] packs it into a
//! [`crate::frame::Kind::Request`] payload and [`decode`] borrows it from there. The engine sees the same type.

use std::ffi::c_void;

use crate::abi::{Bytes, Entry};
use crate::keys;
use crate::script_file::ScriptFile;
use crate::wire::{Malformed, Reader, malformed, put_long, put_short};

/// Reload the script when its file has changed (`WSGIScriptReloading On`).
pub const RELOAD: u32 = 1;
/// `WSGIEnableSendfile On`.
pub const SENDFILE: u32 = 2;
/// `WSGIIgnoreActivity On`: this request does not reset the inactivity timer.
pub const IGNORE_ACTIVITY: u32 = 4;
/// `WSGICaseSensitivity Off` lower-cases the script's path for its module name.
pub const FOLD_CASE: u32 = 8;
/// The script is a handler script: its callable is `handle_request`.
pub const HANDLER_SCRIPT: u32 = 16;
/// The method is safe (GET, HEAD, OPTIONS, TRACE): the request may be given to another process after it was accepted.
pub const SAFE_METHOD: u32 = 32;
/// The request body is wholly in the request frame (daemon mode), or there is none.
pub const BODY_INCLUDED: u32 = 64;
/// The application group is one that the configuration names, whatever the client sends.
pub const OWN_GROUP: u32 = 128;

/// `WSGILogFormat json` for the request's virtual host.
pub const JSON_LOG: u32 = 1 << 31;

/// Where the number of tries to reach a daemon process begins in the flags, a byte long.
const CONNECTS_SHIFT: u32 = 8;

/// Where the number of processes that refused the request because they were leaving begins in the flags, a byte long.
const RESTARTS_SHIFT: u32 = 16;

/// Where the highest level number that is logged for the request begins in the flags, plus one and less than the
/// byte's highest bit; 0 is "not known".
const LOG_LEVEL_SHIFT: u32 = 24;

/// The most environ entries of one request; Apache's own limits on header fields stay far below.
pub const MAX_ENTRIES: usize = 4096;

/// What the engine has to know of a request besides its environ entries. Times are microseconds since the epoch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Handed back in every host call of embedded mode; null in daemon mode.
    pub host: *mut c_void,
    /// The first environ entry.
    entries: *const Entry<'a>,
    /// How many environ entries there are.
    entry_count: usize,
    /// The script file's path.
    pub script: Bytes<'a>,
    /// The [`crate::script_file::ScriptFile::version`] of the script's file, or that it is unknown.
    pub script_version: u64,
    /// The resolved application group; empty is the main interpreter.
    pub application_group: Bytes<'a>,
    /// The resolved callable's name.
    pub callable: Bytes<'a>,
    /// `mod_wsgi.request_handler`.
    pub handler: Bytes<'a>,
    /// `mod_wsgi.handler_script`, empty unless one is used.
    pub handler_script: Bytes<'a>,
    /// The flags above.
    pub flags: u32,
    /// The body's length: -1 when it is not known beforehand (chunked), 0 when there is none.
    pub content_length: i64,
    /// When Apache accepted the request.
    pub request_start: i64,
    /// When the child reached the daemon; 0 in embedded mode.
    pub queue_start: i64,
    /// A number that no other request of the group has; a worker of a daemon writes it to its place on the status page
    /// when it takes the request. 0: it sends a frame instead.
    pub ticket: u64,
    /// The [`crate::page::Header::identity`] of the page where the child looks for its ticket.
    pub page: u64,
    /// `PyCapsule` of the `request_rec` for `WSGIPassApacheRequest`; null otherwise and in daemon mode.
    pub request_rec: *mut c_void,
}

impl<'a> Facts<'a> {
    /// Facts with these entries and nothing else set.
    #[must_use]
    pub fn new(entries: &'a [Entry<'a>]) -> Self {
        Self {
            host: std::ptr::null_mut(),
            entries: entries.as_ptr(),
            entry_count: entries.len(),
            script: Bytes::NONE,
            script_version: ScriptFile::UNKNOWN,
            application_group: Bytes::NONE,
            callable: Bytes::NONE,
            handler: Bytes::NONE,
            handler_script: Bytes::NONE,
            flags: 0,
            content_length: 0,
            request_start: 0,
            queue_start: 0,
            ticket: 0,
            page: 0,
            request_rec: std::ptr::null_mut(),
        }
    }

    /// The same facts with other environ entries.
    #[must_use]
    pub fn with_entries(self, entries: &'a [Entry<'a>]) -> Self {
        Self { entries: entries.as_ptr(), entry_count: entries.len(), ..self }
    }

    /// The environ entries.
    #[must_use]
    pub fn entries(&self) -> &'a [Entry<'a>] {
        if self.entries.is_null() {
            return &[];
        }
        // SAFETY: the only constructor takes both from one slice that lives for 'a.
        unsafe { std::slice::from_raw_parts(self.entries, self.entry_count) }
    }

    /// The highest level number that is logged for the request, when it is known.
    #[must_use]
    pub fn log_level(&self) -> Option<u8> {
        u8::try_from((self.flags & !JSON_LOG) >> LOG_LEVEL_SHIFT).ok()?.checked_sub(1)
    }

    /// Sets [`Facts::log_level`].
    pub fn set_log_level(&mut self, level: u8) {
        let rest = self.flags & (JSON_LOG | ((1 << LOG_LEVEL_SHIFT) - 1));
        self.flags = rest | u32::from(level.min(15) + 1) << LOG_LEVEL_SHIFT;
    }

    /// How often a daemon process was tried, this one included; 0 in embedded mode.
    #[must_use]
    pub fn connects(&self) -> u8 {
        self.flags.to_le_bytes()[CONNECTS_SHIFT as usize / 8]
    }

    /// How many daemon processes refused the request because they were leaving.
    #[must_use]
    pub fn restarts(&self) -> u8 {
        self.flags.to_le_bytes()[RESTARTS_SHIFT as usize / 8]
    }

    /// Sets [`Facts::connects`] and [`Facts::restarts`].
    pub fn set_tries(&mut self, connects: u8, restarts: u8) {
        let mut bytes = self.flags.to_le_bytes();
        bytes[CONNECTS_SHIFT as usize / 8] = connects;
        bytes[RESTARTS_SHIFT as usize / 8] = restarts;
        self.flags = u32::from_le_bytes(bytes);
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Since when the request waits for a process: since it began, as Apache's own work counts; but the time in which the client
    /// sent a body that travels with it does not.
    #[must_use]
    pub fn queued_since(&self, included: &[u8]) -> i64 {
        if included.is_empty() { self.request_start } else { self.queue_start }
    }
}

/// Appends the payload of a request frame: facts, entries, then the body bytes that travel with it.
///
/// # Errors
/// When a key is longer than 65 535 bytes or there are more than [`MAX_ENTRIES`] entries.
pub fn encode(facts: &Facts<'_>, body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let entries = facts.entries();
    if entries.len() > MAX_ENTRIES {
        return malformed("number of environ entries");
    }
    out.extend_from_slice(&facts.flags.to_le_bytes());
    out.extend_from_slice(&facts.script_version.to_le_bytes());
    for number in [facts.content_length, facts.request_start, facts.queue_start] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&facts.ticket.to_le_bytes());
    out.extend_from_slice(&facts.page.to_le_bytes());
    for text in [facts.script, facts.application_group, facts.callable, facts.handler, facts.handler_script] {
        put_long(out, text.or_empty());
    }
    out.extend_from_slice(&u16::try_from(entries.len()).unwrap_or(u16::MAX).to_le_bytes());
    for entry in entries {
        out.push(entry.key);
        if entry.key == keys::LITERAL {
            put_short(out, entry.name.or_empty(), "environ key")?;
        }
        match entry.value.get() {
            Some(value) => {
                out.push(1);
                put_long(out, value);
            }
            None => out.push(0),
        }
    }
    out.extend_from_slice(body);
    Ok(())
}

/// Sets [`Facts::connects`] and [`Facts::restarts`] in a payload that [`encode`] made.
pub fn patch_tries(payload: &mut [u8], connects: u8, restarts: u8) {
    // The flags stand first.
    if let Some(flags) = payload.first_chunk_mut::<4>() {
        flags[CONNECTS_SHIFT as usize / 8] = connects;
        flags[RESTARTS_SHIFT as usize / 8] = restarts;
    }
}

/// Sets [`Facts::ticket`] in a payload that [`encode`] made.
pub fn patch_ticket(payload: &mut [u8], ticket: u64) {
    // Behind the flags and four numbers.
    if let Some(place) = payload.get_mut(36..44) {
        place.copy_from_slice(&ticket.to_le_bytes());
    }
}

/// Room for the decoded entries of a request, reused from request to request.
#[derive(Default)]
pub struct Storage(Vec<Entry<'static>>);

impl Storage {
    /// The emptied room, for entries of any lifetime.
    fn empty<'a>(&'a mut self) -> &'a mut Vec<Entry<'a>> {
        self.0.clear();
        // SAFETY: lifetimes do not change the layout, and the vector is empty. What is put into it lives for 'a and
        // cannot be seen later: the field is private and every use begins by emptying it without reading.
        unsafe { &mut *(&raw mut self.0).cast::<Vec<Entry<'a>>>() }
    }
}

/// Reads a request frame's payload. Returns the facts and the body bytes that came along.
///
/// # Errors
/// When the payload does not follow the format.
pub fn decode<'a>(payload: &'a [u8], storage: &'a mut Storage) -> Result<(Facts<'a>, &'a [u8]), Malformed> {
    let entries = storage.empty();
    let mut reader = Reader::new(payload);
    let flags = reader.u32("request flags")?;
    let script_version = reader.u64("script version")?;
    let content_length = reader.i64("content length")?;
    let request_start = reader.i64("request start")?;
    let queue_start = reader.i64("queue start")?;
    let ticket = reader.u64("ticket")?;
    let page = reader.u64("page")?;
    let script = Bytes::new(reader.long("script")?);
    let application_group = Bytes::new(reader.long("application group")?);
    let callable = Bytes::new(reader.long("callable")?);
    let handler = Bytes::new(reader.long("handler")?);
    let handler_script = Bytes::new(reader.long("handler script")?);
    let count = usize::from(reader.u16("number of environ entries")?);
    if count > MAX_ENTRIES {
        return malformed("number of environ entries");
    }
    for _ in 0..count {
        let key = reader.u8("environ key")?;
        let name = if key == keys::LITERAL { Bytes::new(reader.short("environ key")?) } else { Bytes::NONE };
        let value = match reader.u8("environ value")? {
            0 => Bytes::NONE,
            1 => Bytes::new(reader.long("environ value")?),
            _ => return malformed("environ value"),
        };
        entries.push(Entry { key, name, value });
    }
    let body = reader.rest();
    let mut facts = Facts::new(entries);
    facts.flags = flags;
    facts.script_version = script_version;
    facts.content_length = content_length;
    facts.request_start = request_start;
    facts.queue_start = queue_start;
    facts.ticket = ticket;
    facts.page = page;
    facts.script = script;
    facts.application_group = application_group;
    facts.callable = callable;
    facts.handler = handler;
    facts.handler_script = handler_script;
    Ok((facts, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_survives_its_frame() {
        let entries = [
            Entry { key: keys::id("HTTP_HOST"), name: Bytes::NONE, value: Bytes::new(b"localhost") },
            Entry { key: keys::LITERAL, name: Bytes::new(b"HTTP_X_ODD"), value: Bytes::new(b"") },
            Entry { key: keys::LITERAL, name: Bytes::new(b"EMPTY"), value: Bytes::NONE },
        ];
        let mut facts = Facts::new(&entries);
        facts.script = Bytes::new(b"/srv/app.wsgi");
        facts.callable = Bytes::new(b"application");
        facts.flags = RELOAD | SAFE_METHOD;
        facts.set_log_level(6);
        facts.set_tries(1, 0);
        (facts.ticket, facts.page) = (u64::MAX, 7);
        facts.content_length = -1;
        facts.request_start = 1_700_000_000_000_000;
        let mut payload = Vec::new();
        encode(&facts, b"body", &mut payload).expect("it fits");
        patch_tries(&mut payload, 3, 2);
        patch_ticket(&mut payload, 4711);

        let mut storage = Storage::default();
        let (read, body) = decode(&payload, &mut storage).expect("own output is read");
        assert_eq!(body, b"body");
        assert_eq!(read.script.get(), Some(&b"/srv/app.wsgi"[..]));
        assert_eq!(read.application_group.get(), Some(&b""[..]));
        assert!(read.has(RELOAD) && read.has(SAFE_METHOD) && !read.has(SENDFILE));
        assert_eq!(read.log_level(), Some(6));
        assert_eq!((read.connects(), read.restarts()), (3, 2));
        assert_eq!((read.ticket, read.page), (4711, 7));
        assert_eq!((read.content_length, read.request_start), (-1, 1_700_000_000_000_000));
        assert_eq!(read.entries().len(), 3);
        assert_eq!(read.entries()[1].name.get(), Some(&b"HTTP_X_ODD"[..]));
        assert_eq!(read.entries()[1].value.get(), Some(&b""[..]));
        assert_eq!(read.entries()[2].value.get(), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut storage = Storage::default();
            let _ = decode(&payload, &mut storage);
        }

        #[test]
        fn a_cut_frame_is_refused(cut in 0usize..100) {
            let entries = [Entry { key: keys::id("HTTP_HOST"), name: Bytes::NONE, value: Bytes::new(b"x") }];
            let mut payload = Vec::new();
            encode(&Facts::new(&entries), b"", &mut payload).expect("it fits");
            prop_assume!(cut < payload.len());
            let mut storage = Storage::default();
            prop_assert!(decode(&payload[..cut], &mut storage).is_err());
        }
    }
}
