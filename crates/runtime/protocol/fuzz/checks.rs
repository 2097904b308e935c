//! What must hold for any bytes that another process sends: used by the fuzzers and by the test that runs their corpus.
//!
//! A check returns when the bytes are refused and panics when something that was read is wrong.

use std::fmt::Debug;
use std::sync::atomic::Ordering;

use wsgi_protocol::frame::{self, HEADER, Kind};
use wsgi_protocol::launch::{self, Daemon, Python};
use wsgi_protocol::loader::{self, MAX_DESCRIPTORS, MAX_MESSAGE, Order, Report};
use wsgi_protocol::page::{DESCRIPTION, Layout, Page, State, Wish};
use wsgi_protocol::request::{self, Storage};
use wsgi_protocol::{head, line, scoreboard, scripts};

/// A stream of frames as either side receives it: headers, then the payload that each kind has.
pub(crate) fn frames(data: &[u8]) {
    let mut rest = data;
    while let Some((first, after)) = rest.split_first_chunk::<HEADER>() {
        let Ok((kind, length)) = frame::header(*first) else { return };
        assert!(length <= kind.limit());
        assert_eq!(frame::header_for(kind, length).expect("within the limit"), *first);
        let Some((payload, after)) = after.split_at_checked(length) else { return };
        match kind {
            Kind::Request => {
                let _ = request::decode(payload, &mut Storage::default());
            }
            Kind::Head => {
                let _ = head::decode(payload, &mut Vec::new());
            }
            Kind::Accepted | Kind::Picked | Kind::Pull => {
                let _ = frame::number(payload);
            }
            Kind::Log => {
                let _ = frame::log(payload);
            }
            Kind::Failure => {
                let _ = frame::failure(payload);
            }
            Kind::Hello | Kind::Body | Kind::BodyFailed | Kind::Data | Kind::End => {}
        }
        rest = after;
    }
}

/// A request frame: what is read is written again byte for byte.
pub(crate) fn request(data: &[u8]) {
    let mut storage = Storage::default();
    let Ok((facts, body)) = request::decode(data, &mut storage) else { return };
    let mut again = Vec::new();
    request::encode(&facts, body, &mut again).expect("what was read can be written");
    assert_eq!(again, data);
}

/// The head of a response, which an Apache child reads from a daemon that it does not trust.
pub(crate) fn head(data: &[u8]) {
    let mut fields = Vec::new();
    let Ok((status, line)) = head::decode(data, &mut fields) else { return };
    assert!((100..=999).contains(&status));
    assert!(!line.iter().any(u8::is_ascii_control));
    for field in &fields {
        // Nothing that ends a line, or the head, may get to a client.
        assert!(!field.name.or_empty().is_empty());
        assert!(!field.name.or_empty().iter().any(|byte| byte.is_ascii_control() || *byte == b' '));
        assert!(!field.value.or_empty().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let mut again = Vec::new();
    head::encode(status, line, &fields, &mut again).expect("what was read can be written");
    assert_eq!(again, data);
}

/// The launch configuration that a daemon reads once at its start.
pub(crate) fn launch(data: &[u8]) {
    if let Ok(daemon) = launch::decode::<Daemon>(data) {
        launch::encode(&daemon).expect("what was read can be written");
    }
    if let Ok(python) = launch::decode::<Python>(data) {
        launch::encode(&python).expect("what was read can be written");
    }
}

/// The packets in which daemons send log lines to the process that writes them.
pub(crate) fn line(data: &[u8]) {
    let Ok((origin, record)) = line::decode(data) else { return };
    let again = line::encode(origin, &record);
    assert!(again.len() <= line::MAX_LINE);
    line::decode(&again).expect("own output is read");
}

/// What a group's loader and the server tell each other; what is read can be written, and is the same again.
pub(crate) fn loader(data: &[u8]) {
    fn survives<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(message: T) {
        let again = loader::encode(&message).expect("what was read can be written");
        assert!(again.len() <= MAX_MESSAGE);
        assert_eq!(loader::decode(&again), Ok(message));
    }
    if let Ok(order) = loader::decode::<Order>(data) {
        if let Order::Fork(fork) = order {
            assert!((2..=MAX_DESCRIPTORS).contains(&fork.descriptors()));
        }
        survives(order);
    }
    if let Ok(report) = loader::decode::<Report>(data) {
        survives(report);
    }
}

/// The list of scripts in memory that an application can write to: each entry is whole, and lies where it was read.
pub(crate) fn scripts(data: &[u8]) {
    let mut position = 0;
    for entry in scripts::entries(data) {
        assert!(!entry.path.is_empty());
        let (lengths, bytes) = entry.encode(position).expect("what was read fits");
        let end = position + lengths.len() + bytes.len();
        assert_eq!(data[position..end], [&lengths[..], &bytes].concat());
        position = end;
    }
    assert!(position <= data.len().min(scripts::SIZE));
}

/// Apache's scoreboard as it goes to a daemon.
pub(crate) fn scoreboard(data: &[u8]) {
    let Ok(snapshot) = scoreboard::decode(data) else { return };
    let again = scoreboard::encode(&snapshot).expect("what was read can be written");
    assert_eq!(scoreboard::decode(&again), Ok(snapshot));
}

/// A cache line, which is how a page's parts are aligned.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// A status page that a daemon has filled as it likes. The first bytes say how it is laid out, the next sixteen which
/// request is looked for and withdrawn; the page holds the rest, again and again.
pub(crate) fn page(data: &[u8]) {
    let Some((&[processes, threads, children], rest)) = data.split_first_chunk() else { return };
    let Some((ticket, rest)) = rest.split_first_chunk() else { return };
    let Some((other, filling)) = rest.split_first_chunk() else { return };
    let (ticket, other) = (u64::from_le_bytes(*ticket), u64::from_le_bytes(*other));
    let part = |byte: u8, most: u8| u32::from(byte % most);
    let layout = Layout::new(part(processes, 6) + 1, part(threads, 6), part(children, 4)).expect("small");
    let mut memory = vec![Line([0; 64]); layout.size().div_ceil(64)];
    let mut filler = filling.iter().copied().cycle();
    for byte in memory.iter_mut().flat_map(|line| &mut line.0) {
        *byte = filler.next().unwrap_or(0);
    }
    // SAFETY: the vector is aligned, large enough, and outlives the page.
    let page = unsafe { Page::new(memory.as_mut_ptr().cast(), layout) };

    // How many there are of anything is the reader's own knowledge.
    assert!(page.process(layout.processes()).is_none() && page.child(layout.children()).is_none());
    let mut taken = false;
    for place in 0..layout.processes() {
        let process = page.process(place).expect("within the layout");
        let _ = State::from_number(process.state.load(Ordering::Relaxed));
        let _ = Wish::from_number(process.wish.load(Ordering::Relaxed));
        assert!(page.thread(place, layout.threads()).is_none());
        for thread in 0..layout.threads() {
            let thread = page.thread(place, thread).expect("within the layout");
            let text = thread.description();
            assert!(text.len() <= DESCRIPTION && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
            taken |= thread.ticket.load(Ordering::Relaxed) == ticket;
            thread.note_wait(ticket.cast_signed());
        }
        for child in 0..layout.children() {
            assert!(page.held(child, place).is_some());
        }
    }
    assert_eq!(page.has_taken(ticket), taken);
    assert!(page.tally().failures().chain(page.tally().stops()).all(|(name, _)| !name.is_empty()));
    let header = page.header();
    let loading = header.loading.load(Ordering::Relaxed);
    assert_eq!(header.give_up(), loading != 0);
    assert!(loading == 0 || header.given_up.load(Ordering::Relaxed) == loading);

    // What was withdrawn is seen, whatever else stands there; a count that is too high costs a look, one that is too low
    // would let a request be served twice.
    let withdrawals = page.withdrawals();
    for (ticket, place) in [(ticket, 0), (other, part(processes, 6))] {
        if ticket != 0 && withdrawals.add(ticket, place) {
            assert!(withdrawals.any() && withdrawals.take(ticket), "{ticket} was entered");
        }
        let mut left = 0;
        while withdrawals.take(ticket) {
            left += 1;
            assert!(left < 100, "{ticket} is taken out again and again");
        }
    }
    let process = page.process(0).expect("a page has a process");
    withdrawals.clear(0, &process.in_flight);
}
