//! The faults.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use confgen::httpd::process;

use crate::Failure;
use crate::client::Connection;
use crate::server::{Stage, VICTIM};

/// One way to break things.
pub(crate) struct Fault {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// How many times the usual length it goes on.
    pub(crate) weight: u32,
    /// Whether requests to the group may fail at all.
    pub(crate) may_fail: bool,
    /// Whether answers of the group's own processes may be damaged, though never mixed up.
    pub(crate) may_damage: bool,
    /// Whether an ordinary user's server is to be tried too.
    pub(crate) again: bool,
    /// Further options of the group.
    pub(crate) options: &'static str,
    /// Does it, again and again until then, and leaves the server able to heal.
    pub(crate) inflict: fn(&Stage, Instant) -> Result<(), Failure>,
}

const USUAL: Fault =
    Fault { name: "", weight: 1, may_fail: true, may_damage: false, again: false, options: "", inflict: kill };

/// All of them.
pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "kill", weight: 6, ..USUAL },
    Fault { name: "crash", inflict: crash, ..USUAL },
    Fault { name: "rolling", weight: 2, options: "rolling=On", inflict: rolling, ..USUAL },
    Fault { name: "sockets", inflict: sockets, ..USUAL },
    Fault { name: "page", inflict: page, ..USUAL },
    // What is written between the frames of other requests may be taken for data: Apache cannot tell who of a process wrote it.
    Fault { name: "frames", may_damage: true, inflict: frames, ..USUAL },
    Fault { name: "strangers", may_fail: false, inflict: strangers, ..USUAL },
    Fault { name: "disk", may_fail: false, again: true, inflict: disk, ..USUAL },
    Fault { name: "descriptors", again: true, inflict: descriptors, ..USUAL },
];

/// Calls it with growing numbers until the time is up.
fn again_and_again(
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

fn signal(pid: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(pid) {
        // SAFETY: a plain call; the process may have gone, which is as good.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Kills a daemon, another one each time.
fn kill(stage: &Stage, until: Instant) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(400), |number| {
        let victims = stage.victims();
        if let Some(pid) = victims.get(number % victims.len().max(1)) {
            signal(*pid, if number % 2 == 0 { libc::SIGKILL } else { libc::SIGSEGV });
        }
        Ok(())
    })
}

/// Processes are killed while they are replaced: those that load, those that have just begun to serve and those that leave.
fn rolling(stage: &Stage, until: Instant) -> Result<(), Failure> {
    const PROCESSES: usize = 4;
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
            signal(*pid, libc::SIGKILL);
        }
        Ok(())
    })?;
    // What was asked for last is still carried out, one process after the other.
    let (began, mut settled) = (Instant::now(), 0);
    while settled < 30 && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(100));
        settled = if stage.victims().len() == PROCESSES { settled + 1 } else { 0 };
    }
    Ok(())
}

/// Requests of the saboteur that failed: they are in the log as well.
pub(crate) static OWN_FAILURES: AtomicU64 = AtomicU64::new(0);

/// A request that does something to its own process.
fn ask(stage: &Stage, path: &str) {
    let failed = Connection::open(stage.address())
        .ok()
        .and_then(|mut connection| connection.request("GET", &format!("/{VICTIM}/{path}?1"), b"").ok())
        .is_none_or(|status| status != 200);
    OWN_FAILURES.fetch_add(u64::from(failed), Ordering::Relaxed);
}

/// Applications that crash and leave.
fn crash(stage: &Stage, until: Instant) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(400), |number| {
        ask(stage, if number % 2 == 0 { "segfault" } else { "exit" });
        Ok(())
    })
}

/// The group's sockets vanish from the file system, all of them, until a graceful restart.
fn sockets(stage: &Stage, until: Instant) -> Result<(), Failure> {
    again_and_again(until, Duration::from_secs(2), |number| {
        if number == 0 {
            for path in socket_files(stage)? {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    })?;
    stage.server.graceful()?;
    Ok(())
}

fn socket_files(stage: &Stage) -> Result<Vec<PathBuf>, Failure> {
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

/// A daemon fills the status page that it shares with the server with random bytes.
fn page(stage: &Stage, until: Instant) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(1500), |_| {
        ask(stage, "page");
        Ok(())
    })?;
    // The page belongs to the generation.
    stage.server.graceful()?;
    Ok(())
}

/// A daemon writes garbage into all its connections.
fn frames(stage: &Stage, until: Instant) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(300), |_| {
        ask(stage, "frames");
        Ok(())
    })
}

/// Somebody else connects to the daemons' sockets and sends what he likes, or nothing.
fn strangers(stage: &Stage, until: Instant) -> Result<(), Failure> {
    let kinds: [&[u8]; 4] = [b"", b"GET / HTTP/1.1\r\n\r\n", &[1, 1, 32, 0, 0, 0], &[1, 2, 255, 255, 255, 255]];
    let mut silent = Vec::new();
    again_and_again(until, Duration::from_millis(20), |number| {
        let files = socket_files(stage)?;
        let path = files.get(number % files.len().max(1)).ok_or("the group has no sockets")?;
        let mut stream = UnixStream::connect(path)?;
        let _ = stream.write_all(kinds[number % kinds.len()]);
        silent.push(stream);
        if silent.len() > 60 {
            silent.drain(..30);
        }
        Ok(())
    })
}

/// The disk that the log is on is full.
fn disk(stage: &Stage, until: Instant) -> Result<(), Failure> {
    let members: Vec<u32> = stage.server.members().iter().map(|stat| stat.pid).chain([stage.server.pid()]).collect();
    let length = fs::metadata(stage.logs().join("error.log"))?.len();
    // A limit on the length of files is met by each write, as a full disk is.
    for pid in &members {
        limit(*pid, "fsize", &length.to_string())?;
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    for pid in &members {
        limit(*pid, "fsize", "unlimited")?;
    }
    Ok(())
}

/// The daemons' tables of descriptors are full.
fn descriptors(stage: &Stage, until: Instant) -> Result<(), Failure> {
    let mut limited = Vec::new();
    for pid in stage.victims() {
        let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        limit(pid, "nofile", &open.to_string())?;
        limited.push(pid);
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    for pid in limited {
        // One that was replaced has a limit of its own.
        let _ = limit(pid, "nofile", "1024");
    }
    Ok(())
}

/// Sets a soft limit of another process.
#[expect(clippy::disallowed_methods, reason = "prlimit is a program of its own and is started here only")]
fn limit(pid: u32, resource: &str, value: &str) -> Result<(), Failure> {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--{resource}={value}:")]);
    // Only the process's own user and group may always do this; root needs a capability for it.
    if let (Some(user), Some(group)) = (process::user(pid), group(pid)) {
        command.uid(user).gid(group);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("prlimit of process {pid}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

fn group(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Gid:"))?.split_whitespace().next()?.parse().ok()
}
