//! The list of scripts that a process has loaded, in memory that it shares with its successor.
//!
//! Entries are only ever added: a length word each for the path and the application group, then both. The word of an
//! entry is written after its bytes, so that a reader never sees half of one; the first entry without a path is the end.

/// The size of the memory. Scripts that do not fit are not listed.
pub const SIZE: usize = 64 * 1024;

/// The longest path or name in the list.
const LONGEST: usize = 16 * 1024;

/// Bytes of the two lengths.
pub const LENGTHS: usize = 8;

/// A script of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry<'a> {
    /// The file.
    pub path: &'a [u8],
    /// The application group; empty is the main interpreter.
    pub group: &'a [u8],
}

impl Entry<'_> {
    /// Its lengths and its bytes; `None`: it does not fit below `SIZE` at this position.
    #[must_use]
    pub fn encode(&self, position: usize) -> Option<([u8; LENGTHS], Vec<u8>)> {
        let size = LENGTHS + self.path.len() + self.group.len();
        if self.path.is_empty() || self.path.len() > LONGEST || self.group.len() > LONGEST || position + size > SIZE {
            return None;
        }
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(0).to_le_bytes();
        let mut lengths = [0; LENGTHS];
        lengths[..4].copy_from_slice(&length(self.path));
        lengths[4..].copy_from_slice(&length(self.group));
        Some((lengths, [self.path, self.group].concat()))
    }
}

/// The entries in a copy of the memory. What makes no sense ends the list.
pub fn entries(memory: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = &memory[..memory.len().min(SIZE)];
    std::iter::from_fn(move || {
        let (lengths, after) = rest.split_first_chunk::<LENGTHS>()?;
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (path, group) = (number(&lengths[..4]), number(&lengths[4..]));
        if path == 0 || path > LONGEST || group > LONGEST {
            return None;
        }
        let (path, after) = after.split_at_checked(path)?;
        let (group, after) = after.split_at_checked(group)?;
        rest = after;
        Some(Entry { path, group })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_survives() {
        let wanted = [Entry { path: b"/a.wsgi", group: b"" }, Entry { path: b"/b.wsgi", group: b"www:80|/b" }];
        let mut memory = vec![0; SIZE];
        let mut position = 0;
        for entry in wanted {
            let (lengths, bytes) = entry.encode(position).expect("room");
            memory[position..position + LENGTHS].copy_from_slice(&lengths);
            position += LENGTHS;
            memory[position..position + bytes.len()].copy_from_slice(&bytes);
            position += bytes.len();
        }
        assert_eq!(entries(&memory).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let entry = Entry { path: b"/a.wsgi", group: b"" };
        assert!(entry.encode(SIZE - LENGTHS - 7).is_some());
        assert!(entry.encode(SIZE - LENGTHS - 6).is_none());
        assert!(Entry { path: b"", group: b"x" }.encode(0).is_none());
    }

    proptest! {
        #[test]
        fn anything_is_read_within_bounds(memory in proptest::collection::vec(any::<u8>(), 0..300)) {
            for entry in entries(&memory) {
                prop_assert!(!entry.path.is_empty());
            }
        }
    }
}
