//! Server roots: the folder that holds one server's configuration, logs and run files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Permissions of the folder with the logs: they tell of visitors, and what applications write.
pub const LOGS_MODE: u32 = 0o750;

/// The longest path of a UNIX socket, in bytes.
pub const SOCKET_PATH_LIMIT: usize = 107;

/// A folder with the sub-folders that a server writes to.
///
/// Everything is searchable by all: a server that root starts serves as another user, whose processes have to reach the
/// configured files and the sockets. Secrets are kept by the mode of their own files.
#[derive(Debug)]
pub struct ServerRoot {
    path: PathBuf,
    temporary: Option<TempDir>,
    /// Folders that were made here, in this order.
    made: Vec<PathBuf>,
}

/// Why a server root could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The system refused.
    #[error("cannot create the server root {}: {cause}", .path.display())]
    Create {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Sockets would not fit.
    #[error("the server root {} is too long: a socket below it would exceed {SOCKET_PATH_LIMIT} bytes", .0.display())]
    TooLong(PathBuf),
}

/// Room that the names of sockets in the run folder take, at most.
const SOCKET_NAME_ROOM: usize = 40;

impl ServerRoot {
    /// Makes a fresh root with a short name below a folder (the system's temporary one if none is given); it is removed when dropped.
    pub fn temporary(below: Option<&Path>) -> Result<Self, RootError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("cg-");
        let created = below.map_or_else(|| builder.tempdir(), |folder| builder.tempdir_in(folder));
        let place = below.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let temporary = created.map_err(|cause| RootError::Create { path: place, cause })?;
        let mut root = Self { path: temporary.path().to_owned(), temporary: Some(temporary), made: Vec::new() };
        root.prepare()?;
        Ok(root)
    }

    /// Uses a given folder, which is made if need be. What was made is kept unless it is still empty when this is dropped.
    pub fn at(path: &Path) -> Result<Self, RootError> {
        let mut root = Self { path: path.to_owned(), temporary: None, made: Vec::new() };
        root.prepare()?;
        Ok(root)
    }

    fn prepare(&mut self) -> Result<(), RootError> {
        if self.run().as_os_str().len() + SOCKET_NAME_ROOM > SOCKET_PATH_LIMIT {
            return Err(RootError::TooLong(self.path.clone()));
        }
        for folder in [self.path.clone(), self.logs(), self.run()] {
            let failed = |cause| RootError::Create { path: folder.clone(), cause };
            // Rights of a folder that was there already are its owner's affair; the temporary one was made just now.
            if self.temporary.is_none() && folder.is_dir() {
                continue;
            }
            if self.temporary.is_none() {
                let missing: Vec<PathBuf> =
                    folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
                self.made.extend(missing.into_iter().rev());
            }
            fs::create_dir_all(&folder).map_err(failed)?;
            let mode = if folder == self.logs() { LOGS_MODE } else { 0o755 };
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        Ok(())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the logs are written.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Where the pid file and the sockets are.
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Leaves the logs of a temporary root in place when this is dropped, and nothing else; says where the error log is, if there
    /// is one with something in it.
    pub fn keep_logs(&mut self) -> Option<PathBuf> {
        let log = self.logs().join("error.log");
        if self.temporary.is_none() || !fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
            return None;
        }
        let logs = self.logs();
        for entry in fs::read_dir(&self.path).ok()?.flatten().map(|entry| entry.path()).filter(|path| *path != logs) {
            // What cannot be removed stays with the logs.
            let _ = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        }
        self.keep();
        Some(log)
    }

    /// Leaves the folder in place when this is dropped, and says where it is.
    pub fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            self.path = temporary.keep();
        }
        &self.path
    }
}

impl Drop for ServerRoot {
    fn drop(&mut self) {
        // A tree was written here, and its folders stay as well.
        if self.path.join("httpd.conf").exists() {
            return;
        }
        for folder in self.made.iter().rev() {
            // One that is not empty stays: whoever put something there wants it.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_root_is_open_to_other_users_but_for_its_logs_and_goes_away() {
        let root = ServerRoot::temporary(None).unwrap();
        let path = root.path().to_owned();
        for (folder, mode) in [(path.clone(), 0o755), (root.logs(), LOGS_MODE), (root.run(), 0o755)] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, mode);
        }
        drop(root);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_there_keeps_its_rights() {
        let top = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let shared = top.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        let root = ServerRoot::at(&shared).unwrap();
        assert_eq!(mode(&shared), 0o1777);
        assert_eq!((mode(&root.logs()), mode(&root.run())), (LOGS_MODE, 0o755));
    }

    #[test]
    fn folders_that_were_made_for_nothing_go_again() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("a/b");
        drop(ServerRoot::at(&deep).unwrap());
        assert!(!top.path().join("a").exists());
        let root = ServerRoot::at(&deep).unwrap();
        fs::write(deep.join("httpd.conf"), "").unwrap();
        drop(root);
        assert!(deep.join("logs").is_dir() && deep.join("run").is_dir());
    }

    #[test]
    fn keeping_and_length() {
        let mut root = ServerRoot::temporary(None).unwrap();
        let path = root.keep().to_owned();
        drop(root);
        assert!(path.is_dir());
        let deep = path.join("x".repeat(100));
        assert!(matches!(ServerRoot::at(&deep), Err(RootError::TooLong(_))));
        assert!(!deep.exists(), "nothing is made on error");
        fs::remove_dir_all(path).unwrap();
    }
}
