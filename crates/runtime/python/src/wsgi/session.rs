//! One request as Python objects see it: what `start_response`, `wsgi.input` and `wsgi.errors` share.
//!
//! A [`Session`] is held by those objects and by the serving thread. An application may keep the objects longer than
//! the request, or use them on other threads, so the way to the [`Gateway`] lies behind a lock and is closed when the
//! request ends. When nobody kept anything, the whole session serves the next request.
//!
//! Locks: the gateway's lock is never waited for with the GIL held, and nobody takes the GIL while holding it.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use pyo3::Python;
use wsgi_protocol::abi::{Bytes, Field, Level, Record};
use wsgi_protocol::head::{HOP_BY_HOP, hop_by_hop};

use crate::gateway::{Gateway, Head, SendFailure};
use crate::gil_cell::GilCell;
use crate::interpreter::Interpreter;
use crate::json::Object;
use crate::metrics::{Io, Meter, Tally};
use crate::object::Stored;
use crate::thread::detached;
use crate::wsgi::input::Body;

/// Status line and header fields in two buffers, so that a head can be sent without the GIL and without Python objects.
#[derive(Default)]
pub(crate) struct OwnedHead {
    pub(crate) status: u16,
    /// The status line, then names and values one after the other.
    text: Vec<u8>,
    line: usize,
    /// Lengths of name and value of each field.
    fields: Vec<(usize, usize)>,
    /// The fields that were dropped, a bit for each of [`HOP_BY_HOP`].
    pub(crate) dropped: u16,
}

impl OwnedHead {
    /// Empties it and begins with a status line.
    pub(crate) fn begin(&mut self, status: u16, line: &[u8]) {
        self.text.clear();
        self.fields.clear();
        self.dropped = 0;
        self.status = status;
        self.text.extend_from_slice(line);
        self.line = line.len();
    }

    /// Adds a field, unless it is one that only the server may set.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        if let Some(index) = hop_by_hop(name) {
            self.dropped |= 1 << index;
            return;
        }
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.fields.push((name.len(), value.len()));
    }

    /// The fields, name and value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.text[self.line..];
        self.fields.iter().map(move |(name, value)| {
            let (field, after) = rest.split_at(name + value);
            rest = after;
            field.split_at(*name)
        })
    }

    /// Hands it to a gateway.
    pub(crate) fn send(&self, gateway: &mut dyn Gateway) -> Result<(), SendFailure> {
        let fields: smallbuf::Fields<'_> =
            self.fields().map(|(name, value)| Field { name: Bytes::new(name), value: Bytes::new(value) }).collect();
        gateway.send_head(&Head { status: self.status, line: &self.text[..self.line], fields: fields.as_slice() })
    }
}

const _: () = assert!(HOP_BY_HOP.len() <= u16::BITS as usize, "each has a bit of `OwnedHead::dropped`");

/// A few header fields without an allocation.
mod smallbuf {
    use wsgi_protocol::abi::{Bytes, Field};

    const INLINE: usize = 16;
    const NOTHING: Field<'static> = Field { name: Bytes::NONE, value: Bytes::NONE };

    #[expect(clippy::large_enum_variant, reason = "it lives on the stack, and the large variant is the usual one")]
    pub(super) enum Fields<'a> {
        Inline([Field<'a>; INLINE], usize),
        Heap(Vec<Field<'a>>),
    }

    impl<'a> FromIterator<Field<'a>> for Fields<'a> {
        fn from_iter<I: IntoIterator<Item = Field<'a>>>(fields: I) -> Self {
            let mut inline = [NOTHING; INLINE];
            let mut count = 0;
            let mut fields = fields.into_iter();
            for field in fields.by_ref() {
                inline[count] = field;
                count += 1;
                if count == INLINE {
                    let mut heap = inline.to_vec();
                    heap.extend(fields);
                    return Self::Heap(heap);
                }
            }
            Self::Inline(inline, count)
        }
    }

    impl<'a> Fields<'a> {
        pub(super) fn as_slice(&self) -> &[Field<'a>] {
            match self {
                Self::Inline(fields, count) => &fields[..*count],
                Self::Heap(fields) => fields,
            }
        }
    }
}

/// How far the response is.
#[derive(Default)]
pub(crate) struct Response {
    /// `start_response` has succeeded.
    pub(crate) started: bool,
    /// What it was given last.
    pub(crate) head: OwnedHead,
    /// The status that was sent, or is about to be.
    pub(crate) status: u16,
    /// The head was handed to the gateway.
    pub(crate) sent: bool,
    /// The declared `Content-Length`.
    pub(crate) length: Option<u64>,
    /// Body bytes that the application has produced.
    pub(crate) generated: u64,
    /// The response has no body, whatever the application produces: `HEAD`, 1xx, 204, 304.
    pub(crate) bodyless: bool,
    /// The client has gone away.
    pub(crate) abandoned: bool,
    /// Blocks handed to the gateway.
    pub(crate) writes: u64,
}

/// What belongs to the request and is guarded by the GIL.
#[derive(Default)]
pub(crate) struct State {
    /// The script's path, for log prefixes.
    pub(crate) script: Vec<u8>,
    /// The request is over.
    pub(crate) finished: bool,
    /// It is a `HEAD` request.
    pub(crate) is_head: bool,
    pub(crate) response: Response,
    pub(crate) body: Body,
    /// The begun line of `wsgi.errors`.
    pub(crate) errors_line: Vec<u8>,
    /// It was flushed, and may have been changed (see [`crate::wsgi::errors::is_as_made`]).
    pub(crate) errors_flushed: bool,
    /// `mod_wsgi.request_data()`, once somebody asked.
    pub(crate) data: Option<Stored>,
    /// `mod_wsgi.request_id`.
    pub(crate) id: Vec<u8>,
    /// The same as Python's text, once somebody asked.
    pub(crate) id_text: Option<Stored>,
    /// `WSGILogFormat json` for the request's virtual host.
    pub(crate) json: bool,
    /// The client's address, for records in JSON.
    pub(crate) client: Vec<u8>,
    /// `mod_wsgi.thread_id`.
    pub(crate) thread: u32,
    /// Measures the request, when somebody wants to know.
    pub(crate) meter: Meter,
}

impl State {
    /// The Python objects that were made for one request alone, for the caller to release.
    pub(crate) fn take_objects(&mut self) -> [Option<Stored>; 2] {
        [self.data.take(), self.id_text.take()]
    }

    /// What was measured of the request.
    pub(crate) fn tally(&self, application_start: i64) -> Tally {
        let response = &self.response;
        Tally {
            meter: self.meter,
            application_start,
            status: if response.sent { response.status } else { 0 },
            input_reads: self.body.reads,
            input_bytes: self.body.length,
            output_writes: response.writes,
            output_bytes: response.generated,
        }
    }
}

/// The requests that an interpreter is serving. Each is on its serving thread's stack until it is taken out again.
#[derive(Default)]
pub(crate) struct Present(Vec<NonNull<Arc<Session>>>);

// SAFETY: only used with the interpreter's GIL held (it lives in a `GilCell`).
unsafe impl Send for Present {}

impl Present {
    /// Notes a request.
    ///
    /// # Safety
    /// `session` stays where it is until it is removed.
    pub(crate) unsafe fn add(&mut self, session: &Arc<Session>) {
        self.0.push(NonNull::from(session));
    }

    /// Takes a request out again.
    pub(crate) fn remove(&mut self, session: &Arc<Session>) {
        let own = NonNull::from(session);
        if let Some(index) = self.0.iter().rposition(|known| *known == own) {
            self.0.swap_remove(index);
        }
    }

    /// All of them.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        // SAFETY: those that are here are alive, as `add` was promised.
        self.0.iter().map(|session| Arc::clone(unsafe { session.as_ref() })).collect()
    }
}

/// The serving thread's gateway, valid until it is taken out again.
struct Way(Option<NonNull<dyn Gateway>>);

// SAFETY: a `Gateway` is `Send`, and the lock around this lets one thread at a time use it.
unsafe impl Send for Way {}

/// One request. See the module.
pub(crate) struct Session {
    pub(crate) interpreter: &'static Interpreter,
    /// It belongs to a script that decides on a request: no application is running, so what it prints belongs to the
    /// process, and what it asks of `mod_wsgi` finds no request.
    pub(crate) aside: bool,
    pub(crate) state: GilCell<State>,
    way: Mutex<Way>,
    /// A head that has to go out before anything else. Whoever holds the gateway next sends it, so that no body
    /// overtakes it when several threads write.
    pending: Mutex<Option<OwnedHead>>,
}

thread_local! {
    /// The request that this thread serves.
    static CURRENT: RefCell<Option<Arc<Session>>> = const { RefCell::new(None) };
}

/// The request that this thread serves in the interpreter it is attached to.
pub(crate) fn current(interpreter: &Interpreter) -> Option<Arc<Session>> {
    // What a thread leaves in an interpreter may run code when the thread ends, after this has gone.
    let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
    current.filter(|session| std::ptr::eq(session.interpreter, interpreter))
}

/// Runs `work`, after which this thread's request is the one that it was before.
pub(crate) fn kept<R>(work: impl FnOnce() -> R) -> R {
    let before = CURRENT.with_borrow(Clone::clone);
    let result = work();
    CURRENT.set(before);
    result
}

/// Why nothing was sent.
pub(crate) enum NotSent {
    /// The request is over.
    Finished,
    /// The gateway failed.
    Failure(SendFailure),
}

impl Session {
    pub(crate) fn new(interpreter: &'static Interpreter) -> Arc<Self> {
        Self::make(interpreter, false)
    }

    /// The session of a script that decides on requests.
    pub(crate) fn aside(interpreter: &'static Interpreter) -> Arc<Self> {
        Self::make(interpreter, true)
    }

    fn make(interpreter: &'static Interpreter, aside: bool) -> Arc<Self> {
        Arc::new(Self {
            interpreter,
            aside,
            state: GilCell::new(State::default()),
            way: Mutex::new(Way(None)),
            pending: Mutex::new(None),
        })
    }

    /// Opens the way to a gateway and makes this the thread's current request.
    ///
    /// # Safety
    /// [`Session::close`] is called before the gateway's borrow ends.
    pub(crate) unsafe fn open(self: &Arc<Self>, gateway: &mut dyn Gateway) {
        let pointer = NonNull::from(gateway);
        // SAFETY: only the lifetime changes; the caller closes in time.
        let pointer =
            unsafe { std::mem::transmute::<NonNull<dyn Gateway + '_>, NonNull<dyn Gateway + 'static>>(pointer) };
        self.lock().0 = Some(pointer);
        if !self.aside {
            CURRENT.set(Some(Arc::clone(self)));
        }
    }

    /// Closes the way: waits for another thread that is using the gateway, so call without the GIL or when nobody can
    /// be there. Nothing reaches the gateway from here on.
    pub(crate) fn close(&self) {
        self.lock().0 = None;
        self.resign();
    }

    fn resign(&self) {
        if !self.aside {
            CURRENT.set(None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the way with the GIL held, giving it back only if another thread is at the gateway.
    pub(crate) fn close_attached(&self, py: Python<'_>) {
        match self.way.try_lock() {
            Ok(mut way) => {
                way.0 = None;
                self.resign();
            }
            Err(TryLockError::Poisoned(poisoned)) => {
                poisoned.into_inner().0 = None;
                self.resign();
            }
            Err(TryLockError::WouldBlock) => detached(py, || self.close()),
        }
    }

    /// Uses the gateway without the GIL; `None` when the request is over.
    pub(crate) fn released<R>(&self, py: Python<'_>, io: Io, work: impl FnOnce(&mut dyn Gateway) -> R) -> Option<R> {
        if !self.state.borrow(py).meter.on {
            return self.unmeasured(py, work);
        }
        let mut span = None;
        let result = self.unmeasured(py, |gateway| {
            let begun = Instant::now();
            let result = work(gateway);
            span = Some((begun, Instant::now()));
            result
        });
        if let Some((begun, ended)) = span {
            let meter = &mut self.state.borrow_mut(py).meter;
            meter.took_gil(ended);
            meter.used(io, ended.duration_since(begun));
        }
        result
    }

    fn unmeasured<R>(&self, py: Python<'_>, work: impl FnOnce(&mut dyn Gateway) -> R) -> Option<R> {
        // Taken before the GIL is given back when it is free, so that the order of calls is the order of sending.
        let early = self.way.try_lock().ok();
        detached(py, || {
            let mut way = early.unwrap_or_else(|| self.lock());
            // SAFETY: open, so the serving thread is still inside `serve` and lent the gateway; the lock makes this the
            // only use.
            way.0.as_mut().map(|gateway| work(unsafe { gateway.as_mut() }))
        })
    }

    /// Uses the gateway for something quick, keeping the GIL when nobody else is at the gateway.
    pub(crate) fn quick<R>(&self, py: Python<'_>, work: impl FnOnce(&mut dyn Gateway) -> R) -> Option<R> {
        match self.way.try_lock() {
            // SAFETY: as in `released`.
            Ok(mut way) => way.0.as_mut().map(|gateway| work(unsafe { gateway.as_mut() })),
            Err(_) => self.released(py, Io::Other, work),
        }
    }

    /// Sends body bytes, after the head if that is still to be sent. `head` is the head when this is the first output.
    pub(crate) fn send(&self, py: Python<'_>, head: Option<OwnedHead>, data: &[u8]) -> Result<(), NotSent> {
        if head.is_some() {
            *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = head;
        }
        let sent = self.released(py, Io::Output, |gateway| {
            let head = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(head) = head {
                head.send(gateway)?;
            }
            if data.is_empty() { Ok(()) } else { gateway.send_body(data, false) }
        });
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => Err(NotSent::Failure(failure)),
            None => Err(NotSent::Finished),
        }
    }

    /// Logs for the request, or for the process when the request is over.
    pub(crate) fn log(&self, py: Python<'_>, record: &Record<'_>) {
        let written = match self.quick(py, |gateway| gateway.try_log(record)) {
            // The log may be stalled: other threads run meanwhile.
            Some(false) => self.unmeasured(py, |gateway| gateway.log(record)).is_some(),
            Some(true) => true,
            None => false,
        };
        if !written {
            self.interpreter.setting.write(py, record);
        }
    }

    /// Whether a level is logged for the request.
    pub(crate) fn logs(&self, py: Python<'_>, level: Level) -> bool {
        self.quick(py, |gateway| gateway.logs(level)).unwrap_or_else(|| self.interpreter.setting.process.logs(level))
    }

    /// Whether application log records are JSON.
    pub(crate) fn is_json(&self, py: Python<'_>) -> bool {
        self.state.borrow(py).json
    }

    /// Begins a record in JSON with what is known of the request.
    pub(crate) fn object(&self, py: Python<'_>, level: Level) -> Object {
        let object = self.interpreter.object(level);
        let state = self.state.borrow(py);
        let object = object.some("request_id", &state.id);
        // Threads have their numbers for applications.
        let object = if self.aside { object } else { object.number("thread", u64::from(state.thread)) };
        object.some("client", &state.client).text("script", &state.script)
    }

    /// Logs a line of text behind the `[script …]` prefix.
    pub(crate) fn log_line(&self, py: Python<'_>, level: Level, line: &[u8], source: Option<(&[u8], u32)>) {
        if self.is_json(py) {
            let object = crate::json::source(self.object(py, level).text("message", line), source);
            self.log(py, &crate::logging::object(level, &object.finish()));
            return;
        }
        let mut text = Vec::with_capacity(line.len() + 64);
        {
            let state = self.state.borrow(py);
            text.extend_from_slice(b"[script ");
            text.extend_from_slice(&state.script);
            text.extend_from_slice(b"] ");
        }
        text.extend_from_slice(line);
        self.log(py, &crate::logging::record(level, &text, source));
    }
}
