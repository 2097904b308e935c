//! The server that is maltreated: a group that suffers and one that must not notice.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use confgen::httpd::{Account, HeldPort, Httpd, Launch, LogTail, Readiness, Server, ServerRoot, Signal, Stat, process};

use crate::Failure;
use crate::disk::SmallDisk;
use crate::sabotage::{CHILDREN, Fault, PROCESSES, THREADS};

/// The group that suffers, and the one that must not notice.
pub(crate) const VICTIM: &str = "victim";
pub(crate) const BYSTANDER: &str = "bystander";

/// The path of the group that suffers whose application groups clients name.
pub(crate) const NAMED: &str = "named";

/// Threads of each child of httpd: all clients have a place in one.
pub(crate) const CHILD_THREADS: u64 = 64;

/// The application of both groups.
const APPLICATION: &str = include_str!("app.py");

/// What a process of the server is, by the names that it shows. What was logged of a process does not tell that: after
/// thousands of them another one has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a group.
    Daemon(String),
    /// What the module forks for itself.
    Helper,
    /// Of httpd's own.
    Child,
}

impl Kind {
    pub(crate) fn of(stat: &Stat) -> Self {
        let title = process::title(stat.pid).unwrap_or_default();
        match title.strip_prefix("(wsgi:").and_then(|name| name.strip_suffix(')')) {
            Some(group) => Self::Daemon(group.to_owned()),
            None if stat.name.starts_with("wsgi:") => Self::Helper,
            None => Self::Child,
        }
    }
}

/// A running server.
pub(crate) struct Stage {
    pub(crate) server: Server,
    port: HeldPort,
    // Before the folder that it is mounted in.
    disk: Option<SmallDisk>,
    root: ServerRoot,
    _modules: ServerRoot,
}

impl Stage {
    /// Starts it.
    pub(crate) fn new(dist: &Path, fault: &Fault) -> Result<Self, Failure> {
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
        for group in [VICTIM, BYSTANDER] {
            fs::write(root.path().join(format!("{group}.wsgi")), APPLICATION)?;
        }
        let config =
            configuration(&httpd, &modules.path().join("mod_wsgi_rs.so"), root.path(), port.port(), fault.options);
        fs::write(root.path().join("httpd.conf"), config)?;
        let disk = if fault.wants_small_disk() { Some(SmallDisk::on(&root.logs())?) } else { None };
        let server = Launch::new(&httpd.binary, root.path())
            .ready_when(Readiness::Answers(port.address()))
            .within(Duration::from_secs(20))
            .start()?;
        Ok(Self { server, port, disk, root, _modules: modules })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The script of the group that suffers. The other one has its own, which nobody changes.
    pub(crate) fn script(&self) -> PathBuf {
        self.root.path().join(format!("{VICTIM}.wsgi"))
    }

    /// The folder of its logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.logs()
    }

    /// Its error log.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.logs().join("error.log")
    }

    /// The disk that its logs are on, if that is one of its own.
    pub(crate) fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// Restarts it gracefully and waits until the new generation has begun.
    pub(crate) fn restart_gracefully(&self) -> Result<(), Failure> {
        const LIMIT: Duration = Duration::from_secs(20);
        let mut log = LogTail::from_end(&self.log());
        self.server.graceful()?;
        let (begun, _) = log.wait_for(LIMIT, |line| line.message.contains("resuming normal operations"))?;
        if begun { Ok(()) } else { Err(format!("the server did not restart within {LIMIT:?}").into()) }
    }

    /// Has something logged again and again until something is there that was not there before.
    pub(crate) fn wait_for_log_line(&self, mut say: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        const LIMIT: Duration = Duration::from_secs(10);
        let before = fs::metadata(self.log())?.len();
        let began = Instant::now();
        while fs::metadata(self.log())?.len() <= before {
            if began.elapsed() > LIMIT {
                return Err(format!("nothing was logged for {LIMIT:?}").into());
            }
            say()?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The folder of its sockets.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.run()
    }

    /// The daemons of the group that suffers.
    pub(crate) fn victims(&self) -> Vec<u32> {
        let all = process::descendants(self.server.pid()).into_iter();
        all.filter(|stat| Kind::of(stat) == Kind::Daemon(VICTIM.to_owned())).map(|stat| stat.pid).collect()
    }

    /// The children of httpd's own, which serve clients.
    pub(crate) fn children(&self) -> Vec<Stat> {
        process::descendants(self.server.pid()).into_iter().filter(|stat| Kind::of(stat) == Kind::Child).collect()
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
    // As many children as there may be, so that they stay, and room for those that leave.
    let (all, children) = (CHILDREN * CHILD_THREADS, CHILDREN);
    line(format!(
        "ServerLimit 32\nStartServers {children}\nThreadLimit {CHILD_THREADS}\nThreadsPerChild {CHILD_THREADS}"
    ));
    line(format!("MaxRequestWorkers {all}\nMinSpareThreads {all}\nMaxSpareThreads {}", all + CHILD_THREADS));
    line("KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\nTimeout 20".into());
    line(format!("WSGISocketPrefix \"{root}/run/wsgi\"\nWSGIRestrictEmbedded On"));
    for (group, processes) in [VICTIM, BYSTANDER].into_iter().zip(PROCESSES) {
        line(format!(
            "WSGIDaemonProcess {group} processes={processes} threads={THREADS} display-name=%{{GROUP}} connect-timeout=5 \
             shutdown-timeout=2 socket-timeout=5 {}",
            if group == VICTIM { options } else { "" }
        ));
        line(format!(
            "WSGIScriptAlias /{group} \"{root}/{group}.wsgi\" process-group={group} application-group=%{{GLOBAL}}"
        ));
    }
    line(format!(
        "WSGIMaximumInterpreters 8\nWSGIChunkedRequest On\nWSGIScriptAlias /{NAMED} \"{root}/{VICTIM}.wsgi\" process-group={VICTIM} \
         application-group=%{{HOST}}"
    ));
    line("<Directory />\n  Options FollowSymLinks\n  AllowOverride None\n</Directory>".into());
    line(format!("<Directory \"{root}\">\n  Require all granted\n</Directory>"));
    text
}
