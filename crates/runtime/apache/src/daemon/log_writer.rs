//! The process that writes to the error log what daemons log outside of requests.
//!
//! Daemons never hold a descriptor of a log: they send packets, and their standard output and error is a pipe. The
//! writer is a fork of the server that keeps the logs' descriptors, gives up its privileges, and does nothing else. It
//! outlives a stop of the server for as long as daemons do, so that their last lines are not lost.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::line::{self, MAX_LINE};
use wsgi_protocol::scoreboard;

use super::own_process::settle;
use super::{board, own_process};
use crate::host::log::Target;
use crate::host::{Server, ServingUser};
use crate::{module, sys};

/// Where the lines of one group come from and go to.
#[derive(Clone, Copy)]
pub(crate) struct Channel {
    pub(crate) server: Server<'static>,
    /// The log socket's end here.
    pub(crate) packets: RawFd,
    /// The output pipe's end here.
    pub(crate) output: RawFd,
    /// `server-metrics=On`: the group's daemons may ask for the scoreboard.
    pub(crate) board: bool,
}

/// The byte on the control pipe that makes a writer end at once, because another one has taken its place.
pub(crate) const REPLACED: u8 = b'R';

/// Starts the process, which waits for `delay` before it does anything. Returns its pid and the writing end of its control pipe.
pub(crate) fn start(
    main: Server<'static>,
    channels: &[Channel],
    user: &ServingUser,
    delay: Duration,
) -> io::Result<(libc::pid_t, RawFd)> {
    own_process::fork("the log writer", |control| {
        write_on(main, channels, control, user, delay);
    })
}

/// Whether the log's lines have Apache's own form, which can be written for another process.
fn has_plain_format(server: Server<'_>) -> bool {
    // SAFETY: the core keeps its server configuration at its module's index, for as long as the server lives.
    unsafe {
        let index = sys::core_module.module_index;
        let config = server.module_config(index).cast::<sys::core_server_config>();
        config.as_ref().is_some_and(|config| config.error_log_format.is_null())
    }
}

fn write_on(main: Server<'static>, channels: &[Channel], control: RawFd, user: &ServingUser, delay: Duration) {
    let mut keep = vec![control];
    let mut next = Some(main);
    while let Some(server) = next {
        keep.extend(server.log_descriptor());
        next = server.next();
    }
    keep.extend(channels.iter().flat_map(|channel| [channel.packets, channel.output]));
    keep.extend([0, 1, 2]);
    let settled = settle(c"wsgi:log", keep, user);
    std::thread::sleep(delay);
    if settled {
        Writer { channels, control, partial: HashMap::new() }.run();
    }
}

struct Writer<'c> {
    channels: &'c [Channel],
    control: RawFd,
    /// Beginnings of lines on the output pipes.
    partial: HashMap<RawFd, Vec<u8>>,
}

impl Writer<'_> {
    fn run(&mut self) {
        let mut buffer = vec![0u8; MAX_LINE];
        let mut open: Vec<RawFd> = self.channels.iter().flat_map(|channel| [channel.packets, channel.output]).collect();
        let mut server_runs = true;
        loop {
            let mut entries: Vec<libc::pollfd> = open
                .iter()
                .copied()
                .chain(server_runs.then_some(self.control))
                .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
                .collect();
            if entries.is_empty() {
                return;
            }
            // SAFETY: as many entries as it says.
            let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, -1) };
            if count < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
            for entry in entries.iter().filter(|entry| entry.revents != 0) {
                let (count, passed) = match self.read(entry.fd, &mut buffer) {
                    Ok(read) => read,
                    Err(error) => {
                        if error.kind() != io::ErrorKind::Interrupted {
                            open.retain(|descriptor| *descriptor != entry.fd);
                        }
                        continue;
                    }
                };
                let bytes = &buffer[..count];
                if entry.fd == self.control {
                    if bytes.contains(&REPLACED) {
                        // The next one does not know how they begin.
                        self.partial
                            .keys()
                            .copied()
                            .collect::<Vec<_>>()
                            .into_iter()
                            .for_each(|pipe| self.end_line(pipe));
                        return;
                    }
                    // The server has gone. Its ends of the pipes went with it: what is open now is the daemons'.
                    server_runs = false;
                } else if count == 0 {
                    // Else it was a packet without content, which anybody may send.
                    if entry.revents & libc::POLLHUP != 0 && !has_more(entry.fd) {
                        self.end_line(entry.fd);
                        open.retain(|descriptor| *descriptor != entry.fd);
                    }
                } else if bytes == scoreboard::REQUEST && self.may_ask(entry.fd) {
                    // A daemon that went away meanwhile, or asked in another way, gets nothing.
                    let _ = passed.as_ref().map(board::answer);
                } else {
                    self.take(entry.fd, bytes);
                }
            }
        }
    }

    /// Reads from a descriptor. What daemons attach to a packet is taken only from those that may ask something.
    fn read(&self, descriptor: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        if self.may_ask(descriptor) {
            return board::receive(descriptor, buffer);
        }
        // SAFETY: room for as many bytes as it says.
        let count = unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(count).map(|count| (count, None)).map_err(|_| io::Error::last_os_error())
    }

    /// Whether what comes there may be a question.
    fn may_ask(&self, descriptor: RawFd) -> bool {
        self.channels.iter().any(|channel| channel.packets == descriptor && channel.board)
    }

    fn server_of(&self, descriptor: RawFd) -> Option<(Server<'static>, bool)> {
        self.channels
            .iter()
            .find(|channel| channel.packets == descriptor || channel.output == descriptor)
            .map(|channel| (channel.server, channel.packets == descriptor))
    }

    fn take(&mut self, descriptor: RawFd, bytes: &[u8]) {
        let Some((server, is_packet)) = self.server_of(descriptor) else { return };
        if is_packet {
            if let Ok((origin, record)) = line::decode(bytes) {
                write(server, Some((origin.pid, origin.tid)), &record);
            }
            return;
        }
        let mut waiting = self.partial.remove(&descriptor).unwrap_or_default();
        waiting.extend_from_slice(bytes);
        let mut rest = waiting.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            write_output(server, &rest[..end]);
            rest = &rest[end + 1..];
        }
        if rest.len() >= MAX_LINE {
            write_output(server, rest);
            rest = &[];
        }
        if !rest.is_empty() {
            self.partial.insert(descriptor, rest.to_vec());
        }
    }

    fn end_line(&mut self, descriptor: RawFd) {
        if let (Some((server, false)), Some(rest)) = (self.server_of(descriptor), self.partial.remove(&descriptor)) {
            write_output(server, &rest);
        }
    }
}

/// Whether there is something to read, behind what was read already.
fn has_more(descriptor: RawFd) -> bool {
    let mut count: c_int = 0;
    // SAFETY: writes one number.
    unsafe { libc::ioctl(descriptor, libc::FIONREAD, &raw mut count) == 0 && count > 0 }
}

fn write_output(server: Server<'_>, text: &[u8]) {
    if !text.is_empty() {
        let record = Record { level: Level::Error as u8, line: 0, file: Bytes::NONE, text: Bytes::new(text), json: 0 };
        write(server, None, &record);
    }
}

const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1"];

/// Writes a record as if the process that it comes from had: with that process's number, where the log's format can be
/// had without Apache's help.
fn write(server: Server<'_>, origin: Option<(u32, u32)>, record: &Record<'_>) {
    if i32::from(record.level) > server.log_level(module::index()) {
        return;
    }
    if let Some(object) = record.object()
        && server.append_to_log(object)
    {
        return;
    }
    let (Some(descriptor), true) = (server.log_descriptor(), has_plain_format(server)) else {
        Target::Server(server).write(record);
        return;
    };
    let mut line = format!("[{}] [wsgi:{}] ", now(), LEVELS[usize::from(record.level).min(LEVELS.len() - 1)]);
    if let Some((pid, tid)) = origin {
        line.push_str(&format!("[pid {pid}:tid {tid}] "));
    }
    let mut line = line.into_bytes();
    line.extend(escape(record.text.or_empty()));
    line.push(b'\n');
    // SAFETY: the line lives across the call. A log that cannot be written to has nowhere to say so.
    unsafe { libc::write(descriptor, line.as_ptr().cast(), line.len()) };
}

/// The time in the form of Apache's log.
fn now() -> String {
    let mut buffer = [0 as c_char; 64];
    let mut length = c_int::try_from(buffer.len()).unwrap_or(0);
    // SAFETY: the buffer is as long as it says, and ends in NUL afterwards.
    unsafe {
        let option = sys::AP_CTIME_OPTION_USEC.cast_signed();
        sys::ap_recent_ctime_ex(buffer.as_mut_ptr(), sys::apr_time_now(), option, &raw mut length);
        CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
    }
}

/// What cannot be printed in Apache's escaped form, so that no text can pretend to be another line.
fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text.iter().copied().take_while(|byte| *byte != 0) {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'"' | b' '..=b'~' => escaped.push(byte),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            b'\t' => escaped.extend_from_slice(b"\\t"),
            _ => escaped.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    escaped
}

/// Both ends of a log socket: the daemons' and the writer's. Packets stay whole.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors, which are fresh.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        if libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line() {
        assert_eq!(escape(b"a\n[wsgi:crit] \"b\\c\"\x1b\xff"), br#"a\n[wsgi:crit] "b\\c"\x1b\xff"#);
        assert_eq!(escape(b"cut\0here"), b"cut");
    }
}
