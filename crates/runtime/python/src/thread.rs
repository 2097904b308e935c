//! Taking and giving back the GIL: one cached thread state per (thread, interpreter).
//!
//! The GILState API is not used: it looks its state up and makes a new one per outermost call, which cost 38 % of the
//! throughput, and it knows the main interpreter only.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::{Python, ffi};

use crate::interpreter::Interpreter;
use crate::metrics::Account;
use crate::wsgi::adapter::Outgoing;

/// A thread state. Used by the thread it was made for, or by the one that ends its interpreter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) *mut ffi::PyThreadState);

// SAFETY: only a pointer; `enter` and the interpreter's end keep to the rule above.
unsafe impl Send for State {}
// SAFETY: as above.
unsafe impl Sync for State {}

/// Gives the GIL back when dropped, also while a panic unwinds.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        // SAFETY: made by `enter` only, which has attached this thread.
        unsafe { ffi::PyEval_SaveThread() };
    }
}

/// Takes the GIL again when dropped, also while a panic unwinds.
struct Return(*mut ffi::PyThreadState);

impl Drop for Return {
    fn drop(&mut self) {
        // SAFETY: the state that `detached` took off this thread.
        unsafe { ffi::PyEval_RestoreThread(self.0) };
    }
}

/// Runs `work` attached to the interpreter of `state`.
///
/// # Safety
/// `state` is alive, this thread's to use, and the thread is not attached.
pub(crate) unsafe fn enter<R>(state: State, work: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
    gilstate::bind(state);
    // SAFETY: promised by the caller.
    unsafe { ffi::PyEval_RestoreThread(state.0) };
    let _leave = Leave;
    // SAFETY: attached until `_leave` is dropped; the token cannot leave `work`.
    work(unsafe { Python::assume_attached() })
}

/// Runs `work` without the GIL.
pub(crate) fn detached<R>(_py: Python<'_>, work: impl FnOnce() -> R) -> R {
    // SAFETY: attached, which the token shows.
    let _return = Return(unsafe { ffi::PyEval_SaveThread() });
    work()
}

/// `threading.get_ident()` of the calling thread.
pub(crate) fn own_ident() -> u64 {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as u64 }
}

/// What the engine knows of a serving thread, shared with the threads that watch it.
pub(crate) struct Record {
    /// `mod_wsgi.thread_id`; 0 until the thread serves.
    number: AtomicU32,
    /// See [`Record::ident`].
    ident: AtomicU64,
    /// The index of the interpreter whose application runs, plus one. Written with that interpreter's GIL held.
    pub(crate) serving: AtomicUsize,
    /// `RequestTimeout` was sent to the thread. Written with that interpreter's GIL held.
    pub(crate) interrupted: AtomicBool,
    /// The thread is inside the engine and may attach.
    pub(crate) busy: AtomicBool,
    /// Held where `serving` and `interrupted` have to agree, on a Python without a GIL.
    #[cfg(Py_GIL_DISABLED)]
    turn: Mutex<()>,
    /// Requests it has begun.
    pub(crate) requests: AtomicU64,
    /// What was recorded of them.
    pub(crate) account: Mutex<Account>,
    /// Its thread states by interpreter.
    states: Mutex<Vec<(usize, State)>>,
}

impl Record {
    pub(crate) fn new(number: u32) -> Arc<Self> {
        Arc::new(Self {
            number: AtomicU32::new(number),
            ident: AtomicU64::new(own_ident()),
            serving: AtomicUsize::new(0),
            interrupted: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            #[cfg(Py_GIL_DISABLED)]
            turn: Mutex::new(()),
            requests: AtomicU64::new(0),
            account: Mutex::default(),
            states: Mutex::new(Vec::new()),
        })
    }

    /// `threading.get_ident()`.
    pub(crate) fn ident(&self) -> u64 {
        self.ident.load(Ordering::Relaxed)
    }

    /// The thread that it stood for has ended: from now on it stands for the calling one.
    pub(crate) fn take_over(&self) {
        self.ident.store(own_ident(), Ordering::Relaxed);
    }

    /// `mod_wsgi.thread_id`.
    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Keeps [`Record::serving`] and [`Record::interrupted`] as they are to others while the result lives. With a GIL,
    /// which every caller holds, nothing is needed for it.
    pub(crate) fn steady(&self) -> Steady<'_> {
        Steady {
            #[cfg(Py_GIL_DISABLED)]
            _turn: self.turn.lock().unwrap_or_else(PoisonError::into_inner),
            _record: std::marker::PhantomData,
        }
    }

    /// Takes this thread's state in an interpreter away from it, for the interpreter's end.
    pub(crate) fn surrender(&self, index: usize) -> Option<State> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let position = states.iter().position(|(owner, _)| *owner == index)?;
        Some(states.swap_remove(position).1)
    }
}

/// See [`Record::steady`].
pub(crate) struct Steady<'a> {
    #[cfg(Py_GIL_DISABLED)]
    _turn: std::sync::MutexGuard<'a, ()>,
    _record: std::marker::PhantomData<&'a Record>,
}

/// One serving thread. Made on that thread and used there.
pub struct Worker {
    pub(crate) record: Arc<Record>,
    /// The states again, without a lock: the thread's own copy.
    states: Vec<(&'static Interpreter, State)>,
    /// Responses on their way out.
    pub(crate) outgoing: Outgoing,
    /// Thread states belong to the thread that made them.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Worker {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self { record, states: Vec::new(), outgoing: Outgoing::default(), _not_send: std::marker::PhantomData }
    }

    /// `mod_wsgi.thread_id`: the number that [`crate::engine::Engine::worker`] was given.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.record.number()
    }

    /// Gives the thread its number, when it begins to serve only now.
    pub(crate) fn renumber(&self, number: u32) {
        self.record.number.store(number, Ordering::Relaxed);
    }

    /// The interpreter with this application group, when the thread has served it before.
    pub(crate) fn known(&self, group: &[u8]) -> Option<&'static Interpreter> {
        self.states.iter().map(|(interpreter, _)| *interpreter).find(|interpreter| interpreter.group == group)
    }

    /// Its states in all interpreters, for its end; not that of the thread that started Python, which is the engine's.
    pub(crate) fn surrender(&mut self) -> Vec<State> {
        let record = &self.record;
        self.states.drain(..).filter_map(|(interpreter, _)| record.surrender(interpreter.index)).collect()
    }

    /// Gives the thread the state that it already has, as the thread that started Python.
    pub(crate) fn adopt(&mut self, interpreter: &'static Interpreter, state: State) {
        self.states.push((interpreter, state));
    }

    /// This thread's state in an interpreter, made on first use.
    pub(crate) fn state(&mut self, interpreter: &'static Interpreter) -> Option<State> {
        if let Some((_, state)) = self.states.iter().find(|(known, _)| std::ptr::eq(*known, interpreter)) {
            return Some(*state);
        }
        // SAFETY: the interpreter is alive while requests are served; this needs no GIL.
        let pointer = unsafe { ffi::PyThreadState_New(interpreter.raw()) };
        if pointer.is_null() {
            return None;
        }
        let state = State(pointer);
        self.states.push((interpreter, state));
        self.record.states.lock().unwrap_or_else(PoisonError::into_inner).push((interpreter.index, state));
        Some(state)
    }
}

/// Runs `work` attached to an interpreter with a thread state made for the occasion: for threads that watch, not serve.
pub(crate) fn visit<R>(interpreter: &Interpreter, work: impl for<'py> FnOnce(Python<'py>) -> R) -> Option<R> {
    // SAFETY: the interpreter is alive (callers stop before it ends); the state is this thread's own, cleared while
    // attached and deleted after.
    unsafe {
        let state = State(ffi::PyThreadState_New(interpreter.raw()));
        if state.0.is_null() {
            return None;
        }
        let result = enter(state, |py| {
            let result = work(py);
            ffi::PyThreadState_Clear(state.0);
            result
        });
        ffi::PyThreadState_Delete(state.0);
        Some(result)
    }
}

/// The GILState API of Python before 3.12 remembers, per thread, the first thread state ever made on it. C code that
/// takes the GIL through that API (callbacks of ctypes, of many database drivers) then waits for ever in any other
/// interpreter, because the remembered state is not the attached one. 3.12 and later remember the attached one.
#[cfg(Py_3_12)]
pub(crate) mod gilstate {
    use super::State;

    /// Nothing to find.
    pub(crate) fn discover() {}

    /// Python does it.
    pub(crate) fn bind(_state: State) {}

    /// Python does it.
    pub(crate) fn kept<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// See above. Here the engine does what 3.12 does: it writes the state that is being attached into the thread-local
/// slot, whose key is found by trying, once, on the thread that starts Python.
#[cfg(not(Py_3_12))]
pub(crate) mod gilstate {
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU32, Ordering};

    use pyo3::ffi;

    use super::State;

    /// No key has this number.
    const UNKNOWN: u32 = u32::MAX;

    /// Found anew in a forked process, where Python has made itself another one.
    static KEY: AtomicU32 = AtomicU32::new(UNKNOWN);

    fn key() -> Option<libc::pthread_key_t> {
        Some(KEY.load(Ordering::Relaxed)).filter(|key| *key != UNKNOWN)
    }

    unsafe extern "C" {
        fn pthread_getspecific(key: libc::pthread_key_t) -> *mut c_void;
    }

    /// Finds the key. Call right after Python was initialised, or the process was forked, attached, on the initialising
    /// thread.
    pub(crate) fn discover() {
        // SAFETY: reads and, for a moment, replaces thread-local pointers of this thread that nobody else looks at; a
        // key that does not exist gives null. The wrong key is put back at once.
        unsafe {
            let own = ffi::PyGILState_GetThisThreadState();
            let limit = libc::sysconf(libc::_SC_THREAD_KEYS_MAX).clamp(0, 1024);
            let limit = libc::pthread_key_t::try_from(limit).unwrap_or(0);
            if own.is_null() {
                return;
            }
            let mut mark = 0u8;
            let mark = (&raw mut mark).cast::<c_void>();
            for key in 0..limit {
                if pthread_getspecific(key) != own.cast::<c_void>() {
                    continue;
                }
                if libc::pthread_setspecific(key, mark) != 0 {
                    continue;
                }
                let found = ffi::PyGILState_GetThisThreadState().cast::<c_void>() == mark;
                libc::pthread_setspecific(key, own.cast());
                if found {
                    KEY.store(key, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// Makes `state` the one that the GILState API finds on this thread.
    pub(crate) fn bind(state: State) {
        if let Some(key) = key() {
            // SAFETY: the key is Python's, found by `discover`; the value is a thread state of this thread, as Python
            // itself would store. A failure (no memory) leaves the state that was there.
            unsafe { libc::pthread_setspecific(key, state.0.cast()) };
        }
    }

    /// Runs `work`, after which the GILState API finds on this thread what it found before.
    pub(crate) fn kept<R>(work: impl FnOnce() -> R) -> R {
        let Some(key) = key() else { return work() };
        // SAFETY: the key is Python's.
        let before = unsafe { pthread_getspecific(key) };
        let result = work();
        // SAFETY: as above; the value is what Python or `bind` stored for this thread.
        unsafe { libc::pthread_setspecific(key, before) };
        result
    }
}
