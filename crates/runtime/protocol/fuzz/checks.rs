//! What must hold for any bytes that another process sends: used by the fuzzers and by the test that runs their corpus.
//!
//! A check returns when the bytes are refused and panics when something that was read is wrong.

use wsgi_protocol::frame::{self, HEADER, Kind};
use wsgi_protocol::launch::{self, Daemon, Python};
use wsgi_protocol::request::{self, Storage};
use wsgi_protocol::{head, line};

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
