//! WSGI scripts: loading, reloading, finding the application in them.
//!
//! Loading is serialised per interpreter: a lock that is waited for without the GIL, and a second look once it is held.
//! Otherwise concurrent first requests would meet half-initialised modules.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;

use pyo3::{Python, ffi};
use wsgi_protocol::abi::Level;
use wsgi_protocol::request::{self, Facts};
use wsgi_protocol::script_file::ScriptFile;

use crate::digest::md5_hex;
use crate::gateway::Changed;
use crate::interpreter::Interpreter;
use crate::object::{
    Object, Raise, Raised, Stored, borrowed, bytes, call, call_method, find, from_sys, get, import, integer, interned,
    is_callable, latin1, matches, os_error, owned, raise, shown, system_exit, text, value_error,
};
use crate::thread::detached;
use crate::traceback::{Destination, Kind, is_instance, report};
use crate::wsgi::environ;

/// A script that an interpreter has loaded.
pub(crate) struct Loaded {
    module: Stored,
    /// The version of its file when it was loaded.
    version: u64,
    /// `__mtime__`, and the number that was put there. A script that is without it, or has another one, wants to be loaded
    /// again.
    stamp: (Stored, Stored),
    /// The module has a `reload_required`.
    hook: bool,
}

impl Loaded {
    /// Whether the script's globals still say when its file was changed.
    fn has_stamp(&self, py: Python<'_>) -> bool {
        let (name, number) = &self.stamp;
        // SAFETY: a module and a text, alive, attached; what is found is a reference of our own.
        unsafe {
            let names = ffi::PyModule_GetDict(self.module.as_ptr());
            let mut value = std::ptr::null_mut();
            if ffi::compat::PyDict_GetItemRef(names, name.as_ptr(), &raw mut value) < 0 {
                Raised.forget(py);
            }
            let same = value == number.as_ptr();
            ffi::Py_XDECREF(value);
            same
        }
    }

    fn release(self, py: Python<'_>) {
        for object in [self.stamp.0, self.stamp.1, self.module] {
            object.release(py);
        }
    }
}

/// Which script a request wants.
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a [u8],
    /// The [`ScriptFile::version`] that the file had when the request was looked up.
    pub(crate) version: u64,
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
            version: facts.script_version,
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
            self.version = version_of(self.path);
        }
    }

    /// The version that the file has now, where it is another one than what was loaded. A request that was looked up before
    /// a change, and comes to a process that has loaded the file since, tells of an older one: that is no change.
    fn news(&self, loaded: &Loaded) -> Option<u64> {
        if !self.reloading || self.version == ScriptFile::UNKNOWN || self.version == loaded.version {
            return None;
        }
        Some(version_of(self.path)).filter(|version| *version != loaded.version)
    }

    /// Whether [`Wanted::look`] found no file.
    pub(crate) fn is_missing(&self) -> bool {
        self.version == ScriptFile::MISSING
    }
}

/// What a script that is wanted comes to.
pub(crate) enum Standing<'py> {
    /// This module serves.
    Ready(Object<'py>),
    /// It is to be loaded, in the place of this module.
    Load(Option<Object<'py>>),
    /// The process leaves; another one is to serve the request.
    Leave,
}

/// A script that is wanted, and what it comes to where that was decided already.
pub(crate) struct Found<'a, 'py> {
    pub(crate) wanted: &'a Wanted<'a>,
    pub(crate) standing: Option<Standing<'py>>,
}

/// Why there is no module.
pub(crate) enum NotLoaded {
    /// It failed and was logged.
    Failed,
    /// `RequestTimeout` arrived meanwhile.
    TimedOut,
}

/// Decides whether the loaded module serves. Nothing else does, and it is asked once for each request, as it asks the
/// script's own `reload_required`.
pub(crate) fn standing<'py>(py: Python<'py>, to: Destination<'_>, wanted: &Wanted<'_>) -> Standing<'py> {
    let interpreter = to.interpreter();
    let (module, mut news, stamped, hook) = {
        let scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(loaded) = scripts.get(wanted.path) else { return Standing::Load(None) };
        let module = loaded.module.get(py);
        if !wanted.reloading {
            return Standing::Ready(module);
        }
        (module, wanted.news(loaded), loaded.has_stamp(py), loaded.hook)
    };
    if news.is_none() && (!stamped || (hook && hook_wants_reload(py, to, &module, wanted))) {
        news = Some(version_of(wanted.path));
    }
    let Some(version) = news else { return Standing::Ready(module) };
    match interpreter.setting.process.script_changed(wanted.path, version) {
        Changed::Keep => Standing::Ready(module),
        Changed::Leave => Standing::Leave,
        Changed::Reload => Standing::Load(Some(module)),
    }
}

/// Asks a loaded script's `reload_required`. Exceptions are logged and mean no.
fn hook_wants_reload(py: Python<'_>, to: Destination<'_>, module: &Object<'_>, wanted: &Wanted<'_>) -> bool {
    let answer = || -> Raise<bool> {
        let Some(hook) = find(module, c"reload_required")?.filter(is_callable) else {
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
            report(py, raised, to, &String::from_utf8_lossy(wanted.path));
            false
        }
    }
}

/// The module of a script: the loaded one when it is up to date, otherwise it is loaded now.
pub(crate) fn module<'py>(
    py: Python<'py>,
    to: Destination<'_>,
    wanted: &Wanted<'_>,
    standing: Standing<'py>,
) -> Result<Object<'py>, NotLoaded> {
    let before = match standing {
        Standing::Ready(module) => return Ok(module),
        Standing::Load(before) => before,
        // Too late for another process.
        Standing::Leave => None,
    };
    let interpreter = to.interpreter();
    let _turn = detached(py, || interpreter.loading.lock().unwrap_or_else(PoisonError::into_inner));
    // Somebody else may have loaded it while this thread waited.
    let now = {
        let scripts = interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.get(wanted.path).map(|loaded| (loaded.module.get(py), wanted.news(loaded).is_none()))
    };
    let reloads = now.is_some();
    if let Some((module, current)) = now
        && current
        && before.as_ref().is_none_or(|before| before.as_ptr() != module.as_ptr())
    {
        return Ok(module);
    }
    let path = String::from_utf8_lossy(wanted.path);
    let verb = if reloads { "Reloading" } else { "Loading" };
    let phrases = &interpreter.setting.phrases;
    let message = format!("{verb} WSGI script '{path}' into {} {}.", interpreter.label, phrases.of_process);
    interpreter.setting.log_attached(py, Level::Info, &message);
    drop(before);
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
        loaded.release(py);
    }
}

/// Takes all loaded scripts apart at the interpreter's end, while the modules that they have imported and the streams still
/// work: Python would do it in any order. Nobody may be in them.
pub(crate) fn forget_all(py: Python<'_>, interpreter: &Interpreter) {
    let scripts = std::mem::take(&mut *interpreter.scripts.lock().unwrap_or_else(PoisonError::into_inner));
    if scripts.is_empty() {
        return;
    }
    for loaded in scripts.into_values() {
        let module = loaded.module.get(py);
        // SAFETY: a module, alive, attached.
        if let Ok(name) = unsafe { owned(py, ffi::PyModule_GetNameObject(module.as_ptr())) } {
            drop_from_modules(py, &shown(&name));
        }
        loaded.release(py);
    }
    let collected = import(py, c"gc").and_then(|gc| call_method(&gc, c"collect", &[]));
    if let Err(raised) = collected {
        raised.forget(py);
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

/// The version of the file at this path.
pub(crate) fn version_of(path: &[u8]) -> u64 {
    file_at(Path::new(std::ffi::OsStr::from_bytes(path))).map_or(ScriptFile::MISSING, |file| file.version())
}

fn file_at(path: &Path) -> Option<ScriptFile> {
    std::fs::metadata(path).ok().map(|status| ScriptFile::from(&status))
}

fn load<'py>(py: Python<'py>, to: Destination<'_>, wanted: &Wanted<'_>) -> Result<Object<'py>, NotLoaded> {
    let interpreter = to.interpreter();
    let path = String::from_utf8_lossy(wanted.path);
    let file = Path::new(std::ffi::OsStr::from_bytes(wanted.path));
    // The version first: a file that changes while it is read is another one than what was loaded.
    let (known, source) = detached(py, || (file_at(file), std::fs::read(file)));
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
    match execute(py, &name, &code, wanted.path, known.map_or(0, |file| file.modified)) {
        Ok((module, stamp)) => {
            let hook = match find(&module, c"reload_required") {
                Ok(hook) => hook.is_some(),
                Err(raised) => {
                    raised.forget(py);
                    false
                }
            };
            let version = known.map_or(ScriptFile::MISSING, |file| file.version());
            let loaded = Loaded { module: Stored::new(module.clone()), version, stamp, hook };
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
        let reason =
            import(py, c"os").and_then(|os| call_method(&os, c"strerror", &[&integer(py, i64::from(number))?]))?;
        // SAFETY: alive, attached; `OSError(errno, text, path)` chooses the subclass itself.
        let kind = unsafe { borrowed(py, os_error())? };
        call(&kind, &[&integer(py, i64::from(number))?, &reason, &crate::object::filesystem(py, path)?])
    };
    match made() {
        Ok(exception) => crate::object::restore(&exception),
        Err(raised) => raised,
    }
}

/// Runs the script; also the name and the value of its `__mtime__`.
fn execute<'py>(
    py: Python<'py>,
    name: &str,
    code: &Object<'py>,
    path: &[u8],
    mtime: i64,
) -> Raise<(Object<'py>, (Stored, Stored))> {
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
    let (stamp_name, stamp) = (interned(py, c"__mtime__")?, integer(py, mtime)?);
    // SAFETY: alive, attached.
    crate::object::done(unsafe { ffi::PyObject_SetAttr(module.as_ptr(), stamp_name.as_ptr(), stamp.as_ptr()) })?;
    Ok((module, (Stored::new(stamp_name), Stored::new(stamp))))
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
