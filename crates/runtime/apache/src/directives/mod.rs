//! The directives, as data: see [`spec`] for what a row is and [`table`] for the rows.

mod auth;
mod daemon;
mod daemon_group;
mod daemon_options;
mod daemon_reading;
#[cfg(test)]
mod json;
mod mapping;
#[cfg(test)]
mod pages;
mod python;
mod request;
mod spec;
mod table;
mod telemetry;
mod unknown;
mod words;

pub(crate) use daemon::{Access, access};
pub(crate) use daemon_group::{DaemonGroup, Handover};
pub(crate) use mapping::CASE_SENSITIVITY;
pub(crate) use python::{
    DESTROY_INTERPRETER, DONT_WRITE_BYTECODE, FREE_THREADING, MAXIMUM_INTERPRETERS, RESTRICT_EMBEDDED, RESTRICT_SIGNAL,
    RESTRICT_STDIN, RESTRICT_STDOUT,
};
pub(crate) use request::{
    CHUNKED_REQUEST, ENABLE_SENDFILE, ERROR_OVERRIDE, IGNORE_ACTIVITY, PASS_APACHE_REQUEST, PASS_AUTHORIZATION,
    SCRIPT_RELOADING,
};
pub(crate) use table::commands;
pub(crate) use telemetry::{SERVER_METRICS, TelemetryService};
pub(crate) use unknown::refusal as refusal_of_unknown;
pub(crate) use words::next_word;
