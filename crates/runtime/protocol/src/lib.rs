//! Everything that passes between the Apache module (`mod_wsgi_rs.so`) and the Python engine.
//!
//! The module knows Apache and no Python; the engine knows Python and no Apache. They meet here and nowhere else:
//!
//! | module | used by | what |
//! |---|---|---|
//! | [`abi`] | embedded mode | the two tables of C functions that the module and `wsgi_python-X.Y.so` hand each other |
//! | [`consult`] | embedded mode | questions to scripts that decide on a request |
//! | [`frame`] | daemon mode | the frames on the UNIX socket between an Apache child and a daemon process |
//! | [`request`] | both | the facts of one request and its environ entries, and how a frame carries them |
//! | [`head`] | both | a response's status line and header fields, and how a frame carries them |
//! | [`keys`] | both | numbers for environ keys that nearly every request has |
//! | [`launch`] | both | what a process that runs Python has to know before it starts |
//! | [`line`] | daemon mode | log records of a daemon that belong to no request |
//! | [`loader`] | daemon mode | orders to the process that forks a group's processes, and its reports |
//! | [`scoreboard`] | both | Apache's scoreboard for `mod_wsgi.server_metrics()` |
//! | [`scripts`] | daemon mode | which scripts a rolling process has loaded, for its successor to load as well |
//! | [`page`] | daemon mode | the status page: shared memory between parent, children and the daemons of one group |
//! | [`sync`] | daemon mode | the atomics of the status page, which a model checker can replace |
//! | [`takeback`] | daemon mode | the steps by which a request is taken, or taken back, on the status page |
//! | [`tally`] | daemon mode | what the status page counts for a whole group |
//! | [`withdrawal`] | daemon mode | requests that are taken back from a process that has not begun them |
//!
//! Decoders treat what they read as hostile: every length is bounded before it is used, and a malformed value is an
//! error, never a panic.

pub mod abi;
pub mod consult;
pub mod frame;
pub mod head;
pub mod keys;
pub mod launch;
pub mod line;
pub mod loader;
pub mod page;
pub mod request;
pub mod scoreboard;
pub mod script_file;
pub mod scripts;
pub mod sync;
pub mod takeback;
pub mod tally;
mod wire;
pub mod withdrawal;

pub use wire::Malformed;
