//! Embedded mode: the engine in the Apache child.

mod consult;
mod engine;
mod exchange;
mod stop_signal;
mod table;

pub(crate) use consult::consult;
pub(crate) use engine::{Embedded, child_init};
pub(crate) use exchange::handle;
