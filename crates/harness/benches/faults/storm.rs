//! Clients under way while something is broken.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Connection;
use crate::disk;
use crate::journal::{Failed, Outcome};
use crate::leftovers::Leftovers;
use crate::sabotage::{Blows, Fault, Replaces};
use crate::server::{BYSTANDER, Stage, VICTIM};
use crate::verdict::{Counts, Seen, Verdict};
use crate::{Failure, journal};

/// Clients of the group that suffers, and of the other one.
const CLIENTS: usize = 40;
const BYSTANDERS: usize = 10;
/// Between the requests of one client.
const PAUSE: Duration = Duration::from_millis(4);

/// The marks of all requests of this run, so that no answer can pass for another's.
static MARKS: AtomicU64 = AtomicU64::new(0x1000_0000);

/// Tries a fault with a server of its own.
pub(crate) fn tried(dist: &Path, fault: &Fault, length: Duration) -> Result<Verdict, Failure> {
    let try_it = || Stage::new(dist, fault).and_then(|stage| run(stage, fault, length));
    if fault.wants_small_disk() { disk::apart(try_it) } else { try_it() }
}

/// Breaks things for so long while clients are under way; then looks at what is left.
fn run(stage: Stage, fault: &Fault, length: Duration) -> Result<Verdict, Failure> {
    // Children hold a little more after a restart: they are forked while the processes before are still there.
    if fault.replaces == Replaces::Everybody {
        stage.restart_gracefully()?;
    }
    let before = warm(&stage)?;
    let mut blows = Blows::default();
    let until = Instant::now() + length;
    let (victims, bystanders) = load(&stage, length, |stage| (fault.inflict)(stage, until, &mut blows))?;
    if fault.replaces == Replaces::Everybody {
        Leftovers::at_rest(&stage)?;
        stage.restart_gracefully()?;
    }
    // Everything heals: requests after the fault are answered as those before.
    let (healed, (more_victims, more_bystanders)) = heals(&stage)?;
    let (victims, bystanders) = (victims + more_victims, bystanders + more_bystanders);
    let after = Leftovers::settled(&stage, &before, fault, blows.count)?;
    let log = std::fs::read_to_string(stage.logs().join("error.log"))?;
    let ending = stage.stop().err().map(|error| error.to_string());
    Ok(Verdict::new(fault, Seen { victims, bystanders, blows, healed, before, after, log, ending }))
}

/// What a server keeps for good is there after the first requests, once all processes run.
pub(crate) fn warm(stage: &Stage) -> Result<Leftovers, Failure> {
    let mut before = Leftovers::default();
    for _ in 0..20 {
        load(stage, Duration::from_secs(1), |_| Ok(()))?;
        let now = Leftovers::at_rest(stage)?;
        if now.is_steady(&before) {
            return Ok(now);
        }
        before = now;
    }
    Err(format!("the server does not come to rest before anything is broken: {before}").into())
}

/// How long it takes until a whole round of requests is answered, and what clients saw meanwhile.
fn heals(stage: &Stage) -> Result<(Option<Duration>, (Counts, Counts)), Failure> {
    const LIMIT: Duration = Duration::from_secs(30);
    let began = Instant::now();
    let mut seen = (Counts::default(), Counts::default());
    while began.elapsed() < LIMIT {
        let (victims, bystanders) = load(stage, Duration::from_millis(500), |_| Ok(()))?;
        let well = victims.failed() == 0 && bystanders.failed() == 0 && victims.sent > 0;
        seen = (seen.0 + victims, seen.1 + bystanders);
        if well {
            return Ok((Some(began.elapsed()), seen));
        }
    }
    Ok((None, seen))
}

fn load(
    stage: &Stage,
    length: Duration,
    sabotage: impl FnOnce(&Stage) -> Result<(), Failure> + Send,
) -> Result<(Counts, Counts), Failure> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let spawn = |group: &'static str, count: usize| -> Vec<_> {
            (0..count).map(|number| scope.spawn(move || client(stage, group, number, stop))).collect()
        };
        let (victims, bystanders) = (spawn(VICTIM, CLIENTS), spawn(BYSTANDER, BYSTANDERS));
        let began = Instant::now();
        let done = sabotage(stage);
        thread::sleep(length.saturating_sub(began.elapsed()));
        stop.store(true, Ordering::Relaxed);
        let sum = |clients: Vec<thread::ScopedJoinHandle<'_, Counts>>| {
            clients.into_iter().try_fold(Counts::default(), |sum, client| {
                client.join().map(|counts| sum + counts).map_err(|_| Failure::from("a client panicked"))
            })
        };
        let counts = (sum(victims)?, sum(bystanders)?);
        done.map(|()| counts)
    })
}

/// Sends requests until told to stop; every other client keeps its connection, every third one sends a body. A connection on
/// which a request failed is given up.
fn client(stage: &Stage, group: &str, number: usize, stop: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    let mut kept = None;
    let upload = vec![b'u'; 30_000];
    while !stop.load(Ordering::Relaxed) {
        let mark = format!("{:x}", MARKS.fetch_add(7919, Ordering::Relaxed));
        let body: &[u8] = if number.is_multiple_of(3) { &upload } else { b"" };
        let method = if body.is_empty() { "GET" } else { "POST" };
        let began = Instant::now();
        counts.sent += 1;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match Connection::open(stage.address()) {
                Ok(connection) => connection,
                Err(_) => {
                    counts.unreachable += 1;
                    continue;
                }
            },
        };
        let port = connection.port();
        let mut content = Vec::new();
        match connection.exchange(method, &format!("/{group}/echo?{mark}"), body, &mut content) {
            Ok(200) => {
                let repeated = format!("{mark}\n").into_bytes().repeat(number_of(&mark) % 700 + 1);
                if content.strip_prefix(body) == Some(&repeated[..]) {
                    kept = number.is_multiple_of(2).then_some(connection);
                } else {
                    counts.mixed_up += u64::from(has_other_mark(&content, &mark));
                    let outcome = Outcome::Damaged(damage(&content, body, &repeated));
                    counts.failures.push(Failed { port, outcome });
                }
            }
            Ok(status) => counts.failures.push(Failed { port, outcome: Outcome::Status(status) }),
            // A kept connection may end between requests, as at any server: browsers send such a request again.
            Err(broken) if broken.before_answer && connection.answered > 0 => counts.sent_again += 1,
            Err(broken) => counts.failures.push(Failed { port, outcome: Outcome::Broken(broken.cause.to_string()) }),
        }
        counts.longest = counts.longest.max(began.elapsed());
        thread::sleep(PAUSE);
    }
    counts
}

/// A request that does something to its own process; how it failed, if it did.
pub(crate) fn ask(stage: &Stage, path: &str) -> Result<Option<journal::Failed>, Failure> {
    let mut connection = Connection::open(stage.address())?;
    let outcome = match connection.request("GET", &format!("/{VICTIM}/{path}?1"), b"") {
        Ok(200) => return Ok(None),
        Ok(status) => Outcome::Status(status),
        Err(broken) => Outcome::Broken(broken.cause.to_string()),
    };
    Ok(Some(Failed { port: connection.port(), outcome }))
}

/// What is wrong with an answer.
fn damage(content: &[u8], body: &[u8], repeated: &[u8]) -> String {
    let expected = [body, repeated].concat();
    let same = content.iter().zip(&expected).take_while(|(one, other)| one == other).count();
    let excerpt = String::from_utf8_lossy(&content[same..content.len().min(same + 40)]).into_owned();
    format!("{} bytes instead of {}, after {same} of them {excerpt:?}", content.len(), expected.len())
}

/// Whether an answer has a whole mark that is not its own.
fn has_other_mark(content: &[u8], mark: &str) -> bool {
    let is_mark = |line: &&[u8]| line.len() == mark.len() && line.iter().all(u8::is_ascii_hexdigit);
    content.split(|byte| *byte == b'\n').filter(is_mark).any(|line| line != mark.as_bytes())
}

fn number_of(mark: &str) -> usize {
    usize::from_str_radix(mark, 16).unwrap_or(0)
}
