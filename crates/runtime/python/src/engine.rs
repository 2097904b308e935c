//! The engine: Python in this process, from its start to its end.

mod ending;
mod forking;
mod imports;
mod interpreters;
mod serving;
mod visits;
mod watched;
mod watching;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::ThreadId;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::launch;

pub(crate) use self::forking::{OtherThreads, Version};
use self::visits::Visits;
pub use self::watching::Stacks;
pub use crate::config::StartFailure;
use crate::gateway::Process;
use crate::interpreter::Interpreter;
use crate::keeper::Keeper;
use crate::logging::Setting;
use crate::telemetry::Reporter;
pub use crate::thread::Worker;
use crate::thread::{Record, State, enter, gilstate};

/// Python in this process. There is one, and it lives as long as the process.
pub struct Engine {
    setting: &'static Setting,
    main: &'static Interpreter,
    main_state: State,
    main_thread: ThreadId,
    /// All interpreters that were made, the main one first.
    interpreters: RwLock<Vec<&'static Interpreter>>,
    /// Held while an interpreter is made.
    making: Mutex<()>,
    keeper: OnceLock<Option<Keeper>>,
    workers: Mutex<Vec<Arc<Record>>>,
    /// Those of them whose threads have ended: the next threads get them, so that they do not become more and more.
    vacant: Mutex<Vec<Arc<Record>>>,
    stopping: AtomicBool,
    visits: Visits,
    /// Sends telemetry.
    reporter: OnceLock<Option<&'static Reporter>>,
    /// Why the process ends, once that is decided.
    end: OnceLock<String>,
    /// The cap on interpreters was met and said so.
    full: AtomicBool,
    /// Sub-interpreters of groups that the configuration names.
    own_groups: AtomicU32,
}

impl Engine {
    /// Starts Python. The calling thread becomes Python's main thread; [`Engine::stop`] should be called on it.
    ///
    /// # Errors
    /// When Python cannot be started. The reason was logged; the process may go on without Python.
    pub fn start(config: launch::Python, process: &'static dyn Process) -> Result<&'static Self, StartFailure> {
        let engine = Self::load(config, process)?;
        engine.begin();
        Ok(engine)
    }

    /// Starts Python, but no thread of the engine's own: for a process that is forked before it serves.
    ///
    /// # Errors
    /// As for [`Engine::start`].
    pub(crate) fn load(config: launch::Python, process: &'static dyn Process) -> Result<&'static Self, StartFailure> {
        let setting: &'static Setting = Box::leak(Box::new(Setting::new(config, process)));
        let phrases = &setting.phrases;
        setting.log(Level::Info, &format!("Initializing Python runtime {}.", phrases.in_process));
        crate::config::initialise(setting)?;
        gilstate::discover();
        // SAFETY: initialising attached this thread.
        let py = unsafe { Python::assume_attached() };
        if !setting.embedded() {
            // In embedded mode the module says so, which knows the engine's version without it.
            let version = env!("ENGINE_PYTHON_VERSION");
            setting.log_attached(py, Level::Info, &format!("Python/{version} runs {}.", phrases.in_process));
        }
        setting.log_attached(py, Level::Info, &format!("Attaching to Python main interpreter {}.", phrases.in_process));
        let main: &'static Interpreter = Box::leak(Box::new(Interpreter::new(py, setting, 0, b"", true)));
        let furnished = main.furnish(py);
        // SAFETY: attached; the state is the one of the initialisation.
        let main_state = State(unsafe { ffi::PyEval_SaveThread() });
        if furnished.is_err() {
            let code = if setting.embedded() { "0002" } else { "0029" };
            let message = format!("WSGI{code}: Python was started but could not be set up in {}.", phrases.process);
            setting.log(Level::Critical, &message);
            return Err(StartFailure(message));
        }
        let engine = Self {
            setting,
            main,
            main_state,
            main_thread: std::thread::current().id(),
            interpreters: RwLock::new(vec![main]),
            making: Mutex::new(()),
            keeper: OnceLock::new(),
            workers: Mutex::new(Vec::new()),
            vacant: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
            visits: Visits::default(),
            reporter: OnceLock::new(),
            end: OnceLock::new(),
            full: AtomicBool::new(false),
            own_groups: AtomicU32::new(0),
        };
        Ok(Box::leak(Box::new(engine)))
    }

    /// Starts what runs beside the workers.
    pub(crate) fn begin(&'static self) {
        self.setting.process.interpreters(1);
        self.reporter.get_or_init(|| Reporter::start(self, self.setting));
    }

    /// Makes the worker of the calling thread. `number` is `mod_wsgi.thread_id`, from 1.
    #[must_use]
    pub fn worker(&'static self, number: u32) -> Worker {
        let vacant = self.vacant.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let record = match vacant {
            Some(record) => {
                record.take_over();
                record
            }
            None => {
                let record = Record::new(number);
                self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&record));
                self.setting.ledger.enlist(&record);
                record
            }
        };
        let mut worker = Worker::new(record);
        if std::thread::current().id() == self.main_thread {
            worker.adopt(self.main, self.main_state);
        }
        worker
    }

    /// The calling thread ends, which this was the worker of: what it has in the interpreters goes with it. (mod_http2
    /// ends threads that have nothing to do for a while, and makes others later.)
    pub(crate) fn retire(&'static self, mut worker: Worker) {
        let record = Arc::clone(&worker.record);
        // In the middle of a request this is no end of a thread but that of the process, or of a child that the
        // application forked.
        let amiss =
            record.busy.load(Ordering::SeqCst) || std::process::id() != self.setting.pid.load(Ordering::Relaxed);
        if amiss || self.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Some(_visit) = self.visits.begin() else { return };
        for state in worker.surrender() {
            // SAFETY: this thread's own state, which is not attached and nobody else's any more; the interpreter lives, as
            // the visit shows.
            unsafe {
                enter(state, |_| ffi::PyThreadState_Clear(state.0));
                ffi::PyThreadState_Delete(state.0);
            }
        }
        self.vacant.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}
