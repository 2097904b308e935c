//! The process by whose end the server learns that a daemon wants a successor.
//!
//! The server's process waits for nothing but signals and the ends of its children. So a child of it waits for what
//! daemons write to a pipe, and ends: the server looks at the status pages then, and starts another one.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::log_writer::settle;
use crate::guard::wall;
use crate::host::ServingUser;

/// How long it waits before it listens, so that a daemon which rings without end costs the server little.
const REST: Duration = Duration::from_millis(50);

/// The pipe that daemons write to. Writing to it never waits: what is in it is enough.
pub(super) fn make_pipe() -> io::Result<(RawFd, RawFd)> {
    let (reading, writing) = super::group::pipe()?;
    // SAFETY: no pointers.
    unsafe { libc::fcntl(writing, libc::F_SETFL, libc::O_NONBLOCK) };
    Ok((reading, writing))
}

/// Starts the process. Returns its pid and the writing end of its control pipe, with which it ends too.
pub(super) fn start(pipe: RawFd, user: &ServingUser) -> io::Result<(libc::pid_t, RawFd)> {
    let (reading, writing) = super::group::pipe()?;
    // SAFETY: the child never returns from here.
    unsafe {
        let pid = libc::fork();
        match pid {
            0 => {
                wall("the bell of daemon processes", (), || {
                    let settled = settle(c"wsgi:bell", vec![pipe, reading], user);
                    std::thread::sleep(REST);
                    if settled {
                        wait(pipe, reading);
                    }
                });
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

fn wait(pipe: RawFd, control: RawFd) {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(pipe), entry(control)];
    // SAFETY: two entries; room for as many bytes as it says.
    unsafe {
        while libc::poll(entries.as_mut_ptr(), 2, -1) < 0 {}
        if entries[0].revents & libc::POLLIN != 0 {
            let mut rings = [0u8; 4096];
            libc::read(pipe, rings.as_mut_ptr().cast(), rings.len());
        }
    }
}
