//! The same faults for a server that an ordinary user started, when root tries them: limits and rights are others then.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstream::println;
use confgen::httpd::{Account, ServerRoot};

use crate::Failure;

/// Where the program that root starts finds what was built.
const DIST: &str = "FAULT_DIST";

/// What stands behind the number in the last line of a run.
const TOTAL: &str = " requests in all";

/// What came of it.
pub(crate) struct Ordinary {
    /// Everything was as it should be.
    pub(crate) well: bool,
    /// How many requests were sent.
    pub(crate) requests: u64,
}

/// The last line of a run, which the program that started it reads.
pub(crate) fn total(requests: u64) -> String {
    format!("{requests}{TOTAL}")
}

/// What was handed over by a program that ran as root.
#[expect(clippy::disallowed_methods, reason = "set by the function below and by nobody else")]
pub(crate) fn given_dist() -> Option<PathBuf> {
    std::env::var_os(DIST).map(PathBuf::from)
}

/// Tries these faults as the web server's user, should this be root.
#[expect(clippy::disallowed_methods, reason = "this program starts itself here only")]
pub(crate) fn run(dist: &Path, faults: &[&str]) -> Result<Ordinary, Failure> {
    if faults.is_empty() || !Account::current().is_root() {
        return Ok(Ordinary { well: true, requests: 0 });
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
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut requests = None;
    for line in BufReader::new(child.stdout.take().ok_or("it has no output")?).lines() {
        let line = line?;
        match line.strip_suffix(TOTAL).and_then(|number| number.parse().ok()) {
            Some(number) => requests = Some(number),
            None => println!("{line}"),
        }
    }
    let well = child.wait()?.success();
    Ok(Ordinary { well, requests: requests.ok_or("it did not say how many requests it sent")? })
}
