//! One request with one daemon process: request out, body on demand, response in.
//!
//! [`sending`] has the request as it goes out, [`waiting`] what happens until a thread takes it, [`ending`] how a try ends,
//! [`ranges`] how parts of a response are served.

mod ending;
mod ranges;
mod sending;
mod waiting;

use std::ffi::CStr;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wsgi_protocol::abi::{Entry, Field};
use wsgi_protocol::frame::{self, END_LAST, HEADER, Kind, MAX_CHUNK};
use wsgi_protocol::tally::Failed;
use wsgi_protocol::{Malformed, head};

use super::client::GroupClient;
use super::connection::{Connection, ReadError};
use super::sockets::LOOK;
use super::status_page::{Claim, StatusPage};
use crate::body::{Body, BodyError};
use crate::codes::{self, Code};
use crate::host::{AprError, Failure, Patience, Request, Target, Verdict, log};
use crate::response::{Next, Response, Rules, Stop};
use crate::sys;

type Answer = Result<Verdict, Failure>;

/// A block of body bytes of this size is worth a look at whether another one is there.
const LARGE: usize = 32 * 1024;

/// How a try with one process went.
pub(crate) enum Turn {
    /// The request is answered, or never will be.
    Done {
        /// What the handler returns.
        verdict: Answer,
        /// The connection may be used for another request.
        keep: bool,
    },
    /// The connection was closed before the process took the request.
    Stale,
    /// The process is leaving and did not take it.
    Rejected,
    /// The process has not taken it and will not: it was taken back, because another one has room.
    Elsewhere,
}

/// A request on its way through processes.
pub(crate) struct Exchange<'e> {
    request: Request<'e>,
    group: &'e GroupClient,
    entries: &'e [Entry<'e>],
    rules: Rules,
    /// The greeting, then the request.
    encoded: Vec<u8>,
    /// Where the request begins in `encoded`.
    greeting: usize,
    /// How often a process was tried, and how many refused because they were leaving.
    tries: (u8, u8),
    body: Body<'e>,
    /// A process has asked for the body. Who does that serves the request; and what it was given cannot be given again.
    body_begun: bool,
    /// The status of a body that could not be read.
    body_failed: Option<u16>,
    /// Why the process could not be given what it had asked for. It may have something to say all the same.
    body_unsent: Option<io::Error>,
    response: Response<'e>,
    ending: Ending<'e>,
    accepted: bool,
    /// The process that it was sent to last; its place is cleared when it has ended.
    pid: Option<u32>,
    /// What to look for on the status page, to see whether a thread has taken the request.
    ticket: u64,
    /// It was sent to a process of another generation, which does not see our page.
    foreign: bool,
    /// Since when it waits in the queue, in microseconds since the epoch.
    queued: i64,
    /// When it was sent, once that was some time ago.
    sent: Option<Instant>,
    /// How long the client may take nothing, from the response's head on.
    patience: Option<Patience<'e>>,
}

/// What becomes of a response after its head.
enum Ending<'e> {
    /// It goes to the client.
    Normal,
    /// Its body is thrown away, and the handler returns this.
    Status(u16),
    /// Its body is thrown away, and another location is served.
    Redirect(&'e CStr),
    /// The client has gone.
    Gone,
}

fn internal(code: &'static Code, text: String) -> Failure {
    Failure::new(sys::HTTP_INTERNAL_SERVER_ERROR, code, text)
}

impl<'e> Exchange<'e> {
    /// Tries one process. `may_move`: when it is stuck, the request may be taken back for another one.
    pub(crate) fn run(
        &mut self,
        connection: &mut Connection,
        fresh: bool,
        claim: &mut Claim<'_>,
        page: &StatusPage,
        may_move: bool,
    ) -> Turn {
        let bytes = if fresh { &self.encoded[..] } else { &self.encoded[self.greeting..] };
        if let Err(error) = connection.send(bytes) {
            return match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Turn::Stale,
                _ => self.done(Err(internal(
                    &codes::REQUEST_SEND_FAILED,
                    format!("Unable to send request details to WSGI daemon process '{}' ({error}).", self.group.name),
                ))),
            };
        }
        self.accepted = false;
        self.pid = claim.pid();
        self.body_unsent = None;
        if let Err(failure) = self.wait_for_group(connection, claim) {
            return self.done(Err(failure));
        }
        (self.sent, self.foreign) = (None, false);
        if !self.group.queue_timeout.is_zero()
            && let Err(turn) = self.wait_for_turn(connection, claim, page, may_move)
        {
            return turn;
        }
        loop {
            if self.response.has_unflushed() && !connection.has_frame() && !connection.wait(self.group.flush_delay) {
                // Nothing follows soon: what is there goes out.
                self.pass_on(&[], true);
            }
            if matches!(self.ending, Ending::Gone) {
                // The process notices at its next writing.
                return self.done(Ok(Verdict::Done));
            }
            let frame = match connection.next() {
                Ok(frame) => frame,
                Err(ReadError::TimedOut) => {
                    self.sent.get_or_insert_with(|| Instant::now().checked_sub(LOOK).unwrap_or_else(Instant::now));
                    match self.wait_longer(connection, claim, page, may_move) {
                        Ok(()) => continue,
                        Err(turn) => return turn,
                    }
                }
                Err(error) => return self.broken(&error, page),
            };
            let (kind, payload) = (frame.kind, frame.payload);
            // Only the application's own thread says these, whatever stands on the page.
            self.accepted |= matches!(kind, Kind::Pull | Kind::Head | Kind::Data);
            let turn = match kind {
                Kind::Accepted => frame::number(payload).map(|place| {
                    self.accepted = true;
                    claim.accepted_by(place);
                    self.pid = claim.pid();
                    None
                }),
                Kind::Picked => frame::number(payload).map(|place| {
                    self.foreign |= place == u32::MAX;
                    claim.accepted_by(place);
                    self.pid = claim.pid();
                    None
                }),
                Kind::Log => frame::log(payload).map(|record| {
                    Target::Request(self.request).write(&record);
                    None
                }),
                Kind::Head => {
                    let turn = self.head(payload);
                    if matches!(turn, Ok(None))
                        && let Some(length) = self.ranged()
                    {
                        return self.answer_ranges(connection, length, page);
                    }
                    turn
                }
                Kind::Data => {
                    let length = payload.len();
                    if length < LARGE {
                        self.data(&[payload])
                    } else {
                        // Two blocks go out together without being copied; one would wait for the next in a copy.
                        match connection.with_following(length) {
                            (block, None) => self.data(&[block]),
                            (block, Some(following)) => self.data(&[block, following]),
                        }
                    }
                }
                Kind::Pull => match frame::number(payload) {
                    Ok(wanted) => {
                        self.body_begun = true;
                        self.give_body(connection, wanted)
                    }
                    Err(malformed) => Err(malformed),
                },
                Kind::End => {
                    let last = payload.iter().any(|flags| flags & END_LAST != 0);
                    return self.complete(!last && connection.is_drained());
                }
                Kind::Failure => match frame::failure(payload) {
                    Ok((code, flags, text)) => {
                        let text = String::from_utf8_lossy(text).into_owned();
                        let keep = flags & END_LAST == 0 && connection.is_drained();
                        return self.failure(code, &text, keep);
                    }
                    Err(malformed) => Err(malformed),
                },
                Kind::Hello | Kind::Request | Kind::Body | Kind::BodyFailed => {
                    Err(Malformed { what: "direction of a frame" })
                }
            };
            match turn {
                Ok(None) => {}
                Ok(Some(turn)) => return turn,
                Err(malformed) => return self.broken(&ReadError::Malformed(malformed), page),
            }
        }
    }

    fn done(&self, verdict: Answer) -> Turn {
        Turn::Done { verdict, keep: false }
    }

    fn head(&mut self, payload: &[u8]) -> Result<Option<Turn>, Malformed> {
        if self.response.has_head() {
            return Err(Malformed { what: "second head" });
        }
        let mut fields: Vec<Field<'_>> = Vec::new();
        let (status, line) = head::decode(payload, &mut fields)?;
        let longest = self.group.longest_line;
        let length = |field: &Field<'_>| field.name.or_empty().len() + ": ".len() + field.value.or_empty().len();
        if payload.len() > longest
            && let Some(field) = fields.iter().find(|field| length(field) > longest)
        {
            let (name, group) = (String::from_utf8_lossy(field.name.or_empty()).into_owned(), &self.group.name);
            return Ok(Some(self.done(Err(internal(
                &codes::HEADER_TOO_LONG,
                format!(
                    "Response header line too long from daemon process '{group}'. (Truncated or oversized response \
                     headers received from daemon process '{group}') The field '{name}' makes a line of {} bytes; \
                     header-buffer-size allows {longest}.",
                    length(field)
                ),
            )))));
        }
        self.patience = self.group.client_timeout.map(|timeout| self.request.connection().patience(timeout));
        self.ending = match self.response.head(status, line, &fields, self.rules) {
            Next::Body => Ending::Normal,
            Next::Override(status) => Ending::Status(status),
            Next::Redirect(location) => Ending::Redirect(location),
        };
        Ok(None)
    }

    /// Body bytes that the process sent.
    fn data(&mut self, blocks: &[&[u8]]) -> Result<Option<Turn>, Malformed> {
        if !self.response.has_head() {
            return Err(Malformed { what: "body before its head" });
        }
        if self.response.is_exceeded_by(blocks.iter().map(|block| block.len()).sum()) {
            return Err(Malformed { what: "body that is longer than its Content-Length" });
        }
        self.pass_on(blocks, false);
        Ok(None)
    }

    /// Passes body bytes on to the client.
    fn pass_on(&mut self, blocks: &[&[u8]], flush: bool) {
        if !matches!(self.ending, Ending::Normal) {
            return;
        }
        match self.response.blocks(blocks, flush) {
            Ok(()) => {}
            Err(Stop::ClientGone) => self.ending = Ending::Gone,
            Err(Stop::Failed(error)) => {
                log::request(
                    self.request,
                    &codes::PROXY_WRITE_TIMEOUT,
                    format_args!("Unable to proxy response to client ({}).", stalled_or(error)),
                );
                self.group.count(Failed::ClientTimeout);
                self.ending = Ending::Gone;
            }
        }
    }

    /// Answers a pull.
    fn give_body(&mut self, connection: &Connection, wanted: u32) -> Result<Option<Turn>, Malformed> {
        if self.response.has_unflushed() && self.body.is_awaited() {
            // The client may send more only when it has seen what was answered so far.
            self.pass_on(&[], true);
            if matches!(self.ending, Ending::Gone) {
                return Ok(None);
            }
        }
        let wanted = usize::try_from(wanted).unwrap_or(MAX_CHUNK).clamp(1, MAX_CHUNK);
        let mut out = vec![0u8; HEADER + wanted];
        match self.body.read(&mut out[HEADER..]) {
            Ok(count) => {
                out[..HEADER].copy_from_slice(&frame::header_for(Kind::Body, count)?);
                out.truncate(HEADER + count);
            }
            Err(error) => {
                log_body_failure(self.request, &error);
                self.body_failed = Some(error.status);
                out.clear();
                frame::put(Kind::BodyFailed, error.text.as_bytes(), &mut out)?;
            }
        }
        Ok(match connection.send(&out) {
            Ok(()) => None,
            Err(error) => {
                // What it had to say before it closed the connection can still be read. When that is nothing, the end of
                // the connection is what is logged.
                self.body_unsent = Some(error);
                None
            }
        })
    }
}

/// What happened to a response on its way to the client.
fn stalled_or(error: AprError) -> String {
    if error.is_timeout() { "write timeout".to_owned() } else { error.text() }
}

fn log_body_failure(request: Request<'_>, error: &BodyError) {
    log::request(
        request,
        &codes::BODY_READ_FAILED,
        format_args!("Request data read error when proxying data to daemon process: {}.", error.text),
    );
}

/// Microseconds since the epoch.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
