//! Writing a response: status and header fields onto Apache's request, the body into its output filters. Both modes
//! end here, so what a client gets does not depend on the mode.

use std::os::fd::BorrowedFd;

use wsgi_protocol::abi::Field;
use wsgi_protocol::head::hop_by_hop;

use crate::host::{AprError, Request, Sending};

/// Unflushed bytes are passed on once so many wait.
const PENDING: usize = 64 * 1024;

/// What the two modes do differently with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A `Status` field replaces the status (daemon mode: CGI's rule, which applications rely on).
    pub(crate) status_field: bool,
    /// `WSGIErrorOverride On`: an error status is given to Apache, which makes the response (daemon mode).
    pub(crate) error_override: bool,
    /// Status 200 with a `Location` that is a path serves that path instead (daemon mode: CGI's rule).
    pub(crate) internal_redirect: bool,
    /// Of several fields that make sense once only, the last one counts (daemon mode).
    pub(crate) last_wins: bool,
}

impl Rules {
    /// Embedded mode.
    pub(crate) const EMBEDDED: Self =
        Self { status_field: false, error_override: false, internal_redirect: false, last_wins: false };

    /// Daemon mode.
    pub(crate) fn daemon(error_override: bool) -> Self {
        Self { status_field: true, error_override, internal_redirect: true, last_wins: true }
    }
}

/// What is to follow a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next<'r> {
    /// The response's body.
    Body,
    /// The handler returns this status and Apache makes the response; the body is thrown away.
    Override(u16),
    /// Another location is served instead ([`Request::redirect_internally`]); the body is thrown away.
    Redirect(&'r std::ffi::CStr),
}

/// What stops a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client went away.
    ClientGone,
    /// Sending failed otherwise.
    Failed(AprError),
}

/// A response on its way out.
pub(crate) struct Response<'r> {
    request: Request<'r>,
    sending: Option<Sending<'r>>,
    /// Bytes that wait here.
    pending: usize,
    /// Bytes that were passed on without a flush.
    unflushed: usize,
    /// So many are passed on without a flush at most.
    flush_after: usize,
    /// Something went to the output filters: the head is out.
    started: bool,
    /// The body went past this response, its end included ([`Response::start_stream`]).
    streamed: bool,
    has_head: bool,
    /// The body's length by the application's `Content-Length`.
    announced: Option<u64>,
    /// Body bytes that were given to this response.
    given: u64,
    failed: Option<Stop>,
}

impl<'r> Response<'r> {
    /// A response that has not begun. What is passed on without a flush is flushed once it is so many bytes.
    pub(crate) fn new(request: Request<'r>, flush_after: usize) -> Self {
        Self {
            request,
            sending: None,
            pending: 0,
            unflushed: 0,
            flush_after,
            started: false,
            streamed: false,
            has_head: false,
            announced: None,
            given: 0,
            failed: None,
        }
    }

    /// Whether the client may have seen something.
    pub(crate) fn has_started(&self) -> bool {
        self.started
    }

    /// Whether bytes wait for a flush.
    pub(crate) fn has_unflushed(&self) -> bool {
        self.pending > 0 || self.unflushed > 0
    }

    /// Whether a head was set.
    pub(crate) fn has_head(&self) -> bool {
        self.has_head
    }

    /// Sets status and header fields. The bytes were checked before: no control characters, no line breaks.
    ///
    /// When Apache has answered already (an input filter does so to a body that is too long or malformed), nothing of
    /// this response is sent: it would stand behind that answer.
    pub(crate) fn head(&mut self, status: u16, line: &[u8], fields: &[Field<'_>], rules: Rules) -> Next<'r> {
        let request = self.request;
        self.has_head = true;
        if request.is_answered() {
            self.failed = Some(Stop::ClientGone);
            return Next::Body;
        }
        let pool = request.pool();
        let headers = request.headers_out();
        let (mut status, mut line) = (status, line);
        let mut location = None;
        for field in fields {
            let (name, value) = (field.name.or_empty(), field.value.or_empty());
            // The engine drops them with a warning; a daemon is not trusted to have done so.
            if hop_by_hop(name).is_some() {
                continue;
            }
            match Known::of(name) {
                Some(Known::ContentType) => request.set_content_type(pool.text(value)),
                Some(Known::ContentLength) => {
                    // The engine refuses other values before it sends a head.
                    if let Some(length) = content_length(value) {
                        request.set_content_length(length);
                        self.announced = u64::try_from(length).ok();
                    }
                }
                Some(Known::WwwAuthenticate) => {
                    request.error_headers_out().add_lasting(pool.text(name), pool.text(value));
                }
                Some(Known::Status) if rules.status_field => {
                    if let Some(number) = leading_status(value) {
                        (status, line) = (number, value);
                    }
                }
                Some(Known::Location) if rules.last_wins => {
                    let value = pool.text(value);
                    location = Some(value);
                    headers.set_lasting(pool.text(name), value);
                }
                Some(Known::LastWins) if rules.last_wins => {
                    headers.set_lasting(pool.text(name), pool.text(value));
                }
                Some(Known::Status | Known::Location | Known::LastWins) | None => {
                    headers.add_lasting(pool.text(name), pool.text(value))
                }
            }
        }
        if request.is_head() || matches!(status, 204 | 304) {
            // The length of a body that is not sent.
            self.announced = None;
        }
        if rules.error_override && status >= 400 {
            return Next::Override(status);
        }
        if rules.internal_redirect
            && status == 200
            && let Some(location) = location
            && location.to_bytes().starts_with(b"/")
        {
            headers.unset(c"Location");
            return Next::Redirect(location);
        }
        // A line without a reason is completed by Apache where it knows one; without a line it would answer 500 to a
        // status that it does not know.
        request.set_status(status, pool.text(line));
        Next::Body
    }

    /// Whether so many more bytes are more than the head announced. What the client's connection carried behind the announced
    /// ones would pass for the beginning of another answer.
    pub(crate) fn is_exceeded_by(&self, more: usize) -> bool {
        self.announced.is_some_and(|length| self.given.saturating_add(more as u64) > length)
    }

    /// Whether the client has been given everything that the head announced; `None` if it announced no length.
    pub(crate) fn is_whole(&self) -> Option<bool> {
        self.announced.map(|length| self.given == length)
    }

    /// The body's length, if nothing of it was given yet and a filter could pick parts of it.
    pub(crate) fn streamable(&self) -> Option<u64> {
        self.announced.filter(|length| *length > 0 && self.failed.is_none() && !self.started)
    }

    /// The body goes past this response to the output filters, which send the head too.
    pub(crate) fn start_stream(&mut self) {
        self.started = true;
        self.streamed = true;
    }

    /// Counts bytes of such a body.
    pub(crate) fn count(&mut self, length: usize) {
        self.given += length as u64;
    }

    fn sending(&mut self) -> &mut Sending<'r> {
        self.sending.get_or_insert_with(|| Sending::new(self.request))
    }

    fn done(&mut self, result: Result<(), AprError>) -> Result<(), Stop> {
        let stop = match result {
            // Apache counts such a client as gone too.
            Err(error) if error.is_timeout() => Stop::Failed(error),
            _ if self.request.connection().aborted() => Stop::ClientGone,
            Ok(()) => return Ok(()),
            Err(error) => Stop::Failed(error),
        };
        self.failed = Some(stop);
        Err(stop)
    }

    /// Sends body bytes. With `flush` they are on their way when this returns; without, they may wait for more.
    pub(crate) fn data(&mut self, data: &[u8], flush: bool) -> Result<(), Stop> {
        self.blocks(&[data], flush)
    }

    /// [`Response::data`] for bytes that lie in several places.
    pub(crate) fn blocks(&mut self, blocks: &[&[u8]], flush: bool) -> Result<(), Stop> {
        if let Some(stop) = self.failed {
            return Err(stop);
        }
        let length: usize = blocks.iter().map(|block| block.len()).sum();
        self.given += length as u64;
        if self.started && self.request.is_head() {
            // The head is out. Apache would throw the rest away; with HTTP/2 it would break the stream instead.
            return Ok(());
        }
        if flush || self.pending + length > PENDING {
            self.unflushed += self.pending + length;
            self.pending = 0;
            self.started = true;
            let flush = flush || self.unflushed >= self.flush_after;
            if flush {
                self.unflushed = 0;
            }
            let result = self.sending().pass_now(blocks, flush);
            return self.done(result);
        }
        self.pending += length;
        let sending = self.sending();
        let result = blocks.iter().try_for_each(|block| sending.copy(block));
        self.done(result)
    }

    /// Sends a part of an open file. It travels together with what follows, so that a file which is the whole response
    /// can be answered in parts (`Range`).
    pub(crate) fn file(
        &mut self,
        descriptor: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        sendfile: bool,
    ) -> Result<(), Stop> {
        if let Some(stop) = self.failed {
            return Err(stop);
        }
        if length == 0 {
            return Ok(());
        }
        self.given += length;
        let result = self.sending().file(descriptor, offset, length, sendfile);
        self.done(result)
    }

    /// Ends a complete response.
    pub(crate) fn finish(&mut self) -> Result<(), Stop> {
        if let Some(stop) = self.failed {
            return Err(stop);
        }
        let waiting = self.has_unflushed();
        (self.pending, self.unflushed) = (0, 0);
        self.started = true;
        let sending = self.sending();
        let mut result = Ok(());
        if waiting {
            result = sending.pass_now(&[], true);
        }
        let result = result.and_then(|()| {
            sending.end();
            sending.pass()
        });
        self.done(result)?;
        // The client's next request is often on its way already. Who lets others run for a moment finds it there and
        // goes on with it on this thread; else the connection takes two more hand-overs from thread to thread (a fifth
        // of a child's processor time with small responses).
        std::thread::yield_now();
        Ok(())
    }

    /// Ends a response that is not complete, so that the client notices: no final chunk, connection closed, by a reset where
    /// its end is that of the body.
    pub(crate) fn truncate(&mut self) {
        if self.streamed {
            // The filters have the end of the response already, and the client a Content-Length: it notices when the
            // connection closes. If the connection stayed open, the client would take the next response for the rest.
            self.request.forbid_caching();
            self.request.connection().close_afterwards();
            self.request.set_status(502, c"502 Bad Gateway");
            return;
        }
        if self.request.is_answered() {
            return;
        }
        // What came before the break belongs to the client, the head with it.
        let _ = self.blocks(&[], true);
        if self.request.connection().aborted() {
            // Nobody is left to tell. httpd would log the status of the break instead of the one that was sent.
            self.request.forbid_caching();
            self.request.connection().close_afterwards();
            return;
        }
        let sending = self.sending();
        sending.break_off();
        // The client may go at this moment.
        let _ = sending.pass();
        if self.request.ends_with_connection() {
            self.request.connection().reset_afterwards();
        }
    }
}

/// Header fields that Apache keeps in places of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    ContentType,
    ContentLength,
    WwwAuthenticate,
    Status,
    Location,
    LastWins,
}

impl Known {
    fn of(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Known); 6] = [
            (b"Content-Type", Known::ContentType),
            (b"Content-Length", Known::ContentLength),
            (b"WWW-Authenticate", Known::WwwAuthenticate),
            (b"Status", Known::Status),
            (b"Location", Known::Location),
            (b"Content-Range", Known::LastWins),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
    }
}

fn content_length(value: &[u8]) -> Option<i64> {
    let digits = value.trim_ascii();
    let number = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    number.and_then(|number| number.parse().ok())
}

fn leading_status(value: &[u8]) -> Option<u16> {
    let digits = value.get(..3)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (200..=999).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_field_begins_with_three_digits() {
        assert_eq!(leading_status(b"404 Not Found"), Some(404));
        assert_eq!(leading_status(b"200"), Some(200));
        assert_eq!(leading_status(b"40"), None);
        assert_eq!(leading_status(b"abc"), None);
        assert_eq!(leading_status(b"099 x"), None);
        assert_eq!(leading_status(b"100 Continue"), None);
    }

    #[test]
    fn a_length_is_digits() {
        assert_eq!(content_length(b" 42 "), Some(42));
        for value in ["", "-5", "+5", "5x", "99999999999999999999"] {
            assert_eq!(content_length(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn known_fields_are_found_whatever_their_case() {
        assert_eq!(Known::of(b"content-TYPE"), Some(Known::ContentType));
        assert_eq!(Known::of(b"X-Content-Type"), None);
    }
}
