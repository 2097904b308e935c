//! The raw step.

use regex::bytes::Regex;

use super::stage::Stage;
use super::wire::{Connection, Limit, Reader, Response, WireError};
use super::{Produced, bytes_value, coding, json_value};
use crate::runner::outcome::FailureKind;
use crate::scenario::Value;
use crate::scenario::schema::{Bytes, Exchange, Expected, Listener, Raw, RawEnd};

/// What a connection of the step has seen.
#[derive(Default)]
struct Dialogue {
    received: Vec<u8>,
    /// Up to where `expect` and `read` have looked.
    seen: usize,
    closed: bool,
    reset: bool,
}

/// Sends and expects bytes.
pub(super) fn run(step: &Raw, stage: &Stage, limit: Limit<'_>) -> Produced {
    let limit = step.timeout.map_or(limit, |timeout| limit.at_most(timeout.into()));
    let mut dialogue = Dialogue::default();
    let error = converse(step, stage, limit, &mut dialogue).err();
    let mut produced = produce(step, &dialogue);
    if let Some((pointer, error)) = error {
        produced.fail_at(FailureKind::Step, &pointer, error);
    }
    produced
}

/// Carries out the exchange; an error comes with its place below the step.
fn converse(step: &Raw, stage: &Stage, limit: Limit<'_>, dialogue: &mut Dialogue) -> Result<(), (String, String)> {
    let at = |place: &str| {
        let place = place.to_owned();
        move |error: WireError| (place, error.to_string())
    };
    let address = super::http::address(stage, step.to, step.port).map_err(at("/to"))?;
    let tls = (step.to == Listener::Https).then_some("localhost");
    let mut connection = Some(Connection::open(address, tls, limit).map_err(at(""))?);
    if let Some(bytes) = &step.send {
        send(&mut connection, bytes, limit, dialogue).map_err(at("/send"))?;
    }
    for (index, exchange) in step.exchange.iter().enumerate() {
        let place = format!("/exchange/{index}");
        let here = at(&place);
        match exchange {
            Exchange::Send(bytes) => send(&mut connection, bytes, limit, dialogue).map_err(here)?,
            Exchange::Pause(length) => limit.pause((*length).into()).map_err(here)?,
            Exchange::Expect(pattern) => {
                expect(&mut connection, pattern, limit, dialogue).map_err(|error| (place, error))?
            }
            Exchange::Read(expected) => {
                read(&mut connection, *expected, limit, dialogue).map_err(|error| (place, error))?
            }
            Exchange::End(end) => match (end, connection.take()) {
                (_, None) => return Err((place, "the connection has been closed already".to_owned())),
                (RawEnd::Close, Some(_)) => {}
                (RawEnd::Reset, Some(connection)) => connection.reset().map_err(here)?,
                (RawEnd::HalfClose, Some(mut open)) => {
                    open.half_close(limit).map_err(here)?;
                    connection = Some(open);
                }
            },
        }
    }
    if step.exchange.is_empty() {
        read(&mut connection, Expected::End, limit, dialogue).map_err(|error| (String::new(), error))?;
    }
    if let Some(connection) = &mut connection {
        connection.look();
        drain(connection, dialogue);
    }
    Ok(())
}

fn drain(connection: &mut Connection, dialogue: &mut Dialogue) {
    dialogue.received.append(connection.incoming());
    dialogue.closed = connection.is_closed();
    dialogue.reset = connection.is_reset();
}

fn send(
    connection: &mut Option<Connection>,
    bytes: &Bytes,
    limit: Limit<'_>,
    dialogue: &mut Dialogue,
) -> Result<(), WireError> {
    let Some(connection) = connection else {
        return Err(WireError::System("the connection has been closed".to_owned()));
    };
    match bytes.drip() {
        None => {
            connection.send_from(bytes.reader());
            connection.flush(limit)?;
        }
        Some(pause) => {
            for byte in bytes.to_bytes() {
                connection.send(&[byte]);
                connection.flush(limit)?;
                // A server that has given up on a slow client has closed; there is no use in going on.
                if connection.look() {
                    break;
                }
                limit.pause(pause.into())?;
            }
        }
    }
    drain(connection, dialogue);
    Ok(())
}

/// Reads until what came since the last look matches.
fn expect(
    connection: &mut Option<Connection>,
    pattern: &str,
    limit: Limit<'_>,
    dialogue: &mut Dialogue,
) -> Result<(), String> {
    let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
    loop {
        if let Some(found) = pattern.find(&dialogue.received[dialogue.seen..]) {
            dialogue.seen += found.end();
            return Ok(());
        }
        let since = || String::from_utf8_lossy(&dialogue.received[dialogue.seen..]).into_owned();
        let Some(open) = connection.as_mut().filter(|open| !open.is_closed()) else {
            return Err(format!("nothing matched before the connection closed; received {:?}", since()));
        };
        open.pump(limit).map_err(|error| format!("{error} before anything matched; received {:?}", since()))?;
        drain(open, dialogue);
    }
}

fn read(
    connection: &mut Option<Connection>,
    expected: Expected,
    limit: Limit<'_>,
    dialogue: &mut Dialogue,
) -> Result<(), String> {
    loop {
        let closed = connection.as_ref().is_none_or(Connection::is_closed);
        let fresh = &dialogue.received[dialogue.seen..];
        let taken = match expected {
            Expected::End => closed.then_some(fresh.len()),
            Expected::Bytes(size) => usize::try_from(size.0).ok().filter(|size| fresh.len() >= *size),
            Expected::Response => {
                let mut rest = fresh.to_vec();
                let mut reader = Reader::new("GET");
                reader.feed(&mut rest, closed).map_err(|error| error.to_string())?;
                reader.is_done().then(|| fresh.len() - rest.len())
            }
        };
        if let Some(taken) = taken {
            dialogue.seen += taken;
            return Ok(());
        }
        let Some(open) = connection.as_mut().filter(|_| !closed) else {
            return Err(format!("the connection closed early; received {:?}", String::from_utf8_lossy(fresh)));
        };
        open.pump(limit).map_err(|error| {
            format!("{error}; received {:?}", String::from_utf8_lossy(&dialogue.received[dialogue.seen..]))
        })?;
        drain(open, dialogue);
    }
}

/// Every response in what was received.
fn responses(step: &Raw, received: &[u8], closed: bool) -> (Vec<u16>, Option<Response>) {
    let head = first_bytes(step).is_some_and(|bytes| bytes.starts_with(b"HEAD "));
    let mut rest = received.to_vec();
    let mut statuses = Vec::new();
    let mut first = None;
    while !rest.is_empty() {
        let mut reader = Reader::new(if head { "HEAD" } else { "GET" });
        // What is no HTTP after all is in `received` for those who look for it.
        let malformed = reader.feed(&mut rest, closed).is_err();
        statuses.extend_from_slice(reader.interim());
        let done = reader.is_done();
        if let Some(response) = reader.into_response() {
            statuses.push(response.status);
            first.get_or_insert(response);
        }
        if malformed || !done {
            break;
        }
    }
    (statuses, first)
}

/// What is sent first.
fn first_bytes(step: &Raw) -> Option<&Bytes> {
    let exchanged = || {
        step.exchange.iter().find_map(|exchange| match exchange {
            Exchange::Send(bytes) => Some(bytes),
            _ => None,
        })
    };
    step.send.as_ref().or_else(exchanged)
}

fn produce(step: &Raw, dialogue: &Dialogue) -> Produced {
    let (statuses, first) = responses(step, &dialogue.received, dialogue.closed);
    let nothing = Response::default();
    let shown = first.as_ref().unwrap_or(&nothing);
    Produced::with([
        ("received", bytes_value(&dialogue.received)),
        ("bytes", dialogue.received.len().into()),
        ("closed", dialogue.closed.into()),
        ("reset", dialogue.reset.into()),
        ("status", first.as_ref().map(|response| i64::from(response.status)).into()),
        ("statuses", Value::List(statuses.into_iter().map(Value::from).collect())),
        ("header", super::http::header_map(&shown.headers)),
        ("body", bytes_value(&coding::decoded(shown))),
        ("json", json_value(&coding::decoded(shown))),
        ("complete", first.as_ref().is_some_and(|response| response.complete).into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_responses_of_a_pipeline_are_found() {
        let step = Raw::default();
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
        let (statuses, first) = responses(&step, text, true);
        assert_eq!(statuses, [100, 200, 404]);
        assert_eq!(first.unwrap().body, b"ok");
        let (statuses, first) = responses(&step, b"garbage\r\n\r\n", true);
        assert!(statuses.is_empty() && first.is_none());
    }
}
