//! The sections of the configuration (`<Location>`, `<Directory>` …), looked at as a whole.

use std::ffi::CStr;
use std::marker::PhantomData;

use crate::host::Server;
use crate::host::server::module_config;
use crate::sys;

/// A `SetHandler`, told from others by where Apache keeps what it says: sections that merge share that, and no other has
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandlerSetting(usize);

impl HandlerSetting {
    /// The one of the core's settings.
    pub(crate) fn of(settings: &sys::core_dir_config) -> Option<Self> {
        // Most versions of httpd read a plain name as an expression too.
        let places = [settings.expr_handler.addr(), settings.handler.addr()];
        places.into_iter().find(|place| *place != 0).map(Self)
    }
}

/// One section.
#[derive(Clone, Copy)]
pub(crate) struct Section<'s> {
    vector: *mut sys::ap_conf_vector_t,
    lives: PhantomData<&'s sys::ap_conf_vector_t>,
}

impl<'s> Section<'s> {
    /// Its configuration vector: a place for each module, null where no directive of that module stands in the section.
    pub(crate) fn vector(self) -> *mut sys::ap_conf_vector_t {
        self.vector
    }

    /// The `SetHandler` that stands in it.
    pub(crate) fn handler(self) -> Option<HandlerSetting> {
        // SAFETY: the core keeps its settings at its index, for as long as the configuration.
        let settings = unsafe {
            module_config(self.vector, sys::core_module.module_index).cast::<sys::core_dir_config>().as_ref()
        };
        settings.and_then(HandlerSetting::of)
    }
}

/// The `<Location>` and `<Directory>` sections of a server.
pub(crate) fn sections<'s>(server: Server<'s>) -> impl Iterator<Item = Section<'s>> {
    // SAFETY: the core keeps its server configuration at its index, for as long as the server lives.
    let core =
        unsafe { server.module_config(sys::core_module.module_index).cast::<sys::core_server_config>().as_ref() };
    let lists = core.map_or([std::ptr::null_mut(); 2], |core| [core.sec_url, core.sec_dir]);
    lists.into_iter().flat_map(|list| {
        // SAFETY: null or an array of pointers to vectors.
        let vectors: &[*mut sys::ap_conf_vector_t] = unsafe {
            match list.as_ref() {
                Some(list) if !list.elts.is_null() => {
                    std::slice::from_raw_parts(list.elts.cast(), usize::try_from(list.nelts).unwrap_or(0))
                }
                _ => &[],
            }
        };
        vectors.iter().map(|vector| Section { vector: *vector, lives: PhantomData })
    })
}

/// The number of a module with this source file's name, when it is loaded.
pub(crate) fn module_number(name: &CStr) -> Option<i32> {
    // SAFETY: a C string; the result is null or a record that stays as long as the module is loaded.
    unsafe { sys::ap_find_linked_module(name.as_ptr()).as_ref() }.map(|module| module.module_index)
}
