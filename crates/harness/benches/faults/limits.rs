//! Faults that consist in there being no more of something: room on a disk, descriptors, memory.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use confgen::httpd::{Account, process};

use crate::Failure;
use crate::sabotage::{Blows, again_and_again};
use crate::server::Stage;

/// The disk that the log is on is full, and the application has something to say.
pub(crate) fn disk(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    const PAGE: u64 = 4096;
    let length = || Ok::<u64, Failure>(fs::metadata(stage.log())?.len());
    let say_until = |until: Instant, blows: &mut Blows| {
        again_and_again(until, Duration::from_millis(50), |_| blows.ask(stage, "say"))
    };
    // What was logged before was written.
    stage.wait_for_log_line(|| blows.ask(stage, "say"))?;
    let before = length()?;
    if let Some(disk) = stage.disk() {
        let filling = disk.fill()?;
        say_until(until, blows)?;
        let grown = length()? - before;
        if grown > PAGE {
            blows.faults.push(format!("the disk was not full: the log grew by {grown} bytes"));
        }
        drop(filling);
    } else {
        if Account::current().is_root() {
            blows
                .notes
                .push("root may mount nothing here: a limit on the length of files stands for a full disk".into());
        }
        let members: Vec<u32> =
            stage.server.members().iter().map(|stat| stat.pid).chain([stage.server.pid()]).collect();
        // Met by each write, as a full disk is.
        for pid in &members {
            limit(*pid, "fsize", &before.to_string())?;
        }
        say_until(until, blows)?;
        let grown = length()? - before;
        if grown > 0 {
            blows.faults.push(format!("the log's length was not limited: it grew by {grown} bytes"));
        }
        for pid in &members {
            limit(*pid, "fsize", "unlimited")?;
        }
    }
    // What is logged from now on is written again.
    stage.wait_for_log_line(|| blows.ask(stage, "say"))
}

/// The daemons' tables of descriptors are full.
pub(crate) fn of_daemons(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    let limited = stage.victims().into_iter().map(|pid| Limited::now(pid, 0)).collect::<Result<Vec<_>, _>>()?;
    blows.count += limited.len() as u64;
    thread::sleep(until.saturating_duration_since(Instant::now()));
    limited.into_iter().for_each(Limited::lift);
    Ok(())
}

/// The tables of Apache's children are full, again and again: httpd replaces a child that can take no connection any more.
pub(crate) fn of_children(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_secs(2), |number| {
        for stat in stage.children() {
            // At times there is room for clients, but not for the connections to daemons.
            if Limited::now(stat.pid, [0, 2, 5][number % 3]).is_ok() {
                blows.count += 1;
            }
        }
        Ok(())
    })?;
    // Those that are left would run into it later.
    let children: Vec<u32> = stage.children().iter().map(|stat| stat.pid).collect();
    children.into_iter().for_each(|pid| Limited { pid, soft: "1024".to_owned() }.lift());
    Ok(())
}

/// The table of the server's own process is full while two processes of the group end.
pub(crate) fn of_parent(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    let limited = Limited::now(stage.server.pid(), 0)?;
    for pid in stage.victims().into_iter().take(2) {
        blows.signal(pid, libc::SIGKILL);
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
    limited.lift();
    let log = fs::read_to_string(stage.log())?;
    if !["WSGI0024", "WSGI0025"].iter().any(|code| log.contains(code)) {
        blows.faults.push("the server could start processes all the same".into());
    }
    Ok(())
}

/// Processes that meet the limit of their memory in native code, which ends for want of it.
pub(crate) fn memory(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(400), |_| blows.ask(stage, "hog"))
}

/// Processes in which an application has taken all memory for a while. Python goes on, and answers what it can.
pub(crate) fn starved(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    again_and_again(until, Duration::from_millis(400), |_| blows.ask(stage, "glut"))
}

/// A process that can open nothing, and the soft limit that it had before.
struct Limited {
    pid: u32,
    soft: String,
}

impl Limited {
    /// From now on it may have so many descriptors more than now.
    fn now(pid: u32, more: u64) -> Result<Self, Failure> {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.and_then(|line| line.split_whitespace().next()).ok_or("no limit of open files is shown")?;
        let open = process::open_descriptors(pid)? as u64;
        limit(pid, "nofile", &(open + more).to_string())?;
        Ok(Self { pid, soft: soft.to_owned() })
    }

    /// As before. One that was replaced has a limit of its own.
    fn lift(self) {
        let _ = limit(self.pid, "nofile", &self.soft);
    }
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
