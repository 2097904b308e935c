//! Loading the engine into a child, once, when the child starts. The parent never does.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

use wsgi_protocol::abi::{ABI_VERSION, Bytes, ENGINE_SYMBOL, EngineEntry, EngineTable};
use wsgi_protocol::launch;
use wsgi_protocol::page::State;

use crate::config::{Generation, Registry};
use crate::embedded::stop_signal;
use crate::embedded::table::HOST;
use crate::host::{Pool, Target, log};
use crate::{codes, launch_python};

/// The engine in this child, or the fact that it could not be started (which was logged).
pub(crate) struct Embedded {
    table: Option<&'static EngineTable>,
}

impl Embedded {
    /// The running engine.
    pub(crate) fn table(&self) -> Option<&'static EngineTable> {
        self.table
    }
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("the engine's path holds a NUL byte")]
    Path,
    #[error("{0}")]
    Open(String),
    #[error("'{0}' is not an engine of this module: {1}")]
    Foreign(String, &'static str),
    #[error("the engine's configuration cannot be encoded: {0}")]
    Config(#[from] wsgi_protocol::Malformed),
    #[error("Python could not be started (code {0}); the lines before say why")]
    Start(i32),
}

/// Starts Python in this child, when embedded mode is used.
pub(crate) fn child_init(registry: &'static Registry, generation: &'static Generation, child: Pool<'static>) {
    let Some(engine) = &generation.engine else { return };
    let table = match start(&engine.library, generation) {
        Ok(table) => {
            log::info(
                Target::Process,
                format_args!(
                    "Python/{} runs in embedded mode.",
                    String::from_utf8_lossy(table.python_version.or_empty())
                ),
            );
            // Before the pool's memory goes, while the log is still open.
            child.at_end(move || {
                // SAFETY: the engine was started, and this is the only place that stops it.
                unsafe { (table.stop)() };
            });
            stop_signal::install(table);
            Some(table)
        }
        Err(error) => {
            log::process(
                &codes::PYTHON_FAILED,
                format_args!("Python initialisation failed in embedded mode: {error}."),
            );
            None
        }
    };
    if let Some(children) = registry.children().get() {
        children.set_state(if table.is_some() { State::Ready } else { State::Broken });
    }
    // A child starts once.
    let _ = registry.embedded().set(Embedded { table });
}

fn start(library: &std::path::Path, generation: &Generation) -> Result<&'static EngineTable, LoadError> {
    let table = load(library)?;
    let config = launch::encode(&launch_python::embedded(generation))?;
    // SAFETY: the table came from an engine of this version, which is started once.
    let code = unsafe { (table.start)(Bytes::new(&config)) };
    if code == 0 { Ok(table) } else { Err(LoadError::Start(code)) }
}

fn load(library: &std::path::Path) -> Result<&'static EngineTable, LoadError> {
    let path = CString::new(library.as_os_str().as_bytes()).map_err(|_| LoadError::Path)?;
    let foreign = |reason| LoadError::Foreign(library.display().to_string(), reason);
    // SAFETY: plain calls; the file was checked when the configuration was read. Global, so that extension modules
    // which do not link libpython find its symbols.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
        if handle.is_null() {
            return Err(LoadError::Open(last_error()));
        }
        let entry = libc::dlsym(handle, ENGINE_SYMBOL.as_ptr());
        if entry.is_null() {
            return Err(foreign("it has no entry"));
        }
        let entry: EngineEntry = std::mem::transmute::<*mut std::ffi::c_void, EngineEntry>(entry);
        let table = entry(&raw const HOST).as_ref().ok_or_else(|| foreign("it refuses this module's version"))?;
        if table.version != ABI_VERSION || (table.size as usize) < size_of::<EngineTable>() {
            return Err(foreign("its version is another one"));
        }
        Ok(table)
    }
}

fn last_error() -> String {
    // SAFETY: null or a text that lives until the next call on this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() { "unknown error".to_owned() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}
