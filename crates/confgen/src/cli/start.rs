//! `confgen start`.

mod preflight;
mod short;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use super::instances::{self, registry};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::Facts;
use crate::httpd::{Account, HeldPort, Launch, LaunchError, PortError, Readiness, Record, Server, ServerRoot};
use crate::render::{RenderOptions, Tree, WriteOptions, render_draft};
use crate::spec::{Draft, Endpoint, Endpoints, LogTarget, Spec};

/// The port when none is asked for.
const PORT: u16 = 8000;

/// Serve an application in the foreground: a WSGI script, a `package.module:callable`, or what a spec says.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  confgen start app.wsgi\n  confgen start shop.wsgi:application --port 0\n  confgen start --spec site.yaml --profile dev"
)]
pub(super) struct Start {
    /// A WSGI script, or a module and the application in it (`package.module:callable`).
    #[arg(value_name = "APPLICATION", required_unless_present = "spec", conflicts_with = "spec")]
    application: Option<String>,
    /// Serve what a spec says: YAML, TOML or JSON by its ending; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Apply a profile of the spec; several are applied in order.
    #[arg(long, value_name = "NAME", requires = "spec")]
    profile: Vec<String>,
    /// Set a key of the spec, for example `server.listen.http=8080`.
    #[arg(long, value_name = "KEY=VALUE", requires = "spec")]
    set: Vec<String>,
    /// The port on localhost; 0 takes any free one and prints it. Default: 8000.
    #[arg(short, long, value_name = "PORT", conflicts_with = "spec")]
    port: Option<u16>,
    /// Serve as this user, when started as root. Default: the owner of the application.
    #[arg(short, long, value_name = "USER", conflicts_with = "spec")]
    user: Option<String>,
    /// The number of daemon processes. Default: one.
    #[arg(long, value_name = "N", conflicts_with = "spec", value_parser = clap::value_parser!(u32).range(1..=1000))]
    processes: Option<u32>,
    /// The number of threads of each. Default: 5.
    #[arg(long, value_name = "N", conflicts_with = "spec", value_parser = clap::value_parser!(u32).range(1..=1000))]
    threads: Option<u32>,
    /// The virtual environment, or the installation of Python, that the application runs in.
    #[arg(long, value_name = "DIR", conflicts_with = "spec")]
    venv: Option<PathBuf>,
    /// The wsgi module: `auto` (ours), `mod_wsgi` (the C module), or a file. Default: auto.
    #[arg(long, value_name = "MODULE", conflicts_with = "spec")]
    module: Option<String>,
    /// The name under which `status`, `stop`, `graceful` and `restart` know the server.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where configuration, logs and sockets stand. Default: a temporary directory.
    #[arg(long, value_name = "DIR")]
    server_root: Option<PathBuf>,
    /// The httpd to use.
    #[arg(long, value_name = "PATH")]
    httpd: Option<PathBuf>,
    /// One process on this terminal, with Python's debugger where the application raises an exception.
    #[arg(long, conflicts_with = "spec", conflicts_with_all = ["processes", "threads"])]
    debug: bool,
    /// Go on serving when an application does not load at the start.
    #[arg(long)]
    no_preflight: bool,
    /// The longest time until it answers, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    timeout: u64,
}

/// What is to be served.
struct Wanted {
    draft: Draft,
    name: String,
    serves: String,
    /// Files and folders that the serving user has to reach, with that user, where a start as root makes this a question.
    reach: Vec<(Account, PathBuf)>,
    /// Whether the logs are shown here although they are files.
    echo: bool,
}

impl Start {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        // First of all: from here on an interruption ends the server in order.
        let signals = watch::Signals::take()
            .map_err(|error| environment(Code::Start, format!("cannot handle signals: {error}")))?;
        let facts = MachineArgs { facts: None, httpd: self.httpd.clone() }.probe(context)?;
        let (wanted, ports) = self.wanted(context)?;
        let registry = registry(context);
        registry.ensure_free(&wanted.name).map_err(|error| instances::failure(&error))?;
        let root = match &self.server_root {
            Some(folder) => {
                ServerRoot::at(&std::path::absolute(folder).map_err(|error| Failure::io("use", folder, &error))?)
            }
            None => ServerRoot::temporary(None),
        };
        let root = root.map_err(|error| environment(Code::Io, error.to_string()))?;
        for (account, path) in wanted
            .reach
            .iter()
            .map(|(account, path)| (account, path.clone()))
            .chain(wanted.reach.first().map(|(account, _)| (account, root.run())))
        {
            if let Some(obstacle) = account.obstacle(&path) {
                return Err(environment(Code::Unreachable, obstacle.explain(&account.name)));
            }
        }
        let options = RenderOptions { server_root: Some(root.path().to_owned()), check_files: None };
        let tree = render_draft(&wanted.draft, &facts, &options).map_err(Failure::of_spec)?;
        ensure_reachable(&facts, &wanted.draft.spec, &tree, &root)?;
        context.report(&tree.warnings);
        tree.write(&WriteOptions { environment: context.environment.clone(), ..WriteOptions::default() })
            .map_err(|diagnostics| Failure { exit: Exit::Environment, diagnostics })?;
        let mut server = self.launch(&tree, &wanted, &ports)?;
        let record = record(&wanted, &tree, &ports, &server);
        if let Err(error) = registry.register(&record) {
            server.kill();
            return Err(instances::failure(&error));
        }
        announce(context, &record, &tree);
        let preflight = tree
            .choice
            .error_log
            .as_deref()
            .filter(|_| !self.no_preflight)
            .map(|log| preflight::Preflight::new(log, &tree.server_root.join("logs/access.log"), wanted.echo));
        let outcome = watch::until_the_end(&mut server, &signals, wanted.echo.then_some(&tree), preflight);
        // A record that cannot be removed is seen to be stale by whoever reads it.
        let _ = registry.forget(&record);
        drop(ports);
        outcome
    }

    /// What is asked for, with the ports it needs, held from now on.
    fn wanted(&self, context: &Context<'_>) -> Result<(Wanted, Vec<Held>), Failure> {
        let Some(file) = &self.spec else {
            let port = match self.port.unwrap_or(PORT) {
                0 => HeldPort::loopback(),
                port => HeldPort::claim(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], port),
            };
            let port = port.map_err(|error| busy(&error, "--port"))?;
            let wanted = short::wanted(self, &port, context)?;
            return Ok((wanted, vec![Held { port, tls: false }]));
        };
        let mut draft = SpecArgs { spec: file.clone(), profile: self.profile.clone(), set: self.set.clone() }.load()?;
        if !draft.errors.is_empty() {
            return Err(Failure { exit: Exit::Spec, diagnostics: std::mem::take(&mut draft.errors) });
        }
        let ports = hold(&draft.spec)?;
        let name = self
            .name
            .clone()
            .or_else(|| draft.spec.server.name.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "main".to_owned());
        Ok((Wanted { draft, name, serves: file.display().to_string(), reach: Vec::new(), echo: false }, ports))
    }

    fn launch(&self, tree: &Tree, wanted: &Wanted, ports: &[Held]) -> Result<Server, Failure> {
        let address =
            ports.first().map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), |held| reachable(held.port.address()));
        let mut launch = Launch::new(&tree.choice.httpd, &tree.server_root)
            .config(&tree.config())
            .environment(tree.environment.clone())
            .within(Duration::from_secs(self.timeout))
            .tied_to_thread();
        launch = match &tree.choice.error_log {
            // An announced start leaves no line in the access log that is shown here.
            Some(log) if wanted.echo => launch.error_log(log).ready_when(Readiness::Announces(address)),
            Some(log) => launch.error_log(log).ready_when(Readiness::Answers(address)),
            None => launch.ready_when(Readiness::Answers(address)),
        };
        if tree.choice.single_process {
            // It announces nothing, and answers only after what a debugger stops at has gone on.
            launch = launch.single_process().with_standard_input().ready_when(Readiness::Accepts(address));
        }
        if tree.choice.single_process || wanted.draft.spec.server.log.to == LogTarget::Terminal {
            launch = launch.on_terminal();
        }
        launch.start().map_err(|error| refused(tree, &error))
    }
}

/// A directory that was named may be closed to the user that serves, who has to reach the sockets in it.
fn ensure_reachable(facts: &Facts, spec: &Spec, tree: &Tree, root: &ServerRoot) -> Result<(), Failure> {
    if !facts.starts_as_root() || spec.daemons.is_empty() || spec.runtime.socket_prefix.is_some() {
        return Ok(());
    }
    // A user that is given by its number has no name to look up, and may have no account.
    let Ok(account) = Account::by_name(&tree.choice.user) else { return Ok(()) };
    match account.obstacle(&root.run()) {
        Some(obstacle) => Err(environment(Code::Unreachable, obstacle.explain(&account.name))),
        None => Ok(()),
    }
}

/// A port that is held for httpd.
struct Held {
    port: HeldPort,
    tls: bool,
}

/// Holds every port of a spec.
fn hold(spec: &Spec) -> Result<Vec<Held>, Failure> {
    let listen = &spec.server.listen;
    let endpoints = |endpoints: &Option<Endpoints>, tls: bool| {
        endpoints.iter().flat_map(Endpoints::all).map(|endpoint| (endpoint.clone(), tls)).collect::<Vec<_>>()
    };
    let mut all = endpoints(&listen.http, false);
    all.extend(endpoints(&listen.https, true));
    if all.is_empty() {
        let port = HeldPort::claim(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], PORT)
            .map_err(|error| busy(&error, "server.listen.http"))?;
        return Ok(vec![Held { port, tls: false }]);
    }
    let held = all.iter().filter_map(|(endpoint, tls)| {
        let port = HeldPort::claim(&addresses(endpoint)?, endpoint.port()?);
        let key = if *tls { "server.listen.https" } else { "server.listen.http" };
        Some(port.map(|port| Held { port, tls: *tls }).map_err(|error| busy(&error, key)))
    });
    held.collect()
}

/// The addresses of an endpoint; nothing for one that is none, which rendering refuses with its place.
fn addresses(endpoint: &Endpoint) -> Option<Vec<IpAddr>> {
    match endpoint.address() {
        None => Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        Some(address) => {
            address.trim_start_matches('[').trim_end_matches(']').parse().ok().map(|address| vec![address])
        }
    }
}

/// Where a client of this machine reaches an address.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

fn environment(code: Code, message: String) -> Failure {
    Failure::new(Exit::Environment, Diagnostic::error(code, message))
}

fn busy(error: &PortError, key: &str) -> Failure {
    let help = match error {
        PortError::Busy { .. } => format!("end that process, or choose another port with `{key}`"),
        _ => format!("choose another port with `{key}`"),
    };
    Failure::new(Exit::Environment, Diagnostic::error(Code::Port, error.to_string()).help(help))
}

/// What httpd said about a start that failed, at the keys that its lines were made from.
fn refused(tree: &Tree, error: &LaunchError) -> Failure {
    match error {
        LaunchError::Died { complaints, .. } if !complaints.is_empty() => Failure {
            exit: Exit::Refused,
            diagnostics: complaints.iter().map(|complaint| tree.explain(&tree.server_root, complaint)).collect(),
        },
        _ => environment(Code::Start, error.to_string()),
    }
}

fn record(wanted: &Wanted, tree: &Tree, ports: &[Held], server: &Server) -> Record {
    Record {
        name: wanted.name.clone(),
        identity: server.identity(),
        binary: tree.choice.httpd.clone(),
        config: tree.config(),
        error_log: tree.choice.error_log.clone(),
        urls: ports.iter().map(url).collect(),
        environment: tree.environment.clone(),
        serves: wanted.serves.clone(),
    }
}

fn url(held: &Held) -> String {
    let (address, port) = (held.port.address(), held.port.port());
    let host = if address.ip().is_loopback() || address.ip().is_unspecified() {
        "localhost".to_owned()
    } else {
        SocketAddr::new(address.ip(), 0).to_string().trim_end_matches(":0").to_owned()
    };
    let scheme = if held.tls { "https" } else { "http" };
    match (held.tls, port) {
        (false, 80) | (true, 443) => format!("{scheme}://{host}/"),
        _ => format!("{scheme}://{host}:{port}/"),
    }
}

fn announce(context: &Context<'_>, record: &Record, tree: &Tree) {
    if context.json {
        context.print_json(&serde_json::json!({"name": record.name, "pid": record.identity.pid, "urls": record.urls, "serves": record.serves, "choice": tree.choice}));
        return;
    }
    let choice = &tree.choice;
    let python =
        if choice.engines.is_empty() { String::new() } else { format!(", Python {}", choice.engines.join(" and ")) };
    let text = format!(
        "serving {} on {} as {} ({}, httpd {} {}{python}, pid {}); Ctrl-C stops it",
        record.serves,
        record.urls.join(" and "),
        choice.user,
        record.name,
        choice.httpd_version,
        choice.mpm,
        record.identity.pid
    );
    context.note(&text);
    if let Some(log) = choice.error_log.as_deref().filter(|log| !log.starts_with(std::env::temp_dir())) {
        context.note(&format!("errors are logged in {}", Path::display(log)));
    }
}
