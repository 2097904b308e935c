//! What any version of the module can read of what any other version left when Apache loads a new module at a restart.
//!
//! [`super::retained`] knows its own version only. Beside it stands this list, whose form never changes: the processes with
//! the descriptors that end them, what else is open, and the socket files. With it a version that cannot read the rest still
//! lets the processes serve the Apache children that belong to them, and then ends everything ([`super::supervise`]).
//!
//! The list is a magic number and records: a kind, a length, and so many bytes, all numbers little-endian. A later version may
//! add kinds, and fields behind those that are here; it must go on writing these. What it must also keep is what the descriptors
//! understand: [`LEAVE`](wsgi_protocol::launch::LEAVE) on a control pipe asks a process to finish its requests and to end, and its
//! end says that the server is gone. [`Order::Retire`](wsgi_protocol::loader::Order::Retire) on a loader's socket has it end after its
//! last process, and the end of the socket says that the server is gone.

use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use super::retained::{Saved, SavedGroup};

const MAGIC: &[u8; 8] = b"WSGIKEPT";

/// The most bytes of a list: what is longer is not one.
pub(super) const LONGEST: usize = 1 << 24;

/// The kinds of records. Those of a group follow its [`GROUP`].
mod kind {
    /// A number that rises with each version that could not read what the one before left.
    pub(super) const ERA: u32 = 1;
    /// The version of the module, for people.
    pub(super) const VERSION: u32 = 2;
    /// A process of the server's own: pid, descriptor whose end ends it.
    pub(super) const HELPER: u32 = 3;
    /// The name of a group.
    pub(super) const GROUP: u32 = 4;
    /// A process that serves requests: pid, control pipe, 1 when a loader waits for its end.
    pub(super) const PROCESS: u32 = 5;
    /// A process that forks others: pid, socket.
    pub(super) const LOADER: u32 = 6;
    /// A descriptor that is closed when the group has ended; before the first group, when all have.
    pub(super) const DESCRIPTOR: u32 = 7;
    /// A socket's file: device, number, path.
    pub(super) const SOCKET: u32 = 8;
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) era: u32,
    pub(super) version: Vec<u8>,
    pub(super) helpers: Vec<KeptProcess>,
    pub(super) descriptors: Vec<RawFd>,
    pub(super) groups: Vec<KeptGroup>,
}

/// A group of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptGroup {
    pub(super) name: Vec<u8>,
    pub(super) processes: Vec<KeptProcess>,
    pub(super) loaders: Vec<KeptProcess>,
    pub(super) descriptors: Vec<RawFd>,
    pub(super) sockets: Vec<KeptSocket>,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptProcess {
    pub(super) pid: i32,
    /// The descriptor that ends it.
    pub(super) control: RawFd,
    /// A loader waits for its end, not the server.
    pub(super) forked: bool,
}

/// A socket's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptSocket {
    /// Device and number: another file with its name is not this socket.
    pub(super) file: (u64, u64),
    pub(super) path: Vec<u8>,
}

impl Kept {
    /// What a later version has to know of the present state.
    pub(super) fn of(saved: &Saved) -> Self {
        let child = |pid, control| KeptProcess { pid, control, forked: false };
        let mut descriptors = Vec::new();
        if let Some(bell) = &saved.bell {
            descriptors.extend([bell.pipe.0, bell.pipe.1]);
        }
        let helpers = saved.writer.into_iter().chain(saved.bell.and_then(|bell| bell.process));
        let mut kept = Self {
            era: saved.era,
            version: env!("CARGO_PKG_VERSION").into(),
            helpers: helpers.map(|helper| child(helper.pid, helper.control)).collect(),
            descriptors,
            groups: saved.groups.iter().map(KeptGroup::of).collect(),
        };
        for stranger in &saved.strangers {
            kept.helpers.extend(&stranger.kept.helpers);
            kept.descriptors.extend(&stranger.kept.descriptors);
            kept.groups.extend(stranger.kept.groups.iter().cloned());
        }
        kept
    }

    /// The list as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut list = Writer(MAGIC.to_vec());
        list.record(kind::ERA, &[&self.era.to_le_bytes()]);
        list.record(kind::VERSION, &[&self.version]);
        self.helpers.iter().for_each(|helper| list.process(kind::HELPER, helper));
        self.descriptors.iter().for_each(|descriptor| list.descriptor(*descriptor));
        for group in &self.groups {
            list.record(kind::GROUP, &[&group.name]);
            group.processes.iter().for_each(|process| list.process(kind::PROCESS, process));
            group.loaders.iter().for_each(|loader| list.process(kind::LOADER, loader));
            group.descriptors.iter().for_each(|descriptor| list.descriptor(*descriptor));
            for socket in &group.sockets {
                let (device, number) = socket.file;
                list.record(kind::SOCKET, &[&device.to_le_bytes(), &number.to_le_bytes(), &socket.path]);
            }
        }
        list.0
    }

    /// Reads a list that any version has written. `None`: it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut list = Reader(bytes.strip_prefix(MAGIC)?);
        let mut kept = Self::default();
        while !list.0.is_empty() {
            let kind = list.number()?;
            let length = usize::try_from(list.number()?).ok()?;
            let mut record = Reader(list.take(length)?);
            match kind {
                kind::ERA => kept.era = record.number()?,
                kind::VERSION => kept.version = record.0.to_vec(),
                kind::HELPER => kept.helpers.push(record.process()?),
                kind::GROUP => kept.groups.push(KeptGroup { name: record.0.to_vec(), ..KeptGroup::default() }),
                kind::PROCESS => kept.groups.last_mut()?.processes.push(record.process()?),
                kind::LOADER => kept.groups.last_mut()?.loaders.push(record.process()?),
                kind::DESCRIPTOR => {
                    let descriptor = record.number()?.cast_signed();
                    kept.groups
                        .last_mut()
                        .map_or(&mut kept.descriptors, |group| &mut group.descriptors)
                        .push(descriptor);
                }
                kind::SOCKET => {
                    let file = (record.long()?, record.long()?);
                    kept.groups.last_mut()?.sockets.push(KeptSocket { file, path: record.0.to_vec() });
                }
                _ => {}
            }
        }
        Some(kept)
    }

    /// Every process that the server itself waits for.
    pub(super) fn children(&self) -> impl Iterator<Item = KeptProcess> {
        let groups = self.groups.iter().flat_map(|group| group.processes.iter().chain(&group.loaders));
        self.helpers.iter().chain(groups).copied().filter(|process| !process.forked)
    }
}

impl KeptGroup {
    fn of(group: &SavedGroup) -> Self {
        let listeners = || group.slots.iter().map(|slot| &slot.listener).chain(&group.overflow);
        let listeners = || listeners().filter(|listener| !listener.path.is_empty());
        let mut descriptors = vec![group.page, group.log.0, group.log.1, group.output.0, group.output.1];
        descriptors.extend(listeners().map(|listener| listener.descriptor));
        descriptors.extend(group.processes().map(|process| process.scripts));
        descriptors.retain(|descriptor| *descriptor >= 0);
        let process = |process: &super::retained::SavedProcess| KeptProcess {
            pid: process.pid,
            control: process.control,
            forked: process.loader.is_some(),
        };
        let loader = |loader: &super::retained::SavedLoader| KeptProcess {
            pid: loader.pid,
            control: loader.socket,
            forked: false,
        };
        Self {
            name: group.name.clone(),
            processes: group.processes().map(process).collect(),
            loaders: group.loaders.iter().map(loader).collect(),
            descriptors,
            sockets: listeners()
                .map(|listener| KeptSocket { file: listener.file, path: listener.path.clone() })
                .collect(),
        }
    }

    /// Whether anything of it runs.
    pub(super) fn is_inhabited(&self) -> bool {
        !self.processes.is_empty() || !self.loaders.is_empty()
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn record(&mut self, kind: u32, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        self.0.extend_from_slice(&kind.to_le_bytes());
        self.0.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
    }

    fn process(&mut self, kind: u32, process: &KeptProcess) {
        let forked = u32::from(process.forked);
        self.record(kind, &[&process.pid.to_le_bytes(), &process.control.to_le_bytes(), &forked.to_le_bytes()]);
    }

    fn descriptor(&mut self, descriptor: RawFd) {
        self.record(kind::DESCRIPTOR, &[&descriptor.to_le_bytes()]);
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn process(&mut self) -> Option<KeptProcess> {
        let (pid, control) = (self.number()?.cast_signed(), self.number()?.cast_signed());
        Some(KeptProcess { pid, control, forked: self.number()? != 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::retained::{SavedListener, SavedProcess, SavedSlot};
    use super::*;

    fn saved() -> Saved {
        let listener = SavedListener { descriptor: 20, path: b"/run/s".to_vec(), file: (1, 2) };
        let process = SavedProcess { pid: 100, control: 21, ..SavedProcess::at(0, 0) };
        let group = SavedGroup {
            name: b"web".to_vec(),
            page: 22,
            slots: vec![SavedSlot { listener, process: Some(process), rolls: false }],
            former: vec![SavedProcess { pid: 0, control: 23, loader: Some(102), ..process }],
            ..SavedGroup::default()
        };
        Saved { era: 3, groups: vec![group], writer: Some(SavedProcess::aide(101, 24)), ..Saved::default() }
    }

    // Covers: rule:daemon/upgrade
    #[test]
    fn the_form_never_changes() {
        let process = |pid: i32, control, forked| KeptProcess { pid, control, forked };
        let kept = Kept::of(&saved());
        let group = KeptGroup {
            name: b"web".to_vec(),
            processes: vec![process(100, 21, false), process(0, 23, true)],
            loaders: vec![],
            descriptors: vec![22, 20],
            sockets: vec![KeptSocket { file: (1, 2), path: b"/run/s".to_vec() }],
        };
        assert_eq!((&kept.groups[..], &kept.helpers[..]), (&[group][..], &[process(101, 24, false)][..]));
        // Bytes as the first version wrote them: if this line has to change, older versions are left without an end.
        let bytes = b"WSGIKEPT\x01\0\0\0\x04\0\0\0\x03\0\0\0\x02\0\0\0\x03\0\0\x000.1\x03\0\0\0\x0c\0\0\0\x65\0\0\0\x18\0\0\0\0\0\0\0\
            \x04\0\0\0\x03\0\0\0web\x05\0\0\0\x0c\0\0\0\x64\0\0\0\x15\0\0\0\0\0\0\0\x05\0\0\0\x0c\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\
            \x07\0\0\0\x04\0\0\0\x16\0\0\0\x07\0\0\0\x04\0\0\0\x14\0\0\0\
            \x08\0\0\0\x16\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0/run/s";
        let first = Kept { version: b"0.1".to_vec(), ..kept };
        assert_eq!(first.encode(), bytes);
        assert_eq!(Kept::decode(bytes), Some(first.clone()));
        // A later version may add to a record, and other records.
        let mut later = bytes.to_vec();
        later.extend_from_slice(b"\x07\0\0\0\x08\0\0\0\x15\0\0\0more\x63\0\0\0\x02\0\0\0??");
        let read = Kept::decode(&later).expect("is one");
        assert_eq!(read.groups[0].descriptors, [22, 20, 21]);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(tail);
            let _ = Kept::decode(&bytes);
        }
    }
}
