//! From scenarios to outcomes.

pub mod event;
pub mod options;
pub mod outcome;
pub mod perform;
mod stacks;
