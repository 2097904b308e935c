//! HTTP/1.1 as bytes on connections that a step controls: what was sent is exactly what was written, and an answer that stops
//! early, comes twice or never is a result and not an exception.

mod connection;
mod response;

pub use connection::{Connection, Limit, Source, WireError};
pub use response::{Reader, Response};
