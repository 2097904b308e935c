//! The http step.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::Value as Json;

use super::stage::Stage;
use super::wire::{Connection, Limit, Reader, Response, WireError};
use super::{Produced, bytes_value, coding, json_value, text_of};
use crate::runner::outcome::FailureKind;
use crate::scenario::Value;
use crate::scenario::schema::{self, Connection as Choice, Http, Listener, Multipart, Part, Payload};

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// Between the parts of a form with files. Fixed, so that requests are the same in every run.
const BOUNDARY: &str = "----harness-7MA4YWxkTrZu0gW";

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
    body: Option<Vec<u8>>,
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
    let curl = curl(&request, stage);
    let use_cookies = step.cookies.unwrap_or(true);
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
    produced.curl = Some(curl);
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
        Payload::Text(text) => (Some(text.as_bytes().to_vec()), None),
        Payload::Bytes(size) => (Some(filler(size.0)?), Some("application/octet-stream".to_owned())),
        Payload::Json(json) => (Some(json.to_string().into_bytes()), Some("application/json".to_owned())),
        Payload::File(path) => (Some(read(stage, path)?), Some("application/octet-stream".to_owned())),
        Payload::Form(fields) => {
            (Some(encode_pairs(fields.iter()).into_bytes()), Some("application/x-www-form-urlencoded".to_owned()))
        }
        Payload::Multipart(fields) => {
            (Some(multipart(fields, stage)?), Some(format!("multipart/form-data; boundary={BOUNDARY}")))
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

fn read(stage: &Stage, path: &str) -> Result<Vec<u8>, String> {
    let path = stage.path(path);
    fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// A body of so many bytes.
fn filler(size: u64) -> Result<Vec<u8>, String> {
    let size = usize::try_from(size).map_err(|_| "the body is too large".to_owned())?;
    Ok((0..size).map(|index| b"0123456789abcdef"[index % 16]).collect())
}

fn multipart(fields: &Multipart, stage: &Stage) -> Result<Vec<u8>, String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    let mut body = Vec::new();
    for (name, part) in fields {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(name)).as_bytes(),
        );
        match part {
            Part::Text(text) => {
                body.extend_from_slice(b"\r\n\r\n");
                body.extend_from_slice(text.as_bytes());
            }
            Part::File(upload) => {
                let media_type = upload.media_type.as_deref().unwrap_or("application/octet-stream");
                body.extend_from_slice(
                    format!("; filename=\"{}\"\r\nContent-Type: {media_type}\r\n\r\n", quoted(&upload.file)).as_bytes(),
                );
                match (&upload.content, upload.bytes) {
                    (Some(content), _) => body.extend_from_slice(content.as_bytes()),
                    (None, Some(size)) => body.extend_from_slice(&filler(size.0)?),
                    (None, None) => body.extend_from_slice(&read(stage, &upload.file)?),
                }
            }
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    Ok(body)
}

/// The bytes of a request.
fn bytes(request: &Request, cookies: Option<&str>) -> Vec<u8> {
    let given = |name: &str| request.headers.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    let mut field = |name: &str, value: &str| {
        let _ = write!(head, "{name}: {value}\r\n");
    };
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
        Some(body) => field("Content-Length", &body.len().to_string()),
        None if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") => field("Content-Length", "0"),
        None => {}
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    match &request.body {
        Some(body) if request.chunked => {
            for chunk in body.chunks(8192) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Some(body) => bytes.extend_from_slice(body),
        None => {}
    }
    bytes
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
    let cookies =
        use_cookies.then(|| stage.cookies.field(&request.target, request.listener == Listener::Https)).flatten();
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
        connection.send(&bytes(request, cookies));
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

/// A command line that repeats the request.
fn curl(request: &Request, stage: &Stage) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut line = "curl -i".to_owned();
    if request.listener == Listener::Https {
        line.push_str(" -k");
    }
    if request.method != "GET" {
        let _ = write!(line, " -X {}", request.method);
    }
    for (name, value) in &request.headers {
        let _ = write!(line, " -H {}", quote(&format!("{name}: {value}")));
    }
    if !request.host.starts_with("localhost:") {
        let _ = write!(line, " -H {}", quote(&format!("Host: {}", request.host)));
    }
    match &request.body {
        Some(body) if body.len() <= 512 => {
            let _ = write!(line, " --data-binary {}", quote(&String::from_utf8_lossy(body)));
        }
        Some(body) => {
            let _ = write!(line, " --data-binary @- # {} bytes", body.len());
        }
        None => {}
    }
    let scheme = if request.listener == Listener::Https { "https" } else { "http" };
    let address =
        address(stage, request.listener, request.port).map_or_else(|_| String::new(), |address| address.to_string());
    let _ = write!(line, " {}", quote(&format!("{scheme}://{address}{}", request.target)));
    line
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
        asked.body = Some(b"abc".to_vec());
        assert_eq!(
            String::from_utf8(bytes(&asked, Some("a=b"))).unwrap(),
            "POST /x HTTP/1.1\r\nHost: localhost:1\r\nX-ODD-case: 1\r\nX-ODD-case: 2\r\nuser-agent: me\r\nCookie: a=b\r\nContent-Length: 3\r\n\r\nabc"
        );
        asked.chunked = true;
        assert!(bytes(&asked, None).ends_with(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
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
        asked.body = Some(Vec::new());
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
