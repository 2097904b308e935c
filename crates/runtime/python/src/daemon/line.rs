//! The server's log, as far as a record belongs to no request: one packet to the server's log writer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::line::{self, Origin};
use wsgi_protocol::scoreboard::Snapshot;

use super::board;

/// The writing end.
pub(super) struct ServerLog {
    socket: OwnedFd,
    level: u8,
}

impl ServerLog {
    /// Writes records up to `level` to `socket`.
    pub(super) fn new(socket: OwnedFd, level: u8) -> Self {
        Self { socket, level }
    }

    /// Another writing end of the same.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, level: self.level })
    }

    /// The highest level number that is written.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn logs(&self, level: Level) -> bool {
        level as u8 <= self.level
    }

    /// Writes a record. A record that nobody takes is lost: there is no other place to say so.
    pub(super) fn write(&self, record: &Record<'_>) {
        if record.level > self.level {
            return;
        }
        // SAFETY: gettid cannot fail.
        let tid = unsafe { libc::gettid() };
        let origin = Origin { pid: std::process::id(), tid: u32::try_from(tid).unwrap_or(0) };
        let packet = line::encode(origin, record);
        // SAFETY: the packet lives across the call.
        unsafe {
            libc::send(self.socket.as_raw_fd(), packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL);
        }
    }

    /// Asks the log's writer for Apache's scoreboard.
    pub(super) fn scoreboard(&self) -> io::Result<Snapshot> {
        board::ask(self.socket.as_fd())
    }

    pub(super) fn say(&self, level: Level, text: &str) {
        self.write(&Record {
            level: level as u8,
            line: 0,
            file: Bytes::NONE,
            text: Bytes::new(text.as_bytes()),
            json: 0,
        });
    }
}
