use proptest::prelude::*;

use super::super::retained::{Ending, SavedSlot};
use super::*;

use Handover::{Overlap, Sequential};

fn process(pid: i32, place: u32) -> SavedProcess {
    SavedProcess { pid, start: pid.cast_unsigned(), ..SavedProcess::at(place, 0) }
}

/// A group of two slots, whose second one has this process.
fn group(process: SavedProcess) -> SavedGroup {
    let slots = vec![SavedSlot::default(), SavedSlot { process: Some(process), ..SavedSlot::default() }];
    SavedGroup { slots, ..SavedGroup::default() }
}

fn former(group: &SavedGroup) -> Vec<(i32, bool)> {
    group.former.iter().map(|process| (process.pid, process.told)).collect()
}

/// A new configuration takes over the second slot, and its process is started. Returns who is ended or asked to leave.
fn replace(group: &mut SavedGroup, served: bool, pid: i32) -> Vec<i32> {
    let mut asked = Vec::new();
    for action in group.hand_over(1, served, Overlap) {
        match action {
            Action::Start { slot, place } => group.slots[slot].process = Some(process(pid, place)),
            Action::End(process) | Action::Leave(process) => asked.push(process.pid),
            Action::Abandon(_) => panic!("nothing was ordered"),
        }
    }
    asked
}

#[test]
fn a_successor_that_never_served_goes_before_the_one_that_serves() {
    let mut group = group(process(10, PLACES));
    assert_eq!(replace(&mut group, true, 11), Vec::<i32>::new());
    // It starts again and again. Each generation takes over from the one that serves.
    for pid in [12, 13] {
        assert_eq!(replace(&mut group, false, pid), [pid - 1], "{:?}", group.former);
        assert_eq!(group.predecessor(1).map(|process| process.pid), Some(10));
        assert_ne!(group.slots[1].process.expect("started").place, PLACES, "the one that serves keeps its place");
    }
    assert_eq!(former(&group), [(10, false), (11, true), (12, true)]);
    assert!(group.reinstate(1));
    assert_eq!(group.slots[1].process.map(|process| process.pid), Some(10));
    assert!(!group.reinstate(1), "those that are ended never get it");
}

#[test]
fn one_that_serves_has_asked_those_before_it_to_leave() {
    let mut group = group(process(10, PLACES));
    replace(&mut group, true, 11);
    assert_eq!(replace(&mut group, true, 12), [10]);
    assert_eq!(former(&group), [(10, true), (11, false)]);
    assert_eq!(group.predecessor(1).map(|process| process.pid), Some(11));
    assert_eq!(group.predecessor(0), None);
}

#[test]
fn the_first_process_of_a_slot_is_not_ended_before_it_serves() {
    let mut group = group(process(10, PLACES));
    assert_eq!(replace(&mut group, false, 11), Vec::<i32>::new(), "nobody else serves");
    assert_eq!(group.predecessor(1).map(|process| process.pid), Some(10));
}

#[test]
fn no_process_gets_a_place_that_another_one_has() {
    let mut group = group(process(10, PLACES));
    replace(&mut group, true, 11);
    let place = group.slots[1].process.expect("started").place;
    assert_eq!(place, PLACES + 1);
    // It has ended.
    group.slots[1].process = None;
    assert_ne!(group.place_after(place), PLACES);
    // Places of an earlier page are nobody's.
    group.pages = 1;
    assert_eq!(group.place_after(place), other_place(place));
}

// Covers: rule:daemon/own-place
#[test]
fn a_slot_is_full_before_a_place_is_shared() {
    let mut group = group(process(0, PLACES));
    let mut places = vec![PLACES];
    for pid in 1..i32::try_from(PLACES).expect("small") {
        assert!(!group.has_full_slot(), "{places:?}");
        replace(&mut group, true, pid);
        places.push(group.slots[1].process.expect("started").place);
    }
    assert_eq!(places, [PLACES, PLACES + 1, PLACES + 2]);
    assert!(group.has_full_slot());
    // Those of the page before are nobody's any more.
    group.pages += 1;
    assert!(!group.has_full_slot());
}

// Covers: rule:daemon/handover-sequential
#[test]
fn in_turn_a_successor_starts_when_nobody_is_left() {
    let mut group = group(process(10, PLACES));
    let asked = group.hand_over(1, true, Sequential);
    assert_eq!(asked, [Action::Leave(SavedProcess { told: true, ..process(10, PLACES) })]);
    assert_eq!(group.vacancies(Sequential), [(0, 0)], "the other slot's process may start");
    assert_eq!(group.hand_over(1, false, Sequential), [], "a further configuration changes nothing");
    group.former.clear();
    assert_eq!(group.vacancies(Sequential), [(0, 0), (1, PLACES)]);
    // What a loader holds open is held open for all processes that it has forked.
    group.loaders.push(loader(5, true));
    assert_eq!(group.vacancies(Sequential), []);
}

#[test]
fn in_turn_one_that_does_not_serve_is_ended() {
    let mut group = group(process(10, PLACES));
    let ended = group.hand_over(1, false, Sequential);
    assert_eq!(ended, [Action::End(SavedProcess { told: true, ..process(10, PLACES) })]);
}

fn loader(pid: i32, forked: bool) -> SavedLoader {
    SavedLoader { pid, socket: -1, forked, retired: true, ending: Ending::Not }
}

// Covers: rule:daemon/graceful-keeps-requests
#[test]
fn a_loader_whose_report_is_missing_is_not_ended_while_its_process_serves() {
    let ordered = SavedProcess { pid: 0, loader: Some(5), ..process(10, PLACES) };
    let mut group = group(ordered);
    group.loaders.push(loader(5, false));
    // The page says that it serves, although nobody has said that it was forked.
    group.hand_over(1, true, Overlap);
    assert_eq!(group.loaders_to_end().count(), 0);
    // It was replaced, and has ended.
    group.former.clear();
    assert_eq!(group.loaders_to_end().map(|loader| loader.pid).collect::<Vec<_>>(), [5]);
    // One that has forked ends by itself.
    group.loaders[0].forked = true;
    assert_eq!(group.loaders_to_end().count(), 0);
}

const RESTS: Seen = Seen { serves: true, wants: false };
const WANTS: Seen = Seen { serves: true, wants: true };
const LOADS: Seen = Seen { serves: false, wants: false };

/// A group that has a process in each slot.
fn full(slots: u32) -> SavedGroup {
    let slot = |slot: u32| {
        let process = process(100 + slot.cast_signed(), slot * PLACES);
        SavedSlot { process: Some(process), ..SavedSlot::default() }
    };
    SavedGroup { slots: (0..slots).map(slot).collect(), ..SavedGroup::default() }
}

fn next(group: &SavedGroup, seen: &[Seen], last: usize) -> Option<usize> {
    group.clone().roll(seen, &mut { last }, Overlap).map(|rolled| rolled.slot)
}

// Covers: rule:daemon/rolling
#[test]
fn one_at_a_time_gets_a_successor() {
    let mut group = full(3);
    assert_eq!(next(&group, &[WANTS, WANTS, WANTS], 2), Some(0));
    assert_eq!(next(&group, &[RESTS, RESTS, RESTS], 0), None);
    group.slots[0].rolls = true;
    assert_eq!(next(&group, &[LOADS, WANTS, WANTS], 0), None, "the first is not ready yet");
    group.former.push(process(1, 0));
    assert_eq!(next(&group, &[WANTS, WANTS, WANTS], 2), Some(1), "the one before in slot 0 has not ended");
}

#[test]
fn the_turn_goes_round() {
    assert_eq!(next(&full(3), &[WANTS, RESTS, WANTS], 0), Some(2), "the one that wants again waits for the others");
    assert_eq!(next(&full(3), &[WANTS, RESTS, RESTS], 0), Some(0));
    assert_eq!(next(&full(1), &[WANTS], 0), Some(0));
}

#[test]
fn in_turn_the_next_slot_waits_until_the_successor_serves() {
    let mut group = full(2);
    let mut last = 1;
    let rolled = group.roll(&[WANTS, WANTS], &mut last, Sequential).expect("has its turn");
    assert_eq!(
        (rolled.slot, &rolled.actions[..]),
        (0, &[Action::Leave(SavedProcess { told: true, ..process(100, 0) })][..])
    );
    let empty = Seen::default();
    assert_eq!(group.roll(&[empty, WANTS], &mut last, Sequential), None, "the one before has not ended");
    group.former.clear();
    group.slots[0].process = Some(process(200, 0));
    assert_eq!(group.roll(&[LOADS, WANTS], &mut last, Sequential), None, "its successor loads");
    let rolled = group.roll(&[RESTS, WANTS], &mut last, Sequential).expect("has its turn");
    assert_eq!(rolled.slot, 1);
}

/// What happens to a group, as tests choose it.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Apache is restarted gracefully.
    Graceful,
    /// One of the processes begins to serve, if it does not yet.
    Serves(usize),
    /// It ends.
    Ends(usize),
    /// It wants a successor.
    Wants(usize),
    /// The bell has rung.
    Rings,
    /// The next starts fail, or succeed again.
    Refuses(bool),
    /// What could not be started is tried again.
    Upkeep,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Graceful),
        6 => any::<usize>().prop_map(Event::Serves),
        3 => any::<usize>().prop_map(Event::Ends),
        4 => any::<usize>().prop_map(Event::Wants),
        3 => Just(Event::Rings),
        1 => any::<bool>().prop_map(Event::Refuses),
        2 => Just(Event::Upkeep),
    ]
}

/// A process of the model.
#[derive(Clone, Copy, Debug)]
struct Running {
    start: u32,
    slot: usize,
    serves: bool,
    wants: bool,
    /// It is on its way out.
    leaves: bool,
}

/// A group with the processes that really run, as the supervisor would drive it.
#[derive(Debug)]
struct Model {
    group: SavedGroup,
    handover: Handover,
    running: Vec<Running>,
    starts: u32,
    refuses: bool,
    last: usize,
    /// Slot and start of all that have begun to serve.
    served: Vec<(usize, u32)>,
}

impl Model {
    fn new(slots: usize, handover: Handover) -> Self {
        let group = SavedGroup { slots: vec![SavedSlot::default(); slots], ..SavedGroup::default() };
        let mut model =
            Self { group, handover, running: Vec::new(), starts: 0, refuses: false, last: 0, served: Vec::new() };
        model.graceful();
        model
    }

    fn serves(&self, start: u32) -> bool {
        self.running.iter().any(|running| running.start == start && running.serves)
    }

    fn graceful(&mut self) {
        if self.group.has_full_slot() {
            self.group.pages += 1;
        }
        for slot in 0..self.group.slots.len() {
            let served = self.group.slots[slot].process.is_some_and(|process| self.serves(process.start));
            let actions = self.group.hand_over(slot, served, self.handover);
            self.carry_out(actions);
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start { slot, place } => self.start(slot, place),
                Action::Leave(process) | Action::End(process) => self.asked(process, action),
                Action::Abandon(_) => panic!("nothing was ordered"),
            }
        }
    }

    fn start(&mut self, slot: usize, place: u32) {
        assert!(self.group.slots[slot].process.is_none(), "a slot has one process");
        assert_eq!(slot_of(place) as usize, slot);
        if !self.group.may_start(slot, self.handover) {
            return;
        }
        if self.handover == Sequential {
            assert!(self.running.iter().all(|running| running.slot != slot), "nobody of the slot runs");
        }
        if self.refuses {
            return;
        }
        let at_place = |process: &SavedProcess| (process.place, process.page) == (place, self.group.pages);
        assert!(!self.group.processes().any(at_place), "a place has one process");
        self.starts += 1;
        let process = SavedProcess { pid: 1, start: self.starts, ..SavedProcess::at(place, self.group.pages) };
        self.group.slots[slot].process = Some(process);
        self.running.push(Running { start: self.starts, slot, serves: false, wants: false, leaves: false });
    }

    fn asked(&mut self, process: SavedProcess, action: Action) {
        let position = self.running.iter().position(|running| running.start == process.start);
        if self.handover == Overlap {
            let later = |(slot, start): &(usize, u32)| *slot == process.slot() && *start > process.start;
            match action {
                Action::Leave(_) => assert!(self.served.iter().any(later), "nobody has taken over from {process:?}"),
                _ => assert!(!self.serves(process.start), "{process:?} serves"),
            }
        }
        if let Some(position) = position {
            self.running[position].leaves = true;
        }
    }

    /// As a process does that begins to serve: it asks its predecessor to leave.
    fn begins(&mut self, number: usize) {
        let Some(running) = self.running.get_mut(number).filter(|running| !running.leaves && !running.serves) else {
            return;
        };
        running.serves = true;
        let (start, slot) = (running.start, running.slot);
        self.served.push((slot, start));
        for other in &mut self.running {
            other.leaves |= other.slot == slot && other.start < start;
        }
    }

    fn ends(&mut self, number: usize) {
        if number >= self.running.len() {
            return;
        }
        let ended = self.running.remove(number);
        let of_slot = self.group.slots[ended.slot].process.filter(|process| process.start == ended.start);
        if of_slot.is_some() {
            if self.group.slots[ended.slot].rolls && !ended.serves && self.group.reinstate(ended.slot) {
                return;
            }
            let place = of_slot.map_or(0, |process| process.place);
            let actions = self.group.vacated(ended.slot, ended.serves);
            self.carry_out(actions);
            self.start(ended.slot, self.group.place_after(place));
        } else {
            self.group.former.retain(|process| process.start != ended.start);
            if self.handover == Sequential {
                self.upkeep();
            }
        }
        self.rings();
    }

    fn upkeep(&mut self) {
        for (slot, place) in self.group.vacancies(self.handover) {
            self.start(slot, place);
        }
    }

    fn rings(&mut self) {
        let find = |process: &SavedProcess| self.running.iter().find(|running| running.start == process.start);
        let seen = |slot: &SavedSlot| {
            let running = slot.process.as_ref().and_then(find);
            running.map_or_else(Seen::default, |running| Seen { serves: running.serves, wants: running.wants })
        };
        let seen: Vec<Seen> = self.group.slots.iter().map(seen).collect();
        let Some(rolled) = self.group.roll(&seen, &mut self.last, self.handover) else { return };
        for running in self.running.iter_mut().filter(|running| running.start == rolled.process.start) {
            running.wants = false;
        }
        self.carry_out(rolled.actions);
        if self.handover == Overlap && self.group.slots[rolled.slot].process.is_none() {
            self.group.reinstate(rolled.slot);
        }
    }

    /// The number of a process that runs, out of any number.
    fn number(&self, any: usize) -> usize {
        any % self.running.len().max(1)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Graceful => self.graceful(),
            Event::Serves(any) => self.begins(self.number(any)),
            Event::Ends(any) => self.ends(self.number(any)),
            Event::Wants(any) => {
                let number = self.number(any);
                if let Some(running) = self.running.get_mut(number).filter(|running| running.serves) {
                    running.wants = true;
                }
            }
            Event::Rings => self.rings(),
            Event::Refuses(refuses) => self.refuses = refuses,
            Event::Upkeep => self.upkeep(),
        }
    }

    /// What holds after each event.
    fn check(&self) {
        for (number, slot) in self.group.slots.iter().enumerate() {
            let former = || self.group.former.iter().filter(move |process| process.slot() == number);
            let serving = former().filter(|process| !process.told).count();
            assert!(serving <= 1, "one predecessor serves at most");
            assert!(self.handover == Overlap || serving == 0, "in turn nobody serves beside a successor");
            assert!(
                slot.process.is_some() || former().next().is_some() || self.can_fill(number),
                "slot {number} has no process and none is planned"
            );
            if self.handover == Sequential {
                let running = self.running.iter().filter(|running| running.slot == number).count();
                assert!(running <= 1, "slot {number} has {running} processes");
            }
        }
        let known: usize = self.group.processes().count();
        assert_eq!(known, self.running.len(), "every process is known, and no other");
        let rolling = self.group.slots.iter().filter(|slot| slot.rolls).count();
        assert!(rolling <= 1, "one slot at a time");
    }

    /// Whether the next upkeep fills the slot.
    fn can_fill(&self, slot: usize) -> bool {
        self.group.vacancies(self.handover).iter().any(|(vacant, _)| *vacant == slot)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // Covers: rule:daemon/handover-sequential, rule:daemon/graceful-keeps-requests
    #[test]
    fn whatever_happens_each_slot_has_a_process_or_a_planned_start(
        slots in 1..4usize,
        sequential in any::<bool>(),
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut model = Model::new(slots, if sequential { Sequential } else { Overlap });
        model.check();
        for event in events {
            let before = model.starts;
            model.happens(event);
            model.check();
            let started = model.starts - before;
            let most = if matches!(event, Event::Ends(_)) { 2 } else { slots };
            prop_assert!(started as usize <= most.max(slots), "{event:?} started {started} processes");
        }
        // When the system lets it, and everything that is to end does, each slot has one process again.
        model.refuses = false;
        for _ in 0..100 {
            let leaves = model.running.iter().position(|running| running.leaves);
            let Some(number) = leaves else { break };
            model.ends(number);
            model.upkeep();
            (0..model.running.len()).for_each(|number| model.begins(number));
        }
        model.upkeep();
        model.check();
        for slot in &model.group.slots {
            prop_assert!(slot.process.is_some(), "{model:?}");
        }
    }
}
