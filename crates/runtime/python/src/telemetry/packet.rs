//! One datagram: a header and fields, little-endian.

use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes of a datagram.
pub(crate) const MOST: usize = 8192;

const HEADER: usize = 24;

/// Where the datagram's number stands.
const SEQUENCE: usize = 12;

/// What a datagram is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Request = 2,
    SlowRequest = 4,
    Started = 5,
    Stopping = 6,
    Stopped = 7,
    GcSnapshot = 8,
    GcEvent = 9,
}

/// A datagram being made. A field that does not fit is left out.
pub(crate) struct Packet(Vec<u8>);

impl Packet {
    /// One without fields.
    pub(crate) fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(MOST);
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        bytes.extend_from_slice(b"WSGI");
        bytes.extend_from_slice(&[1, kind as u8]);
        bytes.extend_from_slice(&0u16.to_le_bytes());
        bytes.extend_from_slice(&std::process::id().to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&stamp.to_le_bytes());
        Self(bytes)
    }

    fn begin(&mut self, id: u16, kind: u8, size: usize) -> bool {
        if self.0.len() + 3 + size > MOST {
            return false;
        }
        self.0.extend_from_slice(&id.to_le_bytes());
        self.0.push(kind);
        true
    }

    /// A count.
    pub(crate) fn count(&mut self, id: u16, value: u64) {
        if self.begin(id, 1, 8) {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A number, mostly of seconds.
    pub(crate) fn number(&mut self, id: u16, value: f64) {
        if self.begin(id, 2, 8) {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A text; an empty one is left out.
    pub(crate) fn text(&mut self, id: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        if !value.is_empty() && value.len() == usize::from(length) && self.begin(id, 4, 2 + value.len()) {
            self.0.extend_from_slice(&length.to_le_bytes());
            self.0.extend_from_slice(value);
        }
    }

    /// Whole numbers of four bytes; their count stands before them.
    pub(crate) fn integers(&mut self, id: u16, values: impl ExactSizeIterator<Item = i32>) {
        let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
        if values.len() == usize::from(count) && self.begin(id, 5, 2 + 4 * values.len()) {
            self.0.extend_from_slice(&count.to_le_bytes());
            for value in values {
                self.0.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Numbers; their count stands before them.
    pub(crate) fn numbers(&mut self, id: u16, values: impl ExactSizeIterator<Item = f64>) {
        let count = u16::try_from(values.len()).unwrap_or(u16::MAX);
        if values.len() == usize::from(count) && self.begin(id, 6, 2 + 8 * values.len()) {
            self.0.extend_from_slice(&count.to_le_bytes());
            for value in values {
                self.0.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Numbers the datagram, when it is sent.
    pub(crate) fn number_as(&mut self, sequence: u32) {
        self.0[SEQUENCE..SEQUENCE + 4].copy_from_slice(&sequence.to_le_bytes());
    }

    /// The whole datagram.
    pub(crate) fn bytes(&self) -> &[u8] {
        debug_assert!(self.0.len() >= HEADER);
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: rule:telemetry/header, rule:telemetry/types
    #[test]
    fn a_datagram_is_laid_out_as_the_format_says() {
        let mut packet = Packet::new(Kind::GcEvent);
        packet.number_as(0x0102);
        packet.count(322, 2);
        packet.number(321, 0.5);
        packet.text(5, b"vm");
        packet.text(6, b"");
        packet.integers(90, [1, -1].into_iter());
        packet.numbers(111, [0.25].into_iter());
        let bytes = packet.bytes();
        assert_eq!(bytes[..8], *b"WSGI\x01\x09\x00\x00");
        assert_eq!(bytes[8..12], std::process::id().to_le_bytes());
        assert_eq!(bytes[12..16], [2, 1, 0, 0]);
        let stamp = f64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
        assert!(stamp > 1.6e9, "{stamp}");
        let mut expected = vec![0x42, 0x01, 1, 2, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0x41, 0x01, 2]);
        expected.extend(0.5f64.to_le_bytes());
        expected.extend([5, 0, 4, 2, 0, b'v', b'm']);
        expected.extend([90, 0, 5, 2, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        expected.extend([111, 0, 6, 1, 0]);
        expected.extend(0.25f64.to_le_bytes());
        assert_eq!(bytes[24..], expected);
    }

    // Covers: rule:telemetry/size
    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut packet = Packet::new(Kind::Request);
        packet.numbers(111, vec![0.0; 900].into_iter());
        let full = packet.bytes().len();
        packet.numbers(112, vec![0.0; 900].into_iter());
        assert_eq!(packet.bytes().len(), full);
        packet.count(20, 1);
        assert!(packet.bytes().len() == full + 11 && packet.bytes().len() <= MOST);
    }
}
