//! The same server with our module and with C mod_wsgi.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use confgen::httpd::{Account, HeldPort, Httpd, Launch, Readiness, Server, ServerRoot, Signal};

use crate::{Failure, Places};

/// Where the application runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In the Apache child.
    Embedded,
    /// In a process of its own.
    Daemon,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Daemon => "daemon",
        }
    }
}

/// Whose module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    Ours,
    Peer,
}

/// Copies of both modules in a folder that the serving user can reach, wherever the checkout lies.
pub(crate) struct Modules {
    folder: ServerRoot,
}

impl Modules {
    pub(crate) fn new(places: &Places) -> Result<Self, Failure> {
        let folder = ServerRoot::temporary(None)?;
        for entry in fs::read_dir(&places.dist)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == "mod_wsgi_rs.so" || name.starts_with("wsgi_python-") || name.starts_with("wsgi-daemon-") {
                copy(&path, &folder.path().join(name))?;
            }
        }
        copy(&places.peer, &folder.path().join("peer.so"))?;
        Ok(Self { folder })
    }

    fn file(&self, module: Module) -> PathBuf {
        self.folder.path().join(match module {
            Module::Ours => "mod_wsgi_rs.so",
            Module::Peer => "peer.so",
        })
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to)
        .map_err(|cause| format!("cannot copy {}: {cause} (run `make build` and `make peer`)", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

const APPLICATION: &str = r#"def application(environ, start_response):
    body = b"Hello World!\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// A running server that says hello.
pub(crate) struct Hello {
    server: Server,
    port: HeldPort,
    _root: ServerRoot,
}

impl Hello {
    /// Starts it: event MPM, one child process, keep-alive, nothing loaded that the request does not need.
    pub(crate) fn start(modules: &Modules, module: Module, mode: Mode) -> Result<Self, Failure> {
        let httpd = Httpd::locate(None, None)?;
        let root = ServerRoot::temporary(None)?;
        let port = HeldPort::loopback()?;
        fs::write(root.path().join("hello.wsgi"), APPLICATION)?;
        let config = configuration(&httpd, &modules.file(module), root.path(), port.port(), mode);
        fs::write(root.path().join("httpd.conf"), config)?;
        let server = Launch::new(&httpd.binary, root.path())
            .ready_when(Readiness::Answers(port.address()))
            .within(Duration::from_secs(20))
            .start()?;
        Ok(Self { server, port, _root: root })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port.port())
    }

    /// Sends requests over one connection, one after the other.
    pub(crate) fn request(&self, count: usize) -> Result<(), Failure> {
        let stream = TcpStream::connect(self.port.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(&stream);
        for _ in 0..count {
            (&stream).write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if !line.starts_with("HTTP/1.1 200 ") {
                return Err(format!("the hello application answered {:?}", line.trim_end()).into());
            }
            let mut length = 0;
            loop {
                line.clear();
                reader.read_line(&mut line)?;
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse()?;
                }
                if line.trim_end().is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length])?;
        }
        Ok(())
    }

    /// The process that runs the application.
    pub(crate) fn application_process(&self, mode: Mode) -> Result<u32, Failure> {
        let found: Vec<u32> = match mode {
            Mode::Embedded => self.server.children().iter().map(|stat| stat.pid).collect(),
            Mode::Daemon => self.server.daemons_of("hello").iter().map(|daemon| daemon.stat.pid).collect(),
        };
        match found[..] {
            [pid] => Ok(pid),
            _ => Err(format!("expected one process that runs the application, found {found:?}").into()),
        }
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.server.stop(Signal::SIGTERM, Duration::from_secs(20), |_| ())?;
        Ok(())
    }
}

fn configuration(httpd: &Httpd, module: &Path, root: &Path, port: u16, mode: Mode) -> String {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    for (name, file) in [("mpm_event", "mpm_event"), ("authz_core", "authz_core"), ("unixd", "unixd")] {
        if let Some(path) = httpd.module_file(file) {
            line(format!("LoadModule {name}_module \"{}\"", path.display()));
        }
    }
    let root = root.display();
    line(format!("LoadModule wsgi_module \"{}\"", module.display()));
    line(format!(
        "ServerName localhost\nListen 127.0.0.1:{port}\nPidFile \"{root}/run/httpd.pid\"\nDefaultRuntimeDir \"{root}/run\""
    ));
    line(format!("ErrorLog \"{root}/logs/error.log\"\nLogLevel warn"));
    if Account::current().is_root()
        && let Some(account) = Account::of_web_server()
    {
        line(format!("User {}\nGroup {}", account.name, account.group_name));
    }
    line("ServerLimit 1\nStartServers 1\nThreadLimit 16\nThreadsPerChild 16\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16".into());
    line("KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60".into());
    let place = match mode {
        Mode::Embedded => "",
        Mode::Daemon => {
            line(format!(
                "WSGIDaemonProcess hello threads=15 display-name=%{{GROUP}}\nWSGISocketPrefix \"{root}/run/wsgi\""
            ));
            " process-group=hello"
        }
    };
    line(format!("WSGIScriptAlias / \"{root}/hello.wsgi\" application-group=%{{GLOBAL}}{place}"));
    // As Debian's own configuration has it: no looking for .htaccess files and links on the way to the script.
    line("<Directory />\n  Options FollowSymLinks\n  AllowOverride None\n</Directory>".into());
    line(format!("<Directory \"{root}\">\n  Require all granted\n</Directory>"));
    text
}
