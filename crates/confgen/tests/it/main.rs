//! Integration tests of confgen: one binary.

mod httpd;
