//! `chroot=`: the first thing that a process does. It was started as its own user with the one privilege that this takes,
//! from an engine outside, whose libraries are mapped already; Python and the application are found inside.

use std::ffi::{CString, c_int};
use std::io;

use wsgi_protocol::launch::Chroot;

/// What could not be done, with the number of its code.
#[derive(Debug, thiserror::Error)]
#[error("WSGI{code:04}: {what} ({error}).")]
pub(super) struct ConfineError {
    code: u16,
    what: String,
    error: io::Error,
}

/// `struct __user_cap_header_struct`: version 3, this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// The number of the code of a user's home folder that cannot be entered.
const HOME_OF_USER: u16 = 10;

/// Changes the root directory and gives the privilege for that up.
///
/// # Errors
/// When any of it fails: the process must not go on then. That the user's home folder, which nobody has asked for, cannot
/// be entered is only returned.
pub(super) fn enter(chroot: &Chroot, group: &str) -> Result<Option<ConfineError>, ConfineError> {
    let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let failed = |code, what: String| move |error| ConfineError { code, what, error };
    let text = |path: &[u8]| CString::new(path).map_err(io::Error::from);
    let outcome = |result: c_int| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };

    let root = &chroot.root;
    let what = || format!("Unable to change root directory to '{}' for daemon process '{group}'", shown(root));
    let path = text(root).map_err(failed(3, what()))?;
    // SAFETY: C strings that live across the calls.
    unsafe {
        outcome(libc::chroot(path.as_ptr())).map_err(failed(3, what()))?;
        outcome(libc::chdir(c"/".as_ptr())).map_err(failed(3, what()))?;
    }
    give_up().map_err(failed(3, format!("Privileges were not given up by daemon process '{group}'")))?;
    if let Some(directory) = &chroot.directory {
        let what =
            || format!("Unable to change working directory to '{}' for daemon process '{group}'", shown(directory));
        let path = text(directory).map_err(failed(chroot.directory_code, what()))?;
        // SAFETY: as above.
        let entered = outcome(unsafe { libc::chdir(path.as_ptr()) });
        if let Err(error) = entered.map_err(failed(chroot.directory_code, what())) {
            return if chroot.directory_code == HOME_OF_USER { Ok(Some(error)) } else { Err(error) };
        }
    }
    Ok(None)
}

/// Gives up every capability, and sees that they are gone.
fn give_up() -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let none = [Capabilities::default(); 2];
    let mut left = [Capabilities { effective: 1, permitted: 1, inheritable: 1 }; 2];
    // SAFETY: the structures are those of version 3 and live across the calls.
    unsafe {
        if libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) < 0
            || libc::syscall(libc::SYS_capget, &raw const header, left.as_mut_ptr()) < 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    if left == none { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}
