//! `fork-after-load=On`: the process that loads the application once and is forked into the group's processes.
//!
//! It has one thread while it can be forked, serves nothing and decides nothing: the server orders each process, and
//! hears of its end from here, as only a parent can wait for a child. What is forked takes its own listener and place and
//! goes on as any other process does ([`Life`]). When what was loaded is out of date the loader says so and forks no
//! more; the server starts another one, and this one ends after its last process.

mod bound;
mod channel;
mod host;
mod processes;
mod stale;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::{self, Daemon};
use wsgi_protocol::loader::{Fork, Order, Report};

use self::bound::Bound;
use self::channel::{Came, Channel};
use self::host::Host;
use self::processes::Processes;
pub(super) use self::stale::Stale;
use super::fork::{Held, end_if_forked};
use super::line::ServerLog;
use super::monitor;
use super::poller::Wakeup;
use super::signals::{self, Forked};
use super::start::{Inherited, Life, StartError, because, name_process};
use crate::engine::{Engine, OtherThreads, Version};

/// How long a loader that ends waits for its processes when shutdown-timeout is off. The server waits a little longer.
const LONGEST_WAIT: Duration = Duration::from_secs(18);

/// What its processes may take longer than their shutdown-timeout.
const SLACK: Duration = Duration::from_millis(500);

/// How often it looks for what no descriptor tells it.
const LOOK: Duration = Duration::from_millis(200);

/// What ends when a fork does not.
const LOADER: &str = "the loader";
const PROCESS: &str = "the new process";

/// How many threads a line names.
const NAMED: usize = 8;

/// An order that is to be carried out, with its descriptors.
struct Wanted {
    due: Instant,
    fork: Fork,
    descriptors: Vec<Held<OwnedFd>>,
}

/// Why the loader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal said so.
    Signal,
    /// The server is gone.
    ServerGone,
    /// Another loader has taken over, and the last process has ended.
    Retired,
}

/// See the module.
struct Loader {
    launch: Daemon,
    group: String,
    host: &'static Host,
    /// `None`: Python could not be started. The processes answer all the same.
    engine: Option<&'static Engine>,
    versions: Vec<Version>,
    channel: Channel,
    page: OwnedFd,
    overflow: Option<Held<UnixListener>>,
    wakeup: &'static Wakeup,
    stale: Stale,
    processes: Processes,
    wanted: Vec<Wanted>,
    /// It was told that what is loaded is out of date.
    told: bool,
    retired: bool,
    /// Whether any process was forked.
    used: bool,
}

/// What the loader's part in a process comes to.
enum Next {
    /// The process was forked a moment ago.
    Serve(Newborn),
    /// It is the loader, which ends.
    End(Loader, End),
}

/// What a process has at its birth.
struct Newborn {
    loader: Loader,
    fork: Fork,
    descriptors: Vec<Held<OwnedFd>>,
    monitor: &'static Wakeup,
}

/// The whole life of a loader, and of each process that is forked from it.
pub(super) fn run(mut launch: Daemon, inherited: Inherited, log: ServerLog) -> Result<(), StartError> {
    let wakeup: &'static Wakeup = Box::leak(Box::new(Wakeup::new().map_err(because("making an eventfd"))?));
    // While it loads there is nothing that would have to end in order.
    signals::install(wakeup);
    signals::let_end();
    let host: &'static Host = Box::leak(Box::new(Host::new(log)));
    let bell = inherited.bell.ok_or(StartError::NoDescriptor(launch.descriptors.bell.unwrap_or(-1)))?;
    let python = std::mem::take(&mut launch.python);
    let mut loader = Loader {
        group: String::from_utf8_lossy(&launch.group).into_owned(),
        host,
        engine: None,
        versions: Vec::new(),
        channel: Channel::new(inherited.control, bell),
        page: inherited.page,
        overflow: inherited.overflow,
        wakeup,
        stale: Stale::new().map_err(because("sharing memory with processes to be forked"))?,
        processes: Processes::default(),
        wanted: Vec::new(),
        told: false,
        retired: false,
        used: false,
        launch,
    };
    loader.load(python);
    signals::install(wakeup);
    match loader.attend()? {
        Next::Serve(newborn) => newborn.serve(),
        Next::End(loader, end) => {
            loader.end(end);
            Ok(())
        }
    }
}

impl Loader {
    fn say(&self, level: Level, text: &str) {
        self.host.log().say(level, text);
    }

    /// Starts Python and loads what the processes share. What fails is logged, and met again by their requests.
    fn load(&mut self, python: launch::Python) {
        let bound = self.bound_loading();
        let Ok(engine) = Engine::load(python, self.host) else { return };
        let group = &self.group;
        for import in engine.unshared() {
            let script = String::from_utf8_lossy(&import.script);
            let name = String::from_utf8_lossy(&import.application_group);
            self.say(
                Level::Warning,
                &format!(
                    "WSGI0942: Script '{script}' is loaded by each process of group '{group}' for itself: application \
                     group '{name}' is a sub-interpreter, which does not outlive the fork of fork-after-load."
                ),
            );
        }
        self.versions = engine.load_shared();
        end_if_forked();
        if self.versions.is_empty() {
            self.say(
                Level::Warning,
                &format!(
                    "WSGI0941: There is nothing to load before the processes of group '{group}' are forked: no \
                     WSGIScriptAlias or WSGIImportScript names it together with application-group=%{{GLOBAL}}."
                ),
            );
        }
        let frozen = engine.freeze();
        self.say(
            Level::Info,
            &format!(
                "The loader of group '{group}' is ready; {frozen} objects are shared by the processes to be forked."
            ),
        );
        self.engine = Some(engine);
        drop(bound);
    }

    /// startup-timeout, which ends a loader that is stuck.
    fn bound_loading(&self) -> Bound {
        // As for a successor that loads by itself: the rest of the group is not to wait for ever for one that hangs.
        let timeouts = &self.launch.timeouts;
        if !self.launch.rolling && timeouts.startup == 0 {
            return Bound::none();
        }
        let (limit, group) = (timeouts.loading(), &self.group);
        let line = format!(
            "WSGI0943: The scripts of group '{group}' were not loaded within startup-timeout of {} seconds; the loader \
             ends and is started again.",
            limit.as_secs()
        );
        Bound::new(limit, self.host, None, line)
    }

    /// The same for a fork: hooks of `os.register_at_fork()` run before and after, in both processes.
    fn bound_fork(&self, what_ends: &str) -> Bound {
        let (limit, group) = (self.launch.timeouts.loading(), &self.group);
        let line = format!(
            "WSGI0945: A fork of group '{group}' has taken longer than {} seconds, most likely because a hook of \
             os.register_at_fork() does not return; {what_ends} ends and is started again.",
            limit.as_secs()
        );
        Bound::new(limit, self.host, self.engine, line)
    }

    /// Carries out what the server orders, and tells it what becomes of the processes, until it has to end; in a forked
    /// process it returns too.
    fn attend(mut self) -> Result<Next, StartError> {
        loop {
            self.wakeup.clear();
            let caught = signals::take();
            for (signal, _) in caught.passed_on() {
                self.processes.signal(signal);
            }
            let anew = caught.has(libc::SIGUSR1) || caught.has(libc::SIGXCPU);
            if anew {
                self.stale.set();
            }
            if caught.has(libc::SIGUSR1) {
                self.processes.signal(libc::SIGUSR1);
            }
            let server_gone = self.take_orders();
            let ended = self.processes.ended();
            if anew || !ended.is_empty() || self.next_due() == Some(Duration::ZERO) {
                // Before the ends, so that nobody asks this loader for what follows.
                self.look();
            }
            for (start, status) in ended {
                self.channel.report(Report::Ended { start, status });
            }
            if caught.has(libc::SIGTERM) || caught.has(libc::SIGINT) {
                return Ok(Next::End(self, End::Signal));
            }
            if server_gone {
                return Ok(Next::End(self, End::ServerGone));
            }
            while let Some(position) = self.wanted.iter().position(|wanted| wanted.due <= Instant::now()) {
                let Wanted { fork, descriptors, .. } = self.wanted.remove(position);
                match self.fork() {
                    Ok(Forked::Parent(pid)) => {
                        self.processes.add(pid, fork.start);
                        self.channel.report(Report::Forked { start: fork.start, pid });
                        // At once: until the server knows of it, it is one that nobody needs.
                        self.channel.send();
                    }
                    Ok(Forked::Child(monitor)) => {
                        return Ok(Next::Serve(Newborn { loader: self, fork, descriptors, monitor }));
                    }
                    Err(error) => {
                        let group = &self.group;
                        self.say(
                            Level::Alert,
                            &format!("WSGI0944: Couldn't fork a process of group '{group}' ({error})."),
                        );
                        self.channel.report(Report::Failed { start: fork.start });
                    }
                }
            }
            self.channel.send();
            if self.retired && self.processes.is_empty() {
                return Ok(Next::End(self, End::Retired));
            }
            self.sleep().map_err(because("waiting for orders"))?;
        }
    }

    /// Reads all orders. `true`: the server has gone.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.channel.receive() {
                Came::Order(Order::Fork(fork), descriptors) => {
                    if !self.told && !self.retired && descriptors.len() == fork.descriptors() {
                        let due = Instant::now() + Duration::from_millis(fork.delay);
                        self.wanted.push(Wanted { due, fork, descriptors });
                    }
                }
                Came::Order(Order::Signal { start, signal }, _) => self.processes.signal_one(start, signal),
                Came::Order(Order::Retire, _) => {
                    self.retired = true;
                    self.wanted.clear();
                }
                Came::Nothing => return false,
                Came::End => return true,
            }
        }
    }

    /// Tells the server when what is loaded is out of date.
    fn look(&mut self) {
        if self.told || !(self.stale.is_set() || self.versions.iter().any(Version::is_outdated)) {
            return;
        }
        self.told = true;
        self.wanted.clear();
        self.channel.report(Report::Stale);
        let group = &self.group;
        self.say(Level::Info, &format!("What the loader of group '{group}' has loaded is out of date."));
    }

    fn fork(&mut self) -> io::Result<Forked> {
        let Some(engine) = self.engine else { return signals::fork() };
        if !std::mem::replace(&mut self.used, true) {
            self.warn_of_threads(engine);
        }
        let mut child = None;
        let mut bound = self.bound_fork(LOADER);
        let pid = engine.fork(|| {
            bound.end();
            let forked = signals::fork();
            bound = self.bound_fork(if matches!(forked, Ok(Forked::Child(_))) { PROCESS } else { LOADER });
            match forked? {
                Forked::Parent(pid) => Ok(Some(pid)),
                Forked::Child(wakeup) => {
                    child = Some(wakeup);
                    Ok(None)
                }
            }
        });
        drop(bound);
        let pid = pid?;
        match (pid, child) {
            (None, Some(wakeup)) => Ok(Forked::Child(wakeup)),
            (pid, _) => Ok(Forked::Parent(pid.unwrap_or(0))),
        }
    }

    fn warn_of_threads(&self, engine: &'static Engine) {
        let OtherThreads { named, unknown } = engine.other_threads();
        if named.is_empty() && unknown == 0 {
            return;
        }
        let mut which: Vec<String> = named.iter().take(NAMED).map(|name| format!("'{name}'")).collect();
        let more = named.len().saturating_sub(NAMED);
        if more > 0 {
            which.push(format!("{more} more"));
        }
        if unknown > 0 {
            which.push(format!("{unknown} that Python does not know of"));
        }
        let (group, which) = (&self.group, which.join(", "));
        self.say(
            Level::Warning,
            &format!(
                "WSGI0940: The application of group '{group}' has started threads while it was loaded: {which}. The \
                 processes that are forked do not have them, and a lock that one of them holds is never released there."
            ),
        );
    }

    /// How long until an order is to be carried out.
    fn next_due(&self) -> Option<Duration> {
        let now = Instant::now();
        self.wanted.iter().map(|wanted| wanted.due.saturating_duration_since(now)).min()
    }

    fn sleep(&self) -> io::Result<()> {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let own = [self.wakeup.as_fd().as_raw_fd(), self.channel.as_fd().as_raw_fd()];
        let mut entries: Vec<libc::pollfd> = own.into_iter().chain(self.processes.handles()).map(entry).collect();
        let looks = self.channel.is_full() || self.processes.has_unseen();
        let wait = self.next_due().into_iter().chain(looks.then_some(LOOK)).min();
        // Rounded up, so that the order is due afterwards.
        let timeout = wait.map_or(-1, |wait| i32::try_from(wait.as_millis() + 1).unwrap_or(i32::MAX));
        // SAFETY: as many entries as it says.
        if unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // An interruption is as good as an event.
        if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
    }

    /// Ends the processes that are left, then Python.
    fn end(mut self, end: End) {
        let shutdown = Duration::from_millis(self.launch.timeouts.shutdown);
        let group = self.group.clone();
        if end != End::Retired {
            self.processes.signal(libc::SIGTERM);
            let patience = if shutdown.is_zero() { LONGEST_WAIT } else { shutdown + SLACK };
            let mut ended = self.processes.wait(patience);
            self.processes.signal(libc::SIGKILL);
            ended.extend(self.processes.wait(SLACK));
            for (start, status) in ended {
                self.channel.report(Report::Ended { start, status });
            }
            self.channel.send();
        }
        self.say(Level::Info, &format!("Stopping the loader of group '{group}'."));
        if let Some(engine) = self.engine {
            let (host, name) = (self.host, group.clone());
            let last = move || {
                let text = format!("Shutdown timeout expired; aborting the loader of group '{name}'.");
                host.log().say(Level::Info, &text);
            };
            let _bounded =
                (!shutdown.is_zero()).then(|| monitor::abort_after(shutdown, monitor::ABORTED, last)).transpose();
            engine.stop(match end {
                End::Signal | End::ServerGone => "shutdown_signal",
                End::Retired if self.told => "script_reload",
                End::Retired => "graceful_signal",
            });
        }
        self.say(Level::Info, &format!("Exiting the loader of group '{group}'."));
    }
}

impl Newborn {
    /// From the fork to the end of the process.
    fn serve(self) -> Result<(), StartError> {
        let Self { loader, fork, descriptors, monitor } = self;
        let Loader { mut launch, group, host, engine, channel, page, overflow, wakeup, stale, .. } = loader;
        // What the loader waits for, and what belongs to processes that are forked later.
        drop((loader.processes, loader.wanted));
        // SAFETY: plain calls; the descriptor's owner was the loader, in whose copy of this memory it lives on.
        unsafe {
            libc::setpgid(0, 0);
            libc::close(wakeup.as_fd().as_raw_fd());
        }
        name_process(b"wsgi:", &launch.group);
        launch.index = fork.place;
        launch.generation = fork.start;
        let missing = || StartError::NoDescriptor(-1);
        let mut descriptors = descriptors.into_iter();
        let listener = descriptors.next().ok_or_else(missing)?;
        let control = descriptors.next().ok_or_else(missing)?;
        let mut optional = |present: bool| present.then(|| descriptors.next()).flatten();
        let bell = channel.into_bell();
        let inherited = Inherited {
            listener: Some(listener.into_listener()),
            overflow,
            page,
            control,
            predecessor: optional(fork.predecessor),
            bell: launch.asks.then_some(bell),
            scripts: optional(fork.scripts).map(Held::into_inner),
            replaces: optional(fork.inherited_scripts).map(Held::into_inner),
        };
        inherited.attend_control();
        if inherited.is_unwanted() {
            return Ok(());
        }
        let log = host.log().again().map_err(because("duplicating the log's descriptor"))?;
        let life = Life::begin(&launch, inherited, log, monitor, Some(stale))?;
        host.become_server(life.server);
        // SAFETY: cannot fail.
        let parent = unsafe { libc::getppid() };
        let threads = launch.threads;
        life.server.say(&format!("Starting daemon process '{group}' with threads={threads}, forked by pid {parent}."));
        if let Some(engine) = engine {
            engine.begin();
        }
        life.serve(|| engine, Engine::load_own, launch.stack_size)
    }
}
