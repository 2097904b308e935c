//! Readiness: a server is ready when it answers, not when some time has passed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::tail::LogTail;

/// What has to happen before a server counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It accepts a connection, and its error log (which has to be a file) says that it resumes normal operations: the
    /// configuration stands and the children are started. Nothing of it reaches the access log.
    Announces(SocketAddr),
    /// It accepts a connection: its listeners are open. The only possibility for a port that speaks TLS.
    Accepts(SocketAddr),
    /// One of its children answers a request. `OPTIONS *` is used, which httpd answers itself: no application sees it.
    Answers(SocketAddr),
}

/// The pause between two attempts while nobody listens. A refused connection on the loopback interface costs some 20 µs.
const ATTEMPT_PAUSE: Duration = Duration::from_micros(700);

/// The longest time to wait for an answer before looking again whether the server still lives.
const ANSWER_SLICE: Duration = Duration::from_millis(20);

/// What httpd logs once its children are started. A log file gets it at every level.
const ANNOUNCEMENT: &str = "resuming normal operations";

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server is ready.
    Ready,
    /// It has ended.
    Died,
    /// The time was up.
    Expired,
}

impl Readiness {
    /// Waits until the server is ready, has ended, or the time is up. `log` is the error log from before the start, `proxied`
    /// says that connections begin with a header of the PROXY protocol.
    pub(super) fn wait(
        self,
        deadline: Instant,
        proxied: bool,
        mut log: LogTail,
        mut alive: impl FnMut() -> bool,
    ) -> Outcome {
        let (Self::Accepts(address) | Self::Answers(address) | Self::Announces(address)) = self;
        if matches!(self, Self::Announces(_)) {
            loop {
                if !alive() {
                    return Outcome::Died;
                }
                if Instant::now() >= deadline {
                    return Outcome::Expired;
                }
                // A folder that cannot be watched shows in the next attempt's time, not in the result.
                if log
                    .wait_for(ANSWER_SLICE, |line| line.message.contains(ANNOUNCEMENT))
                    .is_ok_and(|(announced, _)| announced)
                {
                    break;
                }
            }
        }
        loop {
            if !alive() {
                return Outcome::Died;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Outcome::Expired;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(_) if !matches!(self, Self::Answers(_)) => return Outcome::Ready,
                Ok(connection) => match answer(connection, deadline, proxied, &mut alive) {
                    Ok(Outcome::Ready) => return Outcome::Ready,
                    Ok(Outcome::Died) => return Outcome::Died,
                    // A connection that closes without an answer: the child that took it went away. Another one comes.
                    Ok(Outcome::Expired) | Err(_) => std::thread::sleep(ATTEMPT_PAUSE),
                },
                Err(_) => std::thread::sleep(ATTEMPT_PAUSE),
            }
        }
    }
}

/// The header of the PROXY protocol (version 1) for a connection that comes through no proxy.
pub(crate) fn proxy_header(connection: &TcpStream) -> io::Result<String> {
    let (from, to) = (connection.local_addr()?, connection.peer_addr()?);
    let family = if to.is_ipv4() { "TCP4" } else { "TCP6" };
    Ok(format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()))
}

/// Sends a request and waits for the first bytes of a response.
fn answer(
    mut connection: TcpStream,
    deadline: Instant,
    proxied: bool,
    alive: &mut impl FnMut() -> bool,
) -> io::Result<Outcome> {
    connection.set_read_timeout(Some(ANSWER_SLICE))?;
    if proxied {
        connection.write_all(proxy_header(&connection)?.as_bytes())?;
    }
    connection.write_all(b"OPTIONS * HTTP/1.0\r\nHost: localhost\r\nUser-Agent: confgen\r\n\r\n")?;
    let mut start = [0; 5];
    let mut filled = 0;
    while filled < start.len() {
        match connection.read(&mut start[filled..]) {
            Ok(0) => return Ok(Outcome::Expired),
            Ok(count) => filled += count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) =>
            {
                if !alive() {
                    return Ok(Outcome::Died);
                }
                if Instant::now() >= deadline {
                    return Ok(Outcome::Expired);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(if &start == b"HTTP/" { Outcome::Ready } else { Outcome::Expired })
}
