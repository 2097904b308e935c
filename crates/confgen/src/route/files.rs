//! Files as httpd's walk through folders finds them.

use std::fs;
use std::path::Path;

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file, and what of the name is behind it.
    File(String, String),
    /// A folder.
    Folder(String),
    /// Nothing; the longest part of the name that is there.
    Missing(String),
}

/// Walks down a name: the first file ends it.
pub(super) fn find(name: &str) -> Found {
    let mut at = String::new();
    let mut rest = name;
    loop {
        let (part, after) = match rest.strip_prefix('/') {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                rest.split_at(end)
            }
            None => return Found::Folder(at),
        };
        if part.is_empty() {
            // A slash, or several, at the end of a folder's name.
            if after.is_empty() {
                return Found::Folder(format!("{at}/"));
            }
            rest = after;
            continue;
        }
        let next = format!("{at}/{part}");
        match fs::metadata(Path::new(&next)) {
            Ok(metadata) if metadata.is_dir() => at = next,
            Ok(_) => return Found::File(next, after.to_owned()),
            Err(_) => return Found::Missing(next),
        }
        if after.is_empty() {
            return Found::Folder(at);
        }
        rest = after;
    }
}
