//! The socket to the server: orders with descriptors come in, reports go out.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use wsgi_protocol::loader::{self, MAX_DESCRIPTORS, MAX_MESSAGE, Order, Report};

use crate::daemon::fork::Held;

/// See the module.
pub(super) struct Channel {
    socket: Held<OwnedFd>,
    /// Has the server read the reports.
    bell: Held<OwnedFd>,
    /// Those that the socket had no room for.
    waiting: VecDeque<Report>,
}

/// What came.
pub(super) enum Came {
    /// An order, with what belongs to it.
    Order(Order, Vec<Held<OwnedFd>>),
    /// Nothing, for now.
    Nothing,
    /// The server's end is closed.
    End,
}

/// Room for the descriptors beside a packet.
#[repr(C, align(8))]
struct Control([u8; 64]);

const _: () = assert!(MAX_DESCRIPTORS * size_of::<RawFd>() + 16 <= 64);

impl Channel {
    pub(super) fn new(socket: Held<OwnedFd>, bell: Held<OwnedFd>) -> Self {
        Self { socket, bell, waiting: VecDeque::new() }
    }

    /// Readable when there is something to [`Channel::receive`].
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes the next order; what is none is passed over.
    pub(super) fn receive(&self) -> Came {
        let mut packet = [0u8; MAX_MESSAGE];
        loop {
            match Held::open_all(|| self.packet(&mut packet)) {
                Ok((0, _)) => return Came::End,
                Ok((count, descriptors)) => {
                    if let Ok(order) = loader::decode(&packet[..count]) {
                        return Came::Order(order, descriptors);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Came::Nothing,
                    _ => return Came::End,
                },
            }
        }
    }

    fn packet(&self, packet: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut control = Control([0; 64]);
        let mut data = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
        // SAFETY: the header describes the buffers above; descriptors that come are fresh and nobody else's.
        unsafe {
            let mut header: libc::msghdr = std::mem::zeroed();
            header.msg_iov = &raw mut data;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = control.0.len();
            let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
            let count = libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, flags);
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            let mut descriptors = Vec::new();
            let mut entry = libc::CMSG_FIRSTHDR(&raw const header);
            while !entry.is_null() {
                if (*entry).cmsg_level == libc::SOL_SOCKET && (*entry).cmsg_type == libc::SCM_RIGHTS {
                    let bytes = ((*entry).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                    let first = libc::CMSG_DATA(entry).cast::<RawFd>();
                    for index in 0..bytes / size_of::<RawFd>() {
                        descriptors.push(OwnedFd::from_raw_fd(first.add(index).read_unaligned()));
                    }
                }
                entry = libc::CMSG_NXTHDR(&raw const header, entry);
            }
            Ok((count, descriptors))
        }
    }

    /// Puts a report behind those that wait.
    pub(super) fn report(&mut self, report: Report) {
        self.waiting.push_back(report);
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn send(&mut self) {
        let mut sent = false;
        while let Some(report) = self.waiting.front() {
            let Ok(bytes) = loader::encode(report) else { return };
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the bytes live across the call.
            let result = unsafe { libc::send(self.socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
            if result < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
                break;
            }
            // A server that has gone needs to hear nothing.
            self.waiting.pop_front();
            sent = true;
        }
        if sent {
            // SAFETY: writes one byte from one. When the pipe is full somebody rings already.
            unsafe { libc::write(self.bell.as_raw_fd(), [1u8].as_ptr().cast(), 1) };
        }
    }

    /// Whether reports wait for room.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// In a forked process: the way to the server is not its own; the bell is.
    pub(super) fn into_bell(self) -> Held<OwnedFd> {
        self.bell
    }
}
