//! The surroundings of a cell's steps: its server, its folder, its ports, its logs.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use confgen::httpd::{Account, Instance, LogLine, LogTail, Server, Signal, StopReport};

use super::cookies::CookieJar;
use super::http::KeptConnections;
use crate::runner::audit::{self, Allowed};
use crate::scenario::schema::{Listener, LogAllowance, LogFile};

/// How long to wait for Apache's children to have nothing to do before a server is stopped.
const IDLE_LIMIT: Duration = Duration::from_millis(300);

/// How long the rest of a traceback is waited for.
const TRACEBACK: Duration = Duration::from_millis(300);

/// Everything that steps act on.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    http: SocketAddr,
    https: Option<SocketAddr>,
    error_log: PathBuf,
    access_log: PathBuf,
    console: PathBuf,
    account: Account,
    py_spy: PathBuf,
    parent: u32,
    server: Mutex<Option<Server>>,
    stopped: Mutex<Option<StopReport>>,
    marks: Mutex<HashMap<String, Marks>>,
    sent: Mutex<Vec<Sent>>,
    allowed: Allowed,
    /// The cell's cookies.
    pub cookies: CookieJar,
    /// The cell's kept connections.
    pub connections: KeptConnections,
}

/// What a stage is made of.
#[derive(Debug)]
pub struct StageParts {
    /// The folder that scenarios call `${dir}`.
    pub dir: PathBuf,
    /// Where the server answers.
    pub http: SocketAddr,
    /// Where it answers with TLS.
    pub https: Option<SocketAddr>,
    /// The error log.
    pub error_log: PathBuf,
    /// The access log.
    pub access_log: PathBuf,
    /// What the server writes to its standard output and error.
    pub console: PathBuf,
    /// Who serves.
    pub account: Account,
    /// The program that shows the Python code of a process.
    pub py_spy: PathBuf,
    /// Lines of the log that the scenario names.
    pub allow_log: Vec<LogAllowance>,
    /// The running server; none before it starts.
    pub server: Option<Server>,
}

impl StageParts {
    /// The same parts for what happens before there is a server.
    #[must_use]
    pub fn clone_without_server(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            error_log: self.error_log.clone(),
            access_log: self.access_log.clone(),
            console: self.console.clone(),
            account: self.account.clone(),
            py_spy: self.py_spy.clone(),
            allow_log: self.allow_log.clone(),
            server: None,
            ..*self
        }
    }
}

/// A signal that a step has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// To which process.
    pub pid: u32,
    /// The signal.
    pub signal: Signal,
    /// When.
    pub at: Instant,
}

/// Where the logs ended when a step began.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    error: u64,
    access: u64,
    console: u64,
}

impl Stage {
    /// Sets the stage.
    pub fn new(parts: StageParts) -> Self {
        let StageParts { dir, http, https, error_log, access_log, console, account, py_spy, allow_log, server } = parts;
        Self {
            dir,
            http,
            https,
            error_log,
            access_log,
            console,
            account,
            py_spy,
            parent: server.as_ref().map_or(0, |server| server.pid()),
            server: Mutex::new(server),
            stopped: Mutex::new(None),
            marks: Mutex::new(HashMap::new()),
            sent: Mutex::new(Vec::new()),
            allowed: Allowed::new(&allow_log),
            cookies: CookieJar::default(),
            connections: KeptConnections::default(),
        }
    }

    /// The folder that scenarios call `${dir}`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path of a scenario; a relative one is below `${dir}`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Where the server answers.
    pub fn address(&self, listener: Listener) -> Option<SocketAddr> {
        match listener {
            Listener::Http => Some(self.http),
            Listener::Https => self.https,
        }
    }

    /// The pid of the server's parent process.
    pub const fn parent(&self) -> u32 {
        self.parent
    }

    /// Who serves.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The program that shows the Python code of a process.
    pub fn py_spy(&self) -> &Path {
        &self.py_spy
    }

    /// Gives a file to the serving user.
    pub fn hand_over(&self, path: &Path, mode: u32) -> io::Result<()> {
        hand_over(path, mode, &self.account)
    }

    /// Looks at the running server.
    pub fn with_server<T>(&self, look: impl FnOnce(&Instance) -> T) -> Result<T, String> {
        let server = self.server.lock().map_err(|_| "a step that held the server panicked".to_owned())?;
        server.as_ref().map(|server| look(server)).ok_or_else(|| "the server does not run".to_owned())
    }

    /// Lets what clients began in Apache's children come to its end, before these are asked to end.
    pub fn wait_until_idle(&self) {
        // A server that does not run is idle.
        let _ = self.with_server(|server| server.wait_until_idle(IDLE_LIMIT));
    }

    /// Whether the server was not stopped by a step and yet has ended.
    pub fn has_died(&self) -> Option<std::process::ExitStatus> {
        self.server.lock().ok()?.as_mut()?.status()
    }

    /// Why the cell cannot pass any more: a fault in the log that the scenario does not name. Waiting for something else
    /// then only takes time.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut tail = LogTail::from_start(&self.error_log);
        let mut lines = tail.read().ok()?;
        let first = |lines: &[LogLine]| self.allowed.unexpected(lines).into_iter().next();
        // An exception stands below its message, often as one of several messages about the same thing.
        let found = first(&lines)?;
        if let Some(cause) = audit::exception(&lines) {
            return Some(cause.to_owned());
        }
        // The traceback may just be on its way.
        let is_end = |line: &LogLine| audit::exception(std::slice::from_ref(line)).is_some();
        lines.extend(tail.wait_for(TRACEBACK, is_end).ok()?.1);
        Some(audit::exception(&lines).map_or(found.message, str::to_owned))
    }

    /// The exception that the log tells of from a place on, once its line is there.
    pub(crate) fn exception_since(&self, offset: u64, within: Duration) -> Option<String> {
        let mut tail = LogTail::from_start(&self.error_log);
        tail.skip_to(offset);
        let is_end = |line: &LogLine| audit::exception(std::slice::from_ref(line)).is_some();
        let lines = tail.wait_for(within, is_end).ok()?.1;
        audit::exception(&lines).map(str::to_owned)
    }

    /// How long the error log is.
    pub(crate) fn error_log_length(&self) -> u64 {
        fs::metadata(&self.error_log).map_or(0, |metadata| metadata.len())
    }

    /// Remembers a signal that a step is about to send.
    pub fn sends(&self, pid: u32, signal: Signal) {
        if let Ok(mut sent) = self.sent.lock() {
            sent.push(Sent { pid, signal, at: Instant::now() });
        }
    }

    /// The signals that steps have sent.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().map(|sent| sent.clone()).unwrap_or_default()
    }

    /// Whether a step has sent the parent a signal that ends it.
    pub fn asked_to_end(&self) -> bool {
        let lives = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGSTOP, Signal::SIGCONT];
        self.sent().iter().any(|sent| sent.pid == self.parent && !lives.contains(&sent.signal))
    }

    /// Stops the server; its processes are shown to `expired` before they are killed.
    pub fn stop_with(
        &self,
        signal: Signal,
        within: Duration,
        expired: impl FnOnce(&Instance),
    ) -> Result<StopSummary, String> {
        self.wait_until_idle();
        let mut server = self.server.lock().map_err(|_| "a step that held the server panicked".to_owned())?;
        let Some(mut running) = server.take() else { return Err("the server has been stopped already".to_owned()) };
        let report =
            running.stop(signal, within, expired).map_err(|error| format!("cannot stop the server: {error}"))?;
        let summary = StopSummary {
            duration: report.duration,
            status: report.status,
            forced: report.forced,
            leaks: report.leaks.clone(),
            asked: report.asked,
            deaths: report.deaths.clone(),
        };
        if let Ok(mut stopped) = self.stopped.lock() {
            *stopped = Some(report);
        }
        Ok(summary)
    }

    /// Stops the server.
    pub fn stop(&self, signal: Signal, within: Duration) -> Result<StopSummary, String> {
        self.stop_with(signal, within, |_| {})
    }

    /// How the server stopped, once it has.
    pub fn take_stop_report(&self) -> Option<StopReport> {
        self.stopped.lock().ok()?.take()
    }

    /// The file of a log.
    pub fn log_path(&self, file: LogFile) -> &Path {
        match file {
            LogFile::Error => &self.error_log,
            LogFile::Access => &self.access_log,
            LogFile::Console => &self.console,
        }
    }

    /// A log from where it ended when a step began, or from its start.
    pub fn log_since(&self, file: LogFile, step: Option<&str>) -> Result<LogTail, String> {
        let mut tail = LogTail::from_start(self.log_path(file));
        if let Some(step) = step {
            let marks = self.marks.lock().ok().and_then(|marks| marks.get(step).copied());
            let marks = marks.ok_or_else(|| format!("no step `{step}` has begun before this one"))?;
            tail.skip_to(match file {
                LogFile::Error => marks.error,
                LogFile::Access => marks.access,
                LogFile::Console => marks.console,
            });
        }
        Ok(tail)
    }

    /// The whole text of a log.
    pub fn log_text(&self, file: LogFile) -> String {
        fs::read(self.log_path(file)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Remembers where the logs end as a step begins.
    pub fn mark(&self, step: &str) {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        if let Ok(mut marks) = self.marks.lock() {
            let marked = Marks {
                error: length(&self.error_log),
                access: length(&self.access_log),
                console: length(&self.console),
            };
            marks.insert(step.to_owned(), marked);
        }
    }
}

/// How a server stopped.
#[derive(Debug, Clone)]
pub struct StopSummary {
    /// From the signal to the end of the parent.
    pub duration: Duration,
    /// The parent's exit status.
    pub status: Option<std::process::ExitStatus>,
    /// Whether it was killed.
    pub forced: bool,
    /// What outlived it.
    pub leaks: Vec<confgen::httpd::Leak>,
    /// When the signal was sent.
    pub asked: Instant,
    /// Its processes that a signal ended, from the start on.
    pub deaths: Vec<confgen::httpd::Death>,
}

/// Gives a file to a user, where this process may do so, and sets its permissions.
pub fn hand_over(path: &Path, mode: u32, account: &Account) -> io::Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
