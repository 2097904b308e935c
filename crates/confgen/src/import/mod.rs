//! Specs out of what others wrote.

mod draft;
pub mod express;
pub mod httpd;
