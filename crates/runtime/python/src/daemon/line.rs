//! The server's log, as far as a record belongs to no request: one packet to the server's log writer.
//!
//! The writer takes packets even when the log itself is stalled. So a full socket means that the writer is being replaced
//! or that the machine is overloaded: a thread waits for it, without the GIL, but not for ever.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::line::{self, Origin};
use wsgi_protocol::scoreboard::Snapshot;

use super::board;

impl AsFd for ServerLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How long a record waits for room in the socket.
const PATIENCE: Duration = Duration::from_secs(3);

/// The writing end.
pub(super) struct ServerLog {
    socket: OwnedFd,
    level: u8,
    /// A record has waited in vain: the next ones do not wait.
    stalled: AtomicBool,
    /// How many records were dropped since the last one that was written.
    lost: AtomicU64,
}

impl ServerLog {
    /// Writes records up to `level` to `socket`.
    pub(super) fn new(socket: OwnedFd, level: u8) -> Self {
        Self { socket, level, stalled: AtomicBool::new(false), lost: AtomicU64::new(0) }
    }

    /// Another writing end of the same.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self::new(self.socket.try_clone()?, self.level))
    }

    /// The highest level number that is written.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn logs(&self, level: Level) -> bool {
        level as u8 <= self.level
    }

    /// Writes a record, waiting for room if need be: call without the GIL. A record that nobody takes in time is lost;
    /// the next one that is taken says how many were.
    pub(super) fn write(&self, record: &Record<'_>) {
        if record.level > self.level {
            return;
        }
        let packet = packet(record);
        let wait = if self.stalled.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        if self.send(&packet) || (self.has_room(wait) && self.send(&packet)) {
            return;
        }
        self.stalled.store(true, Ordering::Relaxed);
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes a record if that needs no waiting. `false`: it has to wait.
    pub(super) fn try_write(&self, record: &Record<'_>) -> bool {
        record.level > self.level || self.send(&packet(record))
    }

    fn has_room(&self, wait: Duration) -> bool {
        let mut entry = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry.
        unsafe { libc::poll(&raw mut entry, 1, i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)) > 0 }
    }

    /// `false`: there is no room.
    fn send(&self, packet: &[u8]) -> bool {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let text = format!(
                "WSGI0959: {lost} lines of this process were lost, because the server's log writer took nothing for more \
                 than {} seconds.",
                PATIENCE.as_secs()
            );
            if !self.send_packet(&self::packet(&record(Level::Error, &text))) {
                return false;
            }
            self.lost.fetch_sub(lost, Ordering::Relaxed);
            self.stalled.store(false, Ordering::Relaxed);
        }
        self.send_packet(packet)
    }

    fn send_packet(&self, packet: &[u8]) -> bool {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: the packet lives across the call.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), packet.as_ptr().cast(), packet.len(), flags) };
        // A record that cannot be sent at all is lost: there is no other place to say so.
        sent >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
    }

    /// Asks the log's writer for Apache's scoreboard.
    pub(super) fn scoreboard(&self) -> io::Result<Snapshot> {
        board::ask(self.socket.as_fd())
    }

    pub(super) fn say(&self, level: Level, text: &str) {
        self.write(&record(level, text));
    }

    /// The same where the GIL may be held: a line for which there is no room is lost.
    pub(super) fn say_at_once(&self, level: Level, text: &str) {
        if !self.try_write(&record(level, text)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn record(level: Level, text: &str) -> Record<'_> {
    Record { level: level as u8, line: 0, file: Bytes::NONE, text: Bytes::new(text.as_bytes()), json: 0 }
}

fn packet(record: &Record<'_>) -> Vec<u8> {
    // SAFETY: gettid cannot fail.
    let tid = unsafe { libc::gettid() };
    line::encode(Origin { pid: std::process::id(), tid: u32::try_from(tid).unwrap_or(0) }, record)
}

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors, which are fresh.
        unsafe {
            let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
            assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()), 0);
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        }
    }

    fn read(socket: &OwnedFd) -> String {
        let mut buffer = vec![0u8; line::MAX_LINE];
        // SAFETY: room for as many bytes as it says.
        let count = unsafe { libc::read(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        let packet = &buffer[..usize::try_from(count).expect("a packet")];
        let (_, record) = line::decode(packet).expect("own packet");
        String::from_utf8_lossy(record.text.or_empty()).into_owned()
    }

    #[test]
    fn what_nobody_takes_is_counted_and_said() {
        let (own, writer) = pair();
        let log = ServerLog::new(own, 8);
        let mut sent = 0;
        while log.try_write(&record(Level::Error, "a line")) {
            sent += 1;
        }
        // As after a wait in vain, so that the test need not wait.
        log.stalled.store(true, Ordering::Relaxed);
        log.say(Level::Error, "lost");
        log.say(Level::Error, "lost too");
        (0..sent).for_each(|_| assert_eq!(read(&writer), "a line"));
        log.say(Level::Error, "after it");
        assert!(read(&writer).starts_with("WSGI0959: 2 lines of this process were lost"));
        assert_eq!(read(&writer), "after it");
    }
}
