//! How soon a process is started again: at once, unless its predecessors could not even start, were of no use, or ended too
//! often. Functions over plain state and a given time, without a clock.

use std::time::{Duration, Instant};

/// A process that ends sooner than this and has served nothing was no use.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// The longest delay before another try.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(20);

/// How many processes that do not live for long are started at once, one after the other: a script that is touched
/// again and again has its restarts.
const QUICK: u32 = 10;

/// The delay after so many processes in a row that were no use.
fn delay_after(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => Duration::from_secs(1 << (failures - 1).min(5)).min(LONGEST_DELAY),
    }
}

/// How long something has lived that was started then; what was started at no known time has lived for long.
fn lived(began: Option<Instant>, now: Instant) -> Duration {
    began.map_or(SOON, |began| now.saturating_duration_since(began))
}

/// How long until a second has passed since the start, which may lie in the future.
pub(super) fn rest_of_second(began: Option<Instant>, now: Instant) -> Duration {
    SOON.saturating_sub(lived(began, now))
}

/// What is remembered of a slot's processes, so that it is not filled again and again in a tight loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SlotPace {
    /// When the present one was started.
    pub(super) began: Option<Instant>,
    /// How many requests were counted at its place then.
    pub(super) requests: u64,
    /// Since when the process before has been asked to end, as long as none follows.
    pub(super) asked: Option<Instant>,
    /// How many in a row ended right after their start.
    failures: u32,
    /// How many in a row did not live for long, whatever they say of themselves.
    quick: u32,
}

/// How a process of a slot has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotEnd {
    /// It had begun to serve.
    pub(super) served: bool,
    /// It ended with exit status 0.
    pub(super) ended_well: bool,
    /// How many requests are counted at its place now.
    pub(super) requests: u64,
    /// It runs a service, which may return at once.
    pub(super) is_service: bool,
}

impl SlotPace {
    /// A process has ended. Returns how long to wait before the next one, and how many in a row were too short when that is
    /// to be said in the log.
    pub(super) fn ended(&mut self, now: Instant, end: SlotEnd) -> (Duration, Option<u32>) {
        let lived = lived(self.began, now);
        let useless = lived < SOON && end.requests == self.requests && !end.ended_well;
        self.failures = if !end.served || useless { self.failures.saturating_add(1) } else { 0 };
        self.quick = if lived < SOON { self.quick.saturating_add(1) } else { 0 };
        // What it was of use for stands on the page, to which it may write what it likes.
        let bounded = self.quick > QUICK || end.is_service;
        let least = if bounded { SOON.saturating_sub(lived) } else { Duration::ZERO };
        // Of those that were of use it is said once.
        let said = self.failures > 1 || self.quick == QUICK + 1;
        (delay_after(self.failures).max(least), said.then_some(self.failures.max(self.quick)))
    }

    /// How long to wait before a process is started that could not be started when it was due.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        delay_after(self.failures).max(rest_of_second(self.began, now))
    }
}

/// What is remembered of a group's loaders, so that none is started again and again in a tight loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoaderPace {
    /// When the present one was started.
    pub(super) began: Option<Instant>,
    /// It has forked a process: what it had to load is loaded.
    forked: bool,
    /// How many in a row ended before that.
    failures: u32,
}

impl LoaderPace {
    /// A loader was started, or will be at that time.
    pub(super) fn started(&mut self, began: Instant) {
        (self.began, self.forked) = (Some(began), false);
    }

    /// It has forked a process.
    pub(super) fn has_forked(&mut self) {
        (self.forked, self.failures) = (true, 0);
    }

    /// It has ended. Returns how long to wait before the next one, not at all when it had loaded what it had to, and how many
    /// in a row have failed when that is to be said in the log.
    pub(super) fn ended(&mut self, now: Instant) -> (Duration, Option<u32>) {
        let lived = lived(self.began, now);
        self.failures = if self.forked && lived >= SOON { 0 } else { self.failures.saturating_add(1) };
        (delay_after(self.failures), (self.failures > 1).then_some(self.failures))
    }

    /// How long to wait before one is started that could not be started when it was due.
    pub(super) fn delay(&self) -> Duration {
        delay_after(self.failures)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVED: SlotEnd = SlotEnd { served: true, ended_well: true, requests: 0, is_service: false };

    /// A slot whose process was started at the beginning of time.
    fn slot(began: Instant) -> SlotPace {
        SlotPace { began: Some(began), ..SlotPace::default() }
    }

    #[test]
    fn what_ends_again_and_again_is_not_started_in_a_tight_loop() {
        let began = Instant::now();
        let quick = Duration::from_millis(100);
        let mut pace = slot(began);
        for number in 1..=3 * QUICK {
            let least = if number > QUICK { SOON - quick } else { Duration::ZERO };
            let said = (number == QUICK + 1).then_some(number);
            assert_eq!(pace.ended(began + quick, SERVED), (least, said), "the {number}. one says that it was of use");
        }
        assert_eq!(pace.ended(began + SOON, SERVED).0, Duration::ZERO);
        assert_eq!(pace.ended(began + quick, SERVED).0, Duration::ZERO);
        let useless = SlotEnd { ended_well: false, ..SERVED };
        let delays = [1, 2].map(|_| pace.ended(began + quick, useless).0);
        assert_eq!(delays, [delay_after(1), delay_after(2)]);
        let service = SlotEnd { is_service: true, ..SERVED };
        assert_eq!(slot(began).ended(began + quick, service), (SOON - quick, None));
    }

    #[test]
    fn delays_grow_to_a_bound() {
        let delays: Vec<u64> = (0..8).map(|failures| delay_after(failures).as_secs()).collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 20, 20]);
    }

    proptest! {
        // Covers: rule:daemon/failing-start-throttled
        #[test]
        fn no_sequence_of_ends_is_a_storm_of_starts(
            ends in proptest::collection::vec((0..3000u64, any::<(bool, bool, bool)>()), 1..80),
            is_service in any::<bool>(),
        ) {
            let begin = Instant::now();
            let (mut now, mut starts, mut pace) = (begin, vec![begin], slot(begin));
            let mut loader = LoaderPace::default();
            loader.started(begin);
            let mut loaders = vec![begin];
            for (lives, (served, ended_well, used)) in ends {
                now += Duration::from_millis(lives);
                let requests = pace.requests + u64::from(used);
                let (delay, _) = pace.ended(now, SlotEnd { served, ended_well, requests, is_service });
                prop_assert!(delay <= LONGEST_DELAY);
                now += delay;
                (pace.began, pace.requests) = (Some(now), requests);
                starts.push(now);
                if served {
                    loader.has_forked();
                }
                let at = *loaders.last().expect("one at least") + Duration::from_millis(lives);
                let next = at + loader.ended(at).0;
                loader.started(next);
                loaders.push(next);
            }
            // Whatever the processes say: some are started at once, then one per second.
            let within = |starts: &[Instant], first: usize, more: usize, seconds: u64| {
                starts.get(first + more).is_none_or(|last| *last - starts[first] >= Duration::from_secs(seconds))
            };
            for first in 0..starts.len() {
                prop_assert!(within(&starts, first, QUICK as usize + 10, 9), "{starts:?}");
                prop_assert!(!is_service || within(&starts, first, 10, 10), "{starts:?}");
                prop_assert!(within(&loaders, first, 10, 9), "{loaders:?}");
            }
        }
    }
}
