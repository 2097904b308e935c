//! The process by whose end the server learns that a daemon wants a successor.
//!
//! The server's process waits for nothing but signals and the ends of its children. So a child of it waits for what
//! daemons write to a pipe, and ends: the server looks at the status pages then, and starts another one.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::own_process::{self, settle};
use crate::host::ServingUser;

/// How long it waits before it listens, so that a daemon which rings without end costs the server little: at first, and
/// at most, after ringing again and again for nothing.
const REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_millis(1600);

/// Rings for nothing that lie so far back do not count any more.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// How often daemons have rung for nothing lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rings {
    idle: u32,
    last: Option<Instant>,
}

impl Rings {
    /// The bell has rung. `useful`: it led to something.
    pub(super) fn rung(&mut self, useful: bool, now: Instant) {
        let forgotten = self.last.is_none_or(|last| now.duration_since(last) >= FORGOTTEN);
        self.idle = if useful || forgotten { 0 } else { self.idle.saturating_add(1) };
        self.last = Some(now);
    }

    /// How long the next bell rests. A group that is replaced process by process rings a few times for nothing.
    pub(super) fn rest(self) -> Duration {
        (REST * (1 << self.idle.saturating_sub(4).min(5))).min(LONGEST_REST)
    }
}

/// What a pipe holds, unless somebody has changed that.
const CAPACITY: usize = 65536;

/// The pipe that daemons write to. Writing to it never waits: what is in it is enough.
pub(super) fn make_pipe() -> io::Result<(RawFd, RawFd)> {
    let (reading, writing) = super::group::pipe()?;
    for end in [reading, writing] {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(end, libc::F_SETFL, libc::O_NONBLOCK) };
    }
    Ok((reading, writing))
}

/// Rings for the server itself.
pub(super) fn ring(pipe: RawFd) {
    // SAFETY: writes one byte from one. When the pipe is full somebody rings already.
    unsafe { libc::write(pipe, [1u8].as_ptr().cast(), 1) };
}

/// Starts the process, which ends after `patience` at the latest. Returns its pid and the writing end of its control
/// pipe, with which it ends too.
pub(super) fn start(
    pipe: RawFd,
    user: &ServingUser,
    rest: Duration,
    patience: Option<Duration>,
) -> io::Result<(libc::pid_t, RawFd)> {
    own_process::fork("the bell of daemon processes", |control| {
        let settled = settle(c"wsgi:bell", vec![pipe, control], user);
        std::thread::sleep(rest);
        if settled.is_ok() {
            wait(pipe, control, patience);
        }
    })
}

fn wait(pipe: RawFd, control: RawFd, patience: Option<Duration>) {
    let milliseconds = patience.map_or(-1, |patience| i32::try_from(patience.as_millis()).unwrap_or(i32::MAX));
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(pipe), entry(control)];
    // SAFETY: two entries; room for as many bytes as it says. All that is there counts as one ring; what a daemon writes
    // meanwhile, without end perhaps, is for the next bell.
    unsafe {
        while libc::poll(entries.as_mut_ptr(), 2, milliseconds) < 0 {}
        if entries[0].revents & libc::POLLIN != 0 {
            let mut rings = [0u8; CAPACITY];
            libc::read(pipe, rings.as_mut_ptr().cast(), rings.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ringing_for_nothing_is_heard_less_and_less_often() {
        let begin = Instant::now();
        let mut rings = Rings::default();
        let mut rests = Vec::new();
        for second in 0..12 {
            rings.rung(false, begin + Duration::from_secs(second));
            rests.push(u64::try_from(rings.rest().as_millis()).expect("small"));
        }
        assert_eq!(rests, [50, 50, 50, 50, 50, 100, 200, 400, 800, 1600, 1600, 1600]);
        rings.rung(true, begin + Duration::from_secs(12));
        assert_eq!(rings.rest(), REST, "somebody had a reason");
        (0..100).for_each(|_| rings.rung(false, begin + Duration::from_secs(13)));
        assert_eq!(rings.rest(), LONGEST_REST);
        rings.rung(false, begin + Duration::from_secs(30));
        assert_eq!(rings.rest(), REST, "it was quiet for a while");
    }
}
