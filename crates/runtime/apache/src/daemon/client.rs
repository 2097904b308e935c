//! A child's side: from a request to a process that serves it.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use wsgi_protocol::frame::Secret;
use wsgi_protocol::page::Page;
use wsgi_protocol::request::Facts;
use wsgi_protocol::tally::Failed;

use super::chroot;
use super::connection::Connection;
use super::exchange::{Exchange, Turn};
use super::group::Plan;
use super::listener_check::Maker;
use super::retained::SavedGroup;
use super::sockets::{self, ConnectError, Manner};
use super::status_page::{Claim, StatusPage, Target, slot_of};
use super::tickets::Tickets;
use super::watch;
use crate::codes::{self, Code};
use crate::config::Registry;
use crate::directives::DaemonGroup;
use crate::host::{Failure, Request, Verdict, log};
use crate::response::Rules;
use crate::sys;

/// What the server's processes know of the running daemons.
pub(crate) struct Daemons {
    /// In the order of the configuration's groups.
    groups: Vec<GroupClient>,
    /// The process that starts daemons, which may be the one that serves (`-X`).
    parent: u32,
}

/// One group, seen by who sends requests to it.
pub(crate) struct GroupClient {
    pub(super) name: String,
    /// `None`: the group was not started.
    running: Option<Running>,
    pub(super) connect_timeout: Duration,
    pub(super) socket_timeout: Duration,
    pub(super) queue_timeout: Duration,
    pub(super) flush_delay: Duration,
    /// The longest line of a head.
    pub(super) longest_line: usize,
    /// How much of a response is passed on without a flush.
    pub(super) flush_after: usize,
    /// How long a client may take nothing; `None` is Apache's `Timeout`.
    pub(super) client_timeout: Option<Duration>,
    /// `SO_SNDBUF` and `SO_RCVBUF` of connections; 0 is the system's.
    buffers: (u32, u32),
    /// Where the processes are confined.
    chroot: Option<Vec<u8>>,
    /// Its processes serve no requests.
    is_service: bool,
}

/// `header-buffer-size`, when it is not given.
const LONGEST_LINE: u32 = 32_768;

/// `response-buffer-size`, when it is not given.
const FLUSH_AFTER: u32 = 8 * 1024 * 1024;

/// The first of two numbers, unless it is 0: that leaves it to the other.
fn given_or<T: PartialEq + Default>(given: T, otherwise: T) -> T {
    if given == T::default() { otherwise } else { given }
}

struct Running {
    page: Arc<StatusPage>,
    secret: Secret,
    tickets: Tickets,
    /// Who made the sockets.
    maker: Maker,
    /// This child's row on the page.
    row: OnceLock<Option<u32>>,
    /// The sockets of the slots.
    paths: Vec<PathBuf>,
    overflow: Option<PathBuf>,
    /// Kept connections by place.
    kept: Vec<Mutex<Vec<OwnedFd>>>,
    threads: usize,
}

impl Daemons {
    pub(crate) fn new(groups: Vec<GroupClient>) -> Self {
        Self { groups, parent: std::process::id() }
    }

    /// The groups' names, and the pages of those that run, in the order of the configuration.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (&str, Option<&Page>)> {
        self.groups.iter().map(|group| (group.name.as_str(), group.running.as_ref().map(|running| running.page.page())))
    }

    /// Gives back what an ended Apache child held.
    pub(crate) fn give_back(&self, pid: libc::pid_t) {
        for running in self.groups.iter().filter_map(|group| group.running.as_ref()) {
            running.page.give_back(u32::try_from(pid).unwrap_or(0));
        }
    }
}

impl GroupClient {
    /// A group that could not be started.
    pub(crate) fn absent(group: &DaemonGroup) -> Self {
        let socket_timeout = match group.timeouts.socket {
            0 => Duration::from_micros(u64::try_from(group.server.timeout()).unwrap_or(0)),
            timeout => Duration::from_millis(timeout),
        };
        Self {
            name: group.display().into_owned(),
            running: None,
            connect_timeout: Duration::from_millis(group.connect_timeout),
            socket_timeout,
            queue_timeout: Duration::from_millis(group.timeouts.queue),
            flush_delay: Duration::from_millis(group.response_flush_delay),
            longest_line: given_or(group.header_buffer_size, LONGEST_LINE) as usize,
            flush_after: given_or(group.response_buffer_size, FLUSH_AFTER) as usize,
            client_timeout: Some(given_or(group.response_socket_timeout, group.timeouts.socket))
                .filter(|timeout| *timeout > 0)
                .map(Duration::from_millis),
            // What one side sends is what the other receives.
            buffers: (group.receive_buffer_size, group.send_buffer_size),
            chroot: group.chroot.clone(),
            is_service: group.threads == 0,
        }
    }

    /// Counts a request that failed.
    pub(super) fn count(&self, kind: Failed) {
        if let Some(running) = &self.running {
            running.page.page().tally().failed(kind);
        }
    }

    /// A group whose processes are about to be started.
    pub(crate) fn new(group: &DaemonGroup, plan: &Plan, saved: &SavedGroup, page: Arc<StatusPage>) -> Self {
        let path = |path: &[u8]| PathBuf::from(OsStr::from_bytes(path));
        let places = plan.layout.processes() as usize;
        let running = Running {
            page,
            secret: saved.secret,
            tickets: Tickets::default(),
            maker: Maker::own(),
            row: OnceLock::new(),
            paths: saved.slots.iter().map(|slot| path(&slot.listener.path)).collect(),
            overflow: saved.overflow.as_ref().map(|overflow| path(&overflow.path)),
            kept: (0..places).map(|_| Mutex::default()).collect(),
            threads: plan.layout.threads().max(1) as usize,
        };
        Self { running: Some(running), ..Self::absent(group) }
    }
}

/// Prepares a child.
pub(crate) fn child_init(registry: &'static Registry) {
    let Some(daemons) = registry.daemons().get() else { return };
    let pid = std::process::id();
    for running in daemons.groups.iter().filter_map(|group| group.running.as_ref()) {
        // Asked for once.
        let _ = running.row.set(running.page.claim_row(pid));
        running.tickets.begin();
    }
    if pid != daemons.parent {
        watch::hear_nothing();
        super::siblings::give_up();
    }
}

/// When a client may come again that was turned away, in seconds.
const RETRY_AFTER: &CStr = c"5";

/// The most times that a request is sent anew because a kept connection turned out to be closed.
const STALE: usize = 1000;

/// Serves a request by a process of a group, which is its place in [`crate::config::Generation::groups`].
pub(crate) fn serve(
    request: Request<'_>,
    registry: &Registry,
    group: usize,
    facts: Facts<'_>,
    rules: Rules,
) -> Result<Verdict, Failure> {
    let Some(group) = registry.daemons().get().and_then(|daemons| daemons.groups.get(group)) else {
        return Err(Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::CONNECT_FAILED,
            "Daemon mode is not running in this process.",
        ));
    };
    if group.is_service {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::GROUP_IS_SERVICE,
            format!(
                "WSGI daemon process '{}' is a service (threads=0): it runs its import script and serves no requests.",
                group.name
            ),
        ));
    }
    let Some(running) = &group.running else {
        return Err(Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::CONNECT_FAILED,
            format!("WSGI daemon process '{}' was not started; the reason is earlier in the log.", group.name),
        ));
    };
    let facts = match &group.chroot {
        Some(root) => chroot::confine(request, root, &group.name, facts)?,
        None => facts,
    };
    let answer = running.serve(request, group, facts, rules);
    if let Err(failure) = &answer {
        group.count(kind_of(failure.code));
        if u32::from(failure.status.0) == sys::HTTP_SERVICE_UNAVAILABLE {
            request.error_headers_out().set_lasting(c"Retry-After", RETRY_AFTER);
        }
    }
    answer
}

/// As what a request counts that got an error because of the process or the way to it.
fn kind_of(code: &Code) -> Failed {
    match code.number {
        84 => Failed::QueueTimeout,
        115 | 117 | 965 => Failed::ConnectFailed,
        116 => Failed::ConnectTimeout,
        121 | 144 | 148 => Failed::Protocol,
        124 => Failed::Refused,
        145 => Failed::SocketTimeout,
        146 | 147 => Failed::ProcessLost,
        _ => Failed::Other,
    }
}

impl Running {
    fn serve(
        &self,
        request: Request<'_>,
        group: &GroupClient,
        facts: Facts<'_>,
        rules: Rules,
    ) -> Result<Verdict, Failure> {
        let mut facts = facts;
        facts.ticket = self.tickets.next();
        facts.page = self.page.identity();
        let mut exchange = match Exchange::begin(request, group, facts, &self.secret, rules) {
            Ok(exchange) => exchange,
            Err(verdict) => return verdict,
        };
        let row = self.row.get().copied().flatten();
        let most = 2 * self.paths.len() + 1;
        let (mut attempts, mut stale, mut moves) = (0, 0, 0);
        loop {
            let mut claim = Claim::choose(&self.page, row, self.overflow.is_some());
            let (mut connection, fresh) = self.connection(group, claim.target())?;
            match exchange.run(&mut connection, fresh, &mut claim, &self.page, moves < most) {
                Turn::Done { verdict, keep } => {
                    if let (true, Target::Place(place)) = (keep, claim.target()) {
                        self.keep(place, connection);
                    }
                    return verdict;
                }
                Turn::Stale if stale < STALE => {
                    stale += 1;
                    // Its siblings are most likely closed too, and trying them one by one only takes time.
                    if let Target::Place(place) = claim.target() {
                        self.forget(place);
                    }
                }
                Turn::Elsewhere => {
                    moves += 1;
                    exchange.again(false);
                    exchange.anew(self.tickets.next());
                }
                turn @ (Turn::Stale | Turn::Rejected) => {
                    attempts += 1;
                    let rejected = matches!(turn, Turn::Rejected);
                    exchange.again(rejected);
                    if rejected {
                        // The one that it had may stand in the slot of the worker that turned it away.
                        exchange.anew(self.tickets.next());
                    }
                    if attempts >= most {
                        return Err(Failure::new(
                            sys::HTTP_SERVICE_UNAVAILABLE,
                            &codes::ATTEMPTS_EXHAUSTED,
                            format!(
                                "Maximum number of WSGI daemon process restart connects reached, for daemon process '{}'.",
                                group.name
                            ),
                        ));
                    }
                    log::info(
                        log::Target::Request(request),
                        format_args!(
                            "Reconnecting after WSGI daemon process '{}' restart, attempt #{attempts}.",
                            group.name
                        ),
                    );
                }
            }
        }
    }

    fn kept(&self, place: u32) -> Option<MutexGuard<'_, Vec<OwnedFd>>> {
        Some(self.kept.get(place as usize)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection to a process, and whether it was made now.
    fn connection(&self, group: &GroupClient, target: Target) -> Result<(Connection, bool), Failure> {
        if let Target::Place(place) = target
            && let Some(socket) = self.kept(place).and_then(|mut kept| kept.pop())
        {
            return Ok((Connection::new(socket), false));
        }
        let path = match target {
            Target::Place(place) => self.paths.get(slot_of(place) as usize),
            Target::Overflow => self.overflow.as_ref(),
        };
        let path = path.map_or(Path::new(""), PathBuf::as_path);
        let manner = Manner {
            patience: group.connect_timeout,
            timeout: group.socket_timeout,
            buffers: group.buffers,
            maker: self.maker,
        };
        let socket = sockets::connect(path, manner).map_err(|error| connect_failure(group, path, &error))?;
        Ok((Connection::new(socket), true))
    }

    fn keep(&self, place: u32, connection: Connection) {
        if let Some(mut kept) = self.kept(place)
            && kept.len() < self.threads
        {
            kept.push(connection.into_socket());
        }
    }

    fn forget(&self, place: u32) {
        let forgotten = self.kept(place).map(|mut kept| std::mem::take(&mut *kept));
        // Closed outside of the lock.
        drop(forgotten);
    }
}

fn own_user() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getuid() }
}

fn connect_failure(group: &GroupClient, path: &Path, error: &ConnectError) -> Failure {
    let (name, path) = (&group.name, path.display());
    match error {
        ConnectError::TimedOut => Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::CONNECT_EXHAUSTED,
            format!(
                "Unable to connect to WSGI daemon process '{name}' on '{path}' after multiple attempts as listener \
                 backlog limit was exceeded or the socket does not exist."
            ),
        ),
        ConnectError::NoSocket(error) => Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::SOCKET_CREATION,
            format!("Unable to create socket to connect to WSGI daemon process '{name}' ({error})."),
        ),
        ConnectError::Foreign(foreign) => Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::LISTENER_FOREIGN,
            format!(
                "Nothing was sent to WSGI daemon process '{name}' on '{path}', as {foreign}. Another program has \
                 replaced the socket's file."
            ),
        ),
        ConnectError::Failed(error) => Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::CONNECT_FAILED,
            format!(
                "Unable to connect to WSGI daemon process '{name}' on '{path}' as user with uid={} ({error}).",
                own_user()
            ),
        ),
    }
}
