//! Scripts besides the applications: those that decide on a request (access, user, group, dispatch), which run in the
//! Apache child, and handler scripts, which serve resources instead of being one.

mod access;
mod ask;
mod auth;
mod dispatch;
mod environ;
mod group_rule;
mod settings;

pub(crate) use access::check as check_access;
pub(crate) use auth::register as register_providers;
pub(crate) use dispatch::choose;
pub(crate) use settings::{HandlerScript, Script, Scripts};
