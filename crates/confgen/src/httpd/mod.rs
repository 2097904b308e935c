//! Everything that touches a running httpd: finding it, giving it a root and a port, testing a configuration, starting it,
//! watching it, reading its log and ending it.
//!
//! This is the only place of the project that does any of this; the harness uses it from here. It imports nothing else of
//! confgen, so that it neither knows specs nor templates: it is handed a rendered configuration and an environment.

mod account;
mod command;
mod configtest;
mod deaths;
mod instance;
mod launch;
mod locate;
mod log;
mod port;
pub mod process;
mod ready;
mod registry;
mod relay;
mod root;
mod server;
mod tail;
mod tls;

pub use account::{Account, AccountError, Obstacle};
pub use command::environment;
pub use configtest::{Complaint, ConfigTest, ConfigTestError, Severity};
pub use deaths::Death;
pub use instance::{Daemon, Identity, Instance, Stale};
pub use launch::{Launch, LaunchError};
pub use locate::{Httpd, LocateError};
pub use log::{Level, LogLine};
pub use port::{HeldPort, Holder, PortError, holders};
pub use process::{Handle, ProcessId, Signal, Stat};
pub use ready::Readiness;
pub(crate) use ready::proxy_header;
pub use registry::{Record, Registry, RegistryError, SpecSource, State};
pub use relay::{Output, Relay, RelayedLines};
pub use root::{LOGS_MODE, RootError, SOCKET_PATH_LIMIT, ServerRoot};
pub use server::{Leak, Server, StopReport, end_all};
pub use tail::LogTail;
pub use tls::tls_session;
