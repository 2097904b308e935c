//! A connection from an Apache child to a daemon process, and the frames on it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use wsgi_protocol::Malformed;
use wsgi_protocol::frame::{self, HEADER, Kind, MAX_CHUNK};

/// How much is read at once, unless a frame that has begun needs more.
const READ: usize = 32 * 1024;

/// Room for two frames of the largest body blocks: they are read where they are passed on from.
const TWO_BLOCKS: usize = 2 * (HEADER + MAX_CHUNK) + READ;

/// A connection with what was read and not looked at yet.
pub(crate) struct Connection {
    socket: OwnedFd,
    input: Vec<u8>,
    /// Where the unread part of `input` begins.
    position: usize,
}

/// What stops reading from a daemon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// It sent nothing for the time it has.
    #[error("nothing was sent in time")]
    TimedOut,
    /// Something else.
    #[error("{0}")]
    Io(io::Error),
    /// What it sent is no frame.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// A frame in the connection's buffer.
pub(crate) struct Frame<'c> {
    pub(crate) kind: Kind,
    pub(crate) payload: &'c [u8],
}

impl Connection {
    /// A connection that is open.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, input: Vec::new(), position: 0 }
    }

    /// The socket, when the connection rests between two requests.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends everything.
    pub(crate) fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // SAFETY: the bytes live across the call.
            let count =
                unsafe { libc::send(self.socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
            match usize::try_from(count) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until something can be read. `false`: nothing came in time.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let milliseconds = i32::try_from(patience.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let mut entry = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry. A failure is left to the reading that follows.
        unsafe { libc::poll(&raw mut entry, 1, milliseconds) != 0 }
    }

    /// Whether a whole frame was read already.
    fn whole(&self) -> Result<Option<(Kind, usize)>, Malformed> {
        let Some(header) = self.input[self.position..].first_chunk::<HEADER>() else { return Ok(None) };
        let (kind, length) = frame::header(*header)?;
        let here = self.input.len() - self.position - HEADER;
        Ok((here >= length).then_some((kind, length)))
    }

    /// Whether the next frame can be had without waiting. What is wrong with it shows when it is taken.
    pub(crate) fn has_frame(&mut self) -> bool {
        loop {
            match self.whole() {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return true,
            }
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(()) => {}
                Err(ReadError::TimedOut) => return false,
                Err(_) => return true,
            }
        }
    }

    /// How many bytes the frame that has begun still needs, with the header of the next one: reading more of a stream of
    /// large frames would only have to be moved to the front later.
    fn missing(&self) -> usize {
        let rest = &self.input[self.position..];
        let length =
            rest.first_chunk::<HEADER>().and_then(|header| frame::header(*header).ok()).map(|(_, length)| length);
        length.map_or(0, |length| (2 * HEADER + length).saturating_sub(rest.len()))
    }

    /// Reads what is there behind what was read before.
    fn receive(&mut self, flags: i32) -> Result<(), ReadError> {
        if self.position == self.input.len() {
            self.input.clear();
            self.position = 0;
        } else if self.position > READ {
            self.input.drain(..self.position);
            self.position = 0;
        }
        self.receive_behind(flags, self.missing())
    }

    /// Reads at most `wanted` bytes, or [`READ`] if that is more. What is here stays where it is.
    fn receive_behind(&mut self, flags: i32, wanted: usize) -> Result<(), ReadError> {
        let wanted = wanted.max(READ);
        if wanted > READ && self.input.capacity() < TWO_BLOCKS {
            self.input.reserve_exact(TWO_BLOCKS.saturating_sub(self.input.len()));
        }
        self.input.reserve(wanted);
        let room = self.input.spare_capacity_mut();
        let wanted = wanted.min(room.len());
        loop {
            // SAFETY: the kernel writes at most as many bytes as there is room for.
            let count = unsafe { libc::recv(self.socket.as_raw_fd(), room.as_mut_ptr().cast(), wanted, flags) };
            match usize::try_from(count) {
                Ok(0) => return Err(ReadError::Closed),
                Ok(count) => {
                    // SAFETY: so many bytes were written there.
                    unsafe { self.input.set_len(self.input.len() + count) };
                    return Ok(());
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        io::ErrorKind::WouldBlock => return Err(ReadError::TimedOut),
                        _ => return Err(ReadError::Io(error)),
                    }
                }
            }
        }
    }

    /// The next frame, waiting for it as long as the connection's timeout says.
    pub(crate) fn next(&mut self) -> Result<Frame<'_>, ReadError> {
        let (kind, length) = loop {
            match self.whole()? {
                Some(found) => break found,
                None => self.receive(0)?,
            }
        };
        let start = self.position + HEADER;
        self.position = start + length;
        Ok(Frame { kind, payload: &self.input[start..self.position] })
    }

    /// The frame of body bytes that [`Connection::next`] gave last, which had so many, and the one behind it, when that is
    /// body bytes too and can be had without waiting.
    pub(crate) fn with_following(&mut self, length: usize) -> (&[u8], Option<&[u8]>) {
        let end = self.position;
        let start = end - length;
        let following = loop {
            match self.whole() {
                Ok(Some((Kind::Data, length))) => break Some(end + HEADER..end + HEADER + length),
                Ok(Some(_)) | Err(_) => break None,
                // A failure shows again when the next frame is asked for.
                Ok(None) => {
                    let wanted = self.missing().max(length + 2 * HEADER);
                    if self.receive_behind(libc::MSG_DONTWAIT, wanted).is_err() {
                        break None;
                    }
                }
            }
        };
        if let Some(following) = &following {
            self.position = following.end;
        }
        (&self.input[start..end], following.map(|following| &self.input[following]))
    }

    /// Refuses everything that the process has not sent yet, in one step with looking for what it has: from here on its
    /// writing fails. `true`: something is there.
    pub(crate) fn close_to_answers(&mut self) -> bool {
        // SAFETY: no pointers; of a connection that has gone there is nothing to refuse.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RD) };
        self.has_frame() && self.position < self.input.len()
    }

    /// Whether everything that was read was taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.position == self.input.len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let (mut daemon, child) = UnixStream::pair().expect("a socket pair");
        let mut connection = Connection::new(child.into());
        assert!(!connection.has_frame());
        let mut bytes = Vec::new();
        frame::put(Kind::Accepted, &7u32.to_le_bytes(), &mut bytes).expect("fits");
        frame::put(Kind::Data, &vec![b'x'; 50_000], &mut bytes).expect("fits");
        let (first, rest) = bytes.split_at(bytes.len() - 1);
        daemon.write_all(first).expect("sent");
        let accepted = connection.next().expect("is whole");
        assert_eq!((accepted.kind, frame::number(accepted.payload)), (Kind::Accepted, Ok(7)));
        assert!(!connection.has_frame(), "one byte is missing");
        daemon.write_all(rest).expect("sent");
        let data = connection.next().expect("is whole");
        assert_eq!((data.kind, data.payload.len()), (Kind::Data, 50_000));
        assert!(connection.is_drained());
        drop(daemon);
        assert!(connection.has_frame(), "the end is news too");
        assert!(matches!(connection.next(), Err(ReadError::Closed)));
    }

    #[test]
    fn large_blocks_come_two_at_a_time_when_both_are_there() {
        let (mut daemon, child) = UnixStream::pair().expect("a socket pair");
        let mut connection = Connection::new(child.into());
        let mut bytes = Vec::new();
        for block in [b'a', b'b', b'c'] {
            frame::put(Kind::Data, &vec![block; 40_000], &mut bytes).expect("fits");
        }
        frame::put(Kind::End, &[0], &mut bytes).expect("fits");
        let (first, rest) = bytes.split_at(50_000);
        let (second, rest) = rest.split_at(60_000);
        let next = |connection: &mut Connection| connection.next().expect("is whole").payload.len();
        daemon.write_all(first).expect("sent");
        let length = next(&mut connection);
        let (a, b) = connection.with_following(length);
        assert_eq!((a, b), (&[b'a'; 40_000][..], None), "the second is not whole");
        daemon.write_all(second).expect("sent");
        let length = next(&mut connection);
        let (b, c) = connection.with_following(length);
        assert_eq!((b, c), (&[b'b'; 40_000][..], None));
        daemon.write_all(rest).expect("sent");
        let length = next(&mut connection);
        let (c, end) = connection.with_following(length);
        assert_eq!((c, end), (&[b'c'; 40_000][..], None), "the end is no body bytes");
        assert_eq!(connection.next().expect("is whole").kind, Kind::End);
        daemon.write_all(&bytes).expect("sent");
        let length = next(&mut connection);
        let (a, b) = connection.with_following(length);
        assert_eq!((a, b), (&[b'a'; 40_000][..], Some(&[b'b'; 40_000][..])));
        let length = next(&mut connection);
        assert_eq!(connection.with_following(length), (&[b'c'; 40_000][..], None));
        assert_eq!(connection.next().expect("is whole").kind, Kind::End);
        assert!(connection.is_drained());
    }

    #[test]
    fn an_answer_is_either_there_or_cannot_be_sent_any_more() {
        let (mut daemon, child) = UnixStream::pair().expect("a socket pair");
        let mut connection = Connection::new(child.into());
        assert!(!connection.close_to_answers());
        let late = daemon.write_all(b"late").expect_err("refused");
        assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
        let (mut daemon, child) = UnixStream::pair().expect("a socket pair");
        let mut connection = Connection::new(child.into());
        let mut bytes = Vec::new();
        frame::put(Kind::Accepted, &7u32.to_le_bytes(), &mut bytes).expect("fits");
        daemon.write_all(&bytes).expect("sent");
        assert!(connection.close_to_answers());
        assert_eq!(connection.next().expect("is whole").kind, Kind::Accepted);
    }

    #[test]
    fn garbage_is_refused() {
        let (mut daemon, child) = UnixStream::pair().expect("a socket pair");
        let mut connection = Connection::new(child.into());
        daemon.write_all(b"HTTP/1.1 200 OK\r\n").expect("sent");
        assert!(matches!(connection.next(), Err(ReadError::Malformed(_))));
    }
}
