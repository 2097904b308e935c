//! Starting a process in a slot, beside the one that is there or in place of the one that was.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use wsgi_protocol::loader::Fork;

use super::{Group, Supervisor};
use crate::codes;
use crate::daemon::fleet::Action;
use crate::daemon::group::{Plan, pipe};
use crate::daemon::holdings::{close, release, send_leave};
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
    /// Lets this configuration take over a slot from the one before.
    pub(super) fn hand_over(&self, group: usize, slot: usize) {
        let process = self.saved.borrow().groups[group].slots[slot].process;
        let served = process.is_some_and(|process| self.has_served(group, &process));
        let handover = self.groups[group].plan.handover;
        let actions = self.saved.borrow_mut().groups[group].hand_over(slot, served, handover);
        self.carry_out(group, actions, Duration::ZERO);
    }

    /// Does what was decided about a group; what is started waits for `delay`.
    pub(in crate::daemon) fn carry_out(&self, group: usize, actions: Vec<Action>, delay: Duration) {
        for action in actions {
            match action {
                Action::Leave(process) => {
                    send_leave(&process);
                    self.note_asked(group, process.slot());
                }
                Action::End(process) => {
                    self.end_process(process);
                    self.note_asked(group, process.slot());
                }
                Action::Abandon(process) => self.abandon(group, process),
                Action::Start { slot, place } => self.start_process(group, slot, place, delay),
            }
        }
    }

    /// A slot's process is asked to end: from now on it may take as long as it has.
    fn note_asked(&self, group: usize, slot: usize) {
        if let Some(pace) = self.paces.borrow_mut().get_mut(group).and_then(|slots| slots.get_mut(slot)) {
            pace.asked.get_or_insert_with(Instant::now);
        }
    }

    pub(in crate::daemon) fn start_process(&self, group: usize, slot: usize, place: u32, delay: Duration) {
        let handover = self.groups[group].plan.handover;
        if self.takes_over.get() || !self.saved.borrow().groups[group].may_start(slot, handover) {
            // Whoever is in the way starts it by its end.
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
        if let Some(pace) = self.paces.borrow_mut().get_mut(group).and_then(|slots| slots.get_mut(slot)) {
            pace.began = Some(Instant::now() + delay);
            pace.requests = page.requests(place);
            pace.asked = None;
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
            bell: saved.bell.filter(|_| plan.asks).map(|bell| bell.pipe.1),
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
