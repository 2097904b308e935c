//! The executable `wsgi-daemon` with a real Python, spoken to as the Apache module does: frames on its socket, packets
//! from its log, signals and pipes around it.

mod conversation;
mod endings;
mod forks;
mod launched;
mod loader;
mod refusals;
mod requests;
mod rolling;
