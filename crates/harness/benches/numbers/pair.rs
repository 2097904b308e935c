//! The same server with our module and with C mod_wsgi.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use confgen::httpd::{Account, HeldPort, Httpd, Launch, Readiness, Server, ServerRoot, Signal};

use crate::client::Connection;
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
    /// The version of Python that C mod_wsgi was made for.
    python: String,
}

impl Modules {
    pub(crate) fn new(places: &Places) -> Result<Self, Failure> {
        Self::with_ours_from(places, &places.dist)
    }

    /// The same with another build of our module, from its `target/dist`.
    pub(crate) fn with_ours_from(places: &Places, dist: &Path) -> Result<Self, Failure> {
        let folder = ServerRoot::temporary(None)?;
        let entries = fs::read_dir(dist).map_err(|cause| format!("cannot read {}: {cause}", dist.display()))?;
        for entry in entries {
            let path = entry.map_err(|cause| format!("cannot read {}: {cause}", dist.display()))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == "mod_wsgi_rs.so" || name.starts_with("wsgi_python-") || name.starts_with("wsgi-daemon-") {
                copy(&path, &folder.path().join(name))?;
            }
        }
        copy(&places.peer, &folder.path().join("peer.so"))?;
        Ok(Self { folder, python: version_of(&places.peer.with_file_name("pyvenv.cfg"))? })
    }

    fn file(&self, module: Module) -> PathBuf {
        self.folder.path().join(match module {
            Module::Ours => "mod_wsgi_rs.so",
            Module::Peer => "peer.so",
        })
    }
}

/// `X.Y` of the Python that an environment was made with.
fn version_of(environment: &Path) -> Result<String, Failure> {
    let unknown = || format!("{} does not say which Python it is for", environment.display());
    let text = fs::read_to_string(environment).map_err(|cause| format!("{}: {cause}", environment.display()))?;
    let full = text.lines().find_map(|line| line.strip_prefix("version = ")).ok_or_else(unknown)?;
    let mut parts = full.trim().split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok(format!("{major}.{minor}")),
        _ => Err(unknown().into()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to)
        .map_err(|cause| format!("cannot copy {}: {cause} (run `make build` and `make peer`)", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

const HELLO: &str = r#"def application(environ, start_response):
    body = b"Hello World!\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// What a server serves, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// Where the application runs.
    pub(crate) mode: Mode,
    /// The script's text.
    pub(crate) script: &'a str,
    /// The daemon process group's options.
    pub(crate) options: &'a str,
    /// Threads of the Apache child: as many requests it can have in hand.
    pub(crate) workers: u32,
    /// `event` or `prefork`.
    pub(crate) mpm: &'static str,
    /// Lines before the alias of the application; `ROOT` is the folder of the script.
    pub(crate) lines: &'a str,
}

impl<'a> Site<'a> {
    /// An application in a group of one process, under the event MPM.
    pub(crate) fn new(mode: Mode, script: &'a str) -> Self {
        Self { mode, script, options: "threads=15", workers: 16, mpm: "event", lines: "" }
    }

    /// The application that says hello.
    pub(crate) fn hello(mode: Mode) -> Self {
        Self::new(mode, HELLO)
    }
}

/// A running server with one application.
pub(crate) struct Served {
    server: Server,
    port: HeldPort,
    mode: Mode,
    root: ServerRoot,
}

impl Served {
    /// Starts it: one child process (as many as needed under prefork), keep-alive, nothing loaded that the request does not
    /// need. Without a module the folder of the script is served as files.
    pub(crate) fn start(modules: &Modules, module: Option<Module>, site: &Site<'_>) -> Result<Self, Failure> {
        let httpd = Httpd::locate(None, None)?;
        let root = ServerRoot::temporary(None)?;
        let port = HeldPort::loopback()?;
        fs::write(root.path().join("app.wsgi"), site.script)?;
        let loaded = module.map(|module| modules.file(module));
        let mut config = configuration(&httpd, loaded.as_deref(), root.path(), port.port(), site);
        if module == Some(Module::Ours) {
            // The same Python on both sides, whatever other engines there are.
            config.push_str(&format!("WSGIPython {}\n", modules.python));
        }
        fs::write(root.path().join("httpd.conf"), config)?;
        let server = Launch::new(&httpd.binary, root.path())
            .ready_when(Readiness::Answers(port.address()))
            .within(Duration::from_secs(20))
            .start()?;
        Ok(Self { server, port, mode: site.mode, root })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The address of a path (with its leading slash).
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port.port())
    }

    /// Sends requests over one connection, one after the other.
    pub(crate) fn request(&self, count: usize) -> Result<(), Failure> {
        let mut connection = Connection::open(self.address())?;
        for _ in 0..count {
            let status = connection.request("GET", "/", b"").map_err(|broken| broken.cause)?;
            if status != 200 {
                return Err(format!("the application answered with status {status}").into());
            }
        }
        Ok(())
    }

    /// The process that runs the application.
    pub(crate) fn application_process(&self) -> Result<u32, Failure> {
        let found: Vec<u32> = match self.mode {
            Mode::Embedded => self.server.children().iter().map(|stat| stat.pid).collect(),
            Mode::Daemon => self.server.daemons_of(GROUP).iter().map(|daemon| daemon.stat.pid).collect(),
        };
        match found[..] {
            [pid] => Ok(pid),
            _ => Err(format!("expected one process that runs the application, found {found:?}").into()),
        }
    }

    /// All processes of the daemon group, with the one that others are forked from.
    pub(crate) fn processes_of_group(&self) -> Vec<u32> {
        let names = [format!("wsgi:{GROUP}"), format!("load:{GROUP}")];
        let members = self.server.members().into_iter();
        members.filter(|stat| names.contains(&stat.name)).map(|stat| stat.pid).collect()
    }

    /// Restarts it gracefully and waits until the new generation has begun.
    pub(crate) fn restart_gracefully(&self) -> Result<(), Failure> {
        const LIMIT: Duration = Duration::from_secs(20);
        let before = self.generations()?;
        self.server.signal(Signal::SIGUSR1)?;
        let began = Instant::now();
        while self.generations()? <= before {
            if began.elapsed() > LIMIT {
                return Err(format!("the server did not restart within {LIMIT:?}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn generations(&self) -> Result<usize, Failure> {
        let log = fs::read_to_string(self.root.path().join("logs/error.log"))?;
        Ok(log.matches("resuming normal operations").count())
    }

    /// Ends it.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.server.stop(Signal::SIGTERM, Duration::from_secs(20), |_| ())?;
        Ok(())
    }
}

/// The name of the daemon process group.
const GROUP: &str = "bench";

fn configuration(httpd: &Httpd, module: Option<&Path>, root: &Path, port: u16, site: &Site<'_>) -> String {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    for name in [format!("mpm_{}", site.mpm).as_str(), "authz_core", "unixd"] {
        if let Some(path) = httpd.module_file(name) {
            line(format!("LoadModule {name}_module \"{}\"", path.display()));
        }
    }
    let root = root.display();
    if let Some(module) = module {
        line(format!("LoadModule wsgi_module \"{}\"", module.display()));
    }
    line(format!(
        "ServerName localhost\nListen 127.0.0.1:{port}\nPidFile \"{root}/run/httpd.pid\"\nDefaultRuntimeDir \"{root}/run\""
    ));
    line(format!("ErrorLog \"{root}/logs/error.log\"\nLogLevel notice"));
    if Account::current().is_root()
        && let Some(account) = Account::of_web_server()
    {
        line(format!("User {}\nGroup {}", account.name, account.group_name));
    }
    let workers = site.workers;
    line(match site.mpm {
        "prefork" => format!(
            "ServerLimit {workers}\nStartServers {workers}\nMinSpareServers {workers}\nMaxSpareServers {workers}\n\
             MaxRequestWorkers {workers}"
        ),
        _ => format!(
            "ServerLimit 4\nStartServers 1\nThreadLimit {workers}\nThreadsPerChild {workers}\n\
             MaxRequestWorkers {workers}\nMinSpareThreads 1\nMaxSpareThreads {workers}"
        ),
    });
    line("KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60".into());
    if module.is_some() {
        let place = match site.mode {
            Mode::Embedded => String::new(),
            Mode::Daemon => {
                line(format!("WSGIDaemonProcess {GROUP} {} display-name=%{{GROUP}}", site.options));
                line(format!("WSGISocketPrefix \"{root}/run/wsgi\""));
                line("WSGIRestrictEmbedded On".into());
                format!(" process-group={GROUP}")
            }
        };
        line(site.lines.replace("ROOT", &root.to_string()));
        line(format!("WSGIScriptAlias / \"{root}/app.wsgi\" application-group=%{{GLOBAL}}{place}"));
    } else {
        line(format!("DocumentRoot \"{root}\""));
    }
    // As Debian's own configuration has it: no looking for .htaccess files and links on the way to the script.
    line("<Directory />\n  Options FollowSymLinks\n  AllowOverride None\n</Directory>".into());
    line(format!("<Directory \"{root}\">\n  Require all granted\n</Directory>"));
    text
}
