//! A small disk of its own for the logs, to be filled.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use crate::Failure;

/// What fits on it: more than a server logs while it starts and a fault goes on.
const SIZE: &str = "mode=755,size=4m";

/// A disk that is mounted as long as the value lives.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

/// Does something where nobody else sees what it mounts, and where nothing of that is left once its last process has ended,
/// however it ended.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    let alone = || {
        // SAFETY: plain calls with constant texts. The name space is this thread's and of those that it starts, and what is
        // mounted in it from now on goes nowhere else.
        unsafe {
            check(libc::unshare(libc::CLONE_NEWNS))?;
            let (nothing, root) = (std::ptr::null(), c"/".as_ptr());
            check(libc::mount(nothing, root, nothing, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()))?;
        }
        work()
    };
    thread::scope(|scope| scope.spawn(alone).join().map_err(|_| "the thread panicked")?)
}

/// Whether disks may be mounted here: root may, unless it is confined.
pub(crate) fn is_possible() -> bool {
    apart(|| Ok(())).is_ok()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl SmallDisk {
    /// Mounts it on a folder.
    pub(crate) fn on(folder: &Path) -> Result<Self, Failure> {
        let (target, size) = (CString::new(folder.as_os_str().as_bytes())?, CString::new(SIZE)?);
        let (source, kind) = (c"faults".as_ptr(), c"tmpfs".as_ptr());
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        // SAFETY: texts that live across the call.
        check(unsafe { libc::mount(source, target.as_ptr(), kind, flags, size.as_ptr().cast()) })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Leaves no room on it for anybody.
    pub(crate) fn fill(&self) -> Result<Filling, Failure> {
        let path = self.folder.join("filling");
        let mut file = File::create(&path)?;
        let filling = Filling { path };
        // The last bytes one by one.
        for block in [&[0; 65536][..], &[0]] {
            while match file.write(block) {
                Ok(count) => count > 0,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => false,
                Err(error) => return Err(error.into()),
            } {}
        }
        Ok(filling)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Ok(target) = CString::new(self.folder.as_os_str().as_bytes()) {
            // SAFETY: a text that lives across the call. Whoever has a file open there keeps it.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// What the disk is full of, as long as the value lives.
pub(crate) struct Filling {
    path: PathBuf,
}

impl Drop for Filling {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
