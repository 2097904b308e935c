//! Whether a connection leads to a listener that this server made, before anything is sent on it.
//!
//! Whoever may write to the folder of the sockets can put another socket in the place of one. The kernel tells who
//! listens, and neither can be forged: `SO_PEERCRED` is the process that called `listen`, which is the server's parent,
//! and the address of the peer is the name that it bound, which stays the same when the file is renamed. So another
//! program's socket is refused, and so is that of another group in the wrong place. A child finds out when it connects;
//! kept connections cost nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Who made the listeners: the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pid: libc::pid_t,
    user: libc::uid_t,
}

impl Maker {
    /// This process.
    pub(crate) fn own() -> Self {
        // SAFETY: neither can fail.
        unsafe { Self { pid: libc::getpid(), user: libc::geteuid() } }
    }
}

/// Whose listener it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("the process that listens there is pid {} of uid {}, not this server (pid {} of uid {})", .found.pid, .found.user, .expected.pid, .expected.user)]
    Maker { found: Maker, expected: Maker },
    #[error("the socket there was made for '{0}'")]
    Name(String),
    #[error("it cannot be found out who listens there: {0}")]
    Unknown(#[from] io::Error),
}

/// Checks a connection to the listener that `maker` bound to this address.
pub(super) fn check(socket: &OwnedFd, maker: Maker, bound: &libc::sockaddr_un) -> Result<(), Foreign> {
    let found = listener_of(socket)?;
    if found != maker {
        return Err(Foreign::Maker { found, expected: maker });
    }
    let name = peer_name(socket)?;
    if name.sun_path != bound.sun_path {
        let text: Vec<u8> =
            name.sun_path.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
        return Err(Foreign::Name(String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(())
}

fn listener_of(socket: &OwnedFd) -> io::Result<Maker> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or_default();
    // SAFETY: room for the value and its length.
    let result = unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut found).cast(), &raw mut length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Maker { pid: found.pid, user: found.uid }) }
}

/// The name that the listener was bound to, padded with zeros.
fn peer_name(socket: &OwnedFd) -> io::Result<libc::sockaddr_un> {
    // SAFETY: a zeroed address is valid; the kernel writes at most as many bytes as there is room for.
    unsafe {
        let mut name: libc::sockaddr_un = std::mem::zeroed();
        let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_un>()).unwrap_or_default();
        if libc::getpeername(socket.as_raw_fd(), (&raw mut name).cast(), &raw mut length) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(name)
    }
}
