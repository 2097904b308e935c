//! The epoll set that idle workers wait in, and the eventfd that wakes a sleeper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What a file descriptor in the set stands for; a connection is known by its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) u64);

/// What happened, and whether the peer has gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) token: Token,
    pub(super) peer_gone: bool,
}

/// An epoll set. Descriptors are armed for one event at a time, so that one thread gets it and owns the descriptor
/// until it arms it again.
pub(super) struct Poller {
    epoll: OwnedFd,
}

const ONCE: u32 = (libc::EPOLLIN | libc::EPOLLONESHOT) as u32;

fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        done(epoll)?;
        // SAFETY: epoll_create1 has just made it, nobody else owns it.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(epoll) } })
    }

    fn control(&self, operation: i32, descriptor: BorrowedFd<'_>, events: u32, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token.0 };
        // SAFETY: both descriptors are open, the event lives across the call.
        done(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor.as_raw_fd(), &raw mut event) })
    }

    /// Adds a descriptor, armed for one event.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, ONCE, token)
    }

    /// Arms a descriptor for its next event.
    pub(super) fn arm(&self, descriptor: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor, ONCE, token)
    }

    /// Adds a descriptor that wakes every waiter for as long as it is readable.
    pub(super) fn add_for_all(&self, descriptor: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, libc::EPOLLIN as u32, token)
    }

    /// Takes a descriptor out.
    pub(super) fn remove(&self, descriptor: BorrowedFd<'_>) {
        // It may not be in the set, which is fine.
        let _ = self.control(libc::EPOLL_CTL_DEL, descriptor, 0, Token(0));
    }

    /// Waits for one event.
    pub(super) fn wait(&self) -> io::Result<Option<Event>> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &raw mut event, 1, -1) };
        match count {
            1.. => {
                // Both halves are closed only when the peer has gone: it closes none alone, and we only our reading one.
                let gone = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
                Ok(Some(Event { token: Token(event.u64), peer_gone: event.events & gone != 0 }))
            }
            0 => Ok(None),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted { Ok(None) } else { Err(error) }
            }
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// An eventfd: [`Wakeup::wake`] makes it readable until [`Wakeup::clear`].
pub(super) struct Wakeup {
    eventfd: OwnedFd,
}

impl Wakeup {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        done(eventfd)?;
        // SAFETY: eventfd has just made it, nobody else owns it.
        Ok(Self { eventfd: unsafe { OwnedFd::from_raw_fd(eventfd) } })
    }

    pub(super) fn wake(&self) {
        wake(self.eventfd.as_raw_fd());
    }

    pub(super) fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: reads eight bytes into eight; nothing to read is fine.
        unsafe { libc::read(self.eventfd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// Makes an eventfd readable; usable in a signal handler.
pub(super) fn wake(eventfd: i32) {
    let one = 1u64;
    // SAFETY: writes eight bytes from eight. A full counter is readable already.
    unsafe { libc::write(eventfd, (&raw const one).cast(), size_of::<u64>()) };
}
