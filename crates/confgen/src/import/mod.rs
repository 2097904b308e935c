//! Specs out of what others wrote.

pub mod httpd;
