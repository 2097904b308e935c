//! Integration tests of confgen: one binary.

mod fixture;
mod httpd;
mod render;
