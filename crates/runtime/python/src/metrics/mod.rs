//! What is measured of requests and of the process, for events, for `mod_wsgi`'s metrics functions and for telemetry.
//!
//! Nothing is measured until somebody asks: [`Ledger::recording`] and the interpreter's own flag are looked at once per
//! request. While something is recorded, each thread has an [`Account`](account::Account) of its own, so that requests
//! of different threads never wait for each other; who wants the numbers goes round and adds them up.

mod account;
mod histogram;
mod ledger;
mod meter;
mod process;
mod report;
mod server;

pub(crate) use account::{Account, Finished, PhaseTimes};
pub(crate) use ledger::{Ledger, Report, float};
pub(crate) use meter::{Io, Meter, Tally};
pub(crate) use process::{Memory, process_metrics};
pub(crate) use report::request_metrics;
pub(crate) use server::server_metrics;
