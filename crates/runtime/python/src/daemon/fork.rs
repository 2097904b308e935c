//! Whether this is the daemon's own process, or one that the application has forked (multiprocessing).
//!
//! Such a process has copies of everything, the connection of the request included. What it wrote there would end up in
//! the middle of the daemon's own frames.

use std::sync::atomic::{AtomicBool, Ordering};

// A fork handler can reach nothing but statics.
static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// From now on forks are noticed. Once, by the starting thread.
pub(super) fn notice() {
    // SAFETY: the handler does nothing but a store. Without memory for it forks go unnoticed.
    unsafe { pthread_atfork(None, None, Some(in_child)) };
}

/// Whether the application has forked this process.
pub(super) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

type Handler = Option<extern "C" fn()>;

unsafe extern "C" {
    fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> std::ffi::c_int;
}
