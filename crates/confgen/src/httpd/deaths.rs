//! Deaths by a signal of a server's processes, as the kernel reports them.
//!
//! httpd takes the exit statuses of its children itself, tells of a crash in a line of level notice, and of one that happens
//! while it stops in none at all. So a thread opens a handle of every process of the server while that lives, and reads how
//! it ended from the handle.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::process::{self, Handle, ProcessId, timeout};

/// How often new processes are looked for. One that was born and reaped in between is not seen.
const LOOK: Duration = Duration::from_millis(10);

/// Every so many looks, children of all threads are looked for, not only those of first threads.
const THOROUGH: u32 = 20;

/// How long a process is young: it still executes another program or changes its name.
const YOUNG: Duration = Duration::from_millis(500);

/// How long the end of processes is waited for that are still there when the watch ends.
const LAST: Duration = Duration::from_millis(500);

/// A process that a signal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Its pid.
    pub pid: u32,
    /// What it showed as its name.
    pub name: String,
    /// The number of the signal.
    pub signal: i32,
    /// Whether the kernel wrote a core file.
    pub core: bool,
    /// Its working directory, where a core file is written as a rule.
    pub folder: Option<PathBuf>,
    /// When its end was seen.
    pub seen: Instant,
}

/// Watches a server's processes until it is told to finish.
#[derive(Debug)]
pub(super) struct DeathWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The thread ends when the other end of this pipe is closed.
    running: Mutex<Option<OwnedFd>>,
}

#[derive(Debug, Default)]
struct State {
    deaths: Vec<Death>,
    /// Processes that this program kills itself.
    own: HashSet<u32>,
    /// How many processes have a handle.
    watched: usize,
}

impl DeathWatch {
    /// Begins to watch the process and everything that descends from it.
    pub(super) fn start(parent: ProcessId) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let shared =
            Arc::new(Shared { state: Mutex::new(State::default()), running: Mutex::new(Some(OwnedFd::from(writer))) });
        let first = Watched::open(parent.pid).filter(|watched| watched.handle.id() == parent);
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("death watch".to_owned())
            .spawn(move || watch(&seen, first.into_iter().collect(), &OwnedFd::from(reader)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that this program is about to kill a process, which is no death to report.
    pub(super) fn kills(&self, pid: u32) {
        self.shared.state().own.insert(pid);
    }

    /// Ends the watch; gives all deaths.
    pub(super) fn finish(&mut self) -> Vec<Death> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            // The deaths that it found before a panic are there nonetheless.
            let _ = thread.join();
        }
        std::mem::take(&mut self.shared.state().deaths)
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process with the handle by which its end is seen.
#[derive(Debug)]
struct Watched {
    handle: Handle,
    name: String,
    folder: Option<PathBuf>,
    opened: Instant,
}

impl Watched {
    fn open(pid: u32) -> Option<Self> {
        let handle = Handle::open(pid).ok()?;
        let mut watched = Self { handle, name: String::new(), folder: None, opened: Instant::now() };
        watched.look();
        Some(watched)
    }

    /// A process may change its name and its folder.
    fn look(&mut self) {
        let pid = self.handle.id().pid;
        if let Some(name) = process::title(pid).or_else(|| process::stat(pid).map(|stat| stat.name)) {
            self.name = name;
        }
        if let Ok(folder) = fs::read_link(format!("/proc/{pid}/cwd")) {
            self.folder = Some(folder);
        }
    }
}

fn watch(shared: &Shared, mut watched: Vec<Watched>, running: &OwnedFd) {
    // Dead processes stay children until their parent waits for them.
    let mut ended = HashSet::new();
    let mut looks = 0;
    let mut last: Option<Instant> = None;
    loop {
        look(&mut watched, &ended, looks % THOROUGH == 0);
        looks += 1;
        shared.state().watched = watched.len();
        if watched.is_empty() && last.is_some() {
            return;
        }
        if last.is_some_and(|last| Instant::now() >= last) {
            return;
        }
        let mut entries: Vec<PollFd<'_>> =
            watched.iter().map(|one| PollFd::new(one.handle.as_fd(), PollFlags::POLLIN)).collect();
        if last.is_none() {
            entries.push(PollFd::new(running.as_fd(), PollFlags::POLLIN));
        }
        let ready: Vec<bool> = match poll(&mut entries, timeout(LOOK)) {
            Ok(0) | Err(_) => continue,
            Ok(_) => entries.iter().map(|entry| entry.revents().is_some_and(|events| !events.is_empty())).collect(),
        };
        if last.is_none() && ready.last() == Some(&true) {
            last = Some(Instant::now() + LAST);
        }
        let mut index = 0;
        watched.retain_mut(|one| {
            let has_ended = ready.get(index) == Some(&true);
            index += 1;
            if has_ended {
                ended.insert(one.handle.id());
                report(shared, one);
            }
            !has_ended
        });
    }
}

/// Opens handles of processes that are not watched yet. Children that have ended and were not waited for are among them.
fn look(watched: &mut Vec<Watched>, ended: &HashSet<ProcessId>, thorough: bool) {
    let mut index = 0;
    while let Some(one) = watched.get_mut(index) {
        if thorough || one.opened.elapsed() < YOUNG {
            one.look();
        }
        let pid = one.handle.id().pid;
        for child in process::children(pid, thorough) {
            if watched.iter().all(|known| known.handle.id().pid != child) {
                watched.extend(Watched::open(child).filter(|new| !ended.contains(&new.handle.id())));
            }
        }
        index += 1;
    }
}

fn report(shared: &Shared, ended: &Watched) {
    let Some(status) = ended.handle.exit_status() else { return };
    let pid = ended.handle.id().pid;
    let signal = libc::WTERMSIG(status);
    let mut state = shared.state();
    if !libc::WIFSIGNALED(status) || (signal == libc::SIGKILL && state.own.contains(&pid)) {
        return;
    }
    state.deaths.push(Death {
        pid,
        name: ended.name.clone(),
        signal,
        core: libc::WCOREDUMP(status),
        folder: ended.folder.clone(),
        seen: Instant::now(),
    });
}

/// What `PIDFD_GET_INFO` fills in: the first version of `struct pidfd_info`.
#[repr(C)]
#[derive(Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// Asks for the exit status of a process that has been reaped (Linux 6.15).
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)`
const PIDFD_GET_INFO: libc::c_ulong = (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xFF << 8) | 11;

impl Handle {
    /// How a process has ended, as `wait` would say it: by `wait` itself where it is a child of ours (whose status is left in
    /// place), else by `/proc` as long as nobody has waited for it, else by the handle.
    fn exit_status(&self) -> Option<i32> {
        self.child_status().or_else(|| self.zombie_status()).or_else(|| self.reaped_status())
    }

    fn child_status(&self) -> Option<i32> {
        // SAFETY: an all-zero siginfo_t is a valid value of this plain structure.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let descriptor = libc::id_t::try_from(self.as_fd().as_raw_fd()).ok()?;
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the descriptor is an open pidfd, and the structure lives until the call has returned.
        if unsafe { libc::waitid(libc::P_PIDFD, descriptor, &raw mut info, options) } != 0 {
            return None;
        }
        // SAFETY: after success these members are those of a child's end, or zero when there is none.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        match info.si_code {
            _ if pid == 0 => None,
            libc::CLD_EXITED => Some((status & 0xFF) << 8),
            libc::CLD_DUMPED => Some(status | 0x80),
            libc::CLD_KILLED => Some(status),
            _ => None,
        }
    }

    fn zombie_status(&self) -> Option<i32> {
        let ProcessId { pid, start_time } = self.id();
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // Counted from the state, which follows the name in brackets.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        let same = fields.get(19)?.parse() == Ok(start_time);
        (same && matches!(*fields.first()?, "Z" | "X")).then(|| fields.get(49)?.parse().ok()).flatten()
    }

    fn reaped_status(&self) -> Option<i32> {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the descriptor is an open pidfd, and the kernel writes at most the size that the request's number tells.
        let result = unsafe { libc::ioctl(self.as_fd().as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpd::Signal;

    fn shell(text: &str) -> std::process::Child {
        super::super::command::httpd(std::path::Path::new("/bin/sh")).args(["-c", text]).spawn().unwrap()
    }

    #[test]
    fn the_end_of_a_child_is_seen_and_left_for_its_parent() {
        for (text, status) in [("exit 3", 3 << 8), ("kill -TERM $$", libc::SIGTERM)] {
            let mut child = shell(text);
            let handle = Handle::open(child.id()).unwrap();
            assert!(handle.wait(Duration::from_secs(20)));
            assert_eq!(handle.exit_status(), Some(status), "{text}");
            assert_eq!(handle.zombie_status(), Some(status), "{text}");
            assert!(child.wait().is_ok());
            // Kernels before 6.15 forget it here.
            assert!(handle.reaped_status().is_none_or(|told| told == status));
        }
    }

    #[test]
    fn processes_that_a_signal_ends_are_named_whoever_waits_for_them() {
        // The shell waits for its children itself, as httpd does; the kills wait until the watch has seen their victims.
        let mut command = super::super::command::httpd(std::path::Path::new("/bin/sh"));
        let script = "sleep 60 & one=$!; sleep 61 & two=$!; sleep 62 & three=$!; read line; kill -SEGV $one; kill -KILL $two; kill -KILL $three; wait; exit 0";
        let mut child = command.args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let parent = process::stat(child.id()).unwrap().id();
        let mut watch = DeathWatch::start(parent).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while watch.shared.state().watched < 4 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let victims = process::children(parent.pid, true);
        // Killed by the one who watches.
        watch.kills(victims[2]);
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        let deaths: Vec<_> = watch.finish().into_iter().map(|death| (death.pid, death.signal)).collect();
        let expected = [(victims[0], Signal::SIGSEGV as i32), (victims[1], Signal::SIGKILL as i32)];
        assert_eq!(deaths.iter().filter(|death| expected.contains(death)).count(), 2, "{deaths:?}");
        assert_eq!(deaths.len(), 2, "{deaths:?}");
    }
}
