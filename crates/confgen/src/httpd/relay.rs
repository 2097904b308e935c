//! A pipe in front of one of our own outputs: httpd opens its logs by name, and a pipe of our own can always be opened anew,
//! which a socket, a file or another user's pipe cannot.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};

use super::log::LogLine;
use super::process::timeout;

/// The most lines that wait to be looked at.
const KEPT_LINES: usize = 10_000;

/// The longest line that is taken apart; the rest of a longer one is passed on, but not kept.
const LONGEST_LINE: usize = 64 << 10;

/// How often the relay looks whether the server has ended while nothing comes.
const SLICE: Duration = Duration::from_millis(100);

/// Which of our outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Standard,
    /// Standard error.
    Error,
}

impl Output {
    /// A reader that went away is no reason to end a server.
    fn write(self, bytes: &[u8]) {
        let _ = match self {
            Self::Standard => {
                let mut output = io::stdout().lock();
                output.write_all(bytes).and_then(|()| output.flush())
            }
            Self::Error => io::stderr().lock().write_all(bytes),
        };
    }
}

/// A pipe whose content is passed on to one of our outputs by a thread.
#[derive(Debug)]
pub struct Relay {
    lines: RelayedLines,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The lines that went through a relay and were not looked at yet.
#[derive(Debug, Clone, Default)]
pub struct RelayedLines(Arc<Mutex<VecDeque<LogLine>>>);

impl RelayedLines {
    /// Takes the lines that came since the last call.
    pub fn take(&self) -> Vec<LogLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(LogLine::parse(&String::from_utf8_lossy(line)));
    }
}

impl Relay {
    /// Makes the pipe; the end to write to is for the server alone.
    pub fn to(output: Output) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // Only our end: a server does not expect a log that has no room.
        fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (lines, ended) = (RelayedLines::default(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (lines, ended) = (lines.clone(), Arc::clone(&ended));
            std::thread::spawn(move || pass_on(reader, output, &lines, &ended))
        };
        Ok((Self { lines, ended, thread: Some(thread) }, writer))
    }

    /// The lines that go through it.
    pub fn lines(&self) -> RelayedLines {
        self.lines.clone()
    }

    /// Passes on what is still in the pipe, once the server has ended.
    pub fn finish(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a fault of ours, which is no reason to fail at the end.
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.join();
    }
}

fn pass_on(reader: OwnedFd, output: Output, lines: &RelayedLines, ended: &AtomicBool) {
    let mut reader = File::from(reader);
    let mut buffer = vec![0; 16 << 10];
    let mut line = Vec::new();
    loop {
        // Asked before reading: what was written before the end is in the pipe by now.
        let last = ended.load(Ordering::SeqCst);
        match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                output.write(&buffer[..count]);
                for piece in buffer[..count].split_inclusive(|&byte| byte == b'\n') {
                    if line.len() < LONGEST_LINE {
                        line.extend_from_slice(piece);
                    }
                    if piece.ends_with(b"\n") {
                        lines.push(line.trim_ascii_end());
                        line.clear();
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if last {
                    return;
                }
                let mut entries = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
                // A failure shows at the next reading.
                let _ = poll(&mut entries, timeout(SLICE));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_until_they_are_taken() {
        let (relay, writer) = Relay::to(Output::Error).unwrap();
        let lines = relay.lines();
        let mut writer = File::from(writer);
        writer.write_all(b"[t] [wsgi:error] [pid 1:tid 1] relayed\nhalf").unwrap();
        writer.write_all(b" a line\n").unwrap();
        drop(writer);
        relay.finish();
        let taken: Vec<String> = lines.take().into_iter().map(|line| line.message).collect();
        assert_eq!(taken, ["relayed", "half a line"]);
        assert!(lines.take().is_empty());
    }

    #[test]
    fn a_writer_that_stays_does_not_keep_the_end_waiting() {
        let (relay, writer) = Relay::to(Output::Error).unwrap();
        relay.finish();
        drop(writer);
    }
}
