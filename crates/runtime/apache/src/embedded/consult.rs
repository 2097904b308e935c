//! Asking a script that decides on a request.

use std::sync::atomic::AtomicBool;

use wsgi_protocol::consult::{Advice, Consultation};

use crate::body::Body;
use crate::config::Registry;
use crate::embedded::exchange::Exchange;
use crate::embedded::stop_signal::Inside;
use crate::host::Request;
use crate::response::Response;

/// What a script said, and what it gave along with it.
pub(crate) type Advised = (Advice, Vec<Option<Vec<u8>>>);

/// Asks by the engine of this child; `None` when Python is not running here.
pub(crate) fn consult(request: Request<'_>, registry: &Registry, mut asked: Consultation<'_>) -> Option<Advised> {
    let table = registry.embedded().get().and_then(super::Embedded::table)?;
    let entered = AtomicBool::new(false);
    let mut exchange = Exchange {
        request,
        body: Body::new(request),
        response: Response::new(request, 0),
        body_failed: None,
        error: String::new(),
        sendfile: false,
        answers: Vec::new(),
        entered: &entered,
    };
    asked.facts.host = (&raw mut exchange).cast();
    let _inside = Inside::enter();
    // SAFETY: what is asked and the exchange outlive the call, and this thread does not touch them while it runs.
    let advice = unsafe { (table.consult)(&raw const asked) };
    Some((advice, exchange.answers))
}
