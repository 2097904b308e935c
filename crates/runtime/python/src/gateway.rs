//! Where the engine meets its surroundings: [`Gateway`] for one request, [`Process`] for the process it runs in.
//!
//! Embedded mode implements both over the C tables of [`wsgi_protocol::abi`], daemon mode over frames and the daemon's
//! own log pipe. The adapter knows nothing else, so it behaves the same in both.
//!
//! # Threads and the GIL
//! Every method is called **without the GIL**, except where its description says otherwise, and never twice at once for
//! one request. Mostly that is the thread that serves the request; a thread that the application started may come
//! here too (it read `wsgi.input`, say), while the serving thread waits or is elsewhere.

use std::os::fd::BorrowedFd;

use wsgi_protocol::abi::{Field, Level, Record};

/// What the engine may do with one request.
pub trait Gateway: Send {
    /// The engine has decided to serve the request: from now on no other process may get it. Called once, before the
    /// script is loaded or the body is read; not called when the outcome is [`Outcome::Rejected`].
    fn accept(&mut self) -> bool {
        true
    }

    /// Reads up to `buffer.len()` bytes of the body into `buffer`, which may be empty; 0 is the body's end. May block.
    /// The first call lets the client go on that waits for `100 Continue`.
    ///
    /// # Errors
    /// When the body cannot be read; the engine does not call again.
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize, ReadFailure>;

    /// Sets status and header fields. They need not be written before the first body bytes or the end. Called at most
    /// once, and before any other `send_…`.
    ///
    /// # Errors
    /// When the client is gone, or the response cannot be begun.
    fn send_head(&mut self, head: &Head<'_>) -> Result<(), SendFailure>;

    /// Sends body bytes, copied or written before it returns. `last`: nothing follows but the request's end, which may
    /// be written together with them. Otherwise the bytes have to reach the client without waiting for more.
    ///
    /// # Errors
    /// When the client is gone, or the bytes cannot be written.
    fn send_body(&mut self, data: &[u8], last: bool) -> Result<(), SendFailure>;

    /// Sends `length` bytes of an open regular file from `offset`. The file's own position does not matter and need
    /// not be kept.
    ///
    /// # Errors
    /// As for [`Gateway::send_body`].
    fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), SendFailure>;

    /// Writes a record to the log of the request's virtual host. May block, as a log may be stalled.
    fn log(&mut self, record: &Record<'_>);

    /// Writes a record like [`Gateway::log`] if that surely does not block. `false`: nothing was written. Called with the
    /// GIL held.
    fn try_log(&mut self, record: &Record<'_>) -> bool {
        let _ = record;
        false
    }

    /// Whether a record of this level would be written at all. May be called with the GIL held, and often.
    fn logs(&mut self, level: Level) -> bool;

    /// Apache's log id of the request (`%L`), made on demand. Only asked for when the environ entries have none.
    /// May be called with the GIL held.
    fn request_id(&mut self) -> Vec<u8>;

    /// Whether the client's connection is encrypted. Only scripts that decide on a request ask. May be called with the
    /// GIL held.
    fn is_https(&mut self) -> bool {
        false
    }

    /// A variable of mod_ssl, such as `SSL_CLIENT_S_DN`. Asked as [`Gateway::is_https`] is.
    fn ssl_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let _ = name;
        None
    }
}

/// Status line and header fields of a response. They were validated.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The three-digit status.
    pub status: u16,
    /// The status line as the application gave it, such as `200 OK`; it may be the three digits alone.
    pub line: &'a [u8],
    /// The fields in the application's order.
    pub fields: &'a [Field<'a>],
}

/// The request's body could not be read. The text is what follows `mod_wsgi request data read error: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadFailure(pub String);

/// The response could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The client has gone away.
    #[error("the client closed the connection")]
    ClientGone,
    /// Something else, in the words that follow `mod_wsgi failed to write response data: `.
    #[error("{0}")]
    Failed(String),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response is complete: head and body were sent.
    Complete,
    /// The head was sent and the rest failed or is short: the client must be able to tell.
    Truncated,
    /// No head was sent: answer with this error status. What went wrong was logged.
    Status(u16),
    /// The script has changed and this process has to leave ([`Changed::Leave`]): nothing was read or sent, give the
    /// request to another process. Only before [`Gateway::accept`].
    Rejected,
}

/// What the engine needs of the process it runs in. One per process, used from any thread.
pub trait Process: Sync {
    /// Writes a record that belongs to no request. May block, as a log may be stalled.
    fn log(&self, record: &Record<'_>);

    /// Writes a record like [`Process::log`] if that surely does not block. `false`: nothing was written. Called with the
    /// GIL held.
    fn try_log(&self, record: &Record<'_>) -> bool {
        let _ = record;
        false
    }

    /// Whether a record of this level would be written at all. May be called with the GIL held.
    fn logs(&self, level: Level) -> bool;

    /// The process has so many interpreters now.
    fn interpreters(&self, count: usize) {
        let _ = count;
    }

    /// What to do when the file of a loaded script has changed. May be called with the GIL held. (Daemon mode starts
    /// its end here, logs `Forcing restart of …`, and answers [`Changed::Leave`].) `version` is the
    /// [`wsgi_protocol::script_file::ScriptFile::version`] that the file has now.
    fn script_changed(&self, script: &[u8], version: u64) -> Changed {
        let _ = (script, version);
        Changed::Reload
    }

    /// A script was loaded for an application group. May be called with the GIL held.
    fn script_loaded(&self, script: &[u8], group: &[u8]) {
        let _ = (script, group);
    }

    /// A script is about to be loaded for a request (not at the start of the process). May be called with the GIL held.
    fn loading_started(&self) {}

    /// The loading that was announced last has ended. May be called with the GIL held.
    fn loading_finished(&self, loaded: bool) {
        let _ = loaded;
    }

    /// Apache's scoreboard, where it can be had. May take a moment.
    fn scoreboard(&self) -> Option<wsgi_protocol::scoreboard::Snapshot> {
        None
    }
}

/// See [`Process::script_changed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Load the script anew in this process.
    Reload,
    /// This process leaves; the request goes to another ([`Outcome::Rejected`]).
    Leave,
    /// The loaded script goes on serving: a successor of this process will load the new one.
    Keep,
}
