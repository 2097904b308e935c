//! A command line of `mod_wsgi-express` becomes a spec.
//!
//! [`OPTIONS`] is the table: each option of `start-server` and `setup-server` with what becomes of it. An option that
//! has no counterpart is refused by name, with the reason and what to do instead.

mod line;
mod options;
mod spec;

pub use line::{Line, parse};
pub use options::{OPTIONS, Opt, To};
pub use spec::{Made, spec};
