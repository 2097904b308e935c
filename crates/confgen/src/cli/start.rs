//! `confgen start`.

mod applications;
mod ask;
mod callable;
mod ports;
mod preflight;
mod python;
mod short;
mod show;
mod signals;
mod watch;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use super::instances::{self, registry};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::Facts;
use crate::httpd::{
    Account, Launch, LaunchError, LogTail, Output, Readiness, Record, Relay, Server, ServerRoot, SpecSource,
};
use crate::render::{RenderOptions, Secrets, Tree, WriteOptions, forget_secrets, render_draft};
use crate::spec::{Draft, LogTarget, Spec};
use applications::Application;
use ports::{Announced, Held, reachable};
use preflight::{Lines, Outcome, Preflight, Settings};
pub(super) use short::instance_name;
use show::Shown;
use signals::Signals;
use watch::{Loaded, Watch};

/// The port when none is asked for.
const PORT: u16 = 8000;

/// The seconds until every application has answered, when no others are asked for.
const TIMEOUT: u64 = 60;

/// The seconds that running requests have to finish, when no others are asked for. Less than the 10 s after which container
/// engines kill.
const GRACE: u64 = 8;

/// Serve an application in the foreground: a WSGI script, a `package.module:callable`, or what a spec says.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  confgen start app.wsgi\n  confgen start shop.wsgi:application --port 0\n  confgen start confgen.yaml --profile dev"
)]
pub(super) struct Start {
    /// A WSGI script, a module and the application in it (`package.module:callable`), or a spec (a .yaml, .yml, .toml or .json file).
    #[arg(value_name = "APPLICATION", required_unless_present = "spec", conflicts_with = "spec")]
    application: Option<String>,
    /// Serve what a spec says: YAML, TOML or JSON by its ending; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Apply a profile of the spec; several are applied in order.
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Set a key of the spec, for example `server.listen.http=8080`.
    #[arg(long, value_name = "KEY=VALUE")]
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
    /// The address to listen on: `localhost` (default), an IP address of this machine, or `0.0.0.0` for all of them.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "spec")]
    host: Option<Host>,
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
    /// Do not wait for the applications to load, and serve although they do not.
    #[arg(long)]
    no_preflight: bool,
    /// Serve nothing when one of the applications does not load. Default: the others are served.
    #[arg(long, conflicts_with = "no_preflight")]
    all_or_nothing: bool,
    /// Seconds to wait until httpd runs and every application has answered a request. Default: 60.
    #[arg(long, value_name = "SECONDS", conflicts_with = "debug")]
    timeout: Option<u64>,
    /// Seconds that running requests have to finish when SIGTERM ends the server; Ctrl-C cuts them off. Default: 8.
    #[arg(long, value_name = "SECONDS", conflicts_with = "debug")]
    grace: Option<u64>,
}

/// An address to listen on; `localhost` is both loopback addresses.
#[derive(Clone, Copy, Debug)]
struct Host(Option<IpAddr>);

impl std::str::FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self(None));
        }
        let address = text.trim_start_matches('[').trim_end_matches(']').parse();
        address.map(|address| Self(Some(address))).map_err(|_| {
            "expected `localhost` or an IP address; names of sites belong into `hosts` of a spec".to_owned()
        })
    }
}

/// Whether an argument names a spec: no application has such a name.
fn is_spec(given: &str) -> bool {
    let ending = Path::new(given).extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("yaml" | "yml" | "toml" | "json"))
}

/// What is to be served.
struct Wanted {
    draft: Draft,
    name: String,
    serves: String,
    /// Whether it is an application of the command line, not a spec.
    short: bool,
}

impl Start {
    pub(super) fn run(mut self, context: &Context<'_>) -> Result<Exit, Failure> {
        if let Some(file) = self.application.take_if(|given| is_spec(given)) {
            self.refuse_options_of_an_application()?;
            self.spec = Some(PathBuf::from(file));
        }
        self.refuse_options_of_the_other_form()?;
        // First of all: from here on an interruption ends the server in order.
        let signals =
            Signals::take().map_err(|error| environment(Code::Start, format!("cannot handle signals: {error}")))?;
        let facts = MachineArgs { facts: None, httpd: self.httpd.clone() }.probe(context)?;
        let (wanted, ports) = self.wanted(context)?;
        let registry = registry(context);
        registry.ensure_free(&wanted.name).map_err(|error| instances::failure(&error))?;
        let root = match &self.server_root {
            Some(folder) => ServerRoot::at(&instances::free_root(folder)?),
            None => ServerRoot::temporary(None),
        };
        let mut root = root.map_err(|error| environment(Code::Io, error.to_string()))?;
        let options =
            RenderOptions { server_root: Some(root.path().to_owned()), check_files: None, ..RenderOptions::default() };
        let tree = render_draft(&wanted.draft, &facts, &options).map_err(Failure::of_spec)?;
        ensure_reachable(&facts, &wanted.draft.spec, &tree, &root)?;
        context.report(&tree.warnings);
        let all = WriteOptions {
            secrets: Secrets::TakeAll,
            environment: context.environment.clone(),
            ..WriteOptions::default()
        };
        tree.write(&all).map_err(|diagnostics| Failure { exit: Exit::Environment, diagnostics })?;
        let relays = Relays::of(&wanted, self.debug)?;
        let launched = self.launch(&tree, &ports, relays.as_ref(), &signals);
        let mut server = match launched {
            Ok(server) => server,
            Err(LaunchError::Interrupted) => return Ok(Exit::Ok),
            Err(error) => return Err(self.kept(&mut root, context, refused(&tree, &error))),
        };
        let urls = ports::announced(&wanted.draft.spec, &ports, &[]).urls;
        let record = Record { source: self.source()?, ..record(&wanted, &tree, urls, &server) };
        if let Err(error) = registry.register(&record) {
            server.kill();
            return Err(instances::failure(&error));
        }
        let started = Started { facts: &facts, wanted: &wanted, tree: &tree, ports: &ports, record: &record };
        let temporary = self.server_root.is_none();
        let applications =
            applications::of(&wanted.draft.spec, &tree, &ports, wanted.short.then_some(wanted.serves.as_str()));
        let mut watch = Watch {
            server: &mut server,
            signals: &signals,
            shown: started.shown(context, &applications, temporary),
            grace: Duration::from_secs(self.grace.unwrap_or(GRACE)),
            debugged: tree.choice.single_process,
        };
        let outcome = self.serve(context, &mut watch, &started, applications, relays.as_ref());
        let errors = watch.errors_seen() && self.spec.is_some();
        // A record that cannot be removed is seen to be stale by whoever reads it.
        let _ = registry.forget(&record);
        drop(server);
        if !temporary && let Err(found) = forget_secrets(root.path()) {
            context.report(&found);
        }
        if let Some(relays) = relays {
            relays.finish();
        }
        drop(ports);
        match outcome {
            Err(failure) => Err(self.kept(&mut root, context, failure)),
            Ok(exit) => {
                if errors
                    && temporary
                    && let Some(log) = root.keep_logs()
                {
                    context.note(&format!("errors were logged; the log is kept: {}", log.display()));
                }
                Ok(exit)
            }
        }
    }

    /// The file of the spec, so that a graceful restart takes over what changes in it.
    fn source(&self) -> Result<Option<SpecSource>, Failure> {
        let Some(file) = self.spec.as_ref().filter(|file| file.as_os_str() != "-") else { return Ok(None) };
        let file = std::path::absolute(file).map_err(|error| Failure::io("find", file, &error))?;
        Ok(Some(SpecSource { file, profile: self.profile.clone(), set: self.set.clone() }))
    }

    /// Options that only one of the two forms has, and that clap does not refuse with the other one.
    fn refuse_options_of_the_other_form(&self) -> Result<(), Failure> {
        if self.spec.is_some() {
            return Ok(());
        }
        let given = [
            ("--profile", !self.profile.is_empty()),
            ("--set", !self.set.is_empty()),
            ("--all-or-nothing", self.all_or_nothing),
        ];
        let refused = given.iter().filter(|(_, given)| *given).map(|(option, _)| {
            Diagnostic::error(Code::Option, format!("`{option}` applies to a spec, and an application is named"))
                .help("serve a spec: `confgen start SPEC`")
        });
        let diagnostics: Vec<Diagnostic> = refused.collect();
        if diagnostics.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Spec, diagnostics }) }
    }

    /// Options of an application, with a spec that is named in its place: clap refuses them with `--spec` only.
    fn refuse_options_of_an_application(&self) -> Result<(), Failure> {
        let given = [
            ("--port", self.port.is_some(), "server.listen.http"),
            ("--host", self.host.is_some(), "server.listen.http"),
            ("--user", self.user.is_some(), "server.user"),
            ("--processes", self.processes.is_some(), "daemons.NAME.processes"),
            ("--threads", self.threads.is_some(), "daemons.NAME.threads"),
            ("--venv", self.venv.is_some(), "runtime.python.venv"),
            ("--module", self.module.is_some(), "runtime.module"),
            ("--debug", self.debug, "runtime.debug"),
        ];
        let refused = given.iter().filter(|(_, given, _)| *given).map(|(option, _, key)| {
            Diagnostic::error(Code::Option, format!("`{option}` applies to an application, and a spec is named"))
                .help(format!("the spec has the key `{key}`; `--set {key}=VALUE` changes it for this start"))
        });
        let diagnostics: Vec<Diagnostic> = refused.collect();
        if diagnostics.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Spec, diagnostics }) }
    }

    /// What is asked for, with the ports it needs, held from now on.
    fn wanted(&self, context: &Context<'_>) -> Result<(Wanted, Vec<Held>), Failure> {
        let Some(file) = &self.spec else {
            let held = ports::of_short_form(self.host.and_then(|host| host.0), self.port.unwrap_or(PORT))?;
            let wanted = short::wanted(self, &held.port, context)?;
            return Ok((wanted, vec![held]));
        };
        let mut draft = SpecArgs { spec: file.clone(), profile: self.profile.clone(), set: self.set.clone() }.load()?;
        if !draft.errors.is_empty() {
            return Err(Failure { exit: Exit::Spec, diagnostics: std::mem::take(&mut draft.errors) });
        }
        let ports = ports::of_spec(&draft.spec)?;
        let name = self
            .name
            .clone()
            .or_else(|| draft.spec.server.name.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "main".to_owned());
        Ok((Wanted { draft, name, serves: file.display().to_string(), short: false }, ports))
    }

    fn launch(
        &self,
        tree: &Tree,
        ports: &[Held],
        relays: Option<&Relays>,
        signals: &Signals,
    ) -> Result<Server, LaunchError> {
        let address =
            ports.first().map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), |held| reachable(held.port.address()));
        let tls = ports.first().is_some_and(|held| held.tls);
        let mut launch = Launch::new(&tree.choice.httpd, &tree.server_root)
            .config(&tree.config())
            .environment(tree.environment.clone())
            .within(self.timeout())
            .proxy_protocol(tree.choice.proxy_protocol)
            .unless_interrupted(signals.ends())
            .tied_to_thread();
        launch = match &tree.choice.error_log {
            // An announced start leaves no line in the access log.
            Some(log) => launch.error_log(log).ready_when(Readiness::Announces(address)),
            None if tls => launch.ready_when(Readiness::Accepts(address)),
            None => launch.ready_when(Readiness::Answers(address)),
        };
        if tree.choice.single_process {
            // It announces nothing, and answers only after what a debugger stops at has gone on.
            launch = launch.single_process().with_standard_input().ready_when(Readiness::Accepts(address));
        }
        match relays {
            Some(relays) => {
                let outputs =
                    relays.outputs().map_err(|cause| LaunchError::Write { path: PathBuf::from("a pipe"), cause })?;
                launch = launch.outputs(outputs.0, outputs.1);
            }
            None if tree.choice.single_process => launch = launch.on_terminal(),
            None => {}
        }
        launch.start()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.unwrap_or(TIMEOUT))
    }

    /// Waits until the applications are loaded, announces the server, and watches it to its end.
    fn serve(
        &self,
        context: &Context<'_>,
        watch: &mut Watch<'_>,
        started: &Started<'_>,
        applications: Vec<Application>,
        relays: Option<&Relays>,
    ) -> Result<Exit, Failure> {
        let mut outcome = Outcome::default();
        if !self.no_preflight {
            let preflight = started.preflight(applications, relays, self.timeout());
            match watch.until_loaded(preflight, |text| context.note(text)) {
                Loaded::Ended(end) => return end,
                Loaded::Judged(judged) => outcome = judged,
            }
            if outcome.none_serves || (self.all_or_nothing && !outcome.failures.is_empty()) {
                let stopped = watch.stop();
                let diagnostics =
                    outcome.failures.into_iter().chain(stopped.err().into_iter().flat_map(|end| end.diagnostics));
                return Err(Failure { exit: Exit::Application, diagnostics: diagnostics.collect() });
            }
        }
        if !context.json {
            context.report(&outcome.failures);
            context.report(&outcome.warnings);
        }
        started.announce(context, &outcome);
        watch.until_the_end()
    }

    /// Keeps the logs of a temporary directory when something went wrong, and says where they are.
    fn kept(&self, root: &mut ServerRoot, context: &Context<'_>, mut failure: Failure) -> Failure {
        if failure.exit == Exit::Spec || self.server_root.is_some() {
            return failure;
        }
        if let Some(log) = root.keep_logs() {
            match failure.diagnostics.last_mut() {
                Some(last) if !last.notes.iter().any(|note| note.contains(&log.display().to_string())) => {
                    last.notes.push(format!("the log is kept: {}", log.display()));
                }
                Some(_) => {}
                None => context.note(&format!("the log is kept: {}", log.display())),
            }
        }
        failure
    }
}

/// Pipes in place of the terminal, through which a log that goes there is passed on.
struct Relays {
    output: Relay,
    error: Relay,
    ends: (std::os::fd::OwnedFd, std::os::fd::OwnedFd),
}

impl Relays {
    fn of(wanted: &Wanted, debugged: bool) -> Result<Option<Self>, Failure> {
        if debugged || wanted.draft.spec.server.log.to != LogTarget::Terminal {
            return Ok(None);
        }
        let failed = |error: std::io::Error| environment(Code::Start, format!("cannot make a pipe: {error}"));
        let (output, output_end) = Relay::to(Output::Standard).map_err(failed)?;
        let (error, error_end) = Relay::to(Output::Error).map_err(failed)?;
        Ok(Some(Self { output, error, ends: (output_end, error_end) }))
    }

    fn outputs(&self) -> std::io::Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
        Ok((self.ends.0.try_clone()?, self.ends.1.try_clone()?))
    }

    fn finish(self) {
        drop(self.ends);
        self.output.finish();
        self.error.finish();
    }
}

/// A server that runs, with what it was made from.
struct Started<'a> {
    facts: &'a Facts,
    wanted: &'a Wanted,
    tree: &'a Tree,
    ports: &'a [Held],
    record: &'a Record,
}

impl Started<'_> {
    fn spec(&self) -> &Spec {
        &self.wanted.draft.spec
    }

    /// The error log, when it is a file that can be read.
    fn error_log(&self) -> Option<PathBuf> {
        match &self.spec().server.log.to {
            LogTarget::Files => Some(self.tree.server_root.join("logs/error.log")),
            LogTarget::Terminal => None,
            LogTarget::At(files) => Some(files.error.as_path().to_owned()),
        }
    }

    /// What of the logs is shown: errors, and the requests of the short form.
    fn shown(&self, context: &Context<'_>, applications: &[Application], temporary: bool) -> Option<Shown> {
        let log = self.error_log()?;
        let own = log.starts_with(&self.tree.server_root);
        let shown = Shown::errors(&log, own && (temporary || self.wanted.short), context.coloured());
        if !self.wanted.short {
            return Some(shown);
        }
        let asked = applications.iter().filter_map(|application| application.route.as_ref());
        let left_out = asked.map(|route| format!("OPTIONS {} ", route.path)).chain(["OPTIONS * ".to_owned()]);
        Some(shown.requests(&self.tree.server_root.join("logs/access.log"), left_out))
    }

    /// The watch over the first loads. Under a debugger nothing is asked that a prompt could stop, and there is no limit.
    fn preflight(&self, mut applications: Vec<Application>, relays: Option<&Relays>, limit: Duration) -> Preflight {
        let debugged = self.tree.choice.single_process;
        if debugged {
            for application in &mut applications {
                if let Some(route) = &mut application.route {
                    "*".clone_into(&mut route.path);
                }
            }
        }
        let lines = match (self.error_log(), relays) {
            (Some(log), _) => Lines::File(LogTail::from_start(&log)),
            (None, Some(relays)) => Lines::Relayed(relays.error.lines()),
            (None, None) => Lines::Relayed(Default::default()),
        };
        let settings = Settings {
            root: self.spec().root.clone(),
            shown: true,
            pythons: python::Pythons::of(self.spec(), self.facts),
            spec: !self.wanted.short,
            proxied: self.tree.choice.proxy_protocol,
        };
        Preflight::new(applications, lines, (!debugged).then_some(limit), settings)
    }

    fn announce(&self, context: &Context<'_>, outcome: &Outcome) {
        let Announced { urls, hint } = ports::announced(self.spec(), self.ports, &outcome.silent_sites);
        let (record, choice) = (self.record, &self.tree.choice);
        if context.json {
            let found: Vec<_> = outcome.failures.iter().chain(&outcome.warnings).map(Diagnostic::to_json).collect();
            context.print_json(&serde_json::json!({
                "name": record.name,
                "pid": record.identity.pid,
                "urls": urls,
                "try": hint,
                "serves": record.serves,
                "choice": choice,
                "diagnostics": found,
            }));
            return;
        }
        let python = match choice.engines.is_empty() {
            true => String::new(),
            false => format!(", Python {}", choice.engines.join(" and ")),
        };
        let except = match outcome.failures.len() {
            0 => String::new(),
            1 => ", except for one application".to_owned(),
            several => format!(", except for {several} applications"),
        };
        context.note(&format!(
            "serving {} on {} as {}{except} ({}, httpd {} {}{python}, pid {}); Ctrl-C stops it",
            record.serves,
            urls.join(" and "),
            choice.user,
            record.name,
            choice.httpd_version,
            choice.mpm,
            record.identity.pid
        ));
        if let Some(hint) = hint {
            context.note(&format!("where that name does not lead to this machine: {hint}"));
        }
        if let Some(log) = self.error_log().filter(|log| !log.starts_with(std::env::temp_dir())) {
            context.note(&format!("errors are logged in {}", Path::display(&log)));
        }
    }
}

/// A directory that was named may be closed to the users that serve, who have to reach the sockets and scripts in it.
fn ensure_reachable(facts: &Facts, spec: &Spec, tree: &Tree, root: &ServerRoot) -> Result<(), Failure> {
    if !facts.starts_as_root() || spec.daemons.is_empty() || spec.runtime.socket_prefix.is_some() {
        return Ok(());
    }
    let daemons = spec.daemons.values().filter(|daemon| daemon.chroot.is_none());
    let users = daemons.filter_map(|daemon| daemon.user.as_ref().map(|user| user.as_str()));
    for user in [tree.choice.user.as_str()].into_iter().chain(users) {
        // A user that is given by its number has no name to look up, and may have no account.
        let Ok(account) = Account::by_name(user) else { continue };
        if let Some(obstacle) = account.obstacle(&root.run()) {
            return Err(environment(Code::Unreachable, obstacle.explain(&account.name)));
        }
    }
    Ok(())
}

fn environment(code: Code, message: String) -> Failure {
    Failure::new(Exit::Environment, Diagnostic::error(code, message))
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

fn record(wanted: &Wanted, tree: &Tree, urls: Vec<String>, server: &Server) -> Record {
    Record {
        name: wanted.name.clone(),
        identity: server.identity(),
        binary: tree.choice.httpd.clone(),
        config: tree.config(),
        error_log: tree.choice.error_log.clone(),
        urls,
        environment: tree.environment.clone(),
        serves: wanted.serves.clone(),
        source: None,
    }
}
