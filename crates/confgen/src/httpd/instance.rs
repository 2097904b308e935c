//! A running httpd: who it is, what belongs to it, how it is signalled.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::locate;
use super::process::{self, Handle, ProcessId, Signal, Stat};
use super::tail::LogTail;

/// The variable that every process of a launched server has in its environment, with the server root as its value.
/// It finds the ones that left the process group and the session.
pub(super) const MARKER: &str = "CONFGEN_SERVER_ROOT";

/// What identifies a running httpd, to be written down and found again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The pid of its parent process.
    pub pid: u32,
    /// The start time of that process in clock ticks since boot.
    pub start_time: u64,
    /// Its server root.
    pub root: PathBuf,
}

/// A running httpd whose parent process is known for certain.
#[derive(Debug)]
pub struct Instance {
    handle: Handle,
    root: PathBuf,
    error_log: Option<PathBuf>,
}

/// Why a pid is not the server it was taken for.
#[derive(Debug, thiserror::Error)]
pub enum Stale {
    /// Nothing runs with this pid any more.
    #[error("it has ended (there is no process {0})")]
    Gone(u32),
    /// Another process has the pid now.
    #[error("it has ended (pid {pid} is {command} now)")]
    Another {
        /// The pid.
        pid: u32,
        /// What runs with it.
        command: String,
    },
    /// The pid file holds no pid.
    #[error("{} does not hold a pid", .0.display())]
    Garbage(PathBuf),
    /// The pid file or the process could not be read.
    #[error("cannot tell whether it runs: {0}")]
    Unreadable(#[from] io::Error),
}

/// A daemon process of the WSGI module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// The name of its group as the process shows it. The C module cuts it off where argument 0 ended.
    pub group: String,
    /// The process.
    pub stat: Stat,
}

impl Daemon {
    /// Whether this is a process of the named group.
    pub fn is_of(&self, group: &str) -> bool {
        self.group == group
            || (self.group.len() >= SHOWN_NAME_MINIMUM && group.starts_with(&self.group) && self.is_cut())
    }

    /// A name that lost its closing parenthesis was cut off.
    fn is_cut(&self) -> bool {
        process::title(self.stat.pid).is_some_and(|title| title.starts_with("(wsgi:") && !title.ends_with(')'))
    }
}

/// A cut name of fewer bytes says too little to be taken for a group's.
const SHOWN_NAME_MINIMUM: usize = 4;

impl Instance {
    /// Waits until Apache's children have nothing to do: two looks in a row find all their threads asleep. `false` when
    /// the time is up first.
    ///
    /// A child of the event MPM that is asked to end at once while a worker closes a connection can die of SIGSEGV, whatever
    /// it serves: Apache closes the workers' sockets and does not notice that one has just been freed.
    pub fn wait_until_idle(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut quiet = 0;
        while quiet < 2 {
            let asleep = self.children().iter().all(|child| process::is_asleep(child.pid));
            quiet = if asleep { quiet + 1 } else { 0 };
            if Instant::now() >= deadline {
                return quiet >= 2;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    pub(super) fn launched(handle: Handle, root: PathBuf, error_log: PathBuf) -> Self {
        Self { handle, root, error_log: Some(error_log) }
    }

    /// Names the error log, by which daemon processes are known that do not show their group's name.
    #[must_use]
    pub fn with_error_log(self, path: Option<PathBuf>) -> Self {
        Self { error_log: path, ..self }
    }

    /// Finds a server again by what was written down about it.
    pub fn attach(identity: &Identity) -> Result<Self, Stale> {
        let handle = open(identity.pid)?;
        if handle.id().start_time != identity.start_time {
            return Err(another(identity.pid));
        }
        Self::verified(handle, &identity.root)
    }

    /// Finds a server by its pid file, which an earlier server may have left behind.
    pub fn from_pid_file(pid_file: &Path, root: &Path) -> Result<Self, Stale> {
        let text = std::fs::read_to_string(pid_file)?;
        let pid = text.trim().parse().map_err(|_| Stale::Garbage(pid_file.to_owned()))?;
        Self::verified(open(pid)?, root)
    }

    /// The pid of the httpd whose configuration or server root is in a folder, whoever started it.
    pub fn serving_from(folder: &Path) -> Option<u32> {
        let folder = folder.canonicalize().ok()?;
        let config = folder.join("httpd.conf");
        let same = |argument: &str, wanted: &Path| Path::new(argument).canonicalize().is_ok_and(|path| path == wanted);
        let uses = |stat: &&Stat| {
            let arguments = process::arguments(stat.pid);
            locate::is_known_name(arguments.first().map_or("", String::as_str))
                && runs_its_name(stat.pid, &arguments)
                && arguments.windows(2).any(|pair| match pair[0].as_str() {
                    "-d" => same(&pair[1], &folder),
                    "-f" => same(&pair[1], &config),
                    _ => false,
                })
        };
        let all: Vec<Stat> = process::all().into_iter().filter(|stat| !stat.is_zombie()).collect();
        let users: Vec<&Stat> = all.iter().filter(uses).collect();
        // Its children show the same arguments.
        users.iter().find(|stat| !users.iter().any(|other| other.pid == stat.parent)).map(|stat| stat.pid)
    }

    /// A process is our server if it is an httpd that was started with our server root.
    fn verified(handle: Handle, root: &Path) -> Result<Self, Stale> {
        let pid = handle.id().pid;
        let arguments = process::arguments(pid);
        let ours = runs_its_name(pid, &arguments)
            && arguments.windows(2).any(|pair| pair[0] == "-d" && Path::new(&pair[1]) == root);
        if !ours || !handle.id().is_alive() {
            return Err(another(pid));
        }
        Ok(Self { handle, root: root.to_owned(), error_log: None })
    }

    /// What identifies it.
    pub fn identity(&self) -> Identity {
        let ProcessId { pid, start_time } = self.handle.id();
        Identity { pid, start_time, root: self.root.clone() }
    }

    /// The pid of the parent process.
    pub fn pid(&self) -> u32 {
        self.handle.id().pid
    }

    /// The server root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The handle of the parent process.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether the parent process runs.
    pub fn is_alive(&self) -> bool {
        self.handle.id().is_alive()
    }

    /// Sends a signal to the parent process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.handle.signal(signal)
    }

    /// Ends it at once: running requests are cut off.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Ends it once running requests are done.
    pub fn graceful_stop(&self) -> io::Result<()> {
        self.signal(Signal::SIGWINCH)
    }

    /// Reads the configuration again; running requests are cut off.
    pub fn restart(&self) -> io::Result<()> {
        self.signal(Signal::SIGHUP)
    }

    /// Reads the configuration again; running requests are finished by the old children.
    pub fn graceful(&self) -> io::Result<()> {
        self.signal(Signal::SIGUSR1)
    }

    /// The children that serve requests: those of httpd itself, daemons left out.
    pub fn children(&self) -> Vec<Stat> {
        self.sorted().0
    }

    /// The daemon processes of all groups. Zombies count, as they show a parent that does not reap.
    pub fn daemons(&self) -> Vec<Daemon> {
        self.sorted().1
    }

    /// The direct children of the parent: those of httpd, and daemon processes, with those that a loader has forked. The module's
    /// own helpers, loaders among them, are neither.
    fn sorted(&self) -> (Vec<Stat>, Vec<Daemon>) {
        let parent = self.pid();
        let command = process::arguments(parent);
        let mut started = None;
        let (mut children, mut daemons) = (Vec::new(), Vec::new());
        let all = process::descendants(parent);
        let loaders: Vec<u32> =
            all.iter().filter(|stat| stat.parent == parent && is_loader(stat)).map(|stat| stat.pid).collect();
        let own = |stat: &Stat| match stat.parent {
            direct if direct == parent => !is_loader(stat),
            other => loaders.contains(&other) && daemon_group(stat).is_some(),
        };
        for stat in all.into_iter().filter(own) {
            if is_helper(&stat, || process::arguments(stat.pid), &command) {
                continue;
            }
            let mut logged =
                |pid| started.get_or_insert_with(|| started_daemons(self.error_log.as_deref())).get(&pid).cloned();
            match daemon_group(&stat).or_else(|| logged(stat.pid)) {
                Some(group) => daemons.push(Daemon { group, stat }),
                None => children.push(stat),
            }
        }
        (children, daemons)
    }

    /// The daemon processes of one group.
    pub fn daemons_of(&self, group: &str) -> Vec<Daemon> {
        self.daemons().into_iter().filter(|daemon| daemon.is_of(group)).collect()
    }

    /// Every process that belongs to the server but the parent itself: its descendants, and those that got away from it
    /// but still are in its session or carry its mark.
    pub fn members(&self) -> Vec<Stat> {
        members(self.handle.id(), &self.root, &[])
    }
}

/// The processes of a server, `known` being some that were seen before.
pub(super) fn members(parent: ProcessId, root: &Path, known: &[ProcessId]) -> Vec<Stat> {
    let everything = process::all();
    // Once the parent has been reaped its pid may be another process's, whose children and session are none of ours.
    let reused = everything.iter().any(|stat| stat.pid == parent.pid && stat.start_time != parent.start_time);
    let mut family = if reused { Vec::new() } else { vec![parent.pid] };
    let mut index = 0;
    while let Some(&pid) = family.get(index) {
        family.extend(
            everything
                .iter()
                .filter(|stat| stat.parent == pid && stat.pid != pid && !family.contains(&stat.pid))
                .map(|stat| stat.pid)
                .collect::<Vec<_>>(),
        );
        index += 1;
    }
    let own = std::process::id();
    everything
        .into_iter()
        .filter(|stat| stat.pid != parent.pid && stat.pid != own && stat.start_time >= parent.start_time)
        .filter(|stat| {
            family.contains(&stat.pid)
                || (!reused && stat.session == parent.pid)
                || known.contains(&stat.id())
                || process::environment(stat.pid, MARKER).is_some_and(|value| Path::new(&value) == root)
        })
        .collect()
}

/// The processes that carry a server's mark.
pub(super) fn marked(everything: &[Stat], root: &Path) -> Vec<Stat> {
    let has_mark = |stat: &&Stat| process::environment(stat.pid, MARKER).is_some_and(|value| Path::new(&value) == root);
    everything.iter().filter(has_mark).cloned().collect()
}

/// Short names of the processes that our module forks for itself: the writer of daemons' log lines, and what wakes the parent.
const HELPERS: &[&str] = &["wsgi:log", "wsgi:bell"];

/// Whether a process is a helper. It is a fork of httpd that executes nothing else, so that its arguments are httpd's (or
/// nobody's, when it has ended); a daemon group may have the same short name.
fn is_helper(stat: &Stat, arguments: impl FnOnce() -> Vec<String>, parent: &[String]) -> bool {
    HELPERS.contains(&stat.name.as_str()) && {
        let arguments = arguments();
        arguments.iter().all(String::is_empty) || arguments == parent
    }
}

/// Whether a process is the one that a group's processes are forked from (`fork-after-load=On`). It shows the name that they
/// inherit, and says what it is in the short one.
fn is_loader(stat: &Stat) -> bool {
    stat.name.starts_with("load:")
}

/// The group of a daemon process, from the name it shows: `(wsgi:NAME)` as argument 0, or `wsgi:NAME` as argument 0 or short name.
fn daemon_group(stat: &Stat) -> Option<String> {
    if is_loader(stat) {
        return None;
    }
    let title = process::title(stat.pid);
    let shown = title.as_deref().and_then(|title| {
        let title = title.strip_prefix('(').unwrap_or(title);
        let name = title.strip_prefix("wsgi:")?;
        Some(name.strip_suffix(')').unwrap_or(name))
    });
    shown.or_else(|| stat.name.strip_prefix("wsgi:")).or_else(|| stat.name.strip_prefix("(wsgi:")).map(str::to_owned)
}

/// The groups of the daemon processes that a log tells of, by pid. The C module's processes look like Apache's own children
/// unless a display name is set, but each says at its start which group it belongs to.
fn started_daemons(log: Option<&Path>) -> HashMap<u32, String> {
    const START: &str = "Starting daemon process '";
    let lines = log.and_then(|path| LogTail::from_start(path).read().ok()).unwrap_or_default();
    let named = lines.iter().filter(|line| line.module.as_deref() == Some("wsgi")).filter_map(|line| {
        let (_, rest) = line.message.split_once(START)?;
        Some((line.pid?, rest.split_once('\'')?.0.to_owned()))
    });
    named.collect()
}

/// Whether a process runs the program that its argument 0 names: any other may have been started with httpd's arguments.
fn runs_its_name(pid: u32, arguments: &[String]) -> bool {
    let Some(first) = arguments.first().map(Path::new) else { return false };
    // Another user's process keeps its executable to itself; that of a binary which was replaced has a note behind its name.
    process::executable(pid).is_none_or(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        first.file_name().is_some_and(|own| own.to_string_lossy() == name.trim_end_matches(" (deleted)"))
            || first.canonicalize().is_ok_and(|own| own == path)
    })
}

fn open(pid: u32) -> Result<Handle, Stale> {
    Handle::open(pid).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { Stale::Gone(pid) } else { Stale::Unreadable(error) }
    })
}

fn another(pid: u32) -> Stale {
    match process::stat(pid) {
        Some(stat) if !stat.is_zombie() => {
            Stale::Another { pid, command: process::command_line(pid).unwrap_or(stat.name) }
        }
        _ => Stale::Gone(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str) -> Stat {
        Stat {
            pid: u32::MAX,
            name: name.into(),
            state: 'S',
            parent: 1,
            group: 1,
            session: 1,
            threads: 1,
            start_time: 1,
            virtual_bytes: 1,
        }
    }

    #[test]
    fn daemons_are_known_by_their_short_name_too() {
        assert_eq!(daemon_group(&stat("wsgi:web")).as_deref(), Some("web"));
        assert_eq!(daemon_group(&stat("apache2")), None);
        assert_eq!(daemon_group(&stat("load:web")), None);
    }

    #[test]
    fn helpers_are_no_daemons_but_a_group_may_have_their_name() {
        let httpd = ["/usr/sbin/apache2".to_owned(), "-d".to_owned(), "/srv".to_owned()];
        for (name, arguments, helper) in [
            ("wsgi:log", httpd.to_vec(), true),
            ("wsgi:bell", vec![String::new()], true),
            ("wsgi:log", vec!["wsgi:log".to_owned()], false),
            ("wsgi:web", httpd.to_vec(), false),
        ] {
            assert_eq!(is_helper(&stat(name), || arguments.clone(), &httpd), helper, "{name} {arguments:?}");
        }
    }

    #[test]
    fn daemons_are_known_by_what_they_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("error.log");
        let text = "[t] [wsgi:info] [pid 12:tid 12] Starting daemon process 'web' with uid=33, gid=33 and threads=2.\n[t] [core:notice] [pid 13] Starting daemon process 'no'\n";
        std::fs::write(&log, text).unwrap();
        assert_eq!(started_daemons(Some(&log)), HashMap::from([(12, "web".to_owned())]));
        assert!(started_daemons(None).is_empty());
    }

    #[test]
    fn a_pid_that_is_not_ours_is_stale() {
        let own = process::stat(std::process::id()).unwrap();
        let identity = Identity { pid: own.pid, start_time: own.start_time, root: "/nonexistent".into() };
        let error = Instance::attach(&identity).unwrap_err();
        assert!(matches!(&error, Stale::Another { pid, .. } if *pid == own.pid), "{error}");
        let error = Instance::attach(&Identity { start_time: 1, ..identity }).unwrap_err();
        assert!(error.to_string().starts_with("it has ended (pid "), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("httpd.pid");
        std::fs::write(&file, "not a pid\n").unwrap();
        assert!(matches!(Instance::from_pid_file(&file, folder.path()), Err(Stale::Garbage(_))));
        // The largest pid the kernel ever gives is 2^22.
        std::fs::write(&file, "4194304\n").unwrap();
        assert!(matches!(Instance::from_pid_file(&file, folder.path()), Err(Stale::Gone(4_194_304))));
    }
}
