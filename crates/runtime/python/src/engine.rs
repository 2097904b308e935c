//! The engine: Python in this process, from its start to its end.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::ThreadId;
use std::time::Instant;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::consult::{Advice, Consultation};
use wsgi_protocol::launch;
use wsgi_protocol::request::{self, Facts};
use wsgi_protocol::scripts::Entry;

pub use crate::config::StartFailure;
use crate::consult;
use crate::gateway::{Changed, Gateway, Outcome, Process};
use crate::interpreter::Interpreter;
use crate::keeper::{Keeper, wind_up};
use crate::logging::Setting;
use crate::metrics::{Finished, Io, Meter};
use crate::object::{call_method, import};
use crate::script::{self, Wanted};
use crate::telemetry::Reporter;
pub use crate::thread::Worker;
use crate::thread::{Record, State, enter, gilstate, visit};
use crate::traceback::Destination;
use crate::wsgi::adapter::{self, Ended, Outgoing, now};
use crate::wsgi::environ::{self, Moment};

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
    stopping: AtomicBool,
    /// Held by threads that visit interpreters; taken for good before interpreters end, as a thread that wants the GIL
    /// of a Python that is no more would be ended in the middle of its Rust code.
    visiting: RwLock<()>,
    /// Sends telemetry.
    reporter: OnceLock<Option<&'static Reporter>>,
    /// Why the process ends, once that is decided.
    end: OnceLock<String>,
    /// The cap on interpreters was met and said so.
    full: AtomicBool,
    /// Sub-interpreters of groups that the configuration names.
    own_groups: AtomicU32,
}

/// Whose stacks are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacks {
    /// Those of all threads that run Python code.
    All,
    /// That of the worker with this number.
    Worker(u32),
}

/// What became of a script that was to be loaded without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Imported {
    Loaded,
    /// There can be no interpreter for it: a request for it will be told.
    NoRoom,
    /// It was logged why.
    Failed,
}

/// Why there is no interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The cap was met.
    Full,
    /// It could not be made; the reason was logged.
    Failed,
}

/// Marks a worker as busy while it lives.
struct Busy<'a>(&'a Record);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

impl Engine {
    /// Starts Python. The calling thread becomes Python's main thread; [`Engine::stop`] should be called on it.
    ///
    /// # Errors
    /// When Python cannot be started. The reason was logged; the process may go on without Python.
    pub fn start(config: launch::Python, process: &'static dyn Process) -> Result<&'static Self, StartFailure> {
        let setting: &'static Setting = Box::leak(Box::new(Setting::new(config, process)));
        let phrases = &setting.phrases;
        setting.log(Level::Info, &format!("Initializing Python runtime {}.", phrases.in_process));
        crate::config::initialise(setting)?;
        gilstate::discover();
        if !setting.embedded() {
            // In embedded mode the module says so, which knows the engine's version without it.
            let version = env!("ENGINE_PYTHON_VERSION");
            setting.log(Level::Info, &format!("Python/{version} runs {}.", phrases.in_process));
        }
        setting.log(Level::Info, &format!("Attaching to Python main interpreter {}.", phrases.in_process));
        // SAFETY: initialising attached this thread.
        let py = unsafe { Python::assume_attached() };
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
            stopping: AtomicBool::new(false),
            visiting: RwLock::new(()),
            reporter: OnceLock::new(),
            end: OnceLock::new(),
            full: AtomicBool::new(false),
            own_groups: AtomicU32::new(0),
        };
        setting.process.interpreters(1);
        let engine: &'static Self = Box::leak(Box::new(engine));
        engine.reporter.get_or_init(|| Reporter::start(engine, setting));
        Ok(engine)
    }

    /// Makes the worker of the calling thread. `number` is `mod_wsgi.thread_id`, from 1.
    #[must_use]
    pub fn worker(&'static self, number: u32) -> Worker {
        let record = Record::new(number);
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&record));
        self.setting.ledger.enlist(&record);
        let mut worker = Worker::new(record);
        if std::thread::current().id() == self.main_thread {
            worker.adopt(self.main, self.main_state);
        }
        worker
    }

    /// Loads the scripts that the configuration wants loaded at the start, on the calling thread. Failures are logged
    /// and the rest is loaded.
    pub fn run_imports(&'static self) {
        if !self.setting.config.imports.is_empty() {
            let mut worker = self.worker(0);
            self.import_with(&mut worker);
        }
    }

    /// Loads what another process of the group has loaded, on the calling thread. `Err` is the script that cannot be
    /// loaded; it was logged why. Scripts whose files are gone serve nobody and are passed over.
    pub(crate) fn preload<'e>(&'static self, entries: &[Entry<'e>]) -> Result<(), Entry<'e>> {
        let mut worker = self.worker(0);
        for entry in entries {
            if !Path::new(OsStr::from_bytes(entry.path)).exists() {
                continue;
            }
            let own = self.setting.config.imports.iter().any(|import| import.application_group == entry.group);
            if self.import(&mut worker, entry.path, entry.group, own) == Imported::Failed {
                return Err(*entry);
            }
        }
        Ok(())
    }

    /// [`Engine::run_imports`] with the thread's own worker.
    pub(crate) fn import_with(&'static self, worker: &mut Worker) {
        for import in &self.setting.config.imports {
            self.import(worker, &import.script, &import.application_group, true);
        }
    }

    /// Loads one script. `own`: the configuration names the group.
    fn import(&'static self, worker: &mut Worker, path: &[u8], group: &[u8], own: bool) -> Imported {
        let script = String::from_utf8_lossy(path);
        let found = self.interpreter(worker, group, own);
        if !own && matches!(found, Err(Refused::Full)) {
            return Imported::NoRoom;
        }
        let state = found.ok().and_then(|interpreter| Some((interpreter, worker.state(interpreter)?)));
        let Some((interpreter, state)) = state else {
            let name = String::from_utf8_lossy(group);
            let text = format!("WSGI0040: The interpreter '{name}' for the script '{script}' is not available.");
            self.setting.log(Level::Critical, &text);
            return Imported::Failed;
        };
        let wanted = Wanted { path, mtime: 0, reloading: false, fold_case: false, resource: path };
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: this thread's own state, which is not attached now.
            unsafe { enter(state, |py| script::module(py, Destination::Process(interpreter), &wanted, false).is_ok()) }
        }));
        match loaded {
            Ok(true) => Imported::Loaded,
            Ok(false) => Imported::Failed,
            Err(panic) => {
                let text = crate::slot::panic_text(&*panic);
                self.setting.log(Level::Error, &format!("Internal error while loading '{script}': {text}"));
                Imported::Failed
            }
        }
    }

    /// Serves one request on the worker's thread. Never panics.
    pub fn serve(&'static self, worker: &mut Worker, facts: &Facts<'_>, gateway: &mut dyn Gateway) -> Outcome {
        let record = Arc::clone(&worker.record);
        record.busy.store(true, Ordering::SeqCst);
        let _busy = Busy(&record);
        if self.stopping.load(Ordering::SeqCst) {
            // No application has seen it: another process may take it.
            return if self.setting.embedded() { Outcome::Status(503) } else { Outcome::Rejected };
        }
        let mut sent = false;
        let served = {
            let mut watched = Watched { gateway: &mut *gateway, sent: &mut sent };
            catch_unwind(AssertUnwindSafe(|| self.serve_unguarded(worker, facts, &mut watched)))
        };
        match served {
            Ok(outcome) => outcome,
            Err(panic) => {
                let text = format!("Internal error of mod_wsgi: {}", crate::slot::panic_text(&*panic));
                gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
                if sent { Outcome::Truncated } else { Outcome::Status(500) }
            }
        }
    }

    fn serve_unguarded(&'static self, worker: &mut Worker, facts: &Facts<'_>, gateway: &mut dyn Gateway) -> Outcome {
        let daemon_start = if self.setting.embedded() { 0 } else { now() };
        let group = facts.application_group.or_empty();
        let interpreter = match self.interpreter(worker, group, facts.has(request::OWN_GROUP)) {
            Ok(interpreter) => interpreter,
            Err(Refused::Full) => {
                self.say_full(group, gateway);
                return Outcome::Status(503);
            }
            Err(Refused::Failed) => {
                let name = String::from_utf8_lossy(group);
                let text = format!("WSGI0087: The interpreter '{name}' is not available for the request.");
                gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
                return Outcome::Status(500);
            }
        };
        let Some(state) = worker.state(interpreter) else {
            let text = b"WSGI0191: No Python thread state could be created for the request.";
            gateway.log(&crate::logging::record(Level::Error, text, None));
            return Outcome::Status(500);
        };
        if self.must_leave(interpreter, state, facts) {
            return Outcome::Rejected;
        }
        let moment = Moment { thread: worker.record.number(), daemon_start, application_start: 0 };
        let mut outgoing = std::mem::take(&mut worker.outgoing);
        let record = &worker.record;
        let ledger = &self.setting.ledger;
        let waits = (interpreter.observed() || ledger.recording()).then(Instant::now);
        let begun = if daemon_start == 0 && waits.is_some() { now() } else { daemon_start };
        let open = waits.and_then(|_| {
            ledger.begin(record, begun, |slow| {
                let id = environ::request_id(facts).map_or_else(|| gateway.request_id(), <[u8]>::to_vec);
                slow.describe(facts, record.number(), daemon_start, &id)
            })
        });
        // SAFETY: this thread's own state; the thread is not attached.
        let ended = unsafe {
            enter(state, |py| {
                outgoing.tally.meter.on = false;
                // Not before the GIL is held: as long as it cannot be had, the request may go to another process.
                if !gateway.accept() {
                    return Ended::Done(Outcome::Rejected);
                }
                record.requests.fetch_add(1, Ordering::Relaxed);
                record.serving.store(interpreter.index + 1, Ordering::Relaxed);
                if let Some(waits) = waits {
                    outgoing.tally.meter = Meter::running();
                    outgoing.tally.meter.took_gil(waits);
                }
                let ended = adapter::serve(py, interpreter, facts, gateway, moment, &mut outgoing);
                let _steady = record.steady();
                record.serving.store(0, Ordering::Relaxed);
                if record.interrupted.swap(false, Ordering::Relaxed) {
                    // An exception that came too late must not hit the next request.
                    ffi::PyThreadState_SetAsyncExc(ident(record.ident), std::ptr::null_mut());
                }
                ended
            })
        };
        let outcome = match ended {
            Ended::Done(outcome) => outcome,
            Ended::Send(head, outcome) => {
                outgoing.head = head;
                let begun = outgoing.tally.meter.on.then(Instant::now);
                let outcome = adapter::send(gateway, &outgoing, outcome);
                if let Some(begun) = begun {
                    outgoing.tally.meter.used(Io::Output, begun.elapsed());
                }
                outcome
            }
        };
        if outgoing.tally.meter.on {
            self.enter_account(record, &outgoing, facts, (begun, daemon_start), outcome);
        }
        drop(open);
        worker.outgoing = outgoing;
        outcome
    }

    /// Records a measured request. `times`: when the thread took it and, in a daemon, when that was.
    fn enter_account(
        &self,
        record: &Record,
        outgoing: &Outgoing,
        facts: &Facts<'_>,
        times: (i64, i64),
        outcome: Outcome,
    ) {
        let mut tally = outgoing.tally;
        let cpu = tally.meter.cpu();
        let status = match outcome {
            Outcome::Complete | Outcome::Truncated => tally.status,
            Outcome::Status(status) => status,
            Outcome::Rejected => return,
        };
        let (begun, daemon_start) = times;
        let request = Finished {
            tally: &tally,
            request_start: facts.request_start,
            queue_start: facts.queue_start,
            daemon_start,
            finish: now(),
            status,
            cpu,
        };
        // A request that began before anybody wanted to know.
        let begun = if begun == 0 { tally.application_start } else { begun };
        self.setting.ledger.finish(record, &request, begun);
    }

    /// Asks a script that decides on a request, on the worker's thread. Never panics. The texts are what the script
    /// gave along with its answer.
    pub fn consult(
        &'static self,
        worker: &mut Worker,
        asked: &Consultation<'_>,
        gateway: &mut dyn Gateway,
    ) -> (Advice, Vec<Option<Vec<u8>>>) {
        let record = Arc::clone(&worker.record);
        record.busy.store(true, Ordering::SeqCst);
        let _busy = Busy(&record);
        if self.stopping.load(Ordering::SeqCst) {
            return (Advice::Unavailable, Vec::new());
        }
        let group = asked.facts.application_group.or_empty();
        let Ok(interpreter) = self.interpreter(worker, group, asked.facts.has(request::OWN_GROUP)) else {
            return (Advice::Unavailable, Vec::new());
        };
        let Some(state) = worker.state(interpreter) else { return (Advice::Unavailable, Vec::new()) };
        let wanted = Wanted::deciding(&asked.facts);
        let consulted = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: this thread's own state; the thread is not attached.
            unsafe { enter(state, |py| consult::run(py, interpreter, asked, &wanted, &mut *gateway)) }
        }));
        consulted.unwrap_or_else(|panic| {
            let text = format!("Internal error of mod_wsgi: {}", crate::slot::panic_text(&*panic));
            gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
            (Advice::Failed, Vec::new())
        })
    }

    /// Whether the script has changed and the process is to leave because of it. Before the request is accepted.
    fn must_leave(&self, interpreter: &'static Interpreter, state: State, facts: &Facts<'_>) -> bool {
        if self.setting.embedded() || !facts.has(request::RELOAD) {
            return false;
        }
        let wanted = Wanted::of(facts);
        let hooked = || {
            script::has_hook(interpreter, wanted.path)
                // SAFETY: this thread's own state; the thread is not attached.
                && unsafe {
                    enter(state, |py| {
                        script::hook_wants_reload(py, Destination::Process(interpreter), &wanted)
                    })
                }
        };
        (script::is_outdated(interpreter, &wanted) || hooked())
            && self.setting.process.script_changed(wanted.path, wanted.known_mtime()) == Changed::Leave
    }

    /// The interpreter of an application group, made on first use.
    /// `own`: the configuration names the group; others are
    /// the choice of clients.
    fn interpreter(&'static self, worker: &Worker, group: &[u8], own: bool) -> Result<&'static Interpreter, Refused> {
        if group.is_empty() {
            return Ok(self.main);
        }
        if let Some(known) = worker.known(group).or_else(|| self.existing(group)) {
            return Ok(known);
        }
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.existing(group) {
            return Ok(known);
        }
        let index = self.interpreters.read().unwrap_or_else(PoisonError::into_inner).len();
        if !self.has_room(index - 1, own) {
            return Err(Refused::Full);
        }
        let keeper = self.keeper.get_or_init(|| Keeper::start(self.setting, self.main));
        let Some(made) = keeper.as_ref().and_then(|keeper| keeper.make(index, group)) else {
            return Err(Refused::Failed);
        };
        if own {
            self.own_groups.fetch_add(1, Ordering::Relaxed);
        }
        self.interpreters.write().unwrap_or_else(PoisonError::into_inner).push(made);
        self.setting.process.interpreters(index + 1);
        Ok(made)
    }

    /// Whether another sub-interpreter may be made beside so many. The groups of virtual hosts always find a place,
    /// whatever names clients have chosen before.
    fn has_room(&self, made: usize, own: bool) -> bool {
        let (cap, kept) = (self.setting.config.maximum_interpreters, self.setting.config.kept_interpreters);
        let made = u32::try_from(made).unwrap_or(u32::MAX);
        match (cap, own) {
            (0, _) => true,
            (_, true) => made < cap.max(kept),
            (_, false) => {
                let still_kept = kept.saturating_sub(self.own_groups.load(Ordering::Relaxed));
                made.saturating_add(still_kept) < cap
            }
        }
    }

    /// Says that the cap is met, once per process: what came is there to stay.
    fn say_full(&self, group: &[u8], gateway: &mut dyn Gateway) {
        if self.full.swap(true, Ordering::Relaxed) {
            return;
        }
        let (name, cap) = (String::from_utf8_lossy(group), self.setting.config.maximum_interpreters);
        let text = format!(
            "WSGI0921: No sub-interpreter for application group '{name}': {cap} is the most that \
             WSGIMaximumInterpreters allows {}. Requests for further groups get status 503 without another line.",
            self.setting.phrases.in_process
        );
        gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
    }

    fn existing(&self, group: &[u8]) -> Option<&'static Interpreter> {
        let interpreters = self.interpreters.read().unwrap_or_else(PoisonError::into_inner);
        interpreters.iter().copied().find(|interpreter| interpreter.group == group)
    }

    /// All interpreters, for the reporter.
    pub(crate) fn interpreters(&self) -> Vec<&'static Interpreter> {
        self.all()
    }

    /// Runs `work` attached to an interpreter, for the reporter; `None` when that cannot be any more.
    pub(crate) fn attached<R>(
        &self,
        interpreter: &Interpreter,
        work: impl for<'py> FnOnce(Python<'py>) -> R,
    ) -> Option<R> {
        self.visit(interpreter, work)
    }

    /// How long a thread may keep the GIL of the main interpreter, in seconds.
    pub(crate) fn switch_interval(&self) -> f64 {
        let asked = self.visit(self.main, |py| {
            let interval = import(py, c"sys").and_then(|sys| call_method(&sys, c"getswitchinterval", &[]));
            // SAFETY: alive, attached; not a number gives -1 and an exception that is not left behind.
            let seconds = interval.map(|interval| unsafe { ffi::PyFloat_AsDouble(interval.as_ptr()) });
            seconds.unwrap_or(-1.0)
        });
        asked.unwrap_or_default().max(0.0)
    }

    fn reporter(&self) -> Option<&'static Reporter> {
        self.reporter.get().copied().flatten()
    }

    /// The process will end for this reason, once its requests have: said before [`Engine::stop`].
    pub fn will_stop(&self, reason: &str) {
        if self.end.set(reason.to_owned()).is_ok()
            && let Some(reporter) = self.reporter()
        {
            reporter.stopping(reason, self.setting.ledger.lifetime().1);
        }
    }

    /// The process is about to be aborted, because it did not end in time.
    pub fn aborted(&self) {
        if let Some(reporter) = self.reporter() {
            let reason = self.end.get().map_or("", String::as_str);
            reporter.stopped(reason, false, self.setting.ledger.lifetime());
        }
    }

    fn all(&self) -> Vec<&'static Interpreter> {
        self.interpreters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `work` attached to an interpreter, on a thread that does not serve; `None` when that cannot be any more.
    fn visit<R>(&self, interpreter: &Interpreter, work: impl for<'py> FnOnce(Python<'py>) -> R) -> Option<R> {
        let _visit = self.visiting.try_read().ok()?;
        visit(interpreter, work)
    }

    /// Returns once the main interpreter's GIL was held: for a watchdog that sees whether it can be had.
    pub fn probe_gil(&'static self) {
        if !self.stopping.load(Ordering::SeqCst) {
            self.visit(self.main, |_| ());
        }
    }

    /// Sends `mod_wsgi.RequestTimeout` into the application that the worker with this number is running. False: it is
    /// running none.
    #[must_use]
    pub fn interrupt(&'static self, number: u32) -> bool {
        let Some(record) = self.record(number) else { return false };
        let Some(interpreter) = self.serving(&record) else { return false };
        let interrupted = self.visit(interpreter, |py| {
            // Checked again with the GIL held: the request may have ended meanwhile.
            let _steady = record.steady();
            if record.serving.load(Ordering::Relaxed) != interpreter.index + 1 {
                return false;
            }
            let Some(parts) = interpreter.parts() else { return false };
            let timeout = parts.timeout.get(py);
            record.interrupted.store(true, Ordering::Relaxed);
            // SAFETY: attached to the interpreter of that thread's request; the class is alive.
            unsafe { ffi::PyThreadState_SetAsyncExc(ident(record.ident), timeout.as_ptr()) == 1 }
        });
        interrupted.unwrap_or(false)
    }

    fn record(&self, number: u32) -> Option<Arc<Record>> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().find(|record| record.number() == number).cloned()
    }

    fn serving(&self, record: &Record) -> Option<&'static Interpreter> {
        let index = record.serving.load(Ordering::Relaxed).checked_sub(1)?;
        self.all().into_iter().find(|interpreter| interpreter.index == index)
    }

    /// Logs the stacks of Python threads at INFO. Needs the GIL, so it waits as long as C code keeps it.
    pub fn dump_stacks(&'static self, which: Stacks) {
        let workers: Vec<Arc<Record>> = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for interpreter in self.all() {
            let name = |thread: u64| {
                let known = workers.iter().find(|record| record.ident == thread);
                match which {
                    Stacks::All => Some(known.map_or(thread.to_string(), |record| record.number().to_string())),
                    Stacks::Worker(number) => {
                        known.filter(|record| record.number() == number).map(|record| record.number().to_string())
                    }
                }
            };
            let wanted = match which {
                Stacks::All => true,
                Stacks::Worker(number) => {
                    let record = workers.iter().find(|record| record.number() == number);
                    record.and_then(|record| self.serving(record)).is_some_and(|own| std::ptr::eq(own, interpreter))
                }
            };
            if wanted {
                if which == Stacks::All {
                    self.setting.log(
                        Level::Info,
                        &format!(
                            "Dumping stack trace for active Python threads of {} {}.",
                            interpreter.label, self.setting.phrases.in_process
                        ),
                    );
                }
                self.visit(interpreter, |py| interpreter.dump_stacks(py, name));
            }
        }
    }

    /// Tells subscribers of a signal that the process has received, such as `SIGHUP`.
    pub fn signal(&'static self, name: &str, number: i32) {
        if self.stopping.load(Ordering::SeqCst) {
            return;
        }
        for interpreter in self.all() {
            if self.visit(interpreter, |py| crate::events::process_signal(py, interpreter, name, number)).is_none() {
                let text = format!("WSGI0209: {name} could not be announced in the {}.", interpreter.label);
                self.setting.log(Level::Error, &text);
            }
        }
    }

    /// Ends Python: no new requests are served, subscribers are told, applications' threads are joined, `atexit`
    /// callbacks run, interpreters are destroyed. `reason` is the event's `shutdown_reason`. What cannot be ended
    /// safely, because threads are still in it, is left to the process's own end.
    pub fn stop(&'static self, reason: &str) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        self.will_stop(reason);
        self.announce_stop(reason);
        if let Some(reporter) = self.reporter() {
            reporter.finish();
        }
        if self.setting.config.destroy_interpreter {
            self.destroy();
        }
        if let Some(reporter) = self.reporter() {
            reporter.stopped(reason, true, self.setting.ledger.lifetime());
        }
    }

    fn announce_stop(&'static self, reason: &str) {
        for interpreter in self.all() {
            if self.visit(interpreter, |py| crate::events::process_stopping(py, interpreter, reason)).is_none() {
                let text = format!("WSGI0104: The stop could not be announced in the {}.", interpreter.label);
                self.setting.log(Level::Error, &text);
            }
        }
    }

    /// Ends the interpreters, as far as nobody is in them.
    fn destroy(&'static self) {
        let phrases = &self.setting.phrases;
        let workers: Vec<Arc<Record>> = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A thread that is inside an application must keep its states. Others can never attach again: `serve` sees
        // `stopping`.
        let idle = workers.iter().filter(|record| !record.busy.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let states = |index| idle.iter().filter_map(|record| record.surrender(index)).collect::<Vec<State>>();
        let mut ended = idle.len() == workers.len();
        let _no_more_visits = self.visiting.write().unwrap_or_else(PoisonError::into_inner);
        let subordinate: Vec<_> = self.all().into_iter().skip(1).collect();
        if let Some(Some(keeper)) = self.keeper.get() {
            self.setting.log(Level::Info, &format!("Destroying Python sub-interpreters {}.", phrases.in_process));
            for interpreter in subordinate.into_iter().rev() {
                ended &= keeper.end(interpreter, states(interpreter.index));
            }
        }
        // SAFETY: the state of the thread that started Python, which has left it for good when this is another thread.
        let deserted = unsafe { enter(self.main_state, |py| wind_up(py, self.main, &states(0))) };
        // Daemon threads of the application do not hinder the main interpreter's end, but they must not wake up in the
        // middle of a process that is still doing something else: Python ends them when they next want the GIL.
        let _ = deserted;
        if !ended {
            return;
        }
        self.setting.log(Level::Info, &format!("Terminating Python runtime {}.", phrases.in_process));
        // SAFETY: as above; no other interpreter is left, and no thread of the engine attaches any more.
        unsafe {
            ffi::PyEval_RestoreThread(self.main_state.0);
            ffi::Py_FinalizeEx();
        }
        self.setting.log(Level::Info, &format!("Python runtime has shut down {}.", phrases.in_process));
    }
}

/// A thread's identity as the C API wants it.
fn ident(number: u64) -> std::ffi::c_long {
    std::ffi::c_long::from_ne_bytes(number.to_ne_bytes())
}

/// A gateway that notices whether the head was sent.
struct Watched<'a> {
    gateway: &'a mut dyn Gateway,
    sent: &'a mut bool,
}

impl Gateway for Watched<'_> {
    fn accept(&mut self) -> bool {
        self.gateway.accept()
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, crate::gateway::ReadFailure> {
        self.gateway.read_body(buffer)
    }

    fn send_head(&mut self, head: &crate::gateway::Head<'_>) -> Result<(), crate::gateway::SendFailure> {
        *self.sent = true;
        self.gateway.send_head(head)
    }

    fn send_body(&mut self, data: &[u8], last: bool) -> Result<(), crate::gateway::SendFailure> {
        self.gateway.send_body(data, last)
    }

    fn send_file(
        &mut self,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        length: u64,
    ) -> Result<(), crate::gateway::SendFailure> {
        self.gateway.send_file(file, offset, length)
    }

    fn log(&mut self, record: &wsgi_protocol::abi::Record<'_>) {
        self.gateway.log(record);
    }

    fn logs(&mut self, level: Level) -> bool {
        self.gateway.logs(level)
    }

    fn request_id(&mut self) -> Vec<u8> {
        self.gateway.request_id()
    }
}
