//! The directives of the configuration, read and not carried out yet.

use crate::host::Pool;
use crate::host::request::text;
use crate::sys;

/// Lets httpd refuse directives that no module has, with another text than its own: `refusal` gives it for a name. To be
/// called when the configuration was read and nothing was carried out yet.
///
/// Each such directive becomes the core's `Error`, so that httpd names file and line as it does for every other mistake.
pub(crate) fn refuse_unknown(pool: Pool<'static>, refusal: &dyn Fn(&str) -> Option<String>) {
    // SAFETY: httpd sets the tree before it calls the hooks for this time, on its only thread.
    unsafe { refuse_below(sys::ap_conftree, pool, refusal) };
}

/// # Safety
/// `first` is null or the first of a list of directives of the tree, which nobody else uses during the call.
unsafe fn refuse_below(first: *mut sys::ap_directive_t, pool: Pool<'static>, refusal: &dyn Fn(&str) -> Option<String>) {
    let mut next = first;
    // SAFETY: the list is the tree's own, and ends in null; `Error` and its text live as long as the configuration.
    while let Some(directive) = unsafe { next.as_mut() } {
        // SAFETY: as above.
        unsafe {
            refuse_below(directive.first_child, pool, refusal);
            if let Some(name) = text(directive.directive)
                && let Some(refusal) = name.to_str().ok().and_then(refusal)
                && !is_known(directive.directive)
            {
                directive.directive = pool.text(b"Error").as_ptr();
                directive.args = pool.text(refusal.as_bytes()).as_ptr();
            }
        }
        next = directive.next;
    }
}

/// Whether a loaded module has this directive.
///
/// # Safety
/// `name` is a C string.
unsafe fn is_known(name: *const std::ffi::c_char) -> bool {
    // SAFETY: the list of modules ends in null and stays while the configuration is read.
    unsafe {
        let mut module = sys::ap_top_module;
        !sys::ap_find_command_in_modules(name, &raw mut module).is_null()
    }
}
