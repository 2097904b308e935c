//! What goes over a connection.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use wsgi_protocol::frame::{self, END_LAST, FailureCode, HEADER, Kind};
use wsgi_protocol::head;

use super::launched::Daemon;

/// A frame from the daemon.
pub(super) fn next(stream: &mut UnixStream) -> Option<(Kind, Vec<u8>)> {
    let mut header = [0u8; HEADER];
    stream.read_exact(&mut header).ok()?;
    let (kind, length) = frame::header(header).expect("a frame");
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).expect("a whole frame");
    Some((kind, payload))
}

/// Everything up to the end of an exchange: kinds in their order, the status, the body, what was logged.
#[derive(Debug, Default)]
pub(super) struct Response {
    pub(super) kinds: Vec<Kind>,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) log: String,
    pub(super) last: bool,
    pub(super) failure: Option<(FailureCode, String)>,
}

pub(super) fn answer(stream: &mut UnixStream, upload: &[u8]) -> Response {
    let mut response = Response::default();
    let mut upload = upload;
    loop {
        let (kind, payload) = next(stream).unwrap_or_else(|| panic!("the connection ended: {response:?}"));
        response.kinds.push(kind);
        match kind {
            Kind::Head => {
                let mut fields = Vec::new();
                response.status = head::decode(&payload, &mut fields).expect("a head").0;
            }
            Kind::Data => response.body.extend(payload),
            Kind::Log => {
                let record = frame::log(&payload).expect("a record");
                response.log.push_str(&String::from_utf8_lossy(record.text.or_empty()));
                response.log.push('\n');
            }
            Kind::Pull => {
                let wanted = frame::number(&payload).expect("a number") as usize;
                let (part, rest) = upload.split_at(wanted.min(upload.len()));
                upload = rest;
                let mut out = Vec::new();
                frame::put(Kind::Body, part, &mut out).expect("fits");
                stream.write_all(&out).expect("it reads");
            }
            Kind::End => {
                response.last = payload[0] & END_LAST != 0;
                return response;
            }
            Kind::Failure => {
                let (code, flags, text) = frame::failure(&payload).expect("a failure");
                response.last = flags & END_LAST != 0;
                response.failure = Some((code, String::from_utf8_lossy(text).into_owned()));
                return response;
            }
            _ => {}
        }
    }
}

/// A FIFO whose opening for reading waits for the writer.
fn fifo(folder: &Path, number: i32) -> PathBuf {
    let path = folder.join(format!("fifo{number}"));
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

/// Begins a request that lasts until the returned file is dropped.
pub(super) fn long_request(daemon: &Daemon, stream: &mut UnixStream) -> std::fs::File {
    long_request_to(daemon, "/wait", stream)
}

/// As [`long_request`], to this path.
pub(super) fn long_request_to(daemon: &Daemon, address: &str, stream: &mut UnixStream) -> std::fs::File {
    let path = fifo(&daemon.folder.0, stream.as_raw_fd());
    let query = path.to_str().expect("plain");
    stream.write_all(&daemon.request(address, query, b"", 0)).expect("it reads");
    assert_eq!(next(stream).map(|(kind, _)| kind), Some(Kind::Accepted));
    std::fs::OpenOptions::new().write(true).open(path).expect("the application reads")
}
