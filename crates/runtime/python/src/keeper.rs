//! The thread that makes sub-interpreters and ends them.
//!
//! A thread of its own for two reasons. Python takes the thread that made an interpreter for its main thread, and that
//! one must still be there at the end. And the GILState API remembers the first thread state of each OS thread: a
//! serving thread must not begin its life with a state of the main interpreter.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::interpreter::Interpreter;
use crate::logging::Setting;
use crate::thread::{State, detached, enter};

/// Python's own stack needs are those of a main thread.
const STACK: usize = 8 * 1024 * 1024;

enum Job {
    Make { index: usize, group: Vec<u8>, reply: Sender<Option<&'static Interpreter>> },
    End { interpreter: &'static Interpreter, idle: Idle, reply: Sender<bool> },
}

/// What serving threads have left in an interpreter that ends.
pub(crate) struct Idle {
    /// The thread states of those that are not inside an application.
    pub(crate) states: Vec<State>,
    /// No serving thread is inside an application.
    pub(crate) all: bool,
}

/// The way to the thread.
pub(crate) struct Keeper {
    jobs: Sender<Job>,
}

impl Keeper {
    /// Starts the thread; `None` when the system has no thread to give.
    pub(crate) fn start(setting: &'static Setting, main: &'static Interpreter) -> Option<Self> {
        let (jobs, work) = channel();
        let thread = std::thread::Builder::new().name("wsgi:keeper".to_owned()).stack_size(STACK);
        match thread.spawn(move || keep(setting, main, &work)) {
            Ok(_) => Some(Self { jobs }),
            Err(error) => {
                setting.log(Level::Error, &format!("WSGI0103: No thread for sub-interpreters could be made: {error}."));
                None
            }
        }
    }

    /// Makes an interpreter. Call without the GIL.
    pub(crate) fn make(&self, index: usize, group: &[u8]) -> Option<&'static Interpreter> {
        let (reply, made) = channel();
        self.jobs.send(Job::Make { index, group: group.to_vec(), reply }).ok()?;
        made.recv().ok().flatten()
    }

    /// Ends an interpreter, with the idle thread states that serving threads left there. False: it had to be left alive.
    /// Call without the GIL.
    pub(crate) fn end(&self, interpreter: &'static Interpreter, idle: Idle) -> bool {
        let (reply, ended) = channel();
        self.jobs.send(Job::End { interpreter, idle, reply }).is_ok() && ended.recv().unwrap_or(false)
    }
}

fn keep(setting: &'static Setting, main: &'static Interpreter, jobs: &Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Make { index, group, reply } => {
                let _ = reply.send(make(setting, main, index, &group));
            }
            Job::End { interpreter, idle, reply } => {
                let _ = reply.send(end(interpreter, &idle));
            }
        }
    }
}

/// Whether an interpreter is to have a GIL of its own. That Python is too old for it was said when the configuration was
/// read.
fn own_gil(setting: &Setting, group: &[u8]) -> bool {
    let wanted = setting.scoped(group, false, |scope| scope.own_gil);
    if wanted && setting.free_threaded() {
        let name = String::from_utf8_lossy(group);
        let text = format!(
            "WSGI0202: Skipping WSGIPerInterpreterGIL for sub-interpreter '{name}': free-threading is active in this \
             process so there is no GIL."
        );
        setting.log(Level::Warning, &text);
    }
    wanted && cfg!(Py_3_12) && !setting.free_threaded()
}

fn make(
    setting: &'static Setting,
    main: &'static Interpreter,
    index: usize,
    group: &[u8],
) -> Option<&'static Interpreter> {
    let name = String::from_utf8_lossy(group);
    setting.log(Level::Info, &format!("Creating sub-interpreter '{name}' {}.", setting.phrases.in_process));
    let own_gil = own_gil(setting, group);
    // SAFETY: the main interpreter is alive; the state is this thread's and is deleted when the work is done. Making an
    // interpreter switches to its own fresh state, so the first one is saved by hand and restored after.
    unsafe {
        let visitor = ffi::PyThreadState_New(main.raw());
        if visitor.is_null() {
            return None;
        }
        ffi::PyEval_RestoreThread(visitor);
        let state = new_interpreter(setting, own_gil);
        let made = if state.is_null() {
            let text =
                format!("WSGI0103: Sub-interpreter '{name}' could not be created {}.", setting.phrases.in_process);
            setting.log(Level::Error, &text);
            None
        } else {
            let py = Python::assume_attached();
            let interpreter: &'static Interpreter =
                Box::leak(Box::new(Interpreter::new(py, setting, index, group, own_gil)));
            let usable = interpreter.furnish(py).is_ok();
            if usable {
                ffi::PyEval_SaveThread();
            } else {
                ffi::Py_EndInterpreter(state);
                after_end();
            }
            ffi::PyEval_RestoreThread(visitor);
            usable.then_some(interpreter)
        };
        ffi::PyThreadState_Clear(visitor);
        ffi::PyThreadState_DeleteCurrent();
        made
    }
}

/// `Py_EndInterpreter` leaves the thread without a state. Before 3.12 it still holds the GIL, which has to be given
/// back so that the next state can take it.
///
/// # Safety
/// Right after `Py_EndInterpreter` on this thread.
#[cfg(not(Py_3_12))]
unsafe fn after_end() {
    // SAFETY: the state is the main interpreter's, made for this one exchange: swapping it in and saving it releases
    // the lock that the ended interpreter's thread still holds.
    unsafe {
        let bridge = ffi::PyThreadState_New(ffi::PyInterpreterState_Main());
        ffi::PyThreadState_Swap(bridge);
        ffi::PyThreadState_Clear(bridge);
        ffi::PyThreadState_DeleteCurrent();
    }
}

/// From 3.12 on ending an interpreter releases the lock.
///
/// # Safety
/// None are needed here.
#[cfg(Py_3_12)]
unsafe fn after_end() {}

/// The one place where Python versions differ: 3.12 can give an interpreter a GIL of its own.
///
/// # Safety
/// Attached to the main interpreter.
#[cfg(Py_3_12)]
unsafe fn new_interpreter(setting: &Setting, own_gil: bool) -> *mut ffi::PyThreadState {
    let mut config = ffi::_PyInterpreterConfig_LEGACY_INIT;
    if own_gil {
        config = ffi::_PyInterpreterConfig_INIT;
        // Applications use threads, and daemon threads, as they do elsewhere.
        config.allow_daemon_threads = 1;
        config.allow_fork = 1;
        config.allow_exec = 1;
        config.use_main_obmalloc = 0;
    }
    let mut state = std::ptr::null_mut();
    // SAFETY: promised by the caller; the configuration outlives the call.
    let status = unsafe { ffi::Py_NewInterpreterFromConfig(&raw mut state, &raw const config) };
    // SAFETY: a status that CPython returned.
    if unsafe { ffi::PyStatus_Exception(status) } != 0 {
        // SAFETY: the texts of a status are static.
        let reason = unsafe { std::ffi::CStr::from_ptr(status.err_msg) };
        setting.log(Level::Error, &format!("Python: {}", reason.to_string_lossy()));
        return std::ptr::null_mut();
    }
    state
}

/// See above.
///
/// # Safety
/// Attached to the main interpreter.
#[cfg(not(Py_3_12))]
unsafe fn new_interpreter(_: &Setting, _: bool) -> *mut ffi::PyThreadState {
    // SAFETY: promised by the caller.
    unsafe { ffi::Py_NewInterpreter() }
}

/// Ends an interpreter on the thread that made it.
fn end(interpreter: &'static Interpreter, idle: &Idle) -> bool {
    let setting = interpreter.setting;
    let name = String::from_utf8_lossy(&interpreter.group);
    setting.log(Level::Info, &format!("Destroying sub-interpreter '{name}' {}.", setting.phrases.in_process));
    // SAFETY: the state was made on this thread and is not attached anywhere.
    let deserted = unsafe { enter(interpreter.first, |py| wind_up(py, interpreter, idle)) };
    if !deserted {
        let text =
            format!("Sub-interpreter '{name}' has threads of the application that do not end; it is left as it is.");
        setting.log(Level::Info, &text);
        return false;
    }
    // SAFETY: the only state of the interpreter, as was just seen, attached for its end.
    unsafe {
        ffi::PyEval_RestoreThread(interpreter.first.0);
        ffi::Py_EndInterpreter(interpreter.first.0);
        after_end();
    }
    true
}

/// Runs the application's own ends and deletes the idle states of serving threads. True: nobody else is left.
pub(crate) fn wind_up(py: Python<'_>, interpreter: &'static Interpreter, idle: &Idle) -> bool {
    interpreter.quiesce(py);
    interpreter.strip(py);
    for state in &idle.states {
        // SAFETY: the state of a thread that serves no more, and never will; attached to its interpreter.
        unsafe {
            ffi::PyThreadState_Clear(state.0);
            ffi::PyThreadState_Delete(state.0);
        }
    }
    // A thread that has just been joined is still on its way out of the interpreter, and nothing tells when it is.
    let tries = if idle.all { 50 } else { 0 };
    let patience = (0..tries).any(|_| {
        interpreter.is_deserted(py) || {
            detached(py, || std::thread::sleep(Duration::from_millis(2)));
            false
        }
    });
    let deserted = patience || interpreter.is_deserted(py);
    if deserted {
        crate::script::forget_all(py, interpreter);
    }
    deserted
}
