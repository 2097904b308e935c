//! `server`: the httpd itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Account, ModuleName, Name, Seconds, Size, VariableName};

/// The httpd: its name, listeners, log, processes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Server {
    /// What this server is called: instances are registered under it. Default: `main`.
    pub name: Option<Name>,
    /// The name that httpd gives for itself where no site's name fits (`ServerName`). Default: `localhost`.
    pub server_name: Option<super::scalar::HostName>,
    /// The environment that httpd itself is started with. Nothing else of the caller's environment reaches it.
    pub environment: BTreeMap<VariableName, Scalar>,
    /// How the files are laid out. `auto` is `single`: one `httpd.conf` in a directory of its own.
    pub layout: Layout,
    /// The multi-processing module. `auto`: event, worker, prefork, whichever is installed, in this order.
    pub mpm: Mpm,
    /// Numbers of the multi-processing module; those that the chosen one does not have are left out with a warning.
    pub mpm_settings: MpmSettings,
    /// Where requests come in. Default: `http: 8000` on loopback.
    pub listen: Listen,
    /// The ports that clients connect to, where a port mapping (NAT, containers) makes them differ from `listen`.
    pub public: PublicPorts,
    /// Logs.
    pub log: Log,
    /// Whether connections are kept between requests: true, false, or how long an idle one is kept. Default: true (5s).
    pub keep_alive: Option<KeepAlive>,
    /// Requests per kept connection; 0 is no limit. Default: httpd's (100).
    pub max_keep_alive_requests: Option<u32>,
    /// How long httpd waits for a client or a daemon to read or write. Default: httpd's (60s).
    pub timeout: Option<Seconds>,
    /// Whether slow requests are given up, so that they cannot occupy all connections: 20 to 40 seconds for the header, 20 for the body, longer as
    /// long as 500 bytes a second come (`RequestReadTimeout`). Default: true, where httpd has mod_reqtimeout. `sites.NAME.limits` has a site's
    /// own times.
    pub request_read_timeout: Option<bool>,
    /// Whether the method TRACE is answered (`TraceEnable`). Default: false.
    pub trace: bool,
    /// How much the `Server` header says of the server (`ServerTokens`). Default: `prod`, its name alone.
    pub server_tokens: ServerTokens,
    /// The user that serves requests, when started as root. Default: the distribution's (`www-data`, `apache`, …).
    pub user: Option<Account>,
    /// The group that serves requests, when started as root. Default: the user's.
    pub group: Option<Account>,
    /// Modules of httpd to load beyond those that the spec needs, without `mod_`.
    pub modules: Vec<ModuleName>,
}

/// How much the `Server` header says of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerTokens {
    /// `Apache`
    #[default]
    Prod,
    /// `Apache/2`
    Major,
    /// `Apache/2.4`
    Minor,
    /// `Apache/2.4.62`
    Minimal,
    /// `Apache/2.4.62 (Debian)`
    Os,
    /// That and what the modules say of themselves.
    Full,
}

impl ServerTokens {
    /// The word of httpd.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prod => "Prod",
            Self::Major => "Major",
            Self::Minor => "Minor",
            Self::Minimal => "Minimal",
            Self::Os => "OS",
            Self::Full => "Full",
        }
    }
}

/// A scalar that becomes text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expected" = "text, an integer or true/false", "x-help" = "quote the value to keep its text as it stands"))]
pub enum Scalar {
    /// Text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(integer) => integer.fmt(f),
            Self::Boolean(boolean) => boolean.fmt(f),
        }
    }
}

/// How the files are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The one that fits.
    #[default]
    Auto,
    /// One directory with everything.
    Single,
    /// Debian's split files.
    Debian,
    /// Red Hat's conf.d.
    Rhel,
    /// Alpine's conf.d.
    Alpine,
    /// FreeBSD's Includes.
    Freebsd,
}

/// The multi-processing module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mpm {
    /// The best one that is installed.
    #[default]
    Auto,
    /// Threads, with idle connections apart.
    Event,
    /// Threads.
    Worker,
    /// One process per connection.
    Prefork,
}

impl Mpm {
    /// The word of the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Event => "event",
            Self::Worker => "worker",
            Self::Prefork => "prefork",
        }
    }

    /// The module with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Event, Self::Worker, Self::Prefork].into_iter().find(|mpm| mpm.name() == name)
    }
}

/// Numbers of the multi-processing module, named as httpd's directives.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct MpmSettings {
    /// Child processes at start.
    pub start_servers: Option<u32>,
    /// The most child processes ever.
    pub server_limit: Option<u32>,
    /// The most threads per child ever (event, worker).
    pub thread_limit: Option<u32>,
    /// Threads per child (event, worker).
    pub threads_per_child: Option<u32>,
    /// The most requests served at once.
    pub max_request_workers: Option<u32>,
    /// Idle child processes to keep at least (prefork).
    pub min_spare_servers: Option<u32>,
    /// Idle child processes to keep at most (prefork).
    pub max_spare_servers: Option<u32>,
    /// Idle threads to keep at least (event, worker).
    pub min_spare_threads: Option<u32>,
    /// Idle threads to keep at most (event, worker).
    pub max_spare_threads: Option<u32>,
    /// Connections after which a child is replaced; 0 is never.
    pub max_connections_per_child: Option<u32>,
    /// Idle connections per idle worker (event).
    pub async_request_worker_factor: Option<u32>,
    /// Stack of each thread (event, worker).
    pub thread_stack_size: Option<Size>,
    /// Connections that the system queues.
    pub listen_backlog: Option<u32>,
    /// How long a graceful stop waits.
    pub graceful_shutdown_timeout: Option<Seconds>,
}

/// Where requests come in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listen {
    /// Plain HTTP: a port (on all addresses), `address:port`, or a list of them; null for none.
    pub http: Option<Endpoints>,
    /// HTTPS: the same.
    pub https: Option<Endpoints>,
    /// Whether connections begin with a header of the PROXY protocol, as those of a load balancer do (`RemoteIPProxyProtocol`). Others are
    /// closed. Default: false.
    pub proxy_protocol: bool,
}

/// The ports that clients connect to: redirects name them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct PublicPorts {
    /// For plain HTTP. Default: the port that httpd listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub http: Option<u16>,
    /// For HTTPS. Default: the port that httpd listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub https: Option<u16>,
}

/// One or more addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expected" = "a port, `address:port`, or a list of them"))]
pub enum Endpoints {
    /// One.
    One(Endpoint),
    /// Several.
    Several(Vec<Endpoint>),
}

impl Endpoints {
    /// The endpoints.
    pub fn all(&self) -> &[Endpoint] {
        match self {
            Self::One(endpoint) => std::slice::from_ref(endpoint),
            Self::Several(endpoints) => endpoints,
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expected" = "a port, `address:port`, or a list of them"))]
pub enum Endpoint {
    /// A port on all addresses.
    Port(#[schemars(range(min = 1, max = 65535))] u16),
    /// A port of one address.
    Address(EndpointAddress),
}

/// `address:port`, with IPv6 addresses in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("pattern" = r"^(\*|[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$", "x-expected" = "a port, `address:port`, or a list of them"))]
pub struct EndpointAddress(pub String);

impl Endpoint {
    /// The port, when it is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(*port),
            Self::Address(address) => address.0.rsplit_once(':')?.1.parse().ok().filter(|port| *port > 0),
        }
    }

    /// The address without the port; `None` for all addresses.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Port(_) => None,
            Self::Address(address) => {
                address.0.rsplit_once(':').map(|(address, _)| address).filter(|address| *address != "*")
            }
        }
    }

    /// Whether the address is one.
    pub fn is_valid(&self) -> bool {
        let address = match self.address() {
            None => true,
            Some(address) => match address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
                Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
                None => address.parse::<std::net::Ipv4Addr>().is_ok(),
            },
        };
        address && self.port().is_some()
    }
}

/// Logs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Log {
    /// Where to: `files` below the server's directory (default), the `terminal` (standard error and output), or files of one's own.
    pub to: LogTarget,
    /// How much: one level, or levels by module. Default: `{default: warn, wsgi: info}`.
    pub level: Option<LogLevels>,
    /// The access log: `combined`, `common`, `json`, `dev`, `off`, or a format of one's own. Default: `combined`.
    pub access: Option<AccessLog>,
    /// Rotation of files by size.
    pub rotate: Option<Rotate>,
    /// Whether every user of the machine may read the logs of `files`. Default: false; the folder `logs` is open to its owner and group.
    pub world_readable: bool,
}

/// Where logs go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// `logs/error.log` and `logs/access.log` below the server's directory.
    #[default]
    Files,
    /// Standard error and standard output.
    Terminal,
    /// Files of one's own.
    At(LogFiles),
}

/// Files of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogFiles {
    /// The error log.
    pub error: super::scalar::FilePath,
    /// The access log.
    pub access: super::scalar::FilePath,
}

/// How much is logged.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LogLevels {
    /// One level for everything.
    All(Level),
    /// `default` and levels by module.
    ByModule(BTreeMap<ModuleName, Level>),
}

/// httpd's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The server is unusable.
    Emerg,
    /// Action must be taken.
    Alert,
    /// Critical.
    Crit,
    /// Errors.
    Error,
    /// Warnings.
    Warn,
    /// Normal but significant.
    Notice,
    /// Informational.
    Info,
    /// For debugging.
    Debug,
    /// More for debugging.
    Trace1,
    /// More for debugging.
    Trace2,
    /// More for debugging.
    Trace3,
    /// More for debugging.
    Trace4,
    /// More for debugging.
    Trace5,
    /// More for debugging.
    Trace6,
    /// More for debugging.
    Trace7,
    /// Everything.
    Trace8,
}

impl Level {
    /// The word of the spec and of httpd.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace1 => "trace1",
            Self::Trace2 => "trace2",
            Self::Trace3 => "trace3",
            Self::Trace4 => "trace4",
            Self::Trace5 => "trace5",
            Self::Trace6 => "trace6",
            Self::Trace7 => "trace7",
            Self::Trace8 => "trace8",
        }
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AccessLog {
    /// A format with a name.
    Named(AccessFormat),
    /// A format of one's own.
    Custom(CustomFormat),
}

/// A format of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomFormat {
    /// The format, as mod_log_config takes it.
    #[schemars(length(min = 1))]
    pub format: String,
}

/// Formats with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AccessFormat {
    /// No access log.
    Off,
    /// The Common Log Format.
    Common,
    /// The Combined Log Format.
    Combined,
    /// One JSON object per line.
    Json,
    /// Short lines for a terminal: method, path, status, milliseconds.
    Dev,
}

/// Rotation by size.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rotate {
    /// At which size a new file begins.
    pub size: Size,
    /// How many files are kept.
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
}

/// Keeping connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expected" = "true, false or a time such as 5s"))]
pub enum KeepAlive {
    /// Yes or no.
    Switch(bool),
    /// How long an idle connection is kept.
    Idle(Seconds),
}
