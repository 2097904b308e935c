//! Tests with a real httpd: what it says about the module.

mod daemon;
mod directives;
mod examples;
mod groups;
mod handover;
mod httpd;
mod logs;
mod mapping;
mod mapping_peer;
mod observe;
mod ranges;
mod request;
mod response;
mod scopes;
mod server;
mod verdicts;
