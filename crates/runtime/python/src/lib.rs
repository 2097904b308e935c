//! The Python engine: loaded into an Apache child for embedded mode (`wsgi_python-X.Y.so`), linked into `wsgi-daemon`
//! for daemon mode. It knows Python and no Apache.
//!
//! | module | what |
//! |---|---|
//! | [`gateway`] | the traits between the engine and its surroundings |
//! | [`engine`] | Python in this process: start, serve, watch, stop |
//! | [`embedded`] | the C tables of embedded mode |
//! | [`daemon`] | the executable of daemon mode |
//! | `wsgi` | the adapter: environ, input, errors, `start_response`, iteration, file wrapper |
//! | `interpreter`, `keeper`, `thread` | interpreters, the thread that makes them, thread states |
//! | `forks`, `signals` | `os.fork` and `signal.signal`, as far as they differ under Apache |
//! | `script`, `search_path` | scripts, and where modules are found |
//! | `module`, `events`, `log_handler` | the modules `mod_wsgi` and `apache`, subscriptions, `logging` |
//! | `metrics`, `telemetry` | what is measured of requests and of the process, and how it is sent |
//! | `object`, `slot` | Python values, and how Python calls into the engine |

mod config;
mod consult;
pub mod daemon;
mod digest;
pub mod embedded;
pub mod engine;
mod events;
mod forks;
pub mod gateway;
mod gil_cell;
mod interpreter;
mod json;
mod keeper;
mod log_handler;
mod logging;
mod metrics;
mod module;
mod names;
mod object;
mod restrict;
mod script;
mod search_path;
mod signals;
mod slot;
mod telemetry;
mod thread;
mod traceback;
mod wsgi;
