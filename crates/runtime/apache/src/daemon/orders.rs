//! The server's end of the socket to a loader ([`wsgi_protocol::loader`]).

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

use wsgi_protocol::loader::{self, MAX_DESCRIPTORS, MAX_MESSAGE, Order, Report};

/// Room for the orders of a whole group, which wait there until the application is loaded.
const ROOM: i32 = 1 << 20;

/// Room for the descriptors of an order.
#[repr(C, align(8))]
struct Control([u8; 64]);

const _: () = assert!(MAX_DESCRIPTORS * size_of::<RawFd>() + 16 <= 64);

/// A pair of sockets: the server's, which never waits, and the loader's.
pub(super) fn pair() -> io::Result<(RawFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let room = ROOM;
    // SAFETY: room for two descriptors, which are fresh; the value lives across the calls.
    let (own, other) = unsafe {
        if libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let size = u32::try_from(size_of::<i32>()).unwrap_or(4);
        let set = |option| libc::setsockopt(ends[0], libc::SOL_SOCKET, option, (&raw const room).cast(), size);
        if set(libc::SO_SNDBUFFORCE) < 0 {
            // Started by a user: as much as the system grants.
            set(libc::SO_SNDBUF);
        }
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    Ok((own.into_raw_fd(), other))
}

/// Sends an order with the descriptors that belong to it.
pub(super) fn send(socket: RawFd, order: Order, descriptors: &[RawFd]) -> io::Result<()> {
    let bytes = loader::encode(&order).map_err(io::Error::other)?;
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut control = Control([0; 64]);
    let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the header describes the buffers above, of which the data is only read; there is room for the descriptors,
    // which are open during the call.
    let sent = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut data;
        header.msg_iovlen = 1;
        if !descriptors.is_empty() {
            let size = u32::try_from(size_of_val(descriptors)).unwrap_or(0);
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let entry = libc::CMSG_FIRSTHDR(&raw const header);
            (*entry).cmsg_level = libc::SOL_SOCKET;
            (*entry).cmsg_type = libc::SCM_RIGHTS;
            (*entry).cmsg_len = libc::CMSG_LEN(size) as usize;
            let first = libc::CMSG_DATA(entry).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                first.add(index).write_unaligned(*descriptor);
            }
        }
        libc::sendmsg(socket, &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The next packet, if one is there; `Some(None)` is one that is no report, for a loader runs the application's code.
/// Descriptors that come along are not taken. A report of a process that cannot be is none: the order that it speaks of
/// would stay one, and the report be news each time.
pub(super) fn receive(socket: RawFd) -> Option<Option<Report>> {
    let mut packet = [0u8; MAX_MESSAGE];
    // SAFETY: room for as many bytes as it says. It does not wait, so nothing interrupts it.
    let count = unsafe { libc::recv(socket, packet.as_mut_ptr().cast(), packet.len(), libc::MSG_DONTWAIT) };
    let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
    let report = loader::decode(&packet[..count]).ok();
    Some(report.filter(|report| !matches!(report, Report::Forked { pid: ..=0, .. })))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use wsgi_protocol::loader::Fork;

    use super::*;

    #[test]
    fn orders_arrive_one_by_one_and_reports_are_read_until_there_is_none() {
        let (own, other) = pair().expect("sockets");
        let fork = Fork { start: 7, ..Fork::default() };
        send(own, Order::Fork(fork), &[0, 1]).expect("there is room");
        send(own, Order::Retire, &[]).expect("there is room");
        let mut packet = [0u8; MAX_MESSAGE];
        // SAFETY: room for as many bytes as it says. Descriptors are discarded without a place for them.
        let mut read = || unsafe { libc::recv(other.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len(), 0) };
        let first = usize::try_from(read()).expect("a packet");
        assert!(first > 1 && usize::try_from(read()) == Ok(1));

        let bytes = loader::encode(&Report::Stale).expect("small");
        let nobody = [0, -1].map(|pid| loader::encode(&Report::Forked { start: 7, pid }).expect("small"));
        for packet in [&b"nonsense"[..], &nobody[0], &nobody[1], &bytes] {
            // SAFETY: the packet lives across the call.
            unsafe { libc::send(other.as_raw_fd(), packet.as_ptr().cast(), packet.len(), 0) };
        }
        (0..3).for_each(|_| assert_eq!(receive(own), Some(None)));
        assert_eq!((receive(own), receive(own)), (Some(Some(Report::Stale)), None));
        drop(other);
        assert_eq!(receive(own), None);
        // SAFETY: nothing refers to it any more.
        unsafe { libc::close(own) };
    }

    #[test]
    fn the_orders_of_a_large_group_find_room() {
        let (own, _other) = pair().expect("sockets");
        let processes = wsgi_protocol::page::MAX_PROCESSES / super::super::status_page::PLACES;
        for start in 0..processes {
            let fork = Fork { start, predecessor: true, scripts: true, inherited_scripts: true, ..Fork::default() };
            send(own, Order::Fork(fork), &[0, 0, 0, 0, 0]).expect("there is room");
        }
        // SAFETY: nothing refers to it any more.
        unsafe { libc::close(own) };
    }
}
