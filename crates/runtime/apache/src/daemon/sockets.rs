//! The UNIX sockets of daemon groups: where they lie, listening, and connecting.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::listener_check::{self, Foreign, Maker};
use crate::codes::{self, Code};
use crate::host::files::{self, PathError};

/// The longest path that fits into an address (`sun_path` without its NUL).
pub(crate) const LONGEST: usize = 107;

/// Why a group has no listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("Path of unix domain socket '{}' is longer than {LONGEST} bytes. Daemon group will not start.", .0.display())]
    TooLong(PathBuf),
    #[error(
        "Unix domain socket '{}' would not be safe in its folder: {}. Daemon group will not start. Let WSGISocketPrefix \
         name a folder that only root can write to, such as '/run/wsgi'.",
        .0.display(), .1
    )]
    Folder(PathBuf, PathError),
    #[error("Unable to create unix domain socket. Daemon group will not start. ({0})")]
    Socket(io::Error),
    #[error("Unable to bind unix domain socket '{}'. Daemon group will not start. ({})", .0.display(), .1)]
    Bind(PathBuf, io::Error),
    #[error("Unable to listen on unix domain socket '{}'. Daemon group will not start. ({})", .0.display(), .1)]
    Listen(PathBuf, io::Error),
    #[error("Unable to change owner of unix domain socket '{}'. Daemon group will not start. ({})", .0.display(), .1)]
    Owner(PathBuf, io::Error),
}

impl ListenError {
    pub(crate) fn code(&self) -> &'static Code {
        match self {
            Self::TooLong(_) => &codes::SOCKET_PATH_TOO_LONG,
            Self::Folder(..) => &codes::SOCKET_FOLDER,
            Self::Socket(_) => &codes::SOCKET_FAILED,
            Self::Bind(..) => &codes::BIND_FAILED,
            Self::Listen(..) => &codes::LISTEN_FAILED,
            Self::Owner(..) => &codes::CHOWN_FAILED,
        }
    }
}

/// Where a socket of a group lies: the same in every generation of the server's configuration.
pub(crate) fn path(prefix: &[u8], server: u32, group: &[u8], which: &str) -> PathBuf {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let name = if !group.is_empty() && group.len() <= 24 && group.iter().all(plain) {
        String::from_utf8_lossy(group).into_owned()
    } else {
        // FNV-1a: any spread will do, collisions show as a bind failure.
        let hash = group
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    };
    let mut path = prefix.to_vec();
    path.extend_from_slice(format!(".{server}.{name}.{which}.sock").as_bytes());
    PathBuf::from(OsStr::from_bytes(&path))
}

/// The address of a path.
fn address(path: &Path) -> Option<libc::sockaddr_un> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > LONGEST || bytes.contains(&0) {
        return None;
    }
    // SAFETY: a zeroed address is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default();
    for (target, byte) in address.sun_path.iter_mut().zip(bytes) {
        *target = byte.cast_signed();
    }
    Some(address)
}

fn size_of_address() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::sockaddr_un>()).unwrap_or_default()
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is fresh.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(socket)) }
    }
}

/// Listens at a path. The socket belongs to `owner` and is for nobody else. `stale` hears of a socket that was in the
/// way.
pub(crate) fn listen(
    path: &Path,
    backlog: i32,
    owner: Option<u32>,
    stale: impl FnOnce(),
) -> Result<OwnedFd, ListenError> {
    let Some(address) = address(path) else { return Err(ListenError::TooLong(path.to_owned())) };
    // Only a server started by root serves as another user, who must not be able to replace the socket. A folder that
    // cannot be examined cannot be bound in either, which says more.
    if owner.is_some()
        && let Some(folder) = path.parent()
        && let Err(error @ (PathError::Owner(..) | PathError::Writable(..))) = files::trusted(folder)
    {
        return Err(ListenError::Folder(path.to_owned(), error));
    }
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        stale();
        // When it cannot be removed, binding says so.
        let _ = std::fs::remove_file(path);
    }
    let socket = socket().map_err(ListenError::Socket)?;
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| ListenError::TooLong(path.to_owned()))?;
    // SAFETY: address and name live across the calls.
    unsafe {
        // Nobody else can connect before the owner is set.
        let umask = libc::umask(0o177);
        let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_address());
        let error = io::Error::last_os_error();
        libc::umask(umask);
        if bound < 0 {
            return Err(ListenError::Bind(path.to_owned(), error));
        }
        if let Some(owner) = owner
            && libc::lchown(name.as_ptr(), owner, libc::gid_t::MAX) < 0
        {
            return Err(ListenError::Owner(path.to_owned(), io::Error::last_os_error()));
        }
        if libc::listen(socket.as_raw_fd(), backlog) < 0 {
            return Err(ListenError::Listen(path.to_owned(), io::Error::last_os_error()));
        }
    }
    Ok(socket)
}

/// What tells a socket's file from others: its device and number.
pub(crate) fn file(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody took it in time.
    #[error("no process took the connection in time")]
    TimedOut,
    /// No socket could be made.
    #[error("{0}")]
    NoSocket(io::Error),
    /// The socket there is not the one that this server made.
    #[error("{0}")]
    Foreign(#[from] Foreign),
    /// Something else.
    #[error("{0}")]
    Failed(io::Error),
}

/// How a connection to a process is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How long to wait while the backlog is full.
    pub(crate) patience: Duration,
    /// How long writing waits at most; zero is for ever.
    pub(crate) timeout: Duration,
    /// `SO_SNDBUF` and `SO_RCVBUF`; 0 is the system's.
    pub(crate) buffers: (u32, u32),
    /// Who made the listener.
    pub(crate) maker: Maker,
}

/// How long reading waits before the reader looks around.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Connects to a socket. Reading from it returns after [`LOOK`] at the latest.
pub(crate) fn connect(path: &Path, manner: Manner) -> Result<OwnedFd, ConnectError> {
    let Manner { patience, timeout, buffers, maker } = manner;
    let Some(address) = address(path) else {
        return Err(ConnectError::Failed(io::ErrorKind::InvalidFilename.into()));
    };
    let socket = socket().map_err(ConnectError::NoSocket)?;
    // As a timeout zero means without end.
    let waits = !patience.is_zero();
    if waits {
        set_timeout(&socket, libc::SO_SNDTIMEO, patience).map_err(ConnectError::NoSocket)?;
    } else {
        set_blocking(&socket, false).map_err(ConnectError::NoSocket)?;
    }
    set_buffer(&socket, libc::SO_SNDBUF, buffers.0);
    set_buffer(&socket, libc::SO_RCVBUF, buffers.1);
    loop {
        // SAFETY: the address lives across the call.
        let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size_of_address()) };
        if result == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused => return Err(ConnectError::TimedOut),
            _ => return Err(ConnectError::Failed(error)),
        }
    }
    listener_check::check(&socket, maker, &address)?;
    if !waits {
        set_blocking(&socket, true).map_err(ConnectError::NoSocket)?;
    }
    set_timeout(&socket, libc::SO_SNDTIMEO, timeout).map_err(ConnectError::NoSocket)?;
    let look = if timeout.is_zero() { LOOK } else { LOOK.min(timeout) };
    set_timeout(&socket, libc::SO_RCVTIMEO, look).map_err(ConnectError::NoSocket)?;
    Ok(socket)
}

/// A buffer that cannot be had in this size stays as it is; the process says so.
fn set_buffer(socket: &OwnedFd, option: i32, size: u32) {
    if size > 0 {
        let value = i32::try_from(size).unwrap_or(i32::MAX);
        let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or_default();
        // SAFETY: the value lives across the call.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), length) };
    }
}

fn set_blocking(socket: &OwnedFd, blocks: bool) -> io::Result<()> {
    // The socket was made here and has no other flags.
    let flags = if blocks { 0 } else { libc::O_NONBLOCK };
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn set_timeout(socket: &OwnedFd, option: i32, timeout: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_usec: i64::from(timeout.subsec_micros()),
    };
    let size = libc::socklen_t::try_from(size_of::<libc::timeval>()).unwrap_or_default();
    // SAFETY: the value lives across the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn manner(patience: Duration) -> Manner {
        Manner { patience, timeout: Duration::ZERO, buffers: (0, 0), maker: Maker::own() }
    }

    #[test]
    fn buffers_have_the_size_that_is_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("s.sock");
        let _listener = listen(&at, 5, None, || ()).expect("listens");
        let manner = Manner { buffers: (16_384, 8_192), ..manner(Duration::from_secs(1)) };
        let socket = connect(&at, manner).expect("connects");
        let (mut size, mut length) = (0i32, libc::socklen_t::try_from(size_of::<i32>()).expect("small"));
        // SAFETY: room for the value and its length.
        unsafe {
            let (level, option) = (libc::SOL_SOCKET, libc::SO_SNDBUF);
            libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut size).cast(), &raw mut length);
        }
        // The kernel doubles it for its own needs.
        assert_eq!(size, 2 * 16_384);
    }

    #[test]
    fn paths_do_not_depend_on_the_generation() {
        assert_eq!(path(b"/run/wsgi", 42, b"web", "0"), Path::new("/run/wsgi.42.web.0.sock"));
        let odd = path(b"/run/wsgi", 42, b"a/../b", "0");
        assert!(!odd.to_string_lossy().contains(".."), "{}", odd.display());
        assert_ne!(odd, path(b"/run/wsgi", 42, b"a/../c", "0"));
    }

    // Covers: code:WSGI0065
    #[test]
    fn the_socket_is_for_its_owner_alone_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("s.sock");
        let mut stale = 0;
        let first = listen(&at, 5, None, || stale += 1).expect("listens");
        assert_eq!(std::fs::metadata(&at).expect("is there").permissions().mode() & 0o777, 0o600);
        drop(first);
        let _second = listen(&at, 5, None, || stale += 1).expect("listens again");
        assert_eq!(stale, 1);
        assert!(connect(&at, manner(Duration::from_secs(1))).is_ok());
    }

    #[test]
    fn other_files_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("precious");
        std::fs::write(&at, "data").expect("written");
        let refused = listen(&at, 5, None, || ()).expect_err("is in the way");
        assert_eq!(refused.code().number, 13);
        assert_eq!(std::fs::read(&at).expect("is there"), b"data");
    }

    #[test]
    fn a_long_path_is_refused_and_not_cut() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(LONGEST)));
        assert_eq!(listen(&long, 5, None, || ()).expect_err("too long").code().number, 64);
    }

    // Covers: rule:daemon/listener-checked
    #[test]
    fn a_socket_that_took_the_place_of_another_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let _listener = listen(&at("web"), 5, None, || ()).expect("listens");
        let _other = listen(&at("other"), 5, None, || ()).expect("listens");
        assert!(connect(&at("web"), manner(Duration::from_secs(1))).is_ok());
        std::fs::rename(at("other"), at("web")).expect("own folder");
        let refused = connect(&at("web"), manner(Duration::from_secs(1))).expect_err("the group's other socket");
        assert!(refused.to_string().contains("made for"), "{refused}");
    }

    #[test]
    fn a_full_backlog_is_waited_for_no_longer_than_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("s.sock");
        let _listener = listen(&at, 0, None, || ()).expect("listens");
        let patience = Duration::from_millis(50);
        let taken: Vec<_> = (0..3).map(|_| connect(&at, manner(patience))).collect();
        assert!(taken.iter().any(|result| matches!(result, Err(ConnectError::TimedOut))));
        let began = std::time::Instant::now();
        assert!(matches!(connect(&at, manner(Duration::ZERO)), Err(ConnectError::TimedOut)), "zero is not without end");
        assert!(began.elapsed() < Duration::from_secs(5));
        let missing = folder.path().join("missing");
        assert!(matches!(connect(&missing, manner(patience)), Err(ConnectError::Failed(_))));
    }
}
