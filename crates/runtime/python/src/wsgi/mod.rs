//! The WSGI adapter: written once, over [`crate::gateway::Gateway`].

pub(crate) mod adapter;
pub(crate) mod environ;
pub(crate) mod errors;
pub(crate) mod file_wrapper;
pub(crate) mod input;
pub(crate) mod session;
pub(crate) mod small_blocks;
pub(crate) mod start_response;
pub(crate) mod validate;
