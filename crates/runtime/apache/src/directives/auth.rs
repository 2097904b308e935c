//! Scripts that decide on a request: access, user, group, dispatch.

use std::ffi::CStr;

use crate::directives::spec::{Arity, Command, Directive, Fallback, Parse, Place, Refusal};
use crate::directives::words::{next_option, next_word};
use crate::scripts::{Script, Scripts};
use crate::tokens::Token;

const OPTIONS: &[&str] = &["application-group"];

const fn script(
    name: &'static CStr,
    place: Place,
    help: &'static CStr,
    parse: fn(&mut Command, &[u8]) -> Result<(), Refusal>,
) -> Directive {
    Directive {
        syntax: "path [application-group=name]",
        options: OPTIONS,
        parse: Parse::Words(parse),
        ..Directive::new(name, Arity::OneOrMore, place, help)
    }
}

pub(crate) const ACCESS_SCRIPT: Directive =
    script(c"WSGIAccessScript", Place::Directories, c"Location of WSGI host access script file.", |command, line| {
        let script = read(command, line, "access")?;
        set(command, |scripts| scripts.access = Some(script));
        Ok(())
    });

pub(crate) const AUTH_USER_SCRIPT: Directive =
    script(c"WSGIAuthUserScript", Place::Directories, c"Location of WSGI user auth script file.", |command, line| {
        let script = read(command, line, "auth user")?;
        set(command, |scripts| scripts.user = Some(script));
        Ok(())
    });

pub(crate) const AUTH_GROUP_SCRIPT: Directive =
    script(c"WSGIAuthGroupScript", Place::Directories, c"Location of WSGI group auth script file.", |command, line| {
        let script = read(command, line, "auth group")?;
        set(command, |scripts| scripts.group = Some(script));
        Ok(())
    });

pub(crate) const DISPATCH_SCRIPT: Directive =
    script(c"WSGIDispatchScript", Place::Sections, c"Location of WSGI dispatch script.", |command, line| {
        let script = read(command, line, "dispatch")?;
        set(command, |scripts| scripts.dispatch = Some(script));
        Ok(())
    });

/// Accepted without an effect, as in mod_wsgi: `Require` decides.
pub(crate) const GROUP_AUTHORITATIVE: Directive = Directive {
    fallback: Fallback::Flag(true),
    parse: Parse::Words(|command, value| command.flag(value).map(|_| ())),
    ..Directive::new(
        c"WSGIGroupAuthoritative",
        Arity::Flag,
        Place::Directories,
        c"Enable/Disable as being authoritative on groups.",
    )
};

/// Reads a path and its options. Python is then started in Apache's children, whatever `WSGIRestrictEmbedded` says;
/// for an `.htaccess` it is too late for that.
fn read(command: &mut Command, line: &[u8], what: &str) -> Result<Script<'static>, Refusal> {
    let mut rest = line;
    let path = next_word(&mut rest);
    if path.is_empty() {
        return Err(Refusal::new(format!("Location of {what} script not supplied.")));
    }
    let invalid = format!("Invalid option to WSGI {what} script definition.");
    let mut script = Script { path: command.script_path(&path)?, application_group: None };
    while !rest.is_empty() {
        let known = || OPTIONS.iter().copied();
        let (name, value) = next_option(&mut rest).map_err(|word| Refusal::option(&invalid, &word, known()))?;
        if name != "application-group" {
            return Err(Refusal::option(&invalid, &name, known()));
        }
        if value.is_empty() {
            return Err(Refusal::new("Invalid name for WSGI application group."));
        }
        script.application_group = Some(Token::parse(command.keep(&value).to_bytes()));
    }
    if !command.in_htaccess() {
        command.registry().draft().borrow_mut().main.deciding_scripts = true;
    }
    Ok(script)
}

/// Changes the scripts of the directory.
pub(super) fn set(command: &mut Command, change: impl FnOnce(&mut Scripts<'static>)) {
    let mut scripts = command.settings().scripts.copied().unwrap_or_default();
    change(&mut scripts);
    let kept = command.pool().put(scripts);
    command.settings().scripts = Some(kept);
}
