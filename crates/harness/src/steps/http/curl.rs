//! A command line that repeats a request, byte for byte as far as curl lets it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::Request;
use super::body::{Body, FILLER, Piece};
use crate::scenario::schema::Listener;
use crate::shell::word;

/// The longest text of a body that is put into the line.
const LONGEST: usize = 4096;

/// The line, for a shell.
pub(super) fn line(request: &Request, address: SocketAddr, cookies: Option<&str>) -> String {
    let secure = request.listener == Listener::Https;
    let mut line = "curl -i -g --path-as-is --noproxy '*'".to_owned();
    match request.method.as_str() {
        // With -X curl waits for the body that a response to HEAD does not have.
        "HEAD" => line.push_str(" -I"),
        "GET" if request.body.is_none() => {}
        method => {
            let _ = write!(line, " -X {}", word(method));
        }
    }
    let fields = super::fields(request, cookies);
    for (name, value) in &fields {
        // curl makes these itself from the body.
        let own = name.eq_ignore_ascii_case("content-length") && request.body.is_some();
        if !own {
            // `X:` would take the field away.
            let field = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
            let _ = write!(line, " -H {}", word(&field));
        }
    }
    // What curl would add by itself.
    for name in ["Accept", "Content-Type", "Expect"] {
        let relevant = name == "Accept" || request.body.is_some();
        if relevant && !fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name)) {
            let _ = write!(line, " -H '{name}:'");
        }
    }
    let mut source = None;
    if let Some(body) = &request.body {
        match body.0.as_slice() {
            [] => line.push_str(" --data-binary ''"),
            [Piece::Text(text)] if plain(text) => {
                let _ = write!(line, " --data-binary {}", word(&String::from_utf8_lossy(text)));
            }
            _ => {
                source = Some(printed(body));
                line.push_str(" --data-binary @-");
            }
        }
    }
    if secure {
        // The name of the server is part of the TLS handshake.
        let port = address.port();
        let _ = write!(line, " -k --http1.1 --connect-to localhost:{port}:{address}");
        let _ = write!(line, " {}", word(&format!("https://localhost:{port}{}", request.target)));
    } else {
        let _ = write!(line, " {}", word(&format!("http://{address}{}", request.target)));
    }
    match source {
        Some(source) => format!("{source} | {line}"),
        None => line,
    }
}

/// Whether a body can stand in the line as it is. A leading `@` would name a file.
fn plain(text: &[u8]) -> bool {
    text.len() <= LONGEST
        && !text.starts_with(b"@")
        && std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(|c| c.is_control() && c != '\t'))
}

/// A command that prints a body.
fn printed(body: &Body) -> String {
    let commands: Vec<String> = body
        .0
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) if text.len() <= LONGEST => format!("printf -- '{}'", escaped(text)),
            Piece::Text(text) => format!(": {} bytes that are too long for this line", text.len()),
            Piece::Filler(size) => {
                format!("yes {} | tr -d '\\n' | head -c {size}", String::from_utf8_lossy(FILLER))
            }
            Piece::File(path, size) => format!("head -c {size} {}", word(&path.display().to_string())),
        })
        .collect();
    format!("{{ {}; }}", commands.join("; "))
}

/// Bytes for `printf`.
fn escaped(text: &[u8]) -> String {
    let mut escaped = String::new();
    for &byte in text {
        match byte {
            b'\r' => escaped.push_str("\\r"),
            b'\n' => escaped.push_str("\\n"),
            b'%' => escaped.push_str("%%"),
            b'\\' => escaped.push_str("\\\\"),
            b'\'' => escaped.push_str("'\\''"),
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "\\{byte:03o}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::steps::http::{self, Request};

    /// The request that comes over the next connection: its first line, its fields in order of their names, its body.
    fn received(listener: &TcpListener) -> (String, Vec<String>, Vec<u8>) {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            let count = stream.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..count]);
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let mut lines = head.split("\r\n").map(str::to_owned);
                let first = lines.next().unwrap();
                let mut fields: Vec<String> = lines.collect();
                // The names' case and blanks at the end mean nothing.
                for field in &mut fields {
                    let (name, value) = field.split_once(':').unwrap();
                    *field = format!("{}: {}", name.to_ascii_lowercase(), value.trim());
                }
                fields.sort();
                let length = fields.iter().find_map(|field| field.strip_prefix("content-length: "));
                let chunked = fields.iter().any(|field| field == "transfer-encoding: chunked");
                let body = &bytes[end + 4..];
                let whole = match length {
                    Some(length) => body.len() >= length.parse().unwrap(),
                    None => !chunked || body.ends_with(b"0\r\n\r\n"),
                };
                if whole || count == 0 {
                    let body = body.to_vec();
                    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
                    return (first, fields, body);
                }
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the line is for a shell")]
    fn curl_sends_what_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it's a file");
        std::fs::write(&file, [0, 1, 255, b'%', b'\\', b'\'']).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let request = |method: &str, target: &str, fields: &[(&str, &str)], body: Option<Body>, chunked| Request {
            method: method.into(),
            target: target.into(),
            listener: Listener::Http,
            port: None,
            host: "shop.example:8080".into(),
            headers: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body,
            chunked,
        };
        let mixed = Body(vec![
            Piece::Text(b"%s \\n '\r\n\0\xff@".to_vec()),
            Piece::Filler(100_000),
            Piece::File(file.clone(), 6),
        ]);
        let requests = [
            request("GET", "/a/../b//[1-3]?x={a,b}&y='", &[], None, false),
            request("HEAD", "/", &[("X-Empty", ""), ("X-Two", "1"), ("X-Two", "2"), ("host", "other")], None, false),
            request("POST", "/", &[("User-Agent", "me"), ("Accept", "text/*")], None, false),
            request("POST", "/", &[("Content-Type", "application/json")], Some(Body::text("{\"a\": \"it's\"}")), false),
            request("PUT", "/", &[], Some(Body::text("@not-a-file")), false),
            request("PUT", "/", &[], Some(mixed.clone()), false),
            request("POST", "/", &[], Some(mixed), true),
            request("POST", "/", &[], Some(Body(vec![Piece::Text(b"------x\r\n".to_vec()), Piece::Filler(9)])), false),
            request("GET", "/", &[], Some(Body::text("")), false),
            request("DELETE", "/", &[], Some(Body::filler(2_000_000)), false),
        ];
        for request in requests {
            let cookies = Some("a=b; c=d").filter(|_| request.method != "HEAD");
            let sent = {
                let mut bytes = Vec::new();
                http::message(&request, cookies).unwrap().read_to_end(&mut bytes).unwrap();
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                let writer = std::thread::spawn(move || stream.write_all(&bytes).map(|()| stream));
                let sent = received(&listener);
                let _ = writer.join();
                sent
            };
            let line = line(&request, address, cookies);
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &line]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
            let child = shell.spawn().unwrap();
            let again = received(&listener);
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!((&again.0, &again.1), (&sent.0, &sent.1), "{line}");
            // The sizes of chunks are curl's own.
            assert!(request.chunked || again.2 == sent.2, "{line}");
        }
    }
}
