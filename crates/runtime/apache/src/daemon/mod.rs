//! Daemon mode on Apache's side.
//!
//! In the parent, [`group`] turns definitions into what a start of a process needs, [`spawn`] starts one, [`supervise`]
//! keeps them running, with what [`holdings`] keeps for them, and hands them over from one generation of the configuration
//! to the next by way of [`retained`] ([`fleet`] decides who follows whom), [`rolling`] does so within one when a process asks for it ([`bell`]), and
//! [`log_writer`] is the process that writes what they log; both of these run in an [`own_process`]. With
//! `fork-after-load=On` another process of the group forks them, as it is told to ([`orders`]). In a child, [`client`] finds
//! a process for a request by the [`status_page`], and [`exchange`] passes request and response over a [`connection`].

mod bell;
mod board;
mod chroot;
mod client;
mod connection;
mod death;
mod exchange;
mod fleet;
mod frozen;
mod group;
mod holdings;
mod listener_check;
mod log_writer;
mod orders;
mod own_process;
mod pace;
mod parent_log;
mod retained;
mod rolling;
mod siblings;
mod sockets;
mod spawn;
mod status_page;
mod supervise;
mod tickets;
mod watch;

#[cfg(test)]
#[path = "../../../protocol/fuzz/claims.rs"]
mod claims;

pub(crate) use chroot::inside;
pub(crate) use client::{Daemons, child_init, serve};
pub(crate) use siblings::watch as watch_forks;
pub(crate) use status_page::{PLACES, StatusPage, slot_of};
pub(crate) use supervise::{Failed, child_ended, start};
