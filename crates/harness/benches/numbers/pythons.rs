//! How far two requests that compute get in the time of one: in two processes, in two interpreters of a process with a lock
//! each, and in two threads without a lock.

use std::time::{Duration, Instant};

use crate::client::Connection;
use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::statistics::median;
use crate::{Failure, Places};

const APPLICATION: &str = r#"def application(environ, start_response):
    total = 0
    for number in range(150000):
        total += number * number % 7
    body = b"%d\n" % total
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// Two interpreters of the one process.
const INTERPRETERS: &str = "WSGIScriptAlias /one ROOT/app.wsgi process-group=bench application-group=one\n\
                            WSGIScriptAlias /two ROOT/app.wsgi process-group=bench application-group=two";

/// Turns of each kind, and the length of one.
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(2);

/// One way of doing two things at once.
struct Way {
    what: &'static str,
    options: &'static str,
    lines: String,
    paths: [&'static str; 2],
    bound: f64,
    engine: &'static str,
}

/// What the bound is for two processes, and for two interpreters or threads of one.
const OF_PROCESSES: f64 = 1.8;
const WITHIN_ONE: f64 = 1.7;

/// Each way beside two processes of the same Python. Without its engine a way has a row all the same.
pub(crate) fn scale(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let ways = [
        Way {
            what: "two processes on 3.13",
            options: "processes=2 threads=2 python=3.13",
            lines: String::new(),
            paths: ["/", "/"],
            bound: OF_PROCESSES,
            engine: "3.13",
        },
        Way {
            what: "two interpreters with a lock each on 3.13 (WSGIPerInterpreterGIL)",
            options: "threads=4 python=3.13",
            lines: format!("WSGIPerInterpreterGIL On\n{INTERPRETERS}"),
            paths: ["/one", "/two"],
            bound: WITHIN_ONE,
            engine: "3.13",
        },
        Way {
            what: "two processes on 3.13t",
            options: "processes=2 threads=2 python=3.13t",
            lines: "WSGIFreeThreading On".to_owned(),
            paths: ["/", "/"],
            bound: OF_PROCESSES,
            engine: "3.13t",
        },
        Way {
            what: "two threads without a lock on 3.13t (WSGIFreeThreading)",
            options: "threads=4 python=3.13t",
            lines: "WSGIFreeThreading On".to_owned(),
            paths: ["/", "/"],
            bound: WITHIN_ONE,
            engine: "3.13t",
        },
    ];
    ways.iter()
        .map(|way| {
            let is_there = places.dist.join(format!("wsgi-daemon-{}", way.engine)).exists();
            let (value, detail) = if is_there { measured(&modules, way)? } else { (None, way.missing()) };
            Ok(Row {
                what: format!("computing requests of {}: two clients against one", way.what),
                value,
                unit: "×",
                bound: Bound::AtLeast(way.bound),
                detail,
            })
        })
        .collect()
}

impl Way {
    /// How to get what is not there.
    fn missing(&self) -> String {
        let (version, more) = match self.engine.strip_suffix('t') {
            Some(version) => (version, " FREE_THREADED=1"),
            None => (self.engine, ""),
        };
        format!("there is no engine for {}: make engine VERSION={version}{more}", self.engine)
    }
}

/// How many times as much two clients get as one, and what that was made from.
fn measured(modules: &Modules, way: &Way) -> Result<(Option<f64>, String), Failure> {
    let site = Site { options: way.options, lines: &way.lines, ..Site::new(Mode::Daemon, APPLICATION) };
    let served = Served::start(modules, Some(Module::Ours), &site)?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for path in way.paths {
        rate(&served, &[path], Duration::from_millis(300))?;
    }
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            alone.push(rate(&served, &way.paths[..1], TURN)?);
            together.push(rate(&served, &way.paths, TURN)?);
        } else {
            together.push(rate(&served, &way.paths, TURN)?);
            alone.push(rate(&served, &way.paths[..1], TURN)?);
        }
    }
    served.stop()?;
    let (alone, together) = (median(&alone), median(&together));
    let detail =
        format!("{together:.0} against {alone:.0} requests/s, medians of {ROUNDS} turns of {} s", TURN.as_secs());
    Ok((Some(together / alone), detail))
}

/// Requests per second of clients that each ask for their path again and again.
fn rate(served: &Served, paths: &[&str], turn: Duration) -> Result<f64, Failure> {
    let began = Instant::now();
    let client = |path: &str| -> Result<u32, String> {
        let mut connection = Connection::open(served.address()).map_err(|cause| cause.to_string())?;
        while began.elapsed() < turn {
            match connection.request("GET", path, b"") {
                Ok(200) => {}
                Ok(status) => return Err(format!("{path} was answered with status {status}")),
                Err(broken) => return Err(format!("{path}: {}", broken.cause)),
            }
        }
        Ok(connection.answered)
    };
    let mut answered = 0;
    std::thread::scope(|scope| {
        let clients: Vec<_> = paths.iter().map(|path| scope.spawn(move || client(path))).collect();
        for client in clients {
            answered += client.join().map_err(|_| "a client panicked")??;
        }
        Ok::<(), Failure>(())
    })?;
    Ok(f64::from(answered) / began.elapsed().as_secs_f64())
}
