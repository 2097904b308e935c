//! A client that sees how a connection ends: what a load generator does not tell.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection that stays open between requests.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// Requests that were answered on it.
    pub(crate) answered: u32,
}

/// Why a request got no whole answer.
pub(crate) struct Broken {
    /// The connection ended before the first byte of an answer.
    pub(crate) before_answer: bool,
    /// What the system said.
    pub(crate) cause: io::Error,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), answered: 0 })
    }

    /// The port of this end, which the server's log names.
    pub(crate) fn port(&self) -> u16 {
        self.stream.get_ref().local_addr().map_or(0, |address| address.port())
    }

    /// Sends a request and reads the whole answer; its status.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Result<u16, Broken> {
        self.exchange(method, path, body, &mut io::sink())
    }

    /// Sends a request and reads the whole answer: its status; its body goes into `content`.
    pub(crate) fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        content: &mut dyn Write,
    ) -> Result<u16, Broken> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut bytes = format!("{request}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes, content)
    }

    /// Sends the bytes of a request and reads the whole answer.
    pub(crate) fn send(&mut self, bytes: &[u8], content: &mut dyn Write) -> Result<u16, Broken> {
        let ended = |cause| Broken { before_answer: true, cause };
        self.stream.get_mut().write_all(bytes).map_err(ended)?;
        if self.stream.fill_buf().map_err(ended)?.is_empty() {
            return Err(ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let status = self.answer(content).map_err(|cause| Broken { before_answer: false, cause })?;
        self.answered += 1;
        Ok(status)
    }

    /// Whether the server said that it closes the connection is of no interest: the next request finds out.
    fn answer(&mut self, content: &mut dyn Write) -> io::Result<u16> {
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        let mut line = String::new();
        self.line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(unreadable)?;
        let (mut length, mut chunked) = (0, false);
        loop {
            self.line(&mut line)?;
            let field = line.trim_end().to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| unreadable())?;
            }
            chunked |= field.strip_prefix("transfer-encoding:").is_some_and(|value| value.trim() == "chunked");
            if field.is_empty() {
                break;
            }
        }
        if !chunked {
            self.pass(length, content)?;
            return Ok(status);
        }
        loop {
            self.line(&mut line)?;
            let size = u64::from_str_radix(line.trim_end(), 16).map_err(|_| unreadable())?;
            self.pass(size, content)?;
            self.pass(2, &mut io::sink())?;
            if size == 0 {
                return Ok(status);
            }
        }
    }

    fn line(&mut self, line: &mut String) -> io::Result<()> {
        line.clear();
        if self.stream.read_line(line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn pass(&mut self, length: u64, content: &mut dyn Write) -> io::Result<()> {
        let read = io::copy(&mut (&mut self.stream).take(length), content)?;
        if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
