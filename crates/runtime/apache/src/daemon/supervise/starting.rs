//! Starting a process in a slot, beside the one that is there or in place of the one that was.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use wsgi_protocol::loader::Fork;

use super::{Group, Supervisor};
use crate::codes;
use crate::daemon::group::{Plan, pipe};
use crate::daemon::holdings::{close, release};
use crate::daemon::parent_log;
use crate::daemon::retained::SavedProcess;
use crate::daemon::rolling;
use crate::daemon::spawn::{self, Sources};
use crate::daemon::status_page::StatusPage;

/// Who forks a process.
enum Child {
    /// The server: its pid.
    Own(i32),
    /// The loader with this pid, in its time.
    Ordered(i32),
}

impl Supervisor {
    /// Starts a process in a slot; the one that serves there becomes its predecessor.
    pub(super) fn hand_over(&self, group: usize, slot: usize) {
        let process = self.saved.borrow().groups[group].slots[slot].process;
        let place = match process {
            None => self.saved.borrow().groups[group].free_place(slot),
            Some(process) => {
                let served = self.has_served(group, &process);
                if process.is_ordered() && !served {
                    // Should it be forked all the same, it finds that nobody wants it.
                    self.saved.borrow_mut().groups[group].slots[slot].rolls = false;
                    self.vacate(group, slot, process);
                    process.place
                } else {
                    let mut saved = self.saved.borrow_mut();
                    let ended = saved.groups[group].succeed(slot, served);
                    let place = saved.groups[group].place_after(process.place);
                    drop(saved);
                    if let Some(ended) = ended {
                        self.end_process(ended);
                    }
                    place
                }
            }
        };
        self.start_process(group, slot, place, Duration::ZERO);
    }

    pub(in crate::daemon) fn start_process(&self, group: usize, slot: usize, place: u32, delay: Duration) {
        if self.takes_over.get() {
            return;
        }
        let result = self.try_start(group, slot, place, delay);
        if let Err(error) = result {
            let group = &self.groups[group];
            parent_log::server(
                group.plan.server,
                &codes::FORK_FAILED,
                format_args!("Couldn't spawn process '{}' ({error}).", group.plan.program.group),
            );
        }
        self.save();
    }

    fn try_start(&self, group: usize, slot: usize, place: u32, delay: Duration) -> io::Result<()> {
        let Group { plan, page } = &self.groups[group];
        let scripts = if plan.rolling { rolling::make_list()? } else { -1 };
        let (control, writing) = pipe().inspect_err(|_| close(scripts))?;
        let result = self.fork(plan, page, group, slot, place, delay, (control, scripts));
        close(control);
        let pages = self.saved.borrow().groups[group].pages;
        let mut process = SavedProcess { control: writing, scripts, ..SavedProcess::at(place, pages) };
        match result {
            Ok((child, start)) => {
                process.start = start;
                match child {
                    Child::Own(pid) => process.pid = pid,
                    Child::Ordered(loader) => process.loader = Some(loader),
                }
            }
            Err(error) => {
                release(process);
                return Err(error);
            }
        }
        if let Some(life) = self.lives.borrow_mut().get_mut(group).and_then(|slots| slots.get_mut(slot)) {
            life.began = Some(Instant::now() + delay);
            life.requests = page.requests(place);
        }
        self.saved.borrow_mut().groups[group].slots[slot].process = Some(process);
        if process.loader.is_none() {
            page.started(place, process.pid);
            self.watch(process.pid);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and there is one caller")]
    fn fork(
        &self,
        plan: &Plan,
        page: &StatusPage,
        group: usize,
        slot: usize,
        place: u32,
        delay: Duration,
        (control, scripts): (RawFd, RawFd),
    ) -> io::Result<(Child, u32)> {
        let mut saved = self.saved.borrow_mut();
        saved.starts = saved.starts.wrapping_add(1);
        let start = saved.starts;
        let saved_group = &saved.groups[group];
        let predecessor = saved_group.predecessor(slot);
        let rolls = plan.rolling && saved_group.slots[slot].rolls;
        let mut sources = Sources {
            launch: -1,
            listener: Some(saved_group.slots[slot].listener.descriptor),
            log: saved_group.log.0,
            page: saved_group.page,
            control,
            overflow: saved_group.overflow.as_ref().map(|overflow| overflow.descriptor),
            predecessor: predecessor.map(|process| process.control),
            bell: saved.bell.filter(|_| plan.rolling).map(|bell| bell.pipe.1),
            scripts: (scripts >= 0).then_some(scripts),
            inherited_scripts: predecessor.filter(|_| rolls).map(|process| process.scripts).filter(|list| *list >= 0),
            output: saved_group.output.0,
        };
        let secret = saved_group.secret;
        drop(saved);
        if plan.fork_after_load {
            page.starting(place, start, delay.is_zero());
            let order = Fork {
                place,
                start,
                delay: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                predecessor: sources.predecessor.is_some(),
                scripts: sources.scripts.is_some(),
                inherited_scripts: sources.inherited_scripts.is_some(),
            };
            return Ok((Child::Ordered(self.order(group, &sources, order)?), start));
        }
        let launch: OwnedFd = plan.launch(place, start, &secret, &sources)?;
        sources.launch = launch.as_raw_fd();
        page.starting(place, start, delay.is_zero());
        Ok((Child::Own(spawn::start(&plan.program, sources, delay)?), start))
    }
}
