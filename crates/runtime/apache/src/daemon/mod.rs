//! Daemon mode: the processes, and the way to them.
//!
//! The rest of the module calls these functions:
//!
//! | function | where | when |
//! |---|---|---|
//! | [`start`] | parent | a configuration was read and will be served |
//! | [`child_init`] | child | the child starts |
//! | [`child_ended`] | parent | a child ended |
//! | [`serve`] | child | a request resolved to a daemon group |

use wsgi_protocol::request::Facts;

use crate::codes;
use crate::config::Registry;
use crate::host::{Failure, Request, Server, Verdict, log};
use crate::response::Rules;
use crate::sys;

/// What the parent and its children know of the running daemons; part of the [`Registry`].
pub(crate) struct Daemons;

/// The groups could not be started; the reason was logged.
#[derive(Debug, thiserror::Error)]
#[error("daemon mode could not be started")]
pub(crate) struct Failed;

/// Starts the groups, or takes over those that run already. A group that cannot be started is logged and answers with
/// 503; an error keeps the server from starting.
pub(crate) fn start(main: Server<'static>, registry: &'static Registry) -> Result<(), Failed> {
    let groups = registry.generation().map_or(&[][..], |generation| &generation.groups);
    let Some(group) = groups.first() else { return Ok(()) };
    log::server(
        main,
        &codes::DAEMON_FAILED,
        format_args!("Daemon process group '{}' cannot be started by this build.", group.display()),
    );
    Err(Failed)
}

/// Prepares a child.
pub(crate) fn child_init(_registry: &'static Registry) {}

/// Gives back what an ended child held.
pub(crate) fn child_ended(_registry: &'static Registry, _pid: libc::pid_t) {}

/// Serves a request by a process of a group, which is its place in [`crate::config::Generation::groups`].
pub(crate) fn serve(
    _request: Request<'_>,
    registry: &Registry,
    group: usize,
    _facts: Facts<'_>,
    _rules: Rules,
) -> Result<Verdict, Failure> {
    let group = registry.generation().and_then(|generation| generation.groups.get(group));
    let text = format!("No process of group '{}' runs.", group.map_or_else(Default::default, |group| group.display()));
    Err(Failure::new(sys::HTTP_SERVICE_UNAVAILABLE, &codes::CONNECT_EXHAUSTED, text))
}
