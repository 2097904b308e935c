//! The status page: one memfd per daemon process group, mapped by the parent, its children and the daemons.
//!
//! It holds numbers only, in atomics, and readers treat them as hostile: a daemon can write whatever it likes. Each
//! process and each thread has a cache line (or two) of its own.
//!
//! ```text
//! Header | Tally | Withdrawals | ProcessSlot × processes | ThreadSlot × processes × threads | ChildRow × children
//! ```
//!
//! An Apache child chooses the least busy process by `in_flight`, counts itself in there and in its own [`ChildRow`],
//! so that the parent can give back what a crashed child held.

use crate::sync::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use crate::takeback;
use crate::tally::{QUEUE_BOUNDS, Tally};
use crate::withdrawal::Withdrawals;

/// First word of the page.
pub const MAGIC: u32 = 0x5753_4752;
/// Layout version.
pub const VERSION: u32 = 7;
/// The most bytes of a request's description in a [`ThreadSlot`].
pub const DESCRIPTION: usize = 96;
/// The most places for processes of one group.
pub const MAX_PROCESSES: u32 = 1536;
/// The most threads of one process (the reference's bound).
pub const MAX_THREADS: u32 = 65_533;

/// The page's first cache line.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: AtomicU32,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// How many [`ProcessSlot`]s there are.
    pub processes: AtomicU32,
    /// How many [`ThreadSlot`]s each process has.
    pub threads: AtomicU32,
    /// How many [`ChildRow`]s there are.
    pub children: AtomicU32,
    /// Requests that wait on the overflow listener.
    pub waiting: AtomicU32,
    /// When a request last waited for long because all threads of the group were busy: seconds of a clock that only
    /// goes forward, 0 is never.
    pub at_capacity: AtomicU32,
    /// A number that no other page has: who sees another one looks at another page.
    pub identity: AtomicU64,
    /// The version of a script that did not load in a rolling restart ([`version_of_script`]); 0 is none.
    pub given_up: AtomicU64,
    /// The version of the script that a successor is loading; what is left here when it has ended did not load.
    pub loading: AtomicU64,
}

impl Header {
    /// Notes that what a successor was loading does not load. `true`: it was loading something.
    pub fn give_up(&self) -> bool {
        let version = self.loading.swap(0, Ordering::AcqRel);
        if version != 0 {
            self.given_up.store(version, Ordering::Release);
        }
        version != 0
    }
}

/// What a process is doing.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody is there.
    Empty = 0,
    /// Started, not accepting yet.
    Starting = 1,
    /// Accepting requests.
    Ready = 2,
    /// Finishing what it has; takes nothing new.
    Draining = 3,
    /// Python could not be started; answers each request with 500.
    Broken = 4,
}

impl State {
    /// The state with this number; unknown numbers are [`State::Empty`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Starting,
            2 => Self::Ready,
            3 => Self::Draining,
            4 => Self::Broken,
            _ => Self::Empty,
        }
    }
}

/// One daemon process.
#[repr(C, align(64))]
#[derive(Default)]
pub struct ProcessSlot {
    /// Its pid, written by the parent.
    pub pid: AtomicU32,
    /// Its [`State`].
    pub state: AtomicU32,
    /// Requests that children have given to it and that have not ended.
    pub in_flight: AtomicU32,
    /// The start number: how many processes have been started in this slot, this one included.
    pub generation: AtomicU32,
    /// Requests it has begun.
    pub requests: AtomicU64,
    /// When it started, microseconds since the epoch.
    pub started: AtomicI64,
    /// Worker threads that are free.
    pub idle_threads: AtomicU32,
    /// How often a process was started here.
    pub starts: AtomicU32,
    /// Python interpreters of the process, the main one included.
    pub interpreters: AtomicU32,
    /// 1 after a request was withdrawn from it, until it next takes one or throws one away: others are to be preferred.
    pub stuck: AtomicU32,
    /// Whether it wants a successor (`rolling=On`): a [`Wish`].
    pub wish: AtomicU32,
    /// How many of the requests in flight need no thread any more: their clients read what was said.
    pub unread: AtomicU32,
}

impl ProcessSlot {
    /// The process asks for a successor. The script's wish does not replace one for any other reason, which a script
    /// that fails to load must not take away.
    pub fn ask(&self, wish: Wish) {
        let _ = self.wish.fetch_update(Ordering::AcqRel, Ordering::Acquire, |present| {
            (wish != Wish::Script || Wish::from_number(present) != Wish::Any).then_some(wish as u32)
        });
    }

    /// Takes back a wish that is because of a script, and no other one.
    pub fn take_back_script_wish(&self) {
        let (script, none) = (Wish::Script as u32, Wish::None as u32);
        let _ = self.wish.compare_exchange(script, none, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Requests that have a thread or want one.
    #[must_use]
    pub fn busy(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed).saturating_sub(self.unread.load(Ordering::Relaxed))
    }
}

/// Whether a process wants a successor.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It does not.
    None = 0,
    /// Its script has changed.
    Script = 1,
    /// A signal or a timer says so.
    Any = 2,
    /// It has one, or had one that ended before it served: the same is not asked for again.
    Answered = 3,
}

impl Wish {
    /// The wish with this number; unknown numbers are none.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Script,
            2 => Self::Any,
            3 => Self::Answered,
            _ => Self::None,
        }
    }
}

/// A number for a script whose file has this [`crate::script_file::ScriptFile::version`] (FNV-1a); never 0.
#[must_use]
pub fn version_of_script(path: &[u8], version: u64) -> u64 {
    let bytes = path.iter().copied().chain(version.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)).max(1)
}

/// One worker thread.
#[repr(C, align(64))]
#[derive(Default)]
pub struct ThreadSlot {
    /// When the request it serves began, microseconds since the epoch; 0 while it serves none.
    pub request_start: AtomicI64,
    /// Requests it has finished.
    pub requests: AtomicU64,
    /// Bytes of `description` in use.
    pub length: AtomicU32,
    /// `METHOD /uri` of the request it serves, cut to what fits: what a log line about its death names.
    pub description: [AtomicU32; DESCRIPTION / 4],
    /// The ticket of the request that it took last ([`crate::request::Facts::ticket`]).
    pub ticket: AtomicU64,
    /// How long its requests waited between the Apache child and this thread, all together, in microseconds.
    pub queue_time: AtomicU64,
    /// How many of them waited no longer than each of [`QUEUE_BOUNDS`] but longer than the one before; the last place
    /// is for those that waited longer than all.
    pub queued: [AtomicU64; QUEUE_BOUNDS.len() + 1],
}

/// One Apache child.
#[repr(C, align(64))]
pub struct ChildRow {
    /// The child's pid; 0 when free.
    pub pid: AtomicU32,
    /// 1 while it waits on the overflow listener, per request in flight.
    pub waiting: AtomicU32,
}

/// Where the parts of a page lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    processes: u32,
    threads: u32,
    children: u32,
}

impl Layout {
    /// A page for so many processes, threads each, and Apache children. The held counts of a child, one per process,
    /// follow its row.
    #[must_use]
    pub fn new(processes: u32, threads: u32, children: u32) -> Option<Self> {
        let fits = (1..=MAX_PROCESSES).contains(&processes) && threads <= MAX_THREADS && children <= 100_000;
        fits.then_some(Self { processes, threads, children })
    }

    /// How many processes it has slots for.
    #[must_use]
    pub fn processes(self) -> u32 {
        self.processes
    }

    /// How many threads each process has.
    #[must_use]
    pub fn threads(self) -> u32 {
        self.threads
    }

    /// How many Apache children it has rows for.
    #[must_use]
    pub fn children(self) -> u32 {
        self.children
    }

    /// The page's size in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        self.held(self.children, 0)
    }

    fn processes_offset() -> usize {
        size_of::<Header>() + size_of::<Tally>() + size_of::<Withdrawals>()
    }

    fn threads_offset(self) -> usize {
        Self::processes_offset() + self.processes as usize * size_of::<ProcessSlot>()
    }

    fn children_offset(self) -> usize {
        self.threads_offset() + self.processes as usize * self.threads as usize * size_of::<ThreadSlot>()
    }

    fn child_stride(self) -> usize {
        let held = self.processes as usize * size_of::<AtomicU32>();
        size_of::<ChildRow>() + held.next_multiple_of(64)
    }

    fn held(self, child: u32, process: u32) -> usize {
        let row = self.children_offset() + child as usize * self.child_stride();
        if child == self.children {
            return row;
        }
        row + size_of::<ChildRow>() + process as usize * size_of::<AtomicU32>()
    }
}

/// A mapped page. Copies share the mapping; whoever mapped it unmaps it.
#[derive(Clone, Copy)]
pub struct Page {
    base: *const u8,
    layout: Layout,
}

// SAFETY: everything behind the pointer is an atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Uses a mapping as a page.
    ///
    /// # Safety
    /// `base` is page-aligned, readable and writable for at least `layout.size()` bytes, and stays mapped as long as
    /// the value or a copy of it is used.
    #[must_use]
    pub unsafe fn new(base: *mut u8, layout: Layout) -> Self {
        Self { base, layout }
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many process slots there are.
    #[must_use]
    pub fn processes(&self) -> u32 {
        self.layout.processes
    }

    /// How many threads each process has.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.layout.threads
    }

    /// Whether a worker has taken the request with this ticket. Tickets stay where they are after the request and after
    /// the process, until the thread takes another request.
    #[must_use]
    pub fn has_taken(&self, ticket: u64) -> bool {
        let threads = (0..self.layout.processes)
            .flat_map(|process| (0..self.layout.threads).filter_map(move |thread| self.thread(process, thread)));
        takeback::has_taken(threads, ticket)
    }

    /// Writes the header of a fresh page.
    pub fn initialise(&self, identity: u64) {
        let header = self.header();
        header.processes.store(self.layout.processes, Ordering::Relaxed);
        header.threads.store(self.layout.threads, Ordering::Relaxed);
        header.children.store(self.layout.children, Ordering::Relaxed);
        header.identity.store(identity, Ordering::Relaxed);
        header.version.store(VERSION, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        // SAFETY: `new` promises the mapping; the header lies at its start.
        unsafe { &*self.base.cast::<Header>() }
    }

    /// What is counted for the group.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        // SAFETY: `new` promises the mapping; the tally follows the header, whose size is a multiple of 64.
        unsafe { &*self.base.add(size_of::<Header>()).cast::<Tally>() }
    }

    /// Requests that were taken back.
    #[must_use]
    pub fn withdrawals(&self) -> &Withdrawals {
        const { assert!(size_of::<Tally>().is_multiple_of(64)) };
        // SAFETY: as in `tally`, whose size is a multiple of 64 too.
        unsafe { &*self.base.add(size_of::<Header>() + size_of::<Tally>()).cast::<Withdrawals>() }
    }

    /// The slot of a process.
    #[must_use]
    pub fn process(&self, index: u32) -> Option<&ProcessSlot> {
        if index >= self.layout.processes {
            return None;
        }
        let offset = Layout::processes_offset() + index as usize * size_of::<ProcessSlot>();
        // SAFETY: within the mapping by the layout, aligned because every part's size is a multiple of 64.
        Some(unsafe { &*self.base.add(offset).cast::<ProcessSlot>() })
    }

    /// The slot of a thread.
    #[must_use]
    pub fn thread(&self, process: u32, thread: u32) -> Option<&ThreadSlot> {
        if process >= self.layout.processes || thread >= self.layout.threads {
            return None;
        }
        let index = process as usize * self.layout.threads as usize + thread as usize;
        let offset = self.layout.threads_offset() + index * size_of::<ThreadSlot>();
        // SAFETY: as in `process`.
        Some(unsafe { &*self.base.add(offset).cast::<ThreadSlot>() })
    }

    /// The row of an Apache child.
    #[must_use]
    pub fn child(&self, child: u32) -> Option<&ChildRow> {
        if child >= self.layout.children {
            return None;
        }
        let offset = self.layout.children_offset() + child as usize * self.layout.child_stride();
        // SAFETY: as in `process`.
        Some(unsafe { &*self.base.add(offset).cast::<ChildRow>() })
    }

    /// How many requests a child has in flight at a process.
    #[must_use]
    pub fn held(&self, child: u32, process: u32) -> Option<&AtomicU32> {
        if child >= self.layout.children || process >= self.layout.processes {
            return None;
        }
        // SAFETY: within the mapping by the layout, aligned to 4.
        Some(unsafe { &*self.base.add(self.layout.held(child, process)).cast::<AtomicU32>() })
    }
}

impl ThreadSlot {
    /// Notes that a request waited so many microseconds for this thread, which alone writes here.
    pub fn note_wait(&self, micros: i64) {
        let micros = micros.max(0).cast_unsigned();
        let place = QUEUE_BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(QUEUE_BOUNDS.len());
        for (count, amount) in [(&self.queue_time, micros), (&self.queued[place], 1)] {
            count.store(count.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    /// Writes the description, cut to [`DESCRIPTION`] bytes.
    pub fn describe(&self, method: &[u8], uri: &[u8]) {
        let (text, length) = description(method, uri);
        let (words, _) = text.as_chunks::<4>();
        for (cell, word) in self.description.iter().zip(words) {
            cell.store(u32::from_ne_bytes(*word), Ordering::Relaxed);
        }
        self.length.store(u32::try_from(length).unwrap_or(0), Ordering::Relaxed);
    }

    /// Reads the description; bytes that are not printable ASCII become `?`.
    #[must_use]
    pub fn description(&self) -> String {
        let length = (self.length.load(Ordering::Relaxed) as usize).min(DESCRIPTION);
        let bytes = self.description.iter().flat_map(|cell| cell.load(Ordering::Relaxed).to_ne_bytes());
        printable(bytes.take(length))
    }
}

fn description(method: &[u8], uri: &[u8]) -> ([u8; DESCRIPTION], usize) {
    let mut text = [0u8; DESCRIPTION];
    let mut length = 0;
    for part in [method, b" ", uri] {
        let taken = part.len().min(DESCRIPTION - length);
        text[length..length + taken].copy_from_slice(&part[..taken]);
        length += taken;
    }
    (text, length)
}

fn printable(bytes: impl Iterator<Item = u8>) -> String {
    bytes.map(|byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '?' }).collect()
}

/// What a page says of a request with this method and URI while a thread serves it.
#[must_use]
pub fn described(method: &[u8], uri: &[u8]) -> String {
    let (text, length) = description(method, uri);
    printable(text[..length].iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    #[derive(Clone, Copy)]
    struct Line(#[expect(dead_code, reason = "only its size and alignment count")] [u8; 64]);

    fn with_page(layout: Layout, test: impl FnOnce(&Page)) {
        let mut memory = vec![Line([0; 64]); layout.size().div_ceil(64)];
        // SAFETY: the vector is aligned, large enough, and outlives the page.
        let page = unsafe { Page::new(memory.as_mut_ptr().cast(), layout) };
        page.initialise(1);
        test(&page);
    }

    #[test]
    fn parts_do_not_overlap() {
        let layout = Layout::new(3, 5, 4).expect("small");
        with_page(layout, |page| {
            let mut seen = std::collections::BTreeMap::new();
            let mut claim = |start: *const u8, size: usize| {
                let start = start as usize - page.base as usize;
                assert!(start + size <= layout.size());
                for byte in start..start + size {
                    assert!(seen.insert(byte, ()).is_none(), "byte {byte} belongs to two parts");
                }
            };
            claim(std::ptr::from_ref(page.header()).cast(), size_of::<Header>());
            claim(std::ptr::from_ref(page.withdrawals()).cast(), size_of::<Withdrawals>());
            claim(std::ptr::from_ref(page.tally()).cast(), size_of::<Tally>());
            for process in 0..3 {
                claim(std::ptr::from_ref(page.process(process).expect("is there")).cast(), size_of::<ProcessSlot>());
                for thread in 0..5 {
                    let slot = page.thread(process, thread).expect("is there");
                    claim(std::ptr::from_ref(slot).cast(), size_of::<ThreadSlot>());
                }
            }
            for child in 0..4 {
                claim(std::ptr::from_ref(page.child(child).expect("is there")).cast(), size_of::<ChildRow>());
                for process in 0..3 {
                    claim(std::ptr::from_ref(page.held(child, process).expect("is there")).cast(), 4);
                }
            }
            assert!(page.process(3).is_none() && page.thread(0, 5).is_none() && page.child(4).is_none());
            assert!(page.held(0, 3).is_none() && page.held(4, 0).is_none());
        });
    }

    #[test]
    fn a_description_is_cut_and_cleaned() {
        with_page(Layout::new(1, 1, 0).expect("small"), |page| {
            let slot = page.thread(0, 0).expect("is there");
            slot.describe(b"GET", b"/x\n\xff");
            assert_eq!(slot.description(), "GET /x??");
            slot.describe(b"GET", &[b'a'; 500]);
            assert_eq!(slot.description().len(), DESCRIPTION);
            slot.length.store(u32::MAX, Ordering::Relaxed);
            assert_eq!(slot.description().len(), DESCRIPTION);
        });
    }

    #[test]
    fn a_wait_is_counted_once_where_it_belongs() {
        with_page(Layout::new(1, 1, 0).expect("small"), |page| {
            let slot = page.thread(0, 0).expect("is there");
            for micros in [-5, 0, 1000, 1001, i64::MAX] {
                slot.note_wait(micros);
            }
            let counts: Vec<u64> = slot.queued.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            assert_eq!((counts[0], counts[1], counts.last()), (3, 1, Some(&1)));
            assert_eq!(counts.iter().sum::<u64>(), 5);
        });
    }

    #[test]
    fn a_ticket_is_found_wherever_it_was_taken() {
        with_page(Layout::new(2, 3, 0).expect("small"), |page| {
            assert!(!page.has_taken(77));
            page.thread(1, 2).expect("is there").ticket.store(77, Ordering::Release);
            assert!(page.has_taken(77));
        });
    }
}
