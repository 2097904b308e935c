//! This process's part of the group's status page.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wsgi_protocol::keys;
use wsgi_protocol::launch::Daemon;
use wsgi_protocol::page::{Layout, Page, ProcessSlot, State, ThreadSlot, Wish};
use wsgi_protocol::request::Facts;
use wsgi_protocol::takeback;

/// The page, mapped for as long as the process lives.
pub(super) struct Status {
    page: Page,
    index: u32,
    /// Which start of a process this one is.
    start: u32,
}

/// Microseconds since the epoch.
pub(super) fn wall_clock() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

impl Status {
    /// Maps the page that the server made.
    ///
    /// # Errors
    /// When it cannot be mapped, is not sealed against a change of its size, or has no place for this process.
    pub(super) fn map(page: BorrowedFd<'_>, launch: &Daemon) -> io::Result<Self> {
        let (processes, index) = (launch.page_processes, launch.index);
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, text);
        // SAFETY: no pointers.
        let seals = unsafe { libc::fcntl(page.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & (libc::F_SEAL_SHRINK | libc::F_SEAL_GROW) != libc::F_SEAL_SHRINK | libc::F_SEAL_GROW {
            return Err(invalid("the status page is not sealed"));
        }
        let Some(layout) = Layout::new(processes, launch.threads, 0).filter(|_| index < processes) else {
            return Err(invalid("the status page has no place for this process"));
        };
        // SAFETY: a zeroed stat is valid, and fstat only writes to it.
        let size = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::fstat(page.as_raw_fd(), &raw mut stat) < 0 {
                return Err(io::Error::last_os_error());
            }
            usize::try_from(stat.st_size).unwrap_or(0)
        };
        if size < layout.size() {
            return Err(invalid("the status page is too small"));
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: maps the whole file, whose size is sealed; the mapping is never taken away.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, page.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: mmap returns page-aligned memory of `size` bytes, which holds the layout and stays mapped.
        Ok(Self { page: unsafe { Page::new(base.cast(), layout) }, index, start: launch.generation })
    }

    /// The process's number in its group.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// What tells this page from others.
    pub(super) fn page_identity(&self) -> u64 {
        self.page.header().identity.load(Ordering::Relaxed)
    }

    /// Notes that a worker has taken the request with this ticket. `false`: there is no place for it.
    pub(super) fn take(&self, worker: u32, ticket: u64) -> bool {
        let (Some(thread), Some(process)) = (self.thread(worker), self.process()) else { return false };
        takeback::take(thread, process, ticket);
        true
    }

    /// Whether the child has taken a request back, which is forgotten then.
    pub(super) fn is_withdrawn(&self, ticket: u64) -> bool {
        let process = self.process();
        process.is_some_and(|process| takeback::is_withdrawn(self.page.withdrawals(), process, ticket))
    }

    /// Whether there are requests of the group that were taken back and not yet thrown away.
    pub(super) fn has_withdrawn(&self) -> bool {
        self.page.withdrawals().any()
    }

    /// The process's slot; `map` checked that it is there.
    fn process(&self) -> Option<&ProcessSlot> {
        self.page.process(self.index)
    }

    pub(super) fn set_state(&self, state: State) {
        // A successor may have the place already.
        let mine = |process: &&ProcessSlot| process.generation.load(Ordering::Acquire) == self.start;
        if let Some(process) = self.process().filter(mine) {
            process.state.store(state as u32, Ordering::Release);
        }
    }

    /// So many requests in flight need no thread any more.
    pub(super) fn set_unread(&self, count: usize) {
        let mine = |process: &&ProcessSlot| process.generation.load(Ordering::Acquire) == self.start;
        if let Some(process) = self.process().filter(mine) {
            process.unread.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    /// The requests that threads serve: the worker from 0, method and path, and how long it has had it.
    pub(super) fn requests(&self) -> Vec<(u32, String, Duration)> {
        let now = wall_clock();
        let served = (0..self.page.threads()).filter_map(|worker| {
            let thread = self.thread(worker)?;
            let start = thread.request_start.load(Ordering::Acquire);
            let age = Duration::from_micros(u64::try_from(now.saturating_sub(start)).unwrap_or(0));
            (start != 0).then(|| (worker, thread.description(), age))
        });
        served.collect()
    }

    /// Whether the process wants a successor.
    pub(super) fn wish(&self) -> Wish {
        self.process().map_or(Wish::None, |process| Wish::from_number(process.wish.load(Ordering::Acquire)))
    }

    /// The process wants a successor.
    pub(super) fn set_wish(&self, wish: Wish) {
        if let Some(process) = self.process() {
            process.ask(wish);
        }
    }

    /// The version of a script that did not load in a successor, 0 for none.
    pub(super) fn given_up(&self) -> u64 {
        self.page.header().given_up.load(Ordering::Acquire)
    }

    /// A successor loads this version of a script; 0: it has loaded them all, whichever did not load before.
    pub(super) fn set_loading(&self, version: u64) {
        self.page.header().loading.store(version, Ordering::Release);
        if version == 0 {
            self.page.header().given_up.store(0, Ordering::Release);
        }
    }

    /// What is being loaded does not load.
    pub(super) fn give_up(&self) {
        self.page.header().give_up();
    }

    pub(super) fn set_started(&self) {
        if let Some(process) = self.process() {
            process.started.store(wall_clock(), Ordering::Relaxed);
        }
    }

    /// The process ends for this reason.
    pub(super) fn count_stop(&self, reason: &str) {
        self.page.tally().stopped(reason);
    }

    /// A request was broken off by interrupt-timeout.
    pub(super) fn count_interruption(&self) {
        self.page.tally().interrupted();
    }

    /// How many interpreters the process has.
    pub(super) fn set_interpreters(&self, count: u32) {
        if let Some(process) = self.process() {
            process.interpreters.store(count, Ordering::Relaxed);
        }
    }

    fn thread(&self, worker: u32) -> Option<&ThreadSlot> {
        self.page.thread(self.index, worker)
    }

    /// A worker begins to serve a request.
    pub(super) fn begin(&self, worker: u32, facts: &Facts<'_>) {
        let (Some(process), Some(thread)) = (self.process(), self.thread(worker)) else { return };
        process.requests.fetch_add(1, Ordering::Relaxed);
        let mut method = &b"?"[..];
        let mut uri = &b"?"[..];
        for entry in facts.entries() {
            match entry.key {
                METHOD => method = entry.value.or_empty(),
                URI => uri = entry.value.or_empty(),
                _ => {}
            }
        }
        thread.describe(method, uri);
        let now = wall_clock();
        thread.note_wait(now.saturating_sub(facts.queue_start));
        thread.request_start.store(now, Ordering::Release);
    }

    /// A worker has served its request.
    pub(super) fn end(&self, worker: u32) {
        let Some(thread) = self.thread(worker) else { return };
        thread.request_start.store(0, Ordering::Release);
        thread.requests.fetch_add(1, Ordering::Relaxed);
    }
}

const METHOD: keys::KeyId = keys::id("REQUEST_METHOD");
const URI: keys::KeyId = keys::id("REQUEST_URI");
