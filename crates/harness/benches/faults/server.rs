//! The server that is maltreated: a group that suffers and one that must not notice.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use confgen::httpd::{Account, HeldPort, Httpd, Launch, Readiness, Server, ServerRoot, Signal};

use crate::Failure;

/// The group that suffers, and the one that must not notice.
pub(crate) const VICTIM: &str = "victim";
pub(crate) const BYSTANDER: &str = "bystander";

/// Answers with what it was asked, some of it in the head and much of it in the body. Each kind of sabotage that has to come
/// from within a daemon is a path.
const APPLICATION: &str = r#"import ctypes
import mmap
import os
import random
import socket
import stat
import sys


def application(environ, start_response):
    mark = environ["QUERY_STRING"]
    sabotage = {"/segfault": segfault, "/exit": leave, "/page": scribble, "/frames": garble}.get(environ["PATH_INFO"])
    if sabotage:
        sabotage()
    body = environ["wsgi.input"].read() + (mark + "\n").encode() * (int(mark, 16) % 700 + 1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Mark", mark), ("Content-Length", str(len(body)))])
    for begin in range(0, len(body), 4096):
        yield body[begin:begin + 4096]


def segfault():
    ctypes.string_at(0)


def leave():
    os._exit(3)


def scribble():
    """Fills the status page, which the daemon shares with the server, with random bytes."""
    for line in open("/proc/self/maps"):
        if "memfd" in line and "rw-s" in line:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            ctypes.memmove(begin, random.randbytes(end - begin), end - begin)


def garble():
    """Writes garbage of several kinds into every connection of the process."""
    kinds = [
        random.randbytes(random.randrange(1, 4000)),
        b"\x01\x12\xff\xff\xff\xff",
        b"\x01\x12\x05\x00\x00\x00\xc8",
        b"\x01\x13\x00\x00\x01\x00" + bytes(100),
        b"\x02\x16\x01\x00\x00\x00\x00",
    ]
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            if number > 2 and stat.S_ISSOCK(os.fstat(number).st_mode):
                copy = socket.socket(fileno=os.dup(number))
                with copy:
                    if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and copy.type == socket.SOCK_STREAM:
                        copy.send(random.choice(kinds), socket.MSG_DONTWAIT)
        except OSError:
            pass
"#;

/// A running server.
pub(crate) struct Stage {
    pub(crate) server: Server,
    port: HeldPort,
    root: ServerRoot,
    _modules: ServerRoot,
}

impl Stage {
    /// Starts it.
    pub(crate) fn new(dist: &Path, options: &str) -> Result<Self, Failure> {
        let httpd = Httpd::locate(None, None)?;
        let modules = ServerRoot::temporary(None)?;
        for entry in fs::read_dir(dist)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == "mod_wsgi_rs.so" || name.starts_with("wsgi_python-") || name.starts_with("wsgi-daemon-") {
                let copy = modules.path().join(name);
                fs::copy(&path, &copy)?;
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
            }
        }
        let root = ServerRoot::temporary(None)?;
        let port = HeldPort::loopback()?;
        fs::write(root.path().join("app.wsgi"), APPLICATION)?;
        let config = configuration(&httpd, &modules.path().join("mod_wsgi_rs.so"), root.path(), port.port(), options);
        fs::write(root.path().join("httpd.conf"), config)?;
        let server = Launch::new(&httpd.binary, root.path())
            .ready_when(Readiness::Answers(port.address()))
            .within(Duration::from_secs(20))
            .start()?;
        Ok(Self { server, port, root, _modules: modules })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its application's script.
    pub(crate) fn script(&self) -> PathBuf {
        self.root.path().join("app.wsgi")
    }

    /// The folder of its logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.logs()
    }

    /// The folder of its sockets.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.run()
    }

    /// The daemons of the group that suffers.
    pub(crate) fn victims(&self) -> Vec<u32> {
        self.server.daemons_of(VICTIM).iter().map(|daemon| daemon.stat.pid).collect()
    }

    /// Ends it; processes that had to be killed are an error.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let report = self.server.stop(Signal::SIGTERM, Duration::from_secs(30), |_| ())?;
        if report.forced || !report.leaks.is_empty() {
            return Err(format!("the server did not end by itself: {:?}", report.leaks).into());
        }
        Ok(())
    }
}

fn configuration(httpd: &Httpd, module: &Path, root: &Path, port: u16, options: &str) -> String {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    for name in ["mpm_event", "authz_core", "unixd"] {
        if let Some(path) = httpd.module_file(name) {
            line(format!("LoadModule {name}_module \"{}\"", path.display()));
        }
    }
    line(format!("LoadModule wsgi_module \"{}\"", module.display()));
    let root = root.display();
    line(format!(
        "ServerName localhost\nListen 127.0.0.1:{port}\nPidFile \"{root}/run/httpd.pid\"\nDefaultRuntimeDir \"{root}/run\""
    ));
    line(format!("ErrorLog \"{root}/logs/error.log\"\nLogLevel info"));
    if Account::current().is_root()
        && let Some(account) = Account::of_web_server()
    {
        line(format!("User {}\nGroup {}", account.name, account.group_name));
    }
    line("ServerLimit 2\nStartServers 2\nThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 128\nMinSpareThreads 1\nMaxSpareThreads 128".into());
    line("KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\nTimeout 20".into());
    line(format!("WSGISocketPrefix \"{root}/run/wsgi\"\nWSGIRestrictEmbedded On"));
    for (group, processes) in [(VICTIM, 4), (BYSTANDER, 2)] {
        line(format!(
            "WSGIDaemonProcess {group} processes={processes} threads=5 display-name=%{{GROUP}} connect-timeout=5 \
             shutdown-timeout=2 socket-timeout=5 {}",
            if group == VICTIM { options } else { "" }
        ));
        line(format!(
            "WSGIScriptAlias /{group} \"{root}/app.wsgi\" process-group={group} application-group=%{{GLOBAL}}"
        ));
    }
    line("<Directory />\n  Options FollowSymLinks\n  AllowOverride None\n</Directory>".into());
    line(format!("<Directory \"{root}\">\n  Require all granted\n</Directory>"));
    text
}
