//! Room on the file system of the cells' folders. Without any, servers lose lines of their logs, so that nothing can be said
//! about a cell.

use std::path::Path;

use super::outcome::{Failure, FailureKind};

/// Less than this is as good as nothing: httpd, Python and the log need some of it.
const NEEDED: u64 = 64 * 1024;

/// What the system says where there is no room: `ENOSPC`.
const NO_SPACE: &str = "(os error 28)";

/// Why nothing can be said about a cell, if there is no room below `work`, or was none.
pub(super) fn exhausted(work: &Path, failures: &[Failure]) -> Option<Failure> {
    let refused = failures
        .iter()
        .any(|failure| failure.kind == FailureKind::Infrastructure && failure.message.contains(NO_SPACE));
    let free = nix::sys::statvfs::statvfs(work).ok().map(|system| {
        // Root may use the blocks that are reserved for it.
        let blocks =
            if nix::unistd::Uid::effective().is_root() { system.blocks_free() } else { system.blocks_available() };
        // A file system without a fixed number of files says 0 of 0.
        let files = system.files() == 0 || system.files_available() > 0;
        (blocks.saturating_mul(system.fragment_size()), files)
    });
    let room = free.is_none_or(|(bytes, files)| bytes >= NEEDED && files);
    if room && !refused {
        return None;
    }
    let (bytes, files) = free.unwrap_or_default();
    let left = match files {
        true => format!("{bytes} bytes are left"),
        false => "no file can be made any more".to_owned(),
    };
    let message = format!("the file system of {} is full ({left}), so the run ends here", work.display());
    Some(
        Failure::new(FailureKind::Infrastructure, "", message)
            .note("make room there, or name another folder with --work"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_system_counts_even_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(exhausted(folder.path(), &[]), None);
        let failure = |kind| Failure::new(kind, "", "cannot write: No space left on device (os error 28)");
        assert!(exhausted(folder.path(), &[failure(FailureKind::Infrastructure)]).is_some());
        assert_eq!(exhausted(folder.path(), &[failure(FailureKind::Step)]), None, "that one is the scenario's");
    }
}
