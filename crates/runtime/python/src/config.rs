//! Starting Python in the process, with `PyConfig`.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use pyo3::ffi;
use wsgi_protocol::abi::Level;
use wsgi_protocol::launch;

use crate::logging::Setting;

/// Python could not be started. The text was logged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StartFailure(pub(crate) String);

/// Initialises Python; on success the calling thread is attached to the main interpreter.
pub(crate) fn initialise(setting: &Setting) -> Result<(), StartFailure> {
    check_home(setting);
    // SAFETY: the configuration is initialised before anything else is done with it, and cleared once at the end.
    unsafe {
        preinitialise().map_err(|text| fatal(setting, "0036", &text))?;
        let mut config = MaybeUninit::<ffi::PyConfig>::uninit();
        ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
        let mut config = config.assume_init();
        let started = match fill(&mut config, &setting.config) {
            Ok(()) => check(ffi::Py_InitializeFromConfig(&raw const config)).map_err(|text| {
                let code = if setting.embedded() { "0001" } else { "0028" };
                fatal(setting, code, &text)
            }),
            Err(text) => Err(fatal(setting, "0036", &text)),
        };
        ffi::PyConfig_Clear(&raw mut config);
        started
    }
}

fn fatal(setting: &Setting, code: &str, text: &str) -> StartFailure {
    let process = &setting.phrases.process;
    let what = if code == "0036" {
        format!("Python interpreter configuration failed in {process}: {text}")
    } else {
        format!("Python initialisation failed in {process}: {text}. Check python-home and the installation it names.")
    };
    let message = format!("WSGI{code}: {what}");
    setting.log(Level::Critical, &message);
    StartFailure(message)
}

/// A home that cannot work is warned of, as Python's own message about it names neither the path nor the reason.
fn check_home(setting: &Setting) {
    let Some(home) = &setting.config.home else { return };
    let shown = String::from_utf8_lossy(home);
    setting.log(Level::Info, &format!("Python home set to '{shown}' for {}.", setting.phrases.process));
    let path = Path::new(std::ffi::OsStr::from_bytes(home));
    let hint = "Python may not be able to start. Verify the path and the permissions of all folders on it.";
    match std::fs::metadata(path) {
        Err(error) => {
            setting.log(Level::Warning, &format!("WSGI0100: Unable to stat Python home '{shown}' ({error}). {hint}"));
        }
        Ok(status) if !status.is_dir() => {
            setting.log(Level::Warning, &format!("WSGI0101: Python home '{shown}' is not a directory. {hint}"));
        }
        Ok(_) => {
            if let Err(error) = std::fs::read_dir(path) {
                let text = format!("WSGI0102: Python home '{shown}' is not accessible ({error}). {hint}");
                setting.log(Level::Warning, &text);
            }
        }
    }
}

fn check(status: ffi::PyStatus) -> Result<(), String> {
    // SAFETY: a status that CPython returned; its texts are static.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        let part = |text: *const std::ffi::c_char| {
            if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
        };
        let reason = part(status.err_msg).unwrap_or_else(|| format!("it asked to exit with {}", status.exitcode));
        Err(part(status.func).map_or(reason.clone(), |function| format!("{function}: {reason}")))
    }
}

/// The process's locale decides on encodings as it does for `python3`: one that is not set, is `C`, or is not installed
/// becomes `C.UTF-8`, in the environment as well, so that programs that the application starts agree (PEP 538).
unsafe fn preinitialise() -> Result<(), String> {
    // SAFETY: initialised before it is used.
    unsafe {
        let mut config = MaybeUninit::<ffi::PyPreConfig>::uninit();
        ffi::PyPreConfig_InitPythonConfig(config.as_mut_ptr());
        let mut config = config.assume_init();
        config.parse_argv = 0;
        config.coerce_c_locale_warn = 0;
        check(ffi::Py_PreInitialize(&raw const config))
    }
}

/// # Safety
/// `config` is initialised.
unsafe fn fill(config: &mut ffi::PyConfig, wanted: &launch::Python) -> Result<(), String> {
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    config.configure_c_stdio = 0;
    config.optimization_level = i32::from(wanted.optimize);
    config.write_bytecode = i32::from(!wanted.dont_write_bytecode);
    if let Some(seed) = wanted.hash_seed {
        config.use_hash_seed = 1;
        config.hash_seed = seed.into();
    }
    #[cfg(Py_GIL_DISABLED)]
    {
        // Without free threading such a Python gets its GIL back, as `PYTHON_GIL=1` does. With it, Python itself
        // decides what happens when an extension module needs the GIL.
        const ENABLED: std::ffi::c_int = 1;
        if !wanted.free_threading {
            config.enable_gil = ENABLED;
        }
    }
    let base = std::ptr::from_mut(config);
    // SAFETY: the strings and lists belong to the configuration, which copies what it is given.
    unsafe {
        let argument = wide(b"mod_wsgi")?;
        check(ffi::PyConfig_SetArgv(base, 1, [argument.as_ptr()].as_mut_ptr()))?;
        for filter in &wanted.warnings {
            let filter = wide(filter)?;
            check(ffi::PyWideStringList_Append(&raw mut (*base).warnoptions, filter.as_ptr()))?;
        }
        if let Some(home) = &wanted.home {
            let environment = Path::new(std::ffi::OsStr::from_bytes(home)).join("pyvenv.cfg");
            if std::fs::File::open(environment).is_ok() {
                // A virtual environment: this and nothing else gives the right prefix, path and base executable.
                let program = [home.as_slice(), b"/bin/python"].concat();
                set(base, &raw mut (*base).executable, &program)?;
            } else {
                set(base, &raw mut (*base).home, home)?;
            }
        }
        if (*base).executable.is_null() {
            // Not the first of the name on Apache's PATH, which may be another version.
            let own = env!("ENGINE_PYTHON_EXECUTABLE");
            let name = concat!("python", env!("ENGINE_PYTHON_VERSION"));
            match &wanted.home {
                None if Path::new(own).is_file() => set(base, &raw mut (*base).executable, own.as_bytes())?,
                None => set(base, &raw mut (*base).program_name, name.as_bytes())?,
                Some(home) => {
                    let program = [home.as_slice(), b"/bin/", name.as_bytes()].concat();
                    set(base, &raw mut (*base).program_name, &program)?;
                }
            }
        }
    }
    Ok(())
}

/// # Safety
/// `field` is one of `config`'s own.
unsafe fn set(config: *mut ffi::PyConfig, field: *mut *mut libc::wchar_t, value: &[u8]) -> Result<(), String> {
    let value = CString::new(value).map_err(|_| "a path has a NUL in it".to_owned())?;
    // SAFETY: promised by the caller; the value is copied.
    unsafe { check(ffi::PyConfig_SetBytesString(config, field.cast(), value.as_ptr())) }
}

/// Decodes with the file system's encoding, as Python does with its own command line.
fn wide(text: &[u8]) -> Result<Vec<libc::wchar_t>, String> {
    let text = CString::new(text).map_err(|_| "an option has a NUL in it".to_owned())?;
    // SAFETY: preinitialised; the result is copied with its end and given back.
    unsafe {
        let mut length = 0;
        let decoded = ffi::Py_DecodeLocale(text.as_ptr(), &raw mut length);
        if decoded.is_null() {
            return Err(format!("'{}' cannot be decoded", text.to_string_lossy()));
        }
        let copied = std::slice::from_raw_parts(decoded, usize::try_from(length).unwrap_or(0) + 1).to_vec();
        ffi::PyMem_RawFree(decoded.cast());
        Ok(copied)
    }
}
