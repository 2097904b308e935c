//! What a server holds: processes, descriptors, threads, memory, for each kind of its processes.
//!
//! Most of that is exactly what it was before, whatever was broken in between. Connections between children and daemons are
//! kept, so that their number varies; but each has two ends, and an end without the other is one that was left behind.

use std::fmt;
use std::fs;
use std::io;
use std::ops::AddAssign;
use std::thread;
use std::time::{Duration, Instant};

use confgen::httpd::process;

use crate::Failure;
use crate::sabotage::{CHILDREN, Fault, PROCESSES, Replaces, THREADS};
use crate::server::{Kind, Stage};

/// What the processes of one kind hold together.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    processes: usize,
    zombies: usize,
    threads: usize,
    /// Descriptors that are no sockets.
    files: usize,
    sockets: usize,
    /// Private memory in KiB.
    memory: u64,
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Self) {
        self.processes += other.processes;
        self.zombies += other.zombies;
        self.threads += other.threads;
        self.files += other.files;
        self.sockets += other.sockets;
        self.memory += other.memory;
    }
}

impl Held {
    /// What a process holds.
    fn of(pid: u32, is_zombie: bool) -> Result<Self, Failure> {
        let counted = || -> io::Result<Self> {
            let descriptors = process::open_descriptors(pid)?;
            let sockets = process::socket_inodes(pid).len();
            Ok(Self {
                processes: 1,
                zombies: 0,
                threads: fs::read_dir(format!("/proc/{pid}/task"))?.count(),
                files: descriptors.saturating_sub(sockets),
                sockets,
                memory: process::memory(pid, "Private_Dirty")? / 1024,
            })
        };
        if is_zombie {
            return Ok(Self { processes: 1, zombies: 1, ..Self::default() });
        }
        match counted() {
            Ok(held) => Ok(held),
            // It has gone meanwhile, or is about to: its memory goes first.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {
                Ok(Self::default())
            }
            Err(error) => Err(format!("process {pid}: {error}").into()),
        }
    }
}

/// The places of a slot where its process is not.
const OTHER_PLACES: u64 = 2;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A child keeps a connection per thread to each process. It finds out that one is closed when the next process at the same
/// place is to get a request; and a process that follows another one is at another one of its slot's three places.
fn kept_for_nobody(replaces: Replaces) -> usize {
    let slots = match replaces {
        Replaces::Nobody => 0,
        Replaces::Victims => PROCESSES[0],
        Replaces::Everybody => PROCESSES.iter().sum(),
    };
    (slots * OTHER_PLACES * CHILDREN * THREADS) as usize
}

/// What a child may hold more, in KiB: what its requests have needed at most is kept.
const MEMORY_OF_REQUESTS: u64 = 4096;

/// What the module's own processes may hold more, in KiB.
const MEMORY_OF_HELPERS: u64 = 256;

/// What the server's process may hold more, in KiB: a little at first, and after that less for each blow than anything would take
/// that is kept for a process. A restart reads the configuration anew.
fn growth_of_parent(fault: &Fault, blows: u64) -> u64 {
    let restart = if fault.replaces == Replaces::Everybody { 256 } else { 0 };
    128 + restart + blows / 8
}

/// What all processes of a server hold.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Leftovers {
    parent: Held,
    children: Held,
    daemons: Held,
    /// What the module forks for itself.
    helpers: Held,
}

impl Leftovers {
    /// What is held now.
    pub(crate) fn of(stage: &Stage) -> Result<Self, Failure> {
        let mut all = Self { parent: Held::of(stage.server.pid(), false)?, ..Self::default() };
        for stat in stage.server.members() {
            let kind = match Kind::of(&stat) {
                Kind::Child => &mut all.children,
                Kind::Daemon(_) => &mut all.daemons,
                Kind::Helper => &mut all.helpers,
            };
            *kind += Held::of(stat.pid, stat.is_zombie())?;
        }
        Ok(all)
    }

    /// What is held once that does not change any more: clients have just left, and children take note of that.
    pub(crate) fn at_rest(stage: &Stage) -> Result<Self, Failure> {
        let mut before = Self::of(stage)?;
        for _ in 0..100 {
            thread::sleep(LOOK);
            let now = Self::of(stage)?;
            if now.is_steady(&before) && now.sockets() == before.sockets() {
                return Ok(now);
            }
            before = now;
        }
        Err(format!("the server does not come to rest: {before}").into())
    }

    /// What is held once it is what it was before, or has been something else for long.
    pub(crate) fn settled(stage: &Stage, before: &Self, fault: &Fault, blows: u64) -> Result<Self, Failure> {
        // A process that could not be started is tried again after twenty seconds at most, and one may be on its way.
        const PATIENCE: Duration = Duration::from_secs(60);
        let began = Instant::now();
        loop {
            let now = Self::of(stage)?;
            if now.surplus(before, fault, blows).is_empty() || began.elapsed() > PATIENCE {
                return Ok(now);
            }
            thread::sleep(LOOK);
        }
    }

    fn sockets(&self) -> [usize; 4] {
        self.kinds().map(|(_, held)| held.sockets)
    }

    fn kinds(&self) -> [(&'static str, &Held); 4] {
        [("parent", &self.parent), ("children", &self.children), ("daemons", &self.daemons), ("helpers", &self.helpers)]
    }

    /// Whether it is what it was before.
    pub(crate) fn is_steady(&self, before: &Self) -> bool {
        let same = |(now, before): (&Held, &Held)| {
            (now.processes, now.threads, now.files) == (before.processes, before.threads, before.files)
        };
        let pairs = self.kinds().into_iter().zip(before.kinds());
        self.parent.processes == 1 && pairs.map(|((_, now), (_, before))| (now, before)).all(same)
    }

    /// How many connections have lost one of their ends, in comparison with before.
    fn lost_ends(&self, before: &Self) -> usize {
        let difference = |held: &Self| held.children.sockets.cast_signed() - held.daemons.sockets.cast_signed();
        (difference(self) - difference(before)).unsigned_abs()
    }

    /// What is there that was not there before, or is missing.
    pub(crate) fn surplus(&self, before: &Self, fault: &Fault, blows: u64) -> Vec<String> {
        let mut found = Vec::new();
        for ((kind, now), (_, before)) in self.kinds().into_iter().zip(before.kinds()) {
            let mut compare = |what: &str, now: usize, before: usize| {
                if now != before {
                    found.push(format!("{kind}: {now} {what} instead of {before}"));
                }
            };
            compare("processes", now.processes, before.processes);
            compare("zombies", now.zombies, 0);
            compare("threads", now.threads, before.threads);
            compare("descriptors of files", now.files, before.files);
        }
        for (kind, now, before) in
            [("parent", &self.parent, &before.parent), ("helpers", &self.helpers, &before.helpers)]
        {
            if now.sockets != before.sockets {
                found.push(format!("{kind}: {} sockets instead of {}", now.sockets, before.sockets));
            }
        }
        let (lost, kept) = (self.lost_ends(before), kept_for_nobody(fault.replaces));
        if lost > kept {
            found.push(format!(
                "{lost} connections between children and daemons have lost an end; no more than {kept} can be kept for processes \
                 that were replaced"
            ));
        }
        let allowed = [growth_of_parent(fault, blows), CHILDREN * MEMORY_OF_REQUESTS, fault.hoard, MEMORY_OF_HELPERS];
        for (((kind, now), (_, before)), allowed) in self.kinds().into_iter().zip(before.kinds()).zip(allowed) {
            if now.memory > before.memory + allowed {
                found.push(format!(
                    "{kind}: {} KiB of memory instead of {}, where {allowed} more may be",
                    now.memory, before.memory
                ));
            }
        }
        found
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (kind, held)) in self.kinds().into_iter().enumerate() {
            let Held { processes, zombies, threads, files, sockets, memory } = held;
            let separator = if position == 0 { "" } else { "; " };
            write!(
                formatter,
                "{separator}{kind} {processes} ({zombies} zombies, {threads} threads, {files} files, {sockets} sockets, {memory} KiB)"
            )?;
        }
        Ok(())
    }
}
