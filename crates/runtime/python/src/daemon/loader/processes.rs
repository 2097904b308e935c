//! The processes that a loader has forked, as far as a parent has to know them.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// One of them.
struct Process {
    pid: libc::pid_t,
    /// The start that the server knows it by.
    start: u32,
    /// Readable at its end, where the kernel has that (5.3 and later).
    handle: Option<OwnedFd>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Processes(Vec<Process>);

impl Processes {
    /// Adds one that was forked just now.
    pub(super) fn add(&mut self, pid: libc::pid_t, start: u32) {
        // SAFETY: a child that was not waited for; the descriptor is fresh.
        let handle = unsafe {
            let descriptor = RawFd::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).unwrap_or(-1);
            (descriptor >= 0).then(|| OwnedFd::from_raw_fd(descriptor))
        };
        self.0.push(Process { pid, start, handle });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Descriptors that are readable when one has ended.
    pub(super) fn handles(&self) -> impl Iterator<Item = RawFd> {
        self.0.iter().filter_map(|process| process.handle.as_ref().map(AsRawFd::as_raw_fd))
    }

    /// Whether the end of one shows at no descriptor.
    pub(super) fn has_unseen(&self) -> bool {
        self.0.iter().any(|process| process.handle.is_none())
    }

    /// Takes those out that have ended: their starts, with the status of each. Children that the application has started
    /// are its own to wait for.
    pub(super) fn ended(&mut self) -> Vec<(u32, i32)> {
        let mut ended = Vec::new();
        self.0.retain(|process| {
            let mut status = 0;
            // SAFETY: the status is writable.
            let result = unsafe { libc::waitpid(process.pid, &raw mut status, libc::WNOHANG) };
            if result != 0 {
                // Somebody else has waited for it (-1): how it ended cannot be known.
                ended.push((process.start, if result > 0 { status } else { 0 }));
            }
            result == 0
        });
        ended
    }

    /// Sends a signal to the process of this start.
    pub(super) fn signal_one(&self, start: u32, signal: i32) {
        if let Some(process) = self.0.iter().find(|process| process.start == start) {
            // SAFETY: a child that was not waited for.
            unsafe { libc::kill(process.pid, signal) };
        }
    }

    /// Passes a signal on to all.
    pub(super) fn signal(&self, signal: i32) {
        for process in &self.0 {
            // SAFETY: a child that was not waited for.
            unsafe { libc::kill(process.pid, signal) };
        }
    }

    /// Waits until all have ended, or the time is up. Returns what [`Processes::ended`] does.
    pub(super) fn wait(&mut self, patience: Duration) -> Vec<(u32, i32)> {
        const STEP: Duration = Duration::from_millis(20);
        let end = Instant::now() + patience;
        let mut all = self.ended();
        while !self.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut entries: Vec<libc::pollfd> =
                self.handles().map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
            let step = if self.has_unseen() { left.min(STEP) } else { left };
            let milliseconds = i32::try_from(step.as_millis() + 1).unwrap_or(i32::MAX);
            // SAFETY: as many entries as it says.
            unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, milliseconds) };
            all.extend(self.ended());
        }
        all
    }
}
