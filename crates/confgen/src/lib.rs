//! confgen: complete Apache/mod_wsgi configurations from a typed spec.
//!
//! [`document`] reads texts into trees that know positions, [`diagnostic`] reports what is wrong with them, and
//! [`httpd`] is the only place that starts, watches and stops an httpd.

pub mod diagnostic;
pub mod document;
pub mod httpd;
pub mod spec;
