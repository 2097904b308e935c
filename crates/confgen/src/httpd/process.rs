//! Processes as `/proc` shows them, and handles that survive the reuse of a pid.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
pub use nix::sys::signal::Signal;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The process id.
    pub pid: u32,
    /// The short name (at most 15 bytes).
    pub name: String,
    /// The state's letter; `Z` is a zombie.
    pub state: char,
    /// The parent's pid.
    pub parent: u32,
    /// The process group.
    pub group: u32,
    /// The session.
    pub session: u32,
    /// The number of threads.
    pub threads: u32,
    /// When it started, in clock ticks since boot: with the pid this identifies a process for good.
    pub start_time: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
}

impl Stat {
    /// Whether it has ended and only waits for its parent.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Its identity.
    pub fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start_time: self.start_time }
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may itself contain parentheses and spaces, as `(wsgi:web)` does: the last one closes it.
        let (pid, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let small = |index: usize| {
            fields.get(index).and_then(|field| field.parse::<i64>().ok()).and_then(|value| u32::try_from(value).ok())
        };
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: small(1)?,
            group: small(2)?,
            session: small(3)?,
            threads: small(17)?,
            start_time: number(19)?,
            virtual_bytes: number(20)?,
        })
    }
}

/// One process, told from a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub start_time: u64,
}

impl ProcessId {
    /// Its state now, if it still exists (a zombie does).
    pub fn stat(self) -> Option<Stat> {
        stat(self.pid).filter(|stat| stat.start_time == self.start_time)
    }

    /// Whether it runs (a zombie does not).
    pub fn is_alive(self) -> bool {
        self.stat().is_some_and(|stat| !stat.is_zombie())
    }
}

/// What is known about a process now.
pub fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// All processes of the machine.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of a process, dead ones included: those that its first thread has made, or those of all threads.
pub fn children(pid: u32, of_all_threads: bool) -> Vec<u32> {
    let of = |thread: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
    };
    if !of_all_threads {
        return of(pid);
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok()).flat_map(of).collect()
}

/// The children, grandchildren and so on of a process, parents before their children.
pub fn descendants(pid: u32) -> Vec<Stat> {
    let everything = all();
    let mut found: Vec<Stat> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for stat in everything.iter().filter(|stat| stat.parent == parent && stat.pid != parent) {
            parents.push(stat.pid);
            found.push(stat.clone());
        }
    }
    found
}

/// Whether every thread of a process sleeps: none runs, is about to, or is in the middle of a system call that does not wait.
pub fn is_asleep(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let text = fs::read(thread.path().join("stat")).unwrap_or_default();
        Stat::parse(&String::from_utf8_lossy(&text)).is_none_or(|stat| stat.state == 'S' || stat.is_zombie())
    })
}

/// Argument 0 as the process shows it now, without the padding that a renamed process leaves behind.
pub fn title(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = bytes.split(|&byte| byte == 0).next()?;
    let title = String::from_utf8_lossy(first).trim().to_owned();
    (!title.is_empty()).then_some(title)
}

/// The whole command line, for messages.
pub fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> = bytes
        .split(|&byte| byte == 0)
        .map(|word| String::from_utf8_lossy(word).trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The arguments as they were given.
pub fn arguments(pid: u32) -> Vec<String> {
    let Ok(bytes) = fs::read(format!("/proc/{pid}/cmdline")) else { return Vec::new() };
    bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The executable of a process.
pub fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// A variable of the environment the process was executed with.
pub fn environment(pid: u32, name: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    bytes.split(|&byte| byte == 0).find_map(|entry| {
        let (key, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

/// The user a process runs as (the effective one).
pub fn user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok())
}

/// Whether a signal waits to be delivered to a process.
pub fn is_pending(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let bit = 1u64 << (signal as u32 - 1);
    ["SigPnd:", "ShdPnd:"].into_iter().filter_map(pending).any(|mask| mask & bit != 0)
}

/// The inodes of the sockets a process has open.
pub fn socket_inodes(pid: u32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            fs::read_link(entry.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// The number of descriptors a process has open.
pub fn open_descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// A sum of `/proc/PID/smaps_rollup`, in bytes; `Pss` is the memory a process really costs.
pub fn memory(pid: u32, field: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix(field)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("smaps_rollup of pid {pid} has no {field}")))
}

/// Makes this process inherit the orphans among its descendants, so that what a server leaves behind is found and reaped.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Takes the exit status of a dead child (an adopted one, too), so that it stops being a zombie.
pub fn reap(pid: u32) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return false };
    matches!(
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(raw), Some(nix::sys::wait::WaitPidFlag::WNOHANG)),
        Ok(status) if status.pid().is_some()
    )
}

/// Sends a signal to a process group.
pub fn signal_group(group: u32, signal: Signal) -> io::Result<()> {
    let raw = i32::try_from(group).map_err(io::Error::other)?;
    Ok(nix::sys::signal::killpg(nix::unistd::Pid::from_raw(raw), signal)?)
}

/// An open reference to one process: a signal sent through it can never reach a later process with the same pid.
#[derive(Debug)]
pub struct Handle {
    id: ProcessId,
    descriptor: OwnedFd,
}

impl Handle {
    /// Opens a process. Fails with `NotFound` if there is none with this pid.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
        if result < 0 {
            let error = io::Error::last_os_error();
            return Err(if error.raw_os_error() == Some(libc::ESRCH) {
                io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid}"))
            } else {
                error
            });
        }
        let raw = i32::try_from(result).map_err(io::Error::other)?;
        // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        // Read after the descriptor exists: from here on the pid cannot pass to another process unseen.
        let stat =
            stat(pid).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid}")))?;
        Ok(Self { id: stat.id(), descriptor })
    }

    /// Which process this is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// The descriptor, which becomes readable when the process has ended.
    pub(super) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Sends a signal. Fails with `NotFound` once the process has been reaped.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let null: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is an open pidfd, and a null siginfo asks for the same as kill(2).
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.descriptor.as_raw_fd(), signal as libc::c_int, null, 0)
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(if error.raw_os_error() == Some(libc::ESRCH) {
            io::Error::new(io::ErrorKind::NotFound, format!("process {} has ended", self.id.pid))
        } else {
            error
        })
    }

    /// Waits until the process has ended (as a zombie, too); false when the time is up first.
    pub fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut entries = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
            match poll(&mut entries, timeout(left)) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return !self.id.is_alive(),
            }
        }
    }
}

/// A poll timeout that never ends before the duration does.
pub(super) fn timeout(left: Duration) -> PollTimeout {
    let milliseconds = left.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(milliseconds).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_with_parentheses() {
        let stat = Stat::parse(
            "42 ((wsgi:web) x) S 7 8 9 0 -1 4194624 1 2 3 4 5 6 7 8 20 0 15 0 987654 1048576 200 18446744073709551615",
        )
        .unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.state), (42, "(wsgi:web) x", 'S'));
        assert_eq!((stat.parent, stat.group, stat.session, stat.threads), (7, 8, 9, 15));
        assert_eq!((stat.start_time, stat.virtual_bytes), (987_654, 1_048_576));
        assert_eq!(Stat::parse("garbage"), None);
    }

    #[test]
    fn a_handle_sees_the_end_and_refuses_signals_afterwards() {
        let mut child = super::super::command::httpd(std::path::Path::new("/bin/sleep")).arg("60").spawn().unwrap();
        let handle = Handle::open(child.id()).unwrap();
        assert!(!handle.wait(Duration::from_millis(5)));
        assert!(handle.id().is_alive());
        handle.signal(Signal::SIGKILL).unwrap();
        assert!(handle.wait(Duration::from_secs(10)));
        assert!(!handle.id().is_alive(), "a zombie is not alive");
        child.wait().unwrap();
        assert_eq!(handle.signal(Signal::SIGTERM).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(Handle::open(child.id()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn knows_itself() {
        let own = std::process::id();
        assert!(memory(own, "Pss").unwrap() > 0);
        assert!(open_descriptors(own).unwrap() > 2);
        assert!(all().iter().any(|stat| stat.pid == own));
    }
}
