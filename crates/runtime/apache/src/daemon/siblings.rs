//! Forks of the server's parent process that are not ours: Apache's children, and helper processes of other modules that
//! execute no program (mod_cgid). Each inherits a copy of every descriptor. As long as one of them holds a control pipe,
//! the daemons do not see the end of the server; as long as it holds a listener, clients wait at a socket that nobody
//! serves. So each such fork closes them, before anything else happens in it.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, Once, TryLockError};

use super::frozen::Kept;
use super::retained::{self, Left, Saved, SavedGroup};

/// A descriptor of the server, and the device and number of what it stands for: the number alone may be in use for
/// something else by now.
struct Known {
    descriptor: RawFd,
    file: (u64, u64),
}

/// What the parent process holds for its daemons.
static HELD: Mutex<Vec<Known>> = Mutex::new(Vec::new());
/// The process that holds it.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// The fork under way is one of ours, which knows what it keeps.
static OWN: AtomicBool = AtomicBool::new(false);

type Handler = Option<extern "C" fn()>;

unsafe extern "C" {
    /// The C library forgets the handlers of a module that is unloaded.
    fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> std::ffi::c_int;
}

/// Device and number of what a descriptor stands for; `None`: it is not open.
fn file_of(descriptor: RawFd) -> Option<(u64, u64)> {
    // SAFETY: a zeroed structure is valid, and writable.
    unsafe {
        let mut data: libc::stat = std::mem::zeroed();
        (libc::fstat(descriptor, &raw mut data) == 0).then_some((data.st_dev, data.st_ino))
    }
}

fn own_pid() -> i32 {
    // SAFETY: cannot fail.
    unsafe { libc::getpid() }
}

/// From now on forks give up what the server holds. Called when the module is loaded: other modules may fork before
/// this generation takes over what the one before left.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    // SAFETY: the handler does nothing but close descriptors. Without memory for it, forks keep what they inherit.
    WATCHED.call_once(|| unsafe {
        pthread_atfork(None, None, Some(in_child));
    });
    match retained::load() {
        Left::Ours(saved) => hold(&saved),
        Left::Other(Some(kept)) => note(of_other_version(&kept)),
        Left::Nothing | Left::Other(None) => {}
    }
}

/// Notes what the server holds now.
pub(super) fn hold(saved: &Saved) {
    note(descriptors(saved));
}

fn note(descriptors: Vec<RawFd>) {
    let known = descriptors.into_iter().filter(|descriptor| *descriptor >= 0);
    let known = known.filter_map(|descriptor| Some(Known { descriptor, file: file_of(descriptor)? })).collect();
    if let Ok(mut held) = HELD.lock() {
        *held = known;
        OWNER.store(own_pid(), Ordering::Relaxed);
    }
}

/// Runs a fork of our own, which keeps what it needs.
pub(super) fn of_our_own<R>(fork: impl FnOnce() -> R) -> R {
    OWN.store(true, Ordering::Relaxed);
    let result = fork();
    OWN.store(false, Ordering::Relaxed);
    result
}

extern "C" fn in_child() {
    // SAFETY: cannot fail.
    let parent = unsafe { libc::getppid() };
    // A program that an Apache child forks has nothing of the server's, but perhaps something else under these numbers.
    if !OWN.load(Ordering::Relaxed) && parent == OWNER.load(Ordering::Relaxed) {
        give_up();
    }
}

/// Closes what this fork of the server has inherited and not given up yet.
pub(super) fn give_up() {
    let mut held = match HELD.try_lock() {
        Ok(held) => held,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // Another thread of the parent had it. There is none.
        Err(TryLockError::WouldBlock) => return,
    };
    for Known { descriptor, file } in held.drain(..) {
        if file_of(descriptor) == Some(file) {
            // SAFETY: this process's copy, which nothing in it uses.
            unsafe { libc::close(descriptor) };
        }
    }
}

/// All descriptors of a state.
fn descriptors(saved: &Saved) -> Vec<RawFd> {
    let of_group = |group: &SavedGroup| {
        let listeners = group.slots.iter().map(|slot| &slot.listener).chain(&group.overflow);
        let mut all: Vec<RawFd> =
            listeners.filter(|listener| !listener.path.is_empty()).map(|listener| listener.descriptor).collect();
        all.extend([group.page, group.log.0, group.log.1, group.output.0, group.output.1]);
        all.extend(group.processes().flat_map(|process| [process.control, process.scripts]));
        all.extend(group.loaders.iter().map(|loader| loader.socket));
        all
    };
    let mut all: Vec<RawFd> = saved.groups.iter().flat_map(of_group).collect();
    all.extend(saved.writer.map(|writer| writer.control));
    if let Some(bell) = saved.bell {
        all.extend([bell.pipe.0, bell.pipe.1]);
        all.extend(bell.process.map(|process| process.control));
    }
    all.extend(saved.strangers.iter().flat_map(|stranger| of_other_version(&stranger.kept)));
    all
}

/// All descriptors of what another version of the module has started.
fn of_other_version(kept: &Kept) -> Vec<RawFd> {
    let processes = kept.groups.iter().flat_map(|group| group.processes.iter().chain(&group.loaders));
    let controls = processes.chain(&kept.helpers).map(|process| process.control);
    let others = kept.groups.iter().flat_map(|group| &group.descriptors).chain(&kept.descriptors);
    controls.chain(others.copied()).collect()
}
