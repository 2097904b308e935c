//! Scripts that decide on access. Known; refused by name so far.

use std::ffi::CStr;

use crate::directives::spec::{Arity, Directive, Fallback, Place};

const fn script(name: &'static CStr, help: &'static CStr) -> Directive {
    Directive {
        syntax: "path [application-group=name]",
        options: &["application-group"],
        ..Directive::new(name, Arity::OneOrMore, Place::Directories, help)
    }
}

pub(crate) const ACCESS_SCRIPT: Directive = script(c"WSGIAccessScript", c"Location of WSGI host access script file.");

pub(crate) const AUTH_USER_SCRIPT: Directive =
    script(c"WSGIAuthUserScript", c"Location of WSGI user auth script file.");

pub(crate) const AUTH_GROUP_SCRIPT: Directive =
    script(c"WSGIAuthGroupScript", c"Location of WSGI group auth script file.");

pub(crate) const GROUP_AUTHORITATIVE: Directive = Directive {
    fallback: Fallback::Flag(true),
    ..Directive::new(
        c"WSGIGroupAuthoritative",
        Arity::Flag,
        Place::Directories,
        c"Enable/Disable as being authoritative on groups.",
    )
};
