//! One request from the environ to the end of the response.
//!
//! The order of things at the end matters for speed: the thread takes the GIL once and gives it back once. A response
//! that is complete when the application returns (a list or tuple of byte strings, which is what most of them are) is
//! copied out, everything of Python is dropped, and only then, without the GIL, head and body are sent in one go.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::keys;
use wsgi_protocol::request::{self, Facts};

use crate::events;
use crate::gateway::{Gateway, Outcome, SendFailure};
use crate::interpreter::Interpreter;
use crate::metrics::{Io, Tally};
use crate::object::{
    Object, Raise, Raised, Stored, bytes_of, call, find, full_type_name, list_item, raise, type_error,
};
use crate::script::{self, Found, NotLoaded};
use crate::slot::instance;
use crate::traceback::{Destination, Kind, report};
use crate::wsgi::environ::{self, Moment};
use crate::wsgi::errors::{self, Log};
use crate::wsgi::file_wrapper;
use crate::wsgi::input::Input;
use crate::wsgi::session::{OwnedHead, Session};
use crate::wsgi::small_blocks;
use crate::wsgi::start_response::{self, Adapter, Output, admit, check_length, due_head, output};

/// The most bytes of a complete response that are copied out to be sent without the GIL.
const SMALL_RESPONSE: usize = 64 * 1024;

/// The Python objects of one request. When an application keeps and changes none of them, they serve the next request:
/// making the text object of `wsgi.errors` alone costs more than everything else here.
pub(crate) struct Bundle {
    session: Arc<Session>,
    adapter: Stored,
    start_response: Stored,
    input: Stored,
    errors_buffer: Stored,
    errors: Stored,
}

impl Bundle {
    fn new(py: Python<'_>, interpreter: &'static Interpreter) -> Raise<Self> {
        let Some(parts) = interpreter.parts() else { return Err(Raised) };
        let session = Session::new(interpreter);
        // SAFETY: each type was made for the value that is put into it.
        unsafe {
            let adapter = instance(&parts.adapter.get(py), Adapter(Arc::clone(&session)))?;
            let start_response = start_response::start_response(&adapter)?;
            let input = instance(&parts.input.get(py), Input(Arc::clone(&session)))?;
            let log = Log::Request(Arc::clone(&session));
            let (errors_buffer, errors) = errors::open(&parts.log.get(py), &parts.text_wrapper.get(py), log)?;
            Ok(Self {
                session,
                adapter: Stored::new(adapter),
                start_response: Stored::new(start_response),
                input: Stored::new(input),
                errors_buffer: Stored::new(errors_buffer),
                errors: Stored::new(errors),
            })
        }
    }

    /// Whether nobody else holds any of the objects, and none was changed. The adapter is held by `start_response` too,
    /// and the buffer by the text object.
    fn is_reusable(&self, py: Python<'_>) -> bool {
        cfg!(not(Py_GIL_DISABLED))
            && self.start_response.references() == 1
            && self.input.references() == 1
            && self.errors.references() == 1
            && self.adapter.references() == 2
            && self.errors_buffer.references() == 2
            && errors::is_as_made(py, &self.session, &self.errors)
    }

    /// Gives the objects up.
    pub(crate) fn release(self, py: Python<'_>) {
        let own = self.session.state.borrow_mut(py).take_objects();
        for object in own.into_iter().flatten() {
            object.release(py);
        }
        for object in [self.adapter, self.start_response, self.input, self.errors, self.errors_buffer] {
            object.release(py);
        }
    }
}

/// The buffers of a worker that a response goes out from; their memory serves request after request.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) head: OwnedHead,
    pub(crate) body: Vec<u8>,
    /// In: whether to measure. Out: what was measured.
    pub(crate) tally: Tally,
}

/// What is to be done after the GIL was given back.
pub(crate) enum Ended {
    /// Everything was sent, or nothing is to be.
    Done(Outcome),
    /// The response is complete and still to be sent: this head, with the body in the buffer.
    Send(OwnedHead, Outcome),
}

/// Now, in microseconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// One request being served, attached.
struct Serving<'a, 'py> {
    py: Python<'py>,
    session: &'a Arc<Session>,
    facts: &'a Facts<'a>,
    interpreter: &'static Interpreter,
}

/// Serves a request attached. `body` receives the body of a small complete response.
pub(crate) fn serve<'py>(
    py: Python<'py>,
    interpreter: &'static Interpreter,
    facts: &Facts<'_>,
    found: Found<'_, 'py>,
    gateway: &mut dyn Gateway,
    mut moment: Moment,
    outgoing: &mut Outgoing,
) -> Ended {
    let reused = interpreter.bundles.borrow_mut(py).pop();
    let bundle = match reused.map_or_else(|| Bundle::new(py, interpreter), Ok) {
        Ok(bundle) => bundle,
        Err(raised) => return without_objects(py, interpreter, facts, gateway, &moment, outgoing, raised),
    };
    let session = &bundle.session;
    prepare(py, session, facts, &moment, outgoing);
    // SAFETY: closed and taken out when `opened` is dropped, before the gateway's borrow and the bundle's place end.
    unsafe {
        session.open(gateway);
        interpreter.present.borrow_mut(py).add(session);
    }
    let opened = Opened { py, session };
    let serving = Serving { py, session, facts, interpreter };
    let ended = serving.run(&bundle, found, &mut moment, outgoing);
    errors::flush_request(py, session);
    errors::flush_streams(py, interpreter);
    {
        let mut state = session.state.borrow_mut(py);
        state.finished = true;
        outgoing.tally.meter.on = state.meter.on;
        if state.meter.on {
            outgoing.tally = state.tally(moment.application_start);
        }
    }
    drop(opened);
    if bundle.is_reusable(py) {
        interpreter.bundles.borrow_mut(py).push(bundle);
    } else {
        bundle.release(py);
    }
    ended
}

/// The request's objects could not be made, most likely for want of memory: its log is to say so all the same.
#[cold]
fn without_objects(
    py: Python<'_>,
    interpreter: &'static Interpreter,
    facts: &Facts<'_>,
    gateway: &mut dyn Gateway,
    moment: &Moment,
    outgoing: &mut Outgoing,
    raised: Raised,
) -> Ended {
    let session = Session::new(interpreter);
    prepare(py, &session, facts, moment, outgoing);
    // SAFETY: closed when `opened` is dropped, before the gateway's borrow ends.
    unsafe { session.open(gateway) };
    let opened = Opened { py, session: &session };
    report(py, raised, Destination::Request(&session), &String::from_utf8_lossy(facts.script.or_empty()));
    drop(opened);
    Ended::Done(Outcome::Status(500))
}

/// Closes the session's way to the gateway, also while a panic unwinds.
struct Opened<'a, 'py> {
    py: Python<'py>,
    session: &'a Arc<Session>,
}

impl Drop for Opened<'_, '_> {
    fn drop(&mut self) {
        self.session.interpreter.present.borrow_mut(self.py).remove(self.session);
        self.session.close_attached(self.py);
    }
}

fn prepare(py: Python<'_>, session: &Session, facts: &Facts<'_>, moment: &Moment, outgoing: &mut Outgoing) {
    let mut state = session.state.borrow_mut(py);
    state.meter.on = outgoing.tally.meter.on;
    if state.meter.on {
        state.meter = outgoing.tally.meter;
    }
    // Log lines name the file that was asked for.
    let script =
        if facts.has(request::HANDLER_SCRIPT) { environ::script_filename(facts) } else { facts.script.or_empty() };
    if state.script != script {
        state.script = script.to_vec();
    }
    state.finished = false;
    state.is_head = environ::is_head(facts);
    state.response.head = std::mem::take(&mut outgoing.head);
    state.response.started = false;
    state.response.sent = false;
    state.response.length = None;
    state.response.generated = 0;
    state.response.bodyless = false;
    state.response.abandoned = false;
    state.response.writes = 0;
    state.body.begin(facts.content_length);
    state.errors_line.clear();
    state.id.clear();
    state.id.extend_from_slice(environ::request_id(facts).unwrap_or_default());
    state.thread = moment.thread;
    state.json = facts.has(wsgi_protocol::request::JSON_LOG);
    if state.json {
        state.client.clear();
        state.client.extend_from_slice(environ::client(facts).unwrap_or_default());
    }
    let own = state.take_objects();
    drop(state);
    for object in own.into_iter().flatten() {
        object.release(py);
    }
}

impl<'py> Serving<'_, 'py> {
    fn script(&self) -> String {
        String::from_utf8_lossy(self.facts.script.or_empty()).into_owned()
    }

    fn to(&self) -> Destination<'_> {
        Destination::Request(self.session)
    }

    fn run(&self, bundle: &Bundle, found: Found<'_, 'py>, moment: &mut Moment, outgoing: &mut Outgoing) -> Ended {
        let module = match self.module(found) {
            Ok(module) => module,
            Err(outcome) => return Ended::Done(outcome),
        };
        let application = match script::callable(&module, self.facts.callable.or_empty()) {
            Ok(Some(application)) => application,
            Ok(None) => return Ended::Done(self.no_callable()),
            Err(raised) => return Ended::Done(self.failed(raised)),
        };
        if let Some(watched) = &self.interpreter.watched(self.py)
            && let Err(raised) = self.enter_active(watched)
        {
            return Ended::Done(self.failed(raised));
        }
        moment.application_start = now();
        let ended = self.respond(bundle, &application, moment, outgoing);
        if events::wanted(self.py, self.session) {
            events::request_finished(self.py, self.session, self.facts, moment, now());
        }
        // Asked again: somebody may have begun to look during the request, and found it there.
        if let Some(watched) = &self.interpreter.watched(self.py) {
            self.leave_active(watched);
        }
        ended
    }

    fn module(&self, found: Found<'_, 'py>) -> Result<Object<'py>, Outcome> {
        let Found { wanted, standing } = found;
        if wanted.is_missing() && !self.interpreter.setting.embedded() {
            let text = format!("WSGI0082: Unable to stat target handler script '{}'.", self.script());
            self.interpreter.setting.log(Level::Warning, &text);
        }
        let standing = standing.unwrap_or_else(|| script::standing(self.py, self.to(), wanted));
        script::module(self.py, self.to(), wanted, standing).map_err(|failure| match failure {
            NotLoaded::Failed => Outcome::Status(500),
            NotLoaded::TimedOut => self.timed_out(),
        })
    }

    fn no_callable(&self) -> Outcome {
        let name = String::from_utf8_lossy(self.facts.callable.or_empty());
        let script = self.script();
        let text = format!("WSGI0089: Target WSGI script '{script}' does not contain WSGI application '{name}'.");
        self.to().prefixed(self.py, Level::Error, &text);
        Outcome::Status(if self.interpreter.setting.embedded() { 404 } else { 500 })
    }

    fn enter_active(&self, watched: &Object<'py>) -> Raise<()> {
        let id = events::request_id(self.py, self.session)?;
        let data = events::request_data(self.py, self.session)?;
        // SAFETY: alive, attached; an exact dict.
        crate::object::done(unsafe { ffi::PyDict_SetItem(watched.as_ptr(), id.as_ptr(), data.as_ptr()) })
    }

    fn leave_active(&self, watched: &Object<'py>) {
        let left = events::request_id(self.py, self.session).and_then(|id| {
            // SAFETY: alive, attached; an exact dict.
            crate::object::done(unsafe { ffi::PyDict_DelItem(watched.as_ptr(), id.as_ptr()) })
        });
        if let Err(raised) = left {
            // The application has taken it out itself.
            raised.forget(self.py);
        }
    }

    fn respond(&self, bundle: &Bundle, application: &Object<'py>, moment: &Moment, outgoing: &mut Outgoing) -> Ended {
        let py = self.py;
        let result = match self.call(bundle, application, moment) {
            Ok(result) => result,
            Err(raised) => return Ended::Done(self.failed(raised)),
        };
        // A list or tuple has no `close`, and nothing of the application runs any more.
        let complete = match self.complete(&result, &mut outgoing.body) {
            Ok(complete) => complete,
            Err(raised) => return Ended::Done(self.failed(raised)),
        };
        if let Some(head) = complete {
            let outcome = if check_length(py, self.session) { Outcome::Truncated } else { Outcome::Complete };
            if !events::wanted(py, self.session) {
                return Ended::Send(head, outcome);
            }
            // Who listens is told that the request has finished when that is so.
            outgoing.head = head;
            let sent = self.session.released(py, Io::Output, |gateway| send(gateway, outgoing, outcome));
            return Ended::Done(sent.unwrap_or(Outcome::Truncated));
        }
        let outcome = match self.produce(&result) {
            Ok(outcome) => outcome,
            Err(raised) => {
                let outcome = self.failed(raised);
                self.close(&result);
                return Ended::Done(outcome);
            }
        };
        self.close(&result);
        Ended::Done(outcome)
    }

    fn call(&self, bundle: &Bundle, application: &Object<'py>, moment: &Moment) -> Raise<Object<'py>> {
        let py = self.py;
        let Some(parts) = self.interpreter.parts() else { return Err(Raised) };
        let id = if environ::request_id(self.facts).is_some() {
            Vec::new()
        } else {
            let id = self.session.quick(py, |gateway| gateway.request_id()).unwrap_or_default();
            self.session.state.borrow_mut(py).id.clone_from(&id);
            id
        };
        let environ = parts.environs.build(py, self.facts, moment, &id)?;
        parts.environs.streams(&environ, &bundle.input.get(py), &bundle.errors.get(py))?;
        if events::wanted(py, self.session) {
            let application =
                events::request_started(py, self.session, self.facts, moment, &environ, application.clone());
            return call(&application, &[&environ, &bundle.start_response.get(py)]);
        }
        call(application, &[&environ, &bundle.start_response.get(py)])
    }

    /// The head of a response that is complete and small, with its body in the buffer.
    fn complete(&self, result: &Object<'py>, body: &mut Vec<u8>) -> Raise<Option<OwnedHead>> {
        let py = self.py;
        // SAFETY: alive, attached.
        let (is_list, is_tuple) =
            unsafe { (ffi::PyList_CheckExact(result.as_ptr()) != 0, ffi::PyTuple_CheckExact(result.as_ptr()) != 0) };
        if (!is_list && !is_tuple) || self.session.state.borrow(py).response.sent {
            return Ok(None);
        }
        // SAFETY: a list or tuple, alive, attached.
        let count = unsafe { ffi::PyObject_Length(result.as_ptr()) };
        let count = usize::try_from(count).unwrap_or(0);
        body.clear();
        for index in 0..count {
            let item = if is_list {
                list_item(result, index)?
            } else {
                // SAFETY: a tuple, alive, attached; the index is checked by CPython.
                unsafe {
                    crate::object::borrowed(py, ffi::PyTuple_GetItem(result.as_ptr(), crate::object::size(index)))?
                }
            };
            let Some(block) = bytes_of(&item) else { return Err(self.not_bytes(&item)) };
            if body.len() + block.len() > SMALL_RESPONSE {
                return Ok(None);
            }
            body.extend_from_slice(block);
        }
        let mut state = self.session.state.borrow_mut(py);
        let head = due_head(py, &mut state)?;
        let (kept, _) = admit(&mut state, body);
        let kept = kept.len();
        state.response.writes = 1;
        drop(state);
        body.truncate(kept);
        Ok(head)
    }

    fn not_bytes(&self, item: &Object<'_>) -> Raised {
        let message = format!("response iterable must yield bytes, not {}", full_type_name(item));
        raise(self.py, type_error(), &message)
    }

    /// Sends what the application returned: as a file, or block by block.
    fn produce(&self, result: &Object<'py>) -> Raise<Outcome> {
        let py = self.py;
        if let Some(outcome) = self.send_file(result)? {
            return Ok(outcome);
        }
        let iterator = file_wrapper::iterator(result)?;
        let began = Instant::now();
        loop {
            // SAFETY: an iterator, alive, attached; null without an exception is the end.
            let item = unsafe { pyo3::Bound::from_owned_ptr_or_opt(py, ffi::PyIter_Next(iterator.as_ptr())) };
            let Some(item) = item else {
                // SAFETY: attached.
                if !unsafe { ffi::PyErr_Occurred() }.is_null() {
                    return Err(Raised);
                }
                break;
            };
            let Some(block) = bytes_of(&item) else { return Err(self.not_bytes(&item)) };
            match output(py, self.session, block)? {
                Output::Sent => {}
                Output::Excess => break,
                // The client has gone: nobody is to be told, and the iterable is closed as usual.
                Output::Failed(_) => return Ok(Outcome::Truncated),
            }
        }
        self.judge_blocks(result, began);
        self.conclude()
    }

    /// Warns of a response that was produced in very small blocks.
    fn judge_blocks(&self, result: &Object<'py>, began: Instant) {
        let py = self.py;
        let (blocks, bytes) = {
            let response = &self.session.state.borrow(py).response;
            (response.writes, response.generated)
        };
        if !small_blocks::is_wasteful(blocks, bytes, began) {
            return;
        }
        let known = |id| environ::entry(self.facts, id).unwrap_or_default();
        let (method, url) = (known(keys::id("REQUEST_METHOD")), known(keys::id("REQUEST_URI")));
        let kind = full_type_name(result);
        if let Some(text) = small_blocks::warning(&self.interpreter.warned, method, url, &kind, blocks, bytes) {
            self.to().prefixed(py, Level::Warning, &text);
        }
    }

    /// The end of a response that went out in blocks: an empty one still has its head to send.
    fn conclude(&self) -> Raise<Outcome> {
        let py = self.py;
        let head = {
            let mut state = self.session.state.borrow_mut(py);
            if state.response.abandoned {
                return Ok(Outcome::Truncated);
            }
            due_head(py, &mut state)?
        };
        if head.is_some() && self.session.send(py, head, b"").is_err() {
            return Ok(Outcome::Truncated);
        }
        Ok(if check_length(py, self.session) { Outcome::Truncated } else { Outcome::Complete })
    }

    /// Sends a `FileWrapper` around a regular file without reading it through Python.
    fn send_file(&self, result: &Object<'py>) -> Raise<Option<Outcome>> {
        let py = self.py;
        let Some(parts) = self.interpreter.parts() else { return Ok(None) };
        {
            let state = self.session.state.borrow(py);
            if state.response.sent || !state.response.started {
                return Ok(None);
            }
        }
        let Some(span) = file_wrapper::span(py, parts.file_wrapper.as_ptr(), result)? else {
            return Ok(None);
        };
        let (head, length) = {
            let mut state = self.session.state.borrow_mut(py);
            let Some(mut head) = due_head(py, &mut state)? else { return Ok(None) };
            let length = match state.response.length {
                Some(declared) => declared.min(span.available),
                None => {
                    head.push(b"Content-Length", span.available.to_string().as_bytes());
                    state.response.length = Some(span.available);
                    span.available
                }
            };
            state.response.generated = length;
            state.response.writes = 1;
            (head, length)
        };
        let bodyless = self.session.state.borrow(py).response.bodyless;
        let sent = self.session.released(py, Io::Output, |gateway| {
            head.send(gateway)?;
            if length == 0 || bodyless { Ok(()) } else { gateway.send_file(span.file.as_fd(), span.offset, length) }
        });
        match sent {
            Some(Ok(())) => {
                let short = check_length(py, self.session);
                Ok(Some(if short { Outcome::Truncated } else { Outcome::Complete }))
            }
            Some(Err(failure)) => {
                self.session.state.borrow_mut(py).response.abandoned = true;
                if let SendFailure::Failed(text) = failure {
                    let message = format!("The file of the response could not be sent: {text}");
                    self.to().prefixed(py, Level::Warning, &message);
                }
                Ok(Some(Outcome::Truncated))
            }
            None => Ok(Some(Outcome::Truncated)),
        }
    }

    /// Calls the iterable's `close()`, exactly once, whatever came before.
    fn close(&self, result: &Object<'py>) {
        let py = self.py;
        // SAFETY: alive, attached.
        let plain =
            unsafe { ffi::PyList_CheckExact(result.as_ptr()) != 0 || ffi::PyTuple_CheckExact(result.as_ptr()) != 0 };
        if plain {
            return;
        }
        let close = match find(result, c"close") {
            Ok(Some(close)) => close,
            Ok(None) => return,
            Err(raised) => {
                if let Some(exception) = raised.take(py) {
                    let text = "WSGI0194: Lookup of 'close' attribute on WSGI response iterable raised an exception.";
                    self.to().prefixed(py, Level::Error, text);
                    report(py, crate::object::restore(&exception), self.to(), &self.script());
                }
                return;
            }
        };
        if let Err(raised) = call(&close, &[]) {
            report(py, raised, self.to(), &self.script());
        }
    }

    /// An exception has ended the request.
    fn failed(&self, raised: Raised) -> Outcome {
        match report(self.py, raised, self.to(), &self.script()) {
            Kind::RequestTimeout => self.timed_out(),
            Kind::Other if self.session.state.borrow(self.py).response.sent => Outcome::Truncated,
            Kind::Other => Outcome::Status(500),
        }
    }

    fn timed_out(&self) -> Outcome {
        let sent = self.session.state.borrow(self.py).response.sent;
        let text = if sent {
            "Request interrupted by RequestTimeout after headers sent; response truncated."
        } else {
            "Request interrupted by RequestTimeout; thread recovered."
        };
        self.to().prefixed(self.py, Level::Info, text);
        if sent { Outcome::Truncated } else { Outcome::Status(504) }
    }
}

/// Sends a complete response without the GIL.
pub(crate) fn send(gateway: &mut dyn Gateway, outgoing: &Outgoing, outcome: Outcome) -> Outcome {
    let Outgoing { head, body, .. } = outgoing;
    let sent = head
        .send(gateway)
        .and_then(|()| if body.is_empty() { Ok(()) } else { gateway.send_body(body, outcome == Outcome::Complete) });
    if sent.is_ok() { outcome } else { Outcome::Truncated }
}
