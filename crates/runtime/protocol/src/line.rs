//! A log record of a daemon that belongs to no request: one packet on the socket to the server's log writer.

use crate::abi::{Bytes, Record};
use crate::wire::{Malformed, Reader};

/// The most bytes of a packet; longer texts are cut.
pub const MAX_LINE: usize = 16 * 1024;

/// The process and thread that a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The process.
    pub pid: u32,
    /// The kernel's number of the thread.
    pub tid: u32,
}

/// Makes the packet of a record.
#[must_use]
pub fn encode(origin: Origin, record: &Record<'_>) -> Vec<u8> {
    let file = record.file.or_empty();
    let file = &file[..file.len().min(1024)];
    let text = record.text.or_empty();
    let text = &text[..text.len().min(MAX_LINE - file.len() - 16)];
    let mut out = Vec::with_capacity(16 + file.len() + text.len());
    out.extend_from_slice(&origin.pid.to_le_bytes());
    out.extend_from_slice(&origin.tid.to_le_bytes());
    out.push(record.packed_level());
    out.extend_from_slice(&record.line.to_le_bytes());
    out.extend_from_slice(&u16::try_from(file.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(file);
    out.extend_from_slice(text);
    out
}

/// Reads a packet.
///
/// # Errors
/// When it does not follow the format.
pub fn decode(packet: &[u8]) -> Result<(Origin, Record<'_>), Malformed> {
    let mut reader = Reader::new(packet);
    let origin = Origin { pid: reader.u32("log process")?, tid: reader.u32("log thread")? };
    let (level, json) = Record::unpack_level(reader.u8("log level")?);
    let line = reader.u32("log line")?;
    let file = Bytes::new(reader.short("log file")?);
    Ok((origin, Record { level, line, file, text: Bytes::new(reader.rest()), json }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_text_is_cut() {
        let text = vec![b'x'; 3 * MAX_LINE];
        let record = Record { level: 3, line: 0, file: Bytes::NONE, text: Bytes::new(&text), json: 1 };
        let packet = encode(Origin { pid: 1, tid: 2 }, &record);
        assert!(packet.len() <= MAX_LINE);
        assert!(decode(&packet).is_ok());
    }

    proptest! {
        #[test]
        fn a_line_survives(pid: u32, tid: u32, level in 0u8..9, json in 0u8..2, line: u32, file in "[a-z/.]{0,40}", text in ".{0,80}") {
            let record = Record { level, line, file: Bytes::new(file.as_bytes()), text: Bytes::new(text.as_bytes()), json };
            let packet = encode(Origin { pid, tid }, &record);
            let (origin, read) = decode(&packet).expect("own output is read");
            prop_assert_eq!(origin, Origin { pid, tid });
            prop_assert_eq!((read.level, read.json, read.line), (level, json, line));
            prop_assert_eq!(read.file.get(), Some(file.as_bytes()));
            prop_assert_eq!(read.text.get(), Some(text.as_bytes()));
        }

        #[test]
        fn anything_is_read_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&packet);
        }
    }
}
