//! Telemetry, read by a receiver written here from the description of the wire format.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use wsgi_protocol::launch::{Python, Telemetry};
use wsgi_python::engine::Engine;

use crate::process::passed;
use crate::server::{Client, JOURNAL, file, folder, journal, request, start};

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Count(u64),
    Number(f64),
    Text(String),
    Integers(Vec<i32>),
    Numbers(Vec<f64>),
}

#[derive(Debug)]
struct Datagram {
    kind: u8,
    pid: u32,
    sequence: u32,
    stamp: f64,
    fields: BTreeMap<u16, Value>,
}

/// Takes bytes from the front.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk().expect("the datagram is complete");
    *rest = tail;
    *head
}

fn decode(bytes: &[u8]) -> Datagram {
    assert!(bytes.len() <= 8192);
    let mut rest = bytes;
    assert_eq!(take::<4>(&mut rest), *b"WSGI");
    let [version, kind] = take(&mut rest);
    assert_eq!((version, take::<2>(&mut rest)), (1, [0, 0]));
    let (pid, sequence) = (u32::from_le_bytes(take(&mut rest)), u32::from_le_bytes(take(&mut rest)));
    let stamp = f64::from_le_bytes(take(&mut rest));
    let mut fields = BTreeMap::new();
    while !rest.is_empty() {
        let id = u16::from_le_bytes(take(&mut rest));
        let [kind] = take(&mut rest);
        let mut length = |present: bool| if present { usize::from(u16::from_le_bytes(take(&mut rest))) } else { 0 };
        let count = length((4..=6).contains(&kind));
        let value = match kind {
            1 => Value::Count(u64::from_le_bytes(take(&mut rest))),
            2 => Value::Number(f64::from_le_bytes(take(&mut rest))),
            4 => Value::Text(String::from_utf8((0..count).map(|_| take::<1>(&mut rest)[0]).collect()).expect("text")),
            5 => Value::Integers((0..count).map(|_| i32::from_le_bytes(take(&mut rest))).collect()),
            6 => Value::Numbers((0..count).map(|_| f64::from_le_bytes(take(&mut rest))).collect()),
            other => panic!("type {other} of field {id}"),
        };
        assert!(fields.insert(id, value).is_none(), "field {id} stands twice");
    }
    Datagram { kind, pid, sequence, stamp, fields }
}

impl Datagram {
    fn count(&self, id: u16) -> u64 {
        match self.fields.get(&id) {
            Some(Value::Count(count)) => *count,
            other => panic!("field {id}: {other:?}"),
        }
    }

    fn number(&self, id: u16) -> f64 {
        match self.fields.get(&id) {
            Some(Value::Number(number)) => *number,
            other => panic!("field {id}: {other:?}"),
        }
    }

    fn text(&self, id: u16) -> &str {
        match self.fields.get(&id) {
            Some(Value::Text(text)) => text,
            other => panic!("field {id}: {other:?}"),
        }
    }

    fn integers(&self, id: u16) -> &[i32] {
        match self.fields.get(&id) {
            Some(Value::Integers(values)) => values,
            other => panic!("field {id}: {other:?}"),
        }
    }

    fn numbers(&self, id: u16) -> &[f64] {
        match self.fields.get(&id) {
            Some(Value::Numbers(values)) => values,
            other => panic!("field {id}: {other:?}"),
        }
    }

    fn ids(&self) -> Vec<u16> {
        self.fields.keys().copied().collect()
    }
}

/// What arrives at a path, read at once: the kernel keeps ten datagrams only.
fn receiver(path: &Path) -> Receiver<Datagram> {
    let socket = UnixDatagram::bind(path).expect("a new path");
    let (found, all) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count) = socket.recv(&mut buffer) {
            if found.send(decode(&buffer[..count])).is_err() {
                break;
            }
        }
    });
    all
}

/// Receives until `enough` says so.
fn receive(from: &Receiver<Datagram>, into: &mut Vec<Datagram>, enough: impl Fn(&[Datagram]) -> bool) {
    while !enough(into) {
        match from.recv_timeout(Duration::from_secs(20)) {
            Ok(datagram) => into.push(datagram),
            Err(error) => panic!("{error}: {into:#?}"),
        }
    }
}

fn telemetry(path: &Path) -> Telemetry {
    Telemetry {
        target: [b"unix:", path.as_os_str().as_bytes()].concat(),
        path: path.as_os_str().as_bytes().to_vec(),
        interval: 0.1,
        slow_requests: 0.25,
        capture_user_agent: false,
    }
}

const STARTED: u8 = 5;
const REQUEST: u8 = 2;
const SLOW: u8 = 4;
const STOPPING: u8 = 6;
const STOPPED: u8 = 7;
const GC_SNAPSHOT: u8 = 8;
const GC_EVENT: u8 = 9;

// Covers: rule:telemetry/kind-process-started, rule:telemetry/kind-request, rule:telemetry/kind-stopping
// Covers: rule:telemetry/kind-stopped, rule:telemetry/kind-slow-completed, rule:telemetry/kind-slow-active
// Covers: rule:telemetry/kind-gc, rule:telemetry/user-agent-private, rule:telemetry/in-process-none
// Covers: rule:telemetry/started-line, rule:telemetry/interval, directive:WSGISlowRequests
#[test]
fn a_process_tells_its_whole_life() {
    passed("telemetry::life_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn life_inside() {
    let path = folder().join("life.sock");
    let socket = receiver(&path);
    let config = Python {
        telemetry: Some(telemetry(&path)),
        threads_per_process: 3,
        destroy_interpreter: true,
        ..Python::default()
    };
    let engine = start(config).expect("Python starts");
    let script = file(
        "life.wsgi",
        b"import gc, mod_wsgi, time\ngc.collect(1)\ndef application(e, s):\n    if e['QUERY_STRING'] == 'slow': time.sleep(0.6)\n    \
          body = e['wsgi.input'].read()\n    s('201 Created', [])\n    return [repr((mod_wsgi.request_metrics(), \
          mod_wsgi.process_metrics())).encode()]\n",
    );
    let entry = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let entries =
        vec![entry("QUERY_STRING", "slow"), entry("HTTP_USER_AGENT", "secret"), entry("REMOTE_ADDR", "192.0.2.1")];
    let reply = request(&script, Client { entries, ..Client::post(&[b"abc"]) });
    assert_eq!(reply.text(), "(None, None)");
    let mut all = Vec::new();
    let ended = |datagram: &Datagram| datagram.kind == SLOW && datagram.count(200) == 1;
    receive(&socket, &mut all, |all| all.iter().any(ended));
    engine.stop("test_reason");
    receive(&socket, &mut all, |all| all.iter().any(|datagram| datagram.kind == STOPPED));

    let pid = std::process::id();
    assert!(all.iter().all(|datagram| datagram.pid == pid && datagram.stamp > 1.6e9));
    assert!(all.iter().zip(1..).all(|(datagram, number)| datagram.sequence == number), "{all:#?}");
    let of = |kind: u8| all.iter().filter(|datagram| datagram.kind == kind).collect::<Vec<_>>();

    let started = &all[0];
    assert_eq!((started.kind, started.ids()), (STARTED, vec![1, 2, 3, 5, 7, 13]));
    assert_eq!((started.text(1), started.text(3)), ("6.1.1", "Apache/0.0.0"));
    assert!(started.text(2).starts_with("3.") && started.number(13) > 0.0);

    let requests = of(REQUEST);
    let total = |id: u16| requests.iter().map(|datagram| datagram.count(id)).sum::<u64>();
    assert_eq!((total(20), total(100), total(101), total(103), total(121)), (1, 3, 1, 1, 1));
    let served = requests.iter().find(|datagram| datagram.count(20) == 1).expect("one has it");
    let phases = [0, 3, 4, 5, 6, 7];
    let mut expected: Vec<u16> = vec![1, 2, 3, 5, 7, 10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 50, 51, 52];
    for first in [60, 70, 80, 90] {
        expected.extend(phases.map(|phase| first + phase));
    }
    expected.extend((100..=103).chain(110..=114).chain(120..=124));
    assert_eq!(served.ids(), expected);
    assert_eq!((served.number(11), served.number(12), served.count(50)), (0.1, 0.25, 3));
    assert!(served.number(63) >= 0.6 && served.number(73) == served.number(83) && served.number(10) > 0.0);
    assert_eq!(served.integers(93).len(), 65);
    assert_eq!((served.integers(93).iter().sum::<i32>(), served.integers(110)), (1, &[1, 0, 0][..]));
    assert!(served.numbers(114)[0] >= 0.6 && served.count(40) > 1 << 20);
    // Each report has the part of the request that fell into it.
    let busy: f64 = requests.iter().map(|datagram| datagram.numbers(111)[0]).sum();
    assert!((0.6..1.5).contains(&busy), "{busy}");

    let slow = of(SLOW);
    let running = slow.iter().find(|datagram| datagram.count(200) == 0).expect("it was seen while it ran");
    assert!((0.25..1.0).contains(&running.number(202)) && running.number(223) >= 0.25);
    assert_eq!((running.count(240), running.text(214)), (0, "/"));
    let ended = slow.iter().find(|datagram| datagram.count(200) == 1).expect("and at its end");
    assert!(ended.number(202) >= 0.6 && ended.number(201) == running.number(201));
    assert_eq!((ended.count(240), ended.count(230), ended.count(203), ended.count(260)), (201, 3, 1, 1));
    assert_eq!((ended.text(204), ended.text(210), ended.text(216)), ("request-id", "POST", "192.0.2.1"));
    assert!(!all.iter().any(|datagram| datagram.fields.contains_key(&217)), "nobody asked for the user agent");

    let snapshot = of(GC_SNAPSHOT)[0];
    assert_eq!(snapshot.ids(), (300..=317).collect::<Vec<_>>());
    // The thresholds that this version of Python begins with.
    assert!([700, 2000].contains(&snapshot.count(303)) && snapshot.count(315) == 1, "{}", snapshot.count(303));
    let collection = of(GC_EVENT).into_iter().find(|datagram| datagram.count(322) == 1).expect("the script collected");
    assert_eq!(collection.ids(), [320, 321, 322, 323, 324]);
    assert!(collection.number(321) > 0.0 && collection.number(320) > 1.6e9);

    let [stopping] = of(STOPPING)[..] else { panic!("stopping is said once") };
    assert_eq!((stopping.text(130), stopping.count(133)), ("test_reason", 0));
    let [stopped] = of(STOPPED)[..] else { panic!("stopped is said once") };
    assert_eq!(
        (stopped.text(130), stopped.count(132), stopped.count(134), stopped.count(135)),
        ("test_reason", 1, 0, 1)
    );
    assert!(stopped.number(131) >= 0.6);
    assert!(stopping.sequence < stopped.sequence && stopped.sequence as usize == all.len());
    assert_eq!(journal("Telemetry reporter started; target='unix:").len(), 1);
    assert!(journal("Telemetry reporter started;")[0].text.ends_with(", interval=0.100s."));
}

// Covers: rule:telemetry/send-failures-silent, code:WSGI0132
#[test]
fn a_receiver_that_is_not_there_disturbs_nobody() {
    passed("telemetry::nobody_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn nobody_inside() {
    let path = folder().join("nobody.sock");
    let config = Python {
        telemetry: Some(Telemetry { capture_user_agent: true, slow_requests: 0.001, ..telemetry(&path) }),
        ..Python::default()
    };
    let engine = start(config).expect("Python starts");
    let script = file(
        "nobody.wsgi",
        b"import time\ndef application(e, s):\n    time.sleep(0.01)\n    s('200 OK', [])\n    return [b'ok']\n",
    );
    assert_eq!(request(&script, Client::default()).text(), "ok");
    // Somebody comes later, and hears from then on.
    let socket = receiver(&path);
    let entries = vec![("HTTP_USER_AGENT".to_owned(), Some(b"agent".to_vec()))];
    request(&script, Client { entries, ..Client::default() });
    let mut all = Vec::new();
    let heard =
        |datagram: &Datagram| datagram.kind == SLOW && datagram.fields.get(&217) == Some(&Value::Text("agent".into()));
    receive(&socket, &mut all, |all| all.iter().any(heard));
    engine.stop("");
    assert!(journal("").iter().all(|line| line.level >= 6), "{:#?}", journal(""));
}

// Covers: code:WSGI0132
#[test]
fn a_path_that_no_socket_can_have_is_said_at_the_start() {
    passed("telemetry::long_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn long_inside() {
    let path = folder().join("x".repeat(120));
    let config = Python { telemetry: Some(telemetry(&path)), ..Python::default() };
    Engine::start(config, &JOURNAL).expect("starts").stop("");
    let lines = journal("WSGI0132: Telemetry target 'unix:");
    assert!(lines.len() == 1 && lines[0].level == 4, "{lines:?}");
}

// Covers: rule:telemetry/interval
#[test]
fn a_service_process_sends_nothing() {
    passed("telemetry::service_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn service_inside() {
    let path = folder().join("service.sock");
    let socket = receiver(&path);
    let config = Python {
        telemetry: Some(telemetry(&path)),
        process_group: b"service".to_vec(),
        threads_per_process: 0,
        ..Python::default()
    };
    Engine::start(config, &JOURNAL).expect("starts").stop("");
    assert!(socket.try_recv().is_err());
    assert!(journal("Telemetry").is_empty());
}
