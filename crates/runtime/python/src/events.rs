//! Events for `mod_wsgi.subscribe_…`: callbacks are called in the order of their registration; what one returns is
//! merged into the event before the next; exceptions are logged and disturb nothing.

use std::ffi::CStr;
use std::time::Duration;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::request::Facts;

use crate::interpreter::{Interpreter, Parts};
use crate::metrics::Meter;
use crate::names::{Event, Kind, name};
use crate::object::{
    Object, Raise, Raised, Stored, borrowed, call_keywords, dict, done, find, float, get, integer, latin1, list_length,
    none, owned, put, system_exit, text, tuple, type_name,
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
            Some(parts) => find(&parts.module.get(py), self.name()),
            None => Ok(None),
        }
    }

    /// Whether the list is still the one that the module began with.
    pub(crate) fn is_original(self, interpreter: &Interpreter, list: &Object<'_>) -> bool {
        interpreter.parts().is_some_and(|parts| self.stored(parts).as_ptr() == list.as_ptr())
    }
}

/// The callbacks of a list, when there are any.
fn subscribers<'py>(py: Python<'py>, to: Destination<'_>, list: List) -> Option<Vec<Object<'py>>> {
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
        Ok(copied) => Some(items_of(&copied)),
        Err(raised) => {
            raised.forget(py);
            None
        }
    }
}

/// The items of a tuple.
fn items_of<'py>(tuple: &Object<'py>) -> Vec<Object<'py>> {
    let py = tuple.py();
    // SAFETY: a tuple, alive, attached; borrowed references to items that it keeps, for indices below its size.
    unsafe {
        let count = ffi::PyTuple_Size(tuple.as_ptr());
        (0..count)
            .map(|index| pyo3::Bound::from_borrowed_ptr(py, ffi::PyTuple_GetItem(tuple.as_ptr(), index)))
            .collect()
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

fn publish<'py>(
    py: Python<'py>,
    to: Destination<'_>,
    callbacks: &[Object<'py>],
    name: &str,
    arguments: &Object<'py>,
    event: &Object<'py>,
) {
    for callback in callbacks {
        let outcome = || -> Raise<()> {
            let answer = call_keywords(callback, arguments, event)?;
            // SAFETY: alive, attached; only a dict is merged.
            unsafe {
                if ffi::PyDict_Check(answer.as_ptr()) != 0 {
                    done(ffi::PyDict_Update(event.as_ptr(), answer.as_ptr()))?;
                }
            }
            Ok(())
        };
        let Some(exception) = outcome().err().and_then(|raised| raised.take(py)) else {
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
        Ok((arguments, event)) => publish(py, to, &callbacks, name, &arguments, &event),
        Err(raised) => lost(py, raised, to, name),
    }
}

/// Builds an event of a request and publishes it. The event comes back as the callbacks have left it.
fn announce_request<'py>(
    py: Python<'py>,
    session: &Session,
    kind: Kind,
    fill: impl FnOnce(&Event<'_, 'py>) -> Raise<()>,
) -> Option<Object<'py>> {
    let to = Destination::Request(session);
    let callbacks = subscribers(py, to, List::Events)?;
    let names = &session.interpreter.parts()?.names;
    let made = || -> Raise<_> {
        let event = names.event(py, kind)?;
        event.put(const { name("request_id") }, &request_id(py, session)?)?;
        event.put(const { name("request_data") }, &request_data(py, session)?)?;
        fill(&event)?;
        // SAFETY: an interned text, alive, attached.
        let name = unsafe { borrowed(py, names.pointer(kind.name()))? };
        Ok((tuple(py, &[name])?, event.event))
    };
    match made() {
        Ok((arguments, event)) => {
            publish(py, to, &callbacks, kind.text(), &arguments, &event);
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
    let known = session.state.borrow(py).id.clone();
    if !known.is_empty() {
        return latin1(py, &known);
    }
    let id = session.quick(py, |gateway| gateway.request_id()).unwrap_or_default();
    let value = latin1(py, &id)?;
    session.state.borrow_mut(py).id = id;
    Ok(value)
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
        event.put(const { name("thread_id") }, &integer(py, i64::from(moment.thread))?)?;
        event.put(const { name("daemon_connects") }, &integer(py, i64::from(facts.connects()))?)?;
        event.put(const { name("daemon_restarts") }, &integer(py, i64::from(facts.restarts()))?)?;
        begin_of_request(py, event, facts, moment)?;
        event.put(const { name("application_start") }, &float(py, seconds(moment.application_start))?)?;
        event.put(const { name("application_object") }, &application)?;
        event.put(const { name("callable_object") }, &latin1(py, facts.callable.or_empty())?)?;
        event.put(const { name("request_environ") }, environ)
    });
    let (Some(event), Some(parts)) = (event, session.interpreter.parts()) else {
        return application;
    };
    // SAFETY: an exact dict, alive, attached; borrowed or null.
    let replaced = unsafe {
        let key = parts.names.pointer(const { name("application_object") });
        let value = ffi::PyDict_GetItem(event.as_ptr(), key);
        pyo3::Bound::from_borrowed_ptr_or_opt(py, value)
    };
    replaced.unwrap_or(application)
}

/// What the first and the last event of a request share.
fn begin_of_request(py: Python<'_>, event: &Event<'_, '_>, facts: &Facts<'_>, moment: &Moment) -> Raise<()> {
    event.put(const { name("server_pid") }, &server_pid(py, facts)?)?;
    event.put(const { name("request_start") }, &float(py, seconds(facts.request_start))?)?;
    event.put(const { name("queue_start") }, &float(py, seconds(facts.queue_start))?)?;
    event.put(const { name("daemon_start") }, &float(py, seconds(moment.daemon_start))?)
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
        event.put(const { name("response_status") }, status)?;
        event.put(const { name("response_headers") }, headers)?;
        let exception = exception.cloned().unwrap_or_else(|| none(py));
        event.put(const { name("exception_info") }, &exception)
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
        event.put(const { name("exception_info") }, &tuple(py, &parts)?)
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
        let micros = |time: u64| time_of(py, Duration::from_micros(time));
        event.put(const { name("thread_id") }, &integer(py, i64::from(moment.thread))?)?;
        begin_of_request(py, event, facts, moment)?;
        event.put(const { name("input_reads") }, &count(tally.input_reads)?)?;
        event.put(const { name("input_length") }, &count(tally.input_bytes)?)?;
        event.put(const { name("input_time") }, &time(meter.input)?)?;
        event.put(const { name("output_length") }, &count(tally.output_bytes)?)?;
        event.put(const { name("output_writes") }, &count(tally.output_writes)?)?;
        event.put(const { name("output_time") }, &time(meter.output)?)?;
        event.put(const { name("cpu_user_time") }, &micros(cpu.user)?)?;
        event.put(const { name("cpu_system_time") }, &micros(cpu.system)?)?;
        event.put(const { name("cpu_time") }, &micros(cpu.total())?)?;
        event.put(const { name("application_finish") }, &float(py, seconds(finish))?)?;
        event.put(const { name("application_time") }, &float(py, seconds(finish - moment.application_start))?)?;
        let status = if tally.status == 0 { 500 } else { tally.status };
        event.put(const { name("status") }, &integer(py, i64::from(status))?)?;
        event.put(const { name("gil_wait_time") }, &time(meter.gil_wait)?)?;
        event.put(const { name("gil_wait_count") }, &count(meter.gil_count)?)
    });
}

fn time_of(py: Python<'_>, time: Duration) -> Raise<Object<'_>> {
    float(py, time.as_secs_f64())
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
    let pid = crate::wsgi::environ::entry(facts, wsgi_protocol::keys::id("mod_wsgi.server_pid"));
    let pid = pid.and_then(|pid| std::str::from_utf8(pid).ok()).and_then(|pid| pid.parse().ok());
    integer(py, pid.unwrap_or_else(|| i64::from(std::process::id())))
}
