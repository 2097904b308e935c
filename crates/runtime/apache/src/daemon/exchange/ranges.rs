//! Byte ranges: httpd's byte-range filter serves them, if it gets the whole response in one brigade. The brigade holds
//! one bucket that fetches the daemon's frames when a filter reads it.

use std::time::{Duration, Instant};

use wsgi_protocol::Malformed;
use wsgi_protocol::frame::{self, END_LAST, FailureCode, Kind};
use wsgi_protocol::tally::Failed;

use super::{Ending, Exchange, Turn, stalled_or};
use crate::codes;
use crate::daemon::connection::{Connection, ReadError};
use crate::daemon::sockets::LOOK;
use crate::daemon::status_page::StatusPage;
use crate::host::{AprError, Sending, Source, Target, Verdict, log};

/// How much of the response is read and thrown away behind the last range, so that the connection can be used again.
const DISCARDED: usize = 1024 * 1024;

/// How long that may take. The client may wait for the last bytes of its range meanwhile.
const DISCARD_TIME: Duration = Duration::from_millis(100);

/// Why the daemon gives no more bytes.
enum Ended {
    Complete { keep: bool },
    Failed { code: FailureCode, text: String, keep: bool },
    Broken(ReadError),
}

/// The response's body, frame by frame.
struct Feed<'f, 'e> {
    exchange: &'f mut Exchange<'e>,
    connection: &'f mut Connection,
    ended: Option<Ended>,
}

impl Feed<'_, '_> {
    /// Reads a frame. `true`: `chunk` holds the next bytes.
    fn frame(&mut self, chunk: &mut Vec<u8>) -> Result<bool, Ended> {
        let frame = self.connection.next().map_err(Ended::Broken)?;
        let payload = frame.payload;
        let malformed = |malformed: Malformed| Ended::Broken(ReadError::Malformed(malformed));
        match frame.kind {
            Kind::Data => {
                if self.exchange.response.is_exceeded_by(payload.len()) {
                    return Err(malformed(Malformed { what: "body that is longer than its Content-Length" }));
                }
                self.exchange.response.count(payload.len());
                chunk.clear();
                chunk.extend_from_slice(payload);
                return Ok(!chunk.is_empty());
            }
            Kind::Log => {
                let record = frame::log(payload).map_err(malformed)?;
                Target::Request(self.exchange.request).write(&record);
            }
            Kind::Pull => {
                let wanted = frame::number(payload).map_err(malformed)?;
                self.exchange.body_begun = true;
                self.exchange.give_body(self.connection, wanted).map_err(malformed)?;
            }
            Kind::End => {
                let last = payload.iter().any(|flags| flags & END_LAST != 0);
                return Err(Ended::Complete { keep: !last && self.connection.is_drained() });
            }
            Kind::Failure => {
                let (code, flags, text) = frame::failure(payload).map_err(malformed)?;
                let text = String::from_utf8_lossy(text).into_owned();
                let keep = flags & END_LAST == 0 && self.connection.is_drained();
                return Err(Ended::Failed { code, text, keep });
            }
            // The head came before: the process has accepted the request, whatever these say.
            Kind::Accepted | Kind::Picked => {}
            Kind::Head => return Err(malformed(Malformed { what: "second head" })),
            Kind::Hello | Kind::Request | Kind::Body | Kind::BodyFailed => {
                return Err(malformed(Malformed { what: "direction of a frame" }));
            }
        }
        Ok(false)
    }

    /// Reads what no range wanted. `true`: the connection can be used again.
    fn discard(&mut self) -> bool {
        let (began, mut left, mut chunk) = (Instant::now(), DISCARDED, Vec::new());
        loop {
            if !self.connection.has_frame() {
                let time = DISCARD_TIME.saturating_sub(began.elapsed());
                if time.is_zero() || !self.connection.wait(time) {
                    return false;
                }
                continue;
            }
            match self.frame(&mut chunk) {
                Ok(false) => {}
                Ok(true) if chunk.len() <= left => left -= chunk.len(),
                Ok(true) => return false,
                Err(Ended::Complete { keep } | Ended::Failed { keep, .. }) => return keep,
                Err(Ended::Broken(_)) => return false,
            }
        }
    }
}

impl Source for Feed<'_, '_> {
    fn next(&mut self, wait: bool, chunk: &mut Vec<u8>) -> Result<(), AprError> {
        let limit = self.exchange.group.socket_timeout;
        loop {
            if self.ended.is_some() {
                return Err(AprError(libc::ECONNABORTED));
            }
            if !wait && !self.connection.has_frame() {
                return Err(AprError::NOT_YET);
            }
            match self.frame(chunk) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Ended::Broken(ReadError::TimedOut))
                    if limit.is_zero() || self.connection.wait(limit.saturating_sub(LOOK)) => {}
                Err(ended) => self.ended = Some(ended),
            }
        }
    }
}

impl Exchange<'_> {
    /// The length of the response, if httpd's byte-range filter may answer the request from it.
    pub(super) fn ranged(&self) -> Option<u64> {
        let length = self.response.streamable()?;
        let request = self.request;
        // Reading a body may send `100 Continue`, which must not happen while a response is written.
        let fits = matches!(self.ending, Ending::Normal)
            && request.is_get()
            && !request.is_head()
            && !request.is_subrequest()
            && request.status() == 200
            && self.body.has_ended();
        let range = fits.then(|| request.headers_in().get(c"Range")).flatten()?;
        goes_forward(range.to_bytes(), length).then_some(length)
    }

    /// Gives the whole response to the output filters, which read as much of it as they need.
    pub(super) fn answer_ranges(&mut self, connection: &mut Connection, length: u64, page: &StatusPage) -> Turn {
        self.response.start_stream();
        let mut sending = Sending::new(self.request);
        let mut feed = Feed { exchange: self, connection, ended: None };
        let result = sending.pass_stream(length, &mut feed);
        match feed.ended.take() {
            None => {}
            Some(Ended::Complete { keep }) => return self.complete(keep),
            Some(Ended::Failed { code, text, keep }) => return self.failure(code, &text, keep),
            Some(Ended::Broken(error)) => return self.broken(&error, page),
        }
        let keep = match result {
            // 416 is an answer that the filter has made.
            Err(error) if error.is_answered() => feed.discard(),
            Ok(()) if !feed.exchange.request.connection().aborted() => feed.discard(),
            Err(error) if error.is_timeout() || !feed.exchange.request.connection().aborted() => {
                log::request(
                    self.request,
                    &codes::PROXY_WRITE_TIMEOUT,
                    format_args!("Unable to proxy response to client ({}).", stalled_or(error)),
                );
                self.group.count(Failed::ClientTimeout);
                false
            }
            Ok(()) | Err(_) => false,
        };
        Turn::Done { verdict: Ok(Verdict::Done), keep }
    }
}

/// Whether the ranges of a `Range` field can be read one after the other from a body of `length` bytes.
fn goes_forward(field: &[u8], length: u64) -> bool {
    // A single range always can; what is no list of byte ranges httpd answers with the whole body.
    if !field.contains(&b',') {
        return true;
    }
    let Some(list) = std::str::from_utf8(field).ok().and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return false;
    };
    let mut reached = 0;
    for range in list.split(',') {
        let Some((first, last)) = range.trim().split_once('-') else { return false };
        let end = || if last.is_empty() { Some(u64::MAX) } else { last.parse().ok() };
        let bounds = if first.is_empty() {
            last.parse().ok().map(|count: u64| (length.saturating_sub(count), u64::MAX))
        } else {
            first.parse().ok().zip(end())
        };
        let Some((first, last)) = bounds else { return false };
        // httpd leaves out a range that begins behind the end.
        if first >= length {
            continue;
        }
        if first < reached {
            return false;
        }
        reached = last.saturating_add(1);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::goes_forward;

    #[test]
    fn ranges_that_follow_each_other_go_forward() {
        for field in
            ["bytes=5-6", "bytes=-3", "lines=1-2", "bytes=0-1,2-3", "bytes=0-1, 5-", "bytes=0-0,-1", "bytes=0-1,200-"]
        {
            assert!(goes_forward(field.as_bytes(), 100), "{field}");
        }
        for field in
            ["bytes=5-6,0-1", "bytes=0-5,5-6", "bytes=-3,0-1", "bytes=50-,60-70", "bytes=a-b,1-2", "lines=1-2,3-4"]
        {
            assert!(!goes_forward(field.as_bytes(), 100), "{field}");
        }
    }
}
