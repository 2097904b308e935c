//! Where the log writer's lines go. Each log has a thread and a bounded queue of its own: a log that accepts nothing (a
//! piped ErrorLog whose reader is stopped, a file system that hangs) delays only the daemons that write to it, and those
//! not for long.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wsgi_protocol::abi::{Bytes, Level, Record};

use crate::host::Server;
use crate::host::log::Target;
use crate::{module, sys};

/// The most bytes that wait for one log.
const CAPACITY: usize = 1 << 20;

/// A write that takes longer than this shows that the log is stalled.
pub(super) const STALLED: Duration = Duration::from_secs(1);

/// What is counted for a waiting line besides its text.
const OVERHEAD: usize = 64;

const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1"];

/// A text with what Apache needs to format it.
struct OwnRecord {
    server: Server<'static>,
    level: u8,
    line: u32,
    file: Vec<u8>,
    text: Vec<u8>,
}

// SAFETY: the server record belongs to the configuration, which this process keeps until it exits and never changes.
unsafe impl Send for OwnRecord {}

/// One thing to write.
enum Entry {
    /// A complete line.
    Line(Vec<u8>),
    /// A record for Apache's own functions: the log has a format of its own, or is no file.
    Record(OwnRecord),
    /// So many lines were dropped here.
    Lost(u64),
}

impl Entry {
    fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Line(line) => line.len(),
                Self::Record(record) => record.text.len() + record.file.len(),
                Self::Lost(_) => 0,
            }
    }
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// When the write under way has begun.
    writing: Option<Instant>,
    /// How many writes have ended.
    written: u64,
    /// The main thread waits for room.
    awaited: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    written: Condvar,
    /// An eventfd: the main thread is woken by it.
    room: RawFd,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One log.
pub(super) struct Sink {
    server: Server<'static>,
    shared: Arc<Shared>,
    /// `false`: no thread could be made, and the main thread writes by itself.
    threaded: bool,
}

impl Sink {
    /// Starts the thread of a server's log. `room` is an eventfd that becomes readable when a full queue has room again.
    pub(super) fn start(server: Server<'static>, room: RawFd) -> Self {
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), written: Condvar::new(), room });
        let own = Destination { server, descriptor: server.log_descriptor() };
        let queue = Arc::clone(&shared);
        let threaded = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || run(&own, &queue)).is_ok();
        Self { server, shared, threaded }
    }

    /// Whether another server logs to the same place.
    pub(super) fn serves(&self, server: Server<'static>) -> bool {
        self.server.raw() == server.raw()
            || server.log_descriptor().map_or_else(
                || self.server.log_descriptor().is_none(),
                |descriptor| self.server.log_descriptor() == Some(descriptor),
            )
    }

    /// Until when the main thread should read nothing more for this log: it is slow, but not stalled. `None`: go on.
    pub(super) fn full_until(&self) -> Option<Instant> {
        let mut queue = self.shared.queue();
        if queue.bytes < CAPACITY {
            return None;
        }
        let until = queue.writing.unwrap_or_else(Instant::now) + STALLED;
        queue.awaited = until > Instant::now();
        queue.awaited.then_some(until)
    }

    /// Writes a record as if the process that it comes from had: with that process's number, where the log's format can
    /// be had without Apache's help.
    pub(super) fn write(&self, server: Server<'static>, origin: Option<(u32, u32)>, record: &Record<'_>) {
        if i32::from(record.level) <= server.log_level(module::index()) {
            self.write_always(server, origin, record);
        }
    }

    /// The same, whatever `LogLevel` says.
    pub(super) fn write_always(&self, server: Server<'static>, origin: Option<(u32, u32)>, record: &Record<'_>) {
        let entry = if let (Some(object), Some(_)) = (record.object(), server.log_descriptor()) {
            Entry::Line([object, b"\n"].concat())
        } else if server.log_descriptor().is_some() && has_plain_format(server) {
            Entry::Line(line(origin, record))
        } else {
            // Apache drops what is above the level.
            let most = u8::try_from(server.log_level(module::index()).clamp(0, 15)).unwrap_or(0);
            Entry::Record(OwnRecord {
                server,
                level: record.level.min(most),
                line: record.line,
                file: record.file.or_empty().to_vec(),
                text: record.text.or_empty().to_vec(),
            })
        };
        if !self.threaded {
            Destination { server: self.server, descriptor: self.server.log_descriptor() }.write(entry);
            return;
        }
        let mut queue = self.shared.queue();
        if queue.bytes >= CAPACITY {
            match queue.entries.back_mut() {
                Some(Entry::Lost(count)) => *count += 1,
                _ => queue.entries.push_back(Entry::Lost(1)),
            }
        } else {
            queue.bytes += entry.size();
            queue.entries.push_back(entry);
        }
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Waits until everything is written, or until nothing was for so long.
    pub(super) fn finish(&self, patience: Duration) {
        if !self.threaded {
            return;
        }
        let mut queue = self.shared.queue();
        while !queue.entries.is_empty() || queue.writing.is_some() {
            let before = queue.written;
            let waited = self.shared.written.wait_timeout_while(queue, patience, |queue| queue.written == before);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return;
            }
            queue = now;
        }
    }
}

/// The thread of one log. It runs until the process exits.
fn run(destination: &Destination, shared: &Shared) {
    let mut queue = shared.queue();
    loop {
        let Some(entry) = queue.entries.pop_front() else {
            queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let size = entry.size();
        let counted = !matches!(entry, Entry::Lost(_));
        queue.writing = Some(Instant::now());
        drop(queue);
        destination.write(entry);
        queue = shared.queue();
        queue.writing = None;
        queue.written += 1;
        if counted {
            queue.bytes -= size;
        }
        if queue.awaited && queue.bytes < CAPACITY {
            queue.awaited = false;
            // SAFETY: eight bytes from a number. A full counter is readable anyway.
            unsafe { libc::write(shared.room, (&raw const ONE).cast(), size_of::<u64>()) };
        }
        shared.written.notify_all();
    }
}

static ONE: u64 = 1;

/// What a thread writes to.
struct Destination {
    server: Server<'static>,
    descriptor: Option<RawFd>,
}

// SAFETY: as for `OwnRecord`.
unsafe impl Send for Destination {}

impl Destination {
    fn write(&self, entry: Entry) {
        match entry {
            Entry::Line(line) => self.write_line(&line),
            Entry::Record(record) => Target::Server(record.server).write(&Record {
                level: record.level,
                line: record.line,
                file: if record.file.is_empty() { Bytes::NONE } else { Bytes::new(&record.file) },
                text: Bytes::new(&record.text),
                json: 0,
            }),
            Entry::Lost(count) => {
                let text = format!(
                    "WSGI0959: {count} lines of daemon processes were lost, because this log accepted nothing for more \
                     than {} second.",
                    STALLED.as_secs()
                );
                let text = Bytes::new(text.as_bytes());
                let record = Record { level: Level::Error as u8, line: 0, file: Bytes::NONE, text, json: 0 };
                if self.descriptor.is_some() {
                    self.write_line(&line(None, &record));
                } else {
                    Target::Server(self.server).write(&record);
                }
            }
        }
    }

    /// One write keeps lines of several processes apart. A log that cannot be written to has nowhere to say so.
    fn write_line(&self, line: &[u8]) {
        let Some(descriptor) = self.descriptor else { return };
        let mut rest = line;
        while !rest.is_empty() {
            // SAFETY: the line lives across the call.
            let count = unsafe { libc::write(descriptor, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(count) {
                Ok(count) => rest = &rest[count.min(rest.len())..],
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
                        // SAFETY: one entry.
                        unsafe { libc::poll(&raw mut entry, 1, -1) };
                    }
                    _ => return,
                },
            }
        }
    }
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

/// A record in the form of Apache's log.
fn line(origin: Option<(u32, u32)>, record: &Record<'_>) -> Vec<u8> {
    let mut line = format!("[{}] [wsgi:{}] ", now(), LEVELS[usize::from(record.level).min(LEVELS.len() - 1)]);
    if let Some((pid, tid)) = origin {
        line.push_str(&format!("[pid {pid}:tid {tid}] "));
    }
    let mut line = line.into_bytes();
    line.extend(escape(record.text.or_empty()));
    line.push(b'\n');
    line
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line() {
        assert_eq!(escape(b"a\n[wsgi:crit] \"b\\c\"\x1b\xff"), br#"a\n[wsgi:crit] "b\\c"\x1b\xff"#);
        assert_eq!(escape(b"cut\0here"), b"cut");
    }
}
