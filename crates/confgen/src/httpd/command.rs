//! The one constructor of httpd's processes.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command for httpd with nothing inherited: an empty environment but for `PATH`, `/` as working directory, no standard input.
///
/// The working directory is `/` because that is what httpd started by an init system has; an application that works only
/// because of the directory its developer stood in shows that here and not in production.
#[expect(clippy::disallowed_methods, reason = "the owner of httpd's processes")]
pub(super) fn httpd(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}
