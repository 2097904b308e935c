//! The http step.

mod body;
mod curl;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::Value as Json;

use body::{BOUNDARY, Body};

use super::stage::Stage;
use super::wire::{Connection, Limit, Reader, Response, Source, WireError};
use super::{Produced, bytes_value, coding, json_value, text_of};
use crate::runner::outcome::FailureKind;
use crate::scenario::Value;
use crate::scenario::schema::{self, Connection as Choice, Http, Listener, Payload};

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// Connections that are kept between steps, by name and by where they lead.
#[derive(Debug, Default)]
pub struct KeptConnections(Mutex<HashMap<(String, SocketAddr), Connection>>);

impl KeptConnections {
    fn take(&self, name: &str, address: SocketAddr) -> Option<Connection> {
        self.0.lock().ok()?.remove(&(name.to_owned(), address))
    }

    fn keep(&self, name: &str, address: SocketAddr, connection: Connection) {
        if let Ok(mut connections) = self.0.lock() {
            connections.insert((name.to_owned(), address), connection);
        }
    }
}

/// A request, ready to be sent.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    listener: Listener,
    port: Option<u16>,
    host: String,
    headers: Vec<(String, String)>,
    body: Option<Body>,
    chunked: bool,
}

/// What came of sending one.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) response: Option<Response>,
    first_byte: Option<std::time::Duration>,
    pub(super) retried: u32,
    pub(super) error: Option<WireError>,
}

/// Sends a request and takes the answer.
pub(super) fn run(step: &Http, stage: &Stage, limit: Limit<'_>, opened: Option<Connection>) -> Produced {
    let limit = step.timeout.map_or(limit, |timeout| limit.at_most(timeout.into()));
    let mut request = match prepare(step, stage) {
        Ok(request) => request,
        Err(error) => return Produced::failed(FailureKind::Step, error),
    };
    let use_cookies = step.cookies.unwrap_or(true);
    let curl = address(stage, request.listener, request.port).ok().map(|address| {
        let cookies = use_cookies.then(|| cookies_for(&request, stage)).flatten();
        curl::line(&request, address, cookies.as_deref())
    });
    let mut opened = opened;
    let mut redirects = 0;
    let mut exchange;
    loop {
        exchange = send(&request, step, stage, limit, opened.take(), use_cookies);
        let Some(response) = &exchange.response else { break };
        if use_cookies {
            for field in response.values("set-cookie") {
                stage.cookies.store(field, &request.target);
            }
        }
        let location = response
            .header("location")
            .filter(|_| step.follow && matches!(response.status, 301 | 302 | 303 | 307 | 308));
        let Some(location) = location.filter(|_| redirects < MOST_REDIRECTS && exchange.error.is_none()) else { break };
        redirects += 1;
        redirect(&mut request, response.status, &location);
    }
    let mut produced = produce(&exchange, &request);
    produced.curl = curl;
    produced
}

/// Opens the connection of a step before its time, for clients that start together.
pub(super) fn open(step: &Http, stage: &Stage, limit: Limit<'_>) -> Option<Connection> {
    matches!(step.connection, Choice::Fresh).then(|| connect(stage, step.to, step.port, limit).ok())?
}

/// Where a request goes.
pub(super) fn address(stage: &Stage, listener: Listener, port: Option<u16>) -> Result<SocketAddr, WireError> {
    let address = match port {
        Some(port) => stage.address(Listener::Http).map(|address| SocketAddr::new(address.ip(), port)),
        None => stage.address(listener),
    };
    address.ok_or_else(|| WireError::System("the server has no port for https".to_owned()))
}

fn connect(stage: &Stage, listener: Listener, port: Option<u16>, limit: Limit<'_>) -> Result<Connection, WireError> {
    let address = address(stage, listener, port)?;
    Connection::open(address, (listener == Listener::Https).then_some("localhost"), limit)
}

/// Makes the request that a step describes.
pub(super) fn prepare(step: &Http, stage: &Stage) -> Result<Request, String> {
    let schema::Method { method, path } = step.target();
    let mut target = escape(path);
    if !step.query.is_empty() {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&encode_pairs(step.query.iter()));
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, values) in &step.headers {
        for value in values.as_slice() {
            if name.is_empty() || name.bytes().chain(value.bytes()).any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return Err(format!(
                    "the header field {name:?} cannot be sent in a well-formed request; use a raw step"
                ));
            }
            headers.push((name.clone(), value.clone()));
        }
    }
    let (body, media_type) = match step.payload() {
        Payload::None => (None, None),
        Payload::Text(text) => (Some(Body::text(text.as_bytes())), None),
        Payload::Bytes(size) => (Some(Body::filler(size.0)), Some("application/octet-stream".to_owned())),
        Payload::Json(json) => (Some(Body::text(json.to_string())), Some("application/json".to_owned())),
        Payload::File(path) => (Some(Body::file(&stage.path(path))?), Some("application/octet-stream".to_owned())),
        Payload::Form(fields) => {
            (Some(Body::text(encode_pairs(fields.iter()))), Some("application/x-www-form-urlencoded".to_owned()))
        }
        Payload::Multipart(fields) => {
            (Some(Body::multipart(fields, stage)?), Some(format!("multipart/form-data; boundary={BOUNDARY}")))
        }
    };
    if let Some(media_type) =
        media_type.filter(|_| !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")))
    {
        headers.push(("Content-Type".to_owned(), media_type));
    }
    let port = address(stage, step.to, step.port).map_or(0, |address| address.port());
    let host = step.host.clone().unwrap_or_else(|| format!("localhost:{port}"));
    let (method, listener, chunked) = (method.to_owned(), step.to, step.chunked);
    Ok(Request { method, target, listener, port: step.port, host, headers, body, chunked })
}

/// The header fields of a request, in the order in which they are sent.
fn fields(request: &Request, cookies: Option<&str>) -> Vec<(String, String)> {
    let given = |name: &str| request.headers.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
    let mut fields = Vec::new();
    let mut field = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    if !given("host") {
        field("Host", &request.host);
    }
    if !given("user-agent") {
        field("User-Agent", concat!("harness/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in &request.headers {
        field(name, value);
    }
    if let Some(cookies) = cookies.filter(|_| !given("cookie")) {
        field("Cookie", cookies);
    }
    match &request.body {
        _ if given("content-length") || given("transfer-encoding") => {}
        Some(_) if request.chunked => field("Transfer-Encoding", "chunked"),
        Some(body) => field("Content-Length", &body.length().to_string()),
        None if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") => field("Content-Length", "0"),
        None => {}
    }
    fields
}

/// The bytes of a request.
fn message(request: &Request, cookies: Option<&str>) -> std::io::Result<Source> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in fields(request, cookies) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    let head = std::io::Cursor::new(head.into_bytes());
    Ok(match &request.body {
        Some(body) if request.chunked => Box::new(head.chain(body.chunks()?)),
        Some(body) => Box::new(head.chain(body.reader()?)),
        None => Box::new(head),
    })
}

/// The cookies that go with a request.
fn cookies_for(request: &Request, stage: &Stage) -> Option<String> {
    stage.cookies.field(&request.target, request.listener == Listener::Https)
}

/// Sends a request over the connection that the step chooses. A kept one that the server closed before any byte of an answer
/// is replaced once: httpd itself closes idle connections on graceful restarts.
fn send(
    request: &Request,
    step: &Http,
    stage: &Stage,
    limit: Limit<'_>,
    opened: Option<Connection>,
    use_cookies: bool,
) -> Exchange {
    let place = address(stage, request.listener, request.port).ok();
    let kept = match (&step.connection, place) {
        (Choice::Kept(name), Some(place)) => stage.connections.take(name, place),
        _ => None,
    };
    let cookies = use_cookies.then(|| cookies_for(request, stage)).flatten();
    let (exchange, left) = exchange(request, kept, opened, cookies.as_deref(), stage, limit);
    if let (Choice::Kept(name), Some(place), Some(connection)) = (&step.connection, place, left) {
        stage.connections.keep(name, place, connection);
    }
    exchange
}

/// Sends a request over a kept connection, an opened one or one of its own; gives back the connection if the server keeps it.
pub(super) fn exchange(
    request: &Request,
    kept: Option<Connection>,
    opened: Option<Connection>,
    cookies: Option<&str>,
    stage: &Stage,
    limit: Limit<'_>,
) -> (Exchange, Option<Connection>) {
    let mut exchange = Exchange::default();
    let mut reused = kept.is_some();
    let mut ready = kept.or(opened);
    loop {
        let opened = ready.take().map_or_else(|| connect(stage, request.listener, request.port, limit), Ok);
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => return (Exchange { error: Some(error), ..exchange }, None),
        };
        let started = std::time::Instant::now();
        connection.expect_first_byte();
        match message(request, cookies) {
            Ok(message) => connection.send_from(message),
            Err(error) => return (Exchange { error: Some(WireError::System(error.to_string())), ..exchange }, None),
        }
        let mut reader = Reader::new(&request.method);
        let outcome = reader.read(&mut connection, limit);
        if reused && connection.is_closed() && connection.first_byte().is_none() && outcome.is_ok() {
            exchange.retried += 1;
            reused = false;
            continue;
        }
        exchange.first_byte = connection.first_byte().map(|instant| instant.saturating_duration_since(started));
        exchange.error = outcome.err().or_else(|| {
            let text = match (reader.is_done(), reader.response().is_some(), connection.is_reset()) {
                (true, ..) => return None,
                (false, true, _) => "the connection closed in the middle of the body",
                (false, false, true) => "the connection was reset without an answer",
                (false, false, false) => "the connection closed without an answer",
            };
            Some(WireError::System(text.to_owned()))
        });
        let keeps =
            reader.is_done() && reader.response().is_some_and(|response| response.keeps) && !connection.is_closed();
        exchange.response = reader.into_response();
        return (exchange, keeps.then_some(connection));
    }
}

/// Turns a request into the one that a redirect asks for.
fn redirect(request: &mut Request, status: u16, location: &str) {
    let absolute = [("http://", Listener::Http), ("https://", Listener::Https)]
        .into_iter()
        .find_map(|(scheme, listener)| location.strip_prefix(scheme).map(|rest| (rest, listener)));
    if let Some((rest, listener)) = absolute {
        let (host, path) = rest.find('/').map_or((rest, "/"), |start| rest.split_at(start));
        request.listener = listener;
        request.host = host.to_owned();
        request.target = path.to_owned();
    } else if location.starts_with('/') {
        request.target = location.to_owned();
    } else {
        let folder = request
            .target
            .split('?')
            .next()
            .and_then(|path| path.rfind('/').map(|end| &path[..=end]))
            .unwrap_or("/")
            .to_owned();
        request.target = folder + location;
    }
    if status == 303 || (matches!(status, 301 | 302) && request.method == "POST") {
        request.method = "GET".to_owned();
        request.body = None;
        request.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
}

fn produce(exchange: &Exchange, request: &Request) -> Produced {
    let nothing = Response::default();
    let response = exchange.response.as_ref();
    let shown = response.unwrap_or(&nothing);
    let mut produced = Produced::with([
        ("status", response.map(|response| i64::from(response.status)).into()),
        ("reason", response.map(|response| response.reason.clone()).into()),
        ("header", header_map(&shown.headers)),
        (
            "headers",
            Value::List(
                shown
                    .headers
                    .iter()
                    .map(|(name, value)| {
                        Value::record([("name", name.as_str().into()), ("value", value.as_str().into())])
                    })
                    .collect(),
            ),
        ),
        ("body", bytes_value(&coding::decoded(shown))),
        ("bytes", shown.body.len().into()),
        ("json", json_value(&coding::decoded(shown))),
        ("first-byte", exchange.first_byte.into()),
        ("complete", response.is_some_and(|response| response.complete).into()),
        ("retried", exchange.retried.into()),
    ]);
    if let Some(error) = &exchange.error {
        produced.fail(FailureKind::Step, format!("{} {}: {error}", request.method, request.target));
    }
    produced
}

/// Header fields by lower-case name.
pub(super) fn header_map(headers: &[(String, String)]) -> Value {
    let mut map: indexmap::IndexMap<String, Value> = indexmap::IndexMap::new();
    for (name, value) in headers {
        let entry = map.entry(name.to_ascii_lowercase()).or_insert_with(|| Value::Text(String::new()));
        if let Value::Text(text) = entry {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(value);
        }
    }
    Value::Map(map)
}

/// Escapes what a request line cannot carry; what is escaped already stays as it is.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte <= b' ' || byte >= 0x7f {
            let _ = write!(escaped, "%{byte:02X}");
        } else {
            escaped.push(char::from(byte));
        }
    }
    escaped
}

fn encode_pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let mut encoded = String::new();
    for (name, value) in pairs {
        let values = match value {
            Json::Array(values) => values.iter().collect(),
            other => vec![other],
        };
        for value in values {
            if !encoded.is_empty() {
                encoded.push('&');
            }
            encode(name, &mut encoded);
            encoded.push('=');
            encode(&text_of(value), &mut encoded);
        }
    }
    encoded
}

/// Percent-encoding of a form's names and values.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            b' ' => into.push('+'),
            _ => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str) -> Request {
        Request {
            method: method.into(),
            target: target.into(),
            port: None,
            listener: Listener::Http,
            host: "localhost:1".into(),
            headers: Vec::new(),
            body: None,
            chunked: false,
        }
    }

    #[test]
    fn the_bytes_are_those_that_were_asked_for() {
        let mut asked = request("POST", "/x");
        asked.headers = vec![
            ("X-ODD-case".into(), "1".into()),
            ("X-ODD-case".into(), "2".into()),
            ("user-agent".into(), "me".into()),
        ];
        asked.body = Some(Body::text("abc"));
        let sent = |request: &Request, cookies| {
            let mut text = String::new();
            message(request, cookies).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(
            sent(&asked, Some("a=b")),
            "POST /x HTTP/1.1\r\nHost: localhost:1\r\nX-ODD-case: 1\r\nX-ODD-case: 2\r\nuser-agent: me\r\nCookie: a=b\r\nContent-Length: 3\r\n\r\nabc"
        );
        asked.chunked = true;
        assert!(sent(&asked, None).ends_with("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    }

    #[test]
    fn paths_and_forms_are_encoded() {
        assert_eq!(escape("/a b/ü?x=%20"), "/a%20b/%C3%BC?x=%20");
        let fields: indexmap::IndexMap<String, Json> =
            serde_json::from_value(serde_json::json!({"a b": "1&2", "n": 7, "l": ["x", "y"]})).unwrap();
        assert_eq!(encode_pairs(fields.iter()), "a+b=1%262&n=7&l=x&l=y");
    }

    #[test]
    fn redirects_are_followed_as_browsers_do() {
        let mut asked = request("POST", "/a/login?x=1");
        asked.body = Some(Body::default());
        asked.headers = vec![("Content-Type".into(), "x".into()), ("X".into(), "y".into())];
        redirect(&mut asked, 302, "next");
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str(), asked.body.is_none(), asked.headers.len()),
            ("GET", "/a/next", true, 1)
        );
        redirect(&mut asked, 307, "https://example.com/z");
        assert_eq!(
            (asked.target.as_str(), asked.host.as_str(), asked.listener),
            ("/z", "example.com", Listener::Https)
        );
    }
}
