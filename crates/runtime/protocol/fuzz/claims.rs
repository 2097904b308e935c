//! What must hold for the server's reading of a status page that a daemon writes to as it likes: used by a fuzzer and by the
//! module's own test that runs its corpus.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use wsgi_protocol::page::{DESCRIPTION, Layout, Wish};

use super::death::Death;
use super::status_page::{Claim, PLACES, StatusPage, Target, seconds};

/// The most requests under way at once.
const CLAIMS: usize = 40;

/// The first bytes say how the page is laid out. What follows are steps: the server's children choose processes and give them
/// back, processes come and go, and in between the page is written to.
pub(crate) fn claims(data: &[u8]) {
    let Some((&[slots, threads, children], mut steps)) = data.split_first_chunk() else { return };
    let part = |byte: u8, most: u8| u32::from(byte % most);
    let layout =
        Layout::new((part(slots, 3) + 1) * PLACES, part(threads, 4), part(children, 3) + 1).expect("it is small");
    let (memory, page) = StatusPage::make(layout).expect("memory");
    // As a daemon does it: the page is a file that it has.
    let memory = File::from(memory);
    let mut claims: Vec<Claim<'_>> = Vec::new();
    while let Some((&[step, first, second], rest)) = steps.split_first_chunk() {
        steps = rest;
        let place = part(first, 8);
        let number = u32::from_le_bytes([first, second, first, second]);
        match step % 16 {
            0 | 1 if claims.len() < CLAIMS => choose(&page, layout, first, second, &mut claims),
            2 => claims.truncate(usize::from(first)),
            3 => {
                if let Some(claim) = claims.last_mut() {
                    // A number that a process sends.
                    claim.accepted_by(if second.is_multiple_of(2) { place } else { number });
                    assert!(is_within(claim.target(), layout));
                }
            }
            4 => drop(page.claim_row(number)),
            5 => page.give_back(number),
            6 => page.starting(place, number, second.is_multiple_of(2)),
            7 => page.started(place, number.cast_signed()),
            8 => page.ended(place, number.cast_signed()),
            9 => {
                if !page.withdraw(number.into(), place) {
                    page.keep_after_all(number.into(), place);
                }
            }
            10 => page.set_wish(place, Wish::from_number(second.into())),
            11 => page.count_end(if second.is_multiple_of(2) {
                Death::Signal(first.into())
            } else {
                Death::Exit(first.into())
            }),
            _ => {
                // As many bytes as there are, at any place of the page.
                let length = usize::from(second).min(steps.len());
                let (bytes, rest) = steps.split_at(length);
                steps = rest;
                let size = layout.size() - length;
                let at = usize::from(first) * 64 + usize::from(step >> 4) * 4;
                memory.write_all_at(bytes, u64::try_from(at % (size + 1)).expect("small")).expect("within the page");
            }
        }
        look(&page, layout);
    }
}

fn is_within(target: Target, layout: Layout) -> bool {
    match target {
        Target::Place(place) => place < layout.processes(),
        Target::Overflow => true,
    }
}

/// A request is counted where it goes, and nowhere else.
fn choose<'p>(page: &'p StatusPage, layout: Layout, first: u8, second: u8, claims: &mut Vec<Claim<'p>>) {
    let has_overflow = first.is_multiple_of(2);
    let row = u32::from(second % 4);
    let counts = || -> Vec<u32> {
        let places = (0..layout.processes()).filter_map(|place| page.page().process(place));
        let counts = places.map(|process| process.in_flight.load(Ordering::Relaxed));
        counts.chain([page.page().header().waiting.load(Ordering::Relaxed)]).collect()
    };
    let before = counts();
    let claim = Claim::choose(page, Some(row).filter(|_| second.is_multiple_of(2)), has_overflow);
    assert!(is_within(claim.target(), layout));
    assert!(has_overflow || claim.target() != Target::Overflow);
    let at = match claim.target() {
        Target::Place(place) => usize::try_from(place).expect("small"),
        Target::Overflow => before.len() - 1,
    };
    for (index, (before, after)) in before.into_iter().zip(counts()).enumerate() {
        // Where another was tried first, the count there is what it was. The highest of all counts, which only a process writes
        // there, becomes 0: it gains nothing that it could not write itself.
        let expected = if index == at { before.wrapping_add(1) } else { before };
        assert!(after == expected || before == u32::MAX, "place {index} of {at}: {before} became {after}");
    }
    claims.push(claim);
}

/// Whatever stands there can be read.
fn look(page: &StatusPage, layout: Layout) {
    let _ = (page.is_current(), page.identity(), page.give_up(), page.has_taken(1));
    let threads = usize::try_from(layout.threads()).expect("small");
    if let Some(count) = page.newly_at_capacity(seconds()) {
        assert!(count <= layout.processes() * layout.threads());
    }
    for place in 0..=layout.processes() {
        let _ = (page.requests(place), page.has_started(place), page.wish(place), page.has_room_elsewhere(place));
        let serving = page.serving(place);
        assert!(serving.len() <= threads);
        for text in serving {
            assert!(text.len() <= DESCRIPTION && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
        }
    }
}
