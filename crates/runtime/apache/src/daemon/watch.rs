//! Apache's notices about child processes that are not its own (`apr_proc_other_child_register`).

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::death::Death;
use crate::guard::wall;
use crate::host::Pool;
use crate::sys;

/// What is told of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The server is being stopped, and the process runs.
    ServerStops,
    /// It has ended, with a number that is its exit status, its signal or `waitpid`'s status.
    Ended(i32),
}

/// A watched process.
pub(crate) struct Watched {
    pub(crate) pid: i32,
    handle: Option<OwnedFd>,
}

impl Watched {
    /// A descriptor for the process, also after its end.
    pub(crate) fn handle(&self) -> Option<RawFd> {
        self.handle.as_ref().map(AsRawFd::as_raw_fd)
    }
}

type Listener = Box<dyn Fn(&Watched, Reason)>;

/// What Apache keeps a pointer to, from the registration to its end.
struct Registration {
    process: sys::apr_proc_t,
    watched: Watched,
    listener: Listener,
}

/// A descriptor that stands for a process.
fn handle(pid: i32) -> Option<OwnedFd> {
    // SAFETY: the descriptor is fresh.
    unsafe {
        let descriptor = RawFd::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).ok()?;
        (descriptor >= 0).then(|| OwnedFd::from_raw_fd(descriptor))
    }
}

/// Has `listener` told of a child process. The registration ends with the process or with the pool.
pub(crate) fn register(pool: Pool<'static>, pid: i32, listener: Listener) {
    // SAFETY: a zeroed record is valid; only the pid is used.
    let mut process: sys::apr_proc_t = unsafe { std::mem::zeroed() };
    process.pid = pid;
    let registration =
        Box::into_raw(Box::new(Registration { process, watched: Watched { pid, handle: handle(pid) }, listener }));
    // SAFETY: the record lives until `notice` hears that Apache forgets it.
    unsafe {
        let process = &raw mut (*registration).process;
        sys::apr_proc_other_child_register(
            process,
            Some(notice),
            registration.cast(),
            std::ptr::null_mut(),
            pool.raw(),
        );
    }
}

unsafe extern "C" fn notice(reason: c_int, data: *mut c_void, status: c_int) {
    const DEATH: c_int = sys::APR_OC_REASON_DEATH.cast_signed();
    const LOST: c_int = sys::APR_OC_REASON_LOST.cast_signed();
    const RESTART: c_int = sys::APR_OC_REASON_RESTART.cast_signed();
    const UNREGISTER: c_int = sys::APR_OC_REASON_UNREGISTER.cast_signed();
    wall("the supervision of daemon processes", (), || {
        let registration = data.cast::<Registration>();
        match reason {
            // SAFETY: Apache uses the record no more, and this is told once.
            UNREGISTER => drop(unsafe { Box::from_raw(registration) }),
            DEATH | LOST => {
                // SAFETY: the record is alive. Unregistering calls back with UNREGISTER, which ends its life, so what
                // is needed of it afterwards is taken out before.
                let (watched, listener) = unsafe {
                    let watched =
                        Watched { pid: (*registration).watched.pid, handle: (*registration).watched.handle.take() };
                    let nobody: Listener = Box::new(|_, _| ());
                    let listener = std::mem::replace(&mut (*registration).listener, nobody);
                    sys::apr_proc_other_child_unregister(data);
                    (watched, listener)
                };
                listener(&watched, Reason::Ended(status));
            }
            RESTART if server_shuts_down() => {
                // SAFETY: the record is alive.
                let registration = unsafe { &*registration };
                (registration.listener)(&registration.watched, Reason::ServerStops);
            }
            // A restart: everything goes on.
            _ => {}
        }
    });
}

/// Whether the server is being stopped, not restarted.
pub(crate) fn server_shuts_down() -> bool {
    // SAFETY: the MPM's record lives until the server ends.
    unsafe {
        let state = sys::ap_unixd_mpm_get_retained_data();
        !state.is_null() && (*state).shutdown_pending != 0
    }
}

/// What is called when a child of the server ends: nothing happens in it. It is a function of the C library, because
/// the module's own code goes away between two generations while signals do not.
fn no_reaction() -> libc::sighandler_t {
    unsafe extern "C" {
        fn abs(number: c_int) -> c_int;
    }
    abs as *const () as libc::sighandler_t
}

fn on_death_of_children(action: libc::sighandler_t) {
    // SAFETY: a zeroed action is valid; `abs` touches nothing, so it may run at any moment. Waiting with a time limit is
    // never restarted, everything else is.
    unsafe {
        let mut wanted: libc::sigaction = std::mem::zeroed();
        wanted.sa_sigaction = action;
        wanted.sa_flags = libc::SA_NOCLDSTOP | libc::SA_RESTART;
        libc::sigemptyset(&raw mut wanted.sa_mask);
        libc::sigaction(libc::SIGCHLD, &raw const wanted, std::ptr::null_mut());
    }
}

/// Has the server's process look for ended children when one ends. Otherwise it sleeps for a second between two looks: a
/// signal that has a handler cuts that short.
pub(crate) fn hear_of_deaths_at_once() {
    on_death_of_children(no_reaction());
}

/// In an Apache child: its own children (CGI programs) shall interrupt nothing.
pub(crate) fn hear_nothing() {
    on_death_of_children(libc::SIG_DFL);
}

/// Asks a child process to end.
pub(crate) fn ask_to_end(pid: i32) {
    // SAFETY: a child that was not waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Ends a child process at once.
pub(crate) fn force(pid: i32) {
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// How a process ended that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) pid: i32,
    pub(crate) death: Death,
    /// It was killed because it did not end in time.
    pub(crate) forced: bool,
}

/// Waits for child processes that were asked to end, and forces those that are left. Returns how they ended, as far as
/// nobody else has waited for them.
pub(crate) fn wait_for_all(processes: &[i32], patience: Duration) -> Vec<End> {
    let until = Instant::now() + patience;
    let end = |pid: i32| match wait_for(pid, until.saturating_duration_since(Instant::now())) {
        Waited::Ended(death) => death.map(|death| End { pid, death, forced: false }),
        Waited::Runs => {
            force(pid);
            let mut status = 0;
            // SAFETY: writes one number.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            (waited == pid).then(|| End { pid, death: Death::of_wait_status(status), forced: true })
        }
    };
    processes.iter().filter_map(|pid| end(*pid)).collect()
}

/// What became of a process that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It still runs.
    Runs,
    /// It has ended; `None`: somebody else has its status.
    Ended(Option<Death>),
}

/// Waits for the end of a child process and takes its status.
pub(crate) fn wait_for(pid: i32, patience: Duration) -> Waited {
    let end = Instant::now() + patience;
    let handle = handle(pid);
    loop {
        let mut status = 0;
        // SAFETY: writes one number. A process that is no child any more has ended.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
        if waited != 0 {
            return Waited::Ended((waited == pid).then(|| Death::of_wait_status(status)));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Waited::Runs;
        }
        // Without a handle (a kernel before 5.3) the only way is to look again and again.
        let step = if handle.is_some() { left } else { left.min(Duration::from_millis(20)) };
        let descriptor = handle.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        let milliseconds = c_int::try_from(step.as_millis() + 1).unwrap_or(c_int::MAX);
        // SAFETY: one entry.
        unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
    }
}
