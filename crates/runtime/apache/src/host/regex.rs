//! `ap_regex_t`.

use std::ffi::CStr;
use std::ptr::NonNull;

use crate::host::Pool;
use crate::host::request::text;
use crate::sys;

/// A compiled regular expression of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regex {
    raw: NonNull<sys::ap_regex_t>,
}

// SAFETY: matching does not change the expression, and it lives as long as the configuration that holds it.
unsafe impl Send for Regex {}
// SAFETY: as above.
unsafe impl Sync for Regex {}

const GROUPS: usize = sys::AP_MAX_REG_MATCH as usize;

impl Regex {
    /// Compiles an expression; it lives as long as the pool, and must not be used longer.
    pub(crate) fn compile(pool: Pool<'static>, pattern: &CStr) -> Option<Self> {
        // SAFETY: the pool is alive; null means that the expression could not be compiled.
        let raw = unsafe { sys::ap_pregcomp(pool.raw(), pattern.as_ptr(), sys::AP_REG_EXTENDED.cast_signed()) };
        NonNull::new(raw).map(|raw| Self { raw })
    }

    /// Matches `subject` and fills `template` (`$1` …) with its groups: the text, and where the match ended.
    pub(crate) fn substitute<'p>(self, pool: Pool<'p>, subject: &CStr, template: &CStr) -> Option<(&'p CStr, usize)> {
        let mut groups = [sys::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
        // SAFETY: the expression is alive, the texts are C strings, and `groups` has the given length.
        unsafe {
            let matched = sys::ap_regexec(self.raw.as_ptr(), subject.as_ptr(), GROUPS, groups.as_mut_ptr(), 0);
            if matched != 0 {
                return None;
            }
            let filled = sys::ap_pregsub(pool.raw(), template.as_ptr(), subject.as_ptr(), GROUPS, groups.as_mut_ptr());
            Some((text(filled)?, usize::try_from(groups[0].rm_eo).ok()?))
        }
    }
}
