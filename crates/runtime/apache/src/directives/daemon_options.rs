//! The options of `WSGIDaemonProcess`: one table, and what a definition comes to.

use std::ffi::CStr;

use wsgi_protocol::launch::Timeouts;

use crate::directives::spec::{Refusal, Support, flag};
use crate::directives::words::{leading_integer, next_option, positive_seconds};
use crate::host::{Pool, Server, User, group_id, user};

/// A daemon process group as it was defined.
#[derive(Clone, Debug)]
pub(crate) struct DaemonGroup {
    /// Its name.
    pub(crate) name: Vec<u8>,
    /// Where it was defined.
    pub(crate) server: Server<'static>,
    pub(crate) processes: u32,
    /// `processes=` was given, whatever its value: `wsgi.multiprocess`.
    pub(crate) multiprocess: bool,
    /// 0 is a service process.
    pub(crate) threads: u32,
    /// `None` is Apache's user.
    pub(crate) user: Option<User>,
    /// `None` is Apache's group.
    pub(crate) group: Option<u32>,
    /// `None` are the user's groups.
    pub(crate) supplementary_groups: Option<Vec<u32>>,
    pub(crate) umask: Option<u32>,
    pub(crate) chroot: Option<Vec<u8>>,
    pub(crate) home: Option<Vec<u8>>,
    pub(crate) lang: Option<Vec<u8>>,
    pub(crate) locale: Option<Vec<u8>>,
    pub(crate) python_home: Option<Vec<u8>>,
    pub(crate) python_path: Option<Vec<u8>>,
    pub(crate) python_eggs: Option<Vec<u8>>,
    /// `python=`: the engine's version.
    pub(crate) python: Option<String>,
    pub(crate) switch_interval: Option<f64>,
    pub(crate) stack_size: u64,
    pub(crate) maximum_requests: u64,
    /// Milliseconds; `socket` 0 is Apache's `Timeout`.
    pub(crate) timeouts: Timeouts,
    /// Milliseconds.
    pub(crate) connect_timeout: u64,
    /// Milliseconds; 0 is `socket-timeout`.
    pub(crate) response_socket_timeout: u64,
    pub(crate) listen_backlog: u32,
    pub(crate) display_name: Option<Vec<u8>>,
    pub(crate) send_buffer_size: u32,
    pub(crate) receive_buffer_size: u32,
    /// 0 is the default.
    pub(crate) header_buffer_size: u32,
    /// 0 is the default.
    pub(crate) response_buffer_size: u32,
    /// Milliseconds.
    pub(crate) response_flush_delay: u64,
    /// The owner of the socket files; `None` is Apache's user.
    pub(crate) socket_user: Option<User>,
    pub(crate) script_user: Option<Vec<u8>>,
    pub(crate) script_group: Option<Vec<u8>>,
    /// Seconds.
    pub(crate) cpu_time_limit: u64,
    pub(crate) cpu_priority: i32,
    pub(crate) memory_limit: u64,
    pub(crate) virtual_memory_limit: u64,
    pub(crate) server_metrics: bool,
    /// `setenv=`, in order.
    pub(crate) environment: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) environment_file: Option<Vec<u8>>,
}

impl DaemonGroup {
    /// A group with the defaults of the table.
    pub(crate) fn new(name: Vec<u8>, server: Server<'static>) -> Self {
        Self {
            name,
            server,
            processes: 1,
            multiprocess: false,
            threads: 15,
            user: None,
            group: None,
            supplementary_groups: None,
            umask: None,
            chroot: None,
            home: None,
            lang: None,
            locale: None,
            python_home: None,
            python_path: None,
            python_eggs: None,
            python: None,
            switch_interval: None,
            stack_size: 0,
            maximum_requests: 0,
            timeouts: Timeouts { shutdown: 5_000, deadlock: 300_000, graceful: 15_000, ..Timeouts::default() },
            connect_timeout: 15_000,
            response_socket_timeout: 0,
            listen_backlog: 100,
            display_name: None,
            send_buffer_size: 0,
            receive_buffer_size: 0,
            header_buffer_size: 0,
            response_buffer_size: 0,
            response_flush_delay: 5,
            socket_user: None,
            script_user: None,
            script_group: None,
            cpu_time_limit: 0,
            cpu_priority: 0,
            memory_limit: 0,
            virtual_memory_limit: 0,
            server_metrics: false,
            environment: Vec::new(),
            environment_file: None,
        }
    }

    /// The name as text, for messages.
    pub(crate) fn display(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// What an option's value is.
pub(crate) enum Value {
    /// A path or other text.
    Text(fn(&mut DaemonGroup) -> &mut Option<Vec<u8>>),
    /// Milliseconds, given in seconds.
    Seconds(fn(&mut DaemonGroup) -> &mut u64),
    /// A number of bytes or the like, 0 or more.
    Size(fn(&mut DaemonGroup) -> &mut u64),
    /// Something with rules of its own.
    Own(fn(&mut Reading<'_>, &[u8]) -> Result<(), Refusal>),
}

/// One row of the table.
pub(crate) struct DaemonOption {
    pub(crate) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) syntax: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) default: &'static str,
    /// What the reference calls it in `Invalid … for WSGI daemon process.`
    pub(crate) noun: &'static str,
    pub(crate) support: Support,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) extension: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) help: &'static str,
    pub(crate) value: Value,
}

impl DaemonOption {
    const fn new(
        name: &'static str,
        default: &'static str,
        noun: &'static str,
        help: &'static str,
        value: Value,
    ) -> Self {
        let syntax = match value {
            Value::Text(_) => "TEXT",
            Value::Seconds(_) => "SECONDS",
            Value::Size(_) => "BYTES",
            Value::Own(_) => "VALUE",
        };
        Self { name, syntax, default, noun, support: Support::Supported, extension: false, help, value }
    }

    const fn known(self) -> Self {
        Self { support: Support::Known, ..self }
    }

    const fn extension(self) -> Self {
        Self { extension: true, ..self }
    }

    const fn syntax(self, syntax: &'static str) -> Self {
        Self { syntax, ..self }
    }

    /// The reference's refusal of a value.
    fn invalid(&self) -> Refusal {
        Refusal::new(format!("Invalid {} for WSGI daemon process.", self.noun))
    }
}

/// A definition while it is read.
pub(crate) struct Reading<'g> {
    group: &'g mut DaemonGroup,
    option: &'static DaemonOption,
    pool: Pool<'static>,
    root: bool,
}

impl Reading<'_> {
    /// A number of at least `least`, by C's rules.
    fn number(&self, value: &[u8], least: i64) -> Result<i64, Refusal> {
        let number = leading_integer(value);
        if value.is_empty() || number < least { Err(self.option.invalid()) } else { Ok(number) }
    }

    fn small(&self, value: &[u8], least: i64) -> Result<u32, Refusal> {
        u32::try_from(self.number(value, least)?).map_err(|_| self.option.invalid())
    }

    /// 0, or a number of at least `least`, with a text of its own for what lies between.
    fn buffer(&self, value: &[u8], least: u32, text: &'static str) -> Result<u32, Refusal> {
        let size = self.small(value, i64::MIN).map_err(|_| Refusal::new(text))?;
        if size == 0 || size >= least { Ok(size) } else { Err(Refusal::new(text)) }
    }

    fn text(&self, value: &[u8]) -> &'static CStr {
        self.pool.text(value)
    }

    fn user(&self, value: &[u8]) -> Result<User, Refusal> {
        if value.is_empty() {
            return Err(self.option.invalid());
        }
        user(self.pool, self.text(value))
            .ok_or_else(|| Refusal::new(format!("bad user name {}", String::from_utf8_lossy(value))))
    }

    fn group_id(&self, value: &[u8]) -> Result<u32, Refusal> {
        if value.is_empty() {
            return Err(self.option.invalid());
        }
        group_id(self.pool, self.text(value))
            .ok_or_else(|| Refusal::new(format!("bad group name {}", String::from_utf8_lossy(value))))
    }
}

fn directory(value: &[u8], what: &str) -> Result<Vec<u8>, Refusal> {
    if value.starts_with(b"/") {
        Ok(value.to_vec())
    } else {
        Err(Refusal::new(format!("Invalid {what} directory for WSGI daemon process.")))
    }
}

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
            let digits = value.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            let mask = std::str::from_utf8(&value[..digits]).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
            reading.group.umask = Some(mask.filter(|mask| *mask <= 0o777).ok_or_else(|| reading.option.invalid())?);
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
    .syntax("DIRECTORY")
    .known(),
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
    )
    .known(),
    DaemonOption::new(
        "restart-interval",
        "0",
        "restart interval",
        "A process is replaced after this time.",
        Seconds(|group| &mut group.timeouts.restart_interval),
    )
    .known(),
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
            reading.group.listen_backlog = reading.small(value, 1)?;
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
        "SO_SNDBUF of the sockets.",
        Own(|reading, value| {
            let text = "Send buffer size must be >= 512 bytes, or 0 for system default.";
            reading.group.send_buffer_size = reading.buffer(value, 512, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES")
    .known(),
    DaemonOption::new(
        "receive-buffer-size",
        "0",
        "receive buffer size",
        "SO_RCVBUF of the sockets.",
        Own(|reading, value| {
            let text = "Receive buffer size must be >= 512 bytes, or 0 for system default.";
            reading.group.receive_buffer_size = reading.buffer(value, 512, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES")
    .known(),
    DaemonOption::new(
        "header-buffer-size",
        "32768",
        "header buffer size",
        "Longest line of a response's head.",
        Own(|reading, value| {
            let text = "Header buffer size must be >= 8192 bytes, or 0 for default.";
            reading.group.header_buffer_size = reading.buffer(value, 8192, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES")
    .known(),
    DaemonOption::new(
        "response-buffer-size",
        "8388608",
        "response buffer size",
        "Bytes of a response passed on without a flush.",
        Own(|reading, value| {
            let text = "Response buffer size must be >= 65536 bytes, or 0 for default.";
            reading.group.response_buffer_size = reading.buffer(value, 65536, text)?;
            Ok(())
        }),
    )
    .syntax("BYTES")
    .known(),
    DaemonOption::new(
        "response-socket-timeout",
        "socket-timeout",
        "response socket timeout",
        "Time that a client may take nothing.",
        Seconds(|group| &mut group.response_socket_timeout),
    )
    .known(),
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
    .syntax("MILLISECONDS")
    .known(),
    DaemonOption::new(
        "socket-user",
        "Apache's User",
        "socket user",
        "Owner of the socket files.",
        Own(|reading, value| {
            reading.group.socket_user = Some(reading.user(value)?);
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
    .syntax("NAME|#ID")
    .known(),
    DaemonOption::new(
        "script-group",
        "",
        "script group",
        "Scripts must belong to this group.",
        Own(|reading, value| {
            if reading.group.script_user.is_some() {
                return Err(Refusal::new("Only one of script-user and script-group allowed."));
            }
            reading.group_id(value)?;
            reading.group.script_group = Some(value.to_vec());
            Ok(())
        }),
    )
    .syntax("NAME|#ID")
    .known(),
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
    .syntax("SECONDS")
    .known(),
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
    .syntax("NUMBER")
    .known(),
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
    )
    .known(),
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
    .syntax("On|Off")
    .known(),
    DaemonOption::new(
        "python",
        "from python-home",
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
        "rolling",
        "Off",
        "rolling flag",
        "Restart one process at a time.",
        Own(|reading, value| flag(value).map(|_| ()).ok_or_else(|| reading.option.invalid())),
    )
    .syntax("On|Off")
    .known()
    .extension(),
    DaemonOption::new(
        "fork-after-load",
        "Off",
        "fork-after-load flag",
        "Load once, then fork the workers.",
        Own(|reading, value| flag(value).map(|_| ()).ok_or_else(|| reading.option.invalid())),
    )
    .syntax("On|Off")
    .known()
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

/// Reads the options of a group's definition.
pub(crate) fn read(
    pool: Pool<'static>,
    server: Server<'static>,
    name: Vec<u8>,
    line: &[u8],
) -> Result<DaemonGroup, Refusal> {
    const INVALID: &str = "Invalid option to WSGI daemon process definition.";
    let mut group = DaemonGroup::new(name, server);
    // SAFETY: a plain call.
    let root = unsafe { libc::geteuid() } == 0;
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let (name, value) =
            next_option(&mut rest).map_err(|word| Refusal::option(INVALID, &word, NAMES.iter().copied()))?;
        let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
            return Err(Refusal::option(INVALID, &name, NAMES.iter().copied()));
        };
        if option.support == Support::Known {
            return Err(Refusal::new(format!("Option '{name}' of WSGIDaemonProcess is known, not supported yet.")));
        }
        match option.value {
            Text(_) if value.is_empty() => return Err(option.invalid()),
            Text(slot) => *slot(&mut group) = Some(value),
            Seconds(slot) | Size(slot) => {
                let number = leading_integer(&value);
                if value.is_empty() || number < 0 {
                    return Err(option.invalid());
                }
                let scale = if matches!(option.value, Seconds(_)) { 1000 } else { 1 };
                *slot(&mut group) = number.unsigned_abs().saturating_mul(scale);
            }
            Own(parse) => parse(&mut Reading { group: &mut group, option, pool, root }, &value)?,
        }
    }
    Ok(group)
}

#[cfg(test)]
impl DaemonGroup {
    /// A group of no server.
    pub(crate) fn for_tests() -> Self {
        Self::new(b"web".to_vec(), Server::nowhere())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only for options that look up neither users nor groups.
    fn read_line(line: &str) -> Result<DaemonGroup, String> {
        read(Pool::nowhere(), Server::nowhere(), b"web".to_vec(), line.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_read_by_the_reference() {
        let group = read_line("processes=3 threads=7junk request-timeout=60 python-path=/a:/b display-name=%{GROUP}");
        let group = group.expect("a good definition");
        assert_eq!((group.processes, group.threads, group.multiprocess), (3, 7, true));
        assert_eq!(group.timeouts.request, 60_000);
        assert_eq!(group.python_path.as_deref(), Some(&b"/a:/b"[..]));
        let group = read_line("threads=abc umask=0027 setenv=A=b=c setenv=B=").expect("a good definition");
        assert_eq!((group.threads, group.umask, group.multiprocess), (0, Some(0o027), false));
        let environment: Vec<_> = group.environment.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(environment, [(&b"A"[..], &b"b=c"[..]), (b"B", b"")]);
    }

    #[test]
    fn wrong_values_have_the_texts_of_the_reference() {
        for (line, text) in [
            ("processes=0", "Invalid process count for WSGI daemon process."),
            ("threads=-1", "Invalid thread count for WSGI daemon process."),
            ("threads=65534", "Invalid thread count for WSGI daemon process."),
            ("request-timeout=-1", "Invalid request timeout for WSGI daemon process."),
            ("stack-size=0", "Invalid stack size for WSGI daemon process."),
            ("home=relative", "Invalid home directory for WSGI daemon process."),
            ("listen-backlog=0", "Invalid listen backlog for WSGI daemon process."),
            ("python=three", "Invalid python version for WSGI daemon process."),
            ("setenv=NAME", "Invalid environment variable for WSGI daemon process."),
            ("user=", "Invalid user for WSGI daemon process."),
        ] {
            assert_eq!(read_line(line).map(|_| ()), Err(text.to_owned()), "{line}");
        }
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let refused = read_line("thread=5").expect_err("unknown");
        assert_eq!(
            refused,
            "Invalid option to WSGI daemon process definition. Unknown option 'thread'; did you mean 'threads'?"
        );
        let refused = read_line("threads").expect_err("no value");
        assert!(refused.ends_with("'threads' needs a value, as in threads=VALUE"), "{refused}");
    }

    #[test]
    fn a_known_option_is_refused_by_name() {
        let refused = read_line("chroot=/srv").expect_err("not yet");
        assert_eq!(refused, "Option 'chroot' of WSGIDaemonProcess is known, not supported yet.");
    }
}
