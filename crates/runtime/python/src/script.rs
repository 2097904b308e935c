//! WSGI scripts: loading, reloading, finding the application in them.
//!
//! Loading is serialised per interpreter: a lock that is waited for without the GIL, and a second look once it is held.
//! Otherwise concurrent first requests would meet half-initialised modules.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::PoisonError;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::request::{self, Facts};

use crate::digest::md5_hex;
use crate::gateway::Changed;
use crate::interpreter::Interpreter;
use crate::object::{
    Object, Raise, Raised, borrowed, bytes, call, find, from_sys, get, import, integer, is_callable, latin1, matches,
    os_error, owned, raise, set, system_exit, text, value_error,
};
use crate::thread::detached;
use crate::traceback::{Destination, Kind, is_instance, report};
use crate::wsgi::environ;

/// A script that an interpreter has loaded.
pub(crate) struct Loaded {
    module: crate::object::Stored,
    /// Its file's time in microseconds, when it was loaded.
    mtime: i64,
    /// The module has a `reload_required`.
    hook: bool,
}

/// The time of a file that is not there, or cannot be looked at.
const MISSING: i64 = -1;

/// Which script a request wants.
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a [u8],
    /// The file's time now, 0 when unknown.
    pub(crate) mtime: i64,
    /// `WSGIScriptReloading On`.
    pub(crate) reloading: bool,
    /// `WSGICaseSensitivity Off`.
    pub(crate) fold_case: bool,
    /// What the script's own `reload_required` is asked about.
    pub(crate) resource: &'a [u8],
}

impl<'a> Wanted<'a> {
    /// The script of a request.
    pub(crate) fn of(facts: &Facts<'a>) -> Self {
        let path = facts.script.or_empty();
        let reloading = facts.has(request::RELOAD);
        let mut wanted = Self {
            path,
            mtime: facts.script_mtime,
            reloading,
            fold_case: facts.has(request::FOLD_CASE),
            resource: path,
        };
        if facts.has(request::HANDLER_SCRIPT) {
            wanted.resource = environ::script_filename(facts);
            wanted.look();
        }
        wanted
    }

    /// A script that decides on a request.
    pub(crate) fn deciding(facts: &Facts<'a>) -> Self {
        let mut wanted = Self::of(facts);
        wanted.look();
        wanted
    }

    /// Looks at the file, as Apache has not. One that is gone differs from what was loaded: a script that decides on
    /// requests must not go on deciding once it was taken away.
    fn look(&mut self) {
        if self.reloading {
            self.mtime = match file_time(Path::new(std::ffi::OsStr::from_bytes(self.path))) {
                0 => MISSING,
                time => time,
            };
        }
    }

    /// The file's time now; `None`: [`Wanted::look`] found no file.
    pub(crate) fn known_mtime(&self) -> Option<i64> {
        (!self.is_missing()).then_some(self.mtime)
    }

    /// Whether the file is another one than what was loaded. A request that was looked up before a change, and comes to a process
    /// that has loaded the file since, tells of an older one: that is no change, unless the file itself is not what was loaded.
    fn differs_from(&self, loaded: &Loaded) -> bool {
        self.mtime != loaded.mtime && (self.mtime > loaded.mtime || time_of(self.path) != loaded.mtime)
    }

    /// Whether [`Wanted::look`] found no file.
    pub(crate) fn is_missing(&self) -> bool {
        self.mtime == MISSING
    }
}

/// Why there is no module.
pub(crate) enum NotLoaded {
    /// It failed and was logged.
    Failed,
    /// `RequestTimeout` arrived meanwhile.
    TimedOut,
}

/// Whether the loaded script is out of date, as far as its file's time tells. Needs no GIL.
pub(crate) fn is_outdated(interpreter: &Interpreter, wanted: &Wanted<'_>) -> bool {
    if !wanted.reloading || wanted.mtime == 0 {
        return false;
    }
    let scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
    scripts.get(wanted.path).is_some_and(|loaded| wanted.differs_from(loaded))
}

/// Whether the loaded script has a say itself in when it is loaded again.
pub(crate) fn has_hook(interpreter: &Interpreter, path: &[u8]) -> bool {
    let scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
    scripts.get(path).is_some_and(|loaded| loaded.hook)
}

/// The module of a script that is loaded and needs no second thought: the way of nearly every request.
pub(crate) fn ready<'py>(py: Python<'py>, interpreter: &Interpreter, wanted: &Wanted<'_>) -> Option<Object<'py>> {
    let scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = scripts.get(wanted.path)?;
    let outdated = wanted.reloading && (loaded.hook || (wanted.mtime != 0 && wanted.differs_from(loaded)));
    (!outdated).then(|| loaded.module.get(py))
}

/// Asks a loaded script's `reload_required`. Exceptions are logged and mean no.
pub(crate) fn hook_wants_reload(py: Python<'_>, to: Destination<'_>, wanted: &Wanted<'_>) -> bool {
    let path = wanted.path;
    let Some((module, _)) = lookup(py, to.interpreter(), path) else {
        return false;
    };
    let answer = || -> Raise<bool> {
        let Some(hook) = find(&module, c"reload_required")?.filter(is_callable) else {
            return Ok(false);
        };
        let answer = call(&hook, &[&crate::object::filesystem(py, wanted.resource)?])?;
        // SAFETY: alive, attached.
        match unsafe { ffi::PyObject_IsTrue(answer.as_ptr()) } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Raised),
        }
    };
    match answer() {
        Ok(answer) => answer,
        Err(raised) => {
            report(py, raised, to, &String::from_utf8_lossy(path));
            false
        }
    }
}

fn lookup<'py>(py: Python<'py>, interpreter: &Interpreter, path: &[u8]) -> Option<(Object<'py>, i64)> {
    let scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
    scripts.get(path).map(|loaded| (loaded.module.get(py), loaded.mtime))
}

/// The module of a script: the loaded one when it is up to date, otherwise it is loaded now. `forced`: its own hook
/// wants it loaded again.
pub(crate) fn module<'py>(
    py: Python<'py>,
    to: Destination<'_>,
    wanted: &Wanted<'_>,
    forced: bool,
) -> Result<Object<'py>, NotLoaded> {
    let interpreter = to.interpreter();
    let before = lookup(py, interpreter, wanted.path);
    if let Some((module, _)) = &before
        && !forced
        && !is_outdated(interpreter, wanted)
    {
        return Ok(module.clone());
    }
    let _turn = detached(py, || interpreter.loading.lock().unwrap_or_else(PoisonError::into_inner));
    // Somebody else may have loaded it while this thread waited.
    let now = lookup(py, interpreter, wanted.path);
    let replaced = match (&before, &now) {
        (Some((old, _)), Some((new, _))) => old.as_ptr() != new.as_ptr(),
        (None, Some(_)) => true,
        _ => false,
    };
    if let Some((module, _)) = &now
        && ((replaced && !is_outdated(interpreter, wanted)) || (!forced && !is_outdated(interpreter, wanted)))
    {
        return Ok(module.clone());
    }
    if let Some((module, _)) = &now {
        match interpreter.setting.process.script_changed(wanted.path, wanted.known_mtime()) {
            Changed::Keep => return Ok(module.clone()),
            // Too late for another process: this request was accepted. The process leaves after it.
            Changed::Leave | Changed::Reload => {}
        }
    }
    let path = String::from_utf8_lossy(wanted.path);
    let verb = if now.is_some() { "Reloading" } else { "Loading" };
    let phrases = &interpreter.setting.phrases;
    let message = format!("{verb} WSGI script '{path}' into {} {}.", interpreter.label, phrases.of_process);
    interpreter.setting.log_attached(py, Level::Info, &message);
    drop((before, now));
    forget(py, interpreter, wanted);

    let request = matches!(to, Destination::Request(_));
    if request {
        interpreter.setting.process.loading_started();
    }
    let loaded = load(py, to, wanted);
    if request {
        interpreter.setting.process.loading_finished(loaded.is_ok());
    }
    loaded
}

/// Drops a loaded script from everywhere.
fn forget(py: Python<'_>, interpreter: &Interpreter, wanted: &Wanted<'_>) {
    let removed = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner).remove(wanted.path);
    if let Some(loaded) = removed {
        drop_from_modules(py, &module_name(wanted));
        loaded.module.release(py);
    }
}

fn drop_from_modules(py: Python<'_>, name: &str) {
    let dropped = || -> Raise<()> {
        let modules = from_sys(py, c"modules")?;
        let name = text(py, name)?;
        // SAFETY: alive, attached.
        crate::object::done(unsafe { ffi::PyObject_DelItem(modules.as_ptr(), name.as_ptr()) })
    };
    if let Err(raised) = dropped() {
        // It is not there: a failed execution has removed it already.
        raised.forget(py);
    }
}

fn module_name(wanted: &Wanted<'_>) -> String {
    let path = wanted.path;
    let digest = if wanted.fold_case { md5_hex(&path.to_ascii_lowercase()) } else { md5_hex(path) };
    format!("_mod_wsgi_{digest}")
}

/// The time of a script's file.
pub(crate) fn time_of(path: &[u8]) -> i64 {
    file_time(Path::new(std::ffi::OsStr::from_bytes(path)))
}

/// The time of a file in microseconds, as Apache counts; 0 when it cannot be told.
fn file_time(path: &Path) -> i64 {
    std::fs::metadata(path).map_or(0, |status| status.mtime() * 1_000_000 + status.mtime_nsec() / 1000)
}

fn load<'py>(py: Python<'py>, to: Destination<'_>, wanted: &Wanted<'_>) -> Result<Object<'py>, NotLoaded> {
    let interpreter = to.interpreter();
    let path = String::from_utf8_lossy(wanted.path);
    let file = Path::new(std::ffi::OsStr::from_bytes(wanted.path));
    let (source, mtime) = detached(py, || {
        let mtime = if wanted.mtime == 0 { file_time(file) } else { wanted.mtime };
        (std::fs::read(file), mtime)
    });
    let compiled = source.map_err(|error| unreadable(py, wanted.path, &error)).and_then(|source| {
        let file = crate::object::filesystem(py, wanted.path)?;
        let compile = get(&import(py, c"builtins")?, c"compile")?;
        let (mode, flags, separate) = (text(py, "exec")?, integer(py, 0)?, integer(py, 1)?);
        call(&compile, &[&bytes(py, &source)?, &file, &mode, &flags, &separate])
    });
    let code = match compiled {
        Ok(code) => code,
        Err(raised) => {
            let number = if matches!(to, Destination::Request(_)) { "0105" } else { "0106" };
            let message = format!(
                "WSGI{number}: Could not read or compile WSGI script '{path}' for {} {}. \
                 (Could not read/compile source file '{path}'.)",
                interpreter.label, interpreter.setting.phrases.of_process
            );
            return Err(failed(py, raised, to, &path, &message));
        }
    };
    let name = module_name(wanted);
    match execute(py, &name, &code, wanted.path, mtime) {
        Ok(module) => {
            let hook = match find(&module, c"reload_required") {
                Ok(hook) => hook.is_some(),
                Err(raised) => {
                    raised.forget(py);
                    false
                }
            };
            let loaded = Loaded { module: crate::object::Stored::new(module.clone()), mtime, hook };
            let mut scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
            scripts.insert(wanted.path.to_vec(), loaded);
            drop(scripts);
            interpreter.setting.process.script_loaded(wanted.path, &interpreter.group);
            Ok(module)
        }
        Err(raised) => {
            let request = matches!(to, Destination::Request(_));
            let message = if matches(py, system_exit()) {
                let number = if request { "0107" } else { "0108" };
                format!("WSGI{number}: SystemExit exception raised when doing exec of Python script file '{path}'.")
            } else {
                let number = if request { "0109" } else { "0110" };
                format!(
                    "WSGI{number}: Unable to execute Python script file '{path}'. \
                     (Failed to exec Python script file '{path}'.)"
                )
            };
            let outcome = failed(py, raised, to, &path, &message);
            drop_from_modules(py, &name);
            Err(outcome)
        }
    }
}

fn failed(py: Python<'_>, raised: Raised, to: Destination<'_>, path: &str, message: &str) -> NotLoaded {
    let Some(exception) = raised.take(py) else {
        return NotLoaded::Failed;
    };
    if to.interpreter().is_timeout(&exception) {
        return NotLoaded::TimedOut;
    }
    if to.interpreter().setting.is_service() && is_instance(&exception, system_exit()) {
        // How a service script is ended, and how it ends itself.
        return NotLoaded::Failed;
    }
    to.prefixed(py, Level::Error, message);
    match report(py, crate::object::restore(&exception), to, path) {
        Kind::RequestTimeout => NotLoaded::TimedOut,
        Kind::Other => NotLoaded::Failed,
    }
}

/// Raises the `OSError` of a file that could not be read.
fn unreadable(py: Python<'_>, path: &[u8], error: &std::io::Error) -> Raised {
    let Some(number) = error.raw_os_error() else {
        return raise(py, os_error(), &error.to_string());
    };
    let made = || -> Raise<Object<'_>> {
        let reason = import(py, c"os")
            .and_then(|os| crate::object::call_method(&os, c"strerror", &[&integer(py, i64::from(number))?]))?;
        // SAFETY: alive, attached; `OSError(errno, text, path)` chooses the subclass itself.
        let kind = unsafe { borrowed(py, os_error())? };
        call(&kind, &[&integer(py, i64::from(number))?, &reason, &crate::object::filesystem(py, path)?])
    };
    match made() {
        Ok(exception) => crate::object::restore(&exception),
        Err(raised) => raised,
    }
}

fn execute<'py>(py: Python<'py>, name: &str, code: &Object<'py>, path: &[u8], mtime: i64) -> Raise<Object<'py>> {
    let name = text(py, name)?;
    let file = crate::object::filesystem(py, path)?;
    // SAFETY: alive, attached; a missing cached path is allowed.
    let module = unsafe {
        owned(
            py,
            ffi::PyImport_ExecCodeModuleObject(name.as_ptr(), code.as_ptr(), file.as_ptr(), std::ptr::null_mut()),
        )?
    };
    // SAFETY: alive, attached.
    if unsafe { ffi::PyModule_Check(module.as_ptr()) } == 0 {
        // The script has replaced itself in sys.modules by something else.
        return Err(raise(py, value_error(), "the script's entry in sys.modules is not a module"));
    }
    set(&module, c"__mtime__", &integer(py, mtime)?)?;
    Ok(module)
}

/// The application object in a script's module; `None` when there is no such name.
pub(crate) fn callable<'py>(module: &Object<'py>, name: &[u8]) -> Raise<Option<Object<'py>>> {
    let py = module.py();
    let name = latin1(py, name)?;
    // SAFETY: a module, alive, attached; what is found is a reference of our own, as without a GIL another thread may
    // take it out of the module.
    unsafe {
        let names = ffi::PyModule_GetDict(module.as_ptr());
        let mut value = std::ptr::null_mut();
        crate::object::done(ffi::compat::PyDict_GetItemRef(names, name.as_ptr(), &raw mut value))?;
        Ok(pyo3::Bound::from_owned_ptr_or_opt(py, value))
    }
}
