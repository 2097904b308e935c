//! Events for `mod_wsgi.subscribe_…`: callbacks are called in the order of their registration; what one returns is
//! merged into the event before the next; exceptions are logged and disturb nothing.

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::request::Facts;

use crate::interpreter::Interpreter;
use crate::object::{
    Object, Raise, call_keywords, dict, done, float, get, integer, latin1, list_item, list_length, none, put,
    system_exit, text, tuple, type_name,
};
use crate::traceback::{Destination, is_instance, trace};
use crate::wsgi::environ::{Moment, seconds};
use crate::wsgi::session::Session;

/// The list of callbacks with this name, when anybody is in it.
fn subscribers<'py>(
    py: Python<'py>,
    interpreter: &Interpreter,
    list: &'static std::ffi::CStr,
) -> Option<Vec<Object<'py>>> {
    let parts = interpreter.parts()?;
    let stored = match list.to_bytes() {
        b"event_callbacks" => &parts.event_callbacks,
        b"shutdown_callbacks" => &parts.shutdown_callbacks,
        _ => &parts.signal_callbacks,
    };
    let list = stored.get(py);
    let count = list_length(&list);
    if count == 0 {
        return None;
    }
    (0..count).map(|index| list_item(&list, index).ok()).collect()
}

/// Whether anybody listens to the events of requests.
pub(crate) fn wanted(py: Python<'_>, interpreter: &Interpreter) -> bool {
    interpreter.parts().is_some_and(|parts| list_length(&parts.event_callbacks.get(py)) != 0)
}

fn publish<'py>(py: Python<'py>, to: Destination<'_>, callbacks: &[Object<'py>], name: &str, event: &Object<'py>) {
    for callback in callbacks {
        let outcome = || -> Raise<()> {
            let answer = call_keywords(callback, &tuple(py, &[text(py, name)?])?, event)?;
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

/// Builds an event and publishes it; what cannot be built is logged.
fn announce<'py>(
    py: Python<'py>,
    to: Destination<'_>,
    list: &'static std::ffi::CStr,
    name: &str,
    fill: impl FnOnce(&Object<'py>) -> Raise<()>,
) -> Option<Object<'py>> {
    let callbacks = subscribers(py, to.interpreter(), list)?;
    let event = match dict(py).and_then(|event| fill(&event).map(|()| event)) {
        Ok(event) => event,
        Err(raised) => {
            raised.forget(py);
            to.line(py, Level::Error, &format!("WSGI0113: the event '{name}' could not be published."));
            return None;
        }
    };
    publish(py, to, &callbacks, name, &event);
    Some(event)
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
    let event = announce(py, Destination::Request(session), c"event_callbacks", "request_started", |event| {
        put(event, c"request_id", &request_id(py, session)?)?;
        put(event, c"thread_id", &integer(py, i64::from(moment.thread))?)?;
        put(event, c"daemon_connects", &integer(py, 0)?)?;
        put(event, c"daemon_restarts", &integer(py, 0)?)?;
        put(event, c"server_pid", &server_pid(py, facts)?)?;
        put(event, c"request_start", &float(py, seconds(facts.request_start))?)?;
        put(event, c"queue_start", &float(py, seconds(facts.queue_start))?)?;
        put(event, c"daemon_start", &float(py, seconds(moment.daemon_start))?)?;
        put(event, c"application_start", &float(py, seconds(moment.application_start))?)?;
        put(event, c"application_object", &application)?;
        put(event, c"callable_object", &latin1(py, facts.callable.or_empty())?)?;
        put(event, c"request_environ", environ)?;
        put(event, c"request_data", &request_data(py, session)?)
    });
    let Some(event) = event else {
        return application;
    };
    // SAFETY: an exact dict, alive, attached; borrowed or null.
    let replaced = unsafe {
        let value = ffi::PyDict_GetItemString(event.as_ptr(), c"application_object".as_ptr());
        pyo3::Bound::from_borrowed_ptr_or_opt(py, value)
    };
    replaced.unwrap_or(application)
}

/// `response_started`: each call of `start_response`, before its arguments are validated.
pub(crate) fn response_started(
    py: Python<'_>,
    session: &Session,
    status: &Object<'_>,
    headers: &Object<'_>,
    exception: Option<&Object<'_>>,
) -> Raise<()> {
    announce(py, Destination::Request(session), c"event_callbacks", "response_started", |event| {
        put(event, c"request_id", &request_id(py, session)?)?;
        put(event, c"response_status", status)?;
        put(event, c"response_headers", headers)?;
        put(event, c"exception_info", &exception.cloned().unwrap_or_else(|| none(py)))?;
        put(event, c"request_data", &request_data(py, session)?)
    });
    Ok(())
}

/// `request_exception`: an exception that was recorded.
pub(crate) fn request_exception(py: Python<'_>, session: &Session, exception: &Object<'_>) {
    announce(py, Destination::Request(session), c"event_callbacks", "request_exception", |event| {
        put(event, c"request_id", &request_id(py, session)?)?;
        let traceback = get(exception, c"__traceback__")?;
        let parts = [get(exception, c"__class__")?, exception.clone(), traceback];
        put(event, c"exception_info", &tuple(py, &parts)?)?;
        put(event, c"request_data", &request_data(py, session)?)
    });
}

/// `request_finished`: the response is out and the iterable closed.
pub(crate) fn request_finished(py: Python<'_>, session: &Session, facts: &Facts<'_>, moment: &Moment, finish: i64) {
    announce(py, Destination::Request(session), c"event_callbacks", "request_finished", |event| {
        let (reads, read, generated, writes, status) = {
            let state = session.state.borrow(py);
            let response = &state.response;
            let status = if response.sent { response.status } else { 500 };
            (state.body.reads, state.body.length, response.generated, response.writes, status)
        };
        let count = |number: u64| integer(py, i64::try_from(number).unwrap_or(i64::MAX));
        put(event, c"request_id", &request_id(py, session)?)?;
        put(event, c"thread_id", &integer(py, i64::from(moment.thread))?)?;
        put(event, c"server_pid", &server_pid(py, facts)?)?;
        put(event, c"request_start", &float(py, seconds(facts.request_start))?)?;
        put(event, c"queue_start", &float(py, seconds(facts.queue_start))?)?;
        put(event, c"daemon_start", &float(py, seconds(moment.daemon_start))?)?;
        put(event, c"input_reads", &count(reads)?)?;
        put(event, c"input_length", &count(read)?)?;
        put(event, c"output_length", &count(generated)?)?;
        put(event, c"output_writes", &count(writes)?)?;
        put(event, c"application_finish", &float(py, seconds(finish))?)?;
        put(event, c"application_time", &float(py, seconds(finish - moment.application_start))?)?;
        put(event, c"status", &integer(py, i64::from(status))?)?;
        put(event, c"request_data", &request_data(py, session)?)
    });
}

/// `process_stopping`: to subscribers of events and of the shutdown alone.
pub(crate) fn process_stopping(py: Python<'_>, interpreter: &'static Interpreter, reason: &str) {
    for list in [c"event_callbacks", c"shutdown_callbacks"] {
        announce(py, Destination::Process(interpreter), list, "process_stopping", |event| {
            put(event, c"shutdown_reason", &text(py, reason)?)
        });
    }
}

/// `process_signal`: to subscribers of events and of signals alone.
pub(crate) fn process_signal(py: Python<'_>, interpreter: &'static Interpreter, name: &str, number: i32) {
    for list in [c"event_callbacks", c"signal_callbacks"] {
        announce(py, Destination::Process(interpreter), list, "process_signal", |event| {
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
