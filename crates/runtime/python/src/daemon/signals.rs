//! The signals that a daemon process reacts to.
//!
//! They are caught, not blocked: a blocked signal would stay blocked in every program that the application starts. The
//! handler only notes the signal and wakes the monitor. In a process that the application forked (multiprocessing) it
//! restores the default action instead, so that such a process can be ended and does not end the daemon.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::fork;
use super::poller::{self, Wakeup};

/// Handled by the timers; SIGQUIT has stacks logged.
const OWN: [i32; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGXCPU, libc::SIGQUIT];

/// Passed on to applications that subscribe to signals.
const PASSED_ON: [(i32, &str); 2] = [(libc::SIGHUP, "SIGHUP"), (libc::SIGUSR2, "SIGUSR2")];

// A handler can reach nothing but statics.
static CAUGHT: AtomicU64 = AtomicU64::new(0);
static WAKEUP: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);

extern "C" fn caught(signal: i32) {
    // SAFETY: errno is this thread's; getpid, signal, kill and write may be used in a handler.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        if libc::getpid() == OWNER.load(Ordering::Relaxed) {
            CAUGHT.fetch_or(1 << signal, Ordering::Relaxed);
            poller::wake(WAKEUP.load(Ordering::Relaxed));
        } else {
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
        }
        *errno = saved;
    }
}

/// Catches the signals; each of them wakes `wakeup`, which has to live as long as the process.
pub(super) fn install(wakeup: &'static Wakeup) {
    CAUGHT.store(0, Ordering::Relaxed);
    // SAFETY: getpid cannot fail.
    OWNER.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    WAKEUP.store(wakeup.as_fd().as_raw_fd(), Ordering::Relaxed);
    for signal in OWN.into_iter().chain(PASSED_ON.map(|(signal, _)| signal)) {
        // SAFETY: a zeroed sigaction is valid; the handler does only what a handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = caught as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Those of the signals handled by the timers that somebody else handles now, for example C code by `sigaction`.
pub(super) fn taken_over() -> impl Iterator<Item = (i32, &'static str)> {
    let names = OWN.into_iter().zip(["SIGTERM", "SIGINT", "SIGUSR1", "SIGXCPU", "SIGQUIT"]);
    names.filter(|(signal, _)| {
        // SAFETY: a zeroed sigaction is valid, and nothing but the action is asked for.
        let action = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(*signal, std::ptr::null(), &raw mut action);
            action.sa_sigaction
        };
        action != caught as *const () as usize
    })
}

/// Lets SIGTERM and SIGINT end the process, as they do without [`install`].
pub(super) fn let_end() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: no handler is involved.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The exit status of a new process that has no descriptor for its signals (`EX_OSERR`).
const NO_WAKEUP: i32 = 71;

/// What became of a fork.
pub(super) enum Forked {
    /// In the process that forked: the new one's number.
    Parent(libc::pid_t),
    /// In the new one, which catches signals for this.
    Child(&'static Wakeup),
}

/// Forks. A signal that the new process gets before it has noted who it is waits until it has: the handler would take
/// it for one that the application forked.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: zeroed sets are valid; plain calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut present: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut present);
        let forked = match fork::fork() {
            0 => {
                // Without it the process could not be ended in order, and it must not go on as the one that forked.
                let Ok(wakeup) = Wakeup::new() else { libc::_exit(NO_WAKEUP) };
                let wakeup: &'static Wakeup = Box::leak(Box::new(wakeup));
                install(wakeup);
                Ok(Forked::Child(wakeup))
            }
            pid if pid < 0 => Err(io::Error::last_os_error()),
            pid => Ok(Forked::Parent(pid)),
        };
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const present, std::ptr::null_mut());
        forked
    }
}

/// A pipe whose reader has gone is an error of the write, not the process's end.
pub(super) fn ignore_broken_pipes() {
    // SAFETY: no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

extern "C" fn nothing(_: i32) {}

/// In a service process: the signals that applications may hear of do nothing unless its script says otherwise. Caught,
/// so that programs that it starts have the default.
pub(super) fn disregard() {
    for (signal, _) in PASSED_ON {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(signal, nothing as *const () as libc::sighandler_t) };
    }
}

/// The signals caught since the last call.
pub(super) struct Caught(u64);

/// Takes what was caught.
pub(super) fn take() -> Caught {
    Caught(CAUGHT.swap(0, Ordering::Relaxed))
}

/// What [`take`] would return, left where it is.
pub(super) fn look() -> Caught {
    Caught(CAUGHT.load(Ordering::Relaxed))
}

impl Caught {
    /// Whether this signal came.
    pub(super) fn has(&self, signal: i32) -> bool {
        self.0 & (1 << signal) != 0
    }

    /// Those that applications may hear of.
    pub(super) fn passed_on(&self) -> impl Iterator<Item = (i32, &'static str)> + '_ {
        PASSED_ON.into_iter().filter(|(signal, _)| self.has(*signal))
    }
}
