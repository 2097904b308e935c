//! Processes of the module's own: forks of the server that execute nothing else, keep a few descriptors, and end with the
//! server or when they are told to, by a control pipe.

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;

use super::siblings;
use super::spawn::{Identity, SetupFailure, assume, close_from};
use crate::guard::wall;
use crate::host::ServingUser;

/// Forks a process that does `work`, which is given the reading end of the control pipe, and ends. Returns its pid and the
/// writing end.
pub(super) fn fork(what: &'static str, work: impl FnOnce(RawFd)) -> io::Result<(libc::pid_t, RawFd)> {
    let (reading, writing) = super::group::pipe()?;
    // SAFETY: the child never returns from here.
    unsafe {
        let pid = siblings::of_our_own(|| libc::fork());
        match pid {
            0 => {
                wall(what, (), || work(reading));
                libc::_exit(0);
            }
            1.. => {
                libc::close(reading);
                Ok((pid, writing))
            }
            _ => {
                let error = io::Error::last_os_error();
                libc::close(reading);
                libc::close(writing);
                Err(error)
            }
        }
    }
}

/// Makes a fork of the server a process of its own that keeps these descriptors and no privileges.
pub(super) fn settle(name: &CStr, mut keep: Vec<RawFd>, user: &ServingUser) -> Result<(), SetupFailure> {
    keep.sort_unstable();
    keep.dedup();
    // SAFETY: plain calls on this process.
    unsafe {
        libc::setpgid(0, 0);
        libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0);
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        // Ended by its pipes: a signal for the server's process group must not cut off the last lines.
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGPIPE, libc::SIGWINCH] {
            libc::signal(signal, libc::SIG_IGN);
        }
        // Everything between the descriptors that are kept.
        let mut first = 0;
        for kept in keep.iter().copied().chain([RawFd::MAX]) {
            close_from(first, kept - 1);
            first = kept.wrapping_add(1);
        }
    }
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    assume(&Identity { user: user.id, group: user.group, groups: vec![user.group] }, false)
}
