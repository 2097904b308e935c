//! From `exec` to the first request: takes over what the server left, starts Python, then the threads.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

use wsgi_protocol::Malformed;
use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::{self, Daemon, GIVEN_UP, LAUNCH_DESCRIPTOR, LEAVE, MAX_LAUNCH};
use wsgi_protocol::page::{State, version_of_script};
use wsgi_protocol::scripts::Entry;

use super::confine::{self, ConfineError};
use super::fork::{self, Held, end_if_forked};
use super::line::ServerLog;
use super::loader::{self, Stale};
use super::loading::Loading;
use super::monitor::{self, Monitor};
use super::poller::Wakeup;
use super::rolling::{self, Rolling};
use super::server::{Board, Parts, Server};
use super::status::Status;
use super::timers::{Settings, Timers};
use super::watchdog::Watchdog;
use super::{pool, signals};
use crate::engine::Engine;

/// The exit status of a process that was not started by the server (`EX_USAGE`).
const USAGE: u8 = 64;

/// The exit status of a process that could not set itself up (`EX_OSERR`).
const SETUP: u8 = 71;

/// Why the process cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("descriptor {LAUNCH_DESCRIPTOR} is no sealed launch configuration; this program is started by mod_wsgi_rs")]
    NotLaunched,
    #[error("the launch configuration cannot be read: {0}")]
    Unreadable(#[from] Malformed),
    #[error("descriptor {0} is not open")]
    NoDescriptor(RawFd),
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The process was to replace one that serves what this one cannot load. It was logged.
    #[error("rolling restart given up")]
    GivenUp,
    #[error("{what}: {error}")]
    Io { what: &'static str, error: io::Error },
}

pub(super) fn because(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError::Io { what, error }
}

/// The whole life of a daemon process.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Those are in the log with their codes.
            if !matches!(error, StartError::Confine(_) | StartError::GivenUp) {
                let _ = writeln!(io::stderr(), "wsgi-daemon: {error}");
            }
            ExitCode::from(match error {
                StartError::NotLaunched => USAGE,
                StartError::GivenUp => u8::try_from(GIVEN_UP).unwrap_or(SETUP),
                _ => SETUP,
            })
        }
    }
}

fn run() -> Result<(), StartError> {
    signals::ignore_broken_pipes();
    let launch = read_launch()?;
    fork::notice().map_err(because("opening /dev/null"))?;
    name_process(if launch.loader { b"load:" } else { b"wsgi:" }, &launch.group);
    if !launch.dumpable {
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    }
    let (inherited, log) = Inherited::take(&launch)?;
    let log = ServerLog::new(log, launch.log_level);
    if let Some(chroot) = &launch.chroot {
        match confine::enter(chroot, &String::from_utf8_lossy(&launch.group)) {
            Ok(None) => {}
            Ok(Some(error)) => log.say(Level::Warning, &format!("{error} The process stays in '/'.")),
            Err(error) => {
                log.say(Level::Alert, &error.to_string());
                return Err(error.into());
            }
        }
    }
    if let Some(locale) = &launch.locale {
        set_locale(&log, &launch.group, locale);
    }
    if launch.loader {
        return loader::run(launch, inherited, log);
    }
    let monitor: &'static Wakeup = Box::leak(Box::new(Wakeup::new().map_err(because("making an eventfd"))?));
    let life = Life::begin(&launch, inherited, log, monitor, None)?;
    if launch.threads == 0 {
        return life.service(launch);
    }
    // From here on a signal ends the process in order.
    signals::install(monitor);
    let (server, python) = (life.server, launch.python);
    life.serve(move || Engine::start(python, server).ok(), Engine::run_imports, launch.stack_size)
}

/// What is left after everything was taken over.
pub(super) struct Life {
    pub(super) server: &'static Server,
    settings: Settings,
    control: Option<Held<OwnedFd>>,
    predecessor: Option<Held<OwnedFd>>,
    /// What the predecessor serves, which was not to end before this process can do so.
    replaces: Option<rolling::Inherited>,
}

impl Life {
    /// Takes over what the server left for a process that has this place on the status page. `stale`: it was forked by
    /// the loader that hears by it.
    pub(super) fn begin(
        launch: &Daemon,
        inherited: Inherited,
        log: ServerLog,
        monitor: &'static Wakeup,
        stale: Option<Stale>,
    ) -> Result<Self, StartError> {
        let status = Status::map(inherited.page.as_fd(), launch).map_err(because("mapping the status page"))?;
        status.set_state(State::Starting);
        // Mapped, and of no other use.
        drop(inherited.page);
        let has_bell = inherited.bell.is_some();
        let board = Board::new(launch.threads, launch.maximum_requests, monitor);
        let server = Server::new(Parts {
            group: String::from_utf8_lossy(&launch.group).into_owned(),
            secret: launch.secret,
            peers: launch.peers.clone(),
            timeouts: launch.timeouts,
            buffers: (launch.send_buffer_size, launch.receive_buffer_size),
            log,
            status,
            board,
            listener: inherited.listener.ok_or(StartError::NoDescriptor(launch.descriptors.listener))?,
            overflow: inherited.overflow,
            rolling: inherited.scripts.filter(|_| inherited.bell.is_some()).map(Rolling::new),
            bell: inherited.bell,
            stale,
        });
        // Threads use it until the process ends, whoever is still running then.
        let server: &'static Server = Box::leak(Box::new(server.map_err(because("preparing the sockets"))?));
        server.status.set_started();
        let settings = Settings {
            group: server.group.clone(),
            threads: launch.threads,
            maximum_requests: launch.maximum_requests,
            rolling: server.rolling.is_some(),
            asks: launch.asks && has_bell,
            sequential: launch.sequential,
            timeouts: launch.timeouts,
        };
        let replaces = inherited.replaces.map(rolling::Inherited::read).transpose();
        Ok(Self {
            server,
            settings,
            control: Some(inherited.control),
            predecessor: inherited.predecessor,
            replaces: replaces.map_err(because("reading what the predecessor has loaded"))?,
        })
    }

    /// A process that serves requests. `engine` starts Python, and `import` loads what is to be loaded at the start.
    pub(super) fn serve(
        self,
        engine: impl FnOnce() -> Option<&'static Engine>,
        import: fn(&'static Engine),
        stack_size: u64,
    ) -> Result<(), StartError> {
        let server = self.server;
        let replaces = self.replaces.is_some();
        let mut loading = Loading::watch(server, self.control.as_ref(), self.predecessor.as_ref(), replaces)
            .map_err(because("making the thread that watches the start"))?;
        let watchdog = match engine() {
            Some(engine) => {
                server.set_engine(engine);
                // What the predecessor could not load itself is not asked of this process.
                if let Some(replaces) = &self.replaces {
                    load_as(server, engine, replaces, &loading)?;
                }
                import(engine);
                end_if_forked();
                if !loading.serves() {
                    end_unserved(server, Some(engine));
                    return Ok(());
                }
                server.board.watchdog();
                match Watchdog::start(server, engine) {
                    Ok(watchdog) => Some(watchdog),
                    Err(error) => {
                        server.log.say(
                            Level::Error,
                            &format!(
                                "WSGI0069: Couldn't create deadlock thread in daemon process '{}' ({error}).",
                                server.group
                            ),
                        );
                        None
                    }
                }
            }
            None if self.replaces.is_some() => return Err(StartError::GivenUp),
            None if !loading.serves() => {
                end_unserved(server, None);
                return Ok(());
            }
            // It was logged. The process stays and answers, as a restart would only repeat it.
            None => None,
        };
        let mut settings = self.settings;
        if watchdog.is_none() {
            // Nobody would keep it from expiring.
            settings.timeouts.deadlock = 0;
        }
        server.watch_lifelines();
        let workers = pool::start(server, settings.threads, stack_size).map_err(because("making worker threads"))?;
        server.open().map_err(because("polling the listeners"))?;
        server.status.set_state(if server.engine().is_some() { State::Ready } else { State::Broken });
        if let Some(predecessor) = self.predecessor {
            leave(&predecessor);
        }
        // Others of the group may have waited for that.
        server.ring();
        let timers = Timers::new(settings, server.board.now());
        drop(loading);
        Monitor::new(server, timers, self.control, watchdog).run(workers);
        Ok(())
    }

    /// A process whose import script is all that it does.
    fn service(self, launch: Daemon) -> Result<(), StartError> {
        let server = self.server;
        if let Some(predecessor) = self.predecessor {
            // Two services at once would do everything twice.
            leave(&predecessor);
        }
        signals::disregard();
        let engine = Engine::start(launch.python, server);
        let shutdown = Duration::from_millis(launch.timeouts.shutdown);
        if let Some(control) = self.control {
            std::thread::Builder::new()
                .spawn(move || end_with_server(server, &control, shutdown))
                .map_err(because("making the monitor thread"))?;
        }
        server.status.set_state(State::Ready);
        if let Ok(engine) = engine {
            engine.run_imports();
            server.say(&format!("Stopping process '{}'.", server.group));
            let _bounded = (!shutdown.is_zero()).then(|| monitor::reaper(server, shutdown));
            engine.stop("shutdown_signal");
        }
        server.say(&format!("Exiting daemon process '{}'.", server.group));
        Ok(())
    }
}

/// Loads what the predecessor serves; ends Python when that cannot be done.
fn load_as(
    server: &'static Server,
    engine: &'static Engine,
    predecessor: &rolling::Inherited,
    loading: &Loading,
) -> Result<(), StartError> {
    let begins = |entry: &Entry<'_>| {
        server.status.set_loading(version_of_script(entry.path, crate::script::version_of(entry.path)));
        loading.names(entry.path);
    };
    let loaded = engine.preload(&predecessor.entries(), begins);
    end_if_forked();
    let Err(failed) = loaded else {
        server.status.set_loading(0);
        loading.names(b"");
        return Ok(());
    };
    loading.is_over();
    let (group, script) = (&server.group, String::from_utf8_lossy(failed.path));
    server.log.say(
        Level::Error,
        &format!(
            "WSGI0934: Rolling restart of daemon process '{group}' was given up as script '{script}' does not load; the \
             old process goes on serving."
        ),
    );
    server.status.give_up();
    let shutdown = Duration::from_millis(server.timeouts.shutdown);
    let _bounded = (!shutdown.is_zero()).then(|| monitor::reaper(server, shutdown));
    engine.stop("script_reload");
    Err(StartError::GivenUp)
}

/// Ends a process that was told to before it served: the one that it was to replace has heard nothing of it.
fn end_unserved(server: &'static Server, engine: Option<&'static Engine>) {
    server.say(&format!("Stopping process '{}'.", server.group));
    if let Some(engine) = engine {
        let shutdown = Duration::from_millis(server.timeouts.shutdown);
        let _bounded = (!shutdown.is_zero()).then(|| monitor::reaper(server, shutdown));
        engine.stop("shutdown_signal");
    }
    server.say(&format!("Exiting daemon process '{}'.", server.group));
}

/// Tells the process whose place this one takes that it may leave.
pub(super) fn leave(predecessor: &OwnedFd) {
    // SAFETY: writes one byte from one; a predecessor that has gone needs no telling.
    unsafe { libc::write(predecessor.as_raw_fd(), [LEAVE].as_ptr().cast(), 1) };
}

/// Ends a service process when the server has gone or a successor was started.
fn end_with_server(server: &'static Server, control: &OwnedFd, shutdown: Duration) {
    let mut entry = libc::pollfd { fd: control.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    while unsafe { libc::poll(&raw mut entry, 1, -1) } < 0 {}
    let bound = (!shutdown.is_zero()).then(|| monitor::reaper(server, shutdown));
    // As a stop of the server would: Python turns it into SystemExit on its main thread.
    // SAFETY: no pointers.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    // The reaper has to wait for the process, which ends with its main thread.
    std::mem::forget(bound);
}

/// Reads the launch configuration and closes it.
fn read_launch() -> Result<Daemon, StartError> {
    const SEALS: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: no pointers; fails for anything that is no memfd.
    let seals = unsafe { libc::fcntl(LAUNCH_DESCRIPTOR, libc::F_GET_SEALS) };
    if seals < 0 || seals & SEALS != SEALS {
        return Err(StartError::NotLaunched);
    }
    // SAFETY: it is open, and nobody else in this process knows of it.
    let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(LAUNCH_DESCRIPTOR) });
    let size = file.metadata().map_err(because("reading the launch configuration"))?.len();
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_LAUNCH).ok_or(StartError::NotLaunched)?;
    let mut bytes = vec![0; size];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0)
        .map_err(because("reading the launch configuration"))?;
    Ok(launch::decode(&bytes)?)
}

/// Applies `locale=`, which the environment has already.
fn set_locale(log: &ServerLog, group: &[u8], locale: &[u8]) {
    let Ok(name) = CString::new(locale) else { return };
    // SAFETY: a C string; no other thread runs yet.
    if unsafe { libc::setlocale(libc::LC_ALL, name.as_ptr()) }.is_null() {
        let (locale, group) = (String::from_utf8_lossy(locale), String::from_utf8_lossy(group));
        log.say(
            Level::Warning,
            &format!(
                "WSGI0079: Unsupported locale setting '{locale}' specified for daemon process group '{group}'; the \
                 locale is left unchanged. Consider 'C.UTF-8' as a fallback."
            ),
        );
    }
}

/// The short name, which is not cut by the length of argument 0.
pub(super) fn name_process(prefix: &[u8], group: &[u8]) {
    let mut name: Vec<u8> = prefix.iter().chain(group).copied().filter(|byte| *byte != 0).take(15).collect();
    name.push(0);
    // SAFETY: a string that ends with NUL, read during the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// The inherited descriptors, closed on exec again.
pub(super) struct Inherited {
    /// Of a process that serves.
    pub(super) listener: Option<Held<UnixListener>>,
    pub(super) overflow: Option<Held<UnixListener>>,
    pub(super) page: OwnedFd,
    pub(super) control: Held<OwnedFd>,
    pub(super) predecessor: Option<Held<OwnedFd>>,
    pub(super) bell: Option<Held<OwnedFd>>,
    pub(super) scripts: Option<OwnedFd>,
    pub(super) replaces: Option<OwnedFd>,
}

impl Inherited {
    /// The control pipe is looked at now and then.
    pub(super) fn attend_control(&self) {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(self.control.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    }

    /// Whether the server has closed the control pipe: nobody waits for the process.
    pub(super) fn is_unwanted(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.control.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one entry.
        unsafe { libc::poll(&raw mut entry, 1, 0) > 0 }
    }

    /// Returns them, and the log.
    fn take(launch: &Daemon) -> Result<(Self, OwnedFd), StartError> {
        let numbers = &launch.descriptors;
        let hold = |number| own(number).map(Held::new);
        let control = hold(numbers.control)?;
        let listener = (!launch.loader).then(|| hold(numbers.listener)).transpose()?;
        let log = own(numbers.log)?;
        let taken = Self {
            listener: listener.map(Held::into_listener),
            overflow: numbers.overflow.map(hold).transpose()?.map(Held::into_listener),
            page: own(numbers.page)?,
            control,
            predecessor: numbers.predecessor.map(hold).transpose()?,
            bell: numbers.bell.map(hold).transpose()?,
            scripts: numbers.scripts.map(own).transpose()?,
            replaces: numbers.inherited_scripts.map(own).transpose()?,
        };
        taken.attend_control();
        Ok((taken, log))
    }
}

/// Takes over an inherited descriptor.
fn own(number: RawFd) -> Result<OwnedFd, StartError> {
    // SAFETY: no pointers; fails for a number that is not open.
    if number <= LAUNCH_DESCRIPTOR || unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(StartError::NoDescriptor(number));
    }
    // SAFETY: it is open; the server left each number to one owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
