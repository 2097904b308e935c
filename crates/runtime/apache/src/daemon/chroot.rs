//! `chroot=`: what the processes of a group are told about files is what they will find there.

use wsgi_protocol::abi::{Bytes, Entry};
use wsgi_protocol::keys;
use wsgi_protocol::request::Facts;

use crate::codes;
use crate::host::{Failure, Request};
use crate::sys;

/// Entries that are paths.
const PATHS: [&str; 3] = ["SCRIPT_FILENAME", "DOCUMENT_ROOT", "CONTEXT_DOCUMENT_ROOT"];

/// The path that an entry is, by its key; those of a request before an internal redirect too.
fn path_key(entry: &Entry<'_>) -> Option<&'static str> {
    let spelled = entry.name.or_empty();
    let mut name = keys::name(entry.key).map_or(spelled, str::as_bytes);
    while let Some(earlier) = name.strip_prefix(b"REDIRECT_") {
        name = earlier;
    }
    // Without the prefix, a spelled-out key is a variable of the configuration.
    if name.len() == spelled.len() {
        return None;
    }
    PATHS.into_iter().find(|path| path.as_bytes() == name)
}

/// A path as it is called below `root`; `None` when it lies elsewhere.
pub(crate) fn inside<'p>(root: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let end = root.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let rest = path.strip_prefix(&root[..end])?;
    rest.starts_with(b"/").then_some(rest)
}

/// An entry as it is below `root`. A document root that lies elsewhere is none there; the file that a handler script
/// serves may be one of the server's alone.
fn confined<'r>(root: &[u8], entry: Entry<'r>) -> Option<Entry<'r>> {
    let Some(path) = path_key(&entry) else { return Some(entry) };
    match inside(root, entry.value.or_empty()) {
        Some(below) => Some(Entry { value: Bytes::new(below), ..entry }),
        None => (path == PATHS[0]).then_some(entry),
    }
}

/// Facts whose paths are those below `root`.
pub(super) fn confine<'r>(
    request: Request<'r>,
    root: &[u8],
    group: &str,
    facts: Facts<'r>,
) -> Result<Facts<'r>, Failure> {
    let script = facts.script.or_empty();
    let Some(below) = inside(root, script) else {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::OUTSIDE_CHROOT,
            format!(
                "WSGI script '{}' is not located within chroot directory '{}' of daemon process '{group}'; rejecting \
                 request.",
                String::from_utf8_lossy(script),
                String::from_utf8_lossy(root)
            ),
        ));
    };
    let entries = request.pool().copy_of(facts.entries());
    let mut kept = 0;
    for index in 0..entries.len() {
        if let Some(entry) = confined(root, entries[index]) {
            entries[kept] = entry;
            kept += 1;
        }
    }
    let mut facts = facts.with_entries(&entries[..kept]);
    facts.script = Bytes::new(below);
    // Empty, or the script again.
    if let Some(below) = inside(root, facts.handler_script.or_empty()) {
        facts.handler_script = Bytes::new(below);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_paths_lose_the_root() {
        let entry = |name: &'static str, value: &'static str| {
            let (key, name) = match keys::KEYS.iter().position(|key| *key == name) {
                Some(index) => (u8::try_from(index + 1).expect("few keys"), Bytes::NONE),
                None => (keys::LITERAL, Bytes::new(name.as_bytes())),
            };
            Entry { key, name, value: Bytes::new(value.as_bytes()) }
        };
        let shown = |entry| confined(b"/srv/jail", entry).map(|entry| entry.value.or_empty());
        for name in PATHS.into_iter().chain(["REDIRECT_DOCUMENT_ROOT", "REDIRECT_REDIRECT_SCRIPT_FILENAME"]) {
            assert_eq!(shown(entry(name, "/srv/jail/site")), Some(&b"/site"[..]), "{name}");
        }
        for name in ["DOCUMENT_ROOT", "CONTEXT_DOCUMENT_ROOT", "REDIRECT_CONTEXT_DOCUMENT_ROOT"] {
            assert_eq!(shown(entry(name, "/var/www")), None, "{name}");
        }
        assert_eq!(shown(entry("SCRIPT_FILENAME", "/var/www/page.md")), Some(&b"/var/www/page.md"[..]));
        let variable =
            Entry { key: keys::LITERAL, name: Bytes::new(b"DOCUMENT_ROOT"), value: Bytes::new(b"/srv/jail") };
        assert_eq!(shown(variable), Some(&b"/srv/jail"[..]));
        assert_eq!(shown(entry("PATH_INFO", "/srv/jail/x")), Some(&b"/srv/jail/x"[..]));
    }

    #[test]
    fn paths_below_the_root_lose_it() {
        assert_eq!(inside(b"/srv/jail", b"/srv/jail/app/a.wsgi"), Some(&b"/app/a.wsgi"[..]));
        assert_eq!(inside(b"/srv/jail//", b"/srv/jail/a.wsgi"), Some(&b"/a.wsgi"[..]));
        assert_eq!(inside(b"/", b"/a.wsgi"), Some(&b"/a.wsgi"[..]));
        assert_eq!(inside(b"/srv/jail", b"/srv/jailbird/a.wsgi"), None);
        assert_eq!(inside(b"/srv/jail", b"/srv/a.wsgi"), None);
        assert_eq!(inside(b"/srv/jail", b""), None);
    }
}
