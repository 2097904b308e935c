//! Folders that are opened once and used by their descriptor. No symbolic link below them is followed: whoever may write
//! to one of them cannot redirect what is written or removed here.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};

/// The longest file of a tree that is read back.
const LARGEST_FILE: u64 = 64 << 20;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// A system call that failed, with what it was about.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) path: PathBuf,
    pub(super) error: io::Error,
    /// Whether it failed because the name is a symbolic link.
    pub(super) link: bool,
}

impl Failed {
    pub(super) fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), error, link: false }
    }
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File { mode: u32 },
    Folder,
    Link,
    Other,
}

impl Folder {
    /// Opens a folder by a path whose links are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let descriptor = nix::fcntl::open(path, flags, Mode::empty())?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path that the descriptor has now, with all links resolved.
    pub(super) fn real_path(&self) -> io::Result<PathBuf> {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()))
    }

    /// Waits until no other confgen writes here. The lock ends with the folder.
    pub(super) fn lock(&self) -> Result<(), Failed> {
        use std::os::fd::AsRawFd;
        loop {
            // SAFETY: flock takes an open descriptor and touches no memory of ours.
            let result = unsafe { libc::flock(self.descriptor.as_raw_fd(), libc::LOCK_EX) };
            match io::Error::last_os_error() {
                _ if result == 0 => return Ok(()),
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(self.failed(OsStr::new(""), error)),
            }
        }
    }

    pub(super) fn stat(&self) -> Result<FileStat, Failed> {
        fstat(&self.descriptor).map_err(|error| self.failed(OsStr::new(""), error.into()))
    }

    pub(super) fn set_mode(&self, mode: u32) -> Result<(), Failed> {
        fchmod(&self.descriptor, Mode::from_bits_truncate(mode))
            .map_err(|error| self.failed(OsStr::new(""), error.into()))
    }

    /// The names in it.
    pub(super) fn names(&self) -> Result<Vec<OsString>, Failed> {
        use std::os::fd::AsRawFd;
        let failed = |error| self.failed(OsStr::new(""), error);
        let entries = std::fs::read_dir(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd())).map_err(failed)?;
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        names.sort();
        Ok(names)
    }

    /// What stands under a name.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Option<Entry>, Failed> {
        let stat = match fstatat(&self.descriptor, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(Failed::new(&self.path.join(name), error.into())),
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        Ok(Some(match kind {
            SFlag::S_IFREG => Entry::File { mode: stat.st_mode & 0o7777 },
            SFlag::S_IFDIR => Entry::Folder,
            SFlag::S_IFLNK => Entry::Link,
            _ => Entry::Other,
        }))
    }

    /// Who owns a name: a link itself, not what it points to.
    pub(super) fn owner(&self, name: &OsStr) -> Result<u32, Failed> {
        fstatat(&self.descriptor, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map(|stat| stat.st_uid)
            .map_err(|error| self.failed(name, error.into()))
    }

    /// A folder in it; `None` where there is none. A link is refused.
    pub(super) fn sub(&self, name: &OsStr) -> Result<Option<Self>, Failed> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.descriptor, name, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Some(Self { descriptor, path: self.path.join(name) })),
            Err(nix::errno::Errno::ENOENT) => Ok(None),
            Err(error) => Err(self.failed(name, error.into())),
        }
    }

    /// Makes a folder in it.
    pub(super) fn make(&self, name: &OsStr, mode: u32) -> Result<Self, Failed> {
        mkdirat(&self.descriptor, name, Mode::from_bits_truncate(mode & 0o700))
            .map_err(|error| self.failed(name, error.into()))?;
        let folder = self.sub(name)?.ok_or_else(|| self.failed(name, io::ErrorKind::NotFound.into()))?;
        folder.set_mode(mode)?;
        Ok(folder)
    }

    /// The content of a regular file; `None` where there is none.
    pub(super) fn read(&self, name: &OsStr) -> Result<Option<Vec<u8>>, Failed> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.descriptor, name, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(self.failed(name, error.into())),
        };
        let failed = |error| self.failed(name, error);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() > LARGEST_FILE {
            return Err(failed(io::Error::other("not a regular file of a tree")));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Makes a file that does not exist yet. Others can read it only once it is complete.
    pub(super) fn create(&self, name: &OsStr, bytes: &[u8], mode: u32) -> Result<(), Failed> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let failed = |error: io::Error| self.failed(name, error);
        let descriptor = openat(&self.descriptor, name, flags, Mode::from_bits_truncate(mode & 0o600))
            .map_err(|error| failed(error.into()))?;
        let mut file = File::from(descriptor);
        let written = file.write_all(bytes).and_then(|()| {
            std::os::unix::fs::fchown(&file, Some(Uid::effective().as_raw()), None)?;
            Ok(fchmod(&file, Mode::from_bits_truncate(mode))?)
        });
        written.map_err(|error| {
            // The first error is the one to report.
            let _ = self.remove(name);
            failed(error)
        })
    }

    /// Changes the mode of a regular file.
    pub(super) fn set_file_mode(&self, name: &OsStr, mode: u32) -> Result<(), Failed> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        openat(&self.descriptor, name, flags, Mode::empty())
            .and_then(|descriptor| fchmod(&descriptor, Mode::from_bits_truncate(mode)))
            .map_err(|error| self.failed(name, error.into()))
    }

    /// Puts one name in the place of another.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), Failed> {
        renameat(&self.descriptor, from, &self.descriptor, to).map_err(|error| self.failed(to, error.into()))
    }

    /// Exchanges two names in one step.
    pub(super) fn exchange(&self, one: &OsStr, other: &OsStr) -> Result<(), Failed> {
        renameat2(&self.descriptor, one, &self.descriptor, other, RenameFlags::RENAME_EXCHANGE)
            .map_err(|error| self.failed(other, error.into()))
    }

    pub(super) fn remove(&self, name: &OsStr) -> Result<(), Failed> {
        unlinkat(&self.descriptor, name, UnlinkatFlags::NoRemoveDir).map_err(|error| self.failed(name, error.into()))
    }

    pub(super) fn remove_folder(&self, name: &OsStr) -> Result<(), Failed> {
        unlinkat(&self.descriptor, name, UnlinkatFlags::RemoveDir).map_err(|error| self.failed(name, error.into()))
    }

    fn failed(&self, name: &OsStr, error: io::Error) -> Failed {
        if name.is_empty() {
            return Failed::new(&self.path, error);
        }
        let link = matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR))
            && matches!(self.entry(name), Ok(Some(Entry::Link)));
        Failed { link, ..Failed::new(&self.path.join(name), error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed() {
        let top = tempfile::tempdir().unwrap();
        let (tree, elsewhere) = (top.path().join("tree"), top.path().join("elsewhere"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("file"), "kept").unwrap();
        std::os::unix::fs::symlink(&elsewhere, tree.join("folder")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("file"), tree.join("file")).unwrap();
        let folder = Folder::open(&tree).unwrap();
        assert!(folder.sub(OsStr::new("folder")).is_err_and(|failed| failed.link));
        assert!(folder.read(OsStr::new("file")).is_err_and(|failed| failed.link));
        assert!(folder.set_file_mode(OsStr::new("file"), 0o777).is_err());
        assert!(folder.create(OsStr::new("file"), b"x", 0o644).is_err());
        assert_eq!(folder.entry(OsStr::new("file")).unwrap(), Some(Entry::Link));
        assert_eq!(folder.entry(OsStr::new("none")).unwrap(), None);
        assert_eq!(std::fs::read_to_string(elsewhere.join("file")).unwrap(), "kept");
    }

    #[test]
    fn devices_and_pipes_are_not_read() {
        let top = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&top.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let folder = Folder::open(top.path()).unwrap();
        assert!(folder.read(OsStr::new("pipe")).is_err());
    }
}
