//! What a process that runs Python has to know before it starts.
//!
//! [`Python`] serves both modes: embedded mode hands it over the ABI table, a daemon finds it inside its [`Daemon`], in
//! a sealed memfd. Paths and texts are bytes, as the configuration gave them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::frame::Secret;
use crate::wire::{Malformed, malformed};

/// How Python runs in a process, and what the applications are told of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Python {
    /// `WSGIPythonHome`, `python-home=`.
    pub home: Option<Vec<u8>>,
    /// `WSGIPythonPath`, `python-path=`, split into its entries.
    pub path: Vec<Vec<u8>>,
    /// `WSGIPythonEggs`, `python-eggs=`.
    pub eggs: Option<Vec<u8>>,
    /// `home=`: stands before everything else on `sys.path`.
    pub working_directory: Option<Vec<u8>>,
    /// `WSGIPythonOptimize`.
    pub optimize: u8,
    /// `WSGIPythonWarnings`, in their order.
    pub warnings: Vec<Vec<u8>>,
    /// `WSGIPythonHashSeed`; `None` leaves it to Python.
    pub hash_seed: Option<u32>,
    /// `WSGIDontWriteBytecode On`.
    pub dont_write_bytecode: bool,
    /// `WSGIDestroyInterpreter On`: end Python properly when the process ends.
    pub destroy_interpreter: bool,
    /// `WSGISwitchInterval` in seconds.
    pub switch_interval: Option<f64>,
    /// `WSGIFreeThreading On`: without a GIL, where the engine's Python can do that.
    pub free_threading: bool,
    /// The restrictions where no [`Scope`] says otherwise.
    pub restrict: Restrict,
    /// `<WSGIInterpreterOptions>` blocks that apply to this process, least specific first.
    pub scopes: Vec<Scope>,
    /// `WSGIMaximumInterpreters`; 0 is no cap.
    pub maximum_interpreters: u32,
    /// How many of those are kept for groups that the configuration names ([`crate::request::OWN_GROUP`]).
    pub kept_interpreters: u32,
    /// `WSGILogFormat json`, for what belongs to no request.
    pub json_log: bool,
    /// Scripts to load at the start, in their order.
    pub imports: Vec<Import>,
    /// What applications are told of the server.
    pub server: Server,
    /// The daemon process group; empty in embedded mode.
    pub process_group: Vec<u8>,
    /// `mod_wsgi.maximum_processes`.
    pub maximum_processes: u32,
    /// `mod_wsgi.threads_per_process`.
    pub threads_per_process: u32,
    /// `wsgi.multithread`.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// `wsgi.run_once`.
    pub run_once: bool,
    /// The process is the server's only one and has its console: standard input and output are left alone.
    pub console: bool,
    /// `WSGIServerMetrics`, `server-metrics=`: applications may look at the scoreboard.
    pub server_metrics: bool,
    /// `WSGITelemetryService`.
    pub telemetry: Option<Telemetry>,
}

/// Where telemetry goes, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// As the directive has it, for the log.
    pub target: Vec<u8>,
    /// The path of a datagram socket.
    pub path: Vec<u8>,
    /// Seconds between reports.
    pub interval: f64,
    /// `WSGISlowRequests` in seconds; 0 is off.
    pub slow_requests: f64,
    /// `WSGITelemetryOptions CaptureUserAgent`.
    pub capture_user_agent: bool,
}

/// What of the process's own facilities applications may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restrict {
    /// `WSGIRestrictStdin On`.
    pub stdin: bool,
    /// `WSGIRestrictStdout On`.
    pub stdout: bool,
    /// `WSGIRestrictSignal On`.
    pub signal: bool,
}

impl Default for Restrict {
    fn default() -> Self {
        Self { stdin: false, stdout: false, signal: true }
    }
}

/// One `<WSGIInterpreterOptions>` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// The application group that it is for; `None` is every one.
    pub application_group: Option<Vec<u8>>,
    /// Overrides [`Restrict::stdin`].
    pub restrict_stdin: Option<bool>,
    /// Overrides [`Restrict::stdout`].
    pub restrict_stdout: Option<bool>,
    /// Overrides [`Restrict::signal`].
    pub restrict_signal: Option<bool>,
    /// An interval of just these interpreters, where they have a GIL of their own.
    pub switch_interval: Option<f64>,
    /// `WSGIPerInterpreterGIL`.
    pub own_gil: Option<bool>,
    /// Put in front of [`Python::path`].
    pub path: Vec<Vec<u8>>,
}

/// A script to load at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The script file's path.
    pub script: Vec<u8>,
    /// The application group; empty is the main interpreter.
    pub application_group: Vec<u8>,
}

/// What applications are told of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `apache.version`.
    pub version: (u32, u32, u32),
    /// `apache.description`.
    pub description: Vec<u8>,
    /// `apache.build_date`.
    pub build_date: Vec<u8>,
    /// `apache.mpm_name`.
    pub mpm_name: Vec<u8>,
    /// `apache.maximum_processes`.
    pub maximum_processes: u32,
    /// `apache.threads_per_process`.
    pub threads_per_process: u32,
}

/// One daemon process. Descriptors are numbers in the daemon; times are milliseconds, 0 is "off".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Python's side.
    pub python: Python,
    /// The group's name.
    pub group: Vec<u8>,
    /// The process's number in its group, from 0: its slot on the status page.
    pub index: u32,
    /// How many processes the status page has places for.
    pub page_processes: u32,
    /// Which start of its slot this process is ([`crate::page::ProcessSlot::generation`]).
    pub generation: u32,
    /// `threads=`; 0 is a service process.
    pub threads: u32,
    /// `stack-size=` of worker threads in bytes; 0 is the system's.
    pub stack_size: u64,
    /// `maximum-requests=`; 0 is off.
    pub maximum_requests: u64,
    /// The timers.
    pub timeouts: Timeouts,
    /// The descriptors it inherits.
    pub descriptors: Descriptors,
    /// What every connection has to begin with.
    pub secret: Secret,
    /// The users whose processes may connect: the kernel says whose a connection is.
    pub peers: Vec<u32>,
    /// The highest [`crate::abi::Level`] number worth sending.
    pub log_level: u8,
    /// `locale=`: the environment has it already; it is checked before Python starts.
    pub locale: Option<Vec<u8>>,
    /// `chroot=`: where the process confines itself before it does anything else.
    pub chroot: Option<Chroot>,
    /// `send-buffer-size=`: `SO_SNDBUF` of accepted connections; 0 is the system's.
    pub send_buffer_size: u32,
    /// `receive-buffer-size=`: `SO_RCVBUF` of accepted connections; 0 is the system's.
    pub receive_buffer_size: u32,
    /// The directory that core files are wanted in (`CoreDumpDirectory`).
    pub dumpable: bool,
    /// `rolling=On`: the process goes on serving until a successor that it asked for serves.
    pub rolling: bool,
    /// The process may ask for a successor, with [`Descriptors::bell`].
    pub asks: bool,
    /// `handover=sequential`: its successor starts when it has ended.
    pub sequential: bool,
    /// `fork-after-load=On`: the process is the group's loader ([`crate::loader`]), whose [`Descriptors::control`] is
    /// the socket to the server. What belongs to one process of the group comes with the order to fork it.
    pub loader: bool,
    /// Options of later versions by name, so that an older engine may ignore them knowingly.
    pub extra: BTreeMap<String, Vec<u8>>,
}

/// Where a process confines itself. The engine and its libraries are loaded from outside; the process arrives as its
/// own user with `CAP_SYS_CHROOT` and no other privilege, and gives that up too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chroot {
    /// The new root directory.
    pub root: Vec<u8>,
    /// Where to go inside; the root itself when there is nothing else.
    pub directory: Option<Vec<u8>>,
    /// The number of the code that a failure to go there has.
    pub directory_code: u16,
}

/// The timers of a daemon in milliseconds; 0 is "off".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the option of WSGIDaemonProcess with this name")]
pub struct Timeouts {
    pub startup: u64,
    pub shutdown: u64,
    pub deadlock: u64,
    pub inactivity: u64,
    pub request: u64,
    pub interrupt: u64,
    pub graceful: u64,
    pub handover: u64,
    pub eviction: u64,
    pub restart_interval: u64,
    pub queue: u64,
    pub socket: u64,
}

/// How long the successor of a process may load with `rolling=On` where `startup-timeout=` does not say so.
const LOADING: u64 = 300_000;

impl Timeouts {
    /// How long the successor of a process that goes on serving may take until it serves.
    #[must_use]
    pub fn loading(&self) -> Duration {
        Duration::from_millis(if self.startup == 0 { LOADING } else { self.startup })
    }
}

/// The descriptors that a daemon inherits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// This process's own listening socket; a loader has none.
    pub listener: i32,
    /// The group's overflow listener, polled while a thread is free.
    pub overflow: Option<i32>,
    /// Where log lines go: a sequenced-packet socket to the server's log writer, one [`crate::line`] per packet.
    pub log: i32,
    /// The status page's memfd.
    pub page: i32,
    /// Closed when the parent is gone; [`LEAVE`] on it says that a successor serves.
    pub control: i32,
    /// The writing end of the predecessor's control pipe, told to leave once this process accepts.
    pub predecessor: Option<i32>,
    /// Where a rolling process asks the server to look for processes that want a successor, and a loader to read its
    /// reports: the writing end of a pipe.
    pub bell: Option<i32>,
    /// The memfd where a rolling process notes the scripts that it has loaded ([`crate::scripts`]).
    pub scripts: Option<i32>,
    /// The predecessor's, given to a successor that a process asked for: it has to load the same before it serves.
    pub inherited_scripts: Option<i32>,
}

/// The exit status of a successor that cannot load what its predecessor serves, or not in time (`EX_TEMPFAIL`).
pub const GIVEN_UP: i32 = 75;

/// The exit status of a process whose descriptors the application has closed (`EX_PROTOCOL`).
pub const DESCRIPTORS_LOST: i32 = 76;

/// The byte on a control pipe that tells a process that its successor has begun to accept.
pub const LEAVE: u8 = b'L';

/// The number of the descriptor on which a daemon finds its launch configuration.
pub const LAUNCH_DESCRIPTOR: i32 = 3;

/// The most bytes of an encoded launch configuration.
pub const MAX_LAUNCH: usize = 4 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"wsgi-rs1";

/// Encodes a launch configuration.
///
/// # Errors
/// When it is larger than [`MAX_LAUNCH`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Malformed> {
    let encoded = postcard::to_extend(value, MAGIC.to_vec());
    match encoded {
        Ok(bytes) if bytes.len() <= MAX_LAUNCH => Ok(bytes),
        _ => malformed("launch configuration"),
    }
}

/// Decodes a launch configuration.
///
/// # Errors
/// When it is not one of this version.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return malformed("launch configuration (magic)");
    };
    if bytes.len() > MAX_LAUNCH {
        return malformed("launch configuration (size)");
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        _ => malformed("launch configuration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_launch_survives() {
        let daemon = Daemon {
            group: b"web".to_vec(),
            threads: 15,
            secret: [7; 32],
            peers: vec![0, 33],
            python: Python {
                path: vec![b"/srv/\xff".to_vec()],
                switch_interval: Some(0.005),
                imports: vec![Import { script: b"/srv/a.wsgi".to_vec(), application_group: Vec::new() }],
                ..Python::default()
            },
            ..Daemon::default()
        };
        let bytes = encode(&daemon).expect("small");
        assert_eq!(decode::<Daemon>(&bytes), Ok(daemon));
        assert!(decode::<Daemon>(&bytes[..bytes.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(tail);
            let _ = decode::<Daemon>(&bytes);
        }
    }
}
