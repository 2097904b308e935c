//! The request as processes see it: encoded once, and changed in place for another try.

use wsgi_protocol::Malformed;
use wsgi_protocol::frame::{self, HEADER, INCLUDED_BODY, Kind, Secret};
use wsgi_protocol::request::{self, BODY_INCLUDED, Facts};

use super::{Answer, Ending, Exchange, internal, log_body_failure, now};
use crate::body::{Body, BodyError};
use crate::codes;
use crate::daemon::client::GroupClient;
use crate::host::{Request, Status, Target, Verdict};
use crate::response::{Response, Rules};

impl<'e> Exchange<'e> {
    /// Encodes a request, with its body when that is small. `Err`: it ends here.
    pub(crate) fn begin(
        request: Request<'e>,
        group: &'e GroupClient,
        facts: Facts<'e>,
        secret: &Secret,
        rules: Rules,
    ) -> Result<Self, Answer> {
        let mut facts = facts;
        let mut body = Body::new(request);
        let mut included = Vec::new();
        // Who waits for `100 Continue` shall get it only when the application reads.
        let waits = request.headers_in().get(c"Expect").is_some();
        let length = usize::try_from(facts.content_length).unwrap_or(usize::MAX);
        if (1..=INCLUDED_BODY).contains(&length) && !waits && !facts.has(BODY_INCLUDED) {
            match read_whole(&mut body, length) {
                Ok(bytes) => included = bytes,
                Err(error) => {
                    log_body_failure(request, &error);
                    return Err(Ok(Verdict::Http(Status(error.status))));
                }
            }
            facts.flags |= BODY_INCLUDED;
        }
        facts.queue_start = now();
        let queued = facts.queued_since(&included);
        facts.set_tries(1, 0);
        facts.set_log_level(u8::try_from(Target::Request(request).level().clamp(0, 8)).unwrap_or(0));
        let mut encoded = Vec::with_capacity(2048 + included.len());
        let greeting = encode(&facts, secret, &included, &mut encoded).map_err(|malformed| {
            Err(internal(
                &codes::REQUEST_SEND_FAILED,
                format!("Unable to send request details to WSGI daemon process '{}' ({malformed}).", group.name),
            ))
        })?;
        Ok(Self {
            request,
            group,
            entries: facts.entries(),
            rules,
            encoded,
            greeting,
            tries: (1, 0),
            body,
            body_begun: false,
            body_failed: None,
            body_unsent: None,
            response: Response::new(request, group.flush_after),
            ending: Ending::Normal,
            accepted: false,
            pid: None,
            ticket: facts.ticket,
            foreign: false,
            queued,
            sent: None,
            patience: None,
        })
    }

    /// The next process will be tried. `refused`: the last one was leaving.
    pub(crate) fn again(&mut self, refused: bool) {
        let (connects, restarts) = self.tries;
        self.tries = (connects.saturating_add(1), restarts.saturating_add(u8::from(refused)));
        if let Some(payload) = self.encoded.get_mut(self.greeting + HEADER..) {
            request::patch_tries(payload, self.tries.0, self.tries.1);
        }
    }

    /// It was taken back: what is sent now is another request, as far as processes can see.
    pub(crate) fn anew(&mut self, ticket: u64) {
        self.ticket = ticket;
        if let Some(payload) = self.encoded.get_mut(self.greeting + HEADER..) {
            request::patch_ticket(payload, ticket);
        }
    }
}

/// Greeting and request; where the request begins.
fn encode(facts: &Facts<'_>, secret: &Secret, body: &[u8], out: &mut Vec<u8>) -> Result<usize, Malformed> {
    frame::put(Kind::Hello, secret, out)?;
    let start = out.len();
    let open = frame::begin(Kind::Request, out);
    request::encode(facts, body, out)?;
    frame::finish(open, out)?;
    Ok(start)
}

fn read_whole(body: &mut Body<'_>, length: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = vec![0u8; length];
    let mut filled = 0;
    while filled < length {
        match body.read(&mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
