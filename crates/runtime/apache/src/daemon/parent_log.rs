//! What the server's parent process logs about daemons. A log that accepts nothing must not keep it from replacing
//! them: such a line goes to the log writer, which has a queue for it.

use std::fmt::Arguments;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::line::{self, Origin};

use crate::codes::Code;
use crate::host::{Server, Target, log};
use crate::module;

/// A server and the writing end of a log socket whose lines go to its log.
struct Way {
    /// The address of the server's record, only compared.
    server: usize,
    log: Option<RawFd>,
    socket: RawFd,
}

// No thread-local variable: one with a destructor would keep the module from being unloaded at a restart.
static WAYS: Mutex<Vec<Way>> = Mutex::new(Vec::new());

fn ways() -> MutexGuard<'static, Vec<Way>> {
    WAYS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on lines of the channels' servers can go through the log writer, by these sockets.
pub(super) fn use_sockets(sockets: impl Iterator<Item = (Server<'static>, RawFd)>) {
    *ways() = sockets
        .map(|(server, socket)| Way { server: server.raw() as usize, log: server.log_descriptor(), socket })
        .collect();
}

/// Logs a code for a server.
pub(super) fn server(server: Server<'static>, code: &Code, text: Arguments<'_>) {
    if accepts(server) {
        log::server(server, code, text);
    } else {
        through_writer(server, code.level, &format!("{}: {text}", code.name()));
    }
}

/// Logs a text without a code.
pub(super) fn info(server: Server<'static>, text: Arguments<'_>) {
    if accepts(server) {
        log::info(Target::Server(server), text);
    } else {
        through_writer(server, Level::Info, &text.to_string());
    }
}

/// Logs a code for a server while the configuration is thrown away at the end of the server. Apache has closed the log by
/// then, and freed what it knows of it.
pub(super) fn at_end(server: Server<'static>, code: &Code, text: Arguments<'_>) {
    let socket = ways().iter().find(|way| way.server == server.raw() as usize).map(|way| way.socket);
    send(server, socket, code.level, &format!("{}: {text}", code.name()));
}

/// Whether a line can be written now. A pipe that is ready has room for a line of any length that is usual.
fn accepts(server: Server<'_>) -> bool {
    let Some(descriptor) = server.log_descriptor() else { return true };
    let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry.
    unsafe { libc::poll(&raw mut entry, 1, 0) != 0 }
}

/// Sends a line to the log writer, if there is one with room for it.
fn through_writer(server: Server<'static>, level: Level, text: &str) {
    let socket = {
        let ways = ways();
        let log = server.log_descriptor();
        let own = ways.iter().find(|way| way.server == server.raw() as usize);
        own.or_else(|| ways.iter().find(|way| way.log == log)).map(|way| way.socket)
    };
    send(server, socket, level, text);
}

fn send(server: Server<'static>, socket: Option<RawFd>, level: Level, text: &str) {
    let Some(socket) = socket.filter(|_| i32::from(level as u8) <= server.log_level(module::index())) else { return };
    let pid = std::process::id();
    let text = Bytes::new(text.as_bytes());
    let record = Record { level: level as u8, line: 0, file: Bytes::NONE, text, json: 0 };
    let packet = line::encode(Origin { pid, tid: pid }, &record);
    // SAFETY: the packet lives across the call.
    unsafe { libc::send(socket, packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
}
