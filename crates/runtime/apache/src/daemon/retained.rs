//! What outlives a generation of the configuration: plain data in memory that Apache keeps until the server ends.
//!
//! The module is unloaded and loaded again on a restart, perhaps in another version. So no pointer into it and no type
//! of it is kept, only bytes with a version before them. What is of another version cannot be read; for that case there is
//! [`super::frozen`].

use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};
use wsgi_protocol::frame::Secret;
use wsgi_protocol::launch;

use super::frozen::{Kept, LONGEST};
use crate::sys;

/// The version of [`Saved`], in the file of the module: tests change it there, to have a module that cannot read what this
/// one leaves. The number rises when [`Saved`] changes.
#[used]
static VERSION: [u8; 28] = *b"mod_wsgi_rs retained 0000007";

fn version() -> u32 {
    // SAFETY: initialised and never written to. The compiler is not to know what it holds.
    let text = unsafe { std::ptr::read_volatile(&raw const VERSION) };
    text[21..].iter().fold(0, |number: u32, digit| number * 10 + u32::from(digit - b'0'))
}

/// The name of the list that every version can read.
const KEPT: &std::ffi::CStr = c"mod_wsgi_rs kept";

/// The name under which Apache keeps it.
const KEY: &std::ffi::CStr = c"mod_wsgi_rs daemons";

/// Everything about running daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Counts the starts of processes.
    pub(crate) starts: u32,
    pub(crate) groups: Vec<SavedGroup>,
    pub(crate) writer: Option<SavedProcess>,
    pub(crate) bell: Option<SavedBell>,
    /// How many versions could not read what the one before left: sockets of each have names of their own.
    pub(crate) era: u32,
    /// What such versions left, as long as anything of it runs.
    pub(crate) strangers: Vec<Stranger>,
}

/// What another version has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stranger {
    pub(super) kept: Kept,
    /// The Apache children that send requests to its processes.
    pub(crate) children: Vec<i32>,
    /// Its processes were asked to leave.
    pub(crate) told: bool,
}

/// A group's descriptors and processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedGroup {
    pub(crate) name: Vec<u8>,
    /// What a connection begins with. Each group has its own, so that the processes of one cannot have those of another,
    /// who may be another user, run what they like.
    pub(crate) secret: Secret,
    /// What the sockets were made with; when it changes they are made anew.
    pub(crate) sockets: Sockets,
    pub(crate) overflow: Option<SavedListener>,
    pub(crate) page: RawFd,
    /// The page's places, threads and rows.
    pub(crate) layout: (u32, u32, u32),
    /// How many pages were made: the number of the present one.
    pub(crate) pages: u32,
    /// Both ends of the log's socket: the writing one, and the log writer's.
    pub(crate) log: (RawFd, RawFd),
    /// Both ends of the pipe for standard output and error: the writing one, and the log writer's.
    pub(crate) output: (RawFd, RawFd),
    pub(crate) slots: Vec<SavedSlot>,
    /// Processes that hold their slot no more, oldest first: see [`SavedProcess::told`].
    pub(crate) former: Vec<SavedProcess>,
    /// With `fork-after-load=On`: those that fork the processes. All but the last are retired.
    pub(crate) loaders: Vec<SavedLoader>,
}

impl Default for SavedGroup {
    /// Without any descriptor: 0 is one.
    fn default() -> Self {
        Self {
            name: Vec::new(),
            secret: Secret::default(),
            sockets: Sockets::default(),
            overflow: None,
            page: -1,
            layout: (0, 0, 0),
            pages: 0,
            log: (-1, -1),
            output: (-1, -1),
            slots: Vec::new(),
            former: Vec::new(),
            loaders: Vec::new(),
        }
    }
}

/// See [`SavedGroup::sockets`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sockets {
    pub(crate) prefix: Vec<u8>,
    pub(crate) owner: Option<u32>,
    pub(crate) backlog: u32,
}

/// A listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedListener {
    pub(crate) descriptor: RawFd,
    pub(crate) path: Vec<u8>,
    /// Device and number of the socket's file: another file with its name is not this socket.
    pub(crate) file: (u64, u64),
}

/// One process of a group, or its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedSlot {
    pub(crate) listener: SavedListener,
    pub(crate) process: Option<SavedProcess>,
    /// The process was started because the one before asked for it, and may not serve yet.
    pub(crate) rolls: bool,
}

/// A running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedProcess {
    /// 0 while a loader has not reported it. What a loader reports is for display, never for signals.
    pub(crate) pid: i32,
    /// The writing end of its control pipe.
    pub(crate) control: RawFd,
    /// Its place on the status page.
    pub(crate) place: u32,
    /// Which of the group's pages that is: [`SavedGroup::pages`] at its start.
    pub(crate) page: u32,
    /// The memory where it notes its scripts, or -1.
    pub(crate) scripts: RawFd,
    /// Who forks it and waits for its end: the pid of a loader; `None` is the server itself.
    pub(crate) loader: Option<i32>,
    /// Which start of a process it is.
    pub(crate) start: u32,
    /// It had begun to serve when its page was given up, which says so no more.
    pub(crate) served: bool,
    /// Of one that holds its slot no more: it was told to leave or to end. One that was not serves until its successor
    /// does, which tells it, or until it has its slot again.
    pub(crate) told: bool,
    /// What the server did to end it.
    pub(crate) ending: Ending,
}

/// What the server did to end a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Nothing.
    #[default]
    Not,
    /// It was asked to. A second signal could cut short what the first one began.
    Asked,
    /// It was killed, and ends as soon as the system lets it.
    Forced,
}

impl Ending {
    /// Notes what is done now. Returns what was done before.
    pub(crate) fn raise(&mut self, ending: Self) -> Self {
        std::mem::replace(self, ending.max(*self))
    }
}

impl SavedGroup {
    /// All processes that serve requests, or did.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &SavedProcess> {
        self.slots.iter().filter_map(|slot| slot.process.as_ref()).chain(&self.former)
    }

    /// All of them, to be changed.
    pub(crate) fn processes_mut(&mut self) -> impl Iterator<Item = &mut SavedProcess> {
        self.slots.iter_mut().filter_map(|slot| slot.process.as_mut()).chain(&mut self.former)
    }
}

impl SavedProcess {
    /// A child of the server that serves no requests.
    pub(crate) fn aide(pid: i32, control: RawFd) -> Self {
        Self { pid, control, ..Self::at(0, 0) }
    }

    /// One that is to be started at this place of this page.
    pub(crate) fn at(place: u32, page: u32) -> Self {
        Self {
            pid: 0,
            control: -1,
            place,
            page,
            scripts: -1,
            loader: None,
            start: 0,
            served: false,
            told: false,
            ending: Ending::Not,
        }
    }

    /// A loader is to fork it, and has not said that it did.
    pub(crate) fn is_ordered(&self) -> bool {
        self.loader.is_some() && self.pid == 0
    }
}

/// A loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedLoader {
    pub(crate) pid: i32,
    /// The server's end of the socket.
    pub(crate) socket: RawFd,
    /// It has forked a process: what it had to load is loaded.
    pub(crate) forked: bool,
    /// It forks no more, and ends after its last process.
    pub(crate) retired: bool,
    /// What the server did to end it.
    pub(crate) ending: Ending,
}

/// The process that waits for daemons which want a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedBell {
    /// Both ends of the pipe that daemons write to: the reading and the writing one.
    pub(crate) pipe: (RawFd, RawFd),
    pub(crate) process: Option<SavedProcess>,
}

#[repr(C)]
struct Header {
    version: u32,
    length: usize,
    bytes: *mut u8,
}

fn header(key: &std::ffi::CStr) -> *mut Header {
    // SAFETY: the key is a C string, which Apache copies. Created memory is zeroed and lives until the server ends.
    unsafe {
        let found = sys::ap_retained_data_get(key.as_ptr());
        if found.is_null() {
            sys::ap_retained_data_create(key.as_ptr(), size_of::<Header>()).cast()
        } else {
            found.cast()
        }
    }
}

/// What stands under a key, with its version.
fn read(key: &std::ffi::CStr) -> Option<(u32, &'static [u8])> {
    // SAFETY: `write` left a version, and a block of that length, which stays until it is written to again.
    unsafe {
        let header = header(key);
        if (*header).bytes.is_null() {
            return None;
        }
        Some(((*header).version, std::slice::from_raw_parts((*header).bytes, (*header).length)))
    }
}

fn write(key: &std::ffi::CStr, version: u32, bytes: &[u8]) {
    // SAFETY: the block was made by `realloc`, which every generation of the module shares with Apache itself.
    unsafe {
        let header = header(key);
        let block = libc::realloc((*header).bytes.cast(), bytes.len()).cast::<u8>();
        if block.is_null() {
            return;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), block, bytes.len());
        *header = Header { version, length: bytes.len(), bytes: block };
    }
}

/// What the generation before left.
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// What this version has written.
    Ours(Box<Saved>),
    /// What another version has written: as much of it as every version can read.
    Other(Option<Kept>),
}

/// Reads what the generation before left.
pub(crate) fn load() -> Left {
    let Some((written, bytes)) = read(KEY) else { return Left::Nothing };
    if written == version()
        && let Ok(saved) = launch::decode(bytes)
    {
        return Left::Ours(Box::new(saved));
    }
    Left::Other(read(KEPT).filter(|(_, list)| list.len() <= LONGEST).and_then(|(_, list)| Kept::decode(list)))
}

/// Keeps it for the next generation.
pub(crate) fn save(saved: &Saved) {
    let Ok(bytes) = launch::encode(saved) else { return };
    write(KEPT, 1, &Kept::of(saved).encode());
    write(KEY, version(), &bytes);
}
