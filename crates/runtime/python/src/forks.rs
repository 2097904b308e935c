//! `os.fork()` and what starts programs, as an application under Apache needs them.
//!
//! Python cannot be forked while the process holds sub-interpreters: in a sub-interpreter the new process is aborted at
//! once, and in the main interpreter it hangs or is aborted as well, in all versions up to 3.13. Libraries that keep a
//! pool of processes start the next one as soon as one dies, and fill the machine and the log. So a fork that cannot work
//! raises `RuntimeError`.
//!
//! In an Apache child the threads that serve block nearly all signals, and SIGTERM has a handler of Apache's. A new
//! process that kept both could not be ended by whoever started it: it begins with no signal blocked and with the default
//! actions instead, as in daemon mode.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::{Python, ffi};

use crate::interpreter::Interpreter;
use crate::object::{Object, Raise, call_method, find, import, integer, is_none, owned, raise, runtime_error, set};
use crate::slot::{NativeType, entered, instance, native_type, value_of};

/// The application has forked this process from an Apache child.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether the application has forked this process from an Apache child: the request's connection is not its own.
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// The functions of a module that are replaced, where they exist.
const REPLACED: [(&CStr, &CStr, Kind); 5] = [
    (c"posix", c"fork", Kind::Fork("os.fork()")),
    (c"os", c"fork", Kind::Fork("os.fork()")),
    (c"posix", c"forkpty", Kind::Fork("os.forkpty()")),
    (c"os", c"forkpty", Kind::Fork("os.forkpty()")),
    (c"_posixsubprocess", c"fork_exec", Kind::Execute),
];

#[derive(Clone, Copy)]
enum Kind {
    /// Returns twice. The text names it.
    Fork(&'static str),
    /// Starts a program.
    Execute,
}

/// The value inside a `mod_wsgi.Fork`.
struct Replacement {
    interpreter: &'static Interpreter,
    kind: Kind,
    original: crate::object::Stored,
}

/// Puts the replacements in place.
pub(crate) fn replace<'py>(py: Python<'py>, interpreter: &'static Interpreter, module: &Object<'py>) -> Raise<()> {
    let slots = [(ffi::Py_tp_call, call_slot as *mut std::ffi::c_void)];
    let kind_of = native_type::<Replacement>(py, module, &NativeType { name: c"mod_wsgi.Fork", slots: &slots })?;
    for (holder, name, kind) in REPLACED {
        // A Python without it starts no programs: nothing is lost.
        let holder = match import(py, holder) {
            Ok(holder) => holder,
            Err(raised) => {
                raised.forget(py);
                continue;
            }
        };
        let Some(original) = find(&holder, name)? else { continue };
        let original = crate::object::Stored::new(original);
        // SAFETY: the type was just made for `Replacement`.
        let replacement = unsafe { instance(&kind_of, Replacement { interpreter, kind, original })? };
        set(&holder, name, &replacement)?;
    }
    Ok(())
}

unsafe extern "C" fn call_slot(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an object of the type, a tuple, and a dict or null.
    unsafe {
        entered(|py| {
            let replacement = value_of::<Replacement>(object);
            let setting = replacement.interpreter.setting;
            let original = || owned(py, ffi::PyObject_Call(replacement.original.as_ptr(), arguments, keywords));
            // In a process that the application forked, Python has no other interpreters and signals are its own.
            if std::process::id() != setting.pid.load(Ordering::Relaxed) {
                return original();
            }
            match replacement.kind {
                Kind::Fork(name) => {
                    replacement.interpreter.check_fork(py, name)?;
                    let forked = original()?;
                    if setting.embedded() && std::process::id() != setting.pid.load(Ordering::Relaxed) {
                        FORKED.store(true, Ordering::Relaxed);
                        restore_actions(py)?;
                        unblock_signals();
                    }
                    Ok(forked)
                }
                Kind::Execute => {
                    if runs_python_first(arguments) {
                        replacement.interpreter.check_fork(py, "preexec_fn of subprocess")?;
                    }
                    let _unblocked = setting.embedded().then(Unblocked::new);
                    original()
                }
            }
        })
    }
}

impl Interpreter {
    /// Raises an error where a fork cannot work.
    fn check_fork(&self, py: Python<'_>, what: &str) -> Raise<()> {
        let others = self.setting.sub_interpreters.load(Ordering::Relaxed);
        let message = if !self.group.is_empty() {
            format!(
                "WSGI0954: {what} is not possible in {}: Python would abort the new process at once. Serve the \
                 application in the main interpreter (application-group=%{{GLOBAL}}) of a process that holds no other \
                 interpreter, or start programs with subprocess, and multiprocessing with the method 'spawn'",
                self.label
            )
        } else if others != 0 {
            format!(
                "WSGI0955: {what} is not possible in the main interpreter of a process that holds sub-interpreters \
                 ({others} here): the new process would hang. Serve the applications of other application groups by \
                 another process group, or start programs with subprocess, and multiprocessing with the method 'spawn'"
            )
        } else {
            return Ok(());
        };
        Err(raise(py, runtime_error(), &message))
    }
}

/// Whether the arguments of `fork_exec` name a function that is called in the new process (`preexec_fn`): the last one,
/// or from Python 3.11 on the one before.
///
/// # Safety
/// A tuple, alive, attached.
unsafe fn runs_python_first(arguments: *mut ffi::PyObject) -> bool {
    // SAFETY: promised by the caller; an index outside of the tuple is not asked for.
    unsafe {
        let count = ffi::PyTuple_Size(arguments);
        (count - 2..count)
            .filter(|index| *index >= 0)
            .any(|index| ffi::PyCallable_Check(ffi::PyTuple_GetItem(arguments, index)) != 0)
    }
}

/// Gives the signals that Apache handles their default actions back. Handlers of the application stay.
fn restore_actions(py: Python<'_>) -> Raise<()> {
    let module = import(py, c"_signal")?;
    for number in 1..32 {
        // SAFETY: a zeroed sigaction is valid, and nothing but the action is asked for.
        let action = unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            libc::sigaction(number, std::ptr::null(), &raw mut action);
            action.sa_sigaction
        };
        if [libc::SIG_DFL, libc::SIG_IGN].contains(&action) {
            continue;
        }
        if is_none(&call_method(&module, c"getsignal", &[&integer(py, i64::from(number))?])?) {
            // SAFETY: no handler is involved.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
    }
    Ok(())
}

fn unblock_signals() {
    // SAFETY: a zeroed set is valid.
    unsafe {
        let mut none = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// While it lives, this thread of the Apache child blocks only signals that the child has pending, so that a program which
/// is started inherits as good as none.
struct Unblocked(libc::sigset_t);

impl Unblocked {
    fn new() -> Self {
        // SAFETY: zeroed sets are valid; plain calls.
        unsafe {
            let mut pending = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
            let mut present = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
            libc::sigpending(&raw mut pending);
            // An Apache child has one pending as soon as any process of its has ended, and nothing happens when it arrives.
            // A server of forked processes that inherits it blocked never learns that one of them has ended.
            libc::sigdelset(&raw mut pending, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const pending, &raw mut present);
            Self(present)
        }
    }
}

impl Drop for Unblocked {
    fn drop(&mut self) {
        // SAFETY: the set that was there before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}
