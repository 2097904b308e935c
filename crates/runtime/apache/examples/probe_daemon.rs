//! Stands in for `wsgi-daemon` in the tests with httpd: tells what kind of process it was started as, and misbehaves on
//! demand. It knows frames and no Python.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};

use wsgi_protocol::abi::{Bytes, Field, Record};
use wsgi_protocol::frame::{self, HEADER, Kind};
use wsgi_protocol::launch::{self, Daemon, LAUNCH_DESCRIPTOR};
use wsgi_protocol::line::{self, Origin};
use wsgi_protocol::page::{Layout, Page, State};
use wsgi_protocol::request::{self, BODY_INCLUDED, Facts, Storage};
use wsgi_protocol::{head, keys};

/// The socket of the log, as the server numbers it.
const LOG: i32 = 5;

fn main() {
    // What the server left, before anything is opened.
    let descriptors = descriptors();
    // SAFETY: no pointers.
    let seals = unsafe { libc::fcntl(LAUNCH_DESCRIPTOR, libc::F_GET_SEALS) };
    // SAFETY: the server left each number to one owner.
    let (launch, listener, page) =
        unsafe { (OwnedFd::from_raw_fd(LAUNCH_DESCRIPTOR), OwnedFd::from_raw_fd(4), OwnedFd::from_raw_fd(6)) };
    let launch = std::fs::File::from(launch);
    let mut bytes = vec![0; launch.metadata().map_or(0, |data| usize::try_from(data.len()).unwrap_or(0))];
    launch.read_exact_at(&mut bytes, 0).expect("the launch configuration can be read");
    let daemon: Daemon = launch::decode(&bytes).expect("the launch configuration is one");
    drop(launch);
    // SAFETY: the server left the number to one owner.
    let mut control = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(daemon.descriptors.control) });
    std::thread::spawn(move || {
        while control.read(&mut [0]).is_ok_and(|count| count > 0) {}
        // SAFETY: the server is gone, and nothing is left to do.
        unsafe { libc::_exit(0) };
    });
    let page = std::fs::File::from(page);
    let probe: &'static Probe =
        Box::leak(Box::new(Probe { descriptors, seals, status: map(&page, &daemon), page, daemon }));
    if std::env::vars_os().any(|(name, _)| name == "PROBE_SAYS_PLACE") {
        probe.say_place();
    }
    probe.ready();
    for stream in UnixListener::from(listener).incoming() {
        let Ok(stream) = stream else { continue };
        std::thread::spawn(move || probe.connection(stream));
    }
}

/// Sends a line to the server's log.
fn log(text: &str) {
    let record = Record { level: 3, line: 0, file: Bytes::NONE, text: Bytes::new(text.as_bytes()), json: 0 };
    let packet = line::encode(Origin { pid: std::process::id(), tid: 1 }, &record);
    // SAFETY: the packet lives across the call.
    unsafe { libc::send(LOG, packet.as_ptr().cast(), packet.len(), libc::MSG_NOSIGNAL) };
}

extern "C" fn crash(_: i32) {
    // SAFETY: both may be called in a handler. Apache has stopped its own children by then.
    unsafe {
        libc::usleep(300_000);
        libc::abort();
    }
}

/// The status page, as the server laid it out.
fn map(page: &std::fs::File, daemon: &Daemon) -> Page {
    let layout = Layout::new(daemon.page_processes, daemon.threads, 0).expect("a layout");
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: maps as much as the server made room for, for as long as the process lives.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), layout.size(), protection, libc::MAP_SHARED, page.as_raw_fd(), 0);
        assert_ne!(base, libc::MAP_FAILED, "the page can be mapped");
        Page::new(base.cast(), layout)
    }
}

/// Number and target of every open descriptor.
fn descriptors() -> String {
    let mut found = String::new();
    for number in 0..1024 {
        if let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) {
            let target = target.display().to_string();
            let kind = target.split_once(':').map_or(target.as_str(), |(kind, _)| kind);
            let shown = if kind == "/memfd" { &target } else { kind };
            let _ = writeln!(found, "fd{number}={shown}");
        }
    }
    found
}

struct Probe {
    descriptors: String,
    seals: i32,
    page: std::fs::File,
    status: Page,
    daemon: Daemon,
}

fn status(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Probe {
    /// Says on the status page that the process accepts: the state follows the pid in the process's slot.
    fn ready(&self) {
        let slot = self.status.process(self.daemon.index).expect("the page has a place for this process");
        slot.state.store(State::Ready as u32, Ordering::Release);
    }

    /// Says in the log which place it has on which page.
    fn say_place(&self) {
        let page = self.status.header().identity.load(Ordering::Relaxed);
        let text = format!("place {} of page {page:x}\n", self.daemon.index);
        // SAFETY: the text lives across the call.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }

    fn connection(&self, mut stream: UnixStream) {
        let mut storage = Storage::default();
        while let Some((kind, payload)) = read(&mut stream) {
            match kind {
                Kind::Hello => assert_eq!(payload, self.daemon.secret, "the child knows the secret"),
                Kind::Request => {
                    let (facts, included) = request::decode(&payload, &mut storage).expect("a request");
                    self.serve(&mut stream, &facts, included.len());
                }
                _ => return,
            }
        }
    }

    fn serve(&self, stream: &mut UnixStream, facts: &Facts<'_>, included: usize) {
        let entry = |name: &str| {
            let entry = facts.entries().iter().find(|entry| keys::name(entry.key) == Some(name));
            String::from_utf8_lossy(entry.map_or(b"", |entry| entry.value.or_empty())).into_owned()
        };
        let path = entry("PATH_INFO");
        if path == "/reject" {
            let mut out = Vec::new();
            frame::put_failure(frame::FailureCode::Rejected, 0, b"", &mut out);
            let _ = stream.write_all(&out);
            return;
        }
        if path == "/reject-once" {
            static BEFORE: AtomicU64 = AtomicU64::new(0);
            let before = BEFORE.swap(facts.ticket, Ordering::Relaxed);
            if before == 0 {
                let mut out = Vec::new();
                frame::put_failure(frame::FailureCode::Rejected, 0, b"", &mut out);
                let _ = stream.write_all(&out);
                return;
            }
            send(stream, Kind::Accepted, &self.daemon.index.to_le_bytes());
            respond(stream, "x", format!("first={before:x}\nsecond={:x}\n", facts.ticket).as_bytes());
            return;
        }
        if let "/leave-with-body" | "/reject-with-body" = &*path {
            // It does not say that it has taken the request.
            send(stream, Kind::Pull, &4096u32.to_le_bytes());
            let _ = read(stream);
            if path == "/reject-with-body" {
                let mut out = Vec::new();
                frame::put_failure(frame::FailureCode::Rejected, 0, b"", &mut out);
                let _ = stream.write_all(&out);
            } else {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            return;
        }
        send(stream, Kind::Accepted, &self.daemon.index.to_le_bytes());
        match path.as_str() {
            "/die" => {
                self.begin(&path);
                std::process::abort();
            }
            "/exit" => {
                self.begin(&path);
                // SAFETY: ends the process as an application may.
                unsafe { libc::_exit(11) };
            }
            "/print" => {
                let text = entry("QUERY_STRING");
                // SAFETY: the text lives across the call.
                unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
                respond(stream, "", b"printed");
            }
            // On the log's socket: a packet without content, then a line.
            "/empty-line" => {
                // SAFETY: no bytes are read.
                unsafe { libc::send(LOG, [0u8].as_ptr().cast(), 0, libc::MSG_NOSIGNAL) };
                log(&entry("QUERY_STRING"));
                respond(stream, "", b"logged");
            }
            // So many lines of a kilobyte on the log's socket, each with its number.
            "/flood" => {
                for number in 0..entry("QUERY_STRING").parse().unwrap_or(0) {
                    log(&format!("{number} {}", "x".repeat(1000)));
                }
                respond(stream, "", b"flooded");
            }
            // From now on the process crashes a moment after it was asked to end.
            "/crash-at-stop" => {
                // SAFETY: the handler does nothing but what a handler may.
                unsafe { libc::signal(libc::SIGTERM, crash as extern "C" fn(i32) as libc::sighandler_t) };
                respond(stream, "", format!("pid={}\n", std::process::id()).as_bytes());
            }
            "/garbage" => {
                let size = self.page.metadata().map_or(0, |data| data.len());
                let _ = self.page.write_all_at(&vec![0xff; usize::try_from(size).unwrap_or(0)], 0);
                respond(stream, "", b"garbage written");
            }
            "/split-head" => respond(stream, "a\r\nSet-Cookie: stolen", b"x"),
            "/informational" => {
                let mut out = Vec::new();
                head::encode(101, b"101 stolen", &[], &mut out).expect("it fits");
                send(stream, Kind::Head, &out);
                send(stream, Kind::End, &[0]);
            }
            "/no-frame" => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            }
            "/half" => {
                send(stream, Kind::Head, &encoded_head("x"));
                send(stream, Kind::Data, b"the first half");
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            // Announces fourteen bytes.
            "/whole" => {
                send(stream, Kind::Head, &head_of(&[("Content-Length", "14")]));
                send(stream, Kind::Data, b"the whole body");
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            // Five million bytes: lines of ten, each with its number in letters from a to j. `cut`: the process ends after the first million.
            "/lines" | "/lines-cut" => {
                send(stream, Kind::Head, &head_of(&[("Content-Length", "5000000"), ("ETag", "\"one\"")]));
                for block in 0..100 {
                    if path == "/lines-cut" && block == 20 {
                        let _ = stream.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                    let mut text = String::new();
                    for line in block * 5000..(block + 1) * 5000 {
                        text.extend(format!("{line:09}").bytes().map(|digit| char::from(digit - b'0' + b'a')));
                        text.push('\n');
                    }
                    send(stream, Kind::Data, text.as_bytes());
                }
                send(stream, Kind::End, &[0]);
            }
            "/too-short" => {
                send(stream, Kind::Head, &head_of(&[("Content-Length", "14")]));
                send(stream, Kind::Data, b"the first");
                send(stream, Kind::End, &[0]);
            }
            "/too-long" => {
                send(stream, Kind::Head, &head_of(&[("Content-Length", "14")]));
                send(stream, Kind::Data, b"the whole body");
                send(stream, Kind::Data, b"HTTP/1.1 200 stolen\r\n\r\n");
                send(stream, Kind::End, &[0]);
            }
            "/headless" => {
                send(stream, Kind::Data, b"stolen");
                send(stream, Kind::End, &[0]);
            }
            "/stall" => {
                send(stream, Kind::Head, &encoded_head("x"));
                send(stream, Kind::Data, b"the first half");
                // Until the child gives it up.
                let _ = stream.read(&mut [0; 1]);
            }
            "/deaf" => {
                // First: the answer to a pull may be there at once.
                let _ = stream.shutdown(std::net::Shutdown::Read);
                send(stream, Kind::Pull, &4096u32.to_le_bytes());
                std::thread::sleep(std::time::Duration::from_millis(200));
                respond(stream, "x", b"an answer all the same");
            }
            "/mute" => {
                // What the child sends from here on cannot be delivered.
                let _ = stream.shutdown(std::net::Shutdown::Read);
                send(stream, Kind::Pull, &4096u32.to_le_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            "/reset" => {
                send(stream, Kind::Pull, &4096u32.to_le_bytes());
                let mut entry = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one entry.
                unsafe { libc::poll(&raw mut entry, 1, -1) };
                // Closed with something unread: the child sees a reset, not an end.
                // SAFETY: ends the process as a crash would.
                unsafe { libc::_exit(12) };
            }
            "/body" => {
                let mut length = included;
                while !facts.has(BODY_INCLUDED) {
                    send(stream, Kind::Pull, &4096u32.to_le_bytes());
                    match read(stream) {
                        Some((Kind::Body, part)) if !part.is_empty() => length += part.len(),
                        _ => break,
                    }
                }
                respond(stream, "x", format!("{} {length}", entry("REQUEST_METHOD")).as_bytes());
            }
            _ => respond(stream, "x", self.facts().as_bytes()),
        }
    }

    /// What the parent reads when the process dies.
    fn begin(&self, path: &str) {
        let thread = self.status.thread(self.daemon.index, 0).expect("the page has a place for this thread");
        thread.describe(b"GET", path.as_bytes());
        thread.request_start.store(1, Ordering::Release);
    }

    fn facts(&self) -> String {
        let mut text = self.descriptors.clone();
        let mut add = |name: &str, value: String| {
            let _ = writeln!(text, "{name}={value}");
        };
        add("seals", self.seals.to_string());
        add("pid", std::process::id().to_string());
        add("secret", format!("{:02x?}", self.daemon.secret));
        for name in ["Uid", "Gid", "Groups", "SigBlk", "CapEff", "CapPrm", "Umask"] {
            add(name, status(name));
        }
        // SAFETY: cannot fail.
        add(
            "own-process-group",
            (unsafe { libc::getpgrp() } == libc::pid_t::try_from(std::process::id()).unwrap_or(0)).to_string(),
        );
        add("cwd", std::env::current_dir().map_or(String::new(), |path| path.display().to_string()));
        add("argument0", std::env::args().next().unwrap_or_default());
        for (name, value) in std::env::vars_os() {
            add(&format!("env-{}", name.to_string_lossy()), value.to_string_lossy().into_owned());
        }
        // SAFETY: no pointers.
        let shrinks = unsafe { libc::ftruncate(self.page.as_raw_fd(), 0) } == 0;
        add("page-shrinks", shrinks.to_string());
        text
    }
}

fn read(stream: &mut UnixStream) -> Option<(Kind, Vec<u8>)> {
    let mut header = [0u8; HEADER];
    stream.read_exact(&mut header).ok()?;
    let (kind, length) = frame::header(header).ok()?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, payload))
}

fn send(stream: &mut UnixStream, kind: Kind, payload: &[u8]) {
    let mut out = Vec::new();
    frame::put(kind, payload, &mut out).expect("it fits");
    let _ = stream.write_all(&out);
}

fn encoded_head(value: &str) -> Vec<u8> {
    head_of(&[("X-Probe", value)])
}

fn head_of(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let fields: Vec<Field<'_>> = fields
        .iter()
        .map(|(name, value)| Field { name: Bytes::new(name.as_bytes()), value: Bytes::new(value.as_bytes()) })
        .collect();
    head::encode(200, b"200 OK", &fields, &mut out).expect("it fits");
    out
}

fn respond(stream: &mut UnixStream, field: &str, body: &[u8]) {
    send(stream, Kind::Head, &encoded_head(field));
    send(stream, Kind::Data, body);
    send(stream, Kind::End, &[0]);
}
