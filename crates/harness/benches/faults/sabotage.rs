//! The faults.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::journal::Failed;
use crate::server::{Stage, VICTIM};
use crate::storm::ask;
use crate::{Failure, disk, generations, limits};

/// One way to break things.
pub(crate) struct Fault {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// How many times the usual length it goes on.
    pub(crate) weight: u32,
    /// How many requests may fail.
    pub(crate) cost: Cost,
    /// What those that fail may be answered with.
    pub(crate) statuses: &'static [u16],
    /// Whose processes others take the place of.
    pub(crate) replaces: Replaces,
    /// Whether what is broken belongs to the other group too, so that its requests may fail as well.
    pub(crate) hits_all: bool,
    /// Whether answers of the group's own processes may be damaged, though never mixed up.
    pub(crate) may_damage: bool,
    /// What the group's processes may hold in the end because the application has had it, in KiB.
    pub(crate) hoard: u64,
    /// Whether an ordinary user's server is to be tried too.
    pub(crate) again: bool,
    /// Whether the logs are to lie on a disk that can be filled, where such a one may be mounted.
    pub(crate) small_disk: bool,
    /// Further options of the group.
    pub(crate) options: &'static str,
    /// Does it, again and again until then, and leaves the server able to heal.
    pub(crate) inflict: fn(&Stage, Instant, &mut Blows) -> Result<(), Failure>,
}

impl Fault {
    /// Whether its server's logs lie on a disk of their own.
    pub(crate) fn wants_small_disk(&self) -> bool {
        self.small_disk && disk::is_possible()
    }
}

/// Which processes a fault ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaces {
    /// None.
    Nobody,
    /// Those of the group that suffers.
    Victims,
    /// All of both groups, and httpd's children: the server is restarted gracefully.
    Everybody,
}

/// How many requests a fault may cost.
#[derive(Clone, Copy)]
pub(crate) enum Cost {
    /// None.
    Nothing,
    /// So many for each blow: those that what was struck had in hand.
    PerBlow(u64),
    /// Any number: as long as it goes on, the group cannot be reached by some of them.
    Outage,
}

impl Cost {
    /// Of so many blows.
    pub(crate) fn of(self, blows: u64) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::PerBlow(requests) => requests * blows,
            Self::Outage => u64::MAX,
        }
    }
}

/// What was done.
#[derive(Default)]
pub(crate) struct Blows {
    pub(crate) count: u64,
    /// Requests of the saboteur's own that failed.
    pub(crate) failures: Vec<Failed>,
    /// What he saw that is not as it should be.
    pub(crate) faults: Vec<String>,
    /// What else he saw.
    pub(crate) notes: Vec<String>,
}

impl Blows {
    /// Sends a request that does something to its own process.
    pub(crate) fn ask(&mut self, stage: &Stage, path: &str) -> Result<(), Failure> {
        self.count += 1;
        self.failures.extend(ask(stage, path)?);
        Ok(())
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(&mut self, pid: u32, number: i32) {
        if let Ok(pid) = i32::try_from(pid) {
            self.count += 1;
            // SAFETY: a plain call; the process may have gone, which is as good.
            unsafe { libc::kill(pid, number) };
        }
    }
}

/// Threads of each of the group's processes, and the requests that one has in hand at most.
pub(crate) const THREADS: u64 = 5;

/// Processes of the group that suffers, and of the other one.
pub(crate) const PROCESSES: [u64; 2] = [4, 2];

/// Children of httpd that serve clients.
pub(crate) const CHILDREN: u64 = 2;

/// What most faults are.
pub(crate) const USUAL: Fault = Fault {
    name: "",
    weight: 1,
    cost: Cost::PerBlow(THREADS),
    statuses: &[502],
    replaces: Replaces::Victims,
    hits_all: false,
    may_damage: false,
    hoard: 16 * 1024,
    again: false,
    small_disk: false,
    options: "",
    inflict: kill,
};

/// Twice what a process takes to begin with.
const LIMITED: &str = "virtual-memory-limit=1073741824";

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "kill", weight: 6, ..USUAL },
    Fault { name: "crash", inflict: crash, ..USUAL },
    Fault { name: "memory", options: LIMITED, inflict: limits::memory, ..USUAL },
    // Whatever such a process is asked meanwhile it cannot do.
    Fault {
        name: "starved",
        options: LIMITED,
        cost: Cost::Outage,
        statuses: &[500, 502],
        hoard: PROCESSES[0] * 1024 * 1024,
        inflict: limits::starved,
        ..USUAL
    },
    Fault { name: "touch", cost: Cost::Nothing, inflict: touch, ..USUAL },
    Fault { name: "rolling", weight: 2, options: "rolling=On", inflict: rolling, ..USUAL },
    Fault {
        name: "graceful",
        cost: Cost::Nothing,
        replaces: Replaces::Everybody,
        inflict: generations::graceful,
        ..USUAL
    },
    Fault {
        name: "sockets",
        cost: Cost::Outage,
        statuses: &[503],
        replaces: Replaces::Everybody,
        inflict: sockets,
        ..USUAL
    },
    Fault {
        name: "page",
        cost: Cost::Outage,
        statuses: &[502, 503, 504],
        replaces: Replaces::Everybody,
        inflict: page,
        ..USUAL
    },
    // What is written between the frames of other requests may be taken for data: Apache cannot tell who of a process wrote it.
    // A frame that never ends is waited for until socket-timeout. Each connection of the process is struck, also those at rest.
    Fault {
        name: "frames",
        cost: Cost::PerBlow(CHILDREN * THREADS * 2),
        statuses: &[500, 502, 504],
        replaces: Replaces::Nobody,
        may_damage: true,
        inflict: frames,
        ..USUAL
    },
    Fault { name: "strangers", cost: Cost::Nothing, replaces: Replaces::Nobody, inflict: strangers, ..USUAL },
    Fault {
        name: "disk",
        cost: Cost::Nothing,
        replaces: Replaces::Nobody,
        again: true,
        small_disk: true,
        inflict: limits::disk,
        ..USUAL
    },
    Fault {
        name: "descriptors",
        cost: Cost::Nothing,
        replaces: Replaces::Nobody,
        again: true,
        inflict: limits::of_daemons,
        ..USUAL
    },
    Fault {
        name: "child-descriptors",
        cost: Cost::Outage,
        statuses: &[500],
        replaces: Replaces::Nobody,
        hits_all: true,
        again: true,
        inflict: limits::of_children,
        ..USUAL
    },
    Fault { name: "parent-descriptors", again: true, inflict: limits::of_parent, ..USUAL },
];

/// Calls it with growing numbers until the time is up.
pub(crate) fn again_and_again(
    until: Instant,
    pause: Duration,
    mut strike: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for number in 0.. {
        strike(number)?;
        if Instant::now() + pause >= until {
            break;
        }
        thread::sleep(pause);
    }
    Ok(())
}

/// Kills a daemon, another one each time.
fn kill(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(400), |number| {
        let victims = stage.victims();
        if let Some(pid) = victims.get(number % victims.len().max(1)) {
            blows.signal(*pid, if number % 2 == 0 { libc::SIGKILL } else { libc::SIGSEGV });
        }
        Ok(())
    })
}

/// The script is written anew again and again: every process is replaced, and requests go on to those that follow.
fn touch(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    let script = fs::read(stage.script())?;
    // So that all processes are there again in between.
    again_and_again(until, Duration::from_secs(2), |_| {
        // Whole at any moment, but with two times, one after the other, as a deployment leaves it.
        let name = stage.script().with_extension("new");
        fs::write(&name, &script)?;
        fs::rename(name, stage.script())?;
        fs::File::options().append(true).open(stage.script())?.set_modified(std::time::SystemTime::now())?;
        blows.count += 1;
        Ok(())
    })
}

/// Processes are killed while they are replaced: those that load, those that have just begun to serve and those that leave.
fn rolling(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    let script = fs::read(stage.script())?;
    again_and_again(until, Duration::from_millis(200), |number| {
        if number % 5 == 0 {
            fs::write(stage.script(), &script)?;
        }
        let mut victims = stage.victims();
        victims.sort_unstable();
        // The newest, the oldest, and nobody at times, so that some get on.
        let chosen = match number % 3 {
            0 => victims.last(),
            1 => victims.first(),
            _ => None,
        };
        if let Some(pid) = chosen {
            blows.signal(*pid, libc::SIGKILL);
        }
        Ok(())
    })?;
    // What was asked for last is still carried out, one process after the other.
    let (began, mut settled) = (Instant::now(), 0);
    while settled < 30 && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(100));
        settled = if stage.victims().len() as u64 == PROCESSES[0] { settled + 1 } else { 0 };
    }
    Ok(())
}

/// Applications that crash and leave.
fn crash(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(400), |number| {
        blows.ask(stage, if number % 2 == 0 { "segfault" } else { "exit" })
    })
}

/// The group's sockets vanish from the file system, all of them. The graceful restart that follows makes them anew.
fn sockets(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    for path in socket_files(stage)? {
        fs::remove_file(path)?;
        blows.count += 1;
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    Ok(())
}

pub(crate) fn socket_files(stage: &Stage) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(stage.run())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains(VICTIM) && name.ends_with(".sock") {
            found.push(path);
        }
    }
    Ok(found)
}

/// A daemon fills the status page that it shares with the server with random bytes, until the graceful restart that follows.
fn page(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(1500), |_| blows.ask(stage, "page"))
}

/// A daemon writes garbage into all its connections.
fn frames(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(300), |_| blows.ask(stage, "frames"))
}

/// Somebody else connects to the daemons' sockets and sends what he likes, or nothing.
fn strangers(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    let kinds: [&[u8]; 4] = [b"", b"GET / HTTP/1.1\r\n\r\n", &[1, 1, 32, 0, 0, 0], &[1, 2, 255, 255, 255, 255]];
    let mut silent = Vec::new();
    again_and_again(until, Duration::from_millis(20), |number| {
        let files = socket_files(stage)?;
        let path = files.get(number % files.len().max(1)).ok_or("the group has no sockets")?;
        let mut stream = UnixStream::connect(path)?;
        let _ = stream.write_all(kinds[number % kinds.len()]);
        blows.count += 1;
        silent.push(stream);
        if silent.len() > 60 {
            silent.drain(..30);
        }
        Ok(())
    })
}
