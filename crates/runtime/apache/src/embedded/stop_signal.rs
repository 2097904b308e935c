//! The end of a prefork child whose only thread is inside Python.
//!
//! Apache ends such a child in its handler of SIGTERM and SIGHUP: the handler destroys the child's pool, and that ends
//! Python. On a thread that is inside Python at that moment, the end would wait for a lock that this very thread holds. So
//! our handler stands before Apache's. While the thread is in the engine it only notes the signal; Apache's handler runs
//! when the request leaves the engine. A helper thread sees to it that this is soon: it interrupts the application, and
//! ends Python itself if the application does not react.
//!
//! The multi-processing modules with threads end their children outside of signal handlers and need nothing of this.

use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use wsgi_protocol::abi::EngineTable;

use crate::guard::wall;
use crate::host::{Target, log, mpm};

/// The signals that Apache ends a child with.
const SIGNALS: [i32; 2] = [libc::SIGTERM, libc::SIGHUP];

/// How long a request may go on after the signal before it is interrupted, and how long it may take to leave after that.
/// Apache kills a child ten seconds after the signal.
const UNTIL_INTERRUPT: Duration = Duration::from_millis(100);
const UNTIL_FORCED: Duration = Duration::from_millis(150);

/// Who carries out the end.
mod stage {
    /// Nothing was asked for, or the thread is not in the engine and Apache's handler runs at once.
    pub(super) const NONE: u32 = 0;
    /// The end waits for the request to leave the engine.
    pub(super) const NOTED: u32 = 1;
    /// The request has left: its thread carries out the end.
    pub(super) const LEFT: u32 = 2;
    /// The request did not leave in time: the helper thread ends Python.
    pub(super) const FORCED: u32 = 3;
    /// The helper thread has ended Python: Apache's handler may run wherever the thread is.
    pub(super) const ENDED: u32 = 4;
}

// A signal handler can reach nothing but statics.
static STAGE: AtomicU32 = AtomicU32::new(stage::NONE);
/// Calls of the engine that the thread is in; they nest where a filter makes requests of its own.
static DEPTH: AtomicU32 = AtomicU32::new(0);
/// The signal that was noted.
static NOTED: AtomicI32 = AtomicI32::new(0);
/// This process, 0 where nothing is installed. Processes that the application forks differ.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// The thread that serves.
static THREAD: AtomicUsize = AtomicUsize::new(0);
/// Wakes the helper thread.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// Apache's handlers, in the order of [`SIGNALS`].
static THEIRS: [AtomicUsize; SIGNALS.len()] = [const { AtomicUsize::new(0) }; SIGNALS.len()];

extern "C" fn caught(signal: i32) {
    // SAFETY: errno is this thread's; getpid, pthread_self, pthread_kill, signal, kill and write may be used in a handler.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        if libc::getpid() != OWNER.load(Ordering::Relaxed) {
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
        } else if libc::pthread_self() as usize != THREAD.load(Ordering::Relaxed) {
            libc::pthread_kill(THREAD.load(Ordering::Relaxed) as libc::pthread_t, signal);
        } else if DEPTH.load(Ordering::SeqCst) == 0 || STAGE.load(Ordering::SeqCst) == stage::ENDED {
            pass_on(signal);
        } else if STAGE.load(Ordering::SeqCst) == stage::NONE {
            NOTED.store(signal, Ordering::SeqCst);
            STAGE.store(stage::NOTED, Ordering::SeqCst);
            let one = 1u64;
            libc::write(BELL.load(Ordering::Relaxed), (&raw const one).cast(), size_of::<u64>());
        }
        *errno = saved;
    }
}

/// Runs Apache's handler, which ends the process; with one process for all (`httpd -X`) it may return.
fn pass_on(signal: i32) {
    let place = SIGNALS.iter().position(|own| *own == signal);
    let theirs = place.map_or(0, |place| THEIRS[place].load(Ordering::Relaxed));
    if theirs != 0 {
        // SAFETY: a handler without further arguments, as `install` saw; it stays in Apache's MPM module.
        let theirs = unsafe { std::mem::transmute::<usize, extern "C" fn(i32)>(theirs) };
        theirs(signal);
    }
}

/// Stands before Apache's handlers from now on. On the thread that serves, once Python has started.
pub(super) fn install(table: &'static EngineTable) {
    if mpm::is_threaded() {
        return;
    }
    // SAFETY: plain calls; a zeroed sigaction is valid, and the handler does only what a handler may.
    unsafe {
        let bell = libc::eventfd(0, libc::EFD_CLOEXEC);
        if bell < 0 {
            warn(&std::io::Error::last_os_error());
            return;
        }
        let bell = OwnedFd::from_raw_fd(bell);
        BELL.store(std::os::fd::AsRawFd::as_raw_fd(&bell), Ordering::Relaxed);
        THREAD.store(libc::pthread_self() as usize, Ordering::Relaxed);
        if let Err(error) = start_helper(table, bell) {
            warn(&error);
            return;
        }
        OWNER.store(libc::getpid(), Ordering::Relaxed);
        for (signal, theirs) in SIGNALS.into_iter().zip(&THEIRS) {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) != 0
                || action.sa_flags & libc::SA_SIGINFO != 0
                || [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
            {
                continue;
            }
            theirs.store(action.sa_sigaction, Ordering::Relaxed);
            action.sa_sigaction = caught as *const () as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

fn warn(error: &std::io::Error) {
    log::info(
        Target::Process,
        format_args!("A stop while an application is busy takes until Apache kills the process: {error}."),
    );
}

/// Starts the helper thread. It blocks all signals, as the thread that serves is to get them.
fn start_helper(table: &'static EngineTable, bell: OwnedFd) -> std::io::Result<()> {
    let mut bell = File::from(bell);
    let thread = std::thread::Builder::new().name("wsgi:stop".to_owned());
    // SAFETY: zeroed sets are valid; plain calls.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
        let mut present = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut present);
        let started = thread.spawn(move || {
            let mut count = [0; size_of::<u64>()];
            while bell.read_exact(&mut count).is_err() {}
            wall("the stop of a busy process", (), || force(table));
        });
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const present, std::ptr::null_mut());
        started.map(drop)
    }
}

/// Gets the request out of the engine, or ends Python without it. The process may end at any time meanwhile.
fn force(table: &'static EngineTable) {
    std::thread::sleep(UNTIL_INTERRUPT);
    if STAGE.load(Ordering::SeqCst) != stage::NOTED {
        return;
    }
    // SAFETY: the engine was started. It waits for Python's lock, as long as C code of the application keeps it.
    unsafe { (table.interrupt)() };
    std::thread::sleep(UNTIL_FORCED);
    if STAGE.compare_exchange(stage::NOTED, stage::FORCED, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return;
    }
    // SAFETY: as above; who stops the engine after this finds it stopped.
    unsafe { (table.stop)() };
    STAGE.store(stage::ENDED, Ordering::SeqCst);
    // SAFETY: the thread lives as long as the process.
    unsafe { libc::pthread_kill(THREAD.load(Ordering::Relaxed) as libc::pthread_t, NOTED.load(Ordering::SeqCst)) };
}

/// The thread is in the engine while this lives.
pub(super) struct Inside(bool);

impl Inside {
    pub(super) fn enter() -> Self {
        let installed = OWNER.load(Ordering::Relaxed) != 0;
        if installed {
            DEPTH.fetch_add(1, Ordering::SeqCst);
        }
        Self(installed)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.0 && DEPTH.fetch_sub(1, Ordering::SeqCst) == 1 && STAGE.load(Ordering::SeqCst) != stage::NONE {
            end();
        }
    }
}

/// Carries out the end that was noted.
#[cold]
fn end() {
    if STAGE.compare_exchange(stage::NOTED, stage::LEFT, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        pass_on(NOTED.load(Ordering::SeqCst));
        return;
    }
    // The helper thread is ending Python. Its signal ends the process.
    while STAGE.load(Ordering::SeqCst) == stage::FORCED {
        std::thread::sleep(Duration::from_millis(5));
    }
}
