//! `rolling=On`: replaces one process of a group at a time, when it asks for it.
//!
//! A daemon notes its [`Wish`] on the status page and rings the [`bell`]. Its successor gets the same listener, loads what
//! the old process serves, begins to accept, and tells it to leave: the hand-over between generations of the
//! configuration, within one. A successor that cannot load ends, and the old process has its slot again.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use wsgi_protocol::launch::GIVEN_UP;
use wsgi_protocol::page::Wish;
use wsgi_protocol::scripts;

use super::bell;
use super::death::Death;
use super::fleet::{Rolled, Seen};
use super::holdings::{close, release};
use super::pace::rest_of_second;
use super::parent_log;
use super::retained::{Ending, SavedBell, SavedProcess};
use super::supervise::Supervisor;
use crate::codes;
use crate::directives::Handover;

/// How much longer than it should a successor may take to give up by itself.
const MARGIN: Duration = Duration::from_secs(5);

/// Whether the time of a successor runs: not before it runs itself, and only once. One that was killed and has not ended
/// cannot be helped.
fn may_be_late(process: &SavedProcess) -> bool {
    !process.is_ordered() && process.ending != Ending::Forced
}

/// Memory for a process's list of scripts.
pub(super) fn make_list() -> io::Result<RawFd> {
    // SAFETY: a constant name; the descriptor is fresh.
    unsafe {
        let descriptor = libc::memfd_create(c"wsgi scripts".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        let list = OwnedFd::from_raw_fd(descriptor);
        let size = i64::try_from(scripts::SIZE).unwrap_or(i64::MAX);
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        if libc::ftruncate(list.as_raw_fd(), size) < 0 || libc::fcntl(list.as_raw_fd(), libc::F_ADD_SEALS, seals) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(list.into_raw_fd())
    }
}

impl Supervisor {
    /// Whether any daemon may have something to say.
    pub(super) fn wants_bell(&self) -> bool {
        self.groups.iter().any(|group| group.plan.asks || group.plan.fork_after_load)
    }

    /// Whether somebody listens to daemons.
    pub(super) fn has_bell(&self) -> bool {
        self.saved.borrow().bell.is_some_and(|bell| bell.process.is_some())
    }

    /// Starts to listen to daemons, or goes on where an earlier generation left off.
    pub(super) fn hang_bell(&self) {
        if !self.wants_bell() {
            if let Some(bell) = self.saved.borrow_mut().bell.take() {
                close(bell.pipe.0);
                close(bell.pipe.1);
                if let Some(process) = bell.process {
                    self.watch(process.pid);
                    release(process);
                }
            }
            return;
        }
        let made = || -> io::Result<SavedBell> {
            let present = self.saved.borrow().bell;
            let mut bell = match present {
                Some(bell) => bell,
                None => SavedBell { pipe: bell::make_pipe()?, process: None },
            };
            self.saved.borrow_mut().bell = Some(bell);
            if bell.process.is_none() {
                let (pid, control) = bell::start(bell.pipe.0, &self.user, self.rings.get().rest(), self.patience())?;
                bell.process = Some(SavedProcess::aide(pid, control));
            }
            Ok(bell)
        };
        match made() {
            Ok(bell) => {
                self.saved.borrow_mut().bell = Some(bell);
                if let Some(process) = bell.process {
                    self.watch(process.pid);
                }
            }
            Err(error) => parent_log::server(
                self.main,
                &codes::FORK_FAILED,
                format_args!("Couldn't spawn the process that waits for rolling restarts ({error})."),
            ),
        }
    }

    /// The bell has ended. Its pipe stays, with what daemons write to it until the next one listens.
    pub(super) fn take_bell_down(&self) {
        if let Some(bell) = &mut self.saved.borrow_mut().bell
            && let Some(process) = bell.process.take()
        {
            release(process);
        }
    }

    /// The bell has ended, most likely because a daemon rang.
    pub(super) fn rung(&self) {
        self.take_bell_down();
        let reported = self.hear_loaders();
        let ended = self.end_late_ones();
        let started = (0..self.groups.len()).filter(|group| self.roll(*group)).count();
        let mut rings = self.rings.get();
        rings.rung(reported || ended || started > 0, Instant::now());
        self.rings.set(rings);
        self.hang_bell();
        self.save();
    }

    /// The successors that load, each with its group, its slot's process, and the time that it has left.
    fn loading(&self) -> Vec<(usize, SavedProcess, Duration)> {
        let (saved, paces) = (self.saved.borrow(), self.paces.borrow());
        let groups = self.groups.iter().zip(&saved.groups).zip(paces.iter()).enumerate();
        // In turn nobody goes on in place of one that is late.
        groups
            .filter(|(_, ((group, _), _))| group.plan.handover == Handover::Overlap)
            .flat_map(|(number, ((group, saved_group), paces))| {
                saved_group.slots.iter().zip(paces).filter_map(move |(slot, pace)| {
                    let loads = |process: &SavedProcess| may_be_late(process) && !group.page.has_started(process.place);
                    let process = slot.process.filter(|process| slot.rolls && loads(process))?;
                    let limit = group.plan.loading + MARGIN;
                    // A start that is put off lies in the future.
                    let left =
                        pace.began.map_or(limit, |began| (began + limit).saturating_duration_since(Instant::now()));
                    Some((number, process, left))
                })
            })
            .collect()
    }

    /// How long the server can be sure that no successor has taken too long.
    fn patience(&self) -> Option<Duration> {
        self.loading().iter().map(|(_, _, left)| *left).min().map(|left| left + Duration::from_millis(1))
    }

    /// Ends successors that should have given up themselves. `true`: there were some.
    fn end_late_ones(&self) -> bool {
        let late: Vec<_> = self.loading().into_iter().filter(|(_, _, left)| left.is_zero()).collect();
        for (group, process, _) in &late {
            let plan = &self.groups[*group].plan;
            let pid = process.pid;
            self.force(*process);
            parent_log::server(
                plan.server,
                &codes::SUCCESSOR_LATE,
                format_args!(
                    "Rolling restart of daemon process '{}' was given up as the new process (pid={pid}) took longer than \
                     {} seconds and did not end; it was killed. The old process goes on serving.",
                    plan.program.group,
                    plan.loading.as_secs()
                ),
            );
        }
        !late.is_empty()
    }

    pub(super) fn is_bell(&self, pid: i32) -> bool {
        self.saved.borrow().bell.and_then(|bell| bell.process).is_some_and(|process| process.pid == pid)
    }

    /// Starts a successor where one is wanted and it is its turn. `true`: it did.
    pub(super) fn roll(&self, group: usize) -> bool {
        let super::supervise::Group { plan, page } = &self.groups[group];
        if !plan.asks || self.takes_over.get() {
            return false;
        }
        let rolled = {
            let mut saved = self.saved.borrow_mut();
            let saved_group = &mut saved.groups[group];
            let seen = |process: Option<SavedProcess>| {
                process.map_or_else(Seen::default, |process| Seen {
                    serves: page.has_started(process.place),
                    wants: matches!(page.wish(process.place), Wish::Script | Wish::Any),
                })
            };
            let seen: Vec<Seen> = saved_group.slots.iter().map(|slot| seen(slot.process)).collect();
            saved_group.roll(&seen, &mut self.rolled.borrow_mut()[group], plan.handover)
        };
        let Some(Rolled { slot, process, actions }) = rolled else { return false };
        // Now, not when the successor ends: what is asked for meanwhile is something else, such as the mended script.
        page.set_wish(process.place, Wish::Answered);
        page.successor_begins();
        // A group whose processes want nothing but successors does not keep the machine busy with it.
        let began = self.paces.borrow().get(group).and_then(|slots| slots.get(slot)).and_then(|pace| pace.began);
        let delay = rest_of_second(began, Instant::now());
        self.carry_out(group, actions, delay);
        if plan.handover == Handover::Overlap && self.saved.borrow().groups[group].slots[slot].process.is_none() {
            // It was logged. What was there goes on.
            self.saved.borrow_mut().groups[group].reinstate(slot);
        }
        let bell = self.saved.borrow().bell;
        if let Some(bell) = bell.filter(|bell| bell.process.is_some()) {
            // The one that waits does not know how long this successor may take.
            bell::ring(bell.pipe.1);
        }
        true
    }

    /// Whether a process that has ended was a successor that never served, and its predecessor goes on.
    pub(super) fn has_given_up(&self, group: usize, slot: usize, process: SavedProcess, death: Death) -> bool {
        let super::supervise::Group { plan, page } = &self.groups[group];
        if !self.saved.borrow().groups[group].slots[slot].rolls || self.has_served(group, &process) {
            return false;
        }
        if !self.saved.borrow_mut().groups[group].reinstate(slot) {
            return false;
        }
        release(process);
        page.ended(process.place, process.pid);
        let name = &plan.program.group;
        let was_killed = death == Death::Signal(libc::SIGKILL) && process.ending == Ending::Forced;
        if death != Death::Exit(GIVEN_UP) && !was_killed {
            let end = death.describe(process.pid, name);
            let text = format_args!("{end} before it served; the process that it was to replace goes on serving.");
            parent_log::server(plan.server, &codes::DAEMON_DIED, text);
            page.count_end(death);
        }
        if page.give_up() || death == Death::Exit(GIVEN_UP) {
            // The others would meet the same. One that has another script in mind asks again.
            let saved = self.saved.borrow();
            let others = saved.groups[group].slots.iter().filter_map(|slot| slot.process);
            others.for_each(|other| page.take_back_script_wish(other.place));
        }
        let pid = process.pid;
        parent_log::info(plan.server, format_args!("Process '{name}' (pid={pid}) has ended before it served."));
        self.roll(group);
        self.save();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_killed_is_late_no_more() {
        let process = SavedProcess { pid: 10, ..SavedProcess::at(0, 0) };
        assert!(may_be_late(&process) && may_be_late(&SavedProcess { ending: Ending::Asked, ..process }));
        assert!(!may_be_late(&SavedProcess { ending: Ending::Forced, ..process }));
        assert!(!may_be_late(&SavedProcess { pid: 0, loader: Some(9), ..process }), "it was ordered");
    }
}
