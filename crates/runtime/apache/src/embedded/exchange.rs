//! One request in embedded mode.

use std::sync::atomic::AtomicBool;

use wsgi_protocol::abi;
use wsgi_protocol::request::{Facts, SENDFILE};

use crate::body::Body;
use crate::config::Generation;
use crate::dispatch::Job;
use crate::embedded::stop_signal::Inside;
use crate::host::{Failure, Request, Status, Verdict};
use crate::observe::children::Children;
use crate::response::Response;
use crate::{codes, sys};

/// What the host functions of one request work on.
pub(crate) struct Exchange<'r> {
    pub(super) request: Request<'r>,
    pub(super) body: Body<'r>,
    pub(super) response: Response<'r>,
    /// The status of a body that could not be read.
    pub(super) body_failed: Option<u16>,
    /// The text of the last failure.
    pub(super) error: String,
    /// `WSGIEnableSendfile On`.
    pub(super) sendfile: bool,
    /// What a script has answered.
    pub(super) answers: Vec<Option<Vec<u8>>>,
    /// A host function of the request is running: see [`abi::HostTable`].
    pub(super) entered: &'r AtomicBool,
}

/// Serves a request by the engine of this child.
pub(crate) fn handle(job: &Job<'_>, mut facts: Facts<'_>) -> Result<Verdict, Failure> {
    let table = job.registry.embedded().get().and_then(super::Embedded::table);
    let Some(table) = table.filter(|_| !job.generation.restricts_embedded()) else {
        return Err(absent(job.generation));
    };
    let _counted = job.registry.children().get().and_then(Children::count);
    let request = job.request;
    let entered = AtomicBool::new(false);
    let mut exchange = Exchange {
        request,
        body: Body::new(request),
        response: Response::new(request, 0),
        body_failed: None,
        error: String::new(),
        sendfile: facts.has(SENDFILE),
        answers: Vec::new(),
        entered: &entered,
    };
    if job.settings.passes_request() {
        facts.request_rec = request.raw().cast();
    }
    facts.host = (&raw mut exchange).cast();
    let verdict = {
        // A stop waits until the response is complete.
        let _inside = Inside::enter();
        // SAFETY: facts and exchange outlive the call, and this thread does not touch them while it runs.
        let outcome = unsafe { (table.serve)(&raw const facts) };
        finish(&mut exchange, outcome)
    };
    Ok(verdict)
}

fn finish(exchange: &mut Exchange<'_>, outcome: abi::Outcome) -> Verdict {
    let response = &mut exchange.response;
    match outcome {
        abi::SERVED => {
            // The client may be gone: there is nobody left to tell.
            let _ = response.finish();
            Verdict::Done
        }
        abi::TRUNCATED => {
            response.truncate();
            Verdict::Done
        }
        _ if response.has_started() => {
            response.truncate();
            Verdict::Done
        }
        // An application that gave up because of the body did not fail.
        500 => Verdict::Http(Status(exchange.body_failed.unwrap_or(500))),
        status => Verdict::Http(Status(if (400..=599).contains(&status) { status } else { 500 })),
    }
}

fn absent(generation: &Generation) -> Failure {
    let status = sys::HTTP_INTERNAL_SERVER_ERROR;
    if !generation.restricts_embedded() {
        return Failure::new(status, &codes::PYTHON_ABSENT, "Python is not running in this process.");
    }
    Failure::new(status, &codes::EMBEDDED_DISABLED, "Embedded mode of mod_wsgi disabled by runtime configuration.")
}
