//! Reading a request's body: both modes pull it in portions, and nothing is read (and no `100 Continue` sent) before
//! the application asks.

use crate::host::{AprError, Brigade, Fetched, Request, status_of_read_failure};

/// How much is fetched at once when the application asks for less.
const PORTION: usize = 64 * 1024;

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct BodyError {
    /// The status that Apache gives to it: 408 on a timeout, 413 over the limit, else 400.
    pub(crate) status: u16,
    /// Apache's text, such as `Connection was terminated`.
    pub(crate) text: String,
}

impl BodyError {
    fn of(error: AprError) -> Self {
        if error.is_answered() {
            let text = "An input filter refused the body and has answered the request";
            return Self { status: 413, text: text.to_owned() };
        }
        Self { status: status_of_read_failure(error), text: error.text() }
    }
}

/// A request's body on its way in.
pub(crate) struct Body<'r> {
    request: Request<'r>,
    waiting: Option<Brigade<'r>>,
    ended: bool,
    /// Bytes that were read.
    read: u64,
    /// `LimitRequestBody`; Apache itself checks it against Content-Length only.
    limit: u64,
}

impl<'r> Body<'r> {
    /// The body of a request. A request that announces none has an empty one.
    pub(crate) fn new(request: Request<'r>) -> Self {
        let headers = request.headers_in();
        let announced = headers.get(c"Transfer-Encoding").is_some()
            || headers.get(c"Content-Length").is_some_and(|length| length.to_bytes() != b"0");
        Self { request, waiting: None, ended: !announced, read: 0, limit: request.body_limit() }
    }

    /// Whether the next reading may wait for the client.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.ended && self.waiting.as_ref().is_none_or(Brigade::is_empty)
    }

    /// Whether nothing is left to read.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads into `buffer`, waiting for at least one byte; 0 is the end of the body. An empty buffer only starts the
    /// body (`100 Continue`).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        loop {
            if self.ended {
                return Ok(0);
            }
            let waiting = self.waiting.get_or_insert_with(|| Brigade::new(self.request));
            if waiting.is_empty()
                && waiting.fetch(self.request, buffer.len().max(PORTION)).map_err(BodyError::of)? == Fetched::End
            {
                self.ended = true;
                return Ok(0);
            }
            if buffer.is_empty() {
                return Ok(0);
            }
            let (count, state) = waiting.take(buffer).map_err(BodyError::of)?;
            if state == Fetched::End {
                self.ended = true;
                waiting.clear();
            }
            self.read += count as u64;
            if self.limit > 0 && self.read > self.limit {
                self.ended = true;
                return Err(BodyError { status: 413, text: "Request body is larger than LimitRequestBody".to_owned() });
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }
}
