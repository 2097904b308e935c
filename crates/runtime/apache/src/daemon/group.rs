//! From the definition of a group to what a start of one of its processes needs.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use wsgi_protocol::frame::Secret;
use wsgi_protocol::launch::{self, Chroot, Daemon, Descriptors};
use wsgi_protocol::page::Layout;

use super::retained::Sockets;
use super::spawn::{Identity, Limit, Program, Sources, number};
use super::status_page::PLACES;
use crate::config::Generation;
use crate::directives::{DaemonGroup, Handover};
use crate::host::{Mpm, Pool, Server, ServingUser};
use crate::{launch_python, module, sys};

/// Why no process of a group can be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("environment-file '{0}' cannot be read: {1}")]
    EnvironmentFile(String, io::Error),
    #[error("environment-file '{0}', line {1}: not of the form NAME=VALUE")]
    EnvironmentLine(String, usize),
    #[error("a text of the definition holds a NUL byte")]
    Nul(#[from] std::ffi::NulError),
    #[error("processes={0} or threads={1} is more than a status page has room for")]
    TooMany(u32, u32),
}

/// What is the same for all processes of a group in one generation.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Vec<u8>,
    /// Where it was defined: its log.
    pub(crate) server: Server<'static>,
    pub(crate) processes: u32,
    pub(crate) program: Program,
    pub(crate) sockets: Sockets,
    pub(crate) layout: Layout,
    /// How long a process may take to end.
    pub(crate) shutdown: Duration,
    /// `server-metrics=On`
    pub(crate) server_metrics: bool,
    /// `rolling=On`, for processes that serve requests.
    pub(crate) rolling: bool,
    /// Whether a process may ask for its successor.
    pub(crate) asks: bool,
    /// `handover=`
    pub(crate) handover: Handover,
    /// How long requests may take to finish before a process is replaced.
    drain: Duration,
    /// How long a successor that a process asked for may take until it serves.
    pub(crate) loading: Duration,
    /// `fork-after-load=On`
    pub(crate) fork_after_load: bool,
    launch: Daemon,
}

impl Plan {
    /// Plans the group at this position.
    pub(crate) fn of(
        generation: &Generation,
        position: usize,
        apache: &ServingUser,
        pool: Pool<'_>,
    ) -> Result<Self, PlanError> {
        let group = &generation.groups[position];
        let engine = &generation.group_engines[position];
        let rows = Mpm::hard_limits().0.saturating_mul(2).min(100_000);
        let layout = Layout::new(group.processes.saturating_mul(PLACES), group.threads, rows)
            .ok_or(PlanError::TooMany(group.processes, group.threads))?;
        // SAFETY: cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        let user = group.user.as_ref().filter(|_| is_root).map_or(apache.id, |user| user.id);
        let identity = is_root.then(|| identity(group, apache));
        let account = Account::of(user);
        let directory = match (&group.home, &account) {
            (Some(home), _) => Some((CString::new(home.clone())?, 9)),
            // Apache's user has none to be in; an ordinary user who has started the server has.
            (None, _) if is_root && user == apache.id => None,
            (None, Some(account)) => Some((account.home.clone(), 10)),
            // `user=` is refused without an account: it has gone since the configuration was read.
            (None, None) => None,
        };
        let chroot = group.chroot.as_ref().map(|root| Chroot {
            root: root.clone(),
            directory: directory.as_ref().map(|(directory, _)| directory.to_bytes().to_vec()),
            directory_code: directory.as_ref().map_or(0, |(_, code)| *code),
        });
        let mut timeouts = group.timeouts;
        if timeouts.socket == 0 {
            timeouts.socket = u64::try_from(group.server.timeout() / 1000).unwrap_or(0);
        }
        // A process that is to be replaced with requests in hand asks for a successor, unless that has to wait for its end.
        let recycles = group.maximum_requests > 0 || group.timeouts.restart_interval > 0;
        let overlaps = group.handover() == Handover::Overlap;
        let asks = group.threads > 0 && (group.rolling || (recycles && overlaps));
        let level = group.server.log_level(module::index()).clamp(0, 8);
        let owner = is_root.then(|| group.socket_user.as_ref().map_or(apache.id, |user| user.id));
        let launch = Daemon {
            python: launch_python::daemon(generation, group),
            group: group.name.clone(),
            threads: group.threads,
            page_processes: layout.processes(),
            stack_size: group.stack_size,
            maximum_requests: group.maximum_requests,
            timeouts,
            log_level: u8::try_from(level).unwrap_or(0),
            dumpable: true,
            rolling: group.rolling && group.threads > 0,
            asks,
            sequential: group.handover() == Handover::Sequential,
            locale: group.locale.clone(),
            send_buffer_size: group.send_buffer_size,
            receive_buffer_size: group.receive_buffer_size,
            chroot: chroot.clone(),
            peers: peers(apache.id, owner),
            ..Daemon::default()
        };
        let prefix = generation.main.socket_prefix.clone().unwrap_or_else(|| default_prefix(pool));
        Ok(Self {
            name: group.name.clone(),
            server: group.server,
            processes: group.processes,
            server_metrics: group.server_metrics,
            rolling: group.rolling && group.threads > 0,
            asks,
            handover: group.handover(),
            drain: Duration::from_millis(group.timeouts.graceful.max(group.timeouts.eviction)),
            fork_after_load: group.fork_after_load,
            program: Program {
                group: group.display().into_owned(),
                arguments: arguments(group, &engine.version)?,
                environment: environment(group, account.as_ref())?,
                identity,
                confines_itself: chroot.is_some(),
                directory: directory.filter(|_| chroot.is_none()),
                nice: group.cpu_priority,
                umask: group.umask,
                limits: limits(group),
                engine: engine.file.as_raw_fd(),
                threads: group.threads,
            },
            sockets: Sockets { prefix, owner, backlog: group.listen_backlog },
            layout,
            shutdown: Duration::from_millis(group.timeouts.shutdown),
            loading: group.timeouts.loading(),
            launch,
        })
    }

    /// How long a process may take from the moment when it is asked to leave; `None` is for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        const MARGIN: Duration = Duration::from_secs(2);
        (!self.shutdown.is_zero()).then(|| self.drain + self.shutdown + MARGIN)
    }

    /// The launch configuration of one process, in memory that nobody can change any more.
    pub(crate) fn launch(&self, place: u32, start: u32, secret: &Secret, sources: &Sources) -> io::Result<OwnedFd> {
        let mut daemon = self.launch.clone();
        daemon.index = place;
        daemon.generation = start;
        daemon.secret = *secret;
        daemon.loader = sources.listener.is_none();
        daemon.descriptors = Descriptors {
            listener: sources.listener.map_or(-1, |_| number::LISTENER),
            overflow: sources.overflow.map(|_| number::OVERFLOW),
            log: number::LOG,
            page: number::PAGE,
            control: number::CONTROL,
            predecessor: sources.predecessor.map(|_| number::PREDECESSOR),
            bell: sources.bell.map(|_| number::BELL),
            scripts: sources.scripts.map(|_| number::SCRIPTS),
            inherited_scripts: sources.inherited_scripts.map(|_| number::INHERITED_SCRIPTS),
        };
        let bytes = launch::encode(&daemon).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        sealed(c"wsgi launch", &bytes)
    }
}

/// Who may connect to a group's processes: children run as Apache's user, some MPMs give them other rights or users, of
/// which only the sockets' owner and root get past the mode of the sockets.
fn peers(apache: u32, owner: Option<u32>) -> Vec<u32> {
    // SAFETY: cannot fail.
    let starter = unsafe { libc::geteuid() };
    let mut peers = vec![0, starter, apache];
    peers.extend(owner);
    peers.sort_unstable();
    peers.dedup();
    peers
}

/// Memory with this content, sealed against every change.
fn sealed(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string; the descriptor is fresh.
    let file = unsafe {
        let descriptor = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        std::fs::File::from(OwnedFd::from_raw_fd(descriptor))
    };
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

/// A pipe: its reading and its writing end, both closed on exec.
pub(crate) fn pipe() -> io::Result<(RawFd, RawFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((ends[0], ends[1]))
}

/// `WSGISocketPrefix`, when it is not set: below `DefaultRuntimeDir`.
fn default_prefix(pool: Pool<'_>) -> Vec<u8> {
    // SAFETY: the result is null or a text in the pool.
    unsafe {
        let path = sys::ap_runtime_dir_relative(pool.raw(), c"wsgi".as_ptr());
        if path.is_null() { b"/run/wsgi".to_vec() } else { CStr::from_ptr(path).to_bytes().to_vec() }
    }
}

/// An entry of the system's user database.
struct Account {
    name: CString,
    home: CString,
}

impl Account {
    fn of(user: u32) -> Option<Self> {
        // SAFETY: only this thread runs while the server reads its configuration; the entry is copied at once.
        unsafe {
            let entry = libc::getpwuid(user).as_ref()?;
            Some(Self { name: CStr::from_ptr(entry.pw_name).to_owned(), home: CStr::from_ptr(entry.pw_dir).to_owned() })
        }
    }
}

fn identity(group: &DaemonGroup, apache: &ServingUser) -> Identity {
    let user = group.user.as_ref().map_or(apache.id, |user| user.id);
    let primary = group.group.unwrap_or(apache.group);
    let mut groups = group.supplementary_groups.clone().unwrap_or_else(|| groups_of(user, primary));
    // As `initgroups` does it, and for programs that look there only.
    if !groups.contains(&primary) {
        groups.insert(0, primary);
    }
    Identity { user, group: primary, groups }
}

/// The groups that a user is a member of (`initgroups`).
fn groups_of(user: u32, primary: u32) -> Vec<u32> {
    let Some(account) = Account::of(user) else { return vec![primary] };
    let mut groups = vec![0; 64];
    loop {
        let mut count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        // SAFETY: room for as many as it says.
        let result = unsafe { libc::getgrouplist(account.name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
        let wanted = usize::try_from(count).unwrap_or(0);
        if result >= 0 {
            groups.truncate(wanted);
            return groups;
        }
        if wanted <= groups.len() {
            return vec![primary];
        }
        groups.resize(wanted, 0);
    }
}

fn arguments(group: &DaemonGroup, version: &str) -> Result<Vec<CString>, PlanError> {
    let name = group.display();
    Ok(match &group.display_name {
        Some(shown) if shown == b"%{GROUP}" => vec![CString::new(format!("(wsgi:{name})"))?],
        Some(shown) => vec![CString::new(shown.clone())?],
        None => vec![CString::new(format!("wsgi-daemon-{version}"))?, CString::new(name.as_bytes())?],
    })
}

fn limits(group: &DaemonGroup) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut add = |resource, soft: u64, hard: u64, code, name| {
        if soft > 0 {
            limits.push(Limit { resource, soft, hard, code, name });
        }
    };
    let cpu = group.cpu_time_limit;
    add(libc::RLIMIT_CPU, cpu, cpu + 1 + group.timeouts.shutdown / 1000, "WSGI0076", "CPU time limit");
    add(libc::RLIMIT_DATA, group.memory_limit, group.memory_limit, "WSGI0077", "memory limit");
    let limit = group.virtual_memory_limit;
    add(libc::RLIMIT_AS, limit, limit, "WSGI0078", "virtual memory limit");
    limits
}

/// The server's environment, then what the user, the language options, `environment-file` and `setenv` say.
fn environment(group: &DaemonGroup, account: Option<&Account>) -> Result<Vec<CString>, PlanError> {
    let mut values: BTreeMap<Vec<u8>, Vec<u8>> =
        std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
    if let Some(account) = account {
        values.insert(b"HOME".to_vec(), account.home.to_bytes().to_vec());
        for name in [&b"USER"[..], b"USERNAME", b"LOGNAME"] {
            if let Some(value) = values.get_mut(name) {
                *value = account.name.to_bytes().to_vec();
            }
        }
    }
    for (name, value) in [(&b"LANG"[..], &group.lang), (b"LC_ALL", &group.locale)] {
        if let Some(value) = value {
            values.insert(name.to_vec(), value.clone());
        }
    }
    if let Some(file) = &group.environment_file {
        let shown = || String::from_utf8_lossy(file).into_owned();
        let text = std::fs::read(Path::new(OsStr::from_bytes(file)))
            .map_err(|error| PlanError::EnvironmentFile(shown(), error))?;
        values.extend(environment_lines(&text).map_err(|line| PlanError::EnvironmentLine(shown(), line))?);
    }
    values.extend(group.environment.iter().cloned());
    let entries = values.into_iter().map(|(mut name, value)| {
        name.push(b'=');
        name.extend_from_slice(&value);
        CString::new(name)
    });
    Ok(entries.collect::<Result<_, _>>()?)
}

/// The name and value of an environment variable.
type Variable = (Vec<u8>, Vec<u8>);

/// `NAME=VALUE` lines; empty ones and those that begin with `#` are passed over. The error is the line's number.
fn environment_lines(text: &[u8]) -> Result<Vec<Variable>, usize> {
    let mut found = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let Some(end) = line.iter().position(|byte| *byte == b'=').filter(|end| *end > 0) else {
            return Err(number + 1);
        };
        found.push((line[..end].trim_ascii().to_vec(), line[end + 1..].trim_ascii().to_vec()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_is_lines() {
        let text = b"# a comment\nA=1\n\n  B = two words \nURL=http://x/?a=b\n";
        let expected: Vec<Variable> = [("A", "1"), ("B", "two words"), ("URL", "http://x/?a=b")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        assert_eq!(environment_lines(text), Ok(expected));
        assert_eq!(environment_lines(b"A=1\nnonsense\n"), Err(2));
        assert_eq!(environment_lines(b"=x\n"), Err(1));
    }

    #[test]
    fn sealed_memory_cannot_change() {
        let memory = sealed(c"test", b"content").expect("memory");
        let file = std::fs::File::from(memory);
        assert!(std::os::unix::fs::FileExt::write_all_at(&file, b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
    }
}
