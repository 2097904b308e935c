//! What ends servers and removes folders when the harness itself cannot: after SIGKILL, a second Ctrl-C or a crash.
//!
//! A process of its own learns, over a pipe, which cells have a folder. When the pipe closes, the harness has gone; cells
//! that were not given back until then are ended, with all their processes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use confgen::httpd::end_all;

use crate::steps::{Leftovers, exec};

/// The hidden command that runs it.
pub const COMMAND: &str = "clean-up";

/// What a message begins with: a cell has this folder now, or has it no more. Messages end with a zero byte.
const TAKEN: u8 = b'+';
const GIVEN_BACK: u8 = b'-';

/// The process, from the harness's side.
#[derive(Debug)]
pub struct Cleaner {
    pipe: Arc<Mutex<ChildStdin>>,
    child: Option<Child>,
}

/// A folder that the cleaner knows. Dropping it says that nothing has to be done any more.
#[derive(Debug)]
pub struct Taken {
    root: PathBuf,
    pipe: Arc<Mutex<ChildStdin>>,
}

impl Cleaner {
    /// Starts it.
    ///
    /// # Errors
    /// Where the program cannot be run once more.
    pub fn start() -> io::Result<Self> {
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot start the cleaner process: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = exec::command(&program.to_string_lossy());
        // It must not keep a pipe open that somebody reads the harness's output from.
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.current_dir("/").process_group(0).spawn().map_err(failed)?;
        let pipe = child.stdin.take().ok_or_else(|| failed(io::Error::other("it has no input")))?;
        Ok(Self { pipe: Arc::new(Mutex::new(pipe)), child: Some(child) })
    }

    /// Says that a cell has this folder.
    #[must_use]
    pub fn take(&self, root: &Path) -> Taken {
        send(&self.pipe, TAKEN, root);
        Taken { root: root.to_owned(), pipe: Arc::clone(&self.pipe) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        send(&self.pipe, GIVEN_BACK, &self.root);
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        // Its input must have an end before it is waited for. Cells are gone by now, with their references.
        if let (Some(pipe), Some(mut child)) = (Arc::get_mut(&mut self.pipe), self.child.take()) {
            let _ = pipe.get_mut().map(close);
            let _ = child.wait();
        }
    }
}

/// Closes a pipe in place, by putting the null device there.
fn close(pipe: &mut ChildStdin) {
    if let Ok(null) = fs::OpenOptions::new().write(true).open("/dev/null") {
        *pipe = ChildStdin::from(std::os::fd::OwnedFd::from(null));
    }
}

fn send(pipe: &Mutex<ChildStdin>, word: u8, root: &Path) {
    let mut message = vec![word];
    message.extend_from_slice(root.as_os_str().as_bytes());
    message.push(0);
    // Without a cleaner the harness still ends its servers itself, as long as it lives.
    let _ = pipe.lock().unwrap_or_else(PoisonError::into_inner).write_all(&message);
}

/// The process's own part: keeps a list until the input ends, then ends what is on it.
///
/// # Errors
/// Where the input cannot be read.
pub fn serve(mut input: impl BufRead) -> io::Result<()> {
    let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        let mut message = Vec::new();
        input.read_until(0, &mut message)?;
        // A message without its end is the harness's last breath.
        let Some((0, message)) = message.split_last() else { break };
        let Some((word, root)) = message.split_first() else { continue };
        let root = PathBuf::from(OsStr::from_bytes(root));
        match *word {
            TAKEN => taken.insert(root),
            _ => taken.remove(&root),
        };
    }
    for root in taken {
        end_all(&root);
        let _ = Leftovers::of(super::arrange::application(&root)).end(std::time::Duration::ZERO);
        // Nobody is left who could be told that it failed.
        let _ = fs::remove_dir_all(&root);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_were_not_given_back_are_removed() {
        let work = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = work.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (kept, left, unsaid) = (folder("kept"), folder("left"), folder("unsaid"));
        let text = |path: &Path| path.display().to_string();
        let input = format!("+{0}\0+{1}\0-{0}\0+{2}", text(&kept), text(&left), text(&unsaid));
        serve(input.as_bytes()).unwrap();
        assert!(kept.exists() && !left.exists() && unsaid.exists());
    }
}
