//! A response's status line and header fields.

use crate::abi::{Bytes, Field};
use crate::wire::{Malformed, Reader, malformed, put_long};

/// The most header fields of one response.
pub const MAX_FIELDS: usize = 10_000;

/// Header fields of one connection (hop-by-hop, RFC 9110 and PEP 3333): the server sets them, an application must not. The
/// server frames the body; a `Transfer-Encoding` of the application's would say that it is framed already.
pub const HOP_BY_HOP: [&str; 11] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Trailers",
    "Transfer-Encoding",
    "Upgrade",
];

/// Where a field stands in [`HOP_BY_HOP`].
#[must_use]
pub fn hop_by_hop(name: &[u8]) -> Option<usize> {
    HOP_BY_HOP.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Appends the payload of a head frame.
///
/// # Errors
/// When there are more than [`MAX_FIELDS`] fields.
pub fn encode(status: u16, line: &[u8], fields: &[Field<'_>], out: &mut Vec<u8>) -> Result<(), Malformed> {
    if fields.len() > MAX_FIELDS {
        return malformed("number of header fields");
    }
    out.extend_from_slice(&status.to_le_bytes());
    put_long(out, line);
    out.extend_from_slice(&u16::try_from(fields.len()).unwrap_or(u16::MAX).to_le_bytes());
    for field in fields {
        put_long(out, field.name.or_empty());
        put_long(out, field.value.or_empty());
    }
    Ok(())
}

/// Reads a head frame's payload; returns status and status line, and fills `fields`. That names and values may be sent
/// to a client (no control characters, no line breaks) is checked here too, as daemons are not trusted.
///
/// # Errors
/// When the payload does not follow the format or holds what must not be in a head.
pub fn decode<'a>(payload: &'a [u8], fields: &mut Vec<Field<'a>>) -> Result<(u16, &'a [u8]), Malformed> {
    fields.clear();
    let mut reader = Reader::new(payload);
    let status = reader.u16("status")?;
    // A client goes on waiting behind an informational status, and takes the body for its next answer.
    if !(200..=999).contains(&status) {
        return malformed("status");
    }
    let line = reader.long("status line")?;
    if line.iter().any(u8::is_ascii_control) {
        return malformed("status line");
    }
    let count = usize::from(reader.u16("number of header fields")?);
    if count > MAX_FIELDS {
        return malformed("number of header fields");
    }
    for _ in 0..count {
        let name = reader.long("header name")?;
        if name.is_empty() || name.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
            return malformed("header name");
        }
        let value = reader.long("header value")?;
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return malformed("header value");
        }
        fields.push(Field { name: Bytes::new(name), value: Bytes::new(value) });
    }
    reader.finish("head")?;
    Ok((status, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let field = Field { name: Bytes::new(name), value: Bytes::new(value) };
        encode(200, b"200 OK", &[field], &mut out).expect("it fits");
        out
    }

    #[test]
    fn a_head_survives_its_frame() {
        let payload = payload(b"Content-Type", b"text/plain");
        let mut fields = Vec::new();
        assert_eq!(decode(&payload, &mut fields), Ok((200, &b"200 OK"[..])));
        assert_eq!(fields[0].name.get(), Some(&b"Content-Type"[..]));
        assert_eq!(fields[0].value.get(), Some(&b"text/plain"[..]));
    }

    #[test]
    fn a_hostile_head_is_refused() {
        for (name, value) in [(&b"X"[..], &b"a\r\nSet-Cookie: b"[..]), (b"", b"x"), (b"A B", b"x"), (b"A\n", b"x")] {
            assert!(decode(&payload(name, value), &mut Vec::new()).is_err(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn a_status_is_that_of_an_answer() {
        for (status, answers) in [(99, false), (100, false), (101, false), (199, false), (200, true), (999, true)] {
            let mut out = Vec::new();
            encode(status, b"", &[], &mut out).expect("it fits");
            assert_eq!(decode(&out, &mut Vec::new()).is_ok(), answers, "{status}");
        }
    }

    #[test]
    fn fields_of_a_connection_are_known_in_any_case() {
        for name in ["transfer-encoding", "CONNECTION", "te", "Upgrade"] {
            assert!(hop_by_hop(name.as_bytes()).is_some(), "{name}");
        }
        // End to end, although they begin alike.
        for name in ["Proxy-Status", "Proxy-Support", "Upgrade-Insecure-Requests", "T", ""] {
            assert_eq!(hop_by_hop(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&payload, &mut Vec::new());
        }
    }
}
