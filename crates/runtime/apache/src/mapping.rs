//! From the URL to a script: the aliases.

use std::ffi::CStr;

use crate::config::{Alias, Pattern, ServerConfig};
use crate::host::{Request, Verdict, server_relative};
use crate::module;

/// The handler that runs scripts.
pub(crate) const HANDLER: &CStr = c"wsgi-script";
/// The handler's older name.
pub(crate) const LEGACY_HANDLER: &CStr = c"application/x-httpd-wsgi";

/// The translate-name hook: the first alias that matches decides.
pub(crate) fn translate(request: Request<'_>) -> Verdict {
    let uri = request.uri();
    if !uri.to_bytes().starts_with(b"/") {
        return Verdict::Declined;
    }
    let Some(config) = ServerConfig::of(request.server()) else { return Verdict::Declined };
    for alias in config.aliases() {
        let Some(mapped) = map(request, alias, uri) else { continue };
        let Mapped { target, rest } = mapped;
        let quick = is_plain(rest) && request.map_to_file(target, rest, HANDLER);
        if !quick {
            request.map_to(request.pool().join(&[target.to_bytes(), rest.to_bytes()]), HANDLER);
        }
        request.notes().set(c"alias-forced-type", HANDLER);
        // Aliases do not move once the configuration is settled, and outlive every request.
        request.set_state(module::index(), std::ptr::from_ref(alias).cast_mut().cast());
        return Verdict::Done;
    }
    Verdict::Declined
}

/// The alias that [`translate`] chose for a request.
pub(crate) fn alias_of(request: Request<'_>) -> Option<&Alias<'_>> {
    // SAFETY: only `translate` stores there, and aliases outlive requests.
    unsafe { request.state(module::index()).cast::<Alias<'_>>().as_ref() }
}

/// Where an alias leads: its target, and the rest of the path that is appended to it.
struct Mapped<'r> {
    target: &'r CStr,
    rest: &'r CStr,
}

fn map<'r>(request: Request<'r>, alias: &'r Alias<'r>, uri: &'r CStr) -> Option<Mapped<'r>> {
    let after = |end: usize| uri.to_bytes_with_nul().get(end..).and_then(|rest| CStr::from_bytes_with_nul(rest).ok());
    match alias.pattern {
        Pattern::Prefix(prefix) => {
            let matched = matched(uri.to_bytes(), prefix.to_bytes())?;
            let rest = if prefix == c"/" { uri } else { after(matched)? };
            Some(Mapped { target: alias.target, rest })
        }
        Pattern::Expression(expression) => {
            let pool = request.pool();
            let (filled, end) = expression.substitute(pool, uri, alias.target)?;
            let rest = match end {
                // A match of nothing is none.
                0 => return None,
                // As for the alias `/`: the slash that was matched belongs to the rest.
                1 => uri,
                _ => after(end).unwrap_or(c""),
            };
            Some(Mapped { target: server_relative(pool, filled).unwrap_or(filled), rest })
        }
    }
}

/// Whether a path can be taken as it is for what follows a file. Others (doubled slashes, segments that begin with a
/// dot) are left to Apache's walk, which puts them into their plain form.
fn is_plain(rest: &CStr) -> bool {
    let rest = rest.to_bytes();
    rest.is_empty() || (rest[0] == b'/' && !rest.array_windows().any(|pair| matches!(pair, b"//" | b"/.")))
}

/// How many bytes of a path an alias matches: a run of slashes in the alias matches one or more slashes in the path,
/// and the match ends where a segment ends.
fn matched(uri: &[u8], alias: &[u8]) -> Option<usize> {
    let (mut at, mut from) = (0, 0);
    while from < alias.len() {
        if alias[from] == b'/' {
            if uri.get(at) != Some(&b'/') {
                return None;
            }
            from += alias[from..].iter().take_while(|byte| **byte == b'/').count();
            at += uri[at..].iter().take_while(|byte| **byte == b'/').count();
        } else {
            if uri.get(at) != Some(&alias[from]) {
                return None;
            }
            from += 1;
            at += 1;
        }
    }
    let whole_segment = alias.last() == Some(&b'/') || matches!(uri.get(at), None | Some(b'/'));
    whole_segment.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::matched;

    // Covers: rule:mapping/alias-segment, rule:mapping/alias-slash-runs, rule:mapping/alias-case-sensitive,
    // rule:mapping/alias-root
    #[test]
    fn aliases_match_whole_segments_and_runs_of_slashes() {
        for (uri, alias, expected) in [
            ("/d", "/d", Some(2)),
            ("/d/x", "/d", Some(2)),
            ("/d//", "/d", Some(2)),
            ("/dx", "/d", None),
            ("/D", "/d", None),
            ("//d//env", "/d", Some(3)),
            ("/d//x", "/d/", Some(4)),
            ("/d", "/d/", None),
            ("/", "/", Some(1)),
            ("/anything", "/", Some(1)),
            ("/a/b", "/a//b", Some(4)),
            ("/ab", "/a/b", None),
        ] {
            assert_eq!(matched(uri.as_bytes(), alias.as_bytes()), expected, "{uri} against {alias}");
        }
    }
}
