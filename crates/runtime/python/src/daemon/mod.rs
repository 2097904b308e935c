//! Daemon mode: the executable `wsgi-daemon-X.Y`, one per daemon process.
//!
//! [`start`] takes over what the server left for the process (launch configuration, status page, sockets), starts
//! Python and the worker threads, and then becomes the monitor: it drives the [`timers`] and ends the process. The
//! worker threads of [`pool`] wait in one epoll set for new connections and for requests on kept ones, read a request
//! ([`connection`]), and serve it ([`exchange`]); what a slow client has not read of it is left to the [`outbox`]. They
//! meet in the shared [`server::Server`].
//!
//! With `fork-after-load=On` the executable is the group's [`loader`], which starts Python and is forked into processes
//! that go on as above.

mod board;
mod confine;
mod connection;
mod crew;
mod exchange;
mod fork;
mod lifelines;
mod line;
mod loader;
mod loading;
mod monitor;
mod outbox;
mod poller;
mod pool;
mod rolling;
mod server;
mod signals;
mod start;
mod status;
mod strangers;
mod timers;
mod watchdog;

pub use start::main;
