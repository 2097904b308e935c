//! Changing files that somebody else wrote.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Puts a text in a file's place, all of it or nothing, with the file's rights and owner. A link stays one.
pub(super) fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let file = fs::canonicalize(file)?;
    let before = fs::metadata(&file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(text)?;
    let own = fresh.as_file().metadata()?;
    if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
        std::os::unix::fs::fchown(fresh.as_file(), Some(before.uid()), Some(before.gid()))?;
    }
    fresh.as_file().set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))?;
    fresh.as_file().sync_all()?;
    fresh.persist(&file).map(drop).map_err(|error| error.error)
}
