//! Apache's scoreboard as `mod_wsgi.server_metrics()` shows it: what every child and every thread of it is doing.
//!
//! Embedded mode gets an encoded [`Snapshot`] over the ABI table. A daemon asks the server's log writer, which is a fork
//! of the server and so has the scoreboard mapped: it sends [`REQUEST`] on its log socket with one end of a socket pair
//! attached, and gets one packet there with a memfd attached that holds the snapshot. Nothing of that can hold the log
//! writer up.

use serde::{Deserialize, Serialize};

use crate::wire::{Malformed, malformed};

/// The packet that asks for a snapshot. No [`crate::line`] packet is this short.
pub const REQUEST: &[u8] = b"scoreboard";

/// The most bytes of an encoded snapshot: ten thousand threads with full texts stay below.
pub const MAX_SNAPSHOT: usize = 4 * 1024 * 1024;

/// The whole scoreboard. Times are microseconds since the epoch, 0 for "never".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `ServerLimit`
    pub server_limit: u32,
    /// `ThreadLimit`
    pub thread_limit: u32,
    /// The generation that is running.
    pub generation: u32,
    /// When the server was started or restarted.
    pub restart_time: i64,
    /// One for each place, also for those that nobody has.
    pub processes: Vec<Process>,
}

/// A place of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// 0 when nobody has it.
    pub pid: u32,
    /// The generation of the configuration that the child serves.
    pub generation: u32,
    /// It is leaving.
    pub quiescing: bool,
    /// One for each place of a thread.
    pub workers: Vec<Worker>,
}

/// A place of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number.
    pub number: u32,
    /// The generation of the configuration that it serves.
    pub generation: u32,
    /// One of `._SRWKLDCGI`.
    pub status: u8,
    /// Requests.
    pub access_count: u64,
    /// Bytes sent.
    pub bytes_served: u64,
    /// When its last request began.
    pub start_time: i64,
    /// When its last request ended.
    pub stop_time: i64,
    /// When it changed its state last.
    pub last_used: i64,
    /// The client; empty without `ExtendedStatus`.
    pub client: Vec<u8>,
    /// The request's line.
    pub request: Vec<u8>,
    /// The virtual host.
    pub vhost: Vec<u8>,
}

/// Encodes a snapshot.
///
/// # Errors
/// When it is larger than [`MAX_SNAPSHOT`].
pub fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, Malformed> {
    match postcard::to_extend(snapshot, Vec::new()) {
        Ok(bytes) if bytes.len() <= MAX_SNAPSHOT => Ok(bytes),
        _ => malformed("scoreboard"),
    }
}

/// Reads a snapshot.
///
/// # Errors
/// When it is not one.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((snapshot, [])) => Ok(snapshot),
        _ => malformed("scoreboard"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_survives() {
        let worker =
            Worker { number: 3, status: b'W', access_count: 7, client: b"\xff1".to_vec(), ..Worker::default() };
        let process = Process { number: 1, pid: 4711, quiescing: true, workers: vec![worker], ..Process::default() };
        let snapshot = Snapshot { server_limit: 2, restart_time: -1, processes: vec![process], ..Snapshot::default() };
        let bytes = encode(&snapshot).expect("small");
        assert_eq!(decode(&bytes), Ok(snapshot));
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
