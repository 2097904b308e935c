//! Requests that fail while the server restarts gracefully, again and again, under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::Connection;
use crate::pair::{Mode, Module, Modules, Served, Site};
use crate::report::{Bound, Row};
use crate::{Failure, Places};

const APPLICATION: &str = r#"def application(environ, start_response):
    body = b"%d bytes\n" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

const RESTARTS: usize = 20;
/// Between the requests of one client, so that both modules get the same load.
const PAUSE: Duration = Duration::from_millis(2);
/// Load between two restarts.
const BETWEEN: Duration = Duration::from_millis(500);

/// One client: with kept or with new connections.
#[derive(Clone, Copy)]
struct Client {
    method: &'static str,
    body: &'static [u8],
    keeps: bool,
}

const CLIENTS: [Client; 4] = [
    Client { method: "GET", body: b"", keeps: true },
    Client { method: "POST", body: b"some bytes of a form", keeps: true },
    Client { method: "GET", body: b"", keeps: false },
    Client { method: "POST", body: b"some bytes of a form", keeps: false },
];

/// What clients saw.
#[derive(Default, Clone, Copy)]
struct Counts {
    sent: usize,
    /// No answer, half an answer, or another status than 200.
    failed: usize,
    /// A kept connection that ended before a byte of the answer; the request was sent once more, as browsers do.
    sent_again: usize,
}

/// Twenty graceful restarts with each module, and with a file in place of the application.
pub(crate) fn compare(places: &Places) -> Result<Vec<Row>, Failure> {
    let modules = Modules::new(places)?;
    let mut rows = Vec::new();
    for mpm in ["event", "prefork"] {
        let site =
            Site { mpm, options: "processes=2 threads=5 graceful-timeout=10", ..Site::new(Mode::Daemon, APPLICATION) };
        let ours = restarts(&modules, Some(Module::Ours), &site, "/")?;
        let peer = restarts(&modules, Some(Module::Peer), &site, "/")?;
        let file = restarts(&modules, None, &site, "/app.wsgi")?;
        rows.push(Row {
            what: format!("requests that failed over {RESTARTS} graceful restarts under load, {mpm} MPM"),
            value: ours.failed as f64,
            unit: "requests",
            bound: Bound::AtMost(0.0),
            detail: format!(
                "of {}; C mod_wsgi {} of {}; a file without any module {} of {}; on kept connections sent again: {}, C mod_wsgi {}, \
                 the file {}",
                ours.sent,
                peer.failed,
                peer.sent,
                file.failed,
                file.sent,
                ours.sent_again,
                peer.sent_again,
                file.sent_again
            ),
        });
    }
    Ok(rows)
}

fn restarts(modules: &Modules, module: Option<Module>, site: &Site<'_>, path: &str) -> Result<Counts, Failure> {
    let served = Served::start(modules, module, site)?;
    let stop = AtomicBool::new(false);
    let mut total = Counts::default();
    thread::scope(|scope| {
        let (served, stop) = (&served, &stop);
        let clients: Vec<_> =
            CLIENTS.iter().map(|client| scope.spawn(move || load(served, *client, path, stop))).collect();
        let restarted = (0..RESTARTS).try_for_each(|_| {
            thread::sleep(BETWEEN);
            served.restart_gracefully()
        });
        thread::sleep(BETWEEN);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let counts = client.join().map_err(|_| "a client panicked")?;
            total.sent += counts.sent;
            total.failed += counts.failed;
            total.sent_again += counts.sent_again;
        }
        restarted
    })?;
    served.stop()?;
    Ok(total)
}

fn load(served: &Served, client: Client, path: &str, stop: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    let mut kept: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        counts.sent += 1;
        // A file answers a POST with 405, which is an answer.
        let good = |status| status == 200 || status == 405;
        let ask = |connection: &mut Option<Connection>| {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(served.address()).map_err(|_| false)?,
            };
            let reused = open.answered > 0;
            match open.request(client.method, path, client.body) {
                Ok(status) => {
                    *connection = client.keeps.then_some(open);
                    Ok(good(status))
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
