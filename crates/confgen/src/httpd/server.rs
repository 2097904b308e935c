//! A server that this process launched, until nothing of it is left.

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::deaths::{Death, DeathWatch};
use super::instance::{self, Instance};
use super::process::{self, Handle, ProcessId, Signal, Stat};

/// How long processes may take to leave after the parent has ended. A daemon notices its parent's end by a closed pipe.
const LEAVING: Duration = Duration::from_secs(1);

/// How often a wait that can be given up looks whether it is.
const LOOK: Duration = Duration::from_millis(50);

/// After how long a signal that ends a server is sent again.
const REPEAT: Duration = Duration::from_secs(1);

/// How long to wait for processes that got SIGKILL.
const KILLED: Duration = Duration::from_secs(10);

/// A running httpd that this process started. Dropping it kills what is left of it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    instance: Instance,
    watch: Option<DeathWatch>,
    status: Option<ExitStatus>,
    finished: bool,
}

/// A process that outlived its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Its pid.
    pub pid: u32,
    /// What it showed as its command.
    pub command: String,
}

/// How a server ended.
#[derive(Debug)]
pub struct StopReport {
    /// From the signal to the end of the parent process.
    pub duration: Duration,
    /// The exit status of the parent process, when it is a child of ours.
    pub status: Option<ExitStatus>,
    /// Whether it had to be killed because the time was up.
    pub forced: bool,
    /// Processes that were still there afterwards, and were killed.
    pub leaks: Vec<Leak>,
    /// When the signal was sent.
    pub asked: Instant,
    /// Processes that a signal ended while the server ran or stopped, but for those that had to be killed because the time
    /// was up. Empty where nobody watched.
    pub deaths: Vec<Death>,
}

impl Deref for Server {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl Server {
    pub(super) fn new(child: Child, instance: Instance, watch: Option<DeathWatch>) -> Self {
        Self { child, instance, watch, status: None, finished: false }
    }

    /// Whether the parent process runs.
    pub fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_none()
    }

    /// The exit status, once the parent process has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.is_running();
        self.status
    }

    /// Waits for the parent process to end; `None` when the time is up first.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.is_running() {
            self.instance.handle().wait(limit);
        }
        self.status()
    }

    /// Waits for the parent process to end; `None` when the time is up, or `give_up` holds, first.
    pub fn wait_unless(&mut self, limit: Duration, mut give_up: impl FnMut() -> bool) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let status = self.wait(left.min(LOOK));
            if status.is_some() || left.is_zero() || give_up() {
                return status;
            }
        }
    }

    /// Sends a signal that ends it and waits; when the time is up, or `give_up` holds, all its processes are killed.
    pub fn stop_unless(
        &mut self,
        signal: Signal,
        within: Duration,
        give_up: impl FnMut() -> bool,
    ) -> io::Result<StopReport> {
        let known: Vec<ProcessId> = self.instance.members().iter().map(Stat::id).collect();
        let started = Instant::now();
        if self.is_running() {
            match self.instance.signal(signal) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let ended = self.wait_repeating(signal, within, give_up);
        Ok(self.finish(started, !ended, known))
    }

    /// Sends a signal that ends it and waits; when the time is up, `expired` is called (to look at the processes) and all are killed.
    pub fn stop(
        &mut self,
        signal: Signal,
        within: Duration,
        expired: impl FnOnce(&Instance),
    ) -> io::Result<StopReport> {
        let known: Vec<ProcessId> = self.instance.members().iter().map(Stat::id).collect();
        let started = Instant::now();
        if self.is_running() {
            match self.instance.signal(signal) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let ended = self.wait_repeating(signal, within, || false);
        if !ended {
            expired(&self.instance);
        }
        Ok(self.finish(started, !ended, known))
    }

    /// Waits for its end after a signal, which is sent again from time to time; whether it has ended.
    fn wait_repeating(&mut self, signal: Signal, within: Duration, mut give_up: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.wait_unless(left.min(REPEAT), &mut give_up).is_some() {
                return true;
            }
            if left.is_zero() || give_up() {
                return false;
            }
            repeat(&self.instance, signal);
        }
    }

    /// Ends all its processes at once.
    pub fn kill(&mut self) -> StopReport {
        let known: Vec<ProcessId> = self.instance.members().iter().map(Stat::id).collect();
        let forced = self.is_running();
        self.finish(Instant::now(), forced, known)
    }

    /// After the parent ended, or instead of waiting for it: nothing of the server may stay.
    fn finish(&mut self, started: Instant, forced: bool, known: Vec<ProcessId>) -> StopReport {
        self.finished = true;
        let kills = |pid: u32| self.watch.iter().for_each(|watch| watch.kills(pid));
        if forced {
            kills(self.instance.pid());
            // The parent first: it would start new children for the killed ones.
            let _ = self.instance.signal(Signal::SIGKILL);
            self.wait(KILLED);
        }
        let duration = started.elapsed();
        let kills = |pid: u32| self.watch.iter().for_each(|watch| watch.kills(pid));
        let leaks = sweep(
            self.instance.identity_of_parent(),
            self.instance.root(),
            &known,
            if forced { Duration::ZERO } else { LEAVING },
            &kills,
        );
        let deaths = self.watch.take().map(|mut watch| watch.finish()).unwrap_or_default();
        let leaks = if forced { Vec::new() } else { leaks };
        StopReport { duration, status: self.status(), forced, leaks, asked: started, deaths }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.finished {
            self.kill();
        }
    }
}

impl Instance {
    fn identity_of_parent(&self) -> ProcessId {
        self.handle().id()
    }

    /// Ends a server that another process launched: signal, wait, kill what is left.
    pub fn stop(&self, signal: Signal, within: Duration) -> io::Result<StopReport> {
        let known: Vec<ProcessId> = self.members().iter().map(Stat::id).collect();
        let started = Instant::now();
        match self.signal(signal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let deadline = started + within;
        let forced = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.handle().wait(left.min(REPEAT)) {
                break false;
            }
            if left.is_zero() {
                break true;
            }
            repeat(self, signal);
        };
        if forced {
            let _ = self.signal(Signal::SIGKILL);
            self.handle().wait(KILLED);
        }
        let duration = started.elapsed();
        let grace = if forced { Duration::ZERO } else { LEAVING };
        let leaks = sweep(self.handle().id(), self.root(), &known, grace, &|_| {});
        let leaks = if forced { Vec::new() } else { leaks };
        Ok(StopReport { duration, status: None, forced, leaks, asked: started, deaths: Vec::new() })
    }
}

/// httpd forgets a SIGTERM that comes just as it begins to stop gracefully, and goes on waiting for its requests. So the signal is
/// sent again for as long as the server runs.
fn repeat(instance: &Instance, signal: Signal) {
    if signal == Signal::SIGTERM {
        // A server that has ended meanwhile is what was wanted.
        let _ = instance.signal(signal);
    }
}

/// Kills every process of the server with this root, whoever started it and whether or not its parent process still lives.
pub fn end_all(root: &Path) {
    let end = Instant::now() + KILLED;
    loop {
        let everything = process::all();
        let marked = instance::marked(&everything, root);
        // Those that have changed their environment are still in the session of one that has not.
        let left: Vec<&Stat> = everything
            .iter()
            .filter(|stat| !stat.is_zombie() && stat.pid != std::process::id())
            .filter(|stat| marked.iter().any(|known| known.pid == stat.pid || known.session == stat.session))
            .collect();
        if left.is_empty() || Instant::now() >= end {
            return;
        }
        for stat in left {
            if let Ok(handle) = Handle::open(stat.pid)
                && handle.id() == stat.id()
                && handle.signal(Signal::SIGKILL).is_ok()
            {
                handle.wait(end.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// Waits for the remaining processes of a server whose parent has ended, kills those that stay, and names them. `kills` hears
/// of each before it is killed.
fn sweep(parent: ProcessId, root: &Path, known: &[ProcessId], grace: Duration, kills: &dyn Fn(u32)) -> Vec<Leak> {
    let deadline = Instant::now() + grace;
    let mut leaks: Vec<Leak> = Vec::new();
    let end = Instant::now() + grace + KILLED;
    loop {
        let left = remaining(parent, root, known);
        let Some(first) = left.first() else { return leaks };
        let now = Instant::now();
        if now < deadline {
            if let Ok(handle) = Handle::open(first.pid) {
                handle.wait(deadline - now);
            }
            continue;
        }
        if now >= end {
            return leaks;
        }
        for stat in left {
            if leaks.iter().all(|leak| leak.pid != stat.pid) {
                leaks.push(Leak {
                    pid: stat.pid,
                    command: process::command_line(stat.pid).unwrap_or_else(|| stat.name.clone()),
                });
            }
            kills(stat.pid);
            if let Ok(handle) = Handle::open(stat.pid)
                && handle.id() == stat.id()
                && handle.signal(Signal::SIGKILL).is_ok()
            {
                handle.wait(end.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// The living processes of a server; dead ones that this process inherited are reaped.
fn remaining(parent: ProcessId, root: &Path, known: &[ProcessId]) -> Vec<Stat> {
    let own = std::process::id();
    let (dead, living): (Vec<Stat>, Vec<Stat>) =
        instance::members(parent, root, known).into_iter().partition(Stat::is_zombie);
    for stat in dead.iter().filter(|stat| stat.parent == own) {
        process::reap(stat.pid);
    }
    living
}
