//! Writes the corpus' first inputs: one of each kind, so that the fuzzers begin with well-formed ones.
//!
//! `cargo run --example seeds` in this folder; run it again after a format has changed.

use std::path::Path;

use wsgi_protocol::abi::{Bytes, Entry, Field, Record};
use wsgi_protocol::frame::{self, FailureCode, Kind};
use wsgi_protocol::launch::{self, Daemon, Import, Python, Scope};
use wsgi_protocol::line::{self, Origin};
use wsgi_protocol::loader::{self, Fork, Order, Report};
use wsgi_protocol::page::Header;
use wsgi_protocol::request::{self, Facts};
use wsgi_protocol::scoreboard::{self, Process, Snapshot, Worker};
use wsgi_protocol::scripts::Entry as Script;
use wsgi_protocol::tally::Tally;
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

    let record = Record {
        level: 3,
        line: 12,
        file: Bytes::new(b"/srv/app.wsgi"),
        text: Bytes::new("größer".as_bytes()),
        json: 0,
    };
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
    seed("launch", "daemon", &launch::encode(&daemon).expect("it fits"))?;

    let fork = Fork { place: 3, start: 7, delay: 2000, predecessor: true, scripts: true, inherited_scripts: true };
    for (name, order) in [
        ("fork", Order::Fork(fork)),
        ("fork-bare", Order::Fork(Fork { start: 1, ..Fork::default() })),
        ("signal", Order::Signal { start: 7, signal: 15 }),
        ("retire", Order::Retire),
    ] {
        seed("loader", name, &loader::encode(&order).expect("it fits"))?;
    }
    for (name, report) in [
        ("forked", Report::Forked { start: 7, pid: 4711 }),
        ("ended", Report::Ended { start: 7, status: 9 }),
        ("failed", Report::Failed { start: 7 }),
        ("stale", Report::Stale),
    ] {
        seed("loader", name, &loader::encode(&report).expect("it fits"))?;
    }

    let mut list = Vec::new();
    for script in [Script { path: b"/a.wsgi", group: b"" }, Script { path: b"/b.wsgi", group: b"www:80|/b" }] {
        let (lengths, bytes) = script.encode(list.len()).expect("it fits");
        list.extend_from_slice(&lengths);
        list.extend_from_slice(&bytes);
    }
    seed("scripts", "two", &list)?;
    list.extend_from_slice(&[0; 64]);
    seed("scripts", "two-and-room", &list)?;

    let worker = Worker {
        number: 3,
        status: b'W',
        client: b"127.0.0.1".to_vec(),
        request: b"GET / HTTP/1.1".to_vec(),
        ..Worker::default()
    };
    let workers = vec![worker, Worker::default()];
    let process = Process { number: 1, pid: 4711, quiescing: true, workers, ..Process::default() };
    let snapshot = Snapshot {
        server_limit: 2,
        thread_limit: 2,
        processes: vec![process, Process::default()],
        ..Snapshot::default()
    };
    seed("scoreboard", "two-processes", &scoreboard::encode(&snapshot).expect("it fits"))?;

    // A layout, two tickets, and what the page is filled with.
    let mut a_page = vec![3, 2, 1];
    a_page.extend_from_slice(&7_u64.to_le_bytes());
    a_page.extend_from_slice(&8_u64.to_le_bytes());
    seed("page", "zeros", &a_page)?;
    a_page.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    seed("page", "ones", &a_page)?;
    a_page.extend_from_slice(&[255; 8]);
    seed("page", "high", &a_page)?;
    // As many withdrawals as can be counted, and room for more.
    a_page.truncate(19);
    a_page.resize(19 + size_of::<Header>() + size_of::<Tally>(), 0);
    a_page.extend_from_slice(&[255; 4]);
    a_page.resize(19 + 8192, 0);
    seed("page", "count-at-its-end", &a_page)?;

    // A layout, then steps of three bytes: one of each kind, and one that writes to the page what follows.
    let steps = (0..12).flat_map(|kind| [[0, 0, 0], [kind, 1, 2]]).flatten();
    let every_step: Vec<u8> =
        [1, 2, 1].into_iter().chain(steps).chain([12, 4, 8]).chain([255; 8]).chain([1, 0, 0]).collect();
    seed("claims", "every-step", &every_step)
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}
