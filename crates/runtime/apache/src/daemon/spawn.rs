//! Starting one daemon process: fork, everything that has to happen before the engine may run, exec.
//!
//! Nothing that can fail is left out: a process that cannot become what the configuration says reports why and ends.

use std::ffi::{CString, c_int, c_uint};
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::launch::{LAUNCH_DESCRIPTOR, LEAVE};
use wsgi_protocol::line::{self, Origin};

use super::siblings;
use crate::guard::wall;

/// The exit status of a process that could not be set up (`EX_OSERR`).
pub(crate) const SETUP_FAILED: c_int = 71;

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// All supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// `RLIMIT_…`
    pub(crate) resource: c_uint,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
    /// The code of the warning when it cannot be set.
    pub(crate) code: &'static str,
    /// What it is called in that warning.
    pub(crate) name: &'static str,
}

/// What is the same for every start of a group's processes.
#[derive(Debug)]
pub(crate) struct Program {
    /// The group's name, for texts.
    pub(crate) group: String,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    /// `None`: the server was not started as root, and the process stays what it is.
    pub(crate) identity: Option<Identity>,
    /// It keeps the one privilege that it needs to change its root directory, which is the first thing it does.
    pub(crate) confines_itself: bool,
    /// Where to go, and the number of the code of a failure to do so.
    pub(crate) directory: Option<(CString, u16)>,
    /// Its priority, as `nice` has it; 0 leaves it as it is.
    pub(crate) nice: c_int,
    pub(crate) umask: Option<u32>,
    pub(crate) limits: Vec<Limit>,
    /// The executable, opened when the configuration was checked.
    pub(crate) engine: RawFd,
    /// For the line that announces the start.
    pub(crate) threads: u32,
}

/// The descriptors that a process gets, by their numbers in the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    pub(crate) launch: RawFd,
    /// `None`: the process is a loader.
    pub(crate) listener: Option<RawFd>,
    pub(crate) log: RawFd,
    pub(crate) page: RawFd,
    pub(crate) control: RawFd,
    pub(crate) overflow: Option<RawFd>,
    pub(crate) predecessor: Option<RawFd>,
    /// `rolling=On`: see [`wsgi_protocol::launch::Descriptors`].
    pub(crate) bell: Option<RawFd>,
    pub(crate) scripts: Option<RawFd>,
    pub(crate) inherited_scripts: Option<RawFd>,
    /// Standard output and error.
    pub(crate) output: RawFd,
}

/// Their numbers in the daemon.
pub(crate) mod number {
    use std::os::fd::RawFd;

    pub(crate) const LISTENER: RawFd = 4;
    pub(crate) const LOG: RawFd = 5;
    pub(crate) const PAGE: RawFd = 6;
    pub(crate) const CONTROL: RawFd = 7;
    pub(crate) const OVERFLOW: RawFd = 8;
    pub(crate) const PREDECESSOR: RawFd = 9;
    /// The engine, gone with exec.
    pub(super) const ENGINE: RawFd = 10;
    pub(crate) const BELL: RawFd = 11;
    pub(crate) const SCRIPTS: RawFd = 12;
    pub(crate) const INHERITED_SCRIPTS: RawFd = 13;
    /// The first number that is free.
    pub(super) const END: RawFd = 14;
}

/// Starts a process, which waits for `delay` before it does anything. Returns its pid; what fails in the process is in
/// the log.
pub(crate) fn start(program: &Program, sources: Sources, delay: Duration) -> io::Result<libc::pid_t> {
    let null = c"/dev/null";
    // SAFETY: plain calls; the child never returns from `become_daemon`. It has only the thread that forked, so what
    // it does before exec may allocate: glibc keeps its allocator usable in it.
    unsafe {
        let input = libc::open(null.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if input < 0 {
            return Err(io::Error::last_os_error());
        }
        // A signal for the new process must not run the server's handler in it, which would only note it: it waits until
        // the process has handlers of its own. `prepare` lets it through.
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut present: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut present);
        let pid = siblings::of_our_own(|| libc::fork());
        if pid == 0 {
            become_daemon(program, sources, input, delay);
        }
        let result = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const present, std::ptr::null_mut());
        libc::close(input);
        result
    }
}

/// The new process from here on.
fn become_daemon(program: &Program, sources: Sources, input: RawFd, delay: Duration) -> ! {
    wall("the start of a daemon process", (), || {
        let failure = prepare(program, sources, input, delay).map_or_else(|failure| failure, |never| match never {});
        failure.report(&program.group);
    });
    // SAFETY: nothing of the server may run in this process any more.
    unsafe { libc::_exit(SETUP_FAILED) }
}

/// What could not be done.
pub(super) struct SetupFailure {
    pub(super) code: &'static str,
    pub(super) what: String,
    pub(super) error: io::Error,
}

impl SetupFailure {
    fn last(code: &'static str, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), error: io::Error::last_os_error() }
    }

    fn report(&self, group: &str) {
        let Self { code, what, error } = self;
        say(Level::Alert, &format!("{code}: {what} for daemon process '{group}' ({error})."));
        say(
            Level::Alert,
            &format!(
                "WSGI0025: Daemon process configuration failed; process left in unspecified state. Daemon process \
                 '{group}' ends and is started again after a delay."
            ),
        );
    }
}

/// Writes to the server's log; its socket has its number already. A log that accepts nothing must not keep the process
/// from being started.
fn say(level: Level, text: &str) {
    let record = Record { level: level as u8, line: 0, file: Bytes::NONE, text: Bytes::new(text.as_bytes()), json: 0 };
    let pid = std::process::id();
    let packet = line::encode(Origin { pid, tid: pid }, &record);
    // SAFETY: the packet lives across the call.
    unsafe { libc::send(number::LOG, packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
}

fn check(result: c_int, code: &'static str, what: &str) -> Result<(), SetupFailure> {
    if result < 0 { Err(SetupFailure::last(code, what)) } else { Ok(()) }
}

enum Never {}

fn prepare(program: &Program, sources: Sources, input: RawFd, delay: Duration) -> Result<Never, SetupFailure> {
    // First of all the descriptors: none of the server's is left when anything else happens.
    let placed = place_descriptors(program, sources, input);
    // SAFETY: plain calls on this process.
    unsafe {
        check(libc::setpgid(0, 0), "WSGI0025", "Unable to leave the server's process group")?;
        for signal in 1..=64 {
            // Those that cannot be set have their default.
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    // A process that has none ends, and the next one would follow at once.
    wait(delay, sources);
    placed?;
    let (group, threads) = (&program.group, program.threads);
    let what = if sources.listener.is_some() { "daemon process" } else { "the loader of daemon process group" };
    say(
        Level::Info,
        &match &program.identity {
            Some(Identity { user, group: gid, .. }) => {
                format!("Starting {what} '{group}' with uid={user}, gid={gid} and threads={threads}.")
            }
            None => format!("Starting {what} '{group}' with threads={threads}."),
        },
    );
    // SAFETY: no pointers.
    if program.nice != 0 && unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, program.nice) } < 0 {
        let error = io::Error::last_os_error();
        let nice = program.nice;
        say(
            Level::Warning,
            &format!("WSGI0075: Unable to set CPU priority to {nice} for daemon process '{group}' ({error})."),
        );
    }
    for limit in &program.limits {
        let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
        // SAFETY: the value lives across the call.
        if unsafe { libc::setrlimit(limit.resource, &raw const value) } < 0 {
            let Limit { code, name, .. } = limit;
            let error = io::Error::last_os_error();
            say(
                Level::Warning,
                &format!("{code}: Unable to set {name} for daemon process '{}' ({error}).", program.group),
            );
        }
    }
    if let Some(identity) = &program.identity {
        assume(identity, program.confines_itself)?;
    }
    if let Some(umask) = program.umask {
        // SAFETY: cannot fail.
        unsafe { libc::umask(umask) };
    }
    if let Some((directory, code)) = &program.directory {
        // SAFETY: a C string.
        let result = unsafe { libc::chdir(directory.as_ptr()) };
        let directory = directory.to_string_lossy();
        if *code == 9 {
            check(result, "WSGI0009", &format!("Unable to change working directory to '{directory}'"))?;
        } else if result < 0 {
            let error = io::Error::last_os_error();
            say(
                Level::Warning,
                &format!(
                    "WSGI0010: Unable to change working directory to home directory '{directory}' for daemon process \
                     '{group}' ({error}). The process stays in '/'."
                ),
            );
            // SAFETY: a C string. There is always a root directory.
            unsafe { libc::chdir(c"/".as_ptr()) };
        }
    }
    let pointers = |texts: &[CString]| -> Vec<*const std::ffi::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(&program.arguments), pointers(&program.environment));
    // SAFETY: both lists end with null and their texts live across the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            number::ENGINE,
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    Err(SetupFailure::last("WSGI0025", "Unable to execute the engine"))
}

/// Gives every inherited descriptor its number and closes all others. When that cannot be done those are left that are needed to
/// wait and to say so: a number that is in use can be had in a table that is full.
fn place_descriptors(program: &Program, sources: Sources, input: RawFd) -> Result<(), SetupFailure> {
    let mut moves = vec![
        (input, 0),
        (sources.output, 1),
        (sources.output, 2),
        (sources.launch, LAUNCH_DESCRIPTOR),
        (sources.log, number::LOG),
        (sources.page, number::PAGE),
        (sources.control, number::CONTROL),
        (program.engine, number::ENGINE),
    ];
    moves.extend(sources.listener.map(|source| (source, number::LISTENER)));
    moves.extend(sources.overflow.map(|source| (source, number::OVERFLOW)));
    moves.extend(sources.predecessor.map(|source| (source, number::PREDECESSOR)));
    moves.extend(sources.bell.map(|source| (source, number::BELL)));
    moves.extend(sources.scripts.map(|source| (source, number::SCRIPTS)));
    moves.extend(sources.inherited_scripts.map(|source| (source, number::INHERITED_SCRIPTS)));
    // SAFETY: plain calls on this process's descriptors.
    unsafe {
        // A number below may be the source of another: none is taken before all sources lie above.
        for (source, _) in &mut moves {
            *source = libc::fcntl(*source, libc::F_DUPFD, number::END);
            if *source < 0 {
                let failure = SetupFailure::last("WSGI0025", "Unable to collect the inherited descriptors");
                keep_alone(sources.log, sources.control);
                return Err(failure);
            }
        }
        for number in 0..number::END {
            libc::close(number);
        }
        for (source, target) in moves {
            check(libc::dup2(source, target), "WSGI0025", "Unable to place the inherited descriptors")?;
        }
        libc::fcntl(number::ENGINE, libc::F_SETFD, libc::FD_CLOEXEC);
        close_from(number::END, RawFd::MAX);
    }
    Ok(())
}

/// Gives the log and the control pipe their numbers and closes everything else.
///
/// # Safety
/// This process has no use for the rest.
unsafe fn keep_alone(log: RawFd, control: RawFd) {
    // SAFETY: promised by the caller.
    unsafe {
        // The one that is in the other's place goes first.
        let (first, second) = ((log, number::LOG), (control, number::CONTROL));
        let pairs = if control == number::LOG { [second, first] } else { [first, second] };
        for (source, target) in pairs {
            libc::dup2(source, target);
        }
    }
    close_from(0, number::LOG - 1);
    close_from(number::LOG + 1, number::CONTROL - 1);
    close_from(number::CONTROL + 1, RawFd::MAX);
}

/// Closes the descriptors from the first to the last of these numbers, as far as they are open.
pub(super) fn close_from(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: plain calls on descriptors of this process, which has no use for them.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first.cast_unsigned(), last.cast_unsigned(), 0) < 0 {
            // A kernel before 5.9.
            close_one_by_one(first, last);
        }
    }
}

/// # Safety
/// This process has no use for them.
unsafe fn close_one_by_one(first: RawFd, last: RawFd) {
    // SAFETY: promised by the caller; a zeroed limit is valid.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let most = RawFd::try_from(limit.rlim_cur.min(1 << 20)).unwrap_or(1 << 20);
        for descriptor in first..=last.min(most) {
            libc::close(descriptor);
        }
    }
}

/// Waits, or ends: with the server, or when another successor serves, which is to be passed on to the process that this
/// one was to replace. Orders for a loader may come meanwhile.
fn wait(delay: Duration, sources: Sources) {
    if delay.is_zero() {
        return;
    }
    let events = if sources.listener.is_none() { 0 } else { libc::POLLIN };
    let mut entry = libc::pollfd { fd: number::CONTROL, events, revents: 0 };
    let milliseconds = c_int::try_from(delay.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: one entry; writes one byte from one. A predecessor that has gone is not to end the process otherwise.
    unsafe {
        if libc::poll(&raw mut entry, 1, milliseconds) > 0 {
            if entry.revents & libc::POLLIN != 0 && sources.predecessor.is_some() {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                libc::write(number::PREDECESSOR, [LEAVE].as_ptr().cast(), 1);
            }
            libc::_exit(0);
        }
    }
}

/// `struct __user_cap_header_struct`: version 3, this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION: u32 = 0x2008_0522;
const CAP_SYS_CHROOT: u32 = 18;

/// Keeps the one privilege to change the root directory, also across exec. The process is nobody special already.
fn keep_chroot() -> Result<(), SetupFailure> {
    let what = "Unable to keep the privilege to change the root directory";
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let only = 1 << CAP_SYS_CHROOT;
    let wanted = [Capabilities { effective: only, permitted: only, inheritable: only }, Capabilities::default()];
    // SAFETY: the structures are those of version 3 and live across the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, wanted.as_ptr()) };
    check(c_int::try_from(result).unwrap_or(-1), "WSGI0003", what)?;
    // SAFETY: no pointers.
    let result = unsafe {
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(CAP_SYS_CHROOT), 0, 0)
    };
    check(result, "WSGI0003", what)
}

/// Becomes somebody else, for good.
pub(super) fn assume(identity: &Identity, confines_itself: bool) -> Result<(), SetupFailure> {
    let Identity { user, group, groups } = identity;
    // SAFETY: plain calls on this process; the list lives across the call.
    unsafe {
        let what = format!("Unable to set group id to gid={group}");
        if *group == u32::MAX {
            // `Group #-1`: to the kernel it means "leave the group as it is", which is root's.
            return Err(SetupFailure { code: "WSGI0004", what, error: io::Error::from_raw_os_error(libc::EINVAL) });
        }
        check(libc::setresgid(*group, *group, *group), "WSGI0004", &what)?;
        check(libc::setgroups(groups.len(), groups.as_ptr()), "WSGI0005", "Unable to set supplementary groups")?;
        if confines_itself {
            check(
                libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0),
                "WSGI0003",
                "Unable to keep privileges for a moment",
            )?;
        }
        check(libc::setresuid(*user, *user, *user), "WSGI0007", &format!("Unable to change to uid={user}"))?;
        if confines_itself {
            keep_chroot()?;
        }
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved);
        if [real, effective, saved] != [*user; 3] || (*user != 0 && libc::setuid(0) == 0) {
            let what = format!("Privileges were not given up when changing to uid={user}");
            return Err(SetupFailure { code: "WSGI0008", what, error: io::ErrorKind::PermissionDenied.into() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_closed_on_any_kernel() {
        // SAFETY: the descriptors are this test's own: far above those of others, in a process that has no other tests.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                let open = |number| libc::fcntl(number, libc::F_GETFD) >= 0;
                let make = || (900..905).all(|number| libc::dup2(0, number) == number);
                let mut good = make();
                close_from(901, 903);
                good &= open(900) && !open(901) && !open(903) && open(904) && make();
                close_one_by_one(901, 903);
                good &= open(900) && !open(901) && !open(903) && open(904);
                libc::_exit(c_int::from(!good));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            assert_eq!(status, 0);
        }
    }

    const CAP_SETGID: u32 = 6;
    const CAP_SETUID: u32 = 7;

    /// The code of the failure to become nobody in a process that lacks a capability; 0 is success.
    fn without(capability: Option<u32>, confines_itself: bool) -> c_int {
        becoming(&Identity { user: 65534, group: 65534, groups: vec![65534] }, capability, confines_itself)
    }

    /// The same of becoming somebody else.
    fn becoming(identity: &Identity, capability: Option<u32>, confines_itself: bool) -> c_int {
        let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
        let mut own = [Capabilities::default(); 2];
        // SAFETY: the structures are those of version 3; the child ends without running anything of the test program.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::syscall(libc::SYS_capget, &raw const header, own.as_mut_ptr());
                if let Some(capability) = capability {
                    own[0].effective &= !(1 << capability);
                    own[0].permitted &= !(1 << capability);
                    libc::syscall(libc::SYS_capset, &raw const header, own.as_ptr());
                }
                let code = assume(identity, confines_itself).map_or_else(|failure| number(failure.code), |()| 0);
                libc::_exit(code);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            libc::WEXITSTATUS(status)
        }
    }

    fn number(code: &str) -> c_int {
        code.trim_start_matches("WSGI").parse().unwrap_or(-1)
    }

    // Covers: rule:daemon/privileges-or-nothing, code:WSGI0003, code:WSGI0004, code:WSGI0007
    #[test]
    fn whoever_cannot_become_somebody_else_does_not_go_on() {
        // SAFETY: cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        assert_eq!(without(None, false), 0);
        assert_eq!(without(Some(CAP_SETGID), false), 4);
        assert_eq!(without(Some(CAP_SETUID), false), 7);
        let nobody = |user, group| Identity { user, group, groups: vec![65534] };
        assert_eq!(becoming(&nobody(65534, u32::MAX), None, false), 4, "the kernel would leave root's group");
        assert_eq!(becoming(&nobody(u32::MAX, 65534), None, false), 8, "the kernel would leave root");
        assert_eq!(without(None, true), 0);
        assert_eq!(without(Some(CAP_SYS_CHROOT), true), 3);
    }
}
