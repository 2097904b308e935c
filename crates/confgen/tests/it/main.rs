//! Integration tests of confgen: one binary.

mod against_httpd;
mod cli;
mod closed;
mod documents;
mod everywhere;
mod fixture;
mod fmt;
mod httpd;
mod init;
mod inputs;
mod keys;
mod lint;
mod mapping;
mod options;
mod place;
mod refused;
mod render;
mod route;
mod secrets;
mod sharing;
mod start;
mod start_applications;
mod start_debug;
mod start_ends;
mod tls;
mod tree;
