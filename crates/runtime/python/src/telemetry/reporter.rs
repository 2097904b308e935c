//! The thread that sends.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wsgi_protocol::abi::Level;
use wsgi_protocol::launch::Telemetry;

use super::collections;
use super::packet::{Kind, Packet};
use super::slow::Slowness;
use crate::engine::Engine;
use crate::logging::Setting;
use crate::metrics::{Memory, Report, float};
use crate::wsgi::adapter::now;
use crate::wsgi::environ::COMPATIBLE_VERSION;

/// The length of a socket's path with the NUL that ends it.
const LONGEST_PATH: usize = 108;

/// Sends reports until it is stopped.
pub(crate) struct Reporter {
    sender: Outlet,
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// Where datagrams go.
struct Outlet {
    setting: &'static Setting,
    telemetry: &'static Telemetry,
    socket: UnixDatagram,
    path: PathBuf,
    sequence: Mutex<u32>,
    host: Vec<u8>,
    python: Vec<u8>,
    switch_interval: f64,
}

/// The name of this machine.
fn host_name() -> Vec<u8> {
    let mut name = [0u8; 256];
    // SAFETY: room for as many bytes as it says.
    if unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } != 0 {
        return Vec::new();
    }
    name.into_iter().take_while(|byte| *byte != 0).collect()
}

/// The running Python's version.
fn python_version() -> Vec<u8> {
    // SAFETY: a constant text.
    let version = unsafe { std::ffi::CStr::from_ptr(pyo3::ffi::Py_GetVersion()) };
    version.to_bytes().split(|byte| *byte == b' ').next().unwrap_or_default().to_vec()
}

fn open(telemetry: &Telemetry) -> std::io::Result<UnixDatagram> {
    if telemetry.path.len() >= LONGEST_PATH {
        return Err(std::io::Error::other(format!("its path is longer than {} bytes", LONGEST_PATH - 1)));
    }
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Reporter {
    /// Starts the thread, when the configuration wants it. What hinders it is logged.
    pub(crate) fn start(engine: &'static Engine, setting: &'static Setting) -> Option<&'static Self> {
        let telemetry = setting.config.telemetry.as_ref()?;
        if setting.is_service() {
            return None;
        }
        let target = String::from_utf8_lossy(&telemetry.target);
        let socket = match open(telemetry) {
            Ok(socket) => socket,
            Err(error) => {
                let text =
                    format!("WSGI0132: Telemetry target '{target}' cannot be opened ({error}); nothing is sent.");
                setting.log(Level::Warning, &text);
                return None;
            }
        };
        let sender = Outlet {
            setting,
            telemetry,
            socket,
            path: PathBuf::from(OsString::from_vec(telemetry.path.clone())),
            sequence: Mutex::new(0),
            host: host_name(),
            python: python_version(),
            switch_interval: engine.switch_interval(),
        };
        let reporter: &'static Self = Box::leak(Box::new(Self { sender, thread: Mutex::new(None) }));
        reporter.started();
        let (stop, stopped) = channel::<()>();
        let interval = Duration::try_from_secs_f64(telemetry.interval).unwrap_or(Duration::from_secs(1));
        let thread = std::thread::Builder::new().name("wsgi:telemetry".to_owned()).spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                reporter.report(engine);
            }
            reporter.report(engine);
        });
        match thread {
            Ok(thread) => *reporter.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, thread)),
            Err(error) => {
                let text = format!("WSGI0133: The thread of telemetry cannot be made ({error}); nothing is sent.");
                setting.log(Level::Warning, &text);
                return None;
            }
        }
        let interval = telemetry.interval;
        setting.log(Level::Info, &format!("Telemetry reporter started; target='{target}', interval={interval:.3}s."));
        Some(reporter)
    }

    fn started(&self) {
        let mut packet = Packet::new(Kind::Started);
        self.identity(&mut packet);
        packet.number(13, self.sender.switch_interval);
        self.send(packet);
    }

    /// The process has decided to end. `reason` is empty in embedded mode.
    pub(crate) fn stopping(&self, reason: &str, active: u64) {
        let mut packet = Packet::new(Kind::Stopping);
        self.name(&mut packet);
        packet.text(130, reason.as_bytes());
        packet.count(133, active);
        self.send(packet);
    }

    /// Sends the last report and ends the thread. Without the GIL.
    pub(crate) fn finish(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = thread {
            drop(stop);
            // It has nothing to say that was not sent.
            let _ = thread.join();
        }
    }

    /// The process has ended: cleanly, or because it had to be aborted.
    pub(crate) fn stopped(&self, reason: &str, clean: bool, (requests, active): (u64, u64)) {
        let mut packet = Packet::new(Kind::Stopped);
        self.name(&mut packet);
        packet.text(130, reason.as_bytes());
        let uptime = u64::try_from(now() - self.sender.setting.ledger.started()).unwrap_or(0);
        packet.number(131, float(uptime) / 1e6);
        packet.count(132, requests);
        packet.count(134, active);
        packet.count(135, u64::from(clean));
        self.send(packet);
    }

    fn send(&self, mut packet: Packet) {
        // Held while sending, which does not wait: datagrams arrive in the order of their numbers.
        let mut sequence = self.sender.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        *sequence = sequence.wrapping_add(1);
        packet.number_as(*sequence);
        // A receiver that is not there, or does not keep up, gets nothing.
        let _ = self.sender.socket.send_to(packet.bytes(), &self.sender.path);
    }

    /// Host and group.
    fn name(&self, packet: &mut Packet) {
        packet.text(5, &self.sender.host);
        packet.text(6, &self.sender.setting.config.process_group);
    }

    fn identity(&self, packet: &mut Packet) {
        let server = &self.sender.setting.config.server;
        let [major, minor, patch] = COMPATIBLE_VERSION;
        packet.text(1, format!("{major}.{minor}.{patch}").as_bytes());
        packet.text(2, &self.sender.python);
        let (major, minor, patch) = server.version;
        packet.text(3, format!("Apache/{major}.{minor}.{patch}").as_bytes());
        packet.text(4, &server.mpm_name);
        self.name(packet);
        packet.count(7, u64::from(std::os::unix::process::parent_id()));
    }

    fn report(&self, engine: &'static Engine) {
        let setting = self.sender.setting;
        let report = setting.ledger.drain(setting.config.threads_per_process);
        self.requests(&report);
        for slowness in setting.ledger.slow_requests() {
            self.slow(&slowness);
        }
        for interpreter in engine.all() {
            let (collections, dropped) = interpreter.collections.take();
            let mut packet = Packet::new(Kind::GcSnapshot);
            packet.text(8, &interpreter.group);
            let told = engine.visit(interpreter, |py| match collections::snapshot(py, dropped, &mut packet) {
                Ok(()) => true,
                Err(raised) => {
                    raised.forget(py);
                    false
                }
            });
            if told == Some(true) {
                self.send(packet);
            }
            for collection in &collections {
                let mut packet = Packet::new(Kind::GcEvent);
                packet.text(8, &interpreter.group);
                collection.write(&mut packet);
                self.send(packet);
            }
        }
    }

    fn slow(&self, slowness: &Slowness) {
        let mut packet = Packet::new(Kind::SlowRequest);
        slowness.write(&mut packet);
        self.send(packet);
    }

    fn requests(&self, report: &Report) {
        let mut packet = Packet::new(Kind::Request);
        self.identity(&mut packet);
        packet.number(10, report.period);
        packet.number(11, self.sender.telemetry.interval);
        packet.number(12, self.sender.telemetry.slow_requests);
        packet.number(13, self.sender.switch_interval);
        let window = &report.window;
        packet.count(20, window.requests);
        packet.number(21, report.throughput());
        packet.number(22, report.utilization());
        packet.number(30, report.cpu_user);
        packet.number(31, report.cpu_system);
        packet.number(32, report.cpu_user + report.cpu_system);
        let memory = Memory::now();
        packet.count(40, memory.present);
        packet.count(41, memory.most);
        packet.count(50, u64::from(report.maximum));
        packet.count(51, report.started as u64);
        packet.count(52, report.active as u64);
        let embedded = self.sender.setting.embedded();
        let phases =
            || window.phases.iter().zip(0u16..).filter(move |(_, index)| !embedded || !(1..=2).contains(index));
        for (phase, index) in phases() {
            packet.number(60 + index, phase.mean());
        }
        for (phase, index) in phases() {
            if let Some((least, most)) = phase.extremes() {
                packet.number(70 + index, float(least) / 1e6);
                packet.number(80 + index, float(most) / 1e6);
            }
        }
        for (phase, index) in phases() {
            let buckets = phase.buckets.iter().map(|count| i32::try_from(*count).unwrap_or(i32::MAX));
            packet.integers(90 + index, buckets);
        }
        packet.count(100, window.input_bytes);
        packet.count(101, window.input_reads);
        packet.count(102, window.output_bytes);
        packet.count(103, window.output_writes);
        for (count, id) in window.statuses.iter().zip(120u16..) {
            packet.count(id, *count);
        }
        let slots = &report.slots;
        let time = |micros: u64| float(micros) / 1e6;
        packet.integers(110, slots.iter().map(|slot| i32::try_from(slot.completed).unwrap_or(i32::MAX)));
        packet.numbers(111, slots.iter().map(|slot| time(slot.busy)));
        packet.numbers(112, slots.iter().map(|slot| time(slot.cpu)));
        packet.numbers(113, slots.iter().map(|slot| time(slot.elapsed)));
        packet.numbers(114, slots.iter().map(|slot| time(slot.longest)));
        self.send(packet);
    }
}
