//! Who may do what with files: whether an engine can be trusted, and whether Apache's user can reach it.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::host::ServingUser;

/// What is wrong with a path that a server started as root is to execute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// It cannot be looked at.
    #[error("'{0}' cannot be examined: {1}")]
    Unknown(PathBuf, String),
    /// Somebody else could replace it.
    #[error("'{0}' belongs to uid {1}, who is neither root nor the user that starts the server")]
    Owner(PathBuf, u32),
    /// Somebody else could write to it.
    #[error("'{0}' can be written by group or others (mode {1:04o})")]
    Writable(PathBuf, u32),
    /// It is no program.
    #[error("'{0}' is not an executable file")]
    NotExecutable(PathBuf),
    /// Another file took its place while it was looked at.
    #[error("'{0}' was replaced while it was examined")]
    Changed(PathBuf),
    /// Apache's user cannot get there.
    #[error("user '{user}' cannot {what} '{path}' (mode {mode:04o}); let others search it, or install elsewhere")]
    Unreachable {
        /// The folder or file in the way.
        path: PathBuf,
        /// `search` or `read`.
        what: &'static str,
        /// Who.
        user: String,
        /// The present mode.
        mode: u32,
    },
}

fn examine(path: &Path) -> Result<std::fs::Metadata, PathError> {
    path.symlink_metadata().map_err(|error| PathError::Unknown(path.to_owned(), error.to_string()))
}

/// The path without links, whose file and folders are all owned by root or by the starting user and writable by
/// nobody else. A sticky folder such as `/tmp` counts as safe: only owners replace entries there.
pub(crate) fn trusted(path: &Path) -> Result<PathBuf, PathError> {
    let real = path.canonicalize().map_err(|error| PathError::Unknown(path.to_owned(), error.to_string()))?;
    // SAFETY: a plain call.
    let starter = unsafe { libc::geteuid() };
    for part in real.ancestors() {
        let metadata = examine(part)?;
        if metadata.uid() != 0 && metadata.uid() != starter {
            return Err(PathError::Owner(part.to_owned(), metadata.uid()));
        }
        let mode = metadata.mode() & 0o7777;
        let sticky_folder = metadata.is_dir() && mode & 0o1000 != 0;
        if mode & 0o022 != 0 && !sticky_folder {
            return Err(PathError::Writable(part.to_owned(), mode));
        }
    }
    Ok(real)
}

/// Opens a file with `O_PATH` and checks what was opened as [`trusted`] does.
pub(crate) fn open_trusted(path: &Path) -> Result<OwnedFd, PathError> {
    let unknown = |error: std::io::Error| PathError::Unknown(path.to_owned(), error.to_string());
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path).map_err(unknown)?;
    let real = trusted(path)?;
    let (opened, checked) = (file.metadata().map_err(unknown)?, examine(&real)?);
    if (opened.dev(), opened.ino()) != (checked.dev(), checked.ino()) {
        return Err(PathError::Changed(real));
    }
    if !opened.is_file() || opened.mode() & 0o111 == 0 {
        return Err(PathError::NotExecutable(real));
    }
    Ok(file.into())
}

/// Whether a user can search all folders of a path without links and read the file at its end, if it is one.
pub(crate) fn reachable(path: &Path, user: &ServingUser) -> Result<(), PathError> {
    if user.id == 0 {
        return Ok(());
    }
    let groups = groups_of(user);
    let parts: Vec<&Path> = path.ancestors().collect();
    for (position, part) in parts.iter().rev().enumerate() {
        let metadata = examine(part)?;
        let last = position + 1 == parts.len();
        let (bit, what) = if last && !metadata.is_dir() { (4, "read") } else { (1, "search") };
        let shift = if metadata.uid() == user.id {
            6
        } else if groups.contains(&metadata.gid()) {
            3
        } else {
            0
        };
        if metadata.mode() >> shift & bit == 0 {
            let user = user.name.clone().unwrap_or_else(|| format!("#{}", user.id));
            return Err(PathError::Unreachable {
                path: part.to_path_buf(),
                what,
                user,
                mode: metadata.mode() & 0o7777,
            });
        }
    }
    Ok(())
}

fn groups_of(user: &ServingUser) -> Vec<u32> {
    let Some(name) = user.name.as_ref().and_then(|name| CString::new(name.as_str()).ok()) else {
        return vec![user.group];
    };
    let mut groups = vec![0; 64];
    loop {
        let mut count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        // SAFETY: the room is as long as the count says.
        let found = unsafe { libc::getgrouplist(name.as_ptr(), user.group, groups.as_mut_ptr(), &raw mut count) };
        let wanted = usize::try_from(count).unwrap_or(0);
        if found >= 0 {
            groups.truncate(wanted);
            return groups;
        }
        if wanted <= groups.len() {
            return vec![user.group];
        }
        groups.resize(wanted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mod_wsgi_rs-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder can be made");
            Self(path.canonicalize().expect("it is there"))
        }

        fn mode(&self, mode: u32) {
            std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(mode)).expect("own folder");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            self.mode(0o700);
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    // Covers: rule:extensions/engine-unsafe
    #[test]
    fn a_writable_folder_is_not_trusted() {
        let folder = Folder::new("writable");
        let file = folder.0.join("engine");
        std::fs::write(&file, "").expect("own folder");
        folder.mode(0o755);
        assert_eq!(trusted(&file), Ok(file.clone()));
        folder.mode(0o775);
        assert_eq!(trusted(&file), Err(PathError::Writable(folder.0.clone(), 0o775)));
    }

    // Covers: rule:extensions/engine-unsafe
    #[test]
    fn the_folder_in_the_way_is_named() {
        let folder = Folder::new("closed");
        let file = folder.0.join("engine");
        std::fs::write(&file, "").expect("own folder");
        let stranger = ServingUser { id: 54_321, group: 54_321, name: None };
        folder.mode(0o755);
        assert_eq!(reachable(&file, &stranger), Ok(()));
        folder.mode(0o700);
        let refused = reachable(&file, &stranger).expect_err("others may not search it");
        assert!(refused.to_string().contains(&format!("cannot search '{}'", folder.0.display())), "{refused}");
    }
}
