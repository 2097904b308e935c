//! What becomes of requests while the server restarts gracefully, again and again, under load: of short ones, and of such that
//! take longer than Apache gives a process to end.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::Connection;
use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::{Failure, Places};

const APPLICATION: &str = r#"import time

def application(environ, start_response):
    body = b"%d bytes\n" % len(environ["wsgi.input"].read())
    if environ["PATH_INFO"] == "/slow":
        time.sleep(6)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

const RESTARTS: usize = 20;
/// Between the requests of one client, so that both modules get the same load.
const PAUSE: Duration = Duration::from_millis(2);
/// Load between two restarts.
const BETWEEN: Duration = Duration::from_millis(500);

/// More than travels along with a request: the rest is asked for while the application reads.
const UPLOAD: &[u8] = &[b'u'; 40_000];

/// One client: with kept or with new connections.
#[derive(Clone, Copy)]
struct Client {
    method: &'static str,
    body: &'static [u8],
    keeps: bool,
    /// Its requests take six seconds.
    slow: bool,
}

const CLIENTS: [Client; 8] = [
    Client { method: "GET", body: b"", keeps: true, slow: false },
    Client { method: "POST", body: b"some bytes of a form", keeps: true, slow: false },
    Client { method: "GET", body: b"", keeps: false, slow: false },
    Client { method: "POST", body: b"some bytes of a form", keeps: false, slow: false },
    Client { method: "GET", body: b"", keeps: true, slow: true },
    Client { method: "POST", body: UPLOAD, keeps: true, slow: true },
    Client { method: "GET", body: b"", keeps: false, slow: true },
    Client { method: "POST", body: UPLOAD, keeps: false, slow: true },
];

/// What clients saw.
#[derive(Default, Clone, Copy)]
struct Counts {
    sent: usize,
    /// No answer, half an answer, another status than 200, or not what was asked for.
    failed: usize,
    /// A kept connection that ended before a byte of the answer; the request was sent once more, as browsers do.
    sent_again: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.sent_again += other.sent_again;
    }
}

/// What clients with short and with slow requests saw.
#[derive(Default, Clone, Copy)]
struct Seen {
    short: Counts,
    slow: Counts,
}

/// Twenty graceful restarts with each module, and with a file in place of the application.
pub(crate) fn compare(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let mut rows = Vec::new();
    for mpm in ["event", "prefork"] {
        let site =
            Site { mpm, options: "processes=2 threads=5 graceful-timeout=10", ..Site::new(Mode::Daemon, APPLICATION) };
        let ours = restarts(&modules, Some(Module::Ours), &site)?;
        let peer = restarts(&modules, Some(Module::Peer), &site)?;
        let file = restarts(&modules, None, &site)?;
        let row = |what: &str, value: usize, most: usize, detail: String| Row {
            what: format!("{what} over {RESTARTS} graceful restarts under load, {mpm} MPM"),
            value: Some(value as f64),
            unit: "requests",
            bound: Bound::AtMost(most as f64),
            detail,
        };
        rows.push(row(
            "requests that failed",
            ours.short.failed,
            0,
            format!(
                "of {}; C mod_wsgi {} of {}; a file without any module {} of {}",
                ours.short.sent, peer.short.failed, peer.short.sent, file.short.failed, file.short.sent
            ),
        ));
        rows.push(row(
            "requests of 6 s that failed",
            ours.slow.failed,
            0,
            format!("of {}; C mod_wsgi {} of {}", ours.slow.sent, peer.slow.failed, peer.slow.sent),
        ));
        rows.push(row(
            "requests on kept connections that had to be sent again",
            ours.short.sent_again,
            // A restart ends each kept connection; whether a request is on its way just then is chance.
            file.short.sent_again + file.short.sent_again.div_ceil(10),
            format!(
                "of {}; a file without any module {} of {}, C mod_wsgi {} of {}",
                ours.short.sent, file.short.sent_again, file.short.sent, peer.short.sent_again, peer.short.sent
            ),
        ));
    }
    Ok(rows)
}

fn restarts(modules: &Modules, module: Option<Module>, site: &Site<'_>) -> Result<Seen, Failure> {
    let served = Served::start(modules, module, site)?;
    let stop = AtomicBool::new(false);
    let mut seen = Seen::default();
    thread::scope(|scope| {
        let (served, stop) = (&served, &stop);
        // A file takes no time.
        let chosen = CLIENTS.iter().filter(|client| module.is_some() || !client.slow);
        let clients: Vec<_> = chosen
            .map(|client| (client.slow, scope.spawn(move || load(served, *client, module.is_none(), stop))))
            .collect();
        let restarted = (0..RESTARTS).try_for_each(|_| {
            thread::sleep(BETWEEN);
            served.restart_gracefully()
        });
        thread::sleep(BETWEEN);
        stop.store(true, Ordering::Relaxed);
        for (slow, client) in clients {
            let counts = client.join().map_err(|_| "a client panicked")?;
            *(if slow { &mut seen.slow } else { &mut seen.short }) += counts;
        }
        restarted
    })?;
    served.stop()?;
    Ok(seen)
}

fn load(served: &Served, client: Client, is_file: bool, stop: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    let mut kept: Option<Connection> = None;
    let path = match (is_file, client.slow) {
        (true, _) => "/app.wsgi",
        (false, true) => "/slow",
        (false, false) => "/",
    };
    let expected = format!("{} bytes\n", client.body.len()).into_bytes();
    let good = |status: u16, content: &[u8]| match (is_file, client.method) {
        // A file may answer a POST with 405, which is an answer.
        (true, "POST") => matches!(status, 200 | 405),
        (true, _) => status == 200,
        (false, _) => status == 200 && content == expected,
    };
    while !stop.load(Ordering::Relaxed) {
        counts.sent += 1;
        let ask = |connection: &mut Option<Connection>| {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(served.address()).map_err(|_| false)?,
            };
            let reused = open.answered > 0;
            let mut content = Vec::new();
            match open.exchange(client.method, path, client.body, &mut content) {
                Ok(status) => {
                    *connection = client.keeps.then_some(open);
                    Ok(good(status, &content))
                }
                Err(broken) => Err(reused && broken.before_answer),
            }
        };
        let answer = match ask(&mut kept) {
            Err(true) => {
                counts.sent_again += 1;
                ask(&mut None)
            }
            answer => answer,
        };
        if answer != Ok(true) {
            counts.failed += 1;
        }
        thread::sleep(PAUSE);
    }
    counts
}
