//! HTTP/1.1 responses out of a stream of bytes.

use super::connection::{Connection, Limit, WireError};

/// The most header fields that are read.
const MOST_FIELDS: usize = 512;

/// A response, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The status line's text.
    pub reason: String,
    /// The header fields in order, names as they were sent.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
    /// The fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the body arrived whole.
    pub complete: bool,
    /// Whether the server keeps the connection open after it.
    pub keeps: bool,
}

impl Response {
    /// All values of a field, joined as HTTP allows.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.values(name).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The values of a field one by one.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// Takes one response out of what a connection receives.
#[derive(Debug)]
pub struct Reader {
    state: State,
    bodiless: bool,
    interim: Vec<u16>,
    response: Option<Response>,
}

impl Reader {
    /// For the response to a request with this method.
    pub fn new(method: &str) -> Self {
        Self { state: State::Head, bodiless: method == "HEAD", interim: Vec::new(), response: None }
    }

    /// The statuses of the 1xx responses that came before.
    pub fn interim(&self) -> &[u16] {
        &self.interim
    }

    /// The response as far as it came.
    pub fn response(&self) -> Option<&Response> {
        self.response.as_ref()
    }

    /// The response as far as it came.
    pub fn into_response(self) -> Option<Response> {
        self.response
    }

    /// Whether all of it is there.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads from the connection until the response is there, the server closes, or the limit.
    pub fn read(&mut self, connection: &mut Connection, limit: Limit<'_>) -> Result<(), WireError> {
        loop {
            let closed = connection.is_closed();
            self.feed(connection.incoming(), closed)?;
            if self.is_done() || closed {
                return Ok(());
            }
            connection.pump(limit)?;
        }
    }

    /// Takes what belongs to the response from the front of a buffer; `closed` says that no more will come.
    pub fn feed(&mut self, buffer: &mut Vec<u8>, closed: bool) -> Result<(), WireError> {
        let mut taken = 0;
        let outcome = loop {
            match self.step(&buffer[taken..]) {
                Ok(Some(count)) => taken += count,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        buffer.drain(..taken);
        if closed && self.state == State::UntilClose {
            self.finish();
        }
        outcome
    }

    fn finish(&mut self) {
        self.state = State::Done;
        if let Some(response) = &mut self.response {
            response.complete = true;
        }
    }

    /// How many bytes the next part took, or nothing if more are needed.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>, WireError> {
        match self.state {
            State::Done => Ok(None),
            State::Head => self.head(bytes),
            State::UntilClose => Ok(self.data(bytes, bytes.len())),
            State::Length(left) => {
                let count = take(bytes, left);
                let taken = self.data(bytes, count);
                self.state = State::Length(left - count as u64);
                if left == count as u64 {
                    self.finish();
                }
                Ok(taken)
            }
            State::ChunkSize => {
                let Some((line, count)) = line(bytes) else { return Ok(None) };
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16)
                    .map_err(|_| WireError::Malformed(format!("`{digits}` is no size of a chunk")))?;
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                Ok(Some(count))
            }
            State::Chunk(left) => {
                let count = take(bytes, left);
                let taken = self.data(bytes, count);
                self.state = if left == count as u64 { State::ChunkEnd } else { State::Chunk(left - count as u64) };
                Ok(taken)
            }
            State::ChunkEnd => {
                let Some((line, count)) = line(bytes) else { return Ok(None) };
                if !line.is_empty() {
                    return Err(WireError::Malformed("a chunk is longer than its size".to_owned()));
                }
                self.state = State::ChunkSize;
                Ok(Some(count))
            }
            State::Trailers => {
                let Some((line, count)) = line(bytes) else { return Ok(None) };
                if line.is_empty() {
                    self.finish();
                } else if let (Some((name, value)), Some(response)) = (line.split_once(':'), &mut self.response) {
                    response.trailers.push((name.to_owned(), value.trim().to_owned()));
                }
                Ok(Some(count))
            }
        }
    }

    fn data(&mut self, bytes: &[u8], count: usize) -> Option<usize> {
        if let Some(response) = &mut self.response {
            response.body.extend_from_slice(&bytes[..count]);
        }
        (count > 0).then_some(count)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, WireError> {
        let mut fields = vec![httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let count = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(count)) => count,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(WireError::Malformed(error.to_string())),
        };
        let status = parsed.code.unwrap_or_default();
        let headers: Vec<(String, String)> =
            parsed.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
        if (100..200).contains(&status) && status != 101 {
            self.interim.push(status);
            return Ok(Some(count));
        }
        let mut response =
            Response { status, reason: parsed.reason.unwrap_or_default().to_owned(), headers, ..Response::default() };
        let connection = response.header("connection").unwrap_or_default().to_ascii_lowercase();
        response.keeps =
            if parsed.version == Some(1) { !connection.contains("close") } else { connection.contains("keep-alive") };
        let chunked =
            response.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"));
        let length = response.values("content-length").next().and_then(|value| value.trim().parse::<u64>().ok());
        self.state = match length {
            _ if self.bodiless || status == 204 || status == 304 => State::Done,
            _ if chunked => State::ChunkSize,
            Some(0) => State::Done,
            Some(length) => State::Length(length),
            None => State::UntilClose,
        };
        response.keeps &= self.state != State::UntilClose;
        self.response = Some(response);
        if self.state == State::Done {
            self.finish();
        }
        Ok(Some(count))
    }
}

/// How many of the bytes belong to a part with so many left.
fn take(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

/// A line without its end, and how long it is with it.
fn line(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((text(bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end])), end + 1))
}

/// The text of a field: UTF-8, or else Latin-1, in which every byte is a character.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|&byte| char::from(byte)).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(method: &str, text: &str, closed: bool) -> (Reader, Vec<u8>) {
        // Byte by byte, so that every border between two parts is met.
        let mut reader = Reader::new(method);
        let mut buffer = Vec::new();
        for byte in text.bytes() {
            buffer.push(byte);
            reader.feed(&mut buffer, false).unwrap();
        }
        reader.feed(&mut buffer, closed).unwrap();
        (reader, buffer)
    }

    #[test]
    fn a_body_with_a_length_leaves_what_follows() {
        let (reader, rest) =
            all("GET", "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX: a\r\nx: b\r\n\r\nhelloHTTP/1.1", false);
        assert!(reader.is_done());
        assert_eq!(rest, b"HTTP/1.1");
        let response = reader.into_response().unwrap();
        assert_eq!(
            (response.status, response.reason.as_str(), response.body.as_slice()),
            (200, "Fine", b"hello".as_slice())
        );
        assert_eq!(response.header("X").as_deref(), Some("a, b"));
        assert!(response.complete && response.keeps);
    }

    #[test]
    fn chunks_are_joined_and_a_missing_last_one_is_seen() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (reader, _) = all("GET", &format!("{head}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"), false);
        let response = reader.into_response().unwrap();
        assert_eq!(response.body, b"abcde");
        assert_eq!(response.trailers, [("T".to_owned(), "1".to_owned())]);
        assert!(response.complete);
        let (reader, _) = all("GET", &format!("{head}3\r\nabc\r\n"), true);
        assert!(!reader.is_done());
        let response = reader.into_response().unwrap();
        assert!(!response.complete);
        assert_eq!(response.body, b"abc");
    }

    #[test]
    fn bodies_that_end_with_the_connection_and_answers_without_one() {
        let (reader, _) = all("GET", "HTTP/1.0 200 OK\r\n\r\nrest", true);
        let response = reader.into_response().unwrap();
        assert!(response.complete && !response.keeps);
        assert_eq!(response.body, b"rest");
        let (reader, _) = all("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false);
        assert!(reader.is_done());
        let (reader, _) = all("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", false);
        assert_eq!(reader.interim(), [100]);
        assert_eq!(reader.response().unwrap().status, 204);
        let (reader, _) = all("GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", true);
        assert!(!reader.response().unwrap().complete);
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for text in ["SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"] {
            let mut buffer = text.as_bytes().to_vec();
            assert!(matches!(Reader::new("GET").feed(&mut buffer, true), Err(WireError::Malformed(_))), "{text}");
        }
    }
}
