//! The one constructor of httpd's processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::instance::MARKER;

/// Where httpd and its children look for programs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment of an httpd that [`super::Launch`] starts, given what its configuration asks for.
pub fn environment(own: &BTreeMap<String, String>, root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("PATH".to_owned(), SEARCH_PATH.to_owned())]);
    all.extend(own.clone());
    all.insert(MARKER.to_owned(), root.display().to_string());
    all
}

/// A command for httpd with nothing inherited: an empty environment but for `PATH`, `/` as working directory, no standard input.
///
/// The working directory is `/` because that is what httpd started by an init system has; an application that works only
/// because of the directory its developer stood in shows that here and not in production.
#[expect(clippy::disallowed_methods, reason = "the owner of httpd's processes")]
pub(super) fn httpd(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("PATH", SEARCH_PATH).current_dir("/").stdin(Stdio::null());
    command
}
