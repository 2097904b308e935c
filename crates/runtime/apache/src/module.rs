//! The exported module record, and the creation and merging of configurations that it points to.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};

use crate::config::{Registry, ServerConfig, Settings};
use crate::directives;
use crate::guard::wall;
use crate::hooks;
use crate::host::{Pool, Server};
use crate::{daemon, scripts, sys};

/// A module record, which Apache writes to while it loads the module.
#[repr(transparent)]
pub(crate) struct Record(UnsafeCell<sys::module>);

// SAFETY: Apache writes to it only while it loads or unloads the module, with one thread.
unsafe impl Sync for Record {}

/// What `LoadModule wsgi_module …` looks for.
#[unsafe(no_mangle)]
pub(crate) static wsgi_module: Record = Record(UnsafeCell::new(sys::module {
    version: sys::MODULE_MAGIC_NUMBER_MAJOR.cast_signed(),
    minor_version: sys::MODULE_MAGIC_NUMBER_MINOR.cast_signed(),
    module_index: -1,
    // The name that `<IfModule>` and other modules' hook orders know.
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: sys::MODULE_MAGIC_COOKIE as _,
    rewrite_args: None,
    create_dir_config: Some(create_settings),
    merge_dir_config: Some(merge_settings),
    create_server_config: Some(create_server),
    // A virtual host without directives of ours shares the main server's; `config` joins the others.
    merge_server_config: None,
    cmds: directives::commands(),
    register_hooks: Some(register_hooks),
    flags: sys::AP_MODULE_FLAG_NONE.cast_signed(),
}));

/// The number that Apache gave to the module.
pub(crate) fn index() -> c_int {
    // SAFETY: written while the module is loaded, before any of its code runs.
    unsafe { (*wsgi_module.0.get()).module_index }
}

unsafe extern "C" fn register_hooks(pool: *mut sys::apr_pool_t) {
    wall("hook registration", (), || {
        // SAFETY: Apache passes the configuration's pool.
        let pool: Pool<'static> = unsafe { Pool::from_raw(pool) };
        hooks::register();
        daemon::watch_forks();
        scripts::register_providers(pool);
    });
}

unsafe extern "C" fn create_settings(pool: *mut sys::apr_pool_t, _: *mut c_char) -> *mut c_void {
    wall("create_dir_config", std::ptr::null_mut(), || {
        // SAFETY: Apache passes a live pool, which keeps the settings as long as they are used.
        let pool: Pool<'static> = unsafe { Pool::from_raw(pool) };
        std::ptr::from_mut(pool.put(Settings::default())).cast()
    })
}

unsafe extern "C" fn merge_settings(pool: *mut sys::apr_pool_t, outer: *mut c_void, inner: *mut c_void) -> *mut c_void {
    wall("merge_dir_config", outer, || {
        // SAFETY: both were made by `create_settings` or here, in pools that live as long as `pool`.
        let (pool, outer, inner) = unsafe {
            let pool: Pool<'static> = Pool::from_raw(pool);
            (pool, &*outer.cast::<Settings<'static>>(), &*inner.cast::<Settings<'static>>())
        };
        std::ptr::from_mut(pool.put(Settings::merge(pool, outer, inner))).cast()
    })
}

unsafe extern "C" fn create_server(pool: *mut sys::apr_pool_t, server: *mut sys::server_rec) -> *mut c_void {
    wall("create_server_config", std::ptr::null_mut(), || {
        // SAFETY: Apache passes the configuration's pool and a server of it.
        let (pool, server): (Pool<'static>, Server<'static>) =
            unsafe { (Pool::from_raw(pool), Server::from_raw(server)) };
        let config = ServerConfig::new(server, Registry::of(pool));
        std::ptr::from_ref(pool.keep(config)).cast_mut().cast()
    })
}
