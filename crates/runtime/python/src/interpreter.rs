//! One Python interpreter: the main one, or a sub-interpreter of an application group.
//!
//! Everything that belongs to an interpreter hangs on its [`Interpreter`]: types, templates, loaded scripts. Nothing of
//! Python is in statics, because interpreters do not share objects.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;

use crate::consult::Aids;
use crate::events::List;
use crate::gil_cell::GilCell;
use crate::logging::Setting;
use crate::names::Names;
use crate::object::{
    Object, Raise, Raised, call_method, dict, float, from_sys, get, import, interned, is_none, owned, raise, set,
    shown, system_error, system_exit, text, type_name,
};
use crate::script::Loaded;
use crate::telemetry::Collections;
use crate::thread::State;
use crate::wsgi::adapter::Bundle;
use crate::wsgi::environ::Environs;
use crate::wsgi::errors::{Log, Stream};
use crate::wsgi::session::Present;
use crate::wsgi::small_blocks::Warned;
use crate::{restrict, signals, wsgi};

/// The native types and modules of an interpreter.
pub(crate) struct Parts {
    pub(crate) module: crate::object::Stored,
    pub(crate) adapter: crate::object::Stored,
    pub(crate) input: crate::object::Stored,
    pub(crate) log: crate::object::Stored,
    pub(crate) file_wrapper: crate::object::Stored,
    /// `mod_wsgi.Auth`: what scripts that decide on access may ask.
    pub(crate) auth: crate::object::Stored,
    /// `io.TextIOWrapper`
    pub(crate) text_wrapper: crate::object::Stored,
    /// `mod_wsgi.RequestTimeout`
    pub(crate) timeout: crate::object::Stored,
    pub(crate) event_callbacks: crate::object::Stored,
    pub(crate) shutdown_callbacks: crate::object::Stored,
    pub(crate) signal_callbacks: crate::object::Stored,
    /// The names of these three in the module, in the order of [`List`].
    pub(crate) list_names: [crate::object::Stored; 3],
    pub(crate) environs: Environs,
    pub(crate) names: Names,
}

struct Raw(*mut ffi::PyInterpreterState);

// SAFETY: only handed to functions that lock for themselves or need the GIL, which their callers take.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

/// See the module. Lives as long as the process.
pub(crate) struct Interpreter {
    pub(crate) setting: &'static Setting,
    /// 0 is the main interpreter.
    pub(crate) index: usize,
    /// The application group; empty is the main interpreter.
    pub(crate) group: Vec<u8>,
    /// It has a GIL of its own.
    own_gil: bool,
    /// `main interpreter` or `sub-interpreter 'NAME'`.
    pub(crate) label: String,
    raw: Raw,
    /// The thread state that it was made with.
    pub(crate) first: State,
    parts: OnceLock<Parts>,
    pub(crate) scripts: Mutex<HashMap<Vec<u8>, Loaded>>,
    /// Held while a script is loaded.
    pub(crate) loading: Mutex<()>,
    /// The request objects that wait for their next use.
    pub(crate) bundles: GilCell<Vec<Bundle>>,
    /// The same for scripts that decide on requests.
    pub(crate) aids: GilCell<Vec<Aids>>,
    /// The requests that are being served.
    pub(crate) present: GilCell<Present>,
    /// What the garbage collector did, for telemetry.
    pub(crate) collections: Collections,
    /// Somebody has subscribed to events of requests: they are measured.
    observed: AtomicBool,
    /// `mod_wsgi.active_requests`, once somebody asked.
    active: OnceLock<crate::object::Stored>,
    /// Iterables that the log was told of.
    pub(crate) warned: Warned,
    /// Header fields of responses that were dropped and that the log was told of ([`OwnedHead::dropped`]).
    ///
    /// [`OwnedHead::dropped`]: crate::wsgi::session::OwnedHead::dropped
    pub(crate) dropped_fields: AtomicU16,
}

impl Interpreter {
    /// Describes the interpreter that the thread is attached to.
    /// Whether it has a GIL that it shares with no other interpreter of the engine's but, if it is the main one, with those
    /// that have none.
    pub(crate) fn owns_gil(&self) -> bool {
        self.own_gil
    }

    pub(crate) fn new(_py: Python<'_>, setting: &'static Setting, index: usize, group: &[u8], own_gil: bool) -> Self {
        let label = if group.is_empty() {
            "main interpreter".to_owned()
        } else {
            format!("sub-interpreter '{}'", String::from_utf8_lossy(group))
        };
        // SAFETY: attached.
        let (raw, first) = unsafe { (ffi::PyInterpreterState_Get(), ffi::PyThreadState_Get()) };
        Self {
            setting,
            index,
            group: group.to_vec(),
            own_gil,
            label,
            raw: Raw(raw),
            first: State(first),
            parts: OnceLock::new(),
            scripts: Mutex::new(HashMap::new()),
            loading: Mutex::new(()),
            bundles: GilCell::new(Vec::new()),
            aids: GilCell::new(Vec::new()),
            present: GilCell::new(Present::default()),
            collections: Collections::default(),
            observed: AtomicBool::new(false),
            active: OnceLock::new(),
            warned: Warned::default(),
            dropped_fields: AtomicU16::new(0),
        }
    }

    /// Begins a record in JSON with what is known of the process and the interpreter.
    pub(crate) fn object(&self, level: Level) -> crate::json::Object {
        crate::json::Object::now()
            .text("level", level.name().as_bytes())
            .number("pid", u64::from(std::process::id()))
            .text("process_group", &self.setting.config.process_group)
            .text("application_group", &self.group)
    }

    /// Logs a line of an application for the process.
    pub(crate) fn log_line(&self, py: Python<'_>, level: Level, line: &[u8], source: Option<(&[u8], u32)>) {
        if self.setting.config.json_log {
            let object = crate::json::source(self.object(level).text("message", line), source).finish();
            self.setting.write(py, &crate::logging::object(level, &object));
        } else {
            self.setting.write(py, &crate::logging::record(level, line, source));
        }
    }

    /// CPython's own structure.
    pub(crate) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.raw.0
    }

    /// What [`Interpreter::furnish`] made; `None` before.
    pub(crate) fn parts(&self) -> Option<&Parts> {
        self.parts.get()
    }

    /// Whether an exception is this interpreter's `RequestTimeout`.
    pub(crate) fn is_timeout(&self, exception: &Object<'_>) -> bool {
        self.parts().is_some_and(|parts| crate::traceback::is_instance(exception, parts.timeout.as_ptr()))
    }

    /// `mod_wsgi.active_requests`: from now on requests are entered there.
    pub(crate) fn watch_requests<'py>(&self, py: Python<'py>) -> Raise<Object<'py>> {
        if let Some(active) = self.active.get() {
            return Ok(active.get(py));
        }
        let active = dict(py)?;
        if let Some(parts) = self.parts() {
            set(&parts.module.get(py), c"active_requests", &active)?;
        }
        if self.active.set(crate::object::Stored::new(active.clone())).is_err() {
            // Another thread was quicker, within this GIL's switch; its dict is the one.
            return self.watch_requests(py);
        }
        let sessions = self.present.borrow(py).sessions();
        for session in sessions {
            let id = crate::events::request_id(py, &session)?;
            let data = crate::events::request_data(py, &session)?;
            // SAFETY: alive, attached.
            crate::object::done(unsafe { ffi::PyDict_SetItem(active.as_ptr(), id.as_ptr(), data.as_ptr()) })?;
        }
        Ok(active)
    }

    /// Whether requests are to be measured for events.
    pub(crate) fn observed(&self) -> bool {
        self.observed.load(Ordering::Relaxed)
    }

    /// See [`Interpreter::observed`].
    pub(crate) fn observe(&self, observed: bool) {
        self.observed.store(observed, Ordering::Relaxed);
    }

    /// The dict of active requests, when somebody looks at it.
    pub(crate) fn watched<'py>(&self, py: Python<'py>) -> Option<Object<'py>> {
        self.active.get().map(|active| active.get(py))
    }

    /// Makes modules, types, streams and restrictions. Failures are logged with their codes; an error means that the
    /// interpreter is of no use.
    pub(crate) fn furnish(&'static self, py: Python<'_>) -> Result<(), Unusable> {
        let outcome = self.try_furnish(py);
        let Err(raised) = outcome else { return Ok(()) };
        let Some(exception) = raised.take(py) else { return Err(Unusable) };
        let code = if crate::traceback::is_instance(&exception, system_exit()) { "0189" } else { "0188" };
        let kind = type_name(&exception);
        let process = &self.setting.phrases.of_process;
        let message = format!("WSGI{code}: {kind} exception raised while setting up the {} {process}.", self.label);
        self.setting.log_attached(py, Level::Error, &message);
        crate::traceback::trace(py, &exception, crate::traceback::Destination::Process(self));
        Err(Unusable)
    }

    fn try_furnish(&'static self, py: Python<'_>) -> Raise<()> {
        let config = &self.setting.config;
        // On this thread: otherwise the first request's thread that imports it becomes Python's main thread, and the
        // interpreter's end waits for a lock in its cached thread state.
        import(py, c"threading")?;
        if let Some(eggs) = &config.eggs {
            let environ = get(&import(py, c"os")?, c"environ")?;
            let folder = crate::object::filesystem(py, eggs)?;
            call_method(&environ, c"__setitem__", &[&text(py, "PYTHON_EGG_CACHE")?, &folder])?;
        }
        self.switch_interval(py)?;
        crate::search_path::extend(py, self)?;
        let module = crate::module::begin(py, self)?;
        let text_wrapper = get(&import(py, c"_io")?, c"TextIOWrapper")?;
        let log = wsgi::errors::make(py, &module)?;
        self.standard_streams(py, &module, &log, &text_wrapper);
        let restrict_signals = self.setting.scoped(&self.group, config.restrict.signal, |scope| scope.restrict_signal);
        if self.setting.is_service() {
            if self.group.is_empty()
                && let Err(raised) = signals::leave_on_terminate(py)
            {
                self.complain(py, raised, "0090", "Unable to register the handler of SIGTERM.");
            }
        } else if !restrict_signals {
            // Python notes the actions that signals have when the main interpreter imports this, for all interpreters.
            if self.group.is_empty() {
                import(py, c"_signal")?;
            }
        } else if let Err(raised) = signals::intercept(py, self, &module) {
            self.complain(py, raised, "0183", "Unable to intercept 'signal.signal'.");
        }
        crate::forks::replace(py, self, &module)?;
        if config.telemetry.is_some()
            && !self.setting.is_service()
            && let Err(raised) = crate::telemetry::watch(py, self)
        {
            // Reports go without it.
            raised.forget(py);
        }
        let file_wrapper = wsgi::file_wrapper::make(py, &module)?;
        // SAFETY: attached; the name ends in NUL, the base is an exception type.
        let timeout = unsafe {
            let name = c"mod_wsgi.RequestTimeout".as_ptr();
            owned(py, ffi::PyErr_NewException(name, crate::object::base_exception(), std::ptr::null_mut()))?
        };
        let [events, shutdown, signal] = crate::module::fill(py, self, &module, &file_wrapper, &timeout)?;
        crate::module::apache(py, self)?;
        let stored = crate::object::Stored::new;
        let [of_events, of_shutdown, of_signals] =
            [List::Events, List::Shutdown, List::Signal].map(|list| interned(py, list.name()).map(stored));
        let environs = Environs::new(py, config, &self.group, &file_wrapper)?;
        let parts = Parts {
            adapter: stored(wsgi::start_response::make(py, &module)?),
            input: stored(wsgi::input::make(py, &module)?),
            auth: stored(crate::consult::ssl::make(py, &module)?),
            log: stored(log),
            module: stored(module),
            file_wrapper: stored(file_wrapper),
            text_wrapper: stored(text_wrapper),
            timeout: stored(timeout),
            event_callbacks: stored(events),
            shutdown_callbacks: stored(shutdown),
            signal_callbacks: stored(signal),
            list_names: [of_events?, of_shutdown?, of_signals?],
            environs,
            names: Names::new(py)?,
        };
        if self.parts.set(parts).is_err() {
            return Err(raise(py, system_error(), "an interpreter was set up twice"));
        }
        Ok(())
    }

    /// `WSGISwitchInterval`: of the process, set in the main interpreter and in those that do not share its GIL; or of
    /// just this interpreter, when it has a GIL to itself.
    fn switch_interval(&self, py: Python<'_>) -> Raise<()> {
        let setting = self.setting;
        let of_process = setting.config.switch_interval;
        let own = setting.scoped(&self.group, None, |scope| scope.switch_interval.map(Some));
        let main = self.group.is_empty();
        let (label, process) = (&self.label, &setting.phrases.process);
        let no_gil = "free-threading is active in this process so there is no GIL switch interval to set.";
        let skip = |code: &str, what: String| {
            setting.log_attached(py, Level::Warning, &format!("WSGI{code}: Skipping {what}"))
        };
        if setting.free_threaded() {
            if let Some(interval) = of_process.filter(|_| main) {
                let code = if setting.embedded() { "0203" } else { "0204" };
                skip(code, format!("WSGISwitchInterval {interval:.6}s in {process}: {no_gil}"));
            }
            if let Some(interval) = own {
                skip("0205", format!("per-interpreter switch interval {interval:.6}s for {label}: {no_gil}"));
            }
            return Ok(());
        }
        if !main && !self.own_gil {
            if let Some(interval) = own {
                let why = "setting it would mutate the process-global value because this interpreter does not have \
                           its own GIL.";
                skip("0199", format!("per-interpreter switch interval {interval:.6}s for {label}: {why}"));
            }
            return Ok(());
        }
        let Some(interval) = own.or(of_process) else { return Ok(()) };
        let set_interval = from_sys(py, c"setswitchinterval")?;
        crate::object::call(&set_interval, &[&float(py, interval)?])?;
        let message = if main {
            format!("Python GIL switch interval set to {interval:.6}s in {process}.")
        } else {
            format!("Set switch interval {interval:.6}s for {label}.")
        };
        setting.log_attached(py, Level::Info, &message);
        Ok(())
    }

    /// `sys.stderr`, `sys.stdout` and `sys.stdin`. A stream that cannot be replaced stays what it was;
    /// on a console, input and output belong to whoever sits there.
    fn standard_streams<'py>(
        &'static self,
        py: Python<'py>,
        module: &Object<'py>,
        log: &Object<'py>,
        wrapper: &Object<'py>,
    ) {
        let restrict = self.setting.config.restrict;
        let restrict_stdout = self.setting.scoped(&self.group, restrict.stdout, |scope| scope.restrict_stdout);
        let restrict_stdin = self.setting.scoped(&self.group, restrict.stdin, |scope| scope.restrict_stdin);
        let stream = |which| {
            let (_, stream) = wsgi::errors::open(log, wrapper, Log::Stream(self, which))?;
            // As Python's own streams have it.
            set(&stream, c"mode", &text(py, "w")?)?;
            Ok(stream)
        };
        let refused = |name| restrict::make(py, module).and_then(|kind| restrict::restricted(&kind, name));
        let replace = |name: &std::ffi::CStr, stream: Raise<Object<'py>>| -> Raise<()> {
            let stream = stream?;
            // SAFETY: alive, attached; the name ends in NUL.
            crate::object::done(unsafe { ffi::PySys_SetObject(name.as_ptr(), stream.as_ptr()) })
        };
        if let Err(raised) = replace(c"stderr", stream(Stream::Stderr)) {
            self.complain(py, raised, "0185", "Unable to replace 'sys.stderr'.");
        }
        if self.setting.config.console {
            return;
        }
        let stdout = if restrict_stdout { refused("sys.stdout") } else { stream(Stream::Stdout) };
        if let Err(raised) = replace(c"stdout", stdout) {
            self.complain(py, raised, "0186", "Unable to replace 'sys.stdout'.");
        }
        if restrict_stdin && let Err(raised) = replace(c"stdin", refused("sys.stdin")) {
            self.complain(py, raised, "0187", "Unable to replace 'sys.stdin'.");
        }
    }

    fn complain(&self, py: Python<'_>, raised: Raised, code: &str, what: &str) {
        let why = raised.take(py).map(|exception| format!(" {}: {}", type_name(&exception), shown(&exception)));
        self.setting.log_attached(py, Level::Error, &format!("WSGI{code}: {what}{}", why.unwrap_or_default()));
    }

    /// Ends what applications have running in the interpreter: joins their threads and calls what they registered with
    /// `atexit`. `Py_EndInterpreter` would do the same, but cannot be called when threads are left over.
    ///
    /// In the main interpreter in Python's own order. In others, as in mod_wsgi, `atexit` comes first: a thread that waits
    /// for it to be told to end would never end otherwise.
    pub(crate) fn quiesce(&self, py: Python<'_>) {
        let mut ends = [(c"threading", c"_shutdown"), (c"atexit", c"_run_exitfuncs")];
        if !self.group.is_empty() {
            ends.reverse();
        }
        for (module, function) in ends {
            let outcome = import(py, module).and_then(|module| call_method(&module, function, &[]));
            if let Err(raised) = outcome {
                let code = if crate::object::matches(py, system_exit()) { "0097" } else { "0098" };
                let text = "Exception raised by exit functions of the application.";
                self.complain(py, raised, code, text);
            }
        }
        // Python calls `threading._shutdown` again at the interpreter's end, and in a sub-interpreter of some versions
        // the second call fails an assertion. Any callable without arguments does as "nothing more to do".
        let threading = import(py, c"threading");
        let done = import(py, c"builtins").and_then(|builtins| get(&builtins, c"list"));
        if let Err(raised) = threading.and_then(|threading| set(&threading, c"_shutdown", &done?)) {
            raised.forget(py);
        }
        for name in [c"stdout", c"stderr"] {
            let flushed = from_sys(py, name).and_then(|stream| call_method(&stream, c"flush", &[]));
            if let Err(raised) = flushed {
                // A restricted stream, or the application's own object in this place; the interpreter ends anyway.
                raised.forget(py);
            }
        }
    }

    /// Lets [`Interpreter::quiesce`] run on another thread than Python's main thread while that one is still busy: before
    /// 3.13 `threading._shutdown` would wait for it as for any other thread.
    pub(crate) fn release_main_thread(&self, py: Python<'_>) {
        if cfg!(Py_3_13) {
            return;
        }
        let released = import(py, c"threading").and_then(|threading| {
            let lock = get(&get(&threading, c"_main_thread")?, c"_tstate_lock")?;
            call_method(&get(&threading, c"_shutdown_locks")?, c"discard", &[&lock])
        });
        if let Err(raised) = released {
            raised.forget(py);
        }
    }

    /// Drops what the engine keeps of Python objects, so that the application's own end can run. A restricted
    /// `sys.stdout` makes way for one that Python can flush when it ends.
    pub(crate) fn strip(&'static self, py: Python<'_>) {
        if let Some(parts) = self.parts() {
            let log = Log::Stream(self, Stream::Stdout);
            let stream = wsgi::errors::open(&parts.log.get(py), &parts.text_wrapper.get(py), log);
            let replaced = stream.and_then(|(_, stream)| {
                // SAFETY: alive, attached; the name ends in NUL.
                crate::object::done(unsafe { ffi::PySys_SetObject(c"stdout".as_ptr(), stream.as_ptr()) })
            });
            if let Err(raised) = replaced {
                raised.forget(py);
            }
        }
        let bundles = std::mem::take(&mut *self.bundles.borrow_mut(py));
        for bundle in bundles {
            bundle.release(py);
        }
        let aids = std::mem::take(&mut *self.aids.borrow_mut(py));
        for aids in aids {
            aids.release(py);
        }
    }

    /// Whether only this thread has a state in the interpreter.
    pub(crate) fn is_deserted(&self, _py: Python<'_>) -> bool {
        // SAFETY: attached to the interpreter, whose list of states changes under its GIL or CPython's own lock.
        unsafe {
            let head = ffi::PyInterpreterState_ThreadHead(self.raw());
            head == ffi::PyThreadState_Get() && ffi::PyThreadState_Next(head).is_null()
        }
    }

    /// Logs the stacks of threads: of all, or of those with these identities.
    pub(crate) fn dump_stacks(&self, py: Python<'_>, level: Level, name: impl Fn(u64) -> Option<String>) {
        let dump = || -> Raise<()> {
            let sys = import(py, c"sys")?;
            let frames = call_method(&sys, c"_current_frames", &[])?;
            // SAFETY: an exact dict, alive, attached.
            let idents = unsafe { owned(py, ffi::PyDict_Keys(frames.as_ptr()))? };
            for index in 0..crate::object::list_length(&idents) {
                let ident = shown(&crate::object::list_item(&idents, index)?).parse().unwrap_or(0);
                let Some(name) = name(ident) else { continue };
                if let Some(frame) = crate::traceback::by_number(&frames, ident)?.filter(|frame| !is_none(frame)) {
                    crate::traceback::frames(py, self, level, &name, frame);
                }
            }
            Ok(())
        };
        if let Err(raised) = dump() {
            self.complain(py, raised, "0067", "The current Python frames are not available.");
        }
    }
}

/// The interpreter could not be set up; the reason was logged.
#[derive(Debug)]
pub(crate) struct Unusable;
