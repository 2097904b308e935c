//! `fork-after-load=On`: the loaders, which start and wait for processes in the server's stead.
//!
//! Everything is decided here, as for processes that are the server's own children; a loader carries it out and reports.
//! Reports are read when the bell rings (see [`crate::daemon::rolling`]), and when a loader has ended.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use wsgi_protocol::loader::{Fork, Order, Report};

use super::ended::stops;
use super::{Group, Supervisor};
use crate::codes;
use crate::daemon::death::Death;
use crate::daemon::holdings::{close, close_channels, is_inhabited, release, retire_loader};
use crate::daemon::orders;
use crate::daemon::pace::{LoaderPace, rest_of_second};
use crate::daemon::parent_log;
use crate::daemon::retained::{Ending, SavedGroup, SavedLoader, SavedProcess};
use crate::daemon::spawn::{self, Sources};

/// The most reports that are read of a loader in one go: one that reports without end must not keep the server from its
/// work.
const MOST: usize = 4096;

impl Supervisor {
    /// Orders a process, from the group's loader or, when there is none, from a new one. Returns the loader's pid.
    pub(super) fn order(&self, group: usize, sources: &Sources, fork: Fork) -> io::Result<i32> {
        let present = self.loader(group);
        let loader = match present {
            Some(loader) => loader,
            None => {
                // The last one may have ended too often; the next could not be started then.
                let delay = self.loader_paces.borrow().get(group).map_or(Duration::ZERO, LoaderPace::delay);
                self.start_loader(group, delay)?
            }
        };
        let listener = sources.listener.ok_or(io::ErrorKind::InvalidInput)?;
        let optional = [sources.predecessor, sources.scripts, sources.inherited_scripts];
        let descriptors: Vec<_> =
            [listener, sources.control].into_iter().chain(optional.into_iter().flatten()).collect();
        orders::send(loader.socket, Order::Fork(fork), &descriptors)?;
        Ok(loader.pid)
    }

    /// The loader that orders go to.
    fn loader(&self, group: usize) -> Option<SavedLoader> {
        self.saved.borrow().groups[group].loaders.last().copied().filter(|loader| !loader.retired)
    }

    fn start_loader(&self, group: usize, delay: Duration) -> io::Result<SavedLoader> {
        let plan = &self.groups[group].plan;
        let (socket, theirs) = orders::pair()?;
        let start = || -> io::Result<i32> {
            let mut saved = self.saved.borrow_mut();
            saved.starts = saved.starts.wrapping_add(1);
            let saved_group = &saved.groups[group];
            let mut sources = Sources {
                launch: -1,
                listener: None,
                log: saved_group.log.0,
                page: saved_group.page,
                control: theirs.as_raw_fd(),
                overflow: saved_group.overflow.as_ref().map(|overflow| overflow.descriptor),
                predecessor: None,
                bell: saved.bell.map(|bell| bell.pipe.1),
                scripts: None,
                inherited_scripts: None,
                output: saved_group.output.0,
            };
            let launch = plan.launch(0, saved.starts, &saved_group.secret, &sources)?;
            sources.launch = launch.as_raw_fd();
            spawn::start(&plan.program, sources, delay)
        };
        let pid = start().inspect_err(|_| close(socket))?;
        let loader = SavedLoader { pid, socket, forked: false, retired: false, ending: Ending::Not };
        self.saved.borrow_mut().groups[group].loaders.push(loader);
        if let Some(pace) = self.loader_paces.borrow_mut().get_mut(group) {
            pace.started(Instant::now() + delay);
        }
        self.watch(pid);
        Ok(loader)
    }

    /// A new generation begins: what loaders have loaded belongs to the configuration before.
    pub(super) fn retire_loaders(&self) {
        let mut saved = self.saved.borrow_mut();
        saved.groups.iter_mut().flat_map(|group| &mut group.loaders).for_each(retire_loader);
    }

    /// Ends the retired loaders that have no processes which they would take along.
    pub(super) fn end_idle_loaders(&self) {
        let idle: Vec<i32> = {
            let saved = self.saved.borrow();
            saved.groups.iter().flat_map(SavedGroup::loaders_to_end).map(|loader| loader.pid).collect()
        };
        idle.into_iter().for_each(|pid| self.end(pid));
    }

    /// Has a process's loader send it a signal.
    pub(in crate::daemon) fn signal(&self, process: SavedProcess, signal: i32) {
        let loader = process.loader.and_then(|pid| self.find_loader(pid));
        if let Some((_, loader)) = loader {
            // A loader that does not read cannot be helped; the end of it ends the process too.
            let _ = orders::send(loader.socket, Order::Signal { start: process.start, signal }, &[]);
        }
    }

    /// Reads what loaders report. `true`: something that there was to be heard.
    pub(in crate::daemon) fn hear_loaders(&self) -> bool {
        let all: Vec<i32> = {
            let saved = self.saved.borrow();
            saved.groups.iter().flat_map(|group| &group.loaders).map(|loader| loader.pid).collect()
        };
        // All of them, whatever the first ones say.
        all.into_iter().filter(|pid| self.hear_loader(*pid)).count() > 0
    }

    /// The group of a loader, and its record.
    fn find_loader(&self, pid: i32) -> Option<(usize, SavedLoader)> {
        let saved = self.saved.borrow();
        let mut groups = saved.groups.iter().enumerate();
        groups.find_map(|(group, known)| {
            known.loaders.iter().find(|loader| loader.pid == pid).map(|loader| (group, *loader))
        })
    }

    fn hear_loader(&self, pid: i32) -> bool {
        let mut heard = false;
        for _ in 0..MOST {
            // Anew each time: what a report leads to may change the lists.
            let Some((group, loader)) = self.find_loader(pid) else { return heard };
            match orders::receive(loader.socket) {
                Some(Some(report)) => heard |= self.reported(group, loader, report),
                Some(None) => {}
                None => break,
            }
        }
        heard
    }

    /// `true`: the report is of something that the server knows and did not know yet.
    fn reported(&self, group: usize, loader: SavedLoader, report: Report) -> bool {
        let of = |start| move |process: &SavedProcess| process.loader == Some(loader.pid) && process.start == start;
        match report {
            Report::Forked { start, pid } => return self.forked(group, of(start), pid),
            Report::Ended { start, status } => return self.ended_where(of(start), Death::of_wait_status(status)),
            Report::Failed { start } => {
                let slot = self.slot_where(group, of(start));
                if let Some((slot, process)) = slot {
                    self.vacate(group, slot, process);
                    if !stops() {
                        let delay = self.delay(group, slot, process.place, Death::Exit(spawn::SETUP_FAILED), false);
                        self.start_process(group, slot, process.place, delay);
                    }
                    return true;
                }
            }
            Report::Stale => {
                if self.loader(group) == Some(loader) && !stops() && !self.takes_over.get() {
                    self.replace_loader(group, loader);
                    return true;
                }
            }
        }
        false
    }

    /// The slot of a process.
    fn slot_where(&self, group: usize, is: impl Fn(&SavedProcess) -> bool) -> Option<(usize, SavedProcess)> {
        let saved = self.saved.borrow();
        let mut slots = saved.groups[group].slots.iter().enumerate();
        slots.find_map(|(slot, known)| known.process.filter(|process| is(process)).map(|process| (slot, process)))
    }

    fn forked(&self, group: usize, is: impl Fn(&SavedProcess) -> bool, pid: i32) -> bool {
        let Some((slot, process)) = self.slot_where(group, |process| process.is_ordered() && is(process)) else {
            // One that had been replaced before it was known to run.
            let former = &mut self.saved.borrow_mut().groups[group].former;
            let known = former.iter_mut().find(|process| process.is_ordered() && is(process));
            return known.map(|process| process.pid = pid).is_some();
        };
        if let Some(page) = self.page_of(group, &process) {
            page.started(process.place, pid);
        }
        if let Some(pace) = self.paces.borrow_mut().get_mut(group).and_then(|slots| slots.get_mut(slot)) {
            pace.began = Some(Instant::now());
        }
        if let Some(pace) = self.loader_paces.borrow_mut().get_mut(group) {
            pace.has_forked();
        }
        let by = |other: &&mut SavedLoader| Some(other.pid) == process.loader;
        if let Some(loader) = self.saved.borrow_mut().groups[group].loaders.iter_mut().find(by) {
            loader.forked = true;
        }
        self.saved.borrow_mut().groups[group].slots[slot].process = Some(SavedProcess { pid, ..process });
        self.save();
        self.fill(group);
        true
    }

    /// Takes a process out of its slot.
    pub(super) fn vacate(&self, group: usize, slot: usize, process: SavedProcess) {
        self.saved.borrow_mut().groups[group].slots[slot].process = None;
        self.abandon(group, process);
    }

    /// Forgets a process that nobody can tell the end of.
    pub(super) fn abandon(&self, group: usize, process: SavedProcess) {
        // Which ends it, in order, if it runs.
        release(process);
        if let Some(page) = self.page_of(group, &process) {
            page.ended(process.place, process.pid);
        }
    }

    /// What a loader has loaded is out of date.
    fn replace_loader(&self, group: usize, loader: SavedLoader) {
        if let Some(loader) = self.saved.borrow_mut().groups[group].loaders.last_mut() {
            retire_loader(loader);
        }
        // A script that changes all the time does not keep the machine busy.
        let began = self.loader_paces.borrow().get(group).and_then(|pace| pace.began);
        let delay = rest_of_second(began, Instant::now());
        let ordered: Vec<usize> = {
            let saved = self.saved.borrow();
            let slots = saved.groups[group].slots.iter().enumerate();
            let waits = |process: SavedProcess| process.is_ordered() && process.loader == Some(loader.pid);
            slots.filter(|(_, slot)| slot.process.is_some_and(waits)).map(|(number, _)| number).collect()
        };
        self.start_loader_and(group, delay, &ordered);
    }

    /// Starts a loader, and orders the processes of these slots from it.
    fn start_loader_and(&self, group: usize, delay: Duration, slots: &[usize]) {
        let Group { plan, .. } = &self.groups[group];
        if let Err(error) = self.start_loader(group, delay) {
            parent_log::server(
                plan.server,
                &codes::FORK_FAILED,
                format_args!("Couldn't spawn the loader of group '{}' ({error}).", plan.program.group),
            );
        }
        self.order_anew(group, slots);
        self.save();
    }

    /// Orders the processes of these slots once more, from the present loader. Those that are there are left to
    /// themselves, and end.
    fn order_anew(&self, group: usize, slots: &[usize]) {
        for slot in slots {
            let process = self.saved.borrow().groups[group].slots[*slot].process;
            let Some(process) = process else { continue };
            let place = if process.is_ordered() { process.place } else { self.next_place(group, process.place) };
            self.vacate(group, *slot, process);
            self.start_process(group, *slot, place, Duration::ZERO);
        }
    }

    /// A child of the server has ended: whether it was a loader. Its processes are ended too, in order: nobody
    /// could tell how they end otherwise.
    pub(super) fn loader_ended(&self, pid: i32, death: Death, stops: bool) -> bool {
        if self.find_loader(pid).is_none() {
            return false;
        }
        self.hear_loader(pid);
        let Some((group, loader)) = self.find_loader(pid) else { return true };
        let own = |process: &SavedProcess| process.loader == Some(pid);
        let (gone, slots, known) = {
            let mut saved = self.saved.borrow_mut();
            let known = self.groups.len();
            let saved_group = &mut saved.groups[group];
            saved_group.loaders.retain(|other| other.pid != pid);
            let (gone, left) = saved_group.former.iter().partition::<Vec<_>, _>(|process| own(process));
            saved_group.former = left;
            let slots = saved_group.slots.iter().enumerate();
            let slots: Vec<usize> =
                slots.filter(|(_, slot)| slot.process.as_ref().is_some_and(own)).map(|(number, _)| number).collect();
            if group >= known && !is_inhabited(saved_group) {
                close_channels(saved_group);
                saved.groups.remove(group);
            }
            (gone, slots, group < known)
        };
        gone.into_iter().for_each(|process| self.abandon(group, process));
        close(loader.socket);
        if known {
            self.log_end_of_loader(group, loader, death, stops);
            if !stops && loader.retired {
                // Another one has taken over, but some of the processes were still those of this one.
                self.order_anew(group, &slots);
            } else if !stops {
                let delay = self.delay_of_loader(group);
                self.start_loader_and(group, delay, &slots);
            }
            if !stops {
                self.follow(group);
                self.roll(group);
            }
        }
        self.save();
        true
    }

    /// How long to wait before a group's loader is started again: not at all when it had loaded what it had to.
    fn delay_of_loader(&self, group: usize) -> Duration {
        let mut paces = self.loader_paces.borrow_mut();
        let Some(pace) = paces.get_mut(group) else { return Duration::ZERO };
        let (delay, said) = pace.ended(Instant::now());
        if let Some(many) = said {
            let plan = &self.groups[group].plan;
            parent_log::server(
                plan.server,
                &codes::RESTARTS_DELAYED,
                format_args!(
                    "{many} loaders of group '{}' have ended in a row right after their start; the next one is started in \
                     {} seconds.",
                    plan.program.group,
                    delay.as_secs()
                ),
            );
        }
        delay
    }

    fn log_end_of_loader(&self, group: usize, loader: SavedLoader, death: Death, stops: bool) {
        let Group { plan, page } = &self.groups[group];
        let (name, pid) = (&plan.program.group, loader.pid);
        page.count_end(death);
        let was_asked = stops || loader.ending != Ending::Not;
        if death != Death::Exit(0) && !(was_asked && death == Death::Signal(libc::SIGTERM)) {
            let end = death.describe(pid, name);
            let text =
                format_args!("{end}; it was the group's loader, and the processes that it has forked end with it.");
            parent_log::server(plan.server, &codes::DAEMON_DIED, text);
        }
        parent_log::info(plan.server, format_args!("The loader of group '{name}' (pid={pid}) has ended."));
    }
}
