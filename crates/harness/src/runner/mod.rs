//! From scenarios to outcomes.

pub mod arrange;
mod audit;
mod bundle;
mod cell;
pub mod event;
pub mod filter;
pub mod history;
pub mod machine;
pub mod options;
pub mod outcome;
pub mod perform;
pub mod plan;
mod remains;
mod run;
mod schedule;
mod stacks;

pub use run::{run, up};
