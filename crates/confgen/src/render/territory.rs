//! Whether a directory is confgen's to write to: its own tree, a fresh directory, or one that the caller hands over by name.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::beneath::{Entry, Failed, Folder};
use super::manifest::{Found, MANIFEST, Manifest};
use super::write::WriteOptions;
use crate::diagnostic::{Code, Diagnostic};

/// Folders that belong to the system or to a package. Only these themselves: a folder of one's own may stand below most of them.
const SYSTEM: &[&str] = &[
    "/",
    "/etc",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/usr",
    "/usr/local",
    "/usr/local/apache2",
    "/usr/local/etc",
    "/usr/local/share",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
    "/var/www",
    "/var/www/html",
];

/// Folders in which nothing may be written at any depth.
const SYSTEM_TREES: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc/apache2",
    "/etc/httpd",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/apache2/conf",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share/apache2",
];

/// Folders that a server makes in its root before there is a tree.
const OF_SERVERS: &[&str] = &["logs", "run"];

/// At most so many names are shown.
const SHOWN: usize = 5;

/// Refuses a directory that is not confgen's to write to. Nothing is changed by looking.
///
/// # Errors
/// When it belongs to others: to the system, to another user, or because it holds files that confgen did not write.
pub fn ensure_ours(directory: &Path, options: &WriteOptions) -> Result<(), Vec<Diagnostic>> {
    ensure_named_safely(directory)?;
    let folder = match Folder::open(directory) {
        Ok(folder) => folder,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return ensure_not_of_system(&missing(directory), options);
        }
        Err(error) => return Err(io(Failed::new(directory, error))),
    };
    ensure_trusted(&folder, options)?;
    previous(&folder, options).map(drop)
}

/// The path that a directory will have once it is made.
fn missing(directory: &Path) -> PathBuf {
    let deepest = directory.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    match deepest {
        Some((ancestor, real)) => {
            directory.strip_prefix(ancestor).map_or_else(|_| directory.to_owned(), |rest| real.join(rest))
        }
        None => directory.to_owned(),
    }
}

/// A link that another user owns may point elsewhere tomorrow.
pub(super) fn ensure_named_safely(directory: &Path) -> Result<(), Vec<Diagnostic>> {
    for part in directory.ancestors() {
        let Ok(metadata) = std::fs::symlink_metadata(part) else { continue };
        if metadata.is_symlink() && !is_trusted(metadata.uid()) {
            let message =
                format!("{} is a symbolic link of another user ({})", part.display(), user_name(metadata.uid()));
            let diagnostic = Diagnostic::error(Code::UnsafeFolder, message);
            return Err(vec![diagnostic.help("name the directory that is meant without the link")]);
        }
    }
    Ok(())
}

/// Judges the folder itself: who owns it, who may write to it, whether it is the system's.
pub(super) fn ensure_trusted(folder: &Folder, options: &WriteOptions) -> Result<(), Vec<Diagnostic>> {
    let real = folder.real_path().map_err(|error| io(Failed::new(folder.path(), error)))?;
    ensure_not_of_system(&real, options)?;
    let stat = folder.stat().map_err(io)?;
    if !is_trusted(stat.st_uid) {
        let owner = user_name(stat.st_uid);
        let message = format!(
            "{} belongs to another user ({owner}), who could replace what is written there",
            folder.path().display()
        );
        let diagnostic = Diagnostic::error(Code::UnsafeFolder, message);
        return Err(vec![diagnostic.help(format!("run confgen as {owner}, or use a directory of your own"))]);
    }
    if stat.st_mode & 0o1002 == 0o002 {
        let message =
            format!("everybody may replace files in {} (mode {:04o})", folder.path().display(), stat.st_mode & 0o7777);
        let diagnostic = Diagnostic::error(Code::UnsafeFolder, message);
        return Err(vec![diagnostic.help(format!("close it: chmod o-w {}", folder.path().display()))]);
    }
    Ok(())
}

/// Whether files of this user are as good as one's own.
pub(super) fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == Uid::effective().as_raw()
}

pub(super) fn user_name(uid: u32) -> String {
    nix::unistd::User::from_uid(Uid::from_raw(uid))
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name)
}

fn ensure_not_of_system(real: &Path, options: &WriteOptions) -> Result<(), Vec<Diagnostic>> {
    let same =
        |known: &&str| Path::new(known).canonicalize().map_or_else(|_| real == Path::new(known), |known| real == known);
    let below = |known: &&str| {
        real.starts_with(known) || Path::new(known).canonicalize().is_ok_and(|known| real.starts_with(known))
    };
    if (options.adopt && options.system_folder) || !(SYSTEM.iter().any(same) || SYSTEM_TREES.iter().any(below)) {
        return Ok(());
    }
    let diagnostic = Diagnostic::error(Code::SystemFolder, format!("{} is a folder of the system", real.display()));
    let diagnostic = diagnostic
        .note("a tree of confgen stands in a directory of its own, for example /srv/NAME or /var/lib/confgen/NAME");
    Err(vec![diagnostic.help(
        "name another directory; `confgen render SPEC -o DIR --adopt --system-folder` writes there all the same",
    )])
}

/// The list of the tree that stands in a folder. A folder that is neither such a tree nor empty is refused unless it is adopted.
pub(super) fn previous(folder: &Folder, options: &WriteOptions) -> Result<Option<Manifest>, Vec<Diagnostic>> {
    let found = match folder.entry(OsStr::new(MANIFEST)).map_err(io)? {
        None => Found::Nothing,
        Some(Entry::File { .. }) => Manifest::read(folder).map_err(io)?,
        Some(_) => Found::Foreign,
    };
    let message = match found {
        Found::Ours(manifest) => return Ok(Some(manifest)),
        Found::Foreign => format!("{} was not written by confgen", folder.path().join(MANIFEST).display()),
        Found::Nothing => {
            let names = folder.names().map_err(io)?;
            let others: Vec<_> = names.iter().filter(|name| !OF_SERVERS.iter().any(|own| *name == own)).collect();
            if others.is_empty() {
                return Ok(None);
            }
            let mut shown: Vec<String> =
                others.iter().take(SHOWN).map(|name| name.to_string_lossy().into_owned()).collect();
            if others.len() > SHOWN {
                shown.push(format!("{} more", others.len() - SHOWN));
            }
            format!(
                "{} is not a tree of confgen: it has no {MANIFEST}, and holds {}",
                folder.path().display(),
                shown.join(", ")
            )
        }
    };
    if options.adopt {
        return Ok(None);
    }
    let diagnostic = Diagnostic::error(Code::ForeignFolder, message);
    let help = "name an empty directory, or take this one over with `confgen render SPEC -o DIR --adopt`: files that the tree needs are \
                overwritten, others stay";
    Err(vec![diagnostic.help(help)])
}

/// A system call that failed.
pub(super) fn io(failed: Failed) -> Vec<Diagnostic> {
    let path = failed.path.display();
    if failed.link {
        let message = format!("{path} is a symbolic link; nothing is written through links");
        return vec![Diagnostic::error(Code::UnsafeFolder, message).help("remove the link")];
    }
    vec![Diagnostic::error(Code::Io, format!("cannot write {path}: {}", failed.error))]
}
