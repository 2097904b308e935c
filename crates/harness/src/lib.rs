//! Library of the harness: scenarios are loaded, planned into cells and run; what happens is told as events to reporters.
//!
//! The way of a run: [`scenario`] (text to typed model, spans kept) → [`runner::plan`] (variants × matrix to cells) →
//! [`runner`] (cells to events and outcomes) → [`report`] (events to text and files). The runner prints nothing; reporters decide nothing.

pub mod assertions;
pub mod cli;
pub mod exit;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod shell;
pub mod steps;
