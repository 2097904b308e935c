//! Follows a log file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::log::LogLine;
use super::process::timeout;

/// A place in a log file, and the lines after it.
///
/// Only whole lines are handed out; the rest of a line that is being written waits for its end.
#[derive(Debug, Clone)]
pub struct LogTail {
    path: PathBuf,
    offset: u64,
}

impl LogTail {
    /// From the start of the file, which need not exist yet.
    pub fn from_start(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0 }
    }

    /// From what is the end of the file now.
    pub fn from_end(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: std::fs::metadata(path).map_or(0, |metadata| metadata.len()) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far it has read, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on from a place that was read earlier.
    pub fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Everything that is left, with a last line that nobody will end any more.
    pub fn read_all(&mut self) -> io::Result<Vec<LogLine>> {
        let mut lines = self.read()?;
        let mut rest = Vec::new();
        match File::open(&self.path) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(self.offset))?;
                file.read_to_end(&mut rest)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.offset += rest.len() as u64;
        if !rest.is_empty() {
            lines.push(LogLine::parse(&String::from_utf8_lossy(&rest)));
        }
        Ok(lines)
    }

    /// The lines written since the last call. A file that is missing has none; one that was cut short is read from its start.
    pub fn read(&mut self) -> io::Result<Vec<LogLine>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        Ok(bytes[..whole]
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| LogLine::parse(&String::from_utf8_lossy(line)))
            .collect())
    }

    /// Waits for a line that fits and returns all lines up to the end of that reading, whether one came or the time was up.
    pub fn wait_for(
        &mut self,
        limit: Duration,
        mut fits: impl FnMut(&LogLine) -> bool,
    ) -> io::Result<(bool, Vec<LogLine>)> {
        let deadline = Instant::now() + limit;
        let mut watch = Watch::new(&self.path)?;
        let mut lines = Vec::new();
        loop {
            let new = self.read()?;
            let found = new.iter().any(&mut fits);
            lines.extend(new);
            let left = deadline.saturating_duration_since(Instant::now());
            if found || left.is_zero() {
                return Ok((found, lines));
            }
            watch.wait(left)?;
        }
    }
}

/// Tells of writes to a file that may not exist yet: its folder is watched.
struct Watch {
    inotify: Inotify,
}

impl Watch {
    fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        inotify.add_watch(folder, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        Ok(Self { inotify })
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let mut entries = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut entries, timeout(limit)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        match self.inotify.read_events() {
            Ok(_) | Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn hands_out_whole_lines_once_and_notices_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let mut tail = LogTail::from_start(&path);
        assert!(tail.read().unwrap().is_empty());
        fs::write(&path, "one\ntwo\nthr").unwrap();
        let texts = |lines: Vec<LogLine>| lines.into_iter().map(|line| line.raw).collect::<Vec<_>>();
        assert_eq!(texts(tail.read().unwrap()), ["one", "two"]);
        assert!(tail.read().unwrap().is_empty());
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"ee\n").unwrap();
        assert_eq!(texts(tail.clone().read().unwrap()), ["three"]);
        assert!(LogTail::from_end(&path).read().unwrap().is_empty());
        fs::write(&path, "new\n").unwrap();
        assert_eq!(texts(tail.read().unwrap()), ["new"]);
    }

    #[test]
    fn waits_for_a_line_of_a_file_that_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let mut tail = LogTail::from_start(&path);
        let (found, _) = tail.wait_for(Duration::from_millis(10), |_| true).unwrap();
        assert!(!found);
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || {
                for text in ["first\n", "ready\n"] {
                    fs::OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(&path)
                        .unwrap()
                        .write_all(text.as_bytes())
                        .unwrap();
                }
            })
        };
        let (found, lines) = tail.wait_for(Duration::from_secs(10), |line| line.raw == "ready").unwrap();
        writer.join().unwrap();
        assert!(found);
        assert_eq!(lines.len(), 2);
    }
}
