//! From a planned cell to a running server: folder, ports, files, configuration, launch.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use confgen::diagnostic::Diagnostic;
use confgen::environment::Environment;
use confgen::facts::Facts;
use confgen::httpd::{Account, HeldPort, Launch, LaunchError, Readiness, Server, ServerRoot};
use confgen::render::{RenderOptions, Secrets, Tree, WriteOptions, render};
use confgen::spec::Spec;

use super::cleaner::{Cleaner, Taken};
use super::machine::Machine;
use super::outcome::{Failure, FailureKind};
use super::perform::Performer;
use super::plan::{Cell, CellFile};
use crate::scenario::Value;
use crate::scenario::expression::Scope;
use crate::scenario::template::Places;
use crate::steps::wire::Limit;
use crate::steps::{Leftovers, Stage, StageParts, hand_over};

/// The name of `${dir}` below the server root.
const APPLICATION: &str = "app";

/// Permissions of a file that names none.
const FILE_MODE: u32 = 0o644;

/// Permissions of folders.
const FOLDER_MODE: u32 = 0o755;

/// What cells are arranged with, the same for all of a run.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// What the machine has.
    pub machine: &'a Machine,
    /// What confgen knows of it.
    pub facts: &'a Facts,
    /// Where secrets of specs may come from.
    pub environment: &'a Environment,
    /// Where cells make their private folders.
    pub work: &'a Path,
    /// What ends cells when the harness cannot.
    pub cleaner: &'a Cleaner,
}

/// The folder that scenarios call `${dir}`, in a server root.
pub(super) fn application(root: &Path) -> PathBuf {
    root.join(APPLICATION)
}

/// A cell whose server runs.
#[derive(Debug)]
pub struct Arranged {
    /// What its steps act on.
    pub stage: Stage,
    /// What short holes are filled with.
    pub places: Places,
    /// The names that its expressions know.
    pub scope: Scope<'static>,
    /// Where the server answers.
    pub url: String,
    /// From the launch to readiness.
    pub started_in: Duration,
    /// The programs of its steps.
    pub leftovers: Leftovers,
    _ports: Vec<HeldPort>,
    /// Its files, which go last: until everything else is gone, the cleaner has to know of the folder.
    pub rendered: Rendered,
}

/// The files of a cell's server.
#[derive(Debug)]
pub struct Rendered {
    /// The private folder with the server's root.
    pub root: ServerRoot,
    /// What confgen rendered.
    pub tree: Tree,
    // The last one, as the folder has to be gone before.
    _taken: Taken,
}

/// A cell whose server ended instead of starting.
#[derive(Debug)]
pub struct Refused {
    /// What httpd said.
    pub failure: Failure,
    /// The names that expressions know, with what httpd said as `start`.
    pub scope: Scope<'static>,
    /// The server's files.
    pub rendered: Rendered,
    /// The last lines of what it wrote.
    pub log: Vec<String>,
    /// How its parent process ended.
    pub status: ExitStatus,
}

/// Why there is no running server.
#[derive(Debug)]
pub enum NotArranged {
    /// httpd refused to start, or ended right away.
    Refused(Box<Refused>),
    /// It was not ready in time, or httpd could not be run.
    NotStarted(Failure, Box<Rendered>),
    /// It did not come to a start.
    Failed(Vec<Failure>),
}

impl NotArranged {
    /// What went wrong, where the server had to start, and the files of the server as far as there are any.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Failure>, Option<Rendered>) {
        match self {
            Self::Refused(refused) => (vec![refused.failure], Some(refused.rendered)),
            Self::NotStarted(failure, rendered) => (vec![failure], Some(*rendered)),
            Self::Failed(failures) => (failures, None),
        }
    }
}

impl From<Vec<Failure>> for NotArranged {
    fn from(failures: Vec<Failure>) -> Self {
        Self::Failed(failures)
    }
}

/// Arranges a cell and starts its server, within a time.
///
/// # Errors
/// Everything that kept it from starting.
pub fn arrange(
    cell: &Cell,
    surroundings: &Surroundings<'_>,
    limit: Limit<'_>,
    keep_after_us: bool,
) -> Result<Arranged, NotArranged> {
    let broken = |what: &str, error: &dyn std::fmt::Display| {
        vec![Failure::new(FailureKind::Infrastructure, "", format!("{what}: {error}"))]
    };
    let root = ServerRoot::temporary(Some(surroundings.work))
        .map_err(|error| broken("cannot make the cell's folder", &error))?;
    let taken = surroundings.cleaner.take(root.path());
    let port = HeldPort::loopback().map_err(|error| broken("cannot hold a port", &error))?;
    let https = if cell.needs_https() {
        Some(HeldPort::loopback().map_err(|error| broken("cannot hold a port", &error))?)
    } else {
        None
    };
    let further = cell
        .ports
        .iter()
        .map(|name| HeldPort::loopback().map(|port| (name.clone(), port)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken("cannot hold a port", &error))?;
    let dir = application(root.path());
    let leftovers = Leftovers::of(dir.clone());
    let places = Places {
        dir: dir.display().to_string(),
        port: port.port(),
        https_port: https.as_ref().map(HeldPort::port),
        ports: further.iter().map(|(name, port)| (name.clone(), port.port())).collect(),
        venv: surroundings.machine.venv.as_ref().map(|venv| venv.display().to_string()),
    };
    let mut scope = cell.scope(&places, surroundings.machine);
    let account = serving(surroundings.machine);
    let files = cell.files(&scope, &places).map_err(|failure| vec![failure])?;
    furnish(cell, &dir, &files, &account).map_err(|error| broken("cannot write the cell's files", &error))?;
    let address = port.address();
    let mut parts = StageParts {
        dir,
        http: address,
        https: https.as_ref().map(HeldPort::address),
        error_log: root.logs().join("error.log"),
        access_log: root.logs().join("access.log"),
        console: root.logs().join("console.log"),
        account,
        py_spy: surroundings.machine.py_spy(),
        allow_log: cell.allow_log.clone(),
        server: None,
    };
    if !cell.before.is_empty() {
        rehearse(cell, &Stage::new(parts.clone_without_server()), &places, &mut scope, limit)?;
    }
    let tree = configure(cell, surroundings, &scope, &places, &root)?;
    if tree.choice.user != parts.account.name
        && let Ok(other) = Account::by_name(&tree.choice.user)
    {
        hand_over_all(&parts.dir, &other).map_err(|error| broken("cannot hand the cell's files over", &error))?;
    }
    // A server without a plain port can only be seen to accept.
    let listener = match https.as_ref().filter(|_| !listens_plainly(&tree, port.port())) {
        Some(https) => https.address(),
        None => address,
    };
    parts.error_log = tree.choice.error_log.clone().unwrap_or(parts.error_log);
    let began = Instant::now();
    let server = match launch(cell, &tree, &root, &parts.error_log, listener, limit, keep_after_us) {
        Ok(server) => server,
        Err(error) => return Err(refusal(&error, scope, Rendered { root, tree, _taken: taken })),
    };
    let started_in = began.elapsed();
    scope.set("parent", server.pid());
    parts.server = Some(server);
    let url = format!("http://127.0.0.1:{}/", port.port());
    let ports = std::iter::once(port).chain(https).chain(further.into_iter().map(|(_, port)| port)).collect();
    Ok(Arranged {
        stage: Stage::new(parts),
        places,
        scope,
        rendered: Rendered { root, tree, _taken: taken },
        url,
        started_in,
        leftovers,
        _ports: ports,
    })
}

/// Starts the server.
fn launch(
    cell: &Cell,
    tree: &Tree,
    root: &ServerRoot,
    error_log: &Path,
    listener: SocketAddr,
    limit: Limit<'_>,
    keep_after_us: bool,
) -> Result<Server, LaunchError> {
    let mut launch = Launch::new(&tree.choice.httpd, root.path())
        .config(&tree.config())
        .environment(tree.environment.clone())
        .watched()
        .error_log(error_log)
        .ready_when(Readiness::Announces(listener))
        .within(limit.left());
    if let Some(input) = &cell.launch.input {
        launch = launch.input(input);
    }
    if cell.launch.single_process || tree.choice.single_process {
        // A single process announces nothing.
        launch = launch.single_process().ready_when(Readiness::Accepts(listener));
    }
    let launch = if keep_after_us { launch } else { launch.tied_to_thread() };
    launch.start_unless(|| limit.is_interrupted())
}

/// Does the steps before the start.
fn rehearse(
    cell: &Cell,
    stage: &Stage,
    places: &Places,
    scope: &mut Scope<'static>,
    limit: Limit<'_>,
) -> Result<(), Vec<Failure>> {
    for step in &cell.before {
        let performed = Performer { stage, places }.perform(step, scope, limit);
        if !performed.failures.is_empty() && !step.soft {
            return Err(performed.failures);
        }
        for (name, value) in performed.captured {
            scope.set(name, value);
        }
        if let Some(id) = &step.id {
            scope.set(id.clone(), performed.result);
        }
    }
    Ok(())
}

/// A server that did not start: what it said is what `start` is in expressions.
fn refusal(error: &LaunchError, mut scope: Scope<'static>, rendered: Rendered) -> NotArranged {
    let failure = refused(error, rendered.root.path());
    let LaunchError::Died { status, complaints, log } = error else {
        return NotArranged::NotStarted(failure, Box::new(rendered));
    };
    let first = complaints.iter().find(|complaint| complaint.file.is_some()).or_else(|| complaints.first());
    let text = if complaints.is_empty() {
        log.join("\n")
    } else {
        complaints.iter().map(|complaint| complaint.message.clone()).collect::<Vec<_>>().join("\n")
    };
    let file = first.and_then(|complaint| complaint.file.as_ref()).map(|file| file.display().to_string());
    let line = first.and_then(|complaint| complaint.line).map(|line| line as u64);
    scope.set(
        "start",
        Value::record([
            ("ok", false.into()),
            ("error", text.into()),
            ("code", first.and_then(|complaint| complaint.code.clone()).into()),
            ("file", file.into()),
            ("line", line.into()),
            ("log", log.join("\n").into()),
        ]),
    );
    let logs = ["error", "access", "console"].map(|name| {
        let text = fs::read(rendered.root.logs().join(format!("{name}.log"))).unwrap_or_default();
        (name, String::from_utf8_lossy(&text).into_owned().into())
    });
    scope.set("log", Value::record(logs));
    NotArranged::Refused(Box::new(Refused { failure, scope, rendered, log: log.clone(), status: *status }))
}

/// Who serves requests unless the spec names another user.
fn serving(machine: &Machine) -> Account {
    Account::by_name(&machine.user).unwrap_or_else(|_| Account::current())
}

fn listens_plainly(tree: &Tree, port: u16) -> bool {
    tree.text("httpd.conf").is_none_or(|text| {
        text.lines().any(|line| line.trim_start().starts_with("Listen ") && line.contains(&port.to_string()))
    })
}

/// Writes the cell's files, all of them the serving user's.
fn furnish(cell: &Cell, dir: &Path, files: &[CellFile], account: &Account) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    for source in cell.copied()? {
        copy(&source, &dir.join(source.file_name().unwrap_or_default()))?;
    }
    for file in files {
        let path = dir.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, &file.text)?;
    }
    hand_over_all(dir, account)?;
    // After the folders: a mode that shuts a file off must not be undone.
    for file in files {
        if let Some(mode) = file.mode {
            hand_over(&dir.join(&file.path), mode, account)?;
        }
    }
    Ok(())
}

fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    if source.is_dir() {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            if entry.file_name() != "__pycache__" {
                copy(&entry.path(), &target.join(entry.file_name()))?;
            }
        }
        return Ok(());
    }
    fs::copy(source, target).map(drop)
}

/// Gives a folder with all that is in it to the serving user; executable files stay so.
fn hand_over_all(path: &Path, account: &Account) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over_all(&entry?.path(), account)?;
        }
        return hand_over(path, FOLDER_MODE, account);
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    hand_over(path, if executable { FOLDER_MODE } else { FILE_MODE }, account)
}

/// Renders the cell's server into its root.
fn configure(
    cell: &Cell,
    surroundings: &Surroundings<'_>,
    scope: &Scope<'_>,
    places: &Places,
    root: &ServerRoot,
) -> Result<Tree, Vec<Failure>> {
    let node = cell.server(scope, places)?;
    let told = |diagnostics: Vec<Diagnostic>| {
        diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).map(complaint).collect::<Vec<_>>()
    };
    let spec = Spec::from_node(node).map_err(told)?;
    // A missing or unreadable file is a symptom that scenarios show; httpd itself tells of the others.
    let options = RenderOptions {
        server_root: Some(root.path().to_owned()),
        check_files: Some(false),
        ..RenderOptions::default()
    };
    let tree = render(&spec, surroundings.facts, &options).map_err(told)?;
    tree.write(&WriteOptions {
        // The files of the scenario stand there already.
        adopt: true,
        secrets: Secrets::TakeAll,
        environment: surroundings.environment.clone(),
        ..WriteOptions::default()
    })
    .map_err(told)?;
    Ok(tree)
}

/// What confgen says about a spec, as a failure.
fn complaint(diagnostic: &Diagnostic) -> Failure {
    let mut failure = Failure::new(FailureKind::Start, "/server", diagnostic.message.clone());
    failure.place = diagnostic.span().cloned();
    failure.notes.extend(diagnostic.notes.iter().chain(&diagnostic.help).cloned());
    failure
}

/// What httpd said. The folder is gone when somebody reads it: files below it are named without it, and lines of them shown.
fn refused(error: &LaunchError, root: &Path) -> Failure {
    let folder = format!("{}/", root.display());
    let text = error.to_string().replace(&folder, "");
    let mut lines = text.lines();
    let mut failure =
        Failure::new(FailureKind::Start, "/server", lines.next().unwrap_or_default().trim_end_matches(':'));
    failure.notes.extend(lines.map(|line| line.trim_start().to_owned()));
    if let LaunchError::Died { complaints, log, .. } | LaunchError::NotReady { complaints, log, .. } = error {
        let log = log.iter().map(|line| line.replace(&folder, ""));
        failure.notes.extend(log.filter(|line| !text.contains(line.as_str())));
        let mut seen = Vec::new();
        for complaint in complaints {
            if let (Some(file), Some(number)) = (&complaint.file, complaint.line)
                && let Ok(name) = file.strip_prefix(root)
                && !seen.contains(&(file, number))
                && let Ok(text) = fs::read_to_string(file)
                && let Some(line) = text.lines().nth(number.saturating_sub(1))
            {
                seen.push((file, number));
                failure.notes.push(format!("line {number} of {}: {}", name.display(), line.trim()));
            }
        }
    }
    failure
}

/// Where the files of a cell are, for a bundle.
pub(super) fn bundled(root: &Path) -> [PathBuf; 3] {
    [root.join("httpd.conf"), root.join("logs"), root.join(APPLICATION)]
}
