//! Events for `mod_wsgi.subscribe_…`: callbacks are called in the order of their registration; what one returns is
//! merged into the event before the next; exceptions are logged and disturb nothing.

use std::ffi::CStr;
use std::time::Duration;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::request::Facts;

use crate::interpreter::{Interpreter, Parts};
use crate::metrics::Meter;
use crate::names::{Event, Kind};
use crate::object::{
    Object, Raise, Raised, Stored, call_keywords, dict, done, find_named, float, get, integer, latin1, list_length,
    owned, put, system_exit, text, tuple, type_name,
};
use crate::traceback::{Destination, is_instance, trace};
use crate::wsgi::environ::{Moment, seconds};
use crate::wsgi::session::Session;

/// A list of callbacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// `mod_wsgi.event_callbacks`
    Events,
    /// `mod_wsgi.shutdown_callbacks`
    Shutdown,
    /// `mod_wsgi.signal_callbacks`
    Signal,
}

impl List {
    /// The attribute's name.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Events => c"event_callbacks",
            Self::Shutdown => c"shutdown_callbacks",
            Self::Signal => c"signal_callbacks",
        }
    }

    fn stored(self, parts: &Parts) -> &Stored {
        match self {
            Self::Events => &parts.event_callbacks,
            Self::Shutdown => &parts.shutdown_callbacks,
            Self::Signal => &parts.signal_callbacks,
        }
    }

    /// What the module has under the name now: applications may put another list there, or take it away.
    pub(crate) fn present<'py>(self, py: Python<'py>, interpreter: &Interpreter) -> Raise<Option<Object<'py>>> {
        match interpreter.parts() {
            Some(parts) => find_named(&parts.module, &parts.list_names[self as usize], py),
            None => Ok(None),
        }
    }

    /// Whether the list is still the one that the module began with.
    pub(crate) fn is_original(self, interpreter: &Interpreter, list: &Object<'_>) -> bool {
        interpreter.parts().is_some_and(|parts| self.stored(parts).as_ptr() == list.as_ptr())
    }
}

/// The callbacks of a list as they were at one moment: a tuple.
struct Callbacks<'py>(Object<'py>);

impl<'py> Callbacks<'py> {
    fn each(&self) -> impl Iterator<Item = Object<'py>> {
        let (py, tuple) = (self.0.py(), self.0.as_ptr());
        // SAFETY: a tuple, alive, attached; borrowed references to items that it keeps, for indices below its size.
        unsafe {
            (0..ffi::PyTuple_Size(tuple))
                .map(move |index| pyo3::Bound::from_borrowed_ptr(py, ffi::PyTuple_GetItem(tuple, index)))
        }
    }
}

/// The callbacks of a list, when there are any.
fn subscribers<'py>(py: Python<'py>, to: Destination<'_>, list: List) -> Option<Callbacks<'py>> {
    let present = list.present(py, to.interpreter()).unwrap_or_else(|raised| {
        raised.forget(py);
        None
    });
    // SAFETY: alive, attached.
    let Some(callbacks) = present.filter(|callbacks| unsafe { ffi::PyList_Check(callbacks.as_ptr()) } != 0) else {
        let name = list.name().to_string_lossy();
        to.line(py, Level::Error, &format!("WSGI0114: Unable to find event subscribers (mod_wsgi.{name})."));
        return None;
    };
    if list_length(&callbacks) == 0 {
        return None;
    }
    // Without a GIL another thread may shorten the list: a copy has the items of one moment.
    // SAFETY: a list, alive, attached.
    let copied = unsafe { owned(py, ffi::PyList_AsTuple(callbacks.as_ptr())) };
    match copied {
        Ok(copied) => Some(Callbacks(copied)),
        Err(raised) => {
            raised.forget(py);
            None
        }
    }
}

/// Whether anybody listens to the events of requests. From the first time on that somebody does, requests of the
/// interpreter are measured.
pub(crate) fn wanted(py: Python<'_>, session: &Session) -> bool {
    let interpreter = session.interpreter;
    let Some(parts) = interpreter.parts() else { return false };
    if list_length(&parts.event_callbacks.get(py)) == 0 && !interpreter.observed() {
        return false;
    }
    still_wanted(py, session)
}

#[cold]
fn still_wanted(py: Python<'_>, session: &Session) -> bool {
    let interpreter = session.interpreter;
    let present = List::Events.present(py, interpreter).unwrap_or_else(|raised| {
        raised.forget(py);
        None
    });
    // A list of the application's own is looked at each time.
    let wanted = present.as_ref().is_none_or(|list| list_length(list) != 0);
    let original = present.is_some_and(|list| List::Events.is_original(interpreter, &list));
    interpreter.observe(wanted || !original);
    if wanted && !session.state.borrow(py).meter.on {
        session.state.borrow_mut(py).meter = Meter::running();
    }
    wanted
}

/// Calls the callbacks one after the other. `tell` hands one the event and merges what it answers.
fn publish<'py>(
    py: Python<'py>,
    to: Destination<'_>,
    callbacks: &Callbacks<'py>,
    name: &str,
    mut tell: impl FnMut(&Object<'py>) -> Raise<()>,
) {
    for callback in callbacks.each() {
        let Some(exception) = tell(&callback).err().and_then(|raised| raised.take(py)) else {
            continue;
        };
        let kind = type_name(&exception);
        let message = if is_instance(&exception, system_exit()) {
            format!("WSGI0190: {kind} exception raised by event callback for '{name}'; ignored.")
        } else {
            format!("WSGI0112: {kind} exception raised by event callback for '{name}'.")
        };
        to.line(py, Level::Error, &message);
        trace(py, &exception, to);
    }
}

/// Builds an event of the process and publishes it; what cannot be built is logged.
fn announce<'py>(
    py: Python<'py>,
    interpreter: &'static Interpreter,
    list: List,
    name: &str,
    fill: impl FnOnce(&Object<'py>) -> Raise<()>,
) {
    let to = Destination::Process(interpreter);
    let Some(callbacks) = subscribers(py, to, list) else { return };
    let made = || -> Raise<_> {
        let event = dict(py)?;
        fill(&event)?;
        Ok((tuple(py, &[text(py, name)?])?, event))
    };
    match made() {
        Ok((arguments, event)) => publish(py, to, &callbacks, name, |callback| {
            let answer = call_keywords(callback, &arguments, &event)?;
            // SAFETY: alive, attached; only a dict is merged.
            unsafe {
                if ffi::PyDict_Check(answer.as_ptr()) != 0 {
                    done(ffi::PyDict_Update(event.as_ptr(), answer.as_ptr()))?;
                }
            }
            Ok(())
        }),
        Err(raised) => lost(py, raised, to, name),
    }
}

/// Builds an event of a request and publishes it. The event comes back as the callbacks have left it.
fn announce_request<'py>(
    py: Python<'py>,
    session: &Session,
    kind: Kind,
    fill: impl FnOnce(&mut Event<'_, 'py>) -> Raise<()>,
) -> Option<Event<'static, 'py>> {
    let to = Destination::Request(session);
    let callbacks = subscribers(py, to, List::Events)?;
    let mut event = session.interpreter.parts()?.names.event(py, kind);
    match fill(&mut event) {
        Ok(()) => {
            publish(py, to, &callbacks, kind.text(), |callback| {
                let answer = event.tell(callback)?;
                event.merge(&answer)
            });
            Some(event)
        }
        Err(raised) => {
            lost(py, raised, to, kind.text());
            None
        }
    }
}

fn lost(py: Python<'_>, raised: Raised, to: Destination<'_>, name: &str) {
    raised.forget(py);
    to.line(py, Level::Error, &format!("WSGI0113: the event '{name}' could not be published."));
}

/// The request's own dict, made when somebody asks: the same object in all events, in `mod_wsgi.request_data()` and in
/// `mod_wsgi.active_requests`.
pub(crate) fn request_data<'py>(py: Python<'py>, session: &Session) -> Raise<Object<'py>> {
    if let Some(data) = &session.state.borrow(py).data {
        return Ok(data.get(py));
    }
    let data = dict(py)?;
    session.state.borrow_mut(py).data = Some(crate::object::Stored::new(data.clone()));
    Ok(data)
}

/// The request's log id, asked for when nobody has it yet.
pub(crate) fn request_id<'py>(py: Python<'py>, session: &Session) -> Raise<Object<'py>> {
    if let Some(text) = &session.state.borrow(py).id_text {
        return Ok(text.get(py));
    }
    if session.state.borrow(py).id.is_empty() {
        let id = session.quick(py, |gateway| gateway.request_id()).unwrap_or_default();
        session.state.borrow_mut(py).id = id;
    }
    let text = latin1(py, &session.state.borrow(py).id)?;
    session.state.borrow_mut(py).id_text = Some(Stored::new(text.clone()));
    Ok(text)
}

/// `request_started`: a callback may give another application object.
pub(crate) fn request_started<'py>(
    py: Python<'py>,
    session: &Session,
    facts: &Facts<'_>,
    moment: &Moment,
    environ: &Object<'py>,
    application: Object<'py>,
) -> Object<'py> {
    let event = announce_request(py, session, Kind::Started, |event| {
        let [server_pid, request_start, queue_start, daemon_start] = begin_of_request(py, facts, moment)?;
        event.put(const { Kind::Started.place("request_id") }, request_id(py, session)?);
        event.put(const { Kind::Started.place("thread_id") }, integer(py, i64::from(moment.thread))?);
        event.put(const { Kind::Started.place("daemon_connects") }, integer(py, i64::from(facts.connects()))?);
        event.put(const { Kind::Started.place("daemon_restarts") }, integer(py, i64::from(facts.restarts()))?);
        event.put(const { Kind::Started.place("server_pid") }, server_pid);
        event.put(const { Kind::Started.place("request_start") }, request_start);
        event.put(const { Kind::Started.place("queue_start") }, queue_start);
        event.put(const { Kind::Started.place("daemon_start") }, daemon_start);
        event.put(const { Kind::Started.place("application_object") }, application.clone());
        event.put(const { Kind::Started.place("callable_object") }, latin1(py, facts.callable.or_empty())?);
        event.put(const { Kind::Started.place("request_environ") }, environ.clone());
        event.put(const { Kind::Started.place("application_start") }, time_at(py, moment.application_start)?);
        event.put(const { Kind::Started.place("request_data") }, request_data(py, session)?);
        Ok(())
    });
    let Some(event) = event else { return application };
    event.value(const { Kind::Started.place("application_object") }).unwrap_or_else(|raised| {
        raised.forget(py);
        application
    })
}

/// What the first and the last event of a request share: `server_pid`, `request_start`, `queue_start`, `daemon_start`.
fn begin_of_request<'py>(py: Python<'py>, facts: &Facts<'_>, moment: &Moment) -> Raise<[Object<'py>; 4]> {
    Ok([
        server_pid(py, facts)?,
        time_at(py, facts.request_start)?,
        time_at(py, facts.queue_start)?,
        time_at(py, moment.daemon_start)?,
    ])
}

/// `response_started`: each call of `start_response`, before its arguments are validated.
pub(crate) fn response_started(
    py: Python<'_>,
    session: &Session,
    status: &Object<'_>,
    headers: &Object<'_>,
    exception: Option<&Object<'_>>,
) {
    if !wanted(py, session) {
        return;
    }
    announce_request(py, session, Kind::Response, |event| {
        event.put(const { Kind::Response.place("request_id") }, request_id(py, session)?);
        event.put(const { Kind::Response.place("response_status") }, status.clone());
        event.put(const { Kind::Response.place("response_headers") }, headers.clone());
        if let Some(exception) = exception {
            event.put(const { Kind::Response.place("exception_info") }, exception.clone());
        }
        event.put(const { Kind::Response.place("request_data") }, request_data(py, session)?);
        Ok(())
    });
}

/// `request_exception`: an exception that was recorded.
pub(crate) fn request_exception(py: Python<'_>, session: &Session, exception: &Object<'_>) {
    if !wanted(py, session) {
        return;
    }
    announce_request(py, session, Kind::Exception, |event| {
        let traceback = get(exception, c"__traceback__")?;
        let parts = [get(exception, c"__class__")?, exception.clone(), traceback];
        event.put(const { Kind::Exception.place("request_id") }, request_id(py, session)?);
        event.put(const { Kind::Exception.place("exception_info") }, tuple(py, &parts)?);
        event.put(const { Kind::Exception.place("request_data") }, request_data(py, session)?);
        Ok(())
    });
}

/// `request_finished`: the response is out and the iterable closed.
pub(crate) fn request_finished(py: Python<'_>, session: &Session, facts: &Facts<'_>, moment: &Moment, finish: i64) {
    announce_request(py, session, Kind::Finished, |event| {
        let cpu = session.state.borrow_mut(py).meter.cpu().unwrap_or_default();
        let tally = session.state.borrow(py).tally(moment.application_start);
        let meter = &tally.meter;
        let count = |number: u64| integer(py, i64::try_from(number).unwrap_or(i64::MAX));
        let time = |time: Duration| float(py, time.as_secs_f64());
        let micros = |time: u64| time_at(py, i64::try_from(time).unwrap_or(i64::MAX));
        let status = if tally.status == 0 { 500 } else { tally.status };
        let [server_pid, request_start, queue_start, daemon_start] = begin_of_request(py, facts, moment)?;
        event.put(const { Kind::Finished.place("request_id") }, request_id(py, session)?);
        event.put(const { Kind::Finished.place("thread_id") }, integer(py, i64::from(moment.thread))?);
        event.put(const { Kind::Finished.place("server_pid") }, server_pid);
        event.put(const { Kind::Finished.place("request_start") }, request_start);
        event.put(const { Kind::Finished.place("queue_start") }, queue_start);
        event.put(const { Kind::Finished.place("daemon_start") }, daemon_start);
        event.put(const { Kind::Finished.place("input_reads") }, count(tally.input_reads)?);
        event.put(const { Kind::Finished.place("input_length") }, count(tally.input_bytes)?);
        event.put(const { Kind::Finished.place("input_time") }, time(meter.input)?);
        event.put(const { Kind::Finished.place("output_length") }, count(tally.output_bytes)?);
        event.put(const { Kind::Finished.place("output_writes") }, count(tally.output_writes)?);
        event.put(const { Kind::Finished.place("output_time") }, time(meter.output)?);
        event.put(const { Kind::Finished.place("cpu_user_time") }, micros(cpu.user)?);
        event.put(const { Kind::Finished.place("cpu_system_time") }, micros(cpu.system)?);
        event.put(const { Kind::Finished.place("cpu_time") }, micros(cpu.total())?);
        event.put(const { Kind::Finished.place("application_finish") }, time_at(py, finish)?);
        event.put(const { Kind::Finished.place("application_time") }, time_at(py, finish - moment.application_start)?);
        event.put(const { Kind::Finished.place("status") }, integer(py, i64::from(status))?);
        event.put(const { Kind::Finished.place("gil_wait_time") }, time(meter.gil_wait)?);
        event.put(const { Kind::Finished.place("gil_wait_count") }, count(meter.gil_count)?);
        event.put(const { Kind::Finished.place("request_data") }, request_data(py, session)?);
        Ok(())
    });
}

/// Microseconds as Python's seconds.
fn time_at(py: Python<'_>, microseconds: i64) -> Raise<Object<'_>> {
    float(py, seconds(microseconds))
}

/// `process_stopping`: to subscribers of events and of the shutdown alone.
pub(crate) fn process_stopping(py: Python<'_>, interpreter: &'static Interpreter, reason: &str) {
    for list in [List::Events, List::Shutdown] {
        announce(py, interpreter, list, "process_stopping", |event| put(event, c"shutdown_reason", &text(py, reason)?));
    }
}

/// `process_signal`: to subscribers of events and of signals alone.
pub(crate) fn process_signal(py: Python<'_>, interpreter: &'static Interpreter, name: &str, number: i32) {
    for list in [List::Events, List::Signal] {
        announce(py, interpreter, list, "process_signal", |event| {
            put(event, c"signame", &text(py, name)?)?;
            put(event, c"signum", &integer(py, i64::from(number))?)
        });
    }
}

fn server_pid<'py>(py: Python<'py>, facts: &Facts<'_>) -> Raise<Object<'py>> {
    let pid = crate::wsgi::environ::entry(facts, const { wsgi_protocol::keys::id("mod_wsgi.server_pid") });
    let pid = pid.and_then(|pid| std::str::from_utf8(pid).ok()).and_then(|pid| pid.parse().ok());
    integer(py, pid.unwrap_or_else(|| i64::from(std::process::id())))
}
