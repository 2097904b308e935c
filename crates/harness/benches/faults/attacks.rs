//! Attacks: requests of one hostile kind, fifty thousand of them, after which the server holds what it held before.
//!
//! Each has a server of its own. The first requests of an attack make what stays for good (buffers, interpreters up to their
//! bound); then memory, descriptors and threads are counted, and once more after all the others.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::client::Connection;
use crate::leftovers::Leftovers;
use crate::sabotage::{Fault, Replaces, USUAL, socket_files};
use crate::server::{NAMED, Stage, VICTIM};
use crate::storm;

/// Requests of an attack.
const COUNT: u64 = 50_000;

/// Those that come before anything is counted.
const FIRST: u64 = 2_000;

/// How long an attack goes on at most.
const LIMIT: Duration = Duration::from_secs(90);

/// Attackers at a time.
const ATTACKERS: u64 = 8;

/// Silent connections that each attacker keeps open.
const SILENT: usize = 60;

/// A kind of attack.
pub(crate) struct Attack {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What its requests may be answered with; 0 stands for no answer.
    statuses: &'static [u16],
    kind: Kind,
}

enum Kind {
    /// Whole requests on kept connections.
    Requests(fn(u64) -> String),
    /// Requests that break off: their clients close after what is sent.
    BrokenOff(fn(u64) -> String),
    /// Connections to the sockets of a group that say nothing, or not enough.
    Silent,
}

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "keys", statuses: &[200], kind: Kind::Requests(keys) },
    Attack { name: "hop-by-hop", statuses: &[200], kind: Kind::Requests(hop_by_hop) },
    Attack { name: "groups", statuses: &[200, 503], kind: Kind::Requests(groups) },
    Attack { name: "bodies", statuses: &[0, 400, 408, 500], kind: Kind::BrokenOff(bodies) },
    Attack { name: "silent", statuses: &[0], kind: Kind::Silent },
];

/// Nothing of the server may be replaced, and its processes may hold hardly more than before.
const QUIET: Fault = Fault { replaces: Replaces::Nobody, hoard: 3 * 1024, ..USUAL };

/// Many fields, most of them never seen before, some of them several times under names that become one key.
fn keys(number: u64) -> String {
    let mut text = format!("GET /{VICTIM}/echo?1 HTTP/1.1\r\nHost: localhost\r\n");
    for field in 0..20 {
        let _ = write!(text, "X-{number:x}-{field}: {number}\r\nX-Same: {field}\r\nx-SAME: {number}\r\nX_Same: 0\r\n");
    }
    text + "\r\n"
}

fn hop_by_hop(number: u64) -> String {
    format!(
        "GET /{VICTIM}/echo?1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-{number:x}\r\nX-{number:x}: 1\r\nTE: trailers\r\n\
         Trailer: X-{number:x}\r\nUpgrade: websocket, {number}\r\nKeep-Alive: timeout=0\r\nProxy-Connection: close\r\nProxy: \
         http://192.0.2.1/\r\nProxy-Authorization: Basic {number:x}\r\n\r\n"
    )
}

/// An application group that nobody has named before.
fn groups(number: u64) -> String {
    format!("GET /{NAMED}/echo?1 HTTP/1.1\r\nHost: group-{number}.example\r\n\r\n")
}

/// Bodies that are shorter than they should be, or no body.
fn bodies(number: u64) -> String {
    let head = format!("POST /{VICTIM}/echo?1 HTTP/1.1\r\nHost: localhost\r\n");
    match number % 4 {
        0 => head + "Content-Length: 100000\r\n\r\nshort",
        1 => head + "Transfer-Encoding: chunked\r\n\r\n10\r\nshort",
        2 => head + "Transfer-Encoding: chunked\r\n\r\nno number\r\n",
        _ => head + "Content-Length: 20\r\nExpect: 100-continue\r\n\r\n",
    }
}

/// What came of an attack.
pub(crate) struct Attacked {
    text: String,
    /// It is as it should be.
    pub(crate) well: bool,
    /// How many requests were sent.
    pub(crate) requests: u64,
}

impl Attacked {
    /// A paragraph about it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Attacks a server of its own.
pub(crate) fn attacked(dist: &Path, attack: &Attack) -> Result<Attacked, Failure> {
    let stage = Stage::new(dist, &QUIET)?;
    storm::warm(&stage)?;
    let began = Instant::now();
    let first = send(&stage, attack, 0, FIRST, began + LIMIT)?;
    let before = Leftovers::at_rest(&stage)?;
    let rest = send(&stage, attack, FIRST, COUNT, began + LIMIT)?;
    let took = began.elapsed();
    let after = Leftovers::settled(&stage, &before, &QUIET, 0)?;
    let mut wrong = after.surplus(&before, &QUIET, 0);
    let mut seen: BTreeMap<u16, u64> = first;
    for (status, count) in rest {
        *seen.entry(status).or_default() += count;
    }
    wrong.extend(
        seen.keys().filter(|status| !attack.statuses.contains(status)).map(|status| format!("status {status}")),
    );
    if let Some(failed) = storm::ask(&stage, "echo")? {
        wrong.push(format!("an ordinary request failed afterwards: {failed:?}"));
    }
    if let Err(failure) = stage.stop() {
        wrong.push(failure.to_string());
    }
    let requests = seen.values().sum();
    let counts: Vec<String> = seen.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    let mut text = format!("{:<12} {requests} in {:.1} s ({})", attack.name, took.as_secs_f64(), counts.join(", "));
    for line in &wrong {
        let _ = write!(text, "\n             {line}");
    }
    let _ = write!(text, "\n             before: {before}\n             after:  {after}");
    Ok(Attacked { text, well: wrong.is_empty(), requests })
}

/// Sends the requests with these numbers, as far as there is time; how they were answered.
fn send(stage: &Stage, attack: &Attack, from: u64, to: u64, until: Instant) -> Result<BTreeMap<u16, u64>, Failure> {
    let next = AtomicU64::new(from);
    let number = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number < to && Instant::now() < until).then_some(number)
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let attackers: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(|| attacker(stage, attack, &number))).collect();
        attackers.into_iter().map(|attacker| attacker.join().map_err(|_| "an attacker panicked")).collect()
    });
    let mut seen = BTreeMap::new();
    for answer in answers {
        for (status, count) in answer?? {
            *seen.entry(status).or_default() += count;
        }
    }
    Ok(seen)
}

fn attacker(
    stage: &Stage,
    attack: &Attack,
    number: &(dyn Fn() -> Option<u64> + Sync),
) -> Result<BTreeMap<u16, u64>, Failure> {
    let mut seen = BTreeMap::new();
    let mut count = |status| *seen.entry(status).or_default() += 1;
    match attack.kind {
        Kind::Requests(text) => {
            let mut connection = Connection::open(stage.address())?;
            while let Some(number) = number() {
                let status = loop {
                    match connection.send(text(number).as_bytes(), &mut std::io::sink()) {
                        Ok(status) => break status,
                        // The server may end a kept connection between two requests.
                        Err(broken) if broken.before_answer && connection.answered > 0 => {
                            connection = Connection::open(stage.address())?;
                        }
                        Err(broken) => return Err(broken.cause.into()),
                    }
                };
                count(status);
            }
        }
        Kind::BrokenOff(text) => {
            while let Some(number) = number() {
                let mut stream = TcpStream::connect(stage.address())?;
                stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                stream.write_all(text(number).as_bytes())?;
                // Every other client has gone before it could be answered.
                let mut answer = Vec::new();
                if number % 8 < 4 {
                    stream.shutdown(Shutdown::Write)?;
                    let _ = stream.read_to_end(&mut answer);
                }
                let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                // It may be told to go on, before the server finds out that there is nothing.
                count(status.filter(|status| *status != 100).unwrap_or(0));
            }
        }
        Kind::Silent => {
            let files = socket_files(stage)?;
            let beginnings: [&[u8]; 3] = [b"", &[1], &[1, 1, 32, 0, 0, 0, 0]];
            let mut silent = VecDeque::new();
            while let Some(number) = number() {
                let place = usize::try_from(number)?;
                let path = files.get(place % files.len().max(1)).ok_or("the group has no sockets")?;
                let mut stream = UnixStream::connect(path)?;
                let _ = stream.write_all(beginnings[place % beginnings.len()]);
                count(0);
                silent.push_back(stream);
                if silent.len() > SILENT {
                    silent.pop_front();
                }
            }
        }
    }
    Ok(seen)
}
