//! From scenarios to outcomes.

pub mod arrange;
pub(crate) mod audit;
pub(crate) mod bundle;
mod cell;
pub mod cleaner;
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
mod space;
mod stacks;
pub mod stamp;

pub use run::{run, up};
