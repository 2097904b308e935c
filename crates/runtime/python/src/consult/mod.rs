//! Scripts that decide on a request before an application sees it: `check_password`, `get_realm_hash`,
//! `groups_for_user`, `allow_access`, and the three functions of a dispatch script. They run in the Apache child.

mod aids;
mod answers;
mod environ;
mod run;
pub(crate) mod ssl;

pub(crate) use aids::Aids;
pub(crate) use run::run;
