//! Integration tests of confgen: one binary.

mod against_httpd;
mod cli;
mod documents;
mod fixture;
mod httpd;
mod mapping;
mod refused;
mod render;
mod start;
mod tls;
