//! Worker threads. Idle workers wait in the poller themselves, so that no other thread has to hand them their requests;
//! how many of them do is the [`crew`](super::crew)'s business.

use std::io;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use wsgi_protocol::abi::Level;
use wsgi_protocol::frame::FailureCode;
use wsgi_protocol::request::{self, BODY_INCLUDED, Storage};

use super::connection::{Connection, Found, Refusal};
use super::exchange::{Buffers, Exchange, Finished};
use super::fork::end_if_forked;
use super::poller::Token;
use super::server::{LISTENER, OVERFLOW, STOP, STRANGERS, Server};
use super::status::wall_clock;
use crate::engine::Worker;

/// Starts the workers.
///
/// # Errors
/// When a thread cannot be made.
pub(super) fn start(server: &'static Server, threads: u32, stack_size: u64) -> io::Result<Vec<JoinHandle<()>>> {
    let stack_size = if stack_size > 0 { stack_size } else { system_stack_size() };
    let stack_size = usize::try_from(stack_size).unwrap_or(usize::MAX);
    (0..threads)
        .map(|number| {
            let builder = std::thread::Builder::new().stack_size(stack_size);
            builder.spawn(move || Work::new(server, number).run())
        })
        .collect()
}

/// The stack that threads have in a program that says nothing about it: as large as the first thread's may become.
fn system_stack_size() -> u64 {
    const UNLIMITED: u64 = 8 * 1024 * 1024;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is writable.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } == 0;
    if known && limit.rlim_cur != libc::RLIM_INFINITY { limit.rlim_cur } else { UNLIMITED }
}

/// What one worker keeps from request to request.
struct Work {
    server: &'static Server,
    number: u32,
    worker: Option<Worker>,
    input: Vec<u8>,
    storage: Storage,
    buffers: Buffers,
}

/// A worker's input buffer that grew beyond this is given back to the system after the request.
const KEPT: usize = 128 * 1024;

impl Work {
    fn new(server: &'static Server, number: u32) -> Self {
        Self {
            server,
            number,
            worker: None,
            input: Vec::new(),
            storage: Storage::default(),
            buffers: Buffers::default(),
        }
    }

    fn run(mut self) {
        // SAFETY: cannot fail.
        let thread = unsafe { libc::gettid() };
        while !self.server.is_stopping() {
            self.server.crew.turn();
            let event = self.server.poller.wait();
            self.server.crew.took(thread);
            match event {
                Ok(Some(event)) if event.token == STOP => break,
                Ok(Some(event)) => {
                    if let Some(connection) = self.connection(event.token, event.peer_gone) {
                        self.serve(connection);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.server.check_lifelines();
                    self.server.log.say(
                        Level::Critical,
                        &format!("WSGI0018: Unable to poll in daemon process '{}' ({error}).", self.server.group),
                    );
                    break;
                }
            }
        }
    }

    fn connection(&mut self, token: Token, peer_gone: bool) -> Option<Connection> {
        let server = self.server;
        let accept = |listener: &UnixListener| server.accept(listener, token);
        match token {
            LISTENER => accept(&self.server.listener),
            OVERFLOW => {
                let mut connection = self.server.overflow.as_deref().and_then(accept)?;
                connection.overflow = true;
                Some(connection)
            }
            STRANGERS => {
                self.server.close_strangers();
                None
            }
            _ => {
                let connection = self.server.unpark(token)?;
                if peer_gone {
                    // The child gave up, or ended: nobody waits for what may still lie in the socket.
                    self.throw_away(connection);
                    self.server.closed();
                    return None;
                }
                Some(connection)
            }
        }
    }

    fn serve(&mut self, mut connection: Connection) {
        let keep = match connection.read_request(&mut self.input, &self.server.secret) {
            // It lay in the backlog, perhaps through the end of a process, and the child has gone elsewhere.
            Ok(Found::Request(start)) if connection.fresh && connection.is_abandoned() => {
                self.forget(start);
                false
            }
            Ok(Found::Request(start)) => {
                let finished = self.request(&connection, start);
                // From now on the child knows whose it is.
                (connection.fresh, connection.overflow) = (false, false);
                match &finished.spool {
                    None => finished.keep,
                    Some(spool) => {
                        match self.server.outbox.end(&self.server.status, spool, connection, finished.keep) {
                            Some((back, keep)) => {
                                connection = back;
                                keep
                            }
                            None => {
                                self.forget_input();
                                return;
                            }
                        }
                    }
                }
            }
            Ok(Found::Nothing) => true,
            Ok(Found::Closed) => false,
            Err(refusal) => {
                self.log_refusal(&refusal);
                false
            }
        };
        self.forget_input();
        if keep {
            self.server.park(connection);
        } else {
            // It may be because the application has closed it; what has its number then is not ours to close.
            self.server.check_lifelines();
            drop(connection);
            self.server.closed();
        }
    }

    fn forget_input(&mut self) {
        self.input.clear();
        self.input.shrink_to(KEPT);
    }

    /// Closes a connection that nobody waits at.
    fn throw_away(&mut self, mut connection: Connection) {
        if self.server.status.has_withdrawn()
            && let Ok(Found::Request(start)) = connection.read_request(&mut self.input, &self.server.secret)
        {
            self.forget(start);
        }
        self.input.clear();
    }

    /// The request in the input buffer will not be served.
    fn forget(&mut self, start: usize) {
        if let Ok((facts, _)) = request::decode(&self.input[start..], &mut self.storage) {
            self.server.status.is_withdrawn(facts.ticket);
        }
    }

    fn log_refusal(&self, refusal: &Refusal) {
        let group = &self.server.group;
        let (level, code, what) = match refusal {
            Refusal::NoSecret => (Level::Alert, "WSGI0033", "Unable to verify origin of request"),
            Refusal::WrongSecret => (Level::Alert, "WSGI0034", "Unable to verify origin of request"),
            Refusal::Malformed(_) | Refusal::Io(_) => (Level::Error, "WSGI0080", "Unable to read request"),
        };
        self.server.log.say(level, &format!("{code}: {what} for daemon process '{group}': {refusal}."));
    }

    /// Serves the request in the input buffer.
    fn request(&mut self, connection: &Connection, start: usize) -> Finished {
        let server = self.server;
        let (facts, included) = match request::decode(&self.input[start..], &mut self.storage) {
            Ok(decoded) => decoded,
            Err(malformed) => {
                let refusal = malformed.into();
                self.log_refusal(&refusal);
                return Finished::CLOSED;
            }
        };
        let exchange = Exchange::new(server, self.number, connection, &facts, included, &mut self.buffers);
        if connection.closed_to_more && !facts.has(BODY_INCLUDED) {
            // It was here before this process began to leave, and could be read, but not the body that the child is asked for.
            server.status.is_withdrawn(facts.ticket);
            return exchange.refuse(FailureCode::Rejected, b"", true);
        }
        let queue = i64::try_from(server.timeouts.queue).unwrap_or(i64::MAX).saturating_mul(1000);
        if queue > 0 && wall_clock().saturating_sub(facts.queued_since(included)) > queue {
            server.status.is_withdrawn(facts.ticket);
            return exchange.refuse(FailureCode::QueueTimeout, b"", server.is_leaving());
        }
        let Some(engine) = server.engine() else {
            server.status.is_withdrawn(facts.ticket);
            return exchange.refuse(FailureCode::Status, b"500", server.is_leaving());
        };
        let number = self.number;
        // Made at the first request: a thread that never serves one costs Python nothing.
        let worker = self.worker.get_or_insert_with(|| engine.worker(number + 1));
        server.board.begin(number);
        server.status.begin(number, &facts);
        let mut exchange = exchange;
        let outcome = engine.serve(worker, &facts, &mut exchange);
        end_if_forked();
        let finished = exchange.finish(outcome, server.is_leaving());
        if server.status.has_withdrawn() {
            // However it ended, nobody asks for it any more.
            server.status.is_withdrawn(facts.ticket);
        }
        server.status.end(number);
        server.board.end(number);
        finished
    }
}
