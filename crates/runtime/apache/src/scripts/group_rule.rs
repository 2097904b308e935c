//! One `Require wsgi-group …`, as it was read.

use std::ffi::CStr;

use crate::directives::next_word;
use crate::host::Pool;
use crate::host::request::text;
use crate::sys;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Rule<'p> {
    /// The groups, one of which is asked for.
    pub(super) names: &'p [&'p [u8]],
    /// The rule may be turned round: `Require not …`, `<RequireNone>`, or an alias that may stand anywhere.
    pub(super) may_be_negated: bool,
}

impl Rule<'static> {
    /// Reads a rule while the configuration is read.
    ///
    /// # Safety
    /// `command` is the one that Apache is carrying out.
    pub(super) unsafe fn read(command: *mut sys::cmd_parms, line: &CStr) -> &'static Self {
        // SAFETY: promised by the caller. What is made lives in the pool of the settings, as they do.
        unsafe {
            let pool: Pool<'static> = Pool::from_raw((*command).pool);
            pool.put(Self { names: Self::names_of(pool, line), may_be_negated: may_be_negated((*command).directive) })
        }
    }
}

impl<'p> Rule<'p> {
    /// The names on a line.
    pub(super) fn names_of(pool: Pool<'p>, line: &CStr) -> &'p [&'p [u8]] {
        let mut rest = line.to_bytes().trim_ascii();
        let mut names: Vec<&'p [u8]> = Vec::new();
        while !rest.is_empty() {
            names.push(pool.bytes(&next_word(&mut rest)));
        }
        let kept = pool.slice::<&'p [u8]>(names.len(), b"");
        kept.copy_from_slice(&names);
        kept
    }
}

/// Whether a denial by this directive can become a grant.
///
/// # Safety
/// `directive` is null or one of the configuration that is being read.
unsafe fn may_be_negated(directive: *const sys::ap_directive_t) -> bool {
    let mut next = directive;
    // SAFETY: directives form a tree whose nodes live while the configuration is read.
    while let Some(node) = unsafe { next.as_ref() } {
        // SAFETY: their texts live as long.
        let (name, arguments) = unsafe { (text(node.directive), text(node.args)) };
        let name = name.map_or(&b""[..], CStr::to_bytes);
        let arguments = arguments.map_or(&b""[..], CStr::to_bytes);
        if turns_round(name, arguments) {
            return true;
        }
        next = node.parent;
    }
    false
}

fn turns_round(directive: &[u8], arguments: &[u8]) -> bool {
    match () {
        () if directive.eq_ignore_ascii_case(b"Require") => next_word(&mut &*arguments).eq_ignore_ascii_case(b"not"),
        () if directive.eq_ignore_ascii_case(b"<RequireNone") => true,
        () => directive.eq_ignore_ascii_case(b"<AuthzProviderAlias"),
    }
}

#[cfg(test)]
mod tests {
    use super::turns_round;

    #[test]
    fn rules_that_are_turned_round_are_told_from_others() {
        for (directive, arguments, expected) in [
            ("Require", "wsgi-group admin", false),
            ("Require", "not wsgi-group admin", true),
            ("require", "NOT wsgi-group admin", true),
            ("Require", "wsgi-group not", false),
            ("<RequireNone", ">", true),
            ("<RequireAny", ">", false),
            ("<AuthzProviderAlias", "wsgi-group admins admin>", true),
            ("<Directory", "/srv>", false),
        ] {
            assert_eq!(turns_round(directive.as_bytes(), arguments.as_bytes()), expected, "{directive} {arguments}");
        }
    }
}
