//! confgen: complete Apache/mod_wsgi configurations from a typed spec.
//!
//! [`document`] reads texts into trees that know positions, [`diagnostic`] reports what is wrong with them, [`spec`] is the
//! typed model, [`facts`] describes a machine, [`render`] makes a tree of files from the two, [`project`] looks for
//! applications in a folder, and [`httpd`] is the only place
//! that starts, watches and stops an httpd.

pub mod cli;
pub mod conf;
pub mod configuration;
pub mod diagnostic;
pub mod directives;
pub mod document;
pub mod environment;
pub mod facts;
pub mod httpd;
pub mod import;
pub mod lint;
pub mod project;
pub mod quote;
pub mod render;
pub mod route;
pub mod source;
pub mod spec;
