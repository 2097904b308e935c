//! The command line. One file per command; [`Command`](arguments::Command) is the list of them.

mod arguments;
mod check;
mod completions;
mod context;
mod exit;
mod explain;
mod express;
mod facts;
mod fmt;
mod graceful;
mod import;
mod init;
mod input;
mod instances;
mod lint;
mod loaded;
mod man;
mod reapply;
mod render;
mod restart;
mod rewrite;
mod route;
mod schema;
mod secrets;
mod show;
mod staged;
mod start;
mod status;
mod stop;

pub use arguments::{command, run};
pub use exit::Exit;
