//! The atomics of the status page.
//!
//! They are the standard library's. With the feature `model` they are loom's, which runs the page's protocol in every
//! order that the memory model permits (`tests/model`): what is checked there is the code that serves requests.

#[cfg(feature = "model")]
pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(feature = "model"))]
pub use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
