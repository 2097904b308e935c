//! What the multi-processing module and the core say of the server.

use std::ffi::{CStr, c_int};

use crate::sys;

/// The multi-processing module's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mpm {
    /// `event`, `worker`, `prefork`.
    pub(crate) name: String,
    /// The most child processes.
    pub(crate) maximum_processes: u32,
    /// Threads per child; 1 when it has none.
    pub(crate) threads_per_process: u32,
}

/// Whether one process serves everything itself, as for a debugger (`httpd -X`).
pub(crate) fn is_single_process() -> bool {
    // SAFETY: texts that end in NUL.
    [c"ONE_PROCESS", c"DEBUG"].iter().any(|name| unsafe { sys::ap_exists_config_define(name.as_ptr()) } != 0)
}

/// Whether children serve with several threads.
pub(crate) fn is_threaded() -> bool {
    query(sys::AP_MPMQ_IS_THREADED).is_some_and(|value| value != 0)
}

fn query(code: u32) -> Option<c_int> {
    let mut result: c_int = 0;
    // SAFETY: `result` is writable.
    let status = unsafe { sys::ap_mpm_query(c_int::try_from(code).unwrap_or(0), &raw mut result) };
    (status == 0).then_some(result)
}

impl Mpm {
    /// Asks the module. Settled once the configuration was read.
    pub(crate) fn ask() -> Self {
        let number = |code| query(code).and_then(|value| u32::try_from(value).ok()).unwrap_or(0).max(1);
        // SAFETY: a constant text.
        let name = unsafe {
            let name = sys::ap_show_mpm();
            if name.is_null() { c"" } else { CStr::from_ptr(name) }
        };
        let forked = query(sys::AP_MPMQ_IS_FORKED).is_some_and(|value| value != 0);
        Self {
            name: name.to_string_lossy().to_ascii_lowercase(),
            maximum_processes: if forked { number(sys::AP_MPMQ_MAX_DAEMONS) } else { 1 },
            threads_per_process: if is_threaded() { number(sys::AP_MPMQ_MAX_THREADS) } else { 1 },
        }
    }

    /// Whether the server is being stopped.
    pub(crate) fn is_stopping() -> bool {
        query(sys::AP_MPMQ_MPM_STATE) == Some(sys::AP_MPMQ_STOPPING.cast_signed())
    }

    /// The most child processes that may ever run (`ServerLimit`), and their threads.
    pub(crate) fn hard_limits() -> (u32, u32) {
        let number = |code| query(code).and_then(|value| u32::try_from(value).ok()).unwrap_or(1).max(1);
        (number(sys::AP_MPMQ_HARD_LIMIT_DAEMONS), number(sys::AP_MPMQ_HARD_LIMIT_THREADS))
    }
}

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MainState {
    /// The first reading of the configuration, which is thrown away.
    InitialStartup,
    /// A configuration is being made.
    CreateConfig,
    /// A configuration is being thrown away.
    DestroyConfig,
    /// Serving.
    RunMpm,
    /// Ending.
    Exiting,
}

/// Asks the core for its state.
pub(crate) fn main_state() -> MainState {
    // SAFETY: a query without arguments of ours.
    let state = unsafe { sys::ap_state_query(sys::AP_SQ_MAIN_STATE.cast_signed()) }.cast_unsigned();
    match state {
        sys::AP_SQ_MS_INITIAL_STARTUP | sys::AP_SQ_MS_CREATE_PRE_CONFIG => MainState::InitialStartup,
        sys::AP_SQ_MS_DESTROY_CONFIG => MainState::DestroyConfig,
        sys::AP_SQ_MS_RUN_MPM => MainState::RunMpm,
        sys::AP_SQ_MS_EXITING => MainState::Exiting,
        _ => MainState::CreateConfig,
    }
}

/// Version, banner and build date of the server.
pub(crate) fn server_description() -> ((u32, u32, u32), Vec<u8>, Vec<u8>) {
    let mut version = std::mem::MaybeUninit::<sys::ap_version_t>::zeroed();
    // SAFETY: the structure is writable; the texts are constants or live as long as the configuration.
    unsafe {
        sys::ap_get_server_revision(version.as_mut_ptr());
        let version = version.assume_init();
        let number = |value: c_int| u32::try_from(value).unwrap_or(0);
        let text = |pointer: *const std::ffi::c_char| {
            if pointer.is_null() { Vec::new() } else { CStr::from_ptr(pointer).to_bytes().to_vec() }
        };
        (
            (number(version.major), number(version.minor), number(version.patch)),
            text(sys::ap_get_server_description()),
            text(sys::ap_get_server_built()),
        )
    }
}
