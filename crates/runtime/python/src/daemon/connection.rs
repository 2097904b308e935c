//! One connection of an Apache child: bytes in, bytes out, and the frames that a request begins with.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::outbox::STALL;
use wsgi_protocol::Malformed;
use wsgi_protocol::frame::{self, HEADER, Kind, Secret};

use super::fork::Held;

/// How many bytes are asked for at once while a request is read.
const READ: usize = 32 * 1024;

/// A connection, blocking with the timeouts of the group.
pub(super) struct Connection {
    socket: Held<OwnedFd>,
    /// Its first frame was the secret of this server start.
    greeted: bool,
    /// When it was accepted.
    since: Instant,
    /// It came over the group's overflow listener: the child does not know whose it is.
    pub(super) overflow: bool,
    /// Nothing was served on it yet.
    pub(super) fresh: bool,
    /// Nothing that is sent now arrives any more: a request may lie here, but not the rest of its body.
    pub(super) closed_to_more: bool,
    /// It is in the poller's set.
    pub(super) polled: bool,
    /// The beginning of a greeting that has not arrived as a whole.
    partial: Vec<u8>,
}

/// What was found on a connection that became readable.
pub(super) enum Found {
    /// A whole request frame; its payload is in the buffer from this position.
    Request(usize),
    /// Nothing whole yet: wait for more.
    Nothing,
    /// The other end has closed it.
    Closed,
}

/// Why a connection has to be dropped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// WSGI0033
    #[error("connection did not begin with the secret of this server start")]
    NoSecret,
    /// WSGI0034
    #[error("connection began with a secret that is not the one of this server start")]
    WrongSecret,
    /// WSGI0080
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// WSGI0080
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Compares without telling by the time taken where the difference is.
fn same(left: &[u8], right: &Secret) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differ, (left, right)| differ | (left ^ right)) == 0
}

impl Connection {
    /// A connection that was just accepted. Reading waits at most `timeout`, zero for ever; writing no longer than [`STALL`].
    pub(super) fn new(socket: Held<OwnedFd>, timeout: Duration) -> io::Result<Self> {
        let stall = if timeout.is_zero() { STALL } else { STALL.min(timeout) };
        for (option, timeout) in [(libc::SO_RCVTIMEO, timeout), (libc::SO_SNDTIMEO, stall)] {
            let value = libc::timeval {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_usec: i64::from(timeout.subsec_micros()),
            };
            let size = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or(0);
            // SAFETY: the option's value is a timeval that lives across the call.
            let result = unsafe {
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), size)
            };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Self {
            socket,
            greeted: false,
            since: Instant::now(),
            overflow: false,
            fresh: true,
            closed_to_more: false,
            polled: false,
            partial: Vec::new(),
        })
    }

    /// Reads at the end of `buffer` what is there, at most `limit` bytes; 0 is the end of the stream.
    fn receive(&self, buffer: &mut Vec<u8>, limit: usize, flags: i32) -> io::Result<usize> {
        buffer.reserve(limit);
        let room = buffer.spare_capacity_mut();
        let limit = limit.min(room.len());
        loop {
            // SAFETY: the kernel writes at most `limit` bytes into the vector's spare capacity.
            let count = unsafe { libc::recv(self.socket.as_raw_fd(), room.as_mut_ptr().cast(), limit, flags) };
            if let Ok(count) = usize::try_from(count) {
                // SAFETY: so many bytes were written there.
                unsafe { buffer.set_len(buffer.len() + count) };
                return Ok(count);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Reads until `buffer` has `length` bytes, and not one more.
    fn fill(&self, buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
        while buffer.len() < length {
            if self.receive(buffer, length - buffer.len(), 0)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads the next request into `buffer`. Does not wait for its first byte, nor for anything of a peer that has not
    /// shown the secret.
    pub(super) fn read_request(&mut self, buffer: &mut Vec<u8>, secret: &Secret) -> Result<Found, Refusal> {
        buffer.clear();
        buffer.append(&mut self.partial);
        match self.receive(buffer, READ, libc::MSG_DONTWAIT) {
            Ok(0) => return Ok(Found::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.partial.append(buffer);
                return Ok(Found::Nothing);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Found::Closed),
            Err(error) => return Err(error.into()),
        }
        let mut start = 0;
        if !self.greeted {
            let Some((greeting, _)) = buffer.split_first_chunk::<HEADER>() else {
                self.partial.append(buffer);
                return Ok(Found::Nothing);
            };
            let Ok((Kind::Hello, length)) = frame::header(*greeting) else { return Err(Refusal::NoSecret) };
            start = HEADER + length;
            let Some(shown) = buffer.get(HEADER..start) else {
                self.partial.append(buffer);
                return Ok(Found::Nothing);
            };
            if !same(shown, secret) {
                return Err(Refusal::WrongSecret);
            }
            self.greeted = true;
            if buffer.len() == start {
                return Ok(Found::Nothing);
            }
        }
        self.fill(buffer, start + HEADER)?;
        let Some(header) = buffer[start..].first_chunk::<HEADER>() else { return Ok(Found::Nothing) };
        let (kind, length) = frame::header(*header)?;
        let payload = start + HEADER;
        if kind != Kind::Request || buffer.len() > payload + length {
            return Err(Malformed { what: "beginning of a request" }.into());
        }
        self.fill(buffer, payload + length)?;
        Ok(Found::Request(payload))
    }

    /// Reads one frame into `buffer`, which then holds its payload.
    pub(super) fn read_frame(&self, buffer: &mut Vec<u8>) -> Result<Kind, Refusal> {
        buffer.clear();
        self.fill(buffer, HEADER)?;
        let Some(header) = buffer.first_chunk::<HEADER>() else { return Err(Malformed { what: "frame" }.into()) };
        let (kind, length) = frame::header(*header)?;
        buffer.clear();
        self.fill(buffer, length)?;
        Ok(kind)
    }

    /// Writes at most what fits now; how many bytes that was.
    pub(super) fn write_some(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        send_some(self.socket.as_fd(), parts, false)
    }

    /// Writes for as long as the other end takes something now and then; what is left of the parts is what it does not take
    /// for [`STALL`].
    pub(super) fn write_on<'p, 'd>(&self, mut parts: &'p mut [IoSlice<'d>]) -> io::Result<&'p mut [IoSlice<'d>]> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match send_some(self.socket.as_fd(), parts, true) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut parts, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(parts)
    }

    /// When it was accepted, as long as it has not shown the secret.
    pub(super) fn stranger_since(&self) -> Option<Instant> {
        (!self.greeted).then_some(self.since)
    }

    /// Whether the other end has closed it, whatever can still be read.
    pub(super) fn is_abandoned(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.socket.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one entry.
        unsafe { libc::poll(&raw mut entry, 1, 0) > 0 && entry.revents & libc::POLLHUP != 0 }
    }

    /// Tells the other end that no further request is read here; one that it has sent already still is.
    pub(super) fn take_no_more(&mut self) {
        self.closed_to_more = true;
        // SAFETY: no pointers; a connection that has gone needs no telling.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RD) };
    }
}

/// Writes at most what fits now, or after waiting as long as the socket's timeout says; how many bytes that was.
pub(super) fn send_some(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: a zeroed msghdr is valid; IoSlice has iovec's layout, and the slices live across the call.
        let count = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = parts.as_ptr().cast_mut().cast();
            message.msg_iovlen = parts.len();
            libc::sendmsg(socket.as_raw_fd(), &raw const message, flags)
        };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const SECRET: Secret = [7; 32];

    fn pair() -> (UnixStream, Connection) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        (ours, Connection::new(Held::new(theirs.into()), Duration::from_secs(5)).expect("options"))
    }

    fn frame_of(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::put(kind, payload, &mut out).expect("it fits");
        out
    }

    #[test]
    fn a_greeting_in_pieces_holds_up_nobody() {
        let (mut child, mut connection) = pair();
        let mut buffer = Vec::new();
        assert!(matches!(connection.read_request(&mut buffer, &SECRET), Ok(Found::Nothing)));
        let mut bytes = frame_of(Kind::Hello, &SECRET);
        bytes.extend(frame_of(Kind::Request, b"payload"));
        for part in bytes[..20].chunks(3) {
            child.write_all(part).expect("sent");
            assert!(matches!(connection.read_request(&mut buffer, &SECRET), Ok(Found::Nothing)));
        }
        child.write_all(&bytes[20..]).expect("sent");
        let Ok(Found::Request(start)) = connection.read_request(&mut buffer, &SECRET) else { panic!("a request") };
        assert_eq!(&buffer[start..], b"payload");
        // The next one needs no greeting.
        child.write_all(&frame_of(Kind::Request, b"second")).expect("sent");
        let Ok(Found::Request(start)) = connection.read_request(&mut buffer, &SECRET) else { panic!("a request") };
        assert_eq!(&buffer[start..], b"second");
        drop(child);
        assert!(matches!(connection.read_request(&mut buffer, &SECRET), Ok(Found::Closed)));
    }

    #[test]
    fn strangers_are_refused() {
        let mut buffer = Vec::new();
        for (bytes, expected) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "did not begin with the secret"),
            (frame_of(Kind::Request, b"no greeting"), "did not begin with the secret"),
            (frame_of(Kind::Hello, &[8; 32]), "that is not the one"),
            (frame_of(Kind::Hello, &[7; 31]), "that is not the one"),
            ([frame_of(Kind::Hello, &SECRET), frame_of(Kind::Body, b"x")].concat(), "beginning of a request"),
        ] {
            let (mut child, mut connection) = pair();
            child.write_all(&bytes).expect("sent");
            match connection.read_request(&mut buffer, &SECRET) {
                Err(refusal) => assert!(refusal.to_string().contains(expected), "{refusal}"),
                Ok(_) => panic!("{bytes:?} was taken"),
            }
        }
    }

    #[test]
    fn what_was_sent_before_leaving_is_still_read() {
        let (mut child, mut connection) = pair();
        child.write_all(&frame_of(Kind::Hello, &SECRET)).expect("sent");
        child.write_all(&frame_of(Kind::Request, b"in time")).expect("sent");
        connection.take_no_more();
        let mut buffer = Vec::new();
        assert!(matches!(connection.read_request(&mut buffer, &SECRET), Ok(Found::Request(_))));
        assert_eq!(child.write(b"late").expect_err("refused").kind(), io::ErrorKind::BrokenPipe);
        assert!(matches!(connection.read_request(&mut buffer, &SECRET), Ok(Found::Closed)));
    }

    #[test]
    fn a_child_that_has_gone_is_told_from_our_own_leaving() {
        let (mut child, mut connection) = pair();
        child.write_all(&frame_of(Kind::Hello, &SECRET)).expect("sent");
        child.write_all(&frame_of(Kind::Request, b"taken back")).expect("sent");
        connection.take_no_more();
        assert!(!connection.is_abandoned());
        drop(child);
        assert!(connection.is_abandoned());
        let mut buffer = Vec::new();
        assert!(
            matches!(connection.read_request(&mut buffer, &SECRET), Ok(Found::Request(_))),
            "it is there all the same"
        );
    }
}
