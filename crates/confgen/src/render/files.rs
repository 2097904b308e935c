//! Files and directories that the spec names: whether they are there, and of the right kind.

use std::path::Path as FsPath;

use super::builder::Builder;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::FilePath;

/// What a path has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    File,
    Directory,
}

/// Reports a path that is not there or of the wrong kind. What cannot be looked at (a folder that this user may not
/// search) is passed over. Returns whether the file is there.
pub(super) fn check(builder: &mut Builder<'_>, path: &FilePath, wanted: Wanted, key: &Path) -> bool {
    if !builder.check_files {
        return false;
    }
    let metadata = match std::fs::metadata(path.as_path()) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return false,
        Err(_) => {
            let what = if wanted == Wanted::Directory { "directory" } else { "file" };
            let diagnostic = Diagnostic::error(Code::MissingFile, format!("there is no {what} {path}"));
            let diagnostic = near(diagnostic, path.as_path());
            builder.report(key, "does not exist", diagnostic);
            return false;
        }
    };
    let fits = match wanted {
        Wanted::File => metadata.is_file(),
        Wanted::Directory => metadata.is_dir(),
    };
    if !fits {
        let (is, needed) = match wanted {
            Wanted::Directory => ("no directory", "a directory"),
            _ if metadata.is_dir() => ("a directory", "a file"),
            _ => ("no regular file", "a file"),
        };
        builder.report(
            key,
            &format!("{needed} is needed"),
            Diagnostic::error(Code::MissingFile, format!("{path} is {is}")),
        );
    }
    fits
}

/// The name of a neighbour that was probably meant, or the part of the path that is there.
fn near(diagnostic: Diagnostic, path: &FsPath) -> Diagnostic {
    let Some(parent) = path.parent() else { return diagnostic };
    if !parent.is_dir() {
        let deepest = parent.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(FsPath::new("/"));
        return diagnostic.note(format!("{} is there, what comes after it is not", deepest.display()));
    }
    match neighbour(path) {
        Some(other) => diagnostic.help(format!("did you mean `{}`?", other.display())),
        None => diagnostic,
    }
}

/// What stands beside a missing path under a name much like it.
pub(crate) fn neighbour(path: &FsPath) -> Option<std::path::PathBuf> {
    let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
    let names: Vec<String> =
        std::fs::read_dir(parent).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    crate::diagnostic::closest(name, names.iter().map(String::as_str)).map(|other| parent.join(other))
}

/// A list of directories is joined with colons, so none may hold one.
pub(super) fn no_colon(builder: &mut Builder<'_>, path: &FilePath, key: &Path) {
    if path.as_str().contains(':') {
        builder.error(Code::Form, key, format!("a directory of a search path cannot have a colon in its name: {path}"));
    }
}
