//! How a daemon process ended.

use std::os::fd::RawFd;

use wsgi_protocol::launch::DESCRIPTORS_LOST;

/// The way a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

const NAMES: &[(i32, &str)] = &[
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    (libc::SIGSYS, "SIGSYS"),
];

/// Signals that end processes which did not ask for it; as exit statuses these numbers are unusual.
const FATAL: [i32; 9] = [
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGKILL,
    libc::SIGSEGV,
    libc::SIGTERM,
    libc::SIGXCPU,
    libc::SIGSYS,
];

/// How many bytes of requests one line names at most; Apache cuts lines at some 8000.
const NAMED: usize = 4000;

impl Death {
    /// Of a status as `waitpid` gives it.
    pub(crate) fn of_wait_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Exit(libc::WEXITSTATUS(status))
        }
    }

    /// Of the number that Apache passes on: an exit status or a signal, without saying which.
    fn of_number(number: i32) -> Self {
        match number {
            // While it reclaims processes at a restart, Apache passes the status itself.
            256.. => Self::of_wait_status(number),
            _ if FATAL.contains(&number) => Self::Signal(number),
            _ => Self::Exit(number),
        }
    }

    /// What became of it.
    pub(crate) fn cause(self) -> String {
        match self {
            Self::Exit(255) => "ended because its shutdown took too long (exit code 255)".to_owned(),
            Self::Exit(DESCRIPTORS_LOST) => {
                format!("ended because the application had closed its descriptors (exit code {DESCRIPTORS_LOST})")
            }
            Self::Exit(code) => format!("ended with exit code {code}"),
            Self::Signal(signal) => match NAMES.iter().find(|(number, _)| *number == signal) {
                Some((_, name)) => format!("died of signal {signal} ({name})"),
                None => format!("died of signal {signal}"),
            },
        }
    }

    /// Who ended, and why.
    pub(crate) fn describe(self, pid: i32, group: &str) -> String {
        format!("pid {pid} of group '{group}' {}", self.cause())
    }

    /// The lines about an end: who, why, and each request that was lost. There is more than one when the requests are too
    /// many for one.
    pub(crate) fn describe_with(self, pid: i32, group: &str, serving: &[String]) -> Vec<String> {
        let end = self.describe(pid, group);
        let mut lines: Vec<String> = Vec::new();
        let mut full = end.len();
        for request in serving {
            match lines.last_mut().filter(|line| line.len() + request.len() <= full + NAMED) {
                Some(line) => {
                    line.push_str(", ");
                    line.push_str(request);
                }
                None => {
                    let joint = if lines.is_empty() { "while serving" } else { "while serving also" };
                    full = end.len() + joint.len();
                    lines.push(format!("{end} {joint} {request}"));
                }
            }
        }
        if lines.is_empty() {
            lines.push(end);
        }
        lines
    }
}

/// `struct pidfd_info` of Linux 6.13 and later, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    identities: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` with the size that all kernels know.
const PIDFD_GET_INFO: libc::c_ulong = 3 << 30 | (size_of::<PidfdInfo>() as libc::c_ulong) << 16 | 0xff << 8 | 11;

/// Finds out how a process ended that was waited for already: by its handle where the kernel keeps the status there,
/// else from the number that Apache passes on.
pub(crate) fn find(handle: Option<RawFd>, number: i32) -> Death {
    if let Some(handle) = handle {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the kernel writes at most as many bytes as the request's number says.
        let result = unsafe { libc::ioctl(handle, PIDFD_GET_INFO, &raw mut info) };
        if result == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
            return Death::of_wait_status(info.exit_code);
        }
    }
    Death::of_number(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_pid_cause_group_and_request() {
        let serving = vec!["GET /x".to_owned()];
        let end = "pid 4711 of group 'web' died of signal 11 (SIGSEGV)";
        assert_eq!(Death::Signal(11).describe_with(4711, "web", &serving), [format!("{end} while serving GET /x")]);
        assert_eq!(Death::Exit(3).describe_with(1, "web", &[]), ["pid 1 of group 'web' ended with exit code 3"]);
        let many: Vec<String> = (0..200).map(|number| format!("GET /{number:0>60}")).collect();
        let lines = Death::Signal(11).describe_with(4711, "web", &many);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() < 5000 && line.starts_with(end)), "{lines:?}");
        let named: usize = lines.iter().map(|line| line.matches("GET /0").count()).sum();
        assert_eq!(named, many.len());
    }

    #[test]
    fn apaches_number_is_read_as_what_it_most_likely_is() {
        assert_eq!(Death::of_number(0), Death::Exit(0));
        assert_eq!(Death::of_number(3), Death::Exit(3));
        assert_eq!(Death::of_number(11), Death::Signal(11));
        assert_eq!(Death::of_number(3 << 8), Death::Exit(3));
    }

    #[test]
    fn the_handle_tells_exit_statuses_from_signals() {
        // SAFETY: the child calls nothing but _exit and is waited for.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::_exit(11);
            }
            let handle = RawFd::try_from(libc::syscall(libc::SYS_pidfd_open, pid, 0)).expect("a descriptor");
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
            assert_eq!(Death::of_wait_status(status), Death::Exit(11));
            let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
            if libc::ioctl(handle, PIDFD_GET_INFO, &raw mut info) == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
                assert_eq!(find(Some(handle), 11), Death::Exit(11));
            }
            libc::close(handle);
        }
    }
}
