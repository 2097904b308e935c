//! What the threads of a daemon process share.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use wsgi_protocol::abi::{Level, Record};
use wsgi_protocol::frame::Secret;
use wsgi_protocol::launch::Timeouts;
use wsgi_protocol::page::{State, Wish};
use wsgi_protocol::scoreboard::Snapshot;
use wsgi_protocol::script_file::ScriptFile;

use super::connection::Connection;
use super::crew::Crew;
use super::fork::Held;
use super::lifelines::Lifelines;
use super::line::ServerLog;
use super::loader::Stale;
use super::outbox::Outbox;
use super::poller::{Poller, Token, Wakeup};
use super::rolling::Rolling;
use super::status::Status;
use super::strangers::{PATIENCE, Strangers};
use super::timers::Observation;
use crate::engine::Engine;
use crate::gateway::{Changed, Process};

/// The own listener in the poller; connections have their descriptor's number, which is far below.
pub(super) const LISTENER: Token = Token(u64::MAX);
/// The group's overflow listener.
pub(super) const OVERFLOW: Token = Token(u64::MAX - 1);
/// The end of the process.
pub(super) const STOP: Token = Token(u64::MAX - 2);

/// The time of connections without the secret.
pub(super) const STRANGERS: Token = Token(u64::MAX - 3);

/// What the monitor observes, written by whoever knows it.
pub(super) struct Board {
    base: Instant,
    /// Per worker: when its request began, 0 while it has none.
    starts: Box<[AtomicU64]>,
    finished: AtomicU64,
    activity: AtomicU64,
    watchdog: AtomicU64,
    /// The same of the locks that interpreters have of their own; 0 while nobody tries them.
    prober: AtomicU64,
    startup: AtomicU64,
    /// The number of finished requests from which the monitor wants to hear of each.
    announce_from: AtomicU64,
    pub(super) monitor: &'static Wakeup,
}

impl Board {
    pub(super) fn new(threads: u32, maximum_requests: u64, monitor: &'static Wakeup) -> Self {
        let announce_from = if maximum_requests == 0 { u64::MAX } else { maximum_requests };
        Self {
            base: Instant::now(),
            starts: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            finished: AtomicU64::new(0),
            activity: AtomicU64::new(0),
            watchdog: AtomicU64::new(0),
            prober: AtomicU64::new(0),
            startup: AtomicU64::new(0),
            announce_from: AtomicU64::new(announce_from),
            monitor,
        }
    }

    /// Milliseconds since the start of the process, never 0.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    pub(super) fn begin(&self, worker: u32) {
        if let Some(start) = self.starts.get(worker as usize) {
            start.store(self.now(), Ordering::Release);
        }
    }

    /// Whether the worker still has the request that began then.
    pub(super) fn still_serves(&self, worker: u32, since: u64) -> bool {
        self.starts.get(worker as usize).is_some_and(|start| start.load(Ordering::Acquire) == since)
    }

    pub(super) fn end(&self, worker: u32) {
        if let Some(start) = self.starts.get(worker as usize) {
            start.store(0, Ordering::Release);
        }
        let finished = self.finished.fetch_add(1, Ordering::AcqRel) + 1;
        if finished >= self.announce_from.load(Ordering::Acquire) {
            self.monitor.wake();
        }
    }

    /// The monitor hears of every request that ends after so many.
    pub(super) fn announce_from(&self, finished: u64) {
        self.announce_from.store(finished, Ordering::Release);
    }

    /// From now on the monitor hears of every request that ends.
    pub(super) fn announce_all(&self) {
        self.announce_from.store(0, Ordering::Release);
    }

    fn announces(&self) -> bool {
        self.announce_from.load(Ordering::Acquire) == 0
    }

    pub(super) fn activity(&self) {
        self.activity.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn watchdog(&self) {
        self.watchdog.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn prober(&self) {
        self.prober.store(self.now(), Ordering::Relaxed);
    }

    /// Everything at this moment.
    fn observe(&self, connections: usize, unread: usize) -> Observation {
        let some = |value: u64| (value > 0).then_some(value);
        let active: Vec<_> = self.starts.iter().map(|start| some(start.load(Ordering::Acquire))).collect();
        let finished = self.finished.load(Ordering::Acquire);
        Observation {
            used: finished > 0 || active.iter().any(Option::is_some),
            active,
            finished,
            activity: self.activity.load(Ordering::Relaxed),
            watchdog: some(self.prober.load(Ordering::Relaxed))
                .unwrap_or(u64::MAX)
                .min(self.watchdog.load(Ordering::Relaxed)),
            startup: some(self.startup.load(Ordering::Relaxed)),
            connections,
            unread,
        }
    }
}

/// See the module. There is one, and it lives as long as the process.
pub(super) struct Server {
    pub(super) group: String,
    pub(super) secret: Secret,
    strangers: Strangers,
    pub(super) timeouts: Timeouts,
    /// `SO_SNDBUF` and `SO_RCVBUF` of connections; 0 is the system's.
    buffers: (u32, u32),
    buffers_failed: AtomicBool,
    pub(super) log: ServerLog,
    pub(super) status: Status,
    pub(super) board: Board,
    pub(super) poller: Poller,
    pub(super) crew: Crew,
    pub(super) outbox: Outbox,
    pub(super) listener: Held<UnixListener>,
    pub(super) overflow: Option<Held<UnixListener>>,
    pub(super) rolling: Option<Rolling>,
    /// Where to ask for a successor.
    bell: Option<Held<OwnedFd>>,
    /// Where to say that what the loader has loaded is out of date.
    stale: Option<Stale>,
    /// Connections that wait for a request.
    idle: Mutex<HashMap<i32, Connection>>,
    /// The last connection that came could be taken.
    accepts: AtomicBool,
    /// No connection is kept any more.
    leaving: AtomicBool,
    stopping: AtomicBool,
    stop: Wakeup,
    script_changed: AtomicBool,
    loading: AtomicU32,
    engine: OnceLock<&'static Engine>,
    lifelines: OnceLock<Lifelines>,
}

/// The parts that a server is made of.
pub(super) struct Parts {
    pub(super) group: String,
    pub(super) secret: Secret,
    pub(super) peers: Vec<u32>,
    pub(super) timeouts: Timeouts,
    pub(super) buffers: (u32, u32),
    pub(super) log: ServerLog,
    pub(super) status: Status,
    pub(super) board: Board,
    pub(super) listener: Held<UnixListener>,
    pub(super) overflow: Option<Held<UnixListener>>,
    pub(super) rolling: Option<Rolling>,
    pub(super) bell: Option<Held<OwnedFd>>,
    pub(super) stale: Option<Stale>,
}

impl Server {
    pub(super) fn new(parts: Parts) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        let stop = Wakeup::new()?;
        poller.add_for_all(stop.as_fd(), STOP)?;
        let strangers = Strangers::new(parts.peers)?;
        poller.add(strangers.as_fd(), STRANGERS)?;
        parts.listener.set_nonblocking(true)?;
        if let Some(overflow) = &parts.overflow {
            overflow.set_nonblocking(true)?;
        }
        Ok(Self {
            group: parts.group,
            secret: parts.secret,
            strangers,
            timeouts: parts.timeouts,
            buffers: parts.buffers,
            buffers_failed: AtomicBool::new(false),
            log: parts.log,
            status: parts.status,
            board: parts.board,
            poller,
            crew: Crew::new(),
            outbox: Outbox::new()?,
            listener: parts.listener,
            overflow: parts.overflow,
            rolling: parts.rolling,
            bell: parts.bell,
            stale: parts.stale,
            idle: Mutex::default(),
            accepts: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stop,
            script_changed: AtomicBool::new(false),
            loading: AtomicU32::new(0),
            engine: OnceLock::new(),
            lifelines: OnceLock::new(),
        })
    }

    /// Python, when it could be started.
    pub(super) fn engine(&self) -> Option<&'static Engine> {
        self.engine.get().copied()
    }

    pub(super) fn set_engine(&self, engine: &'static Engine) {
        // Called once, by the starting thread.
        let _ = self.engine.set(engine);
    }

    /// From now on the process exits when the application closes what it needs.
    pub(super) fn watch_lifelines(&self) {
        let descriptors = [
            ("its listener", self.listener.as_fd()),
            ("its log", self.log.as_fd()),
            ("its poller", self.poller.as_fd()),
            ("its wake-up", self.board.monitor.as_fd()),
        ];
        // Called once, by the starting thread.
        let _ = self.lifelines.set(Lifelines::note(&descriptors));
    }

    /// Exits if the application has closed what the process needs.
    pub(super) fn check_lifelines(&self) {
        if let Some(lifelines) = self.lifelines.get() {
            lifelines.check(&self.group);
        }
    }

    /// Exits because the application has closed the control pipe.
    pub(super) fn lost_control(&self) {
        if let Some(lifelines) = self.lifelines.get() {
            lifelines.exit(&self.group, &["its control pipe"]);
        }
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<i32, Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to take connections.
    pub(super) fn open(&self) -> std::io::Result<()> {
        self.poller.add(self.listener.as_fd(), LISTENER)?;
        if let Some(overflow) = &self.overflow {
            self.poller.add(overflow.as_fd(), OVERFLOW)?;
        }
        Ok(())
    }

    /// Takes a connection from a listener, if one is there, and lets the next worker have the listener.
    pub(super) fn accept(&self, listener: &UnixListener, token: Token) -> Option<Connection> {
        let accepted = Held::open(|| listener.accept().map(|(stream, _)| OwnedFd::from(stream)));
        if let Err(error) = &accepted {
            self.not_accepted(error);
        }
        // Fails when the process has begun to leave and taken the listener out.
        let _ = self.poller.arm(listener.as_fd(), token);
        let stream = accepted.ok()?;
        self.accepts.store(true, Ordering::Relaxed);
        if let Some(user) = self.strangers.refused(&stream) {
            self.say_of_strangers(Level::Alert, "WSGI0966", &format!("a process of {user} connected to its socket"));
            return None;
        }
        let (send, receive) = self.buffers;
        self.set_buffer(&stream, libc::SO_SNDBUF, send, "0062", "send");
        self.set_buffer(&stream, libc::SO_RCVBUF, receive, "0063", "receive");
        Connection::new(stream, Duration::from_millis(self.timeouts.socket)).ok()
    }

    /// Nothing could be accepted. When another worker or the child itself was faster, that is all; else the connection still
    /// waits, and whoever tried again at once would do nothing but try.
    fn not_accepted(&self, error: &std::io::Error) {
        const PAUSE: Duration = Duration::from_millis(100);
        use std::io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
        if matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted) || self.is_leaving() {
            return;
        }
        if self.accepts.swap(false, Ordering::Relaxed) {
            self.log.say(
                Level::Error,
                &format!("WSGI0946: Unable to accept connections in daemon process '{}' ({error}).", self.group),
            );
        }
        std::thread::sleep(PAUSE);
    }

    fn set_buffer(&self, stream: &OwnedFd, option: i32, size: u32, code: &str, what: &str) {
        if size == 0 {
            return;
        }
        let value = i32::try_from(size).unwrap_or(i32::MAX);
        let length = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(0);
        // SAFETY: the value lives across the call.
        let result = unsafe {
            libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), length)
        };
        if result < 0 && !self.buffers_failed.swap(true, Ordering::Relaxed) {
            let (error, group) = (std::io::Error::last_os_error(), &self.group);
            self.log.say(
                Level::Warning,
                &format!(
                    "WSGI{code}: Unable to set {what} buffer size to {size} in daemon process '{group}' ({error})."
                ),
            );
        }
    }

    /// Lets a connection wait for its next request.
    pub(super) fn park(&self, mut connection: Connection) {
        let descriptor = connection.as_fd().as_raw_fd();
        let Ok(number) = u64::try_from(descriptor) else { return };
        let mut idle = self.idle();
        if self.leaving.load(Ordering::Acquire) {
            connection.take_no_more();
        }
        let pushed_out = connection.stranger_since().and_then(|_| self.admit(&mut idle));
        let polled = std::mem::replace(&mut connection.polled, true);
        let connection = idle.entry(descriptor).insert_entry(connection);
        let borrowed = connection.get().as_fd();
        let armed =
            if polled { self.poller.arm(borrowed, Token(number)) } else { self.poller.add(borrowed, Token(number)) };
        if armed.is_err() {
            connection.remove();
        }
        drop(idle);
        if pushed_out.is_some() {
            drop(pushed_out);
            let most = self.strangers.most();
            self.say_of_strangers(Level::Warning, "WSGI0967", &format!("more than {most} of them were silent"));
        }
    }

    /// A connection without the secret is about to wait: bounds how many there are, and for how long.
    fn admit(&self, idle: &mut HashMap<i32, Connection>) -> Option<Connection> {
        let strangers = || {
            let all = idle.iter().filter_map(|(number, waits)| Some((waits.stranger_since()?, *number)));
            all.collect::<Vec<_>>()
        };
        let strangers = strangers();
        if strangers.is_empty() {
            self.strangers.ring_after(PATIENCE);
        }
        if strangers.len() < self.strangers.most() {
            return None;
        }
        strangers.into_iter().min().and_then(|(_, oldest)| idle.remove(&oldest))
    }

    /// Closes the connections that have not shown the secret in time.
    pub(super) fn close_strangers(&self) {
        self.strangers.heard();
        let mut idle = self.idle();
        let late =
            |connection: &Connection| connection.stranger_since().is_some_and(|since| since.elapsed() >= PATIENCE);
        let closed: Vec<_> = idle.extract_if(|_, connection| late(connection)).collect();
        if let Some(first) = idle.values().filter_map(Connection::stranger_since).min() {
            self.strangers.ring_after(PATIENCE.saturating_sub(first.elapsed()));
        }
        // Under the lock, so that nobody sets the timer in between.
        let _ = self.poller.arm(self.strangers.as_fd(), STRANGERS);
        drop(idle);
        if !closed.is_empty() {
            let text =
                format!("{} connections to its socket were silent for {} seconds", closed.len(), PATIENCE.as_secs());
            drop(closed);
            self.say_of_strangers(Level::Warning, "WSGI0967", &text);
            self.closed();
        }
    }

    fn say_of_strangers(&self, level: Level, code: &str, what: &str) {
        if self.strangers.may_log() {
            let group = &self.group;
            self.log.say(level, &format!("{code}: Connection to daemon process '{group}' was closed: {what}."));
        }
    }

    /// The connection that an event is about; it belongs to the caller now.
    pub(super) fn unpark(&self, token: Token) -> Option<Connection> {
        self.idle().remove(&i32::try_from(token.0).ok()?)
    }

    /// A connection was closed for good.
    pub(super) fn closed(&self) {
        if self.board.announces() {
            self.board.monitor.wake();
        }
    }

    /// Everything that the timers want to know, at this moment.
    pub(super) fn observe(&self) -> Observation {
        self.board.observe(self.idle().len(), self.outbox.left())
    }

    /// Takes no further connections, and no further requests on kept ones except those that are already here.
    pub(super) fn leave(&self) {
        self.poller.remove(self.listener.as_fd());
        if let Some(overflow) = &self.overflow {
            self.poller.remove(overflow.as_fd());
        }
        self.status.set_state(State::Draining);
        self.board.announce_all();
        self.leaving.store(true, Ordering::Release);
        for connection in self.idle().values_mut() {
            connection.take_no_more();
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Lets every worker end after the request it has.
    pub(super) fn stop(&self) {
        self.leave();
        self.stopping.store(true, Ordering::Release);
        self.crew.end();
        self.stop.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether a script of this process has changed.
    pub(super) fn has_changed_script(&self) -> bool {
        match self.rolling {
            // It may change again while a successor loads.
            Some(_) => self.script_changed.swap(false, Ordering::AcqRel),
            None => self.script_changed.load(Ordering::Acquire),
        }
    }

    /// Asks the server for a successor of this process.
    pub(super) fn want_successor(&self, wish: Wish) {
        if self.bell.is_some() {
            self.status.set_wish(wish);
            self.ring();
        }
    }

    /// Has the server look at the status page.
    pub(super) fn ring(&self) {
        if let Some(bell) = &self.bell {
            // SAFETY: writes one byte from one. When the pipe is full somebody rings already.
            unsafe { libc::write(bell.as_raw_fd(), [1u8].as_ptr().cast(), 1) };
        }
    }

    pub(super) fn say(&self, text: &str) {
        self.log.say(Level::Info, text);
    }

    /// The same where the GIL may be held.
    fn say_at_once(&self, text: &str) {
        self.log.say_at_once(Level::Info, text);
    }
}

impl Process for Server {
    fn log(&self, record: &Record<'_>) {
        self.log.write(record);
    }

    fn try_log(&self, record: &Record<'_>) -> bool {
        self.log.try_write(record)
    }

    fn logs(&self, level: Level) -> bool {
        self.log.logs(level)
    }

    fn interpreters(&self, count: usize) {
        self.status.set_interpreters(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn scoreboard(&self) -> Option<Snapshot> {
        match self.log.scoreboard() {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                self.say_at_once(&format!(
                    "The server's metrics are not available in daemon process '{}' ({error}).",
                    self.group
                ));
                None
            }
        }
    }

    fn script_changed(&self, script: &[u8], version: u64) -> Changed {
        if let Some(stale) = &self.stale {
            stale.set();
        }
        // What is gone has to be served no more: that does not wait.
        if let Some(rolling) = self.rolling.as_ref().filter(|_| version != ScriptFile::MISSING) {
            if !self.is_leaving() && rolling.is_news(&self.status, script, version) {
                let (script, group) = (String::from_utf8_lossy(script), &self.group);
                self.say_at_once(&format!(
                    "Rolling restart of daemon process '{group}' due to modification of script '{script}'."
                ));
                self.script_changed.store(true, Ordering::Release);
                self.board.monitor.wake();
            }
            return Changed::Keep;
        }
        // Before anything else, and in each thread that finds it out: a request that is turned away has to find another
        // process, or wait for the one that follows, and not come back at once.
        self.status.set_state(State::Draining);
        if !self.script_changed.swap(true, Ordering::AcqRel) {
            self.leave();
            let (script, group) = (String::from_utf8_lossy(script), &self.group);
            self.say_at_once(&format!(
                "Forcing restart of daemon process '{group}' due to modification of script '{script}'."
            ));
            self.board.monitor.wake();
        }
        Changed::Leave
    }

    fn script_loaded(&self, script: &[u8], group: &[u8]) {
        if let Some(rolling) = &self.rolling {
            rolling.note(script, group);
        }
    }

    fn loading_started(&self) {
        if self.timeouts.startup == 0 {
            return;
        }
        if self.loading.fetch_add(1, Ordering::AcqRel) == 0 {
            self.board.startup.store(self.board.now(), Ordering::Relaxed);
            self.board.monitor.wake();
            self.say_at_once(&format!("Application startup timer started for daemon process '{}'.", self.group));
        }
    }

    fn loading_finished(&self, loaded: bool) {
        // A failed loading leaves the timer running, as the process still has no application.
        if self.timeouts.startup == 0 || !loaded {
            return;
        }
        if self.loading.swap(0, Ordering::AcqRel) > 0 {
            self.board.startup.store(0, Ordering::Relaxed);
            self.say_at_once(&format!("Application startup timer cancelled for daemon process '{}'.", self.group));
        }
    }
}
