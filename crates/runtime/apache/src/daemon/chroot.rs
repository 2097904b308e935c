//! `chroot=`: what the processes of a group are told about files is what they will find there.

use wsgi_protocol::abi::Bytes;
use wsgi_protocol::keys;
use wsgi_protocol::request::Facts;

use crate::codes;
use crate::host::{Failure, Request};
use crate::sys;

const SCRIPT: keys::KeyId = keys::id("SCRIPT_FILENAME");
const DOCUMENTS: keys::KeyId = keys::id("DOCUMENT_ROOT");

/// A path as it is called below `root`; `None` when it lies elsewhere.
pub(crate) fn inside<'p>(root: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let end = root.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let rest = path.strip_prefix(&root[..end])?;
    rest.starts_with(b"/").then_some(rest)
}

/// Facts whose paths are those below `root`. A document root that lies elsewhere is left out.
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
        let mut entry = entries[index];
        if entry.key == SCRIPT || entry.key == DOCUMENTS {
            match inside(root, entry.value.or_empty()) {
                Some(below) => entry.value = Bytes::new(below),
                None if entry.key == DOCUMENTS => continue,
                None => {}
            }
        }
        entries[kept] = entry;
        kept += 1;
    }
    let mut facts = facts.with_entries(&entries[..kept]);
    facts.script = Bytes::new(below);
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::inside;

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
