//! One request with one daemon process: request out, body on demand, response in.

use std::ffi::CStr;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wsgi_protocol::abi::{Entry, Field};
use wsgi_protocol::frame::{self, END_LAST, FailureCode, HEADER, INCLUDED_BODY, Kind, MAX_CHUNK, Secret};
use wsgi_protocol::request::{self, BODY_INCLUDED, Facts};
use wsgi_protocol::tally::Failed;
use wsgi_protocol::{Malformed, head};

use super::client::GroupClient;
use super::connection::{Connection, ReadError};
use super::sockets::LOOK;
use super::status_page::{Claim, StatusPage, Target as Way};
use crate::body::{Body, BodyError};
use crate::codes::{self, Code};
use crate::host::{AprError, Failure, Patience, Request, Status, Target, Verdict, log};
use crate::response::{Next, Response, Rules, Stop};
use crate::{environ, sys};

type Answer = Result<Verdict, Failure>;

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

/// Whether a request could be taken back.
enum Withdrawn {
    /// The process will not serve it.
    Yes,
    /// It has begun to.
    No,
    /// There was no room to say so: it has not begun, and it may.
    Unsaid,
}

/// A request that has waited for so long for a thread is worth a line in the log.
const LONG: Duration = Duration::from_secs(1);

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
    /// The status of a body that could not be read.
    body_failed: Option<u16>,
    response: Response<'e>,
    ending: Ending<'e>,
    accepted: bool,
    /// What to look for on the status page, to see whether a thread has taken the request.
    ticket: u64,
    /// It was sent to a process of another generation, which does not see our page.
    foreign: bool,
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
            body_failed: None,
            response: Response::new(request, group.flush_after),
            ending: Ending::Normal,
            accepted: false,
            ticket: facts.ticket,
            foreign: false,
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
                self.pass_on(b"", true);
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
            let turn = match kind {
                Kind::Accepted => frame::number(payload).map(|place| {
                    self.accepted = true;
                    claim.accepted_by(place);
                    None
                }),
                Kind::Picked => frame::number(payload).map(|place| {
                    self.foreign |= place == u32::MAX;
                    claim.accepted_by(place);
                    None
                }),
                Kind::Log => frame::log(payload).map(|record| {
                    Target::Request(self.request).write(&record);
                    None
                }),
                Kind::Head => self.head(payload),
                Kind::Data => {
                    self.pass_on(payload, false);
                    Ok(None)
                }
                Kind::Pull => match frame::number(payload) {
                    Ok(wanted) => self.give_body(connection, wanted),
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

    /// A group without a process that is started or starting is waited for like a connection.
    fn wait_for_group(&self, connection: &Connection, claim: &Claim<'_>) -> Result<(), Failure> {
        if !claim.group_runs() && !connection.wait(self.group.connect_timeout) && !claim.group_runs() {
            return Err(self.nobody_runs());
        }
        Ok(())
    }

    fn nobody_runs(&self) -> Failure {
        Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::CONNECT_EXHAUSTED,
            format!(
                "Unable to connect to WSGI daemon process '{}': none of its processes can be started, the reason is \
                 earlier in the log.",
                self.group.name
            ),
        )
    }

    /// Nothing came for a moment. Goes on waiting: for a thread as long as none has taken the request, then for the
    /// application. Returns when something can be read, or how the try ends.
    fn wait_longer(
        &mut self,
        connection: &mut Connection,
        claim: &Claim<'_>,
        page: &StatusPage,
        may_move: bool,
    ) -> Result<(), Turn> {
        if !self.accepted && !self.response.has_head() && self.wait_for_turn(connection, claim, page, may_move)? {
            return Ok(());
        }
        let limit = self.group.socket_timeout;
        if limit.is_zero() || connection.wait(limit.saturating_sub(LOOK)) {
            return Ok(());
        }
        Err(self.broken(&ReadError::TimedOut, page))
    }

    /// Waits until a thread takes the request, for no longer than the timeouts say; when the process is stuck and
    /// another has room, the request is taken back and goes there. `true`: something can be read.
    fn wait_for_turn(
        &mut self,
        connection: &mut Connection,
        claim: &Claim<'_>,
        page: &StatusPage,
        may_move: bool,
    ) -> Result<bool, Turn> {
        let (queue, socket) = (self.group.queue_timeout, self.group.socket_timeout);
        let sent = *self.sent.get_or_insert_with(Instant::now);
        // The last process may have ended after the request was sent to its listener.
        let mut nobody_since = None;
        loop {
            if page.has_taken(self.ticket) {
                self.accepted = true;
                return Ok(false);
            }
            if claim.group_runs() {
                nobody_since = None;
            } else if nobody_since.get_or_insert_with(Instant::now).elapsed() >= self.group.connect_timeout {
                return Err(self.done(Err(self.nobody_runs())));
            }
            let in_queue = Duration::from_micros(u64::try_from(now() - self.request.started()).unwrap_or(0));
            let waited = sent.elapsed();
            let left = if queue.is_zero() { LOOK } else { queue.saturating_sub(in_queue) };
            let overdue = left.is_zero() || (!socket.is_zero() && waited >= socket);
            let leaves = may_move
                && waited >= LOOK
                && matches!(claim.target(), Way::Place(place) if page.has_room_elsewhere(place));
            if overdue || leaves {
                match self.withdraw(connection, claim, page) {
                    Withdrawn::No => return Ok(connection.has_frame()),
                    _ if left.is_zero() => return Err(self.done(Err(self.queue_timeout()))),
                    _ if overdue => return Err(self.broken(&ReadError::TimedOut, page)),
                    Withdrawn::Yes => return Err(Turn::Elsewhere),
                    Withdrawn::Unsaid => {}
                }
            }
            if waited >= LONG
                && let Some(threads) = page.newly_at_capacity()
            {
                log::request(
                    self.request,
                    &codes::AT_CAPACITY,
                    format_args!(
                        "All {threads} threads of daemon process group '{}' are busy; requests wait for one.",
                        self.group.name
                    ),
                );
            }
            if connection.wait(left.min(LOOK)) {
                return Ok(true);
            }
        }
    }

    /// Takes the request back from the process that it was sent to.
    fn withdraw(&self, connection: &mut Connection, claim: &Claim<'_>, page: &StatusPage) -> Withdrawn {
        // On the overflow listener it is nobody's: closing the connection is enough.
        let Way::Place(place) = claim.target() else { return Withdrawn::Yes };
        if self.foreign || !page.withdraw(self.ticket, place) {
            return if page.has_taken(self.ticket) { Withdrawn::No } else { Withdrawn::Unsaid };
        }
        // In this order: a thread that has another ticket by now has sent this one's response before.
        if page.has_taken(self.ticket) || connection.has_frame() {
            page.keep_after_all(self.ticket);
            return Withdrawn::No;
        }
        Withdrawn::Yes
    }

    fn queue_timeout(&self) -> Failure {
        Failure::new(
            sys::HTTP_GATEWAY_TIME_OUT,
            &codes::QUEUE_TIMEOUT,
            format!("Queue timeout expired for WSGI daemon process '{}'.", self.group.name),
        )
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

    /// Passes body bytes on to the client.
    fn pass_on(&mut self, bytes: &[u8], flush: bool) {
        if !matches!(self.ending, Ending::Normal) {
            return;
        }
        match self.response.data(bytes, flush) {
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
                log::request(
                    self.request,
                    &codes::BODY_WRITE_FAILED,
                    format_args!("Request data write error when proxying data to daemon process: {error}."),
                );
                // What it had to say before it closed the connection can still be read.
                None
            }
        })
    }

    /// The response is complete.
    fn complete(&mut self, keep: bool) -> Turn {
        let verdict = match self.ending {
            Ending::Gone => Verdict::Done,
            Ending::Status(status) => Verdict::Http(Status(status)),
            Ending::Redirect(location) => {
                environ::publish(self.request, self.entries);
                self.request.redirect_internally(location);
                Verdict::Done
            }
            Ending::Normal if !self.response.has_head() => {
                return self.done(Err(internal(
                    &codes::HEAD_MALFORMED,
                    format!("Daemon process '{}' ended a response without a head.", self.group.name),
                )));
            }
            Ending::Normal => {
                // The client may be gone: there is nobody left to tell.
                let _ = self.response.finish();
                Verdict::Done
            }
        };
        Turn::Done { verdict: Ok(verdict), keep }
    }

    /// The process says that there is no response, or no more of it.
    fn failure(&mut self, code: FailureCode, text: &str, keep: bool) -> Turn {
        let verdict = match code {
            FailureCode::Rejected => return Turn::Rejected,
            FailureCode::QueueTimeout => Err(self.queue_timeout()),
            FailureCode::Status if !self.response.has_head() => {
                let status = text.parse().ok().filter(|status| (400..=599).contains(status)).unwrap_or(500);
                // An application that gave up because of the body did not fail.
                let status = if status == 500 { self.body_failed.unwrap_or(status) } else { status };
                Ok(Verdict::Http(Status(status)))
            }
            FailureCode::Status | FailureCode::Truncated => Ok(self.cut()),
            FailureCode::Protocol => Err(internal(
                &codes::HEAD_MALFORMED,
                format!("Daemon process '{}' did not understand the request ({text}).", self.group.name),
            )),
        };
        Turn::Done { verdict, keep }
    }

    /// Breaks off a response so that the client notices.
    fn cut(&mut self) -> Verdict {
        match self.ending {
            Ending::Normal => {
                // What came before the break belongs to the client.
                self.pass_on(b"", true);
                self.response.truncate();
                Verdict::Done
            }
            Ending::Status(status) => Verdict::Http(Status(status)),
            Ending::Redirect(_) => Verdict::Http(Status(502)),
            Ending::Gone => Verdict::Done,
        }
    }

    /// The connection can be read no more.
    fn broken(&mut self, error: &ReadError, page: &StatusPage) -> Turn {
        let name = &self.group.name;
        let gone = match error {
            ReadError::Closed => true,
            ReadError::Io(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            ReadError::TimedOut | ReadError::Malformed(_) => false,
        };
        let taken = || self.accepted || self.response.has_head() || (self.ticket != 0 && page.has_taken(self.ticket));
        if gone && !taken() {
            return Turn::Stale;
        }
        if self.response.has_head() {
            let code =
                if matches!(error, ReadError::TimedOut) { &codes::PROXY_READ_TIMEOUT } else { &codes::PROXY_FAILED };
            log::request(self.request, code, format_args!("Unable to proxy response from daemon to client. ({error})"));
            self.group.count(Failed::Truncated);
            let verdict = self.cut();
            return self.done(Ok(verdict));
        }
        let (status, code, text) = match error {
            ReadError::Closed => (
                sys::HTTP_BAD_GATEWAY,
                &codes::CLOSED_BEFORE_HEAD,
                format!(
                    "Daemon process '{name}' closed connection before sending complete response headers. (Truncated or \
                     oversized response headers received from daemon process '{name}')"
                ),
            ),
            ReadError::TimedOut => (
                sys::HTTP_GATEWAY_TIME_OUT,
                &codes::HEAD_TIMEOUT,
                format!("Timeout when reading response headers from daemon process '{name}'."),
            ),
            ReadError::Io(error) => (
                sys::HTTP_BAD_GATEWAY,
                &codes::HEAD_READ_FAILED,
                format!(
                    "Error reading response headers from daemon process '{name}' ({error}). (Truncated or oversized \
                     response headers received from daemon process '{name}')"
                ),
            ),
            ReadError::Malformed(malformed) => (
                sys::HTTP_INTERNAL_SERVER_ERROR,
                &codes::HEAD_MALFORMED,
                format!(
                    "Malformed header '{}' found when reading script headers from daemon process '{name}'.",
                    malformed.what
                ),
            ),
        };
        self.done(Err(Failure::new(status, code, text)))
    }
}

/// What happened to a response on its way to the client.
fn stalled_or(error: AprError) -> String {
    if error.is_timeout() { "write timeout".to_owned() } else { error.text() }
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
