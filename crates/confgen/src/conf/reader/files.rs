//! Files to include: which ones a pattern names, in httpd's order, and their bytes.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::conf::glob::{fnmatch, is_pattern};

/// Files larger than this are refused, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// How deep the folders of one `Include` may nest; httpd's own limit is near this.
const FOLDERS: usize = 20;

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says no.
    #[error("cannot read {}: {cause}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Something else than a file; httpd would read from it for as long as it gives something.
    #[error("{} is {what}, not a file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file that no configuration is as large as.
    #[error("{} is larger than {} MiB", path.display(), LIMIT / 1024 / 1024)]
    Large {
        /// The file.
        path: PathBuf,
    },
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    use std::os::unix::fs::FileTypeExt as _;
    let system = |cause| ReadError::System { path: path.to_owned(), cause };
    let kind = fs::metadata(path).map_err(system)?.file_type();
    let what = if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() && path != Path::new("/dev/null") {
        "a device"
    } else {
        let mut bytes = Vec::new();
        fs::File::open(path).map_err(system)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(system)?;
        if bytes.len() as u64 > LIMIT {
            return Err(ReadError::Large { path: path.to_owned() });
        }
        return Ok(bytes);
    };
    Err(ReadError::NoFile { path: path.to_owned(), what })
}

/// The files that the argument of `Include` names, in the order in which httpd reads them.
///
/// # Errors
/// Why httpd refuses the argument; never for `IncludeOptional` when it names nothing.
pub(super) fn matching(path: &Path, optional: bool) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    if !is_pattern(path.as_os_str().as_bytes()) {
        if optional && !path.exists() {
            return Ok(found);
        }
        below(path, 0, &mut found)?;
        return Ok(found);
    }
    let mut parts = Vec::new();
    let mut folder = PathBuf::new();
    for part in path.components() {
        if parts.is_empty() && !is_pattern(part.as_os_str().as_bytes()) {
            folder.push(part);
        } else {
            parts.push(part.as_os_str().as_bytes().to_vec());
        }
    }
    expand(&folder, &parts, optional, &mut found)?;
    Ok(found)
}

/// One file, or everything in a folder and in the folders within.
fn below(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), String> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    if depth > FOLDERS {
        return Err(format!("{}: folders are nested more than {FOLDERS} deep", path.display()));
    }
    for name in names(path)? {
        below(&path.join(std::ffi::OsStr::from_bytes(&name)), depth + 1, found)?;
    }
    Ok(())
}

/// What a pattern names; `parts` are its components from the first one with a wildcard on.
fn expand(folder: &Path, parts: &[Vec<u8>], optional: bool, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let Some((part, rest)) = parts.split_first() else { return below(folder, 0, found) };
    let all = match names(folder) {
        Ok(all) => all,
        Err(_) if optional => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut matched: Vec<PathBuf> = all
        .into_iter()
        .filter(|name| fnmatch(part, name))
        .map(|name| folder.join(std::ffi::OsStr::from_bytes(&name)))
        .collect();
    if !rest.is_empty() {
        matched.retain(|path| path.is_dir());
    }
    if matched.is_empty() && !optional {
        let pattern = String::from_utf8_lossy(part).into_owned();
        return Err(format!("no file matches `{pattern}` in {}", folder.display()));
    }
    for path in matched {
        expand(&path, rest, optional, found)?;
    }
    Ok(())
}

/// Names in a folder, by their bytes.
fn names(folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let entries =
        fs::read_dir(folder).map_err(|cause| format!("cannot open the folder {}: {cause}", folder.display()))?;
    let mut names: Vec<Vec<u8>> = entries.flatten().map(|entry| entry.file_name().into_vec()).collect();
    names.sort();
    Ok(names)
}
