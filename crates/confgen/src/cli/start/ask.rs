//! The first request to each application: what answers has been loaded.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::applications::Route;
use crate::httpd::{proxy_header, tls_session};

/// The most requests at the same time.
const MOST: usize = 32;

/// The pause before a connection that was refused or closed is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a read waits before it looks whether the answer is still wanted.
const SLICE: Duration = Duration::from_millis(100);

/// More of an answer than its first line is not read.
const LONGEST_LINE: usize = 4096;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// An answer.
    Answered {
        /// Its status.
        status: u16,
        /// The address that the request came from, by which the log names it.
        client: SocketAddr,
    },
    /// The server does not speak with us: it wants a certificate, for example.
    Refused,
}

/// Requests on their way.
pub(super) struct Asked {
    replies: Receiver<(usize, Reply)>,
    given_up: Arc<AtomicBool>,
}

impl Asked {
    /// Sends the requests, each under a number of the caller's. `proxied`: connections begin with a header of the PROXY protocol.
    pub(super) fn new(routes: Vec<(usize, Route)>, proxied: bool) -> Self {
        let (sender, replies) = channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let threads = routes.len().min(MOST);
        let queue = Arc::new(Mutex::new(VecDeque::from(routes)));
        for _ in 0..threads {
            let (sender, given_up, queue) = (sender.clone(), Arc::clone(&given_up), Arc::clone(&queue));
            std::thread::spawn(move || work(&queue, proxied, &sender, &given_up));
        }
        Self { replies, given_up }
    }

    /// The replies that came since the last call.
    pub(super) fn replies(&self) -> Vec<(usize, Reply)> {
        self.replies.try_iter().collect()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::SeqCst);
    }
}

fn work(
    queue: &Mutex<VecDeque<(usize, Route)>>,
    proxied: bool,
    replies: &Sender<(usize, Reply)>,
    given_up: &AtomicBool,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((number, route)) = next else { return };
        while !given_up.load(Ordering::SeqCst) {
            match ask(&route, proxied, given_up) {
                Ok(reply) => {
                    // Nobody waits for it any more when this fails.
                    let _ = replies.send((number, reply));
                    break;
                }
                // The child that took the connection went away; another one comes.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Sends one request and waits for the first line of the answer, for as long as it is wanted.
fn ask(route: &Route, proxied: bool, given_up: &AtomicBool) -> io::Result<Reply> {
    let mut connection = TcpStream::connect(route.address)?;
    connection.set_read_timeout(Some(SLICE))?;
    let client = connection.local_addr()?;
    if proxied {
        connection.write_all(proxy_header(&connection)?.as_bytes())?;
    }
    let request = request(route);
    let line = if route.tls {
        let Ok(mut session) = tls_session(&route.host) else { return Ok(Reply::Refused) };
        let mut stream = rustls::Stream::new(&mut session, &mut connection);
        match converse(&mut stream, &request, given_up) {
            // An error of TLS itself comes again at every attempt.
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                return Ok(Reply::Refused);
            }
            other => other?,
        }
    } else {
        converse(&mut connection, &request, given_up)?
    };
    let status = line.strip_prefix("HTTP/").and_then(|line| line.split(' ').nth(1)?.parse().ok());
    status.map(|status| Reply::Answered { status, client }).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `OPTIONS` is the method that changes nothing, even where an application takes it for another one.
fn request(route: &Route) -> String {
    let standard = if route.tls { 443 } else { 80 };
    let host = match route.address.port() {
        port if port == standard => route.host.clone(),
        port => format!("{}:{port}", route.host),
    };
    let path = encoded(&route.path);
    format!("OPTIONS {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: confgen-start\r\nConnection: close\r\n\r\n")
}

/// A path as it stands in a request.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let mut text = String::new();
    for byte in path.bytes() {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text += &format!("%{byte:02X}"),
        }
    }
    text
}

fn converse(stream: &mut (impl Read + Write), request: &str, given_up: &AtomicBool) -> io::Result<String> {
    let waits = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
    };
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if waits(&error) && !given_up.load(Ordering::SeqCst) => {}
            Err(error) => return Err(error),
        }
    }
    let mut line = Vec::new();
    let mut buffer = [0; 512];
    while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => line.extend_from_slice(&buffer[..count]),
            Err(error) if waits(&error) && !given_up.load(Ordering::SeqCst) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&line).lines().next().unwrap_or_default().to_owned())
}
