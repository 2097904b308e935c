//! `daemons`: groups of processes that run applications.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::runtime::Import;
use super::scalar::{Account, FilePath, Milliseconds, PythonVersion, Seconds, Size, Umask, VariableName};
use super::server::Scalar;

/// A group of daemon processes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Daemon {
    /// The user it runs as; needs a start as root. Default: the server's user.
    pub user: Option<Account>,
    /// The group it runs as; needs a start as root.
    pub group: Option<Account>,
    /// Further groups; needs a start as root.
    pub supplementary_groups: Vec<Account>,
    /// The mask of file modes.
    pub umask: Option<Umask>,
    /// The directory to change the root to; needs a start as root.
    pub chroot: Option<FilePath>,
    /// How many processes. Default: 1, which is not rendered: the option makes `wsgi.multiprocess` true whatever its number.
    #[schemars(range(min = 1, max = 10000))]
    pub processes: Option<u32>,
    /// Threads per process that serve requests. Default: the module's (15).
    #[schemars(range(min = 0, max = 65533))]
    pub threads: Option<u32>,
    /// The working directory; it is also put on the module search path.
    pub home: Option<FilePath>,
    /// The version of Python that runs, by its engine.
    pub python: Option<PythonVersion>,
    /// The installation's prefix or a virtual environment. Default: `runtime.python`.
    pub python_home: Option<FilePath>,
    /// Directories in front of the module search path.
    pub python_path: Vec<FilePath>,
    /// Where eggs are unpacked.
    pub python_eggs: Option<FilePath>,
    /// `LANG`.
    pub lang: Option<String>,
    /// `LC_ALL`, and the locale that is set.
    pub locale: Option<String>,
    /// What `ps` shows; `%{GROUP}` stands for `(wsgi:NAME)`.
    pub display_name: Option<String>,
    /// The stack of each thread that serves requests.
    pub stack_size: Option<Size>,
    /// The most memory on the heap (RLIMIT_DATA).
    pub memory_limit: Option<Size>,
    /// The most address space (RLIMIT_AS).
    pub virtual_memory_limit: Option<Size>,
    /// The most CPU time; the process is replaced when it is used up.
    pub cpu_time_limit: Option<Seconds>,
    /// The scheduling priority (nice value).
    #[schemars(range(min = -20, max = 20))]
    pub cpu_priority: Option<i8>,
    /// Requests that the system queues for the group.
    #[schemars(range(min = 1))]
    pub listen_backlog: Option<u32>,
    /// The owner of the group's socket; needs a start as root.
    pub socket_user: Option<Account>,
    /// The owner that scripts must have.
    pub script_user: Option<Account>,
    /// The group that scripts must have.
    pub script_group: Option<Account>,
    /// The size of the socket's send buffer.
    pub send_buffer_size: Option<Size>,
    /// The size of the socket's receive buffer.
    pub receive_buffer_size: Option<Size>,
    /// The longest line of a response header.
    pub header_buffer_size: Option<Size>,
    /// How much of a response may be passed on without a flush.
    pub response_buffer_size: Option<Size>,
    /// How long a client may stall a response.
    pub response_socket_timeout: Option<Seconds>,
    /// How long to wait for more of a response before flushing.
    pub response_flush_delay: Option<Milliseconds>,
    /// Whether applications may ask for the server's metrics.
    pub server_metrics: Option<bool>,
    /// The interval at which Python switches threads, in seconds.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 3600))]
    pub switch_interval: Option<f64>,
    /// Environment variables of the processes. A secret is taken from a file or a variable and never rendered.
    pub env: BTreeMap<VariableName, EnvValue>,
    /// A file of `NAME=VALUE` lines with environment variables of the processes.
    pub environment_file: Option<FilePath>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When processes are replaced.
    pub recycle: Recycle,
    /// When changed code is loaded: `off`, `on-touch` (of the script; default), `on-change` (of any module).
    pub reload: Reload,
    /// Scripts to import when a process of the group starts.
    pub import: Vec<Import>,
    /// Whether a process overlaps with its successor (`overlap`, the default of groups with threads) or ends before that
    /// starts (`sequential`), as applications need that bind a port or take a lock when they are imported.
    pub handover: Option<Handover>,
    /// Restarts of one process at a time: the new one has loaded its applications before the old one leaves.
    pub rolling: Option<bool>,
    /// One process loads the application and forks the others.
    pub fork_after_load: Option<bool>,
}

/// How long things may take; 0 is without limit unless said otherwise.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Timeouts {
    /// From the stop of a process to its end by force.
    pub shutdown: Option<Seconds>,
    /// For requests in flight when a process is replaced.
    pub graceful: Option<Seconds>,
    /// For requests in flight once a successor serves new ones.
    pub handover: Option<Seconds>,
    /// For requests in flight when a process is told to leave (SIGUSR1).
    pub eviction: Option<Seconds>,
    /// For a request, weighted by the active threads.
    pub request: Option<Seconds>,
    /// For a request to end after it was interrupted.
    pub interrupt: Option<Seconds>,
    /// For loading the application.
    pub startup: Option<Seconds>,
    /// For a request to be picked up by a thread.
    pub queue: Option<Seconds>,
    /// For a connection to the daemon.
    pub connect: Option<Seconds>,
    /// For reading from and writing to the daemon.
    pub socket: Option<Seconds>,
    /// Without requests, before the process is replaced.
    pub inactivity: Option<Seconds>,
    /// For a thread to hold the GIL.
    pub deadlock: Option<Seconds>,
    /// Between replacements of a process. The same as `recycle.interval`.
    pub restart_interval: Option<Seconds>,
}

/// When processes are replaced.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recycle {
    /// After so many requests.
    pub max_requests: Option<u32>,
    /// After so long without requests. The same as `timeouts.inactivity`.
    pub idle: Option<Seconds>,
    /// After so long.
    pub interval: Option<Seconds>,
}

/// How a process is replaced by its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Handover {
    /// The old process serves until the new one does.
    Overlap,
    /// The old process has ended before the new one starts. Requests wait meanwhile.
    Sequential,
}

/// When changed code is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reload {
    /// Never.
    Off,
    /// When the script's file changes.
    #[default]
    OnTouch,
    /// When any module of the application changes.
    OnChange,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expected" = "text, an integer, true/false, or a secret", "x-help" = "quote the value to keep its text as it stands"))]
pub enum EnvValue {
    /// A value that may be seen.
    Plain(Scalar),
    /// A value that may not.
    Secret(Secret),
}

/// A value that is never rendered, shown, compared or logged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Where it is taken from, and when.
    pub secret: SecretFrom,
}

/// Where a secret is taken from, and when: `file` or `env`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretFrom {
    /// A file; one line end at its end is not part of the value.
    pub file: Option<FilePath>,
    /// A variable of confgen's own environment.
    pub env: Option<VariableName>,
    /// When the value is taken. Default: `render`; for another machine (`--facts`) `start`, where all secrets of the daemon are files.
    pub at: Option<SecretTime>,
}

impl SecretFrom {
    /// The source, if it is exactly one.
    pub fn source(&self) -> Option<SecretSource> {
        match (&self.file, &self.env) {
            (Some(file), None) => Some(SecretSource::File(file.clone())),
            (None, Some(name)) => Some(SecretSource::Env(name.clone())),
            _ => None,
        }
    }
}

/// When the value of a secret is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretTime {
    /// When the tree is written.
    Render,
    /// When the server starts, and each time it reads its configuration again. The rendered tree does not hold the value.
    Start,
}

/// Where a secret is taken from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// A file; one line end at its end is not part of the value.
    File(FilePath),
    /// A variable of confgen's own environment.
    Env(VariableName),
}
