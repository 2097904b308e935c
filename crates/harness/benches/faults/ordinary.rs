//! The same faults for a server that an ordinary user started, when root tries them: limits and rights are others then.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anstream::println;
use confgen::httpd::{Account, ServerRoot};

use crate::Failure;

/// Where the program that root starts finds what was built.
const DIST: &str = "FAULT_DIST";

/// What was handed over by a program that ran as root.
#[expect(clippy::disallowed_methods, reason = "set by the function below and by nobody else")]
pub(crate) fn given_dist() -> Option<PathBuf> {
    std::env::var_os(DIST).map(PathBuf::from)
}

/// Tries these faults as the web server's user, should this be root. `true`: everything was as it should be.
#[expect(clippy::disallowed_methods, reason = "this program starts itself here only")]
pub(crate) fn run(dist: &Path, faults: &[&str]) -> Result<bool, Failure> {
    if faults.is_empty() || !Account::current().is_root() {
        return Ok(true);
    }
    let account = Account::of_web_server().ok_or("there is no user of the web server")?;
    // It may not be allowed to look where this was built.
    let copy = ServerRoot::temporary(None)?;
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dist)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
    }
    println!("as user {}:", account.name);
    let mut command = Command::new("/proc/self/exe");
    command.args(faults).uid(account.uid).gid(account.gid).current_dir("/").env_clear();
    let keep = |name: &str| std::env::var_os(name).map(|value| (OsString::from(name), value));
    command.envs(["FAULT_SECONDS", "PATH", "LANG"].into_iter().filter_map(keep)).env(DIST, copy.path());
    Ok(command.status()?.success())
}
