//! The process that writes to the error log what daemons log outside of requests.
//!
//! Daemons never hold a descriptor of a log: they send packets, and their standard output and error is a pipe. The
//! writer is a fork of the server that keeps the logs' descriptors, gives up its privileges, and does nothing else. It
//! outlives a stop of the server for as long as daemons do, so that their last lines are not lost.
//!
//! The main thread reads, and the threads of [`sink`] write: a stalled log must not delay the daemons of another one.

mod sink;

use std::collections::HashMap;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use wsgi_protocol::abi::{Bytes, Level, Record};
use wsgi_protocol::line::{self, MAX_LINE};
use wsgi_protocol::scoreboard;

use sink::Sink;

use super::own_process::settle;
use super::spawn::{SETUP_FAILED, SetupFailure};
use super::{board, own_process};
use crate::host::{Server, ServingUser};

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
    let mut writer = match Writer::new(main, channels, control) {
        Ok(writer) => writer,
        // SAFETY: nothing else of the server may run in this process.
        Err(_) => unsafe { libc::_exit(SETUP_FAILED) },
    };
    if let Err(failure) = settled {
        let SetupFailure { code, what, error } = failure;
        let text = format!("{code}: {what} for the process that writes the log of daemon processes ({error}).");
        let record = record(Level::Alert, text.as_bytes());
        writer.main_sink.write(main, None, &record);
        writer.main_sink.finish(PATIENCE);
        // SAFETY: as above.
        unsafe { libc::_exit(SETUP_FAILED) };
    }
    writer.run();
    writer.finish();
}

/// How long the writer waits at its end for a log that accepts nothing.
const PATIENCE: Duration = Duration::from_secs(2);

fn record(level: Level, text: &[u8]) -> Record<'_> {
    Record { level: level as u8, line: 0, file: Bytes::NONE, text: Bytes::new(text), json: 0 }
}

struct Writer<'c> {
    channels: &'c [Channel],
    control: RawFd,
    main_sink: Rc<Sink>,
    /// For each channel the log that it goes to.
    sinks: Vec<Rc<Sink>>,
    /// Readable when a log that was full has room again.
    room: OwnedFd,
    /// Beginnings of lines on the output pipes.
    partial: HashMap<RawFd, Vec<u8>>,
}

impl<'c> Writer<'c> {
    fn new(main: Server<'static>, channels: &'c [Channel], control: RawFd) -> io::Result<Self> {
        // SAFETY: the descriptor is fresh.
        let room = unsafe {
            let room = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if room < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(room)
        };
        let main_sink = Rc::new(Sink::start(main, room.as_raw_fd()));
        let mut sinks: Vec<Rc<Sink>> = Vec::with_capacity(channels.len());
        for channel in channels {
            let known = sinks.iter().chain([&main_sink]).find(|sink| sink.serves(channel.server)).map(Rc::clone);
            sinks.push(known.unwrap_or_else(|| Rc::new(Sink::start(channel.server, room.as_raw_fd()))));
        }
        Ok(Self { channels, control, main_sink, sinks, room, partial: HashMap::new() })
    }

    /// Lets the logs take what waits.
    fn finish(&self) {
        self.main_sink.finish(PATIENCE);
        self.sinks.iter().for_each(|sink| sink.finish(PATIENCE));
    }

    /// The descriptors to read from now, and until when those that are left out have to wait for a slow log.
    fn readable(&self, open: &[RawFd]) -> (Vec<RawFd>, Option<Instant>) {
        let mut until: Option<Instant> = None;
        let mut read = open.to_vec();
        for (channel, sink) in self.channels.iter().zip(&self.sinks) {
            if let Some(full) = sink.full_until() {
                read.retain(|descriptor| ![channel.packets, channel.output].contains(descriptor));
                until = Some(until.map_or(full, |until| until.min(full)));
            }
        }
        (read, until)
    }

    fn run(&mut self) {
        let mut buffer = vec![0u8; MAX_LINE];
        let mut open: Vec<RawFd> = self.channels.iter().flat_map(|channel| [channel.packets, channel.output]).collect();
        let mut server_runs = true;
        loop {
            if open.is_empty() && !server_runs {
                return;
            }
            let (read, until) = self.readable(&open);
            let mut entries: Vec<libc::pollfd> = read
                .into_iter()
                .chain(server_runs.then_some(self.control))
                .chain([self.room.as_raw_fd()])
                .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
                .collect();
            let timeout = until.map_or(-1, |until| {
                let left = until.saturating_duration_since(Instant::now()).as_millis();
                c_int::try_from(left + 1).unwrap_or(c_int::MAX)
            });
            // SAFETY: as many entries as it says.
            let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
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
                if entry.fd == self.room.as_raw_fd() {
                    continue;
                }
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

    fn log_of(&self, descriptor: RawFd) -> Option<(Server<'static>, Rc<Sink>, bool)> {
        self.channels
            .iter()
            .zip(&self.sinks)
            .find(|(channel, _)| channel.packets == descriptor || channel.output == descriptor)
            .map(|(channel, sink)| (channel.server, Rc::clone(sink), channel.packets == descriptor))
    }

    fn take(&mut self, descriptor: RawFd, bytes: &[u8]) {
        let Some((server, sink, is_packet)) = self.log_of(descriptor) else { return };
        if is_packet {
            if let Ok((origin, record)) = line::decode(bytes) {
                sink.write(server, Some((origin.pid, origin.tid)), &record);
            }
            return;
        }
        let mut waiting = self.partial.remove(&descriptor).unwrap_or_default();
        waiting.extend_from_slice(bytes);
        let mut rest = waiting.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            write_output(&sink, server, &rest[..end]);
            rest = &rest[end + 1..];
        }
        if rest.len() >= MAX_LINE {
            write_output(&sink, server, rest);
            rest = &[];
        }
        if !rest.is_empty() {
            self.partial.insert(descriptor, rest.to_vec());
        }
    }

    fn end_line(&mut self, descriptor: RawFd) {
        if let (Some((server, sink, false)), Some(rest)) = (self.log_of(descriptor), self.partial.remove(&descriptor)) {
            write_output(&sink, server, &rest);
        }
    }
}

/// Writes a line of a daemon's standard output or error. It has no level, so `LogLevel` does not apply to it: this is
/// where a process writes why it dies.
fn write_output(sink: &Sink, server: Server<'static>, text: &[u8]) {
    if !text.is_empty() {
        sink.write_always(server, None, &record(Level::Error, text));
    }
}

/// Whether there is something to read, behind what was read already.
fn has_more(descriptor: RawFd) -> bool {
    let mut count: c_int = 0;
    // SAFETY: writes one number.
    unsafe { libc::ioctl(descriptor, libc::FIONREAD, &raw mut count) == 0 && count > 0 }
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
