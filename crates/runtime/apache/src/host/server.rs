//! `server_rec`.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::host::Pool;
use crate::host::request::text;
use crate::sys;

/// The main server or a virtual host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server<'s> {
    raw: NonNull<sys::server_rec>,
    lives: PhantomData<&'s sys::server_rec>,
}

impl std::fmt::Debug for Server<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Server({:?})", self.raw)
    }
}

// SAFETY: servers do not change once the configuration is read, and what is read before is read by one thread.
unsafe impl Send for Server<'_> {}
// SAFETY: as above.
unsafe impl Sync for Server<'_> {}

impl<'s> Server<'s> {
    /// # Safety
    /// `raw` is a server that lives for `'s`.
    pub(crate) unsafe fn from_raw(raw: *mut sys::server_rec) -> Self {
        Self { raw: NonNull::new(raw).expect("Apache passes a server"), lives: PhantomData }
    }

    /// A server that must not be looked at: for tests of code that only passes it on.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self { raw: NonNull::dangling(), lives: PhantomData }
    }

    pub(crate) fn raw(self) -> *mut sys::server_rec {
        self.raw.as_ptr()
    }

    fn get(self) -> &'s sys::server_rec {
        // SAFETY: alive for 's; servers do not change once the configuration is read.
        unsafe { self.raw.as_ref() }
    }

    /// Its number of the module's own server configuration.
    pub(crate) fn module_config(self, index: i32) -> *mut c_void {
        module_config(self.get().module_config, index)
    }

    /// Whether it is a virtual host.
    pub(crate) fn is_virtual(self) -> bool {
        self.get().is_virtual != 0
    }

    /// `ServerName`.
    pub(crate) fn name(self) -> Option<&'s CStr> {
        // SAFETY: null or a text of the configuration.
        unsafe { text(self.get().server_hostname) }
    }

    /// The port of `ServerName`; 0 without one.
    pub(crate) fn port(self) -> u16 {
        self.get().port
    }

    /// The descriptor of its error log, when that is a file or a pipe.
    pub(crate) fn log_descriptor(self) -> Option<std::os::fd::RawFd> {
        let mut descriptor = -1;
        // SAFETY: servers live as long as the configuration; the log is null or open.
        unsafe {
            let log = self.get().error_log;
            (!log.is_null() && sys::apr_os_file_get(&raw mut descriptor, log) == 0).then_some(descriptor)
        }
    }

    /// Writes a line to the error log as it is. `false`: the log is neither a file nor a pipe (syslog, say).
    pub(crate) fn append_to_log(self, line: &[u8]) -> bool {
        let Some(descriptor) = self.log_descriptor() else { return false };
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        // SAFETY: the line lives across the call; one writing keeps lines of several processes apart. A log that
        // cannot be written to has nowhere to say so.
        unsafe { libc::write(descriptor, whole.as_ptr().cast(), whole.len()) };
        true
    }

    /// `ServerAdmin`.
    pub(crate) fn admin(self) -> Option<&'s CStr> {
        // SAFETY: null or a text of the configuration.
        unsafe { text(self.get().server_admin) }
    }

    /// `Timeout` in microseconds.
    pub(crate) fn timeout(self) -> i64 {
        self.get().timeout
    }

    /// The next server in Apache's list.
    pub(crate) fn next(self) -> Option<Self> {
        NonNull::new(self.get().next).map(|raw| Self { raw, lives: PhantomData })
    }

    /// The highest level number that the module logs for this server.
    pub(crate) fn log_level(self, module: i32) -> i32 {
        // SAFETY: the server is alive.
        unsafe { sys::ap_get_server_module_loglevel(self.raw(), module) }
    }
}

/// A path below `ServerRoot`, or as it is when absolute. `None` when it is no path.
pub(crate) fn server_relative<'p>(pool: Pool<'p>, path: &CStr) -> Option<&'p CStr> {
    // SAFETY: the result is a text in the pool, `path` itself when that is absolute: hence the copy.
    unsafe {
        let copy = pool.text(path.to_bytes());
        text(sys::ap_server_root_relative(pool.raw(), copy.as_ptr()))
    }
}

/// The pointer that a module keeps in a configuration vector.
pub(crate) fn module_config(vector: *mut sys::ap_conf_vector_t, index: i32) -> *mut c_void {
    let Ok(index) = usize::try_from(index) else {
        return std::ptr::null_mut();
    };
    if vector.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: a vector has a place for every module that Apache gave a number to (`ap_get_module_config` is this).
    unsafe { *vector.cast::<*mut c_void>().add(index) }
}

/// Stores a module's pointer in a configuration vector.
///
/// # Safety
/// `vector` is a live vector of Apache that only this thread uses, and `index` is the module's number.
pub(crate) unsafe fn set_module_config(vector: *mut sys::ap_conf_vector_t, index: i32, value: *mut c_void) {
    if let Ok(index) = usize::try_from(index)
        && !vector.is_null()
    {
        // SAFETY: the caller promises the vector; it has a place for every module.
        unsafe { *vector.cast::<*mut c_void>().add(index) = value };
    }
}
