//! Starting httpd.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::command;
use super::configtest::{Complaint, Severity, complaints};
use super::deaths::DeathWatch;
use super::instance::Instance;
use super::log::Level;
use super::process::{self, Handle, Signal};
use super::ready::{Outcome, Readiness};
use super::server::Server;
use super::tail::LogTail;

/// How long a server may take to become ready unless told otherwise.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How many lines of the log an error shows when no line says what was wrong.
const SHOWN_LINES: usize = 12;

/// A server about to be started.
///
/// It gets `/` as working directory, a session and so a process group of its own, the given environment and nothing of ours,
/// and no standard input.
#[derive(Debug)]
pub struct Launch {
    binary: PathBuf,
    root: PathBuf,
    config: PathBuf,
    environment: BTreeMap<String, String>,
    error_log: PathBuf,
    terminal: bool,
    outputs: Option<(OwnedFd, OwnedFd)>,
    interrupted: Option<Arc<AtomicUsize>>,
    single_process: bool,
    own_input: bool,
    input: Option<String>,
    tied: bool,
    watched: bool,
    readiness: Option<Readiness>,
    proxied: bool,
    limit: Duration,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The binary could not be executed.
    #[error("cannot run {}: {cause}", .binary.display())]
    Spawn {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It ended before it was ready.
    #[error("httpd ended before it was ready ({status}){}", indented(.complaints, .log))]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// What it complained about.
        complaints: Vec<Complaint>,
        /// The last lines of what it wrote.
        log: Vec<String>,
    },
    /// It runs, or rather ran, but was not ready in time.
    #[error("httpd was not ready within {limit:?} and was ended{}", indented(.complaints, .log))]
    NotReady {
        /// The time it had.
        limit: Duration,
        /// What it complained about.
        complaints: Vec<Complaint>,
        /// The last lines of what it wrote.
        log: Vec<String>,
    },
    /// It was interrupted before it was ready, and was ended.
    #[error("the start was interrupted")]
    Interrupted,
    /// A file of the server could not be written.
    #[error("cannot write {}: {cause}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

fn indented(complaints: &[Complaint], log: &[String]) -> String {
    let lines: Vec<String> = if complaints.is_empty() {
        log.to_vec()
    } else {
        complaints.iter().map(|complaint| complaint.message.clone()).collect()
    };
    if lines.is_empty() { String::new() } else { format!(":\n  {}", lines.join("\n  ")) }
}

impl Launch {
    /// A start of the binary in a server root, with `httpd.conf` there as configuration and `logs/error.log` as error log.
    pub fn new(binary: &Path, root: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            root: root.to_owned(),
            config: root.join("httpd.conf"),
            environment: BTreeMap::new(),
            error_log: root.join("logs/error.log"),
            terminal: false,
            outputs: None,
            interrupted: None,
            single_process: false,
            own_input: false,
            input: None,
            tied: false,
            watched: false,
            readiness: None,
            proxied: false,
            limit: READY_LIMIT,
        }
    }

    /// Uses another configuration file.
    pub fn config(mut self, config: &Path) -> Self {
        self.config = config.to_owned();
        self
    }

    /// Names the error log that the configuration sets; it is where the cause of a failed start is read.
    pub fn error_log(mut self, path: &Path) -> Self {
        self.error_log = path.to_owned();
        self
    }

    /// Adds variables to the environment httpd starts with.
    pub fn environment<K: Into<String>, V: Into<String>>(mut self, entries: impl IntoIterator<Item = (K, V)>) -> Self {
        self.environment.extend(entries.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Lets the server write to the standard output and error of this process instead of `logs/console.log`.
    pub fn on_terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    /// Lets the server write to these descriptors as its standard output and error.
    pub fn outputs(mut self, output: OwnedFd, error: OwnedFd) -> Self {
        self.outputs = Some((output, error));
        self
    }

    /// Gives up waiting, and ends the server, as soon as the number is not zero.
    pub fn unless_interrupted(mut self, signals: &Arc<AtomicUsize>) -> Self {
        self.interrupted = Some(Arc::clone(signals));
        self
    }

    /// Starts in debugging mode (`-X`): one process that serves everything itself.
    pub fn single_process(mut self) -> Self {
        self.single_process = true;
        self
    }

    /// Gives the server a text as standard input. Without it there is none.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Lets the server read the standard input of this process.
    pub fn with_standard_input(mut self) -> Self {
        self.own_input = true;
        self
    }

    /// Has the system end the server when the *thread* that starts it ends, so that it cannot outlive a killed supervisor.
    pub fn tied_to_thread(mut self) -> Self {
        self.tied = true;
        self
    }

    /// Watches for processes of the server that a signal ends ([`super::StopReport::deaths`]), and lets them write core files.
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// Connections begin with a header of the PROXY protocol, or not.
    #[must_use]
    pub fn proxy_protocol(mut self, on: bool) -> Self {
        self.proxied = on;
        self
    }

    /// What has to happen before the server counts as started; without it `start` returns once the process runs.
    pub fn ready_when(mut self, readiness: Readiness) -> Self {
        self.readiness = Some(readiness);
        self
    }

    /// How long it may take.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it and waits until it is ready. One that is not ready in time is ended, with all its processes.
    pub fn start(self) -> Result<Server, LaunchError> {
        self.start_unless(|| false)
    }

    /// The same, but gives up as soon as nobody wants the server any more.
    pub fn start_unless(self, unwanted: impl Fn() -> bool) -> Result<Server, LaunchError> {
        let (limit, readiness, proxied) = (self.limit, self.readiness, self.proxied);
        let interrupted = self.interrupted.clone();
        let interrupted =
            || unwanted() || interrupted.as_ref().is_some_and(|signals| signals.load(Ordering::SeqCst) > 0);
        let deadline = Instant::now() + limit;
        let mut error_log = LogTail::from_end(&self.error_log);
        let mut console = LogTail::from_end(&self.console());
        let mut server = self.spawn()?;
        let Some(readiness) = readiness else { return Ok(server) };
        match readiness.wait(deadline, proxied, error_log.clone(), || !interrupted() && server.is_running()) {
            Outcome::Ready => Ok(server),
            Outcome::Died if server.is_running() => {
                server.kill();
                Err(LaunchError::Interrupted)
            }
            Outcome::Died => {
                // What the parent said is in the log by now; children that it leaves behind are ended.
                let report = server.kill();
                let (complaints, log) = cause(&mut console, &mut error_log);
                Err(LaunchError::Died { status: report.status.unwrap_or_default(), complaints, log })
            }
            Outcome::Expired => {
                server.kill();
                let (complaints, log) = cause(&mut console, &mut error_log);
                Err(LaunchError::NotReady { limit, complaints, log })
            }
        }
    }

    fn console(&self) -> PathBuf {
        self.root.join("logs/console.log")
    }

    fn spawn(mut self) -> Result<Server, LaunchError> {
        // Adopting is what finds leaked processes later; without it they are still ended, only less surely found.
        let _ = process::adopt_orphans();
        let mut command = command::httpd(&self.binary);
        command.arg("-d").arg(&self.root).arg("-f").arg(&self.config);
        command.arg(if self.single_process { "-X" } else { "-DFOREGROUND" });
        command.envs(command::environment(&self.environment, &self.root));
        if let Some((output, error)) = self.outputs.take() {
            command.stdout(Stdio::from(output)).stderr(Stdio::from(error));
        } else if !self.terminal {
            let path = self.console();
            let written = |cause| LaunchError::Write { path: path.clone(), cause };
            let file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(written)?;
            command.stdout(Stdio::from(file.try_clone().map_err(written)?)).stderr(Stdio::from(file));
        }
        if let Some(text) = &self.input {
            let path = self.root.join("logs/stdin");
            let written = |cause| LaunchError::Write { path: path.clone(), cause };
            fs::write(&path, text).map_err(written)?;
            command.stdin(Stdio::from(fs::File::open(&path).map_err(written)?));
        }
        if self.own_input {
            command.stdin(Stdio::inherit());
        }
        let launcher = nix::unistd::getpid();
        let (tied, cores) = (self.tied, self.watched);
        // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                if cores {
                    allow_core_files();
                }
                if tied {
                    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
                    if nix::unistd::getppid() != launcher {
                        return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                    }
                }
                Ok(())
            });
        }
        let failed = |cause| LaunchError::Spawn { binary: self.binary.clone(), cause };
        let mut child = command.spawn().map_err(failed)?;
        let handle = match Handle::open(child.id()) {
            Ok(handle) => handle,
            Err(cause) => {
                // An unreaped child always can be opened; if the system has no pidfd, nothing may stay behind.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(cause));
            }
        };
        // Without a watch the server runs as well; the log tells of most deaths.
        let watch = if self.watched { DeathWatch::start(handle.id()).ok() } else { None };
        Ok(Server::new(child, Instance::launched(handle, self.root, self.error_log), watch))
    }
}

/// The largest core file of a process that may write one.
const LARGEST_CORE: libc::rlim_t = 256 << 20;

/// Raises the limit of core files as far as it may be raised. Only makes system calls, as it runs between fork and exec.
fn allow_core_files() {
    if let Ok((_, hard)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE) {
        // One that cannot be raised changes nothing: deaths are seen without core files.
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, hard.min(LARGEST_CORE), hard);
    }
}

/// What the server said before it ended.
fn cause(console: &mut LogTail, error_log: &mut LogTail) -> (Vec<Complaint>, Vec<String>) {
    let mut lines = console.read().unwrap_or_default();
    lines.extend(error_log.read().unwrap_or_default());
    let telling: Vec<&str> = lines
        .iter()
        .filter(|line| line.level.is_none_or(|level| level <= Level::Error))
        .map(|line| line.raw.as_str())
        .collect();
    let mut complaints = complaints(&telling.join("\n"));
    complaints.retain(|complaint| complaint.severity == Severity::Error && !is_consequence(complaint));
    let start = lines.len().saturating_sub(SHOWN_LINES);
    (complaints, lines[start..].iter().map(|line| line.raw.clone()).collect())
}

/// Lines that only say that something else went wrong.
fn is_consequence(complaint: &Complaint) -> bool {
    // AH00013, AH00014, AH00015, AH00016, AH00017, AH00020: "pre-configuration failed", "configuration check failed",
    // "unable to open logs", "configuration failed" and the like.
    matches!(complaint.code.as_deref(), Some("AH00013" | "AH00014" | "AH00015" | "AH00016" | "AH00017" | "AH00020"))
}
