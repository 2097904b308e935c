//! One word that a loader and its processes share: whether what was loaded is out of date.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// See the module.
#[derive(Clone, Copy)]
pub(in crate::daemon) struct Stale(&'static AtomicU32);

impl Stale {
    /// Memory that stays shared across a fork.
    pub(super) fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses the address; the memory is zeroed, aligned, and never given back.
        unsafe {
            let base = libc::mmap(std::ptr::null_mut(), size_of::<AtomicU32>(), protection, flags, -1, 0);
            if base == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(&*base.cast::<AtomicU32>()))
        }
    }

    /// A script has changed.
    pub(in crate::daemon) fn set(self) {
        self.0.store(1, Ordering::Release);
    }

    /// Whether one has.
    pub(super) fn is_set(self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }
}
