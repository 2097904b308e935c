//! `script-user=` and `script-group=` of a daemon group: whom a script and its folder must belong to, and who must not
//! be able to write to them. Checked for each request, in the Apache child, before a process is asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::codes::{self, Code};
use crate::directives::DaemonGroup;
use crate::host::{Failure, Pool, group_name, user_name};
use crate::sys;

/// The codes of one of the two options.
struct Codes {
    file_unknown: &'static Code,
    file_name: &'static Code,
    file_differs: &'static Code,
    file_world: &'static Code,
    folder_unknown: &'static Code,
    folder_name: &'static Code,
    folder_differs: &'static Code,
    folder_world: &'static Code,
}

static GROUP: Codes = Codes {
    file_unknown: &codes::SCRIPT_GROUP_UNKNOWN,
    file_name: &codes::SCRIPT_GROUP_NAME,
    file_differs: &codes::SCRIPT_GROUP_DIFFERS,
    file_world: &codes::SCRIPT_GROUP_WORLD,
    folder_unknown: &codes::SCRIPT_GROUP_PARENT_UNKNOWN,
    folder_name: &codes::SCRIPT_GROUP_PARENT_NAME,
    folder_differs: &codes::SCRIPT_GROUP_PARENT_DIFFERS,
    folder_world: &codes::SCRIPT_GROUP_PARENT_WORLD,
};

static USER: Codes = Codes {
    file_unknown: &codes::SCRIPT_USER_UNKNOWN,
    file_name: &codes::SCRIPT_USER_NAME,
    file_differs: &codes::SCRIPT_USER_DIFFERS,
    file_world: &codes::SCRIPT_USER_WORLD,
    folder_unknown: &codes::SCRIPT_USER_PARENT_UNKNOWN,
    folder_name: &codes::SCRIPT_USER_PARENT_NAME,
    folder_differs: &codes::SCRIPT_USER_PARENT_DIFFERS,
    folder_world: &codes::SCRIPT_USER_PARENT_WORLD,
};

/// One of the two options.
enum Owner<'g> {
    User(&'g [u8]),
    Group(&'g [u8]),
}

/// Whether a group takes any script, whoever it belongs to.
pub(crate) fn is_unchecked(group: &DaemonGroup) -> bool {
    group.script_user.is_none() && group.script_group.is_none()
}

/// Checks a script against the options of its group.
pub(crate) fn check(pool: Pool<'_>, group: &DaemonGroup, script: &[u8]) -> Result<(), Failure> {
    let owner = match (&group.script_user, &group.script_group) {
        (Some(user), _) => Owner::User(user),
        (None, Some(group)) => Owner::Group(group),
        (None, None) => return Ok(()),
    };
    let script = Path::new(OsStr::from_bytes(script));
    let folder = script.parent().unwrap_or(Path::new("/"));
    let codes = match owner {
        Owner::User(_) => &USER,
        Owner::Group(_) => &GROUP,
    };
    let file = Part {
        what: "WSGI script file",
        is_parent: false,
        path: script,
        unknown: codes.file_unknown,
        name: codes.file_name,
        differs: codes.file_differs,
        world: codes.file_world,
        group: &codes::SCRIPT_USER_GROUP_WRITABLE,
    };
    let parent = Part {
        what: "Parent directory of WSGI script file",
        is_parent: true,
        path: folder,
        unknown: codes.folder_unknown,
        name: codes.folder_name,
        differs: codes.folder_differs,
        world: codes.folder_world,
        group: &codes::SCRIPT_USER_PARENT_GROUP_WRITABLE,
    };
    [file, parent].into_iter().try_for_each(|part| part.check(pool, &owner))
}

/// The file or its folder.
struct Part<'p> {
    what: &'static str,
    is_parent: bool,
    path: &'p Path,
    unknown: &'static Code,
    name: &'static Code,
    differs: &'static Code,
    world: &'static Code,
    group: &'static Code,
}

impl Part<'_> {
    fn refuse(&self, code: &'static Code, reason: &str, details: &str) -> Failure {
        let (what, path) = (self.what, self.path.display());
        Failure::new(sys::HTTP_FORBIDDEN, code, format!("{what} {reason}. ('{path}' {details})"))
    }

    fn check(&self, pool: Pool<'_>, owner: &Owner<'_>) -> Result<(), Failure> {
        let facts = std::fs::metadata(self.path).map_err(|error| {
            self.refuse(self.unknown, "cannot be examined for its owner", &format!("cannot be reached: {error}"))
        })?;
        let (kind, noun, id, wanted, actual) = match owner {
            Owner::User(wanted) => ("user", "owner", facts.uid(), *wanted, user_name(pool, facts.uid())),
            Owner::Group(wanted) => ("group", "group", facts.gid(), *wanted, group_name(pool, facts.gid())),
        };
        let Some(actual) = actual else {
            return Err(self.refuse(
                self.name,
                &format!("has an unknown {noun}"),
                &format!("belongs to {kind} #{id}, which has no name"),
            ));
        };
        if actual.to_bytes() != wanted {
            let (actual, wanted) = (actual.to_string_lossy(), String::from_utf8_lossy(wanted));
            let reason = if self.is_parent {
                format!("has {noun} '{actual}' which does not match {kind} required for daemon process")
            } else {
                format!("{noun} '{actual}' does not match {kind} required for daemon process")
            };
            return Err(self.refuse(self.differs, &reason, &format!("must belong to '{wanted}'")));
        }
        let mode = facts.mode() & 0o7777;
        let shown = format!("has mode {mode:04o}");
        if mode & 0o002 != 0 {
            return Err(self.refuse(self.world, "is writable to world", &shown));
        }
        if matches!(owner, Owner::User(_)) && mode & 0o020 != 0 {
            return Err(self.refuse(self.group, "is writable to group", &shown));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(owner: &Owner<'_>, path: &Path) -> Option<u16> {
        let part = Part {
            what: "WSGI script file",
            is_parent: false,
            path,
            unknown: USER.file_unknown,
            name: USER.file_name,
            differs: USER.file_differs,
            world: USER.file_world,
            group: &codes::SCRIPT_USER_GROUP_WRITABLE,
        };
        part.check(Pool::nowhere(), owner).err().map(|failure| failure.code.number)
    }

    #[test]
    fn a_file_that_cannot_be_examined_is_refused() {
        assert_eq!(refused(&Owner::User(b"root"), Path::new("/nonexistent/app.wsgi")), Some(162));
    }
}
