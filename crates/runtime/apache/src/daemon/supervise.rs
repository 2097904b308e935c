//! The parent's side: takes over or starts the processes of all groups, and starts again what ends.
//!
//! Apache tells of the end of a process by a callback, which each generation of the configuration registers anew,
//! because the module's code moves. On a restart nothing is ended: the next generation finds the running processes in
//! [`retained`], starts a successor for each, and the successor itself tells its predecessor to leave once it accepts.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::client::{Daemons, GroupClient};
use super::death::{self, Death};
use super::group::{Plan, pipe};
use super::holdings::{close, close_channels, prepare, release, retire, unlink};
use super::log_writer::{self, Channel};
use super::retained::{self, Saved, SavedProcess};
use super::rolling;
use super::spawn::{self, Sources};
use super::status_page::{PLACES, StatusPage, other_place, slot_of};
use super::watch::{self, Reason};
use crate::codes;
use crate::config::Registry;
use crate::host::{MainState, Mpm, Server, ServingUser, Target, log, main_state, serving_user};

/// The groups could not be started; the reason was logged.
#[derive(Debug, thiserror::Error)]
#[error("daemon mode could not be started")]
pub(crate) struct Failed;

/// The longest delay before another try.
const LONGEST_DELAY: Duration = Duration::from_secs(20);

/// How long the writer of the log may take to write what is left.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The parent's view of one generation.
pub(crate) struct Supervisor {
    pub(super) main: Server<'static>,
    pub(super) user: ServingUser,
    /// The process that this is for: children have a copy that they must not use.
    parent: u32,
    pub(super) groups: Vec<Group>,
    pub(super) saved: RefCell<Saved>,
    /// Per group: the slot whose process was replaced last because it wanted to be.
    pub(super) rolled: RefCell<Vec<usize>>,
    /// Per group and slot.
    pub(super) lives: RefCell<Vec<Vec<Life>>>,
    /// Processes that were asked to end. A second signal could cut short what the first one began.
    asked: RefCell<Vec<i32>>,
    weak: OnceLock<std::rc::Weak<Supervisor>>,
}

/// A group that runs. Its position is the same in [`Saved::groups`], where groups of earlier generations follow.
pub(super) struct Group {
    pub(super) plan: Plan,
    pub(super) page: Arc<StatusPage>,
}

/// What is remembered of a slot's processes, so that it is not filled again and again in a tight loop.
#[derive(Clone, Copy, Default)]
pub(super) struct Life {
    /// When the present one was started.
    pub(super) began: Option<Instant>,
    /// How many requests were counted at its place then.
    requests: u64,
    /// How many in a row ended right after their start.
    failures: u32,
}

/// A process that ends sooner than this and has served nothing was no use.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// The delay after so many processes in a row that were no use.
fn delay_after(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => Duration::from_secs(1 << (failures - 1).min(5)).min(LONGEST_DELAY),
    }
}

/// Starts the groups, or takes over those that run already. A group that cannot be started is logged and answers with
/// 503; an error keeps the server from starting.
pub(crate) fn start(main: Server<'static>, registry: &'static Registry) -> Result<(), Failed> {
    let Some(generation) = registry.generation() else { return Err(Failed) };
    let retained = retained::load();
    if generation.groups.is_empty() && retained.is_none() {
        return Ok(());
    }
    let user = serving_user();
    let mut earlier = match retained {
        Some(saved) => saved,
        None => Saved { secret: new_secret().map_err(|error| failed(main, &error))?, ..Saved::default() },
    };
    let mut saved = Saved { groups: Vec::new(), ..earlier.clone() };
    let mut groups = Vec::new();
    let mut clients = Vec::new();
    for (position, group) in generation.groups.iter().enumerate() {
        let plan = match Plan::of(generation, position, &user, registry.pool()) {
            Ok(plan) => plan,
            Err(error) => {
                log::server(
                    group.server,
                    &codes::DAEMON_FAILED,
                    format_args!("Daemon process group '{}' cannot be started: {error}.", group.display()),
                );
                clients.push(GroupClient::absent(group));
                continue;
            }
        };
        let before = earlier.groups.iter().position(|before| before.name == plan.name);
        let mut kept = before.map(|position| earlier.groups.remove(position)).unwrap_or_default();
        match prepare(&plan, &mut kept) {
            Ok(page) => {
                clients.push(GroupClient::new(group, &plan, &kept, Arc::clone(&page)));
                saved.groups.push(kept);
                groups.push(Group { plan, page });
            }
            Err(error) => {
                log::server(group.server, error.code(), format_args!("{error}"));
                clients.push(GroupClient::absent(group));
                earlier.groups.push(kept);
            }
        }
    }
    for gone in &mut earlier.groups {
        retire(gone);
    }
    saved.groups.extend(earlier.groups.into_iter().filter(|gone| !gone.leaving.is_empty()));

    let lives = groups.iter().map(|group| vec![Life::default(); group.plan.processes as usize]).collect();
    let secret = saved.secret;
    let supervisor = Rc::new(Supervisor {
        main,
        user,
        parent: std::process::id(),
        rolled: RefCell::new(vec![0; groups.len()]),
        lives: RefCell::new(lives),
        asked: RefCell::default(),
        groups,
        saved: RefCell::new(saved),
        weak: OnceLock::new(),
    });
    let _ = supervisor.weak.set(Rc::downgrade(&supervisor));
    let at_end = Rc::clone(&supervisor);
    registry.pool().at_end(move || at_end.generation_ends());
    // A second start on one configuration does not happen.
    let _ = registry.daemons().set(Daemons::new(secret, clients));
    watch::hear_of_deaths_at_once();
    supervisor.run();
    if supervisor.saved.borrow().writer.is_none() {
        // Its writer answers daemons that ask for the scoreboard, so it has to have that.
        let supervisor = Rc::clone(&supervisor);
        *registry.with_scoreboard().borrow_mut() = Some(Box::new(move || {
            supervisor.replace_writer();
            supervisor.save();
        }));
    }
    Ok(())
}

fn failed(main: Server<'_>, error: &io::Error) -> Failed {
    log::server(main, &codes::DAEMON_FAILED, format_args!("Daemon mode cannot be started: {error}."));
    Failed
}

fn new_secret() -> io::Result<[u8; 32]> {
    let mut secret = [0u8; 32];
    // SAFETY: room for as many bytes as it says.
    let count = unsafe { libc::getrandom(secret.as_mut_ptr().cast(), secret.len(), 0) };
    if usize::try_from(count) == Ok(secret.len()) { Ok(secret) } else { Err(io::Error::last_os_error()) }
}

impl Supervisor {
    fn rc(&self) -> Option<Rc<Supervisor>> {
        self.weak.get().and_then(std::rc::Weak::upgrade)
    }

    pub(super) fn save(&self) {
        retained::save(&self.saved.borrow());
    }

    /// Begins to watch what runs, and starts what does not.
    fn run(&self) {
        let running: Vec<i32> = {
            let saved = self.saved.borrow();
            let slots = saved.groups.iter().flat_map(|group| group.slots.iter().filter_map(|slot| slot.process));
            let leaving = saved.groups.iter().flat_map(|group| group.leaving.iter().copied());
            slots.chain(leaving).map(|process| process.pid).collect()
        };
        for pid in running {
            self.watch(pid);
        }
        self.replace_writer();
        self.hang_bell();
        self.abandon_successors();
        for group in 0..self.groups.len() {
            for slot in 0..self.groups[group].plan.processes as usize {
                self.hand_over(group, slot);
            }
        }
        self.save();
    }

    pub(super) fn watch(&self, pid: i32) {
        let Some(supervisor) = self.rc() else { return };
        watch::register(self.pool(), pid, Box::new(move |watched, reason| supervisor.heard(watched, reason)));
    }

    fn pool(&self) -> crate::host::Pool<'static> {
        // The supervisor lives on the configuration's pool, as the configuration of the main server does.
        crate::config::ServerConfig::of(self.main)
            .map(|config| config.registry().pool())
            .expect("a server with daemon groups has a configuration of ours")
    }

    /// Starts a writer for the log of this generation; the one before ends.
    fn replace_writer(&self) {
        let before = self.saved.borrow_mut().writer.take();
        if let Some(before) = before {
            // SAFETY: writes one byte from one; a writer that has ended needs no telling.
            unsafe { libc::write(before.control, [log_writer::REPLACED].as_ptr().cast(), 1) };
            close(before.control);
            self.watch(before.pid);
        }
        let channels: Vec<Channel> = {
            let saved = self.saved.borrow();
            let groups = saved.groups.iter().enumerate().filter(|(_, group)| group.log.1 >= 0);
            let server = |position: usize| self.groups.get(position).map_or(self.main, |group| group.plan.server);
            groups
                .map(|(position, group)| Channel {
                    server: server(position),
                    packets: group.log.1,
                    output: group.output.1,
                    board: self.groups.get(position).is_some_and(|group| group.plan.server_metrics),
                })
                .collect()
        };
        if channels.is_empty() {
            return;
        }
        if channels.iter().any(|channel| channel.board) && !crate::host::scoreboard::exists() {
            // `start` sees to it. What daemons log meanwhile waits in their sockets.
            return;
        }
        match log_writer::start(self.main, &channels, &self.user) {
            Ok((pid, control)) => {
                self.saved.borrow_mut().writer = Some(SavedProcess { pid, control, place: 0, scripts: -1 });
                self.watch(pid);
            }
            Err(error) => log::server(
                self.main,
                &codes::FORK_FAILED,
                format_args!("Couldn't spawn the process that writes the log of daemon processes ({error})."),
            ),
        }
    }

    /// Starts a process in a slot; the one that runs there becomes its predecessor.
    fn hand_over(&self, group: usize, slot: usize) {
        let place = {
            let mut saved = self.saved.borrow_mut();
            let saved_group = &mut saved.groups[group];
            saved_group.slots[slot].rolls = false;
            match saved_group.slots[slot].process.take() {
                Some(process) => {
                    saved_group.leaving.push(process);
                    other_place(process.place)
                }
                None => first_place(slot),
            }
        };
        self.start_process(group, slot, place, Duration::ZERO);
    }

    pub(super) fn start_process(&self, group: usize, slot: usize, place: u32, delay: Duration) {
        let result = self.try_start(group, slot, place, delay);
        if let Err(error) = result {
            let group = &self.groups[group];
            log::server(
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
        let process = |pid| SavedProcess { pid, control: writing, place, scripts };
        let pid = match result {
            Ok(pid) => pid,
            Err(error) => {
                release(process(0));
                return Err(error);
            }
        };
        page.started(place, pid);
        if let Some(life) = self.lives.borrow_mut().get_mut(group).and_then(|slots| slots.get_mut(slot)) {
            life.began = Some(Instant::now() + delay);
            life.requests = page.requests(place);
        }
        self.saved.borrow_mut().groups[group].slots[slot].process = Some(process(pid));
        self.watch(pid);
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
    ) -> io::Result<i32> {
        let mut saved = self.saved.borrow_mut();
        saved.starts = saved.starts.wrapping_add(1);
        let (start, secret) = (saved.starts, saved.secret);
        let saved_group = &saved.groups[group];
        let slot_number = u32::try_from(slot).unwrap_or(0);
        // The latest that served the slot; it is told by its successor, and again if that one fails.
        let predecessor = saved_group.leaving.iter().rev().find(|process| slot_of(process.place) == slot_number);
        let rolls = plan.rolling && saved_group.slots[slot].rolls;
        let mut sources = Sources {
            launch: -1,
            listener: saved_group.slots[slot].listener.descriptor,
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
        let launch: OwnedFd = plan.launch(place, start, &secret, &sources)?;
        sources.launch = launch.as_raw_fd();
        page.starting(place, start, delay.is_zero());
        spawn::start(&plan.program, sources, delay)
    }

    /// Apache says something about a process.
    fn heard(&self, watched: &watch::Watched, reason: Reason) {
        if std::process::id() != self.parent {
            return;
        }
        match reason {
            Reason::ServerStops => self.end(watched.pid),
            Reason::Ended(status) => self.ended(watched.pid, death::find(watched.handle(), status)),
        }
    }

    /// Asks a daemon process to end, once.
    pub(super) fn end(&self, pid: i32) {
        let is_writer = self.saved.borrow().writer.is_some_and(|writer| writer.pid == pid);
        let mut asked = self.asked.borrow_mut();
        if !is_writer && !asked.contains(&pid) {
            asked.push(pid);
            watch::ask_to_end(pid);
        }
    }

    fn ended(&self, pid: i32, death: Death) {
        let stops = Mpm::is_stopping() || watch::server_shuts_down();
        if self.saved.borrow().writer.is_some_and(|writer| writer.pid == pid) {
            if let Some(writer) = self.saved.borrow_mut().writer.take() {
                close(writer.control);
            }
            if !stops {
                self.replace_writer();
                self.save();
            }
            return;
        }
        if self.is_bell(pid) {
            if !stops {
                self.rung();
            }
            return;
        }
        if let Some((group, slot, process)) = self.current(pid) {
            if !stops && self.has_given_up(group, slot, process, death) {
                return;
            }
            self.log_end(group, pid, process.place, death, stops);
            release(process);
            self.saved.borrow_mut().groups[group].slots[slot].process = None;
            self.saved.borrow_mut().groups[group].slots[slot].rolls = false;
            let had_started = self.groups[group].page.has_started(process.place);
            self.groups[group].page.ended(process.place, pid);
            if stops {
                self.save();
            } else {
                let delay = self.delay(group, slot, process.place, death, had_started);
                self.start_process(group, slot, self.next_place(group, process.place), delay);
                self.roll(group);
            }
            return;
        }
        let left = self.left(pid);
        if let Some((group, process)) = left {
            release(process);
            if let Some(Group { plan, page }) = self.groups.get(group) {
                page.ended(process.place, pid);
                page.count_end(death);
                let was_asked = death == Death::Signal(libc::SIGTERM) && self.asked.borrow().contains(&pid);
                if death != Death::Exit(0) && !was_asked {
                    log::server(
                        plan.server,
                        &codes::DAEMON_DIED,
                        format_args!("{}", death.describe(pid, &plan.program.group, &page.serving(process.place))),
                    );
                }
                if !stops {
                    self.roll(group);
                }
            }
            self.save();
        }
    }

    /// The place for the process that follows one which has ended. The other one of the slot, so that children still
    /// find at the old one which requests it had taken; unless a process that is leaving has it.
    fn next_place(&self, group: usize, place: u32) -> u32 {
        let other = other_place(place);
        let taken = self.saved.borrow().groups[group].leaving.iter().any(|process| process.place == other);
        if taken { place } else { other }
    }

    fn current(&self, pid: i32) -> Option<(usize, usize, SavedProcess)> {
        let saved = self.saved.borrow();
        saved.groups.iter().enumerate().find_map(|(group, saved_group)| {
            let mut slots = saved_group.slots.iter().enumerate();
            slots.find_map(|(slot, saved_slot)| {
                saved_slot.process.filter(|process| process.pid == pid).map(|process| (group, slot, process))
            })
        })
    }

    /// Takes a process that was leaving out of the records.
    fn left(&self, pid: i32) -> Option<(usize, SavedProcess)> {
        let mut saved = self.saved.borrow_mut();
        let known = self.groups.len();
        let found = saved.groups.iter_mut().enumerate().find_map(|(number, group)| {
            let position = group.leaving.iter().position(|process| process.pid == pid)?;
            let process = group.leaving.remove(position);
            if number >= known && group.leaving.is_empty() {
                close_channels(group);
            }
            Some((number, process))
        });
        saved.groups.retain({
            let mut number = 0;
            move |group| {
                number += 1;
                number <= known || !group.leaving.is_empty()
            }
        });
        found
    }

    /// How long to wait before a slot is filled again: not at all, unless its processes cannot even start, or are of no
    /// use. A service whose script has returned is run again, but not in a tight loop.
    fn delay(&self, group: usize, slot: usize, place: u32, death: Death, had_started: bool) -> Duration {
        let Group { plan, page } = &self.groups[group];
        let mut lives = self.lives.borrow_mut();
        let Some(life) = lives.get_mut(group).and_then(|slots| slots.get_mut(slot)) else {
            return Duration::ZERO;
        };
        let lived = life.began.map_or(SOON, |began| began.elapsed());
        let ended_well = death == Death::Exit(0);
        let useless = lived < SOON && page.requests(place) == life.requests && !ended_well;
        life.failures = if !had_started || useless { life.failures.saturating_add(1) } else { 0 };
        let delay = delay_after(life.failures);
        if life.failures > 1 {
            log::server(
                plan.server,
                &codes::RESTARTS_DELAYED,
                format_args!(
                    "{} processes of group '{}' have ended in a row right after their start; the next one is started in \
                     {} seconds.",
                    life.failures,
                    plan.program.group,
                    delay.as_secs()
                ),
            );
        }
        if plan.program.threads == 0 { delay.max(SOON.saturating_sub(lived)) } else { delay }
    }

    fn log_end(&self, group: usize, pid: i32, place: u32, death: Death, stops: bool) {
        let Group { plan, page } = &self.groups[group];
        let name = &plan.program.group;
        let target = Target::Server(plan.server);
        page.count_end(death);
        if death != Death::Exit(0) && !(stops && death == Death::Signal(libc::SIGTERM)) {
            log::server(
                plan.server,
                &codes::DAEMON_DIED,
                format_args!("{}", death.describe(pid, name, &page.serving(place))),
            );
        }
        if stops {
            log::info(
                target,
                format_args!("Process '{name}' (pid={pid}) has died but server is being stopped, deregister it."),
            );
            return;
        }
        log::info(target, format_args!("Process '{name}' (pid={pid}) has died; deregistering and restarting it."));
        match death {
            Death::Exit(code) => {
                log::info(target, format_args!("Process '{name}' (pid={pid}) terminated normally, exit code {code}"));
            }
            Death::Signal(signal) => {
                log::info(target, format_args!("Process '{name}' (pid={pid}) terminated by signal {signal}"));
            }
        }
        log::info(
            target,
            format_args!("Process '{name}' (pid={pid}) has been deregistered and will no longer be monitored."),
        );
    }

    /// The configuration is thrown away: for a restart everything goes on; at the end of the server everything ends.
    fn generation_ends(&self) {
        if std::process::id() != self.parent || main_state() == MainState::DestroyConfig {
            return;
        }
        let saved = self.saved.borrow().clone();
        let longest = self.groups.iter().map(|group| group.plan.shutdown).max().unwrap_or_default();
        let processes: Vec<i32> = saved
            .groups
            .iter()
            .flat_map(|group| group.slots.iter().filter_map(|slot| slot.process).chain(group.leaving.iter().copied()))
            .map(|process| process.pid)
            .collect();
        // shutdown-timeout=0 means that a process is never forced; a server that ends cannot wait for ever.
        let patience = if longest.is_zero() { LONGEST_DELAY } else { longest + Duration::from_secs(1) };
        processes.iter().for_each(|pid| self.end(*pid));
        watch::wait_for_all(&processes, patience);
        for group in &saved.groups {
            for listener in group.slots.iter().map(|slot| &slot.listener).chain(&group.overflow) {
                unlink(listener);
            }
            // Without these ends the writer sees the end of its input.
            close(group.log.0);
            close(group.output.0);
        }
        if let Some(process) = saved.bell.and_then(|bell| bell.process) {
            close(process.control);
            watch::wait_for(process.pid, LAST_LINES);
        }
        if let Some(writer) = saved.writer {
            close(writer.control);
            watch::wait_for(writer.pid, LAST_LINES);
        }
        retained::save(&Saved::default());
    }
}

/// The place of a slot's first process.
fn first_place(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(0) * PLACES
}

/// Gives back what an ended Apache child held.
pub(crate) fn child_ended(registry: &'static Registry, pid: libc::pid_t) {
    if let Some(daemons) = registry.daemons().get() {
        daemons.give_back(pid);
    }
}

/// In a child: closes the copies of the control pipes, by whose end daemons learn that the server has gone.
pub(crate) fn close_control_pipes() {
    let Some(saved) = retained::load() else { return };
    let processes = saved
        .groups
        .iter()
        .flat_map(|group| group.slots.iter().filter_map(|slot| slot.process).chain(group.leaving.iter().copied()));
    for process in processes.chain(saved.writer).chain(saved.bell.and_then(|bell| bell.process)) {
        release(process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        let delays: Vec<u64> = (0..8).map(|failures| delay_after(failures).as_secs()).collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 20, 20]);
    }
}
