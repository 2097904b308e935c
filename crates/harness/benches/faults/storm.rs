//! Clients under way while something is broken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::client::Connection;
use crate::sabotage::{Fault, OWN_FAILURES};
use crate::server::{BYSTANDER, Stage, VICTIM};
use crate::verdict::{Counts, Leftovers, Seen, Verdict};

/// Clients of the group that suffers, and of the other one.
const CLIENTS: usize = 40;
const BYSTANDERS: usize = 10;
/// Between the requests of one client.
const PAUSE: Duration = Duration::from_millis(4);

/// The marks of all requests of this run, so that no answer can pass for another's.
static MARKS: AtomicU64 = AtomicU64::new(0x1000_0000);

/// Breaks things for so long while clients are under way; then looks at what is left.
pub(crate) fn run(stage: Stage, fault: &Fault, length: Duration) -> Result<Verdict, Failure> {
    let before = warm(&stage)?;
    let (victims, bystanders) = load(&stage, length, |stage| (fault.inflict)(stage, Instant::now() + length))?;
    // Everything heals: requests after the fault are answered as those before.
    let (healed, meanwhile) = heals(&stage)?;
    let victims = victims + meanwhile;
    let after = Leftovers::of(&stage)?;
    let log = std::fs::read_to_string(stage.logs().join("error.log"))?;
    let ending = stage.stop().err().map(|error| error.to_string());
    let own_failures = OWN_FAILURES.swap(0, Ordering::Relaxed);
    Ok(Verdict::new(fault, Seen { victims, bystanders, healed, before, after, log, own_failures, ending }))
}

/// What a server keeps for good is there after the first requests, once all processes run.
fn warm(stage: &Stage) -> Result<Leftovers, Failure> {
    let mut before = Leftovers::default();
    for _ in 0..20 {
        load(stage, Duration::from_secs(1), |_| Ok(()))?;
        let now = Leftovers::of(stage)?;
        if now.is_steady(&before) {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// How long it takes until a whole round of requests is answered, and what clients saw meanwhile.
fn heals(stage: &Stage) -> Result<(Option<Duration>, Counts), Failure> {
    const LIMIT: Duration = Duration::from_secs(30);
    let began = Instant::now();
    let mut seen = Counts::default();
    while began.elapsed() < LIMIT {
        let (victims, bystanders) = load(stage, Duration::from_millis(500), |_| Ok(()))?;
        let well = victims.failed() == 0 && bystanders.failed() == 0 && victims.sent > 0;
        seen = seen + victims;
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

/// Sends requests until told to stop; every other client keeps its connection, every third one sends a body.
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
        let mut content = Vec::new();
        match connection.exchange(method, &format!("/{group}/echo?{mark}"), body, &mut content) {
            Ok(200) => {
                let repeated = format!("{mark}\n").into_bytes().repeat(number_of(&mark) % 700 + 1);
                if content.strip_prefix(body) != Some(&repeated[..]) {
                    if has_other_mark(&content, &mark) { counts.mixed_up += 1 } else { counts.damaged += 1 }
                }
                kept = number.is_multiple_of(2).then_some(connection);
            }
            Ok(_) => counts.refused += 1,
            // A kept connection may end between requests, as at any server: browsers send such a request again.
            Err(broken) if broken.before_answer && connection.answered > 0 => counts.sent_again += 1,
            Err(broken) => {
                counts.broken += 1;
                counts.cause = Some(broken.cause.to_string());
            }
        }
        counts.longest = counts.longest.max(began.elapsed());
        thread::sleep(PAUSE);
    }
    counts
}

/// Whether an answer has a whole mark that is not its own.
fn has_other_mark(content: &[u8], mark: &str) -> bool {
    let is_mark = |line: &&[u8]| line.len() == mark.len() && line.iter().all(u8::is_ascii_hexdigit);
    content.split(|byte| *byte == b'\n').filter(is_mark).any(|line| line != mark.as_bytes())
}

fn number_of(mark: &str) -> usize {
    usize::from_str_radix(mark, 16).unwrap_or(0)
}
