//! What the server and the loader of a group (`fork-after-load=On`) tell each other, one message per packet.
//!
//! The loader loads the application once and forks the group's processes. It decides nothing: the server says when a
//! process is wanted and where ([`Order`]), and hears what became of it ([`Report`]). Reports come from a process that
//! runs the application's code, so the server believes of them only what concerns that loader's own processes.

use serde::{Deserialize, Serialize};

use crate::wire::{Malformed, malformed};

/// The most bytes of a message.
pub const MAX_MESSAGE: usize = 64;

/// The most descriptors that come with an order.
pub const MAX_DESCRIPTORS: usize = 5;

/// From the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// A process is wanted.
    Fork(Fork),
    /// The process of this start is to get a signal. The server has no process number that it could rely on.
    Signal {
        /// [`Fork::start`]
        start: u32,
        /// Which one.
        signal: i32,
    },
    /// Another loader has taken over: this one forks no more, and ends when its last process has.
    Retire,
}

/// Which process is wanted. Its descriptors come with the message, in the order of the fields: the listener and the
/// reading end of the control pipe, then those that are said to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Its place on the status page.
    pub place: u32,
    /// Which start of a process it is; reports name it by this number.
    pub start: u32,
    /// Milliseconds to wait before.
    pub delay: u64,
    /// See [`crate::launch::Descriptors::predecessor`].
    pub predecessor: bool,
    /// See [`crate::launch::Descriptors::scripts`].
    pub scripts: bool,
    /// See [`crate::launch::Descriptors::inherited_scripts`].
    pub inherited_scripts: bool,
}

impl Fork {
    /// How many descriptors come with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let optional = [self.predecessor, self.scripts, self.inherited_scripts];
        2 + optional.into_iter().filter(|present| *present).count()
    }
}

/// From the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The process of this start runs.
    Forked {
        /// [`Fork::start`]
        start: u32,
        /// Its number.
        pid: i32,
    },
    /// It has ended, with this status as `waitpid` gives it.
    Ended {
        /// [`Fork::start`]
        start: u32,
        /// See `waitpid`.
        status: i32,
    },
    /// It could not be made; the reason was logged.
    Failed {
        /// [`Fork::start`]
        start: u32,
    },
    /// What was loaded is out of date: nothing is forked of it any more. Orders that were not carried out are for the
    /// next loader.
    Stale,
}

/// Encodes a message.
///
/// # Errors
/// Never for the messages above.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Malformed> {
    match postcard::to_extend(message, Vec::new()) {
        Ok(bytes) if bytes.len() <= MAX_MESSAGE => Ok(bytes),
        _ => malformed("loader message"),
    }
}

/// Decodes a packet.
///
/// # Errors
/// When it is no message.
pub fn decode<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(packet) {
        Ok((message, [])) => Ok(message),
        _ => malformed("loader message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_message_fits() {
        let fork = Fork {
            place: u32::MAX,
            start: u32::MAX,
            delay: u64::MAX,
            predecessor: true,
            scripts: true,
            inherited_scripts: true,
        };
        assert_eq!(fork.descriptors(), MAX_DESCRIPTORS);
        let bytes = encode(&Order::Fork(fork)).expect("small");
        assert_eq!(decode(&bytes), Ok(Order::Fork(fork)));
        assert!(decode::<Order>(&bytes[1..]).is_err() && decode::<Order>(&[bytes, vec![0]].concat()).is_err());
        let report = Report::Ended { start: u32::MAX, status: i32::MIN };
        assert_eq!(decode(&encode(&report).expect("small")), Ok(report));
    }

    #[test]
    fn every_version_understands_that_it_is_to_end() {
        // Another version of the module may have to end this one's processes.
        assert_eq!(encode(&Order::Retire).expect("small"), [2]);
        assert_eq!(crate::launch::LEAVE, b'L');
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..MAX_MESSAGE)) {
            let _ = decode::<Order>(&packet);
            let _ = decode::<Report>(&packet);
        }
    }
}
