//! Connections that have not shown the group's secret: whose they are, how many there may be, and for how long.
//!
//! Anybody who may open the socket can connect and be silent. Such connections must not take the descriptors that the
//! application needs, nor stay for ever. An Apache child sends its greeting at once; when it finds the connection closed
//! it makes another one, because nothing of a request was lost.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fork::Held;

/// How long a connection may go without the secret.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The most of them at a time, where the process may have enough descriptors.
const MOST: usize = 128;

/// What they leave of the process's descriptors: all but one in so many.
const SHARE: u64 = 4;

/// How often a line about them is logged at most.
const SILENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Strangers {
    /// Users whose processes may connect.
    peers: Vec<u32>,
    most: usize,
    timer: Held<OwnedFd>,
    base: Instant,
    /// When something was logged last, in milliseconds since `base`; 0 is never.
    logged: AtomicU64,
}

impl Strangers {
    pub(super) fn new(peers: Vec<u32>) -> io::Result<Self> {
        let open = || {
            // SAFETY: no pointers; the descriptor is fresh.
            unsafe {
                let timer = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK);
                if timer < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(timer)) }
            }
        };
        Ok(Self { peers, most: most(), timer: Held::open(open)?, base: Instant::now(), logged: AtomicU64::new(0) })
    }

    /// How many there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The user of a connection's other end, if it is one who may not connect.
    pub(super) fn refused(&self, stream: &OwnedFd) -> Option<String> {
        match user_of(stream) {
            Ok(user) if self.peers.contains(&user) => None,
            Ok(user) => Some(format!("uid {user}")),
            Err(error) => Some(format!("an unknown user ({error})")),
        }
    }

    /// Rings when the first of them has been silent for too long.
    pub(super) fn ring_after(&self, time: Duration) {
        // Zero would switch it off.
        let time = time.max(Duration::from_millis(1));
        let value = libc::timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let timer = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // SAFETY: the value lives across the call; the previous one is not asked for.
        unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &raw const timer, std::ptr::null_mut()) };
    }

    /// It has rung: the timer can be waited for again.
    pub(super) fn heard(&self) {
        let mut count = 0u64;
        // SAFETY: reads eight bytes into eight; nothing to read is fine.
        unsafe { libc::read(self.timer.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }

    /// Whether a line about strangers is due: each of them could fill the log.
    pub(super) fn may_log(&self) -> bool {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.base.elapsed()).max(1);
        let last = self.logged.load(Ordering::Relaxed);
        let due = last == 0 || now.saturating_sub(last) >= millis(SILENCE);
        due && self.logged.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl AsFd for Strangers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

fn most() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is writable.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    let share = if known { limit.rlim_cur / SHARE } else { u64::MAX };
    usize::try_from(share).unwrap_or(usize::MAX).clamp(1, MOST)
}

fn user_of(stream: &OwnedFd) -> io::Result<u32> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: room for the value and its length.
    let result = unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        libc::getsockopt(stream.as_raw_fd(), level, option, (&raw mut found).cast(), &raw mut length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(found.uid) }
}
