//! A connection that reads while it writes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::ClientConnection;

/// How long a wait lasts before the interruption is looked at.
const SLICE: Duration = Duration::from_millis(100);

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// Until when something may take, and the flag that ends it before.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    deadline: Instant,
    interrupted: &'a AtomicBool,
    cancelled: Option<&'a AtomicBool>,
}

impl<'a> Limit<'a> {
    /// A limit.
    pub const fn new(deadline: Instant, interrupted: &'a AtomicBool) -> Self {
        Self { deadline, interrupted, cancelled: None }
    }

    /// The same, but also ended by a second flag.
    #[must_use]
    pub const fn or_when(self, cancelled: &'a AtomicBool) -> Self {
        Self { cancelled: Some(cancelled), ..self }
    }

    /// The same, but at most so long from now on.
    #[must_use]
    pub fn at_most(self, length: Duration) -> Self {
        let sooner = Instant::now().checked_add(length).map_or(self.deadline, |end| end.min(self.deadline));
        Self { deadline: sooner, ..self }
    }

    /// When it ends.
    pub const fn deadline(self) -> Instant {
        self.deadline
    }

    /// The time that is left.
    pub fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the run was interrupted.
    pub fn is_interrupted(self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Fails once the time is up or the run was interrupted.
    pub fn check(self) -> Result<(), WireError> {
        if self.is_interrupted() {
            return Err(WireError::Interrupted);
        }
        if self.left().is_zero() {
            return Err(WireError::TimedOut);
        }
        Ok(())
    }

    /// Waits so long, or until the limit; fails if the limit came first.
    pub fn pause(self, length: Duration) -> Result<(), WireError> {
        let end = Instant::now() + length;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.check()?;
            std::thread::sleep(left.min(SLICE).min(self.left()));
        }
    }
}

/// Why an exchange ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The time was up.
    #[error("timed out")]
    TimedOut,
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, String),
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The system refused something.
    #[error("{0}")]
    System(String),
    /// What came is no HTTP.
    #[error("malformed response: {0}")]
    Malformed(String),
}

/// Bytes that are made or read while they are sent.
pub type Source = Box<dyn Read + Send + Sync>;

/// A connection to the server. Bytes to be sent are queued and written while bytes that come are read, so that a server that
/// answers before it has read everything cannot block both sides.
pub struct Connection {
    stream: TcpStream,
    session: Option<Box<ClientConnection>>,
    outgoing: Vec<u8>,
    /// What follows `outgoing`, in order: a server may answer, and get its next request, before it has taken all of a body.
    sources: VecDeque<Source>,
    incoming: Vec<u8>,
    closed: bool,
    reset: bool,
    first_byte: Option<Instant>,
    total: u64,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("stream", &self.stream).field("closed", &self.closed).finish()
    }
}

impl Connection {
    /// Opens a connection, encrypted if a host name is given for it.
    pub fn open(address: SocketAddr, tls_host: Option<&str>, limit: Limit<'_>) -> Result<Self, WireError> {
        limit.check()?;
        let stream =
            TcpStream::connect_timeout(&address, limit.left().max(Duration::from_millis(1))).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::TimedOut => WireError::TimedOut,
                    _ => WireError::Connect(address, error.to_string()),
                }
            })?;
        let prepare = || -> io::Result<()> {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)
        };
        prepare().map_err(|error| WireError::System(error.to_string()))?;
        let session = tls_host
            .map(confgen::httpd::tls_session)
            .transpose()
            .map_err(|error| WireError::Tls(error.to_string()))?
            .map(Box::new);
        let mut connection = Self {
            stream,
            session,
            outgoing: Vec::new(),
            sources: VecDeque::new(),
            incoming: Vec::new(),
            closed: false,
            reset: false,
            first_byte: None,
            total: 0,
        };
        while connection.session.as_ref().is_some_and(|session| session.is_handshaking()) {
            if connection.closed {
                return Err(WireError::Tls("the server closed the connection during the handshake".to_owned()));
            }
            connection.pump(limit)?;
        }
        Ok(connection)
    }

    /// Queues bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.sources.is_empty() {
            self.outgoing.extend_from_slice(bytes);
        } else {
            self.sources.push_back(Box::new(io::Cursor::new(bytes.to_vec())));
        }
    }

    /// Queues what a source gives, which is read as the server takes it.
    pub fn send_from(&mut self, source: Source) {
        self.sources.push_back(source);
    }

    /// Gets more to send from the sources once little is left.
    fn refill(&mut self) -> Result<(), WireError> {
        while self.outgoing.len() < READ_SIZE
            && let Some(source) = self.sources.front_mut()
        {
            let most = (READ_SIZE - self.outgoing.len()) as u64;
            let count = source
                .by_ref()
                .take(most)
                .read_to_end(&mut self.outgoing)
                .map_err(|error| WireError::System(error.to_string()))?;
            if count == 0 {
                self.sources.pop_front();
            }
        }
        Ok(())
    }

    /// Sends nothing of what is left.
    fn send_no_more(&mut self) {
        self.outgoing.clear();
        self.sources.clear();
    }

    /// Writes all that is queued, unless the server closes before.
    pub fn flush(&mut self, limit: Limit<'_>) -> Result<(), WireError> {
        while self.has_output() && !self.closed {
            self.pump(limit)?;
        }
        Ok(())
    }

    fn has_output(&self) -> bool {
        !self.outgoing.is_empty()
            || !self.sources.is_empty()
            || self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    /// What was received and not yet taken.
    pub fn incoming(&mut self) -> &mut Vec<u8> {
        &mut self.incoming
    }

    /// Whether the server has closed (or reset) the connection.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it was by a reset.
    pub const fn is_reset(&self) -> bool {
        self.reset
    }

    /// How many bytes have come so far.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Forgets when the first byte came: the next one is the first of its response.
    pub const fn expect_first_byte(&mut self) {
        self.first_byte = None;
    }

    /// When the first byte came.
    pub const fn first_byte(&self) -> Option<Instant> {
        self.first_byte
    }

    /// Looks, without waiting, whether the server has closed an idle connection.
    pub fn look(&mut self) -> bool {
        if !self.closed {
            self.read_some();
        }
        self.closed
    }

    /// Waits until bytes came, queued bytes went out, or the server closed.
    pub fn pump(&mut self, limit: Limit<'_>) -> Result<(), WireError> {
        loop {
            limit.check()?;
            self.refill()?;
            if let Some(session) = &mut self.session
                && !self.outgoing.is_empty()
                && !session.is_handshaking()
            {
                // It takes as much as it has room for.
                let taken =
                    session.writer().write(&self.outgoing).map_err(|error| WireError::Tls(error.to_string()))?;
                self.outgoing.drain(..taken);
            }
            let mut interest = PollFlags::POLLIN;
            if self.has_output() {
                interest |= PollFlags::POLLOUT;
            }
            let slice = limit.left().min(SLICE).as_micros().div_ceil(1000);
            let mut entries = [PollFd::new(self.stream.as_fd(), interest)];
            let ready = match poll(
                &mut entries,
                PollTimeout::try_from(i32::try_from(slice).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::ZERO),
            ) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => entries[0].revents().unwrap_or(PollFlags::POLLIN),
                Err(error) => return Err(WireError::System(error.to_string())),
            };
            if ready.contains(PollFlags::POLLOUT) {
                self.write_some();
            }
            if ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                self.read_some();
            }
            if let Some(session) = &mut self.session {
                session.process_new_packets().map_err(|error| WireError::Tls(error.to_string()))?;
                let mut plain = Vec::new();
                // `WouldBlock` only says that there is no more for now, and an end without a close_notify is an end.
                let _ = session.reader().read_to_end(&mut plain);
                self.arrived(&plain);
            }
            return Ok(());
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.first_byte.get_or_insert_with(Instant::now);
            self.total += bytes.len() as u64;
            self.incoming.extend_from_slice(bytes);
        }
    }

    fn read_some(&mut self) {
        let outcome = match &mut self.session {
            Some(session) => session.read_tls(&mut self.stream).map(|count| (count, None)),
            None => {
                let mut bytes = vec![0; READ_SIZE];
                self.stream.read(&mut bytes).map(|count| {
                    bytes.truncate(count);
                    (count, Some(bytes))
                })
            }
        };
        match outcome {
            Ok((0, _)) => self.closed = true,
            Ok((_, bytes)) => self.arrived(&bytes.unwrap_or_default()),
            Err(error) => self.failed(&error),
        }
    }

    fn write_some(&mut self) {
        let outcome = match &mut self.session {
            Some(session) => session.write_tls(&mut self.stream).map(|_| 0),
            None => self.stream.write(&self.outgoing),
        };
        match outcome {
            Ok(count) => drop(self.outgoing.drain(..count)),
            // The server takes no more, but its answer may still be there to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.send_no_more(),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.closed = true;
            self.reset = error.kind() == io::ErrorKind::ConnectionReset;
            self.send_no_more();
        }
    }

    /// Sends no more; what the server sends can still be read.
    pub fn half_close(&mut self, limit: Limit<'_>) -> Result<(), WireError> {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        self.flush(limit)?;
        self.stream.shutdown(Shutdown::Write).map_err(|error| WireError::System(error.to_string()))
    }

    /// Closes with a reset: what the server sends or has in flight meets an error.
    pub fn reset(self) -> Result<(), WireError> {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&self.stream, nix::sys::socket::sockopt::Linger, &linger)
            .map_err(|error| WireError::System(error.to_string()))
    }
}
