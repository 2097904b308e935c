//! The command line. One file per command; [`Command`](arguments::Command) is the list of them.

mod arguments;
mod check;
mod completions;
mod context;
mod exit;
mod explain;
mod facts;
mod input;
mod man;
mod render;
mod schema;

pub use arguments::{command, run};
pub use exit::Exit;
