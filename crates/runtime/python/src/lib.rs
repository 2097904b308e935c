//! The Python engine.

pub mod gateway;
