//! What the status pages say at one moment, as plain values.
//!
//! A daemon can write to its page what it likes. So nothing here believes a number more than it has to: how many
//! processes and threads there are comes from the configuration, times lie in the past, texts are short and printable,
//! and the system is only asked about processes that are children of this server.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use wsgi_protocol::page::{Page, State};
use wsgi_protocol::tally::QUEUE_BOUNDS;

use crate::config::{Generation, Registry};
use crate::daemon::{PLACES, slot_of};

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) groups: Vec<Group>,
}

/// One daemon group, or the Apache children that run Python.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Empty in embedded mode.
    pub(crate) name: String,
    pub(crate) embedded: bool,
    /// Processes that there should be.
    pub(crate) configured: u32,
    /// Threads per process.
    pub(crate) threads: u32,
    /// Requests that wait for the first free thread of any process.
    pub(crate) waiting: u32,
    /// Processes that have been replaced and finish what they have.
    pub(crate) leaving: u32,
    pub(crate) processes: Vec<Process>,
    pub(crate) failures: Vec<(&'static str, u64)>,
    pub(crate) stops: Vec<(&'static str, u64)>,
    pub(crate) interruptions: u64,
    pub(crate) queue: Queue,
}

/// How long requests waited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// All together, in microseconds.
    pub(crate) micros: u64,
    /// Per class of [`QUEUE_BOUNDS`], and those beyond.
    pub(crate) classes: [u64; QUEUE_BOUNDS.len() + 1],
}

/// One process, or its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) number: u32,
    /// 0: none runs.
    pub(crate) pid: u32,
    pub(crate) state: &'static str,
    /// Whether it takes requests.
    pub(crate) up: bool,
    pub(crate) busy: u32,
    pub(crate) in_flight: u32,
    /// Over all processes that were in this place.
    pub(crate) requests: u64,
    pub(crate) restarts: u32,
    /// Microseconds since the epoch.
    pub(crate) started: Option<i64>,
    /// How long its longest request has been running, in microseconds, and what that is.
    pub(crate) longest: Option<(i64, String)>,
    pub(crate) interpreters: u32,
    pub(crate) usage: Option<Usage>,
}

/// What the system knows of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Bytes in memory.
    pub(crate) resident: u64,
    /// Processor time in seconds.
    pub(crate) cpu: f64,
}

/// All states, in the order in which they are shown.
pub(crate) const STATES: [&str; 5] = ["empty", "starting", "ready", "draining", "broken"];

fn name_of(state: State) -> &'static str {
    match state {
        State::Empty => STATES[0],
        State::Starting => STATES[1],
        State::Ready => STATES[2],
        State::Draining => STATES[3],
        State::Broken => STATES[4],
    }
}

impl Reading {
    /// Reads all pages of this configuration.
    pub(crate) fn take(registry: &Registry, generation: &Generation) -> Self {
        let now = now();
        let mut groups = Vec::new();
        if let Some(daemons) = registry.daemons().get() {
            for (position, (name, page)) in daemons.pages().enumerate() {
                let configured = generation.groups.get(position).map_or(0, |group| group.processes);
                groups.push(match page {
                    Some(page) => daemon(name, configured, page, now),
                    // The reason why it could not be started is in the log.
                    None => Group { name: name.to_owned(), configured, ..Group::default() },
                });
            }
        }
        if let Some(children) = registry.children().get() {
            groups.push(embedded(children.page(), generation.mpm.threads_per_process, now));
        }
        Self { groups }
    }
}

impl Group {
    /// The sum of something over its processes.
    pub(crate) fn sum(&self, value: impl Fn(&Process) -> u64) -> u64 {
        self.processes.iter().map(value).fold(0, u64::saturating_add)
    }
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

fn daemon(name: &str, configured: u32, page: &Page, now: i64) -> Group {
    let mut group = Group {
        name: name.to_owned(),
        configured,
        threads: page.threads(),
        waiting: page.header().waiting.load(Ordering::Relaxed),
        failures: page.tally().failures().collect(),
        stops: page.tally().stops().collect(),
        interruptions: page.tally().interruptions(),
        ..Group::default()
    };
    let slots = page.processes().div_ceil(PLACES);
    for number in 0..slots {
        let places = || (0..page.processes()).filter(move |place| slot_of(*place) == number);
        let running = places().filter(|place| pid(page, *place) != 0);
        // The latest of those that run serves the slot; others are leaving.
        let current = running.clone().max_by_key(|place| start(page, *place));
        group.leaving += u32::try_from(running.count().saturating_sub(1)).unwrap_or(0);
        let shown = current.or_else(|| places().max_by_key(|place| start(page, *place)));
        let mut process = shown.map(|place| process(page, place, now)).unwrap_or_default();
        process.number = number;
        (process.requests, process.in_flight, process.busy) = (0, 0, 0);
        let mut starts = 0u32;
        for place in places() {
            let Some(slot) = page.process(place) else { continue };
            process.requests = process.requests.saturating_add(slot.requests.load(Ordering::Relaxed));
            process.in_flight = process.in_flight.saturating_add(slot.in_flight.load(Ordering::Relaxed));
            starts = starts.saturating_add(slot.starts.load(Ordering::Relaxed));
            for thread in (0..page.threads()).filter_map(|thread| page.thread(place, thread)) {
                if pid(page, place) != 0 && thread.request_start.load(Ordering::Relaxed) > 0 {
                    process.busy += 1;
                }
                group.queue.micros = group.queue.micros.saturating_add(thread.queue_time.load(Ordering::Relaxed));
                for (class, count) in group.queue.classes.iter_mut().zip(&thread.queued) {
                    *class = class.saturating_add(count.load(Ordering::Relaxed));
                }
            }
        }
        process.restarts = starts.saturating_sub(1);
        group.processes.push(process);
    }
    group
}

fn embedded(page: &Page, threads: u32, now: i64) -> Group {
    let used = |slot: &wsgi_protocol::page::ProcessSlot| {
        slot.pid.load(Ordering::Relaxed) != 0 || slot.starts.load(Ordering::Relaxed) != 0
    };
    let places = (0..page.processes()).filter(|place| page.process(*place).is_some_and(used));
    let mut processes: Vec<Process> = places.map(|place| process(page, place, now)).collect();
    for process in processes.iter_mut().filter(|process| process.pid == 0) {
        // What a child that crashed was serving.
        (process.busy, process.in_flight) = (0, 0);
    }
    let configured = u32::try_from(processes.iter().filter(|process| process.pid != 0).count()).unwrap_or(0);
    Group { embedded: true, configured, threads, processes, ..Group::default() }
}

fn pid(page: &Page, place: u32) -> u32 {
    page.process(place).map_or(0, |slot| slot.pid.load(Ordering::Relaxed))
}

fn start(page: &Page, place: u32) -> u32 {
    page.process(place).map_or(0, |slot| slot.generation.load(Ordering::Relaxed))
}

fn process(page: &Page, place: u32, now: i64) -> Process {
    let Some(slot) = page.process(place) else { return Process::default() };
    let pid = slot.pid.load(Ordering::Relaxed);
    let state = if pid == 0 { State::Empty } else { State::from_number(slot.state.load(Ordering::Relaxed)) };
    let in_flight = slot.in_flight.load(Ordering::Relaxed);
    let past = |time: i64| (1..=now).contains(&time);
    let longest = (0..page.threads())
        .filter_map(|thread| page.thread(place, thread))
        .filter(|_| pid != 0)
        .map(|thread| (thread.request_start.load(Ordering::Acquire), thread))
        .filter(|(began, _)| past(*began))
        .min_by_key(|(began, _)| *began)
        .map(|(began, thread)| (now - began, thread.description()));
    Process {
        number: place,
        pid,
        state: name_of(state),
        up: matches!(state, State::Ready | State::Draining),
        busy: in_flight,
        in_flight,
        requests: slot.requests.load(Ordering::Relaxed),
        restarts: slot.starts.load(Ordering::Relaxed).saturating_sub(1),
        started: Some(slot.started.load(Ordering::Relaxed)).filter(|started| pid != 0 && past(*started)),
        longest,
        interpreters: if pid == 0 { 0 } else { slot.interpreters.load(Ordering::Relaxed) },
        usage: usage(pid),
    }
}

/// What the system knows of a process, when that is a child of this server's parent.
fn usage(pid: u32) -> Option<Usage> {
    if pid == 0 {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // SAFETY: cannot fail.
    let parent = unsafe { libc::getppid() };
    parse_stat(&text, &[parent, libc::pid_t::try_from(std::process::id()).ok()?])
}

/// Reads `/proc/PID/stat` of a child of one of these.
fn parse_stat(text: &str, parents: &[libc::pid_t]) -> Option<Usage> {
    // "pid (name) state parent …", and the name may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |position: usize| fields.get(position).and_then(|field| field.parse::<u64>().ok());
    let parent: libc::pid_t = fields.get(1)?.parse().ok()?;
    if !parents.contains(&parent) {
        return None;
    }
    // SAFETY: constants of the system.
    let (tick, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let ticks = number(11)?.checked_add(number(12)?)?;
    #[expect(clippy::cast_precision_loss, reason = "processor time in hundredths of a second stays far below 2^52")]
    let cpu = ticks as f64 / tick.max(1) as f64;
    Some(Usage { resident: number(21)?.saturating_mul(u64::try_from(page).unwrap_or(4096)), cpu })
}

#[cfg(test)]
mod tests {
    use wsgi_protocol::page::Layout;

    use super::*;
    use crate::daemon::StatusPage;

    fn page() -> StatusPage {
        StatusPage::make(Layout::new(2 * PLACES, 2, 1).expect("small")).expect("memory").1
    }

    #[test]
    fn the_places_of_a_slot_are_one_process() {
        let page = page();
        let page = page.page();
        for (place, pid, start, state) in [(0, 10, 1, State::Draining), (1, 11, 5, State::Ready)] {
            let slot = page.process(place).expect("is there");
            slot.pid.store(pid, Ordering::Relaxed);
            slot.generation.store(start, Ordering::Relaxed);
            slot.state.store(state as u32, Ordering::Relaxed);
            slot.requests.store(100, Ordering::Relaxed);
            slot.starts.store(2, Ordering::Relaxed);
            page.thread(place, 0).expect("is there").request_start.store(1, Ordering::Relaxed);
        }
        let group = daemon("web", 2, page, now());
        assert_eq!(group.processes.len(), 2);
        let first = &group.processes[0];
        assert_eq!((first.pid, first.state, first.up), (11, "ready", true));
        assert_eq!((first.requests, first.restarts, first.busy, group.leaving), (200, 3, 2, 1));
        assert_eq!((group.processes[1].state, group.processes[1].up), ("empty", false));
        assert_eq!(group.processes[1].number, 1);
    }

    #[test]
    fn a_hostile_page_is_read_as_numbers_within_bounds() {
        let status = page();
        let page = status.page();
        for place in 0..page.processes() {
            let slot = page.process(place).expect("is there");
            for number in [&slot.pid, &slot.state, &slot.in_flight, &slot.generation, &slot.starts] {
                number.store(u32::MAX, Ordering::Relaxed);
            }
            slot.requests.store(u64::MAX, Ordering::Relaxed);
            slot.started.store(i64::MAX, Ordering::Relaxed);
            for thread in 0..page.threads() {
                let thread = page.thread(place, thread).expect("is there");
                thread.request_start.store(i64::MAX, Ordering::Relaxed);
                thread.length.store(u32::MAX, Ordering::Relaxed);
                thread.queue_time.store(u64::MAX, Ordering::Relaxed);
                thread.queued.iter().for_each(|count| count.store(u64::MAX, Ordering::Relaxed));
            }
        }
        page.header().processes.store(u32::MAX, Ordering::Relaxed);
        let group = daemon("web", 2, page, now());
        assert_eq!(group.processes.len(), 2);
        for process in &group.processes {
            assert_eq!((process.started, &process.longest, process.usage), (None, &None, None));
            assert!(process.busy <= PLACES * page.threads());
        }
    }

    #[test]
    fn only_children_of_the_server_are_asked_about() {
        let text = "77 (a) b) S 42 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 1000000 25 18446744073709551615 1";
        let usage = parse_stat(text, &[42]).expect("a child");
        assert!((usage.cpu - 2.0).abs() < 0.001, "{usage:?}");
        // SAFETY: a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        assert_eq!(usage.resident, 25 * u64::try_from(page).expect("positive"));
        assert_eq!(parse_stat(text, &[43]), None);
        assert_eq!(parse_stat("nonsense", &[42]), None);
    }
}
