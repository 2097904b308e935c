//! What the end of a process means: a line in the log, and when its slot is filled again.

use std::time::{Duration, Instant};

use super::{Group, Supervisor};
use crate::codes;
use crate::daemon::death::{self, Death};
use crate::daemon::group::Plan;
use crate::daemon::holdings::{close, close_channels, is_inhabited, release};
use crate::daemon::pace::{SOON, SlotEnd};
use crate::daemon::parent_log;
use crate::daemon::retained::{Ending, SavedProcess};
use crate::daemon::watch::{self, End, Reason};
use crate::host::Mpm;

/// Whether the server is being stopped: nothing is started any more.
pub(super) fn stops() -> bool {
    Mpm::is_stopping() || watch::server_shuts_down()
}

impl Supervisor {
    /// Apache says something about a process.
    pub(super) fn heard(&self, watched: &watch::Watched, reason: Reason) {
        if std::process::id() != self.parent {
            return;
        }
        match reason {
            Reason::ServerStops if self.is_stranger(watched.pid) => watch::ask_to_end(watched.pid),
            Reason::ServerStops => self.end(watched.pid),
            Reason::Ended(status) => {
                self.ended(watched.pid, death::find(watched.handle(), status));
                self.keep_up();
                // Also while the server is about to restart: the next generation must not count on what has ended.
                self.save();
            }
        }
    }

    fn ended(&self, pid: i32, death: Death) {
        let stops = stops();
        if self.saved.borrow().writer.is_some_and(|writer| writer.pid == pid) {
            if let Some(writer) = self.saved.borrow_mut().writer.take() {
                close(writer.control);
            }
            if !stops {
                // Whatever ends it may end the next one too.
                let mut pace = self.writer_pace.get();
                let end = SlotEnd { served: true, ended_well: false, requests: pace.requests, is_service: true };
                let delay = pace.ended(Instant::now(), end).0.max(SOON);
                self.writer_pace.set(pace);
                parent_log::server(
                    self.main,
                    &codes::DAEMON_DIED,
                    format_args!(
                        "pid {pid}, which writes the log of daemon processes, {}; another one takes its place in {} s.",
                        death.cause(),
                        delay.as_secs()
                    ),
                );
                self.replace_writer(delay);
                self.save();
            }
            return;
        }
        if self.is_bell(pid) {
            if stops {
                self.take_bell_down();
            } else {
                self.rung();
            }
            return;
        }
        if self.stranger_ended(pid) || self.loader_ended(pid, death, stops) {
            return;
        }
        self.ended_where(|process| process.loader.is_none() && process.pid == pid, death);
    }

    /// The process that the condition holds for has ended. `true`: there was one.
    pub(super) fn ended_where(&self, is: impl Fn(&SavedProcess) -> bool, death: Death) -> bool {
        let stops = stops();
        if let Some((group, slot, process)) = self.current(&is) {
            let pid = process.pid;
            if !stops && self.has_given_up(group, slot, process, death) {
                return true;
            }
            self.log_end(group, &process, death, stops);
            release(process);
            let had_started = self.has_served(group, &process);
            let actions = self.saved.borrow_mut().groups[group].vacated(slot, had_started);
            self.carry_out(group, actions, Duration::ZERO);
            if let Some(page) = self.page_of(group, &process) {
                page.ended(process.place, pid);
            }
            if stops {
                self.save();
            } else {
                let delay = self.delay(group, slot, process.place, death, had_started);
                self.start_process(group, slot, self.next_place(group, process.place), delay);
                self.roll(group);
            }
            return true;
        }
        let left = self.left(&is);
        if let Some((group, process)) = left {
            let pid = process.pid;
            release(process);
            if let Some(place) = self.page_of(group, &process) {
                place.ended(process.place, pid);
            }
            if let Some(Group { plan, page }) = self.groups.get(group) {
                page.count_end(death);
                let was_asked = death == Death::Signal(libc::SIGTERM) && process.ending != Ending::Not;
                if death != Death::Exit(0) && !was_asked {
                    log_death(plan, &self.serving(group, &process), pid, death);
                }
                if !stops {
                    self.follow(group);
                    self.roll(group);
                }
            }
            self.save();
        }
        left.is_some()
    }

    /// The place for the process that follows one at this place.
    pub(super) fn next_place(&self, group: usize, place: u32) -> u32 {
        self.saved.borrow().groups[group].place_after(place)
    }

    fn current(&self, is: impl Fn(&SavedProcess) -> bool) -> Option<(usize, usize, SavedProcess)> {
        let saved = self.saved.borrow();
        saved.groups.iter().enumerate().find_map(|(group, saved_group)| {
            let mut slots = saved_group.slots.iter().enumerate();
            slots.find_map(|(slot, saved_slot)| {
                saved_slot.process.filter(|process| is(process)).map(|process| (group, slot, process))
            })
        })
    }

    /// Takes a process that holds no slot out of the records.
    fn left(&self, is: impl Fn(&SavedProcess) -> bool) -> Option<(usize, SavedProcess)> {
        let mut saved = self.saved.borrow_mut();
        let known = self.groups.len();
        let found = saved.groups.iter_mut().enumerate().find_map(|(number, group)| {
            let position = group.former.iter().position(&is)?;
            let process = group.former.remove(position);
            if number >= known && !is_inhabited(group) {
                close_channels(group);
            }
            Some((number, process))
        });
        saved.groups.retain({
            let mut number = 0;
            move |group| {
                number += 1;
                number <= known || is_inhabited(group)
            }
        });
        found
    }

    /// How long to wait before a slot is filled again: not at all, unless its processes cannot even start, are of no use,
    /// or end too often. A service whose script has returned is run again, but not in a tight loop.
    pub(super) fn delay(&self, group: usize, slot: usize, place: u32, death: Death, had_started: bool) -> Duration {
        let Group { plan, page } = &self.groups[group];
        let mut paces = self.paces.borrow_mut();
        let Some(pace) = paces.get_mut(group).and_then(|slots| slots.get_mut(slot)) else {
            return Duration::ZERO;
        };
        let end = SlotEnd {
            served: had_started,
            ended_well: death == Death::Exit(0),
            requests: page.requests(place),
            is_service: plan.program.threads == 0,
        };
        let (delay, said) = pace.ended(Instant::now(), end);
        if let Some(many) = said {
            parent_log::server(
                plan.server,
                &codes::RESTARTS_DELAYED,
                format_args!(
                    "{} processes of group '{}' have ended in a row right after their start; the next one is started in \
                     {} seconds.",
                    many,
                    plan.program.group,
                    delay.as_millis().div_ceil(1000)
                ),
            );
        }
        delay
    }

    /// What a process that has ended was serving. Nothing is known of one whose place another process has got.
    fn serving(&self, group: usize, process: &SavedProcess) -> Vec<String> {
        let shared = self.saved.borrow().groups.get(group).is_some_and(|group| group.has_another_at(process));
        let page = self.page_of(group, process).filter(|_| !shared);
        page.map_or_else(Vec::new, |page| page.serving(process.place))
    }

    fn log_end(&self, group: usize, process: &SavedProcess, death: Death, stops: bool) {
        let Group { plan, page } = &self.groups[group];
        let (name, pid) = (&plan.program.group, process.pid);
        page.count_end(death);
        if death != Death::Exit(0) && !(stops && death == Death::Signal(libc::SIGTERM)) {
            log_death(plan, &self.serving(group, process), pid, death);
        }
        if stops {
            parent_log::info(
                plan.server,
                format_args!("Process '{name}' (pid={pid}) has died but server is being stopped, deregister it."),
            );
            return;
        }
        parent_log::info(
            plan.server,
            format_args!("Process '{name}' (pid={pid}) has died; deregistering and restarting it."),
        );
        match death {
            Death::Exit(code) => {
                parent_log::info(
                    plan.server,
                    format_args!("Process '{name}' (pid={pid}) terminated normally, exit code {code}"),
                );
            }
            Death::Signal(signal) => {
                parent_log::info(
                    plan.server,
                    format_args!("Process '{name}' (pid={pid}) terminated by signal {signal}"),
                );
            }
        }
        parent_log::info(
            plan.server,
            format_args!("Process '{name}' (pid={pid}) has been deregistered and will no longer be monitored."),
        );
    }
}

impl Supervisor {
    /// Logs that a signal ended a process or a loader while the server was being stopped. Apache may have closed the log
    /// already, so the line goes through the log writer.
    pub(super) fn log_end_at_stop(&self, end: End, patience: Duration) {
        let End { pid, death, forced } = end;
        if !matches!(death, Death::Signal(signal) if signal != libc::SIGTERM) {
            return;
        }
        let process = self.saved.borrow().groups.iter().enumerate().find_map(|(group, saved)| {
            let process = saved.processes().find(|process| process.loader.is_none() && process.pid == pid).copied();
            let is_loader = saved.loaders.iter().any(|loader| loader.pid == pid);
            (process.is_some() || is_loader).then_some((group, process))
        });
        let Some((group, process)) = process else { return };
        let Some(Group { plan, .. }) = self.groups.get(group) else { return };
        let serving = process.map_or_else(Vec::new, |process| self.serving(group, &process));
        let why = if forced {
            format!("; it was killed because it did not end within {} seconds", patience.as_secs())
        } else {
            String::new()
        };
        for line in death.describe_with(pid, &plan.program.group, &serving) {
            let text = format_args!("{line}{why} while the server was being stopped.");
            parent_log::at_end(plan.server, &codes::DAEMON_DIED, text);
        }
    }
}

/// Tells how a process ended, and which requests ended with it.
fn log_death(plan: &Plan, serving: &[String], pid: i32, death: Death) {
    for line in death.describe_with(pid, &plan.program.group, serving) {
        parent_log::server(plan.server, &codes::DAEMON_DIED, format_args!("{line}"));
    }
}
