//! From scenarios to outcomes.

pub mod arrange;
mod audit;
mod bundle;
mod cell;
mod deaths;
pub mod event;
pub mod filter;
pub mod history;
mod logs;
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
