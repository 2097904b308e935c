//! The options of `WSGIDaemonProcess`: one table. A new one is an entry here and, when it has a value of its own, a field
//! of [`crate::directives::daemon_group::DaemonGroup`].

use crate::directives::daemon_group::Handover;
use crate::directives::daemon_reading::{DaemonOption, Value, directory};
use crate::directives::spec::{Refusal, flag};
use crate::directives::words::positive_seconds;

use Value::{Own, Seconds, Size, Text};

/// The options, in the reference's order; ours at the end.
pub(crate) const OPTIONS: &[DaemonOption] = &[
    DaemonOption::new(
        "processes",
        "1",
        "process count",
        "Number of processes.",
        Own(|reading, value| {
            reading.group.processes = reading.small(value, 1)?;
            reading.group.multiprocess = true;
            Ok(())
        }),
    )
    .syntax("NUMBER"),
    DaemonOption::new(
        "threads",
        "15",
        "thread count",
        "Threads per process; 0 is a service process.",
        Own(|reading, value| {
            let threads = reading.small(value, 0)?;
            if threads > wsgi_protocol::page::MAX_THREADS {
                return Err(reading.option.invalid());
            }
            reading.group.threads = threads;
            Ok(())
        }),
    )
    .syntax("NUMBER"),
    DaemonOption::new(
        "user",
        "Apache's User",
        "user",
        "User that the processes run as; needs a start as root.",
        Own(|reading, value| {
            let user = reading.user(value)?;
            if user.id == 0 {
                return Err(Refusal::new("WSGI process blocked from running as root."));
            }
            if user.name.is_none() && reading.root {
                return Err(Refusal::new("Couldn't determine user name from uid."));
            }
            reading.group.user = Some(user);
            Ok(())
        }),
    )
    .syntax("NAME|#ID"),
    DaemonOption::new(
        "group",
        "Apache's Group",
        "group",
        "Group that the processes run as.",
        Own(|reading, value| {
            reading.group.group = Some(reading.group_id(value)?);
            Ok(())
        }),
    )
    .syntax("NAME|#ID"),
    DaemonOption::new(
        "supplementary-groups",
        "the user's groups",
        "supplementary groups",
        "Further groups of the processes.",
        Own(|reading, value| {
            let mut ids = Vec::new();
            for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
                ids.push(reading.group_id(name)?);
            }
            reading.group.supplementary_groups = Some(ids);
            Ok(())
        }),
    )
    .syntax("NAME,…"),
    DaemonOption::new(
        "umask",
        "Apache's",
        "umask",
        "File mode mask of the processes.",
        Own(|reading, value| {
            let octal = value.iter().all(|byte| matches!(byte, b'0'..=b'7'));
            let digits = std::str::from_utf8(value).ok().filter(|_| octal);
            let mask = digits.and_then(|text| u32::from_str_radix(text, 8).ok());
            // As umask() itself does, which knows permissions only.
            reading.group.umask = Some(mask.ok_or_else(|| reading.option.invalid())? & 0o777);
            Ok(())
        }),
    )
    .syntax("OCTAL"),
    DaemonOption::new(
        "chroot",
        "",
        "chroot",
        "Root directory of the processes.",
        Own(|reading, value| {
            if !reading.root {
                return Err(Refusal::new("Cannot chroot WSGI daemon process when not root."));
            }
            reading.group.chroot = Some(directory(value, "chroot")?);
            Ok(())
        }),
    )
    .syntax("DIRECTORY"),
    DaemonOption::new(
        "home",
        "the user's home if that is not Apache's User",
        "home",
        "Working directory, and first entry of sys.path.",
        Own(|reading, value| {
            reading.group.home = Some(directory(value, "home")?);
            Ok(())
        }),
    )
    .syntax("DIRECTORY"),
    DaemonOption::new("lang", "", "lang", "LANG of the processes.", Text(|group| &mut group.lang)),
    DaemonOption::new("locale", "", "locale", "LC_ALL of the processes.", Text(|group| &mut group.locale)),
    DaemonOption::new(
        "python-home",
        "WSGIPythonHome",
        "python home",
        "Python installation or virtual environment.",
        Text(|group| &mut group.python_home),
    )
    .syntax("DIRECTORY"),
    DaemonOption::new(
        "python-path",
        "",
        "python path",
        "Directories put in front of sys.path, with `:` between them.",
        Text(|group| &mut group.python_path),
    )
    .syntax("DIRECTORY:…"),
    DaemonOption::new(
        "python-eggs",
        "",
        "python eggs",
        "Directory that eggs are unpacked into.",
        Text(|group| &mut group.python_eggs),
    )
    .syntax("DIRECTORY"),
    DaemonOption::new(
        "switch-interval",
        "Python's",
        "switch interval",
        "Python's switch interval.",
        Own(|reading, value| {
            let seconds = positive_seconds(value).ok_or_else(|| reading.option.invalid())?;
            reading.group.switch_interval = Some(seconds);
            Ok(())
        }),
    )
    .syntax("SECONDS"),
    DaemonOption::new(
        "stack-size",
        "the system's",
        "stack size",
        "Stack of a worker thread.",
        Own(|reading, value| {
            reading.group.stack_size = reading.number(value, 1)?.unsigned_abs();
            Ok(())
        }),
    )
    .syntax("BYTES"),
    DaemonOption::new(
        "maximum-requests",
        "0",
        "request count",
        "A process is replaced after so many requests; 0 is never.",
        Size(|group| &mut group.maximum_requests),
    )
    .syntax("NUMBER"),
    DaemonOption::new(
        "startup-timeout",
        "0",
        "startup timeout",
        "Time from the first request until its script is loaded.",
        Seconds(|group| &mut group.timeouts.startup),
    ),
    DaemonOption::new(
        "shutdown-timeout",
        "5",
        "shutdown timeout",
        "Time that a stopping process may take; 0 is without limit.",
        Seconds(|group| &mut group.timeouts.shutdown),
    ),
    DaemonOption::new(
        "deadlock-timeout",
        "300",
        "deadlock timeout",
        "A process whose interpreter lock cannot be had for so long is replaced.",
        Seconds(|group| &mut group.timeouts.deadlock),
    ),
    DaemonOption::new(
        "inactivity-timeout",
        "0",
        "inactivity timeout",
        "An idle process is replaced after this time.",
        Seconds(|group| &mut group.timeouts.inactivity),
    ),
    DaemonOption::new(
        "request-timeout",
        "0",
        "request timeout",
        "Time that a request may take.",
        Seconds(|group| &mut group.timeouts.request),
    ),
    DaemonOption::new(
        "interrupt-timeout",
        "0",
        "interrupt timeout",
        "Time for a request that was interrupted to unwind; 0 interrupts none.",
        Seconds(|group| &mut group.timeouts.interrupt),
    ),
    DaemonOption::new(
        "graceful-timeout",
        "15",
        "graceful timeout",
        "Time for requests to finish before a process is replaced.",
        Seconds(|group| &mut group.timeouts.graceful),
    ),
    DaemonOption::new(
        "eviction-timeout",
        "graceful-timeout",
        "eviction timeout",
        "The same after SIGUSR1.",
        Seconds(|group| &mut group.timeouts.eviction),
    ),
    DaemonOption::new(
        "restart-interval",
        "0",
        "restart interval",
        "A process is replaced after this time.",
        Seconds(|group| &mut group.timeouts.restart_interval),
    ),
    DaemonOption::new(
        "connect-timeout",
        "15",
        "connect timeout",
        "Time that an Apache child tries to reach a process.",
        Seconds(|group| &mut group.connect_timeout),
    ),
    DaemonOption::new(
        "socket-timeout",
        "Timeout",
        "socket timeout",
        "Time that an Apache child waits for a process to send or take data.",
        Seconds(|group| &mut group.timeouts.socket),
    ),
    DaemonOption::new(
        "queue-timeout",
        "0",
        "queue timeout",
        "Time that a request may wait for a thread.",
        Seconds(|group| &mut group.timeouts.queue),
    ),
    DaemonOption::new(
        "listen-backlog",
        "100",
        "listen backlog",
        "Connections that may wait for a process.",
        Own(|reading, value| {
            reading.group.listen_backlog = reading.small(value, 0)?;
            Ok(())
        }),
    )
    .syntax("NUMBER"),
    DaemonOption::new(
        "display-name",
        "",
        "display name",
        "Name in process lists; %{GROUP} is (wsgi:NAME).",
        Text(|group| &mut group.display_name),
    ),
    DaemonOption::new(
        "send-buffer-size",
        "0",
        "send buffer size",
        "SO_SNDBUF for what processes send to Apache.",
        Own(|reading, value| {
            let text = "Send buffer size must be >= 512 bytes, or 0 for system default.";
            reading.group.send_buffer_size = reading.buffer(value, 512, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES"),
    DaemonOption::new(
        "receive-buffer-size",
        "0",
        "receive buffer size",
        "SO_RCVBUF for what processes receive from Apache.",
        Own(|reading, value| {
            let text = "Receive buffer size must be >= 512 bytes, or 0 for system default.";
            reading.group.receive_buffer_size = reading.buffer(value, 512, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES"),
    DaemonOption::new(
        "header-buffer-size",
        "32768",
        "header buffer size",
        "Longest line of a response's head; 0 is the default.",
        Own(|reading, value| {
            let text = "Header buffer size must be >= 8192 bytes, or 0 for default.";
            reading.group.header_buffer_size = reading.buffer(value, 8192, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES"),
    DaemonOption::new(
        "response-buffer-size",
        "8388608",
        "response buffer size",
        "Bytes of a response passed on without a flush; 0 is the default.",
        Own(|reading, value| {
            let text = "Response buffer size must be >= 65536 bytes, or 0 for default.";
            reading.group.response_buffer_size = reading.buffer(value, 65536, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES"),
    DaemonOption::new(
        "response-socket-timeout",
        "socket-timeout",
        "response socket timeout",
        "Time that a client may take nothing.",
        Seconds(|group| &mut group.response_socket_timeout),
    ),
    DaemonOption::new(
        "response-flush-delay",
        "5",
        "response flush delay",
        "Milliseconds to wait for more data before a flush.",
        Own(|reading, value| {
            reading.group.response_flush_delay = reading.number(value, 0)?.unsigned_abs();
            Ok(())
        }),
    )
    .syntax("MILLISECONDS"),
    DaemonOption::new(
        "socket-user",
        "Apache's User",
        "socket user",
        "Owner of the socket files.",
        Own(|reading, value| {
            let user = reading.user(value)?;
            if user.name.is_none() {
                return Err(Refusal::new("Couldn't determine user name from socket user."));
            }
            reading.group.socket_user = Some(user);
            Ok(())
        }),
    )
    .syntax("NAME|#ID"),
    DaemonOption::new(
        "script-user",
        "",
        "script user",
        "Scripts must belong to this user.",
        Own(|reading, value| {
            if reading.group.script_group.is_some() {
                return Err(Refusal::new("Only one of script-user and script-group allowed."));
            }
            let name = reading.user(value)?.name;
            let name = name.ok_or_else(|| Refusal::new("Couldn't determine uid from script user."))?;
            reading.group.script_user = Some(name.into_bytes());
            Ok(())
        }),
    )
    .syntax("NAME|#ID"),
    DaemonOption::new(
        "script-group",
        "",
        "script group",
        "Scripts must belong to this group.",
        Own(|reading, value| {
            if reading.group.script_user.is_some() {
                return Err(Refusal::new("Only one of script-user and script-group allowed."));
            }
            reading.group.script_group = Some(reading.group_name(value)?);
            Ok(())
        }),
    )
    .syntax("NAME|#ID"),
    DaemonOption::new(
        "cpu-time-limit",
        "0",
        "CPU time limit",
        "CPU seconds of a process.",
        Own(|reading, value| {
            reading.group.cpu_time_limit = reading.number(value, 0)?.unsigned_abs();
            Ok(())
        }),
    )
    .syntax("SECONDS"),
    DaemonOption::new(
        "cpu-priority",
        "0",
        "CPU priority",
        "Nice value of the processes.",
        Own(|reading, value| {
            let nice = i32::try_from(reading.number(value, i64::MIN)?).map_err(|_| reading.option.invalid())?;
            reading.group.cpu_priority = nice;
            Ok(())
        }),
    )
    .syntax("NUMBER"),
    DaemonOption::new(
        "memory-limit",
        "0",
        "memory limit",
        "RLIMIT_DATA of a process.",
        Size(|group| &mut group.memory_limit),
    ),
    DaemonOption::new(
        "virtual-memory-limit",
        "0",
        "virtual memory limit",
        "RLIMIT_AS of a process.",
        Size(|group| &mut group.virtual_memory_limit),
    ),
    DaemonOption::new(
        "server-metrics",
        "Off",
        "server metrics flag",
        "Allow mod_wsgi.server_metrics().",
        Own(|reading, value| {
            reading.group.server_metrics = flag(value).ok_or_else(|| reading.option.invalid())?;
            Ok(())
        }),
    )
    .syntax("On|Off"),
    DaemonOption::new(
        "python",
        "the version of python-home, else WSGIPython, else the version of WSGIPythonHome",
        "python version",
        "Engine that runs the group.",
        Own(|reading, value| {
            let version = String::from_utf8_lossy(value).into_owned();
            if !crate::engines::is_version(&version) {
                return Err(reading.option.invalid());
            }
            reading.group.python = Some(version);
            Ok(())
        }),
    )
    .syntax("X.Y")
    .extension(),
    DaemonOption::new(
        "setenv",
        "",
        "environment variable",
        "A variable of the processes' environment.",
        Own(|reading, value| {
            let split = value.iter().position(|byte| *byte == b'=').filter(|position| *position > 0);
            let Some(split) = split else { return Err(reading.option.invalid()) };
            reading.group.environment.push((value[..split].to_vec(), value[split + 1..].to_vec()));
            Ok(())
        }),
    )
    .syntax("NAME=VALUE")
    .extension(),
    DaemonOption::new(
        "environment-file",
        "",
        "environment file",
        "File of NAME=VALUE lines for the processes' environment.",
        Own(|reading, value| {
            if !value.starts_with(b"/") {
                return Err(reading.option.invalid());
            }
            reading.group.environment_file = Some(value.to_vec());
            Ok(())
        }),
    )
    .syntax("FILE")
    .extension(),
    DaemonOption::new(
        "handover",
        "overlap; sequential with threads=0",
        "handover",
        "Whether a process overlaps with its successor, or ends before that starts.",
        Own(|reading, value| {
            reading.group.handover = Some(match value.to_ascii_lowercase().as_slice() {
                b"overlap" => Handover::Overlap,
                b"sequential" => Handover::Sequential,
                _ => return Err(reading.option.invalid()),
            });
            Ok(())
        }),
    )
    .syntax("overlap|sequential")
    .extension(),
    DaemonOption::new(
        "handover-timeout",
        "300",
        "handover timeout",
        "Time for requests to finish once a successor serves; 0 is without limit.",
        Seconds(|group| &mut group.timeouts.handover),
    )
    .extension(),
    DaemonOption::new(
        "rolling",
        "Off",
        "rolling flag",
        "Restart one process at a time.",
        Own(|reading, value| {
            reading.group.rolling = flag(value).ok_or_else(|| reading.option.invalid())?;
            Ok(())
        }),
    )
    .syntax("On|Off")
    .extension(),
    DaemonOption::new(
        "fork-after-load",
        "Off",
        "fork-after-load flag",
        "Load once, then fork the workers.",
        Own(|reading, value| {
            reading.group.fork_after_load = flag(value).ok_or_else(|| reading.option.invalid())?;
            Ok(())
        }),
    )
    .syntax("On|Off")
    .extension(),
];

/// The names of all options.
pub(crate) const NAMES: &[&str] = &{
    let mut names = [""; OPTIONS.len()];
    let mut index = 0;
    while index < OPTIONS.len() {
        names[index] = OPTIONS[index].name;
        index += 1;
    }
    names
};
