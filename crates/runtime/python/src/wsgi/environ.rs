//! The environ: a new exact `dict` for each request.
//!
//! What is the same in all requests of an interpreter is copied from a template dict, which is far cheaper than
//! inserting. Requests of one client program have the same set of keys, so the template is refined: a [`Shape`] is a
//! template for one sequence of keys, which also remembers the last values of those that seldom change. A request that
//! fits a shape costs one dict copy, a byte comparison per remembered value, and one replacement per other value.
//!
//! Entries may have the same key: a variable of the configuration, then what the server knows. The last one counts. No
//! variable can replace a key that the engine sets itself.

use std::collections::HashSet;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Entry;
use wsgi_protocol::keys::{self, KeyId};
use wsgi_protocol::launch;
use wsgi_protocol::request::Facts;

use crate::gil_cell::GilCell;
use crate::object::{
    Object, Raise, Stored, boolean, dict, done, filesystem, float, integer, interned, latin1, none, owned, put, text,
    tuple,
};
use crate::slot::c_text;

/// The compatibility level: what frameworks check.
pub(crate) const COMPATIBLE_VERSION: [i64; 3] = [6, 1, 1];

/// Keys whose values come again in request after request and are no secrets of the client: their last value is kept.
const REMEMBERED: &[KeyId] = &[
    keys::id("REQUEST_METHOD"),
    keys::id("SCRIPT_NAME"),
    keys::id("SERVER_NAME"),
    keys::id("SERVER_PORT"),
    keys::id("SERVER_ADDR"),
    keys::id("SERVER_PROTOCOL"),
    keys::id("SERVER_SOFTWARE"),
    keys::id("SERVER_ADMIN"),
    keys::id("REMOTE_ADDR"),
    keys::id("DOCUMENT_ROOT"),
    keys::id("CONTEXT_PREFIX"),
    keys::id("CONTEXT_DOCUMENT_ROOT"),
    keys::id("SCRIPT_FILENAME"),
    keys::id("REQUEST_SCHEME"),
    keys::id("CONTENT_TYPE"),
    keys::id("HTTP_HOST"),
    keys::id("HTTP_USER_AGENT"),
    keys::id("HTTP_ACCEPT"),
    keys::id("HTTP_ACCEPT_ENCODING"),
    keys::id("HTTP_ACCEPT_LANGUAGE"),
    keys::id("HTTP_ACCEPT_CHARSET"),
    keys::id("HTTP_CACHE_CONTROL"),
    keys::id("HTTP_CONNECTION"),
    keys::id("mod_wsgi.script_name"),
    keys::id("mod_wsgi.listener_host"),
    keys::id("mod_wsgi.listener_port"),
    keys::id("mod_wsgi.server_pid"),
];

/// The longest value that is remembered.
const LONGEST_REMEMBERED: usize = 256;

/// How many shapes an interpreter keeps.
const SHAPES: usize = 4;

const HTTPS: KeyId = keys::id("HTTPS");
const REMOTE_ADDR: KeyId = keys::id("REMOTE_ADDR");
const REQUEST_ID: KeyId = keys::id("mod_wsgi.request_id");
const REQUEST_METHOD: KeyId = keys::id("REQUEST_METHOD");
const DOCUMENT_ROOT: KeyId = keys::id("DOCUMENT_ROOT");
const SCRIPT_FILENAME: KeyId = keys::id("SCRIPT_FILENAME");

/// The keys that the engine sets itself in each request.
struct OwnKeys {
    url_scheme: Stored,
    http: Stored,
    https: Stored,
    input: Stored,
    errors: Stored,
    callable: Stored,
    handler: Stored,
    handler_script: Stored,
    thread: Stored,
    request_id: Stored,
    request_start: Stored,
    queue_start: Stored,
    daemon_start: Stored,
    application_start: Stored,
    request_rec: Stored,
}

/// One sequence of keys.
struct Shape {
    slots: Vec<Slot>,
    template: Stored,
}

struct Slot {
    id: KeyId,
    name: Box<[u8]>,
    key: Stored,
    /// Its entry changes nothing: a later one has the same key, or the key is the engine's own.
    hidden: bool,
    /// Its values are kept.
    remember: bool,
    /// The value in the template.
    remembered: Option<Box<[u8]>>,
}

impl Slot {
    fn fits(&self, entry: &Entry<'_>) -> bool {
        self.id == entry.key && (self.id != keys::LITERAL || *self.name == *entry.name.or_empty())
    }
}

/// A text that is usually the one of the last request.
struct Repeated {
    bytes: Vec<u8>,
    value: Stored,
}

/// What an interpreter needs to make environs.
pub(crate) struct Environs {
    base: Stored,
    numbered: Vec<Stored>,
    own: OwnKeys,
    memory: GilCell<Memory>,
}

#[derive(Default)]
struct Memory {
    shapes: Vec<Shape>,
    /// Which shape is replaced next.
    next: usize,
    /// The hash of the last keys that fitted no shape: a shape is made when they come again.
    missed: u64,
    callable: Option<Repeated>,
    handler: Option<Repeated>,
}

/// The times and numbers of one request that the engine knows itself.
pub(crate) struct Moment {
    pub(crate) thread: u32,
    /// When a daemon's thread took the request, microseconds since the epoch; 0 in embedded mode.
    pub(crate) daemon_start: i64,
    /// When the application is called, microseconds since the epoch.
    pub(crate) application_start: i64,
}

fn key(py: Python<'_>, name: &str) -> Raise<Stored> {
    interned(py, &c_text(name)).map(Stored::new)
}

/// A tuple of numbers.
pub(crate) fn version<'py>(py: Python<'py>, parts: &[i64]) -> Raise<Object<'py>> {
    let parts = parts.iter().map(|part| integer(py, *part)).collect::<Raise<Vec<_>>>()?;
    tuple(py, &parts)
}

/// `apache.version`.
pub(crate) fn server_version<'py>(py: Python<'py>, server: &launch::Server) -> Raise<Object<'py>> {
    let (major, minor, patch) = server.version;
    version(py, &[major.into(), minor.into(), patch.into()])
}

/// Microseconds as Python's seconds.
pub(crate) fn seconds(microseconds: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds since the epoch need 51 of 53 bits")]
    let value = microseconds as f64;
    value / 1e6
}

impl Environs {
    /// Prepares an interpreter's templates.
    pub(crate) fn new(py: Python<'_>, config: &launch::Python, group: &[u8], file_wrapper: &Object<'_>) -> Raise<Self> {
        let base = dict(py)?;
        put(&base, c"wsgi.version", &version(py, &[1, 0])?)?;
        put(&base, c"wsgi.url_scheme", &interned(py, c"http")?)?;
        put(&base, c"wsgi.input", &none(py))?;
        put(&base, c"wsgi.input_terminated", &boolean(py, true))?;
        put(&base, c"wsgi.errors", &none(py))?;
        put(&base, c"wsgi.file_wrapper", file_wrapper)?;
        put(&base, c"wsgi.multithread", &boolean(py, config.multithread))?;
        put(&base, c"wsgi.multiprocess", &boolean(py, config.multiprocess))?;
        put(&base, c"wsgi.run_once", &boolean(py, config.run_once))?;
        put(&base, c"apache.version", &server_version(py, &config.server)?)?;
        put(&base, c"mod_wsgi.version", &version(py, &COMPATIBLE_VERSION)?)?;
        put(&base, c"mod_wsgi_rs.version", &text(py, env!("CARGO_PKG_VERSION"))?)?;
        put(&base, c"mod_wsgi.process_group", &latin1(py, &config.process_group)?)?;
        put(&base, c"mod_wsgi.application_group", &latin1(py, group)?)?;
        put(&base, c"mod_wsgi.callable_object", &none(py))?;
        put(&base, c"mod_wsgi.request_handler", &none(py))?;
        put(&base, c"mod_wsgi.handler_script", &text(py, "")?)?;
        put(&base, c"mod_wsgi.thread_id", &none(py))?;
        put(&base, c"mod_wsgi.request_id", &none(py))?;
        put(&base, c"mod_wsgi.request_start", &none(py))?;
        put(&base, c"mod_wsgi.queue_start", &float(py, 0.0)?)?;
        put(&base, c"mod_wsgi.daemon_start", &float(py, 0.0)?)?;
        put(&base, c"mod_wsgi.application_start", &none(py))?;
        let numbered = keys::KEYS.iter().map(|name| key(py, name)).collect::<Raise<_>>()?;
        Ok(Self {
            base: Stored::new(base),
            numbered,
            own: OwnKeys {
                url_scheme: key(py, "wsgi.url_scheme")?,
                http: key(py, "http")?,
                https: key(py, "https")?,
                input: key(py, "wsgi.input")?,
                errors: key(py, "wsgi.errors")?,
                callable: key(py, "mod_wsgi.callable_object")?,
                handler: key(py, "mod_wsgi.request_handler")?,
                handler_script: key(py, "mod_wsgi.handler_script")?,
                thread: key(py, "mod_wsgi.thread_id")?,
                request_id: key(py, "mod_wsgi.request_id")?,
                request_start: key(py, "mod_wsgi.request_start")?,
                queue_start: key(py, "mod_wsgi.queue_start")?,
                daemon_start: key(py, "mod_wsgi.daemon_start")?,
                application_start: key(py, "mod_wsgi.application_start")?,
                request_rec: key(py, "apache.request_rec")?,
            },
            memory: GilCell::new(Memory::default()),
        })
    }

    /// The environ of a request, without `wsgi.input` and `wsgi.errors`. `id` is the request's log id when the entries
    /// have none.
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        facts: &Facts<'_>,
        moment: &Moment,
        id: &[u8],
    ) -> Raise<Object<'py>> {
        let environ = match self.memory.try_borrow_mut(py) {
            Some(mut memory) => {
                let environ = self.entries(py, &mut memory, facts.entries())?;
                let callable = repeated(py, &mut memory.callable, facts.callable.or_empty())?;
                place(&environ, &self.own.callable, &callable)?;
                let handler = repeated(py, &mut memory.handler, facts.handler.or_empty())?;
                place(&environ, &self.own.handler, &handler)?;
                environ
            }
            None => {
                let environ = self.plain(py, facts.entries())?;
                place(&environ, &self.own.callable, &latin1(py, facts.callable.or_empty())?)?;
                place(&environ, &self.own.handler, &latin1(py, facts.handler.or_empty())?)?;
                environ
            }
        };
        if let Some(script @ [_, ..]) = facts.handler_script.get() {
            place(&environ, &self.own.handler_script, &filesystem(py, script)?)?;
        }
        place(&environ, &self.own.thread, &integer(py, i64::from(moment.thread))?)?;
        if !id.is_empty() {
            place(&environ, &self.own.request_id, &latin1(py, id)?)?;
        }
        place(&environ, &self.own.request_start, &float(py, seconds(facts.request_start))?)?;
        if facts.queue_start != 0 {
            place(&environ, &self.own.queue_start, &float(py, seconds(facts.queue_start))?)?;
        }
        if moment.daemon_start != 0 {
            place(&environ, &self.own.daemon_start, &float(py, seconds(moment.daemon_start))?)?;
        }
        place(&environ, &self.own.application_start, &float(py, seconds(moment.application_start))?)?;
        if !facts.request_rec.is_null() {
            // SAFETY: attached; a capsule without a name and without a destructor around the host's pointer.
            let capsule = unsafe { owned(py, ffi::PyCapsule_New(facts.request_rec, std::ptr::null(), None))? };
            place(&environ, &self.own.request_rec, &capsule)?;
        }
        Ok(environ)
    }

    /// Puts the request's own streams in.
    pub(crate) fn streams(&self, environ: &Object<'_>, input: &Object<'_>, errors: &Object<'_>) -> Raise<()> {
        place(environ, &self.own.input, input)?;
        place(environ, &self.own.errors, errors)
    }

    fn entries<'py>(&self, py: Python<'py>, memory: &mut Memory, entries: &[Entry<'_>]) -> Raise<Object<'py>> {
        let fitting = memory.shapes.iter_mut().find(|shape| {
            shape.slots.len() == entries.len() && shape.slots.iter().zip(entries).all(|(slot, entry)| slot.fits(entry))
        });
        if let Some(shape) = fitting {
            return self.shaped(py, shape, entries);
        }
        let hash = shape_hash(entries);
        if memory.missed == hash && entries.len() <= 128 {
            let mut shape = self.new_shape(py, entries)?;
            let environ = self.shaped(py, &mut shape, entries)?;
            if memory.shapes.len() < SHAPES {
                memory.shapes.push(shape);
            } else {
                let index = memory.next % SHAPES;
                memory.next = index + 1;
                release_shape(py, std::mem::replace(&mut memory.shapes[index], shape));
            }
            return Ok(environ);
        }
        memory.missed = hash;
        self.plain(py, entries)
    }

    /// An environ without the help of a shape.
    fn plain<'py>(&self, py: Python<'py>, entries: &[Entry<'_>]) -> Raise<Object<'py>> {
        let environ = copy(py, &self.base)?;
        for entry in entries {
            if entry.key == HTTPS {
                self.scheme(py, &environ, entry)?;
                continue;
            }
            if let Some(key) = self.numbered.get(usize::from(entry.key).wrapping_sub(1)) {
                place(&environ, key, &value(py, entry)?)?;
                continue;
            }
            let key = latin1(py, entry.name.or_empty())?;
            if !self.owns(&key)? {
                insert(&environ, &key, &value(py, entry)?)?;
            }
        }
        Ok(environ)
    }

    fn shaped<'py>(&self, py: Python<'py>, shape: &mut Shape, entries: &[Entry<'_>]) -> Raise<Object<'py>> {
        let environ = copy(py, &shape.template)?;
        for (slot, entry) in shape.slots.iter_mut().zip(entries) {
            if slot.hidden {
                continue;
            }
            if slot.id == HTTPS {
                self.scheme(py, &environ, entry)?;
                continue;
            }
            let bytes = entry.value.get();
            if let (Some(remembered), Some(bytes)) = (&slot.remembered, bytes)
                && **remembered == *bytes
            {
                continue;
            }
            let value = value(py, entry)?;
            place(&environ, &slot.key, &value)?;
            if slot.remember
                && let Some(bytes) = bytes.filter(|bytes| bytes.len() <= LONGEST_REMEMBERED)
            {
                // SAFETY: alive, attached; an exact dict.
                done(unsafe { ffi::PyDict_SetItem(shape.template.as_ptr(), slot.key.as_ptr(), value.as_ptr()) })?;
                slot.remembered = Some(bytes.into());
            }
        }
        Ok(environ)
    }

    fn new_shape(&self, py: Python<'_>, entries: &[Entry<'_>]) -> Raise<Shape> {
        let template = copy(py, &self.base)?;
        let mut slots: Vec<Slot> = Vec::with_capacity(entries.len());
        let mut later = HashSet::with_capacity(entries.len());
        // From the last entry to the first: of several with the same key, the first one met counts.
        for entry in entries.iter().rev() {
            let spelled = entry.name.or_empty();
            let (key, owned) = match self.numbered.get(usize::from(entry.key).wrapping_sub(1)) {
                Some(key) => (key.get(py), false),
                None => {
                    let key = latin1(py, spelled)?;
                    let owned = self.owns(&key)?;
                    (key, owned)
                }
            };
            let hidden = owned || !later.insert(keys::name(entry.key).map_or(spelled, str::as_bytes));
            let remember = REMEMBERED.contains(&entry.key);
            let (name, key) = (spelled.into(), Stored::new(key));
            slots.push(Slot { id: entry.key, name, key, hidden, remember, remembered: None });
        }
        slots.reverse();
        for slot in slots.iter().filter(|slot| !slot.hidden && slot.id != HTTPS) {
            place(&template, &slot.key, &none(py))?;
        }
        Ok(Shape { slots, template: Stored::new(template) })
    }

    /// Whether a spelled-out key is one that the engine sets itself.
    fn owns(&self, key: &Object<'_>) -> Raise<bool> {
        // SAFETY: alive, attached; an exact dict.
        let found = unsafe { ffi::PyDict_Contains(self.base.as_ptr(), key.as_ptr()) };
        done(found)?;
        Ok(found == 1)
    }

    /// `HTTPS` is not shown to applications: it decides the scheme.
    fn scheme(&self, py: Python<'_>, environ: &Object<'_>, entry: &Entry<'_>) -> Raise<()> {
        let value = entry.value.or_empty();
        let encrypted = value.eq_ignore_ascii_case(b"on") || value == b"1";
        let scheme = if encrypted { &self.own.https } else { &self.own.http };
        place(environ, &self.own.url_scheme, &scheme.get(py))
    }
}

/// The last entry with this number, for what the engine itself has to know.
pub(crate) fn entry<'a>(facts: &Facts<'a>, id: KeyId) -> Option<&'a [u8]> {
    facts.entries().iter().rfind(|entry| entry.key == id).and_then(|entry| entry.value.get())
}

/// The file that the request is for.
pub(crate) fn script_filename<'a>(facts: &Facts<'a>) -> &'a [u8] {
    entry(facts, SCRIPT_FILENAME).unwrap_or_default()
}

/// Whether the application sees a `HEAD` request.
pub(crate) fn is_head(facts: &Facts<'_>) -> bool {
    entry(facts, REQUEST_METHOD) == Some(b"HEAD")
}

/// The request's log id, when the entries have it.
pub(crate) fn request_id<'a>(facts: &Facts<'a>) -> Option<&'a [u8]> {
    entry(facts, REQUEST_ID)
}

/// `REMOTE_ADDR`.
pub(crate) fn client<'a>(facts: &Facts<'a>) -> Option<&'a [u8]> {
    entry(facts, REMOTE_ADDR)
}

fn copy<'py>(py: Python<'py>, template: &Stored) -> Raise<Object<'py>> {
    // SAFETY: alive, attached; an exact dict.
    unsafe { owned(py, ffi::PyDict_Copy(template.as_ptr())) }
}

fn place(environ: &Object<'_>, key: &Stored, value: &Object<'_>) -> Raise<()> {
    // SAFETY: alive, attached; an exact dict.
    done(unsafe { ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), value.as_ptr()) })
}

fn insert(environ: &Object<'_>, key: &Object<'_>, value: &Object<'_>) -> Raise<()> {
    // SAFETY: alive, attached; an exact dict.
    done(unsafe { ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), value.as_ptr()) })
}

/// The value of an entry.
pub(crate) fn value<'py>(py: Python<'py>, entry: &Entry<'_>) -> Raise<Object<'py>> {
    match entry.value.get() {
        None => Ok(none(py)),
        // Paths of the file system are in its encoding; plain ASCII is the same either way.
        Some(path) if matches!(entry.key, DOCUMENT_ROOT | SCRIPT_FILENAME) && !path.is_ascii() => filesystem(py, path),
        Some(bytes) => latin1(py, bytes),
    }
}

fn repeated<'py>(py: Python<'py>, last: &mut Option<Repeated>, bytes: &[u8]) -> Raise<Object<'py>> {
    if let Some(last) = last
        && last.bytes == bytes
    {
        return Ok(last.value.get(py));
    }
    let value = latin1(py, bytes)?;
    let replaced = last.replace(Repeated { bytes: bytes.to_vec(), value: Stored::new(value.clone()) });
    if let Some(replaced) = replaced {
        replaced.value.release(py);
    }
    Ok(value)
}

fn release_shape(py: Python<'_>, shape: Shape) {
    shape.template.release(py);
    for slot in shape.slots {
        slot.key.release(py);
    }
}

/// FNV-1a over the keys. Only a hint: two sequences with one hash cost a shape that nobody needs.
fn shape_hash(entries: &[Entry<'_>]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for entry in entries {
        add(entry.key);
        if entry.key == keys::LITERAL {
            for byte in entry.name.or_empty() {
                add(*byte);
            }
        }
    }
    hash
}
