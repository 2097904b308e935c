//! A thousand generations of the configuration: graceful restarts, one after the other, under load.

use std::thread;
use std::time::{Duration, Instant};

use confgen::httpd::{ProcessId, Stat, process};

use crate::Failure;
use crate::sabotage::Blows;
use crate::server::{CHILD_THREADS, Stage};

/// Restarts for each second that a fault is to go on: a thousand in twenty.
const PER_SECOND: u128 = 50;

/// Parts of all restarts that are compared.
const PARTS: usize = 10;

/// What the server's process may hold more in the last part than in the second one, in KiB. In the first one caches are filled.
const GROWTH_OF_PARENT: u64 = 256;

/// The same for a child that has just begun to serve; some have had a few requests more than others.
const GROWTH_OF_CHILDREN: u64 = 512;

/// Restarts the server until it has had as many generations as belong to the time.
pub(crate) fn graceful(stage: &Stage, until: Instant, blows: &mut Blows) -> Result<(), Failure> {
    let wanted = (until.saturating_duration_since(Instant::now()).as_millis() * PER_SECOND).div_ceil(1000);
    let (mut parent, mut children) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for _ in 0..wanted {
        let known: Vec<ProcessId> = stage.children().iter().map(Stat::id).collect();
        stage.restart_gracefully()?;
        blows.count += 1;
        parent.push(resident(stage.server.pid())?);
        children.push(first_of_new(stage, &known)?);
    }
    blows.notes.push(format!("{wanted} graceful restarts in {:.0?}", began.elapsed()));
    let both = [("the server's process", &parent, GROWTH_OF_PARENT), ("its children", &children, GROWTH_OF_CHILDREN)];
    for (who, samples, allowed) in both {
        let held = least(samples);
        blows.notes.push(format!("resident memory of {who} in KiB: {held:?}"));
        let (Some(first), Some(last)) = (held.get(1), held.last()) else {
            blows.faults.push(format!("too few restarts to say whether the memory of {who} grows"));
            continue;
        };
        if *last > first + allowed {
            blows.faults.push(format!("the memory of {who} grew from {first} to {last} KiB in {wanted} restarts"));
        }
    }
    Ok(())
}

/// What a child holds that serves and was not there before; waits for one.
fn first_of_new(stage: &Stage, known: &[ProcessId]) -> Result<u64, Failure> {
    const LIMIT: Duration = Duration::from_secs(20);
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        // What has just been forked has no threads yet, and may become something else.
        let serves = |stat: &Stat| u64::from(stat.threads) > CHILD_THREADS && !known.contains(&stat.id());
        // It may go at any moment.
        if let Some(held) = stage.children().into_iter().find(serves).and_then(|stat| resident(stat.pid).ok()) {
            return Ok(held);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(format!("no child of the new generation serves within {LIMIT:?}").into())
}

/// Resident memory in KiB.
fn resident(pid: u32) -> Result<u64, Failure> {
    Ok(process::memory(pid, "Rss")? / 1024)
}

/// The least that was held in each part: a child holds more with each request that it has had.
fn least(samples: &[u64]) -> Vec<u64> {
    let size = (samples.len() / PARTS).max(1);
    samples.chunks_exact(size).take(PARTS).filter_map(|part| part.iter().copied().min()).collect()
}
