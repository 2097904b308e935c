//! What a server must not leave behind.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::outcome::{Failure, FailureKind};
use crate::scenario::schema::LaunchMode;
use crate::steps::StopSummary;

/// How deep core files are looked for.
const DEPTH: usize = 3;

/// Processes, sockets and core files that are still there after a server has stopped.
pub(super) fn failures(root: &Path, stopped: Option<&StopSummary>, launch: &LaunchMode) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut leak = |message: String| failures.push(Failure::new(FailureKind::Leak, "", message));
    for process in stopped.iter().flat_map(|stopped| &stopped.leaks) {
        leak(format!("process {} ({}) outlived the server", process.pid, process.command));
    }
    // A server that was killed had no chance to remove its sockets, and a single process ends without cleaning up.
    if stopped.is_some_and(|stopped| !stopped.forced) && !launch.single_process {
        for socket in sockets(&root.join("run")) {
            leak(format!("the socket {} was left behind", socket.display()));
        }
    }
    let mut cores = Vec::new();
    find_cores(root, DEPTH, &mut cores);
    for core in cores {
        leak(format!("a process dumped core: {}", core.display()));
    }
    failures
}

fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket())).map(|entry| entry.path()).collect()
}

fn find_cores(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            find_cores(&path, depth - 1, found);
        } else if kind.is_file() && name.to_string_lossy().starts_with("core") && is_core(&path) {
            found.push(path);
        }
    }
}

/// Whether a file is an ELF file of the type `core`.
fn is_core(path: &Path) -> bool {
    const ET_CORE: u16 = 4;
    let mut header = [0; 18];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.starts_with(b"\x7fELF") && u16::from_le_bytes([header[16], header[17]]) == ET_CORE
}

#[cfg(test)]
mod tests {
    use super::*;
    use confgen::httpd::Leak;
    use std::time::Duration;

    #[test]
    fn everything_that_stays_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("run")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(root.path().join("run/wsgi.sock")).unwrap();
        let mut core = b"\x7fELF".to_vec();
        core.extend([0; 12]);
        core.extend(4_u16.to_le_bytes());
        fs::write(root.path().join("core.123"), core).unwrap();
        fs::write(root.path().join("core.py"), "import core").unwrap();
        let stopped = StopSummary {
            duration: Duration::ZERO,
            status: None,
            forced: false,
            leaks: vec![Leak { pid: 7, command: "sleep".into() }],
            asked: std::time::Instant::now(),
            deaths: Vec::new(),
        };
        let messages: Vec<String> = failures(root.path(), Some(&stopped), &LaunchMode::default())
            .into_iter()
            .map(|failure| failure.message)
            .collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert_eq!(messages[0], "process 7 (sleep) outlived the server");
        assert!(messages[1].contains("run/wsgi.sock") && messages[2].ends_with("core.123"));
        let forced = StopSummary { forced: true, leaks: Vec::new(), ..stopped };
        assert_eq!(failures(root.path(), Some(&forced), &LaunchMode::default()).len(), 1);
    }
}
