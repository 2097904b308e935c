//! Whether this is the daemon's own process, or one that the application has forked (multiprocessing), and what such a
//! process must not keep.
//!
//! It has copies of everything, the connection of the request included. What it wrote there would end up in the middle of
//! the daemon's own frames; and as long as it holds a connection, a listener or a pipe, nobody at the other end sees that
//! the daemon has died. So each of these is a [`Held`], and the forked process puts `/dev/null` in its place: the number
//! stays taken, whatever is still done with it there.

use std::cell::UnsafeCell;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// How many numbers are known: as many as a process may have open unless the machine says otherwise (`fs.nr_open`).
const NUMBERS: usize = 1 << 20;

const BITS: usize = u64::BITS as usize;

// A fork handler can reach nothing but statics, and may neither allocate nor wait.
static FORKED: AtomicBool = AtomicBool::new(false);
/// One bit for each number that a forked process gives up. Pages of it that nobody writes to take no memory.
static HELD: [AtomicU64; NUMBERS / BITS] = [const { AtomicU64::new(0) }; NUMBERS / BITS];
/// The highest word of [`HELD`] that was ever written to.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);
static NULL: AtomicI32 = AtomicI32::new(-1);
/// The thread that forks on behalf of the daemon itself, 0 for none. It has the same value in the new process.
static FORKER: AtomicUsize = AtomicUsize::new(0);
static LOCK: Lock = Lock(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

/// Taken around each change of [`HELD`] together with the descriptor itself, and around each fork: a forked process
/// finds a number noted exactly when it is what was noted. A lock of the C library, as one of Rust's cannot be released
/// by a fork handler.
struct Lock(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is made to be used by all threads.
unsafe impl Sync for Lock {}

/// Releases the lock when it is dropped.
struct Locked;

impl Lock {
    fn lock(&self) -> Locked {
        self.seize();
        Locked
    }

    fn seize(&self) {
        // SAFETY: initialised and never moved; nobody takes it twice, as nothing that is done under it forks or locks.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
    }

    fn release(&self) {
        // SAFETY: taken by this thread, or in a forked process by the one that this one is the copy of.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        LOCK.release();
    }
}

extern "C" fn before() {
    LOCK.seize();
}

extern "C" fn in_parent() {
    LOCK.release();
}

extern "C" fn in_child() {
    if FORKER.load(Ordering::Relaxed) != this_thread() && !FORKED.swap(true, Ordering::Relaxed) {
        give_up();
    }
    LOCK.release();
}

/// Puts `/dev/null` in the place of all that is held, and forgets it: what the process opens under a number that it has
/// closed itself is not to be taken from those that it forks.
fn give_up() {
    let null = NULL.load(Ordering::Relaxed);
    for (index, word) in HELD.iter().enumerate().take(HIGHEST.load(Ordering::Relaxed) + 1) {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let number = RawFd::try_from(index * BITS + bits.trailing_zeros() as usize).unwrap_or(-1);
            // SAFETY: no pointers; a program that the process executes has neither.
            while unsafe { libc::dup3(null, number, libc::O_CLOEXEC) } < 0 && interrupted() {}
            bits &= bits - 1;
        }
    }
}

fn interrupted() -> bool {
    // SAFETY: errno is this thread's.
    unsafe { *libc::__errno_location() == libc::EINTR }
}

fn this_thread() -> usize {
    // SAFETY: cannot fail.
    unsafe { libc::pthread_self() as usize }
}

/// From now on forks are noticed. Once, by the starting thread, before it changes its root.
///
/// # Errors
/// Without `/dev/null`.
pub(super) fn notice() -> io::Result<()> {
    NULL.store(File::options().read(true).write(true).open("/dev/null")?.into_raw_fd(), Ordering::Relaxed);
    // SAFETY: the handlers do nothing but what is allowed between fork and exec. Without memory for them forks go
    // unnoticed.
    unsafe { pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    Ok(())
}

/// Forks a process that is one of the daemon's own, and keeps everything.
///
/// # Safety
/// As for `fork`.
pub(super) unsafe fn fork() -> libc::pid_t {
    FORKER.store(this_thread(), Ordering::Relaxed);
    // SAFETY: the caller's.
    let forked = unsafe { libc::fork() };
    FORKER.store(0, Ordering::Relaxed);
    forked
}

/// Whether the application has forked this process.
pub(super) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Ends a process that the application has forked and that returned from it: what follows is its parent's.
pub(super) fn end_if_forked() {
    if is_forked() {
        // SAFETY: nothing of the daemon may run in this process any more.
        unsafe { libc::_exit(0) };
    }
}

/// A descriptor that a process which the application forks does not keep.
pub(super) struct Held<T: AsRawFd>(ManuallyDrop<T>);

impl<T: AsRawFd> Held<T> {
    /// Holds what nobody could have forked with.
    pub(super) fn new(descriptor: T) -> Self {
        let _locked = LOCK.lock();
        Self::noted(descriptor)
    }

    /// Holds what `open` makes, from its first moment. It must not wait: forks do, meanwhile.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn open(open: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        let _locked = LOCK.lock();
        open().map(Self::noted)
    }

    /// As [`Held::open`], for several.
    pub(super) fn open_all<R>(open: impl FnOnce() -> io::Result<(R, Vec<T>)>) -> io::Result<(R, Vec<Self>)> {
        let _locked = LOCK.lock();
        open().map(|(result, all)| (result, all.into_iter().map(Self::noted).collect()))
    }

    /// With the lock.
    fn noted(descriptor: T) -> Self {
        if let Some((index, bit)) = place(descriptor.as_raw_fd()) {
            HELD[index].fetch_or(bit, Ordering::Relaxed);
            HIGHEST.fetch_max(index, Ordering::Relaxed);
        }
        Self(ManuallyDrop::new(descriptor))
    }

    fn forget(number: RawFd) {
        if let Some((index, bit)) = place(number) {
            HELD[index].fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// The descriptor itself, which forked processes keep from now on.
    pub(super) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        let _locked = LOCK.lock();
        Self::forget(this.0.as_raw_fd());
        // SAFETY: taken once, as `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl Held<OwnedFd> {
    /// Another descriptor of the same.
    pub(super) fn again(&self) -> io::Result<Self> {
        Self::open(|| self.try_clone())
    }

    /// The same as a listening socket.
    pub(super) fn into_listener(self) -> Held<UnixListener> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, as `this` is not dropped.
        Held(ManuallyDrop::new(unsafe { ManuallyDrop::take(&mut this.0) }.into()))
    }
}

impl<T: AsRawFd> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsRawFd> Drop for Held<T> {
    fn drop(&mut self) {
        // There the number may be anything by now, if the application closes what it does not know.
        if is_forked() {
            return;
        }
        let _locked = LOCK.lock();
        Self::forget(self.0.as_raw_fd());
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

/// The word and the bit of a number.
fn place(number: RawFd) -> Option<(usize, u64)> {
    let number = usize::try_from(number).ok().filter(|number| *number < NUMBERS)?;
    Some((number / BITS, 1 << (number % BITS)))
}

type Handler = Option<extern "C" fn()>;

unsafe extern "C" {
    fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> std::ffi::c_int;
}
