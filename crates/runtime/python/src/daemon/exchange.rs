//! One request on a connection: the engine's [`Gateway`] over frames.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgi_protocol::abi::{Level, Record};
use wsgi_protocol::frame::{self, FailureCode, HEADER, Kind, MAX_CHUNK};
use wsgi_protocol::request::{self, Facts};
use wsgi_protocol::{Malformed, head};

use super::connection::{Connection, Refusal};
use super::fork::is_forked;
use super::outbox::Spool;
use super::server::Server;
use crate::gateway::{Gateway, Head, Outcome, ReadFailure, SendFailure};

/// Body bytes up to this size are copied behind what waits to be written, so that a small response is one write.
const COALESCED: usize = 32 * 1024;

/// What is pulled of a body at least, so that small reads do not each cost an exchange.
const PULLED: usize = 16 * 1024;

/// Log records that wait for a child that does not read are dropped beyond this many bytes.
const WAITING_LOGS: usize = 1024 * 1024;

/// The most parts of one gathered write.
const PARTS: usize = 64;

/// Buffers of a worker, kept from request to request.
#[derive(Default)]
pub(super) struct Buffers {
    out: Vec<u8>,
    pulled: Vec<u8>,
}

/// A worker's buffers that grew beyond this are given back to the system after the request.
const KEPT: usize = 128 * 1024;

impl Buffers {
    fn clear(&mut self) {
        for buffer in [&mut self.out, &mut self.pulled] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
    }
}

/// See the module.
pub(super) struct Exchange<'a> {
    server: &'static Server,
    worker: u32,
    /// Where taking the request is noted; 0 is nowhere.
    ticket: u64,
    connection: &'a Connection,
    buffers: &'a mut Buffers,
    /// Frames that are encoded and not written: `buffers.out` from here.
    written: usize,
    /// The part of the body that came with the request.
    included: &'a [u8],
    /// What of `buffers.pulled` was read.
    consumed: usize,
    body_ended: bool,
    /// Where what is written goes, once the other end was slow.
    spool: Option<Arc<Spool>>,
    /// The connection can be used no more.
    broken: bool,
    counts_as_activity: bool,
    /// The highest level number that is logged for the request.
    log_level: u8,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        server: &'static Server,
        worker: u32,
        connection: &'a Connection,
        facts: &Facts<'_>,
        included: &'a [u8],
        buffers: &'a mut Buffers,
    ) -> Self {
        buffers.clear();
        let body_ended = facts.has(request::BODY_INCLUDED);
        let counts_as_activity = !facts.has(request::IGNORE_ACTIVITY);
        let noted = facts.page == server.status.page_identity();
        let mut exchange = Self {
            server,
            worker,
            ticket: if noted { facts.ticket } else { 0 },
            connection,
            buffers,
            written: 0,
            included,
            consumed: 0,
            body_ended,
            spool: None,
            broken: false,
            counts_as_activity,
            log_level: facts.log_level().unwrap_or(server.log.level()),
        };
        exchange.activity();
        let picked = match exchange.ticket {
            // A child of another generation cannot take back what is noted on a page that it does not see.
            0 if facts.ticket != 0 => Some(u32::MAX),
            // The child has to know whom it may take the request back from.
            1.. if connection.overflow => Some(server.status.index()),
            _ => None,
        };
        if let Some(index) = picked {
            let _ = exchange.put(Kind::Picked, &index.to_le_bytes());
            let _ = exchange.write(&[]);
        }
        exchange
    }

    fn activity(&self) {
        if self.counts_as_activity {
            self.server.board.activity();
        }
    }

    /// Writes what waits and `more` behind it, or leaves it to the outbox when the other end does not take it.
    fn write(&mut self, more: &[IoSlice<'_>]) -> io::Result<()> {
        let mut parts = Vec::with_capacity(more.len() + 1);
        parts.push(IoSlice::new(&self.buffers.out[self.written..]));
        parts.extend_from_slice(more);
        let result = match &self.spool {
            Some(spool) => self.server.outbox.append(spool, &parts),
            None => write_or_spool(self.server, self.connection, &mut parts, &mut self.spool),
        };
        self.buffers.out.clear();
        self.written = 0;
        if result.is_err() {
            self.broken = true;
        }
        result
    }

    fn put(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Malformed> {
        frame::put(kind, payload, &mut self.buffers.out)
    }

    /// Takes body bytes that are here already.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let here = if self.included.is_empty() { &self.buffers.pulled[self.consumed..] } else { self.included };
        let count = here.len().min(buffer.len());
        buffer[..count].copy_from_slice(&here[..count]);
        if self.included.is_empty() {
            self.consumed += count;
        } else {
            self.included = &self.included[count..];
        }
        count
    }

    fn has_body_bytes(&self) -> bool {
        !self.included.is_empty() || self.consumed < self.buffers.pulled.len()
    }

    /// Asks for more of the body and waits for it.
    fn pull(&mut self, wanted: usize) -> Result<(), ReadFailure> {
        let lost = |_| ReadFailure("Connection was terminated".into());
        if is_forked() {
            return Err(lost(io::ErrorKind::NotConnected.into()));
        }
        let wanted = u32::try_from(wanted.clamp(PULLED, MAX_CHUNK)).unwrap_or(0);
        self.put(Kind::Pull, &wanted.to_le_bytes()).map_err(|error| ReadFailure(error.to_string()))?;
        self.write(&[]).map_err(lost)?;
        self.consumed = 0;
        match self.connection.read_frame(&mut self.buffers.pulled) {
            Ok(Kind::Body) => {
                self.body_ended = self.buffers.pulled.is_empty();
                Ok(())
            }
            Ok(Kind::BodyFailed) => {
                let text = String::from_utf8_lossy(&self.buffers.pulled).into_owned();
                self.buffers.pulled.clear();
                self.body_ended = true;
                Err(ReadFailure(text))
            }
            Ok(_) => {
                self.broken = true;
                self.buffers.pulled.clear();
                Err(ReadFailure("Unexpected frame".into()))
            }
            Err(refusal) => {
                self.broken = true;
                self.buffers.pulled.clear();
                Err(ReadFailure(match refusal {
                    Refusal::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        "The timeout specified has expired".into()
                    }
                    _ => "Connection was terminated".into(),
                }))
            }
        }
    }

    /// Ends the exchange.
    pub(super) fn finish(mut self, outcome: Outcome, last: bool) -> Finished {
        self.activity();
        let flags = if last { frame::END_LAST } else { 0 };
        match outcome {
            Outcome::Complete => {
                // One byte always fits.
                let _ = self.put(Kind::End, &[flags]);
            }
            Outcome::Truncated => self.fail(FailureCode::Truncated, flags, b""),
            Outcome::Status(status) => self.fail(FailureCode::Status, flags, status.to_string().as_bytes()),
            Outcome::Rejected => self.fail(FailureCode::Rejected, flags, b""),
        }
        self.end(last)
    }

    /// Ends the exchange of a request that was never given to the engine.
    pub(super) fn refuse(mut self, code: FailureCode, text: &[u8], last: bool) -> Finished {
        self.fail(code, if last { frame::END_LAST } else { 0 }, text);
        self.end(last)
    }

    fn end(mut self, last: bool) -> Finished {
        let keep = !self.broken && self.write(&[]).is_ok() && !last;
        if self.spool.is_some() {
            self.server.outbox.ending(&self.server.status);
        }
        Finished { keep, spool: self.spool }
    }

    fn fail(&mut self, code: FailureCode, flags: u8, text: &[u8]) {
        frame::put_failure(code, flags, text, &mut self.buffers.out);
    }
}

/// How an exchange has ended.
pub(super) struct Finished {
    /// The connection may be kept for another request.
    pub(super) keep: bool,
    /// What may not be written yet.
    pub(super) spool: Option<Arc<Spool>>,
}

impl Finished {
    /// The connection is of no use any more.
    pub(super) const CLOSED: Self = Self { keep: false, spool: None };
}

/// Writes as long as the other end takes it; what is left then is stored, and the worker is free for the rest.
fn write_or_spool(
    server: &'static Server,
    connection: &Connection,
    parts: &mut [IoSlice<'_>],
    spool: &mut Option<Arc<Spool>>,
) -> io::Result<()> {
    let patience = Duration::from_millis(server.timeouts.socket);
    let (mut rest, mut taken) = (parts, Instant::now());
    loop {
        let before: usize = rest.iter().map(|part| part.len()).sum();
        rest = connection.write_on(rest)?;
        if rest.is_empty() {
            return Ok(());
        }
        if let Ok(begun) = server.outbox.begin(server, connection) {
            let result = server.outbox.append(&begun, rest);
            *spool = Some(begun);
            return result;
        }
        // Nobody else can wait for it.
        if rest.iter().map(|part| part.len()).sum::<usize>() < before {
            taken = Instant::now();
        } else if !patience.is_zero() && taken.elapsed() >= patience {
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
}

/// In the engine's words.
fn send_failure(error: &io::Error) -> SendFailure {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SendFailure::ClientGone,
        io::ErrorKind::WouldBlock => SendFailure::Failed("The timeout specified has expired".into()),
        _ => SendFailure::Failed(error.to_string()),
    }
}

impl Gateway for Exchange<'_> {
    fn accept(&mut self) -> bool {
        if self.ticket != 0 && self.server.status.take(self.worker, self.ticket) {
            let withdrawn = self.server.status.is_withdrawn(self.ticket);
            // Of a connection that lay in the backlog, the entry may be gone with the process that it was sent to; its
            // child had closed the connection before.
            let gone = self.connection.fresh && self.connection.is_abandoned();
            return !(withdrawn || gone);
        }
        let index = self.server.status.index().to_le_bytes();
        // A child that has gone may have sent the request elsewhere.
        self.put(Kind::Accepted, &index).is_ok() && self.write(&[]).is_ok()
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, ReadFailure> {
        self.activity();
        if !self.has_body_bytes() && !self.body_ended {
            self.pull(buffer.len())?;
        }
        Ok(self.take(buffer))
    }

    fn send_head(&mut self, head: &Head<'_>) -> Result<(), SendFailure> {
        if is_forked() {
            return Err(SendFailure::ClientGone);
        }
        let out = &mut self.buffers.out;
        let start = out.len();
        let open = frame::begin(Kind::Head, out);
        let encoded = head::encode(head.status, head.line, head.fields, out);
        match encoded.and_then(|()| frame::finish(open, out)) {
            Ok(()) => Ok(()),
            Err(error) => {
                out.truncate(start);
                Err(SendFailure::Failed(error.to_string()))
            }
        }
    }

    fn send_body(&mut self, data: &[u8], last: bool) -> Result<(), SendFailure> {
        self.activity();
        if self.broken || is_forked() {
            return Err(SendFailure::ClientGone);
        }
        if last && data.len() <= COALESCED {
            return self.put(Kind::Data, data).map_err(|error| SendFailure::Failed(error.to_string()));
        }
        for part in data.chunks(MAX_CHUNK * (PARTS / 2)) {
            let mut headers = [[0u8; HEADER]; PARTS / 2];
            for (chunk, header) in part.chunks(MAX_CHUNK).zip(&mut headers) {
                *header = frame::header_for(Kind::Data, chunk.len())
                    .map_err(|error| SendFailure::Failed(error.to_string()))?;
            }
            let parts: Vec<IoSlice<'_>> = part
                .chunks(MAX_CHUNK)
                .zip(&headers)
                .flat_map(|(chunk, header)| [IoSlice::new(header), IoSlice::new(chunk)])
                .collect();
            self.write(&parts).map_err(|error| send_failure(&error))?;
        }
        Ok(())
    }

    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), SendFailure> {
        let mut buffer = vec![0u8; MAX_CHUNK];
        let (mut offset, mut left) = (offset, length);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let position = i64::try_from(offset).unwrap_or(i64::MAX);
            // SAFETY: the kernel writes at most `wanted` bytes into the buffer, which has as many.
            let count = unsafe { libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), wanted, position) };
            let count = match usize::try_from(count) {
                Ok(0) => return Err(SendFailure::Failed("the file is shorter than it was".into())),
                Ok(count) => count,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    return Err(SendFailure::Failed(error.to_string()));
                }
            };
            offset += count as u64;
            left -= count as u64;
            self.send_body(&buffer[..count], left == 0)?;
        }
        Ok(())
    }

    fn log(&mut self, record: &Record<'_>) {
        if !self.try_log(record) {
            self.server.log.write(record);
        }
    }

    fn try_log(&mut self, record: &Record<'_>) -> bool {
        if record.level > self.log_level {
            return true;
        }
        if self.broken || is_forked() || self.buffers.out.len() - self.written > WAITING_LOGS {
            return self.server.log.try_write(record);
        }
        frame::put_log(record, &mut self.buffers.out);
        // What the child does not take now goes along with the next writing.
        let waiting = [IoSlice::new(&self.buffers.out[self.written..])];
        if self.spool.is_none()
            && let Ok(count) = self.connection.write_some(&waiting)
        {
            self.written += count;
            if self.written == self.buffers.out.len() {
                self.buffers.out.clear();
                self.written = 0;
            }
        }
        true
    }

    fn logs(&mut self, level: Level) -> bool {
        level as u8 <= self.log_level
    }

    fn request_id(&mut self) -> Vec<u8> {
        // The child always sends it among the entries.
        Vec::new()
    }
}
