//! Telemetry (`WSGITelemetryService`): a thread that sends what the process has done to a datagram socket, in the wire
//! format of mod_wsgi 6.1, which the package `mod_wsgi-telemetry` understands.
//!
//! Nothing waits for the receiver: the socket does not block, and what it does not take is lost. Requests leave their
//! numbers in their threads' accounts ([`crate::metrics`]) whether or not the reporter is in time. Of the format's kinds,
//! PROCESS and SERVER are not sent, as mod_wsgi does not send them: REQUEST has what they would have.

mod collections;
mod packet;
mod reporter;
mod slow;

pub(crate) use collections::{Collections, watch};
pub(crate) use reporter::Reporter;
pub(crate) use slow::{Described, SlowRequests, Slowness};
