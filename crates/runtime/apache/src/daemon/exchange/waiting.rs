//! Waiting for a thread that takes the request, and taking it back from a process that has none.

use std::time::{Duration, Instant};

use super::{Exchange, Turn, now};
use crate::codes;
use crate::daemon::connection::{Connection, ReadError};
use crate::daemon::sockets::LOOK;
use crate::daemon::status_page::{Claim, StatusPage, Target, seconds};
use crate::host::{Failure, Mpm, log};
use crate::sys;

/// Whether a request could be taken back.
enum Withdrawn {
    /// The process will not serve it.
    Yes,
    /// It has begun to.
    No,
    /// There was no room to say so: it has not begun, and it may.
    Unsaid,
    /// A process that does not see the page has taken it at this very moment, and cannot answer any more.
    TakenUnseen,
}

/// How long a child that is to end waits for a process of a group that has none. A graceful restart has started them
/// before it tells the children.
const AT_THE_END: Duration = Duration::from_secs(1);

/// A request that has waited for so long for a thread is worth a line in the log.
const LONG: Duration = Duration::from_secs(1);

impl Exchange<'_> {
    /// A group without a process that is started or starting is waited for like a connection.
    pub(super) fn wait_for_group(&self, connection: &Connection, claim: &Claim<'_>) -> Result<(), Failure> {
        let began = Instant::now();
        while !claim.group_runs() && !connection.wait(LOOK) {
            if began.elapsed() >= self.patience() {
                return Err(self.nobody_runs());
            }
        }
        Ok(())
    }

    /// How long a group may be without any process. The server's end brings none back: whoever waited on would only
    /// hold it up, until Apache kills the child.
    fn patience(&self) -> Duration {
        let patience = self.group.connect_timeout;
        if Mpm::is_stopping() { patience.min(AT_THE_END) } else { patience }
    }

    fn nobody_runs(&self) -> Failure {
        Failure::new(
            sys::HTTP_SERVICE_UNAVAILABLE,
            &codes::CONNECT_EXHAUSTED,
            format!(
                "Unable to connect to WSGI daemon process '{}': none of its processes can be started, the reason is \
                 earlier in the log.",
                self.group.name
            ),
        )
    }

    /// Nothing came for a moment. Goes on waiting: for a thread as long as none has taken the request, then for the
    /// application. Returns when something can be read, or how the try ends.
    pub(super) fn wait_longer(
        &mut self,
        connection: &mut Connection,
        claim: &Claim<'_>,
        page: &StatusPage,
        may_move: bool,
    ) -> Result<(), Turn> {
        if !self.accepted && !self.response.has_head() && self.wait_for_turn(connection, claim, page, may_move)? {
            return Ok(());
        }
        let limit = self.group.socket_timeout;
        if limit.is_zero() || connection.wait(limit.saturating_sub(LOOK)) {
            return Ok(());
        }
        Err(self.broken(&ReadError::TimedOut, page))
    }

    /// Waits until a thread takes the request, for no longer than the timeouts say; when the process is stuck and
    /// another has room, the request is taken back and goes there. `true`: something can be read.
    pub(super) fn wait_for_turn(
        &mut self,
        connection: &mut Connection,
        claim: &Claim<'_>,
        page: &StatusPage,
        may_move: bool,
    ) -> Result<bool, Turn> {
        let (queue, socket) = (self.group.queue_timeout, self.group.socket_timeout);
        let sent = *self.sent.get_or_insert_with(Instant::now);
        // The last process may have ended after the request was sent to its listener.
        let mut nobody_since = None;
        loop {
            if page.has_taken(self.ticket) {
                self.accepted = true;
                return Ok(false);
            }
            if claim.group_runs() {
                nobody_since = None;
            } else if nobody_since.get_or_insert_with(Instant::now).elapsed() >= self.patience() {
                return Err(self.done(Err(self.nobody_runs())));
            }
            let in_queue = Duration::from_micros(u64::try_from(now() - self.queued).unwrap_or(0));
            let waited = sent.elapsed();
            let left = if queue.is_zero() { LOOK } else { queue.saturating_sub(in_queue) };
            let overdue = left.is_zero() || (!socket.is_zero() && waited >= socket);
            let leaves = may_move
                && waited >= LOOK
                && matches!(claim.target(), Target::Place(place) if page.has_room_elsewhere(place));
            if overdue || leaves {
                match self.withdraw(connection, claim, page) {
                    Withdrawn::No => return Ok(connection.has_frame()),
                    Withdrawn::TakenUnseen => {
                        self.accepted = true;
                        return Err(self.broken(&ReadError::Closed, page));
                    }
                    _ if left.is_zero() => return Err(self.done(Err(self.queue_timeout()))),
                    _ if overdue => return Err(self.broken(&ReadError::TimedOut, page)),
                    Withdrawn::Yes => return Err(Turn::Elsewhere),
                    Withdrawn::Unsaid => {}
                }
            }
            if waited >= LONG
                && let Some(threads) = page.newly_at_capacity(seconds())
            {
                log::request(
                    self.request,
                    &codes::AT_CAPACITY,
                    format_args!(
                        "All {threads} threads of daemon process group '{}' are busy; requests wait for one.",
                        self.group.name
                    ),
                );
            }
            if connection.wait(left.min(LOOK)) {
                return Ok(true);
            }
        }
    }

    /// Takes the request back from the process that it was sent to.
    fn withdraw(&self, connection: &mut Connection, claim: &Claim<'_>, page: &StatusPage) -> Withdrawn {
        let entered = !self.foreign
            && match claim.target() {
                Target::Place(place) => page.withdraw(self.ticket, place),
                Target::Overflow => page.withdraw_anywhere(self.ticket),
            };
        if !entered {
            return if page.has_taken(self.ticket) { Withdrawn::No } else { Withdrawn::Unsaid };
        }
        // In this order: a thread that has another ticket by now has sent this one's response before.
        if page.has_taken(self.ticket) || connection.has_frame() {
            match claim.target() {
                Target::Place(place) => page.keep_after_all(self.ticket, place),
                Target::Overflow => page.forget_withdrawal(self.ticket),
            }
            return Withdrawn::No;
        }
        // A process that does not see this page (one of another generation, before it has said so) takes a request by
        // writing to the connection.
        if connection.close_to_answers() { Withdrawn::TakenUnseen } else { Withdrawn::Yes }
    }

    pub(super) fn queue_timeout(&self) -> Failure {
        Failure::new(
            sys::HTTP_GATEWAY_TIME_OUT,
            &codes::QUEUE_TIMEOUT,
            format!("Queue timeout expired for WSGI daemon process '{}'.", self.group.name),
        )
    }
}
