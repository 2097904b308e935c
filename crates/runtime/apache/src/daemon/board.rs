//! Answers daemons that ask for Apache's scoreboard: the log writer does, which is a fork of the server.
//!
//! A daemon sends [`scoreboard::REQUEST`] on its log socket with one end of a socket pair attached. It gets one packet
//! back, with a memfd attached that holds the snapshot: nothing that the writer does for it can block.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use wsgi_protocol::scoreboard;

use crate::host::scoreboard::snapshot;

/// Room for one descriptor beside a packet.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn header(data: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = data;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    header
}

/// Reads from a descriptor; a packet may have a descriptor attached.
pub(crate) fn receive(descriptor: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = Control([0; 64]);
    let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = header(&mut data, &mut control);
    // SAFETY: the header describes the buffers above; descriptors that come are fresh and nobody else's.
    unsafe {
        let count = libc::recvmsg(descriptor, &raw mut header, libc::MSG_CMSG_CLOEXEC);
        let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
        let mut passed = Vec::new();
        let mut entry = libc::CMSG_FIRSTHDR(&raw const header);
        while !entry.is_null() {
            if (*entry).cmsg_level == libc::SOL_SOCKET && (*entry).cmsg_type == libc::SCM_RIGHTS {
                let bytes = ((*entry).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let first = libc::CMSG_DATA(entry).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    passed.push(OwnedFd::from_raw_fd(first.add(index).read_unaligned()));
                }
            }
            entry = libc::CMSG_NXTHDR(&raw const header, entry);
        }
        // More than one is nothing that we know; all are closed.
        let passed = if passed.len() == 1 { passed.pop() } else { None };
        Ok((count, passed))
    }
}

/// Sends a snapshot to who asked. Whoever asks without taking the answer gets none.
pub(crate) fn answer(socket: &OwnedFd) -> io::Result<()> {
    let snapshot = snapshot().ok_or(io::ErrorKind::NotFound)?;
    let bytes = scoreboard::encode(&snapshot).map_err(io::Error::other)?;
    // SAFETY: a fresh descriptor.
    let memory = unsafe {
        let memory = libc::memfd_create(c"scoreboard".as_ptr(), libc::MFD_CLOEXEC);
        if memory < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(memory)
    };
    let file = std::fs::File::from(memory);
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0)?;
    let mut control = Control([0; 64]);
    let mut data = libc::iovec { iov_base: b"!".as_ptr().cast_mut().cast(), iov_len: 1 };
    let mut header = header(&mut data, &mut control);
    // SAFETY: the control buffer has room for one descriptor, which is open during the call; the data is only read.
    let sent = unsafe {
        let size = u32::try_from(size_of::<RawFd>()).unwrap_or(4);
        header.msg_controllen = libc::CMSG_SPACE(size) as usize;
        let entry = libc::CMSG_FIRSTHDR(&raw const header);
        (*entry).cmsg_level = libc::SOL_SOCKET;
        (*entry).cmsg_type = libc::SCM_RIGHTS;
        (*entry).cmsg_len = libc::CMSG_LEN(size) as usize;
        libc::CMSG_DATA(entry).cast::<RawFd>().write_unaligned(file.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
