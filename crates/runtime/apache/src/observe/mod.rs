//! What an operations team sees of the module besides the log: the handler `wsgi-metrics` ([`metrics`]) and a section on
//! mod_status' page ([`section`]). Both are made from one [`reading`] of the status pages, without Python and without
//! asking any process. Apache's own children that run Python have a page too ([`children`]).

mod admission;
pub(crate) mod children;
mod exposition;
mod families;
mod metrics;
mod negotiation;
mod reading;
mod section;

pub(crate) use admission::settle;
#[cfg(test)]
pub(crate) use families::page;
pub(crate) use metrics::{HANDLER, handle};
pub(crate) use section::register;
