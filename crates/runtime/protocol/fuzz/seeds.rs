//! Writes the corpus' first inputs: one of each kind, so that the fuzzers begin with well-formed ones.
//!
//! `cargo run --example seeds` in this folder; run it again after a format has changed.

use std::path::Path;

use wsgi_protocol::abi::{Bytes, Entry, Field, Record};
use wsgi_protocol::frame::{self, FailureCode, Kind};
use wsgi_protocol::launch::{self, Daemon, Import, Python, Scope};
use wsgi_protocol::line::{self, Origin};
use wsgi_protocol::request::{self, Facts};
use wsgi_protocol::{head, keys};

fn main() -> std::io::Result<()> {
    let entries = [
        Entry { key: keys::id("HTTP_HOST"), name: Bytes::NONE, value: Bytes::new(b"localhost") },
        Entry { key: keys::LITERAL, name: Bytes::new(b"HTTP_X_ODD"), value: Bytes::new(b"") },
        Entry { key: keys::LITERAL, name: Bytes::new(b"ABSENT"), value: Bytes::NONE },
    ];
    let mut facts = Facts::new(&entries);
    facts.script = Bytes::new(b"/srv/app.wsgi");
    facts.callable = Bytes::new(b"application");
    facts.content_length = 4;
    let mut a_request = Vec::new();
    request::encode(&facts, b"body", &mut a_request).expect("it fits");
    seed("request", "get", &a_request)?;

    let fields = [("Content-Type", "text/plain"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
        .map(|(name, value)| Field { name: Bytes::new(name.as_bytes()), value: Bytes::new(value.as_bytes()) });
    let mut a_head = Vec::new();
    head::encode(200, b"200 OK", &fields, &mut a_head).expect("it fits");
    seed("head", "ok", &a_head)?;
    let mut bare = Vec::new();
    head::encode(204, b"204 No Content", &[], &mut bare).expect("it fits");
    seed("head", "no-content", &bare)?;

    let record =
        Record { level: 3, line: 12, file: Bytes::new(b"/srv/app.wsgi"), text: Bytes::new("größer".as_bytes()) };
    seed("line", "error", &line::encode(Origin { pid: 12, tid: 34 }, &record))?;

    let mut stream = Vec::new();
    for (kind, payload) in [
        (Kind::Hello, &[7; 32][..]),
        (Kind::Request, &a_request[..]),
        (Kind::Accepted, &[1, 0, 0, 0][..]),
        (Kind::Pull, &[0, 0, 1, 0]),
        (Kind::Body, b"some of the body"),
        (Kind::Body, b""),
        (Kind::BodyFailed, b"the client has gone"),
        (Kind::Head, &a_head[..]),
        (Kind::Data, b"some of the response"),
        (Kind::End, &[frame::END_LAST]),
    ] {
        frame::put(kind, payload, &mut stream).expect("it fits");
    }
    frame::put_log(&record, &mut stream);
    frame::put_failure(FailureCode::from_number(1).expect("the first code"), 0, b"why", &mut stream);
    seed("frames", "one-of-each", &stream)?;

    let python = Python {
        path: vec![b"/srv/lib".to_vec()],
        scopes: vec![Scope::default()],
        imports: vec![Import { script: b"/srv/app.wsgi".to_vec(), application_group: Vec::new() }],
        ..Python::default()
    };
    let daemon = Daemon { python: python.clone(), group: b"shop".to_vec(), threads: 15, ..Daemon::default() };
    seed("launch", "python", &launch::encode(&python).expect("it fits"))?;
    seed("launch", "daemon", &launch::encode(&daemon).expect("it fits"))
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}
