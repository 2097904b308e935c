//! Asks the server's log writer for Apache's scoreboard (see [`wsgi_protocol::scoreboard`]).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use wsgi_protocol::scoreboard::{self, MAX_SNAPSHOT, Snapshot};

/// How long the answer may take, in milliseconds.
const PATIENCE: libc::c_int = 2000;

/// Room for one descriptor beside a packet.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn failed<T>() -> io::Result<T> {
    Err(io::Error::last_os_error())
}

/// Asks on the log socket.
pub(super) fn ask(log: BorrowedFd<'_>) -> io::Result<Snapshot> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors, which are fresh.
    let (own, others) = unsafe {
        if libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) < 0 {
            return failed();
        }
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    send(log, &others)?;
    // Ours must be the last: the wait ends when the other side throws its end away.
    drop(others);
    let mut entry = libc::pollfd { fd: own.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    match unsafe { libc::poll(&raw mut entry, 1, PATIENCE) } {
        0 => return Err(io::ErrorKind::TimedOut.into()),
        count if count < 0 => return failed(),
        _ => {}
    }
    let memory = std::fs::File::from(receive(&own)?);
    let size = usize::try_from(memory.metadata()?.len()).unwrap_or(usize::MAX);
    if size > MAX_SNAPSHOT {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; size];
    memory.read_exact_at(&mut bytes, 0)?;
    scoreboard::decode(&bytes).map_err(io::Error::other)
}

fn send(log: BorrowedFd<'_>, descriptor: &OwnedFd) -> io::Result<()> {
    let mut control = Control([0; 64]);
    let mut data =
        libc::iovec { iov_base: scoreboard::REQUEST.as_ptr().cast_mut().cast(), iov_len: scoreboard::REQUEST.len() };
    // SAFETY: the header describes the buffers above, of which the data is only read; there is room for one descriptor,
    // which is open during the call.
    let sent = unsafe {
        let size = u32::try_from(size_of::<RawFd>()).unwrap_or(4);
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut data;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let entry = libc::CMSG_FIRSTHDR(&raw const header);
        (*entry).cmsg_level = libc::SOL_SOCKET;
        (*entry).cmsg_type = libc::SCM_RIGHTS;
        (*entry).cmsg_len = libc::CMSG_LEN(size) as usize;
        libc::CMSG_DATA(entry).cast::<RawFd>().write_unaligned(descriptor.as_raw_fd());
        libc::sendmsg(log.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL)
    };
    if sent < 0 { failed() } else { Ok(()) }
}

fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut control = Control([0; 64]);
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the header describes the buffers above; a descriptor that comes is fresh and nobody else's.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut data;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len();
        if libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT) < 0 {
            return failed();
        }
        let entry = libc::CMSG_FIRSTHDR(&raw const header);
        let one = libc::CMSG_LEN(u32::try_from(size_of::<RawFd>()).unwrap_or(4)) as usize;
        if entry.is_null() || (*entry).cmsg_type != libc::SCM_RIGHTS || (*entry).cmsg_len < one {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(OwnedFd::from_raw_fd(libc::CMSG_DATA(entry).cast::<RawFd>().read_unaligned()))
    }
}
