//! Daemon mode: the processes, and the way to them.
//!
//! The rest of the module calls these four functions, in this order of a server's life:
//!
//! | function | where | when |
//! |---|---|---|
//! | [`check`] | parent | the configuration was read (also by `-t`, and in the pass that is thrown away) |
//! | [`start`] | parent | the configuration will be served |
//! | [`child_init`] | child | the child starts |
//! | [`handle`] | child | a request resolved to a daemon group |

use crate::codes;
use crate::config::{Generation, Registry};
use crate::directives::DaemonGroup;
use crate::dispatch::Job;
use crate::host::{Failure, Pool, Server, Verdict};
use crate::sys;

/// Whether the groups of a configuration could be started; the text goes to the log and the server does not start.
pub(crate) fn check(_generation: &Generation) -> Result<(), String> {
    Ok(())
}

/// Starts the groups, or takes over those that run already. A group that cannot be started is logged and answers with
/// 503; an error keeps the server from starting.
pub(crate) fn start(
    _registry: &'static Registry,
    generation: &'static Generation,
    _server: Server<'static>,
    _pool: Pool<'static>,
) -> Result<(), String> {
    match generation.groups.first() {
        None => Ok(()),
        Some(group) => Err(format!("daemon process group '{}' cannot be started by this build", group.display())),
    }
}

/// Prepares a child.
pub(crate) fn child_init(_registry: &'static Registry, _generation: &'static Generation, _child: Pool<'static>) {}

/// Serves a request by a process of a group; `index` is the group's place in [`Generation::groups`].
pub(crate) fn handle(job: &Job<'_>, _index: usize, _group: &DaemonGroup) -> Result<Verdict, Failure> {
    let text = format!("No process of group '{}' runs.", String::from_utf8_lossy(job.process_group));
    Err(Failure::new(sys::HTTP_SERVICE_UNAVAILABLE, &codes::CONNECT_EXHAUSTED, text))
}
