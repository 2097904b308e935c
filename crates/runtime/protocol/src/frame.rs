//! Frames on the socket between an Apache child and a daemon process: `[version u8][kind u8][length u32 LE]` and the
//! payload.
//!
//! A worker that takes a request says so by the request's ticket on the status page, which costs no frame and outlives
//! the process; the frame is for requests whose ticket is one of another page.
//!
//! One connection carries one request at a time and is kept for the next. The exchange:
//!
//! ```text
//! child                                   daemon
//! Hello (secret of this server start)                      once, at the start of a connection
//! Request (facts, entries, small body) ─▶
//!                                      ◀─ Picked           over the overflow listener: process N has it
//!                                      ◀─ Accepted         process N serves it; before this it may go elsewhere
//!                                      ◀─ Pull             only when the application reads a body that is not included
//! Body | BodyFailed                    ─▶                  answers one Pull; an empty Body is the end of the body
//!                                      ◀─ Log              any time
//!                                      ◀─ Head, Data …     the response
//!                                      ◀─ End | Failure    closes the exchange; without it the response was cut short
//! ```

use crate::abi::{Bytes, Record};
use crate::wire::{Malformed, malformed};

/// The version that every frame begins with: an old Apache child may speak to a newer daemon.
pub const VERSION: u8 = 1;

/// The bytes before a payload.
pub const HEADER: usize = 6;

/// The most bytes of a request's or head's payload (mod_wsgi's own bound of its request block).
pub const MAX_BLOCK: usize = 16 * 1024 * 1024;

/// The most bytes of a body, data or log payload.
pub const MAX_CHUNK: usize = 64 * 1024;

/// A body of up to this many bytes travels in the request frame.
pub const INCLUDED_BODY: usize = 16 * 1024;

/// The secret that a connection begins with: made anew at every start of the server.
pub type Secret = [u8; 32];

/// What a frame is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Child → daemon: the [`Secret`].
    Hello = 1,
    /// Child → daemon: [`crate::request::encode`].
    Request = 2,
    /// Child → daemon: body bytes; empty at the body's end.
    Body = 3,
    /// Child → daemon: the body could not be read; the payload is the reason's text.
    BodyFailed = 4,
    /// Daemon → child: a worker thread has taken the request; the payload is the process's number (`u32`).
    Accepted = 16,
    /// Daemon → child: a worker thread has read the request, which came over the overflow listener; the payload is the
    /// process's number (`u32`). Whether it takes it is seen by the ticket.
    Picked = 20,
    /// Daemon → child: send more body, at most this many bytes (`u32`).
    Pull = 17,
    /// Daemon → child: [`crate::head::encode`].
    Head = 18,
    /// Daemon → child: body bytes of the response, which reach the client when nothing follows them soon.
    Data = 19,
    /// Daemon → child: a log record: level `u8`, line `u32`, file length `u16`, file, text.
    Log = 21,
    /// Daemon → child: the response is complete; one byte of flags ([`END_LAST`]).
    End = 22,
    /// Daemon → child: no response, or a cut one: [`FailureCode`] `u16`, flags `u8`, text.
    Failure = 23,
}

/// In [`Kind::End`] and [`Kind::Failure`]: the daemon leaves; use this connection no more.
pub const END_LAST: u8 = 1;

/// Why there is no complete response; the child decides on the status and logs.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    /// The engine has an HTTP error status for Apache to answer with; the text is the status in digits.
    Status = 1,
    /// The head was sent and the rest failed: abort the client's connection.
    Truncated = 2,
    /// The request waited longer than queue-timeout.
    QueueTimeout = 3,
    /// The process is leaving and did not take the request: give it to another.
    Rejected = 4,
    /// The request did not follow the protocol.
    Protocol = 5,
}

impl FailureCode {
    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::Status, Self::Truncated, Self::QueueTimeout, Self::Rejected, Self::Protocol]
            .into_iter()
            .find(|code| *code as u16 == number)
    }
}

const KINDS: [Kind; 12] = [
    Kind::Hello,
    Kind::Request,
    Kind::Body,
    Kind::BodyFailed,
    Kind::Accepted,
    Kind::Picked,
    Kind::Pull,
    Kind::Head,
    Kind::Data,
    Kind::Log,
    Kind::End,
    Kind::Failure,
];

impl Kind {
    /// The most bytes that the payload of this kind may have.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Self::Hello => size_of::<Secret>(),
            Self::Request | Self::Head => MAX_BLOCK,
            Self::Body | Self::BodyFailed | Self::Data | Self::Log | Self::Failure => MAX_CHUNK,
            Self::Accepted | Self::Picked | Self::Pull => 4,
            Self::End => 1,
        }
    }
}

/// Reads a frame's header: its kind and the length of its payload, which is within the kind's limit.
///
/// # Errors
/// On another version, an unknown kind, or a length over the limit.
pub fn header(bytes: [u8; HEADER]) -> Result<(Kind, usize), Malformed> {
    let [version, kind, length @ ..] = bytes;
    if version != VERSION {
        return malformed("frame version");
    }
    let Some(kind) = KINDS.into_iter().find(|known| *known as u8 == kind) else {
        return malformed("frame kind");
    };
    let length = u32::from_le_bytes(length) as usize;
    if length > kind.limit() {
        return malformed("frame length");
    }
    Ok((kind, length))
}

/// Begins a frame in `out`; its payload is appended to `out`, then [`finish`] sets the length.
pub fn begin(kind: Kind, out: &mut Vec<u8>) -> Open {
    let start = out.len();
    out.extend_from_slice(&[VERSION, kind as u8, 0, 0, 0, 0]);
    Open { start, kind }
}

/// A frame that [`begin`] began.
#[must_use = "the frame has no length before it is finished"]
pub struct Open {
    start: usize,
    kind: Kind,
}

/// Ends a frame that [`begin`] began in the same buffer.
///
/// # Errors
/// When the payload is over the kind's limit; the frame is then taken out of the buffer again.
pub fn finish(open: Open, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let length = out.len() - open.start - HEADER;
    let (true, Ok(number)) = (length <= open.kind.limit(), u32::try_from(length)) else {
        out.truncate(open.start);
        return malformed("frame length");
    };
    out[open.start + 2..open.start + HEADER].copy_from_slice(&number.to_le_bytes());
    Ok(())
}

/// Appends a whole frame.
///
/// # Errors
/// When the payload is over the kind's limit.
pub fn put(kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let open = begin(kind, out);
    out.extend_from_slice(payload);
    finish(open, out)
}

/// The header of a frame whose payload is written apart (`writev`).
///
/// # Errors
/// When `length` is over the kind's limit.
pub fn header_for(kind: Kind, length: usize) -> Result<[u8; HEADER], Malformed> {
    let (true, Ok(number)) = (length <= kind.limit(), u32::try_from(length)) else {
        return malformed("frame length");
    };
    let [a, b, c, d] = number.to_le_bytes();
    Ok([VERSION, kind as u8, a, b, c, d])
}

/// Appends a log frame; text and file are cut to what a frame holds.
pub fn put_log(record: &Record<'_>, out: &mut Vec<u8>) {
    let file = record.file.or_empty();
    let file = &file[..file.len().min(4096)];
    let text = record.text.or_empty();
    let text = &text[..text.len().min(MAX_CHUNK - file.len() - 7)];
    let open = begin(Kind::Log, out);
    out.push(record.packed_level());
    out.extend_from_slice(&record.line.to_le_bytes());
    out.extend_from_slice(&u16::try_from(file.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(file);
    out.extend_from_slice(text);
    // The lengths were cut above.
    let _ = finish(open, out);
}

/// Reads a log frame's payload.
///
/// # Errors
/// When the payload does not follow the format.
pub fn log(payload: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut reader = crate::wire::Reader::new(payload);
    let (level, json) = Record::unpack_level(reader.u8("log level")?);
    let line = reader.u32("log line")?;
    let file = Bytes::new(reader.short("log file")?);
    Ok(Record { level, line, file, text: Bytes::new(reader.rest()), json })
}

/// Appends a failure frame; the text is cut to what a frame holds.
pub fn put_failure(code: FailureCode, flags: u8, text: &[u8], out: &mut Vec<u8>) {
    let text = &text[..text.len().min(MAX_CHUNK - 3)];
    let open = begin(Kind::Failure, out);
    out.extend_from_slice(&(code as u16).to_le_bytes());
    out.push(flags);
    out.extend_from_slice(text);
    // The length was cut above.
    let _ = finish(open, out);
}

/// Reads the number that is the payload of [`Kind::Accepted`] and [`Kind::Pull`].
///
/// # Errors
/// When the payload is not one number.
pub fn number(payload: &[u8]) -> Result<u32, Malformed> {
    let mut reader = crate::wire::Reader::new(payload);
    let number = reader.u32("frame number")?;
    reader.finish("frame number")?;
    Ok(number)
}

/// Reads a failure frame's payload: code, flags, text.
///
/// # Errors
/// When the payload does not follow the format.
pub fn failure(payload: &[u8]) -> Result<(FailureCode, u8, &[u8]), Malformed> {
    let mut reader = crate::wire::Reader::new(payload);
    let Some(code) = FailureCode::from_number(reader.u16("failure code")?) else {
        return malformed("failure code");
    };
    let flags = reader.u8("failure flags")?;
    Ok((code, flags, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_read_back() {
        for kind in KINDS {
            let bytes = header_for(kind, kind.limit()).expect("at the limit");
            assert_eq!(header(bytes), Ok((kind, kind.limit())));
            assert!(header_for(kind, kind.limit() + 1).is_err(), "{kind:?} over its limit");
        }
    }

    #[test]
    fn a_frame_over_its_limit_leaves_the_buffer_alone() {
        let mut out = b"before".to_vec();
        assert!(put(Kind::Data, &vec![0; MAX_CHUNK + 1], &mut out).is_err());
        assert_eq!(out, b"before");
        assert!(put(Kind::Data, b"x", &mut out).is_ok());
        assert_eq!(out.len(), 6 + HEADER + 1);
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        assert!(header([VERSION + 1, 1, 0, 0, 0, 0]).is_err());
        assert!(header([VERSION, 99, 0, 0, 0, 0]).is_err());
        assert!(header([VERSION, Kind::Data as u8, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    proptest! {
        #[test]
        fn logs_and_failures_survive(level in 0u8..9, line: u32, file in "[a-z/.]{0,40}", text in ".{0,80}", flags: u8) {
            let mut out = Vec::new();
            let record = Record { level, line, file: Bytes::new(file.as_bytes()), text: Bytes::new(text.as_bytes()), json: 0 };
            put_log(&record, &mut out);
            let read = log(&out[HEADER..]).expect("own output is read");
            prop_assert_eq!((read.level, read.line), (level, line));
            prop_assert_eq!(read.file.get(), Some(file.as_bytes()));
            prop_assert_eq!(read.text.get(), Some(text.as_bytes()));
            out.clear();
            put_failure(FailureCode::Status, flags, text.as_bytes(), &mut out);
            prop_assert_eq!(failure(&out[HEADER..]), Ok((FailureCode::Status, flags, text.as_bytes())));
        }
    }
}
