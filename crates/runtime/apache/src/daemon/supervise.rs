//! The parent's side: takes over or starts the processes of all groups, and starts again what ends
//! ([`starting`], [`ended`]), by itself or through a group's loader ([`loading`]).
//!
//! Apache tells of the end of a process by a callback, which each generation of the configuration registers anew,
//! because the module's code moves. On a restart nothing is ended: the next generation finds the running processes in
//! [`retained`], starts a successor for each, and the successor itself tells its predecessor to leave once it accepts.

mod ended;
mod loading;
mod starting;
mod strangers;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::bell::Rings;
use super::client::{Daemons, GroupClient};
use super::group::Plan;
use super::holdings::{close, is_inhabited, prepare, retire, unlink};
use super::log_writer::{self, Channel};
use super::pace::{LONGEST_DELAY, LoaderPace, SlotPace};
use super::parent_log;
use super::retained::{self, Ending, Left, Saved, SavedGroup, SavedProcess};
use super::siblings;
use super::status_page::StatusPage;
use super::watch;
use crate::codes;
use crate::config::Registry;
use crate::host::{MainState, Server, ServingUser, main_state, serving_user};

/// The groups could not be started; the reason was logged.
#[derive(Debug, thiserror::Error)]
#[error("daemon mode could not be started")]
pub(crate) struct Failed;

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
    /// What the bell was rung for lately.
    pub(super) rings: Cell<Rings>,
    /// Per group and slot.
    pub(super) paces: RefCell<Vec<Vec<SlotPace>>>,
    /// Per group.
    loader_paces: RefCell<Vec<LoaderPace>>,
    /// The generation takes over what the one before left: nothing is started for what has ended since, or replaced.
    pub(super) takes_over: Cell<bool>,
    /// When it was last looked for what is missing.
    looked: Cell<Option<Instant>>,
    /// Of the writer of the log.
    writer_pace: Cell<SlotPace>,
    weak: OnceLock<std::rc::Weak<Supervisor>>,
}

/// A group that runs. Its position is the same in [`Saved::groups`], where groups of earlier generations follow.
pub(super) struct Group {
    pub(super) plan: Plan,
    pub(super) page: Arc<StatusPage>,
}

/// Starts the groups, or takes over those that run already. A group that cannot be started is logged and answers with
/// 503; an error keeps the server from starting.
pub(crate) fn start(main: Server<'static>, registry: &'static Registry) -> Result<(), Failed> {
    let Some(generation) = registry.generation() else { return Err(Failed) };
    let mut earlier = match retained::load() {
        Left::Nothing if generation.groups.is_empty() => return Ok(()),
        Left::Nothing => Saved::default(),
        Left::Ours(saved) => *saved,
        Left::Other(Some(kept)) => {
            Saved { era: kept.era + 1, strangers: vec![strangers::adopt(kept)], ..Saved::default() }
        }
        Left::Other(None) => {
            parent_log::server(
                main,
                &codes::OTHER_VERSION_UNREADABLE,
                format_args!(
                    "Another version of the module has started daemon processes, of which it left no list; they stay until \
                     Apache is stopped."
                ),
            );
            Saved::default()
        }
    };
    let user = serving_user();
    let mut saved = Saved { groups: Vec::new(), ..earlier.clone() };
    let mut groups = Vec::new();
    let mut clients = Vec::new();
    for (position, group) in generation.groups.iter().enumerate() {
        let plan = match Plan::of(generation, position, &user, registry.pool()) {
            Ok(plan) => plan,
            Err(error) => {
                parent_log::server(
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
        match prepare(&plan, &mut kept, earlier.era) {
            Ok(page) => {
                clients.push(GroupClient::new(group, &plan, &kept, Arc::clone(&page)));
                saved.groups.push(kept);
                groups.push(Group { plan, page });
            }
            Err(error) => {
                parent_log::server(group.server, error.code(), format_args!("{error}"));
                clients.push(GroupClient::absent(group));
                earlier.groups.push(kept);
            }
        }
    }
    for gone in &mut earlier.groups {
        retire(gone);
    }
    saved.groups.extend(earlier.groups.into_iter().filter(is_inhabited));

    let paces = groups.iter().map(|group| vec![SlotPace::default(); group.plan.processes as usize]).collect();
    let supervisor = Rc::new(Supervisor {
        main,
        user,
        parent: std::process::id(),
        rolled: RefCell::new(vec![0; groups.len()]),
        rings: Cell::default(),
        paces: RefCell::new(paces),
        loader_paces: RefCell::new(vec![LoaderPace::default(); groups.len()]),
        takes_over: Cell::new(true),
        looked: Cell::default(),
        writer_pace: Cell::default(),
        groups,
        saved: RefCell::new(saved),
        weak: OnceLock::new(),
    });
    let _ = supervisor.weak.set(Rc::downgrade(&supervisor));
    let at_end = Rc::clone(&supervisor);
    registry.pool().at_end(move || at_end.generation_ends());
    // A second start on one configuration does not happen.
    let _ = registry.daemons().set(Daemons::new(clients));
    watch::hear_of_deaths_at_once();
    supervisor.run();
    let at_times = Rc::downgrade(&supervisor);
    *registry.at_times().borrow_mut() =
        Some(Box::new(move || at_times.upgrade().iter().for_each(|supervisor| supervisor.keep_up())));
    if supervisor.saved.borrow().writer.is_none() {
        // Its writer answers daemons that ask for the scoreboard, so it has to have that.
        let supervisor = Rc::clone(&supervisor);
        *registry.with_scoreboard().borrow_mut() = Some(Box::new(move || {
            supervisor.replace_writer(Duration::ZERO);
            supervisor.save();
        }));
    }
    Ok(())
}

impl Supervisor {
    fn rc(&self) -> Option<Rc<Supervisor>> {
        self.weak.get().and_then(std::rc::Weak::upgrade)
    }

    pub(super) fn save(&self) {
        let saved = self.saved.borrow();
        retained::save(&saved);
        siblings::hold(&saved);
    }

    /// Begins to watch what runs, and starts what does not.
    fn run(&self) {
        let running: Vec<i32> = {
            let saved = self.saved.borrow();
            let all = saved.groups.iter().flat_map(SavedGroup::processes);
            let own = all.filter(|process| process.loader.is_none()).map(|process| process.pid);
            let own = own.chain(saved.groups.iter().flat_map(|group| &group.loaders).map(|loader| loader.pid));
            let strangers = saved.strangers.iter().flat_map(|stranger| stranger.kept.children());
            own.chain(strangers.map(|child| child.pid)).collect()
        };
        for pid in running {
            self.watch(pid);
        }
        self.log_strangers();
        self.replace_writer(Duration::ZERO);
        self.hang_bell();
        // Which of the processes that were ordered run. Those are replaced in order, the others are not needed any more.
        self.hear_loaders();
        self.takes_over.set(false);
        self.retire_loaders();
        for group in 0..self.groups.len() {
            for slot in 0..self.groups[group].plan.processes as usize {
                self.hand_over(group, slot);
            }
        }
        self.end_idle_loaders();
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

    /// Starts a writer for the log of this generation, after a delay; the one before ends.
    fn replace_writer(&self, delay: Duration) {
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
        {
            let saved = self.saved.borrow();
            let sockets = saved.groups.iter().filter(|group| group.log.1 >= 0).map(|group| group.log.0);
            parent_log::use_sockets(channels.iter().map(|channel| channel.server).zip(sockets));
        }
        if channels.is_empty() {
            return;
        }
        if channels.iter().any(|channel| channel.board) && !crate::host::scoreboard::exists() {
            // `start` sees to it. What daemons log meanwhile waits in their sockets.
            return;
        }
        match log_writer::start(self.main, &channels, &self.user, delay) {
            Ok((pid, control)) => {
                let mut pace = self.writer_pace.get();
                pace.began = Some(Instant::now() + delay);
                self.writer_pace.set(pace);
                self.saved.borrow_mut().writer = Some(SavedProcess::aide(pid, control));
                self.watch(pid);
            }
            Err(error) => parent_log::server(
                self.main,
                &codes::FORK_FAILED,
                format_args!("Couldn't spawn the process that writes the log of daemon processes ({error})."),
            ),
        }
    }

    /// The page that has a process's place: not another one that was made since its start.
    pub(super) fn page_of(&self, group: usize, process: &SavedProcess) -> Option<&StatusPage> {
        let present = self.saved.borrow().groups.get(group).map(|group| group.pages);
        self.groups.get(group).filter(|_| present == Some(process.page)).map(|group| &*group.page)
    }

    /// Whether a process has begun to serve, as far as its page tells.
    pub(super) fn has_served(&self, group: usize, process: &SavedProcess) -> bool {
        process.served || self.page_of(group, process).is_some_and(|page| page.has_started(process.place))
    }

    /// Asks a process or a loader that the server has started to end, once. The other children of the server end with it.
    pub(super) fn end(&self, pid: i32) {
        let own = |process: &SavedProcess| process.loader.is_none() && process.pid == pid;
        let loader = {
            let mut saved = self.saved.borrow_mut();
            let mut loaders = saved.groups.iter_mut().flat_map(|group| &mut group.loaders);
            loaders.find(|loader| loader.pid == pid).map(|loader| loader.ending.raise(Ending::Asked))
        };
        if loader.or_else(|| self.mark(own, Ending::Asked)) == Some(Ending::Not) {
            watch::ask_to_end(pid);
        }
    }

    /// Asks a process to end, whoever has started it.
    pub(super) fn end_process(&self, process: SavedProcess) {
        if process.loader.is_none() {
            self.end(process.pid);
        } else if self.mark(|other| other.start == process.start, Ending::Asked) == Some(Ending::Not) {
            self.signal(process, libc::SIGTERM);
        }
    }

    /// Kills a process, whoever has started it.
    pub(super) fn force(&self, process: SavedProcess) {
        self.mark(|other| other.start == process.start, Ending::Forced);
        match process.loader {
            None => watch::force(process.pid),
            Some(_) => self.signal(process, libc::SIGKILL),
        }
    }

    /// Notes what is done to end a process. Returns what was done before.
    pub(super) fn mark(&self, is: impl Fn(&SavedProcess) -> bool, ending: Ending) -> Option<Ending> {
        let mut saved = self.saved.borrow_mut();
        let mut all = saved.groups.iter_mut().flat_map(SavedGroup::processes_mut);
        all.find(|process| is(process)).map(|process| process.ending.raise(ending))
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
            .flat_map(|group| {
                // A loader ends those that it has forked.
                let own = group.processes().filter(|process| process.loader.is_none()).map(|process| process.pid);
                own.chain(group.loaders.iter().map(|loader| loader.pid))
            })
            .collect();
        // shutdown-timeout=0 means that a process is never forced; a server that ends cannot wait for ever.
        let strangers = self.stop_strangers();
        let patience = if longest.is_zero() { LONGEST_DELAY } else { longest + Duration::from_secs(1) };
        processes.iter().for_each(|pid| self.end(*pid));
        for end in watch::wait_for_all(&processes, patience) {
            self.log_end_at_stop(end, patience);
        }
        watch::wait_for_all(&strangers, patience);
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
        siblings::hold(&Saved::default());
    }
}

/// Gives back what an ended Apache child held.
pub(crate) fn child_ended(registry: &'static Registry, pid: libc::pid_t) {
    if let Some(daemons) = registry.daemons().get() {
        daemons.give_back(pid);
    }
    // Processes of another version may have waited for it.
    if let Some(work) = &*registry.at_times().borrow() {
        work();
    }
}
