//! Responses whose client reads slowly: what the application has said waits here instead of in its thread.
//!
//! A response goes out by its worker's own writing as long as that gets on. Once nothing was taken for [`STALL`], what is left
//! of it is stored ([`Spool`]) and written by one thread for all of them, while the application goes on; when it has ended, its
//! worker is free. What is stored is bounded, for each response and for the process: beyond that the application waits.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, send_some};
use super::poller::Wakeup;
use super::server::Server;
use super::status::Status;

/// How long nothing is taken of a response before it counts as slow.
pub(super) const STALL: Duration = Duration::from_millis(50);

/// How much of a response is stored at most. With what the sockets and the Apache child hold it stays below 4 MiB.
const OF_ONE: usize = 3 * 1024 * 1024;

/// How much of all of them.
const OF_ALL: usize = 64 * 1024 * 1024;

/// How much memory is taken at once for them.
const STEP: usize = 512 * 1024;

/// What each of them may store in any case, so that none waits for others.
const ALWAYS: usize = 64 * 1024;

/// See the module.
pub(super) struct Outbox {
    spools: Mutex<Spools>,
    /// A response whose request had ended is out.
    out: Condvar,
    /// Bytes that are stored.
    stored: AtomicUsize,
    wakeup: Wakeup,
}

#[derive(Default)]
struct Spools {
    all: Vec<Arc<Spool>>,
    /// How many of them belong to requests whose application has ended.
    ended: usize,
    /// There is a thread that writes them.
    written: bool,
}

/// What waits of one response.
pub(super) struct Spool {
    /// The connection's descriptor. It is open as long as something is stored: the connection is its worker's, or here.
    socket: RawFd,
    state: Mutex<State>,
    /// There is room again, or never will be.
    moved: Condvar,
    /// How long nothing may be taken; zero is for ever.
    patience: Duration,
}

struct State {
    bytes: VecDeque<u8>,
    failed: Option<io::ErrorKind>,
    /// When something was last written.
    progress: Instant,
    /// Of a request that has ended: its connection, and whether that may be kept.
    end: Option<(Connection, bool)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { spools: Mutex::default(), out: Condvar::new(), stored: AtomicUsize::new(0), wakeup: Wakeup::new()? })
    }

    /// Begins to store what is written to a connection.
    ///
    /// # Errors
    /// When there can be no thread for it: the worker has to wait itself.
    pub(super) fn begin(&'static self, server: &'static Server, connection: &Connection) -> io::Result<Arc<Spool>> {
        let mut spools = lock(&self.spools);
        if !spools.written {
            std::thread::Builder::new().spawn(move || self.run(server))?;
            spools.written = true;
        }
        let spool = Arc::new(Spool {
            socket: connection.as_fd().as_raw_fd(),
            state: Mutex::new(State { bytes: VecDeque::new(), failed: None, progress: Instant::now(), end: None }),
            moved: Condvar::new(),
            patience: Duration::from_millis(server.timeouts.socket),
        });
        spools.all.push(Arc::clone(&spool));
        Ok(spool)
    }

    /// Stores bytes behind those that wait, as soon as there is room.
    ///
    /// # Errors
    /// What came of the earlier ones; `WouldBlock` when nothing was taken in time.
    pub(super) fn append(&self, spool: &Spool, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                let (mut state, room) = self.with_room(spool)?;
                let was_empty = state.bytes.is_empty();
                if was_empty && let Ok(count) = send_some(spool.socket(), &[IoSlice::new(rest)], false) {
                    // A failure is met again by whoever writes the rest.
                    rest = &rest[count..];
                    continue;
                }
                let count = rest.len().min(room);
                state.bytes.extend(&rest[..count]);
                self.stored.fetch_add(count, Ordering::Relaxed);
                rest = &rest[count..];
                if was_empty {
                    state.progress = Instant::now();
                    self.wakeup.wake();
                }
            }
        }
        Ok(())
    }

    /// The state once there is room for so many bytes, at least one.
    fn with_room<'s>(&self, spool: &'s Spool) -> io::Result<(MutexGuard<'s, State>, usize)> {
        let mut state = lock(&spool.state);
        loop {
            if let Some(kind) = state.failed {
                return Err(kind.into());
            }
            let stored = state.bytes.len();
            let of_all = OF_ALL.saturating_sub(self.stored.load(Ordering::Relaxed));
            let room = ALWAYS.saturating_sub(stored).max(OF_ONE.saturating_sub(stored).min(of_all)).min(ALWAYS);
            if room > 0 && state.has_place_for(room) {
                return Ok((state, room));
            }
            if room > 0 && stored == 0 {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            // Others make room as well, which nobody tells.
            (state, _) = spool.moved.wait_timeout(state, STALL).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The application of a request has ended: what is stored counts as left from now on.
    pub(super) fn ending(&self, status: &Status) {
        let mut spools = lock(&self.spools);
        spools.ended += 1;
        status.set_unread(spools.ended);
    }

    /// The request has ended ([`Outbox::ending`]): its connection stays here until everything is written. `Some`: it is, and the
    /// connection goes on if it may be kept.
    pub(super) fn end(
        &self,
        status: &Status,
        spool: &Spool,
        connection: Connection,
        keep: bool,
    ) -> Option<(Connection, bool)> {
        let mut state = lock(&spool.state);
        if state.bytes.is_empty() {
            self.remove(status, spool);
            return Some((connection, keep && state.failed.is_none()));
        }
        state.end = Some((connection, keep));
        None
    }

    /// Responses that are not out although their requests have ended.
    pub(super) fn left(&self) -> usize {
        lock(&self.spools).ended
    }

    /// Waits until there are none.
    pub(super) fn drain(&self) {
        let spools = lock(&self.spools);
        drop(self.out.wait_while(spools, |spools| spools.ended > 0).unwrap_or_else(PoisonError::into_inner));
    }

    /// Everything of a request that has ended is out.
    fn remove(&self, status: &Status, spool: &Spool) {
        let mut spools = lock(&self.spools);
        spools.all.retain(|other| !std::ptr::eq(Arc::as_ptr(other), spool));
        spools.ended -= 1;
        status.set_unread(spools.ended);
    }

    fn run(&self, server: &Server) {
        loop {
            self.wakeup.clear();
            let mut waiting = lock(&self.spools).all.clone();
            let mut wait: Option<Duration> = None;
            waiting.retain(|spool| {
                let state = lock(&spool.state);
                let left = (!spool.patience.is_zero()).then(|| spool.patience.saturating_sub(state.progress.elapsed()));
                if !state.bytes.is_empty() {
                    wait = wait.into_iter().chain(left).min();
                }
                !state.bytes.is_empty()
            });
            let entry = |fd, events| libc::pollfd { fd, events, revents: 0 };
            let wakeup = entry(self.wakeup.as_fd().as_raw_fd(), libc::POLLIN);
            let sockets = waiting.iter().map(|spool| entry(spool.socket, libc::POLLOUT));
            let mut entries: Vec<libc::pollfd> = std::iter::once(wakeup).chain(sockets).collect();
            let timeout = wait.map_or(-1, |wait| i32::try_from(wait.as_millis() + 1).unwrap_or(i32::MAX));
            let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
            // SAFETY: as many entries as it says. A descriptor that was closed meanwhile is looked at in vain.
            if unsafe { libc::poll(entries.as_mut_ptr(), count, timeout) } < 0 {
                // An interruption, or no memory for the moment.
                continue;
            }
            for (spool, entry) in waiting.iter().zip(&entries[1..]) {
                self.go_on(server, spool, entry.revents != 0);
            }
        }
    }

    /// Writes what can be written of a response, and sends its connection on when that is all.
    fn go_on(&self, server: &Server, spool: &Spool, ready: bool) {
        let mut state = lock(&spool.state);
        if state.bytes.is_empty() {
            return;
        }
        let before = state.bytes.len();
        if ready {
            state.write(spool.socket());
        }
        let late = !spool.patience.is_zero() && state.progress.elapsed() >= spool.patience;
        if late && state.failed.is_none() {
            state.failed = Some(io::ErrorKind::WouldBlock);
        }
        if state.failed.is_some() {
            state.bytes.clear();
        }
        self.stored.fetch_sub(before - state.bytes.len(), Ordering::Relaxed);
        spool.moved.notify_all();
        if !state.bytes.is_empty() {
            return;
        }
        // What was needed for a large one is not kept for the rest of it.
        state.bytes = VecDeque::new();
        let Some((connection, keep)) = state.end.take() else { return };
        let failed = state.failed.is_some();
        drop(state);
        // Nobody reads from connections any more once the process stops.
        if keep && !failed && !server.is_stopping() {
            server.park(connection);
        } else {
            drop(connection);
        }
        self.remove(&server.status, spool);
        self.out.notify_all();
        server.closed();
    }
}

impl Spool {
    /// The connection's socket, which is open while its exchange goes on or something is stored.
    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: callers belong to the exchange, or have seen that something is stored.
        unsafe { BorrowedFd::borrow_raw(self.socket) }
    }
}

impl State {
    /// Makes place for bytes, if there is memory: a process with a limit of it must not die of this.
    fn has_place_for(&mut self, count: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= count || self.bytes.try_reserve_exact(count.max(STEP)).is_ok()
    }

    /// Writes what can be taken now.
    fn write(&mut self, socket: BorrowedFd<'_>) {
        let (first, second) = self.bytes.as_slices();
        match send_some(socket, &[IoSlice::new(first), IoSlice::new(second)], false) {
            Ok(count) => {
                self.bytes.drain(..count);
                self.progress = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.failed = Some(error.kind()),
        }
    }
}
