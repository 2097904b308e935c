//! Processes that another version of the module has started, before Apache loaded this one: what that version left cannot be
//! read, but for the list that never changes ([`crate::daemon::frozen`]).
//!
//! They go on serving as long as the Apache children that know them do. Then they are asked to leave, and when they have
//! ended, everything that was open for them is closed.

use wsgi_protocol::loader::Order;

use super::Supervisor;
use crate::codes;
use crate::daemon::frozen::{Kept, KeptGroup, KeptProcess, KeptSocket};
use crate::daemon::holdings::{close, write_leave};
use crate::daemon::parent_log;
use crate::daemon::retained::Stranger;
use crate::daemon::{orders, sockets, watch};
use crate::host::scoreboard;

/// What another version has left, to be ended when it is no longer needed.
pub(super) fn adopt(kept: Kept) -> Stranger {
    Stranger { kept, children: scoreboard::children(), told: false }
}

/// Whether an Apache child runs.
fn runs(pid: i32) -> bool {
    // SAFETY: no pointers; nothing is sent. The MPM waits for its children, so one that has ended is no process.
    unsafe { libc::kill(pid, 0) == 0 }
}

impl Supervisor {
    /// Says that there are such processes.
    pub(super) fn log_strangers(&self) {
        let saved = self.saved.borrow();
        for stranger in saved.strangers.iter().filter(|stranger| !stranger.told) {
            let count: usize = stranger.kept.groups.iter().map(|group| group.processes.len()).sum();
            let version = String::from_utf8_lossy(&stranger.kept.version).into_owned();
            parent_log::server(
                self.main,
                &codes::OTHER_VERSION,
                format_args!(
                    "{count} daemon processes were started by version {version} of the module. They go on serving the \
                     requests that Apache took before this restart, and end when those are done."
                ),
            );
        }
    }

    /// Whether another version has started this child of the server.
    pub(super) fn is_stranger(&self, pid: i32) -> bool {
        self.saved.borrow().strangers.iter().any(|stranger| stranger.kept.children().any(|child| child.pid == pid))
    }

    /// A child of the server has ended. `true`: another version has started it.
    pub(super) fn stranger_ended(&self, pid: i32) -> bool {
        if !self.is_stranger(pid) {
            return false;
        }
        let mut saved = self.saved.borrow_mut();
        for stranger in &mut saved.strangers {
            let lists = stranger.kept.groups.iter_mut().flat_map(|group| [&mut group.processes, &mut group.loaders]);
            for list in lists.chain([&mut stranger.kept.helpers]) {
                forget(list, |process| !process.forked && process.pid == pid);
            }
        }
        drop(saved);
        self.end_strangers();
        true
    }

    /// Ends what is no longer needed of what other versions have started.
    pub(super) fn end_strangers(&self) {
        let mut saved = self.saved.borrow_mut();
        if saved.strangers.is_empty() {
            return;
        }
        for stranger in &mut saved.strangers {
            stranger.children.retain(|pid| runs(*pid));
            if !stranger.children.is_empty() {
                continue;
            }
            if !std::mem::replace(&mut stranger.told, true) {
                for group in &stranger.kept.groups {
                    group.processes.iter().for_each(|process| write_leave(process.control));
                    for loader in &group.loaders {
                        // One that has ended, or does not read, is waited for until the server ends.
                        let _ = orders::send(loader.control, Order::Retire, &[]);
                    }
                }
            }
            for group in &mut stranger.kept.groups {
                // A loader that was retired ends after its last process.
                let last = group.loaders.is_empty();
                forget(&mut group.processes, |process| process.forked && last);
            }
            stranger.kept.groups.retain(|group| {
                let inhabited = group.is_inhabited();
                if !inhabited {
                    close_group(group);
                }
                inhabited
            });
            if stranger.kept.groups.is_empty() {
                stranger.kept.descriptors.drain(..).for_each(close);
                for helper in &mut stranger.kept.helpers {
                    close(std::mem::replace(&mut helper.control, -1));
                }
            }
        }
        saved.strangers.retain(|stranger| !stranger.kept.groups.is_empty() || !stranger.kept.helpers.is_empty());
        drop(saved);
        self.save();
    }

    /// The server ends: so does everything that other versions have started. Returns who is to be waited for.
    pub(super) fn stop_strangers(&self) -> Vec<i32> {
        let strangers = std::mem::take(&mut self.saved.borrow_mut().strangers);
        let mut pids = Vec::new();
        for Stranger { kept, .. } in strangers {
            for group in &kept.groups {
                let own = group.processes.iter().chain(&group.loaders).filter(|process| !process.forked);
                pids.extend(own.map(|process| process.pid));
                close_group(group);
            }
            for process in kept.groups.iter().flat_map(|group| group.processes.iter().chain(&group.loaders)) {
                close(process.control);
            }
            for helper in &kept.helpers {
                close(helper.control);
                pids.push(helper.pid);
            }
            kept.descriptors.into_iter().for_each(close);
        }
        pids.iter().for_each(|pid| watch::ask_to_end(*pid));
        pids
    }
}

/// Takes processes out of a list, and closes what ends them.
fn forget(list: &mut Vec<KeptProcess>, is: impl Fn(&KeptProcess) -> bool) {
    list.retain(|process| {
        let gone = is(process);
        if gone {
            close(process.control);
        }
        !gone
    });
}

/// Closes what was open for a group, and removes its sockets unless others have their names.
fn close_group(group: &KeptGroup) {
    group.descriptors.iter().copied().for_each(close);
    for KeptSocket { file, path } in &group.sockets {
        use std::os::unix::ffi::OsStrExt;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
        if sockets::file(path).is_ok_and(|found| found == *file) {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}
