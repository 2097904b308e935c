//! One cell: a scenario's variant at a position of the matrix, with all that it takes to run it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use confgen::document::{Node, Value as NodeValue};
use indexmap::IndexMap;

use super::{DEFAULT_TIMEOUT, judged, needs, prepare, server};
use crate::runner::machine::Machine;
use crate::runner::outcome::{CellId, Failure, Verdict, judge};
use crate::scenario::expression::{Expression, Scope};
use crate::scenario::load::{FILE_OF_FOLDER, Loaded};
use crate::scenario::prepared::{PreparedStep, unfilled};
use crate::scenario::schema::{
    DeathAllowance, Expectation, FileEntry, LaunchMode, LogAllowance, Mode, Module, Mpm, PythonTag, StartRule, Variant,
};
use crate::scenario::span::node_at;
use crate::scenario::template::{self, Places};
use crate::scenario::value::Value;

/// An expression of `symptom` or `healthy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its text.
    pub source: String,
    /// Its place in the scenario.
    pub pointer: String,
}

/// A file of a cell, its holes filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellFile {
    /// Where it goes, below `${dir}`.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Its permissions, if some were given.
    pub mode: Option<u32>,
}

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its name.
    pub id: CellId,
    /// The scenario.
    pub scenario: Arc<Loaded>,
    /// What it must show.
    pub expected: Expectation,
    /// The processing module.
    pub mpm: Mpm,
    /// Where the application runs, if the matrix says so.
    pub mode: Option<Mode>,
    /// The module that serves.
    pub module: Module,
    /// The version of Python that runs its applications.
    pub python: PythonTag,
    /// Whether its server may refuse to start.
    pub start: StartRule,
    /// How its server is launched.
    pub launch: LaunchMode,
    /// Names of the further ports that are held for its server.
    pub ports: Vec<String>,
    /// The steps before the server starts.
    pub before: Vec<PreparedStep>,
    /// The steps.
    pub steps: Vec<PreparedStep>,
    /// The conditions of the symptom.
    pub symptom: Vec<Condition>,
    /// The conditions of health.
    pub healthy: Vec<Condition>,
    /// Whether both lists may hold at once.
    pub vacuous: bool,
    /// Lines of the error log that belong to it.
    pub allow_log: Vec<LogAllowance>,
    /// Signals that may end processes of its server.
    pub allow_death: Vec<DeathAllowance>,
    /// The longest time it may take.
    pub timeout: Duration,
    /// About how long it takes, where the scenario says so.
    pub takes: Option<Duration>,
    /// Whether it runs alone.
    pub exclusive: bool,
    /// Why it is not run.
    pub skip: Option<String>,
    vars: IndexMap<String, Value>,
    spellings: IndexMap<String, String>,
    files: IndexMap<String, (FileEntry, String)>,
    server: Node,
}

impl Cell {
    pub(super) fn new(
        id: CellId,
        scenario: &Arc<Loaded>,
        key: Option<&str>,
        variant: &Variant,
        expected: Expectation,
        machine: &Machine,
    ) -> Self {
        let whole = &scenario.scenario;
        let own = |name: &str| key.map(|key| format!("/variants/{}/{name}", key.replace('~', "~0").replace('/', "~1")));
        let axes = id.axes;
        let module = axes.module.unwrap_or(Module::Ours);
        let patch = own("server").and_then(|pointer| node_at(&scenario.root, &pointer));
        let spec = server::merge(scenario.root.get("server"), patch, axes, module, machine);
        let mpm = server::mpm_of(&spec).unwrap_or(Mpm::Event);
        let list =
            |name: &str, overridden: bool| own(name).filter(|_| overridden).unwrap_or_else(|| format!("/{name}"));
        let steps = prepare(scenario, &list("steps", variant.steps.is_some()));
        let before = prepare(scenario, &list("before", variant.before.is_some()));
        let conditions = |name: &str, given: Option<&Vec<String>>, default: &Vec<String>| {
            let pointer = list(name, given.is_some());
            let sources = given.unwrap_or(default).iter().enumerate();
            sources
                .map(|(index, source)| Condition { source: source.clone(), pointer: format!("{pointer}/{index}") })
                .collect::<Vec<_>>()
        };
        let symptom = conditions("symptom", variant.symptom.as_ref(), &whole.symptom);
        let healthy = conditions("healthy", variant.healthy.as_ref(), &whole.healthy);
        // Only the side that decides can be spoilt by other work on the machine.
        let deciding = if expected == Expectation::Symptom { &symptom } else { &healthy };
        let bounded = deciding
            .iter()
            .filter_map(|condition| Expression::parse(&condition.source).ok())
            .any(|expression| expression.bounds_time_from_above());
        let exclusive = whole.exclusive || bounded || steps.iter().any(PreparedStep::bounds_time_from_above);
        let mut vars: IndexMap<String, Value> =
            whole.vars.iter().map(|(name, value)| (name.clone(), Value::from(value))).collect();
        vars.extend(variant.vars.iter().map(|(name, value)| (name.clone(), Value::from(value))));
        let mut spellings = IndexMap::new();
        for holder in [Some("/vars".to_owned()), own("vars")].into_iter().flatten() {
            if let Some(vars) = node_at(&scenario.root, &holder) {
                spell(vars, "vars", &mut spellings);
            }
        }
        let pointer = |base: &str, path: &str| format!("{base}/{}", path.replace('~', "~0").replace('/', "~1"));
        let mut files: IndexMap<_, _> =
            whole.files.iter().map(|(path, entry)| (path.clone(), (entry.clone(), pointer("/files", path)))).collect();
        for (path, entry) in &variant.files {
            match entry {
                Some(entry) => {
                    files.insert(path.clone(), (entry.clone(), pointer(&own("files").unwrap_or_default(), path)));
                }
                None => {
                    files.shift_remove(path);
                }
            }
        }
        let python = axes.python.unwrap_or_else(|| machine.python_tag());
        let skip = if module == Module::ModWsgi && machine.peer.is_none() {
            Some(needs::NO_PEER.to_owned())
        } else if let Some(reason) = needs::engine_missing(axes.python, module, machine) {
            Some(reason)
        } else if !machine.mpms.iter().any(|installed| installed == mpm.name()) {
            Some(format!("httpd has no MPM {mpm}"))
        } else if machine.venv.is_none() && spec.to_json().to_string().contains("${venv}") {
            Some(needs::NO_VENV.to_owned())
        } else {
            needs::unmet(&whole.needs, python, machine)
                .or_else(|| variant.needs.as_ref().and_then(|needs| needs::unmet(needs, python, machine)))
        };
        Self {
            scenario: Arc::clone(scenario),
            expected,
            mpm,
            mode: axes.mode,
            module,
            python,
            start: variant.start.unwrap_or(whole.start),
            launch: variant.launch.clone().unwrap_or_else(|| whole.launch.clone()),
            ports: whole.ports.iter().map(|name| name.0.clone()).collect(),
            before,
            steps,
            symptom,
            healthy,
            vacuous: variant.vacuous.is_some() || whole.vacuous.is_some(),
            allow_log: whole.allow_log.iter().chain(&variant.allow_log).cloned().collect(),
            allow_death: whole
                .allow_death
                .iter()
                .chain(&variant.allow_death)
                .copied()
                .filter(|named| named.is_for(module))
                .collect(),
            timeout: variant.timeout.or(whole.timeout).map_or(DEFAULT_TIMEOUT, Duration::from),
            takes: variant.takes.or(whole.takes).map(Duration::from),
            exclusive,
            skip,
            vars,
            spellings,
            files,
            server: spec,
            id,
        }
    }

    /// The names that its expressions know from the beginning. The runner adds `parent` once the server runs, and `log`
    /// before it evaluates anything.
    #[must_use]
    pub fn scope(&self, places: &Places, machine: &Machine) -> Scope<'static> {
        let mut scope = Scope::new();
        let mode: Value = self.mode.map(Mode::name).into();
        scope.set("vars", Value::Record(self.vars.clone()));
        for (path, text) in &self.spellings {
            scope.spell(path, text);
        }
        scope.set(
            "matrix",
            Value::record([
                ("mpm", self.mpm.name().into()),
                ("mode", mode.clone()),
                ("module", self.module.name().into()),
                ("python", self.python.to_string().into()),
            ]),
        );
        scope.set("mpm", self.mpm.name());
        scope.set("mode", mode);
        scope.set("module", self.module.name());
        scope.set("variant", self.id.variant.as_str());
        scope.set("dir", places.dir.as_str());
        scope.set("port", places.port);
        scope.set("https-port", places.https_port);
        let ports = places.ports.iter().map(|(name, port)| (name.clone(), Value::from(*port)));
        scope.set("ports", Value::Map(ports.collect()));
        scope.set("start", started());
        scope.set("parent", Value::Null);
        scope.set("root", machine.root);
        scope.set("user", machine.user.as_str());
        scope.set("python", self.python.to_string());
        scope.set("log", Value::record([("error", "".into()), ("access", "".into()), ("console", "".into())]));
        scope
    }

    /// Whether its server needs a second port, for HTTPS.
    #[must_use]
    pub fn needs_https(&self) -> bool {
        server::has_tls(&self.server)
    }

    /// The spec of its server, its holes filled, with the places of what was written.
    ///
    /// # Errors
    /// Every hole that cannot be filled.
    pub fn server(&self, scope: &Scope<'_>, places: &Places) -> Result<Node, Vec<Failure>> {
        server::fill(&self.server, scope, places, "/server")
    }

    /// The spec of its server, merged, with its holes.
    #[must_use]
    pub const fn merged_server(&self) -> &Node {
        &self.server
    }

    /// Its files, their holes filled.
    ///
    /// # Errors
    /// A hole that cannot be filled, or a path that leads out of `${dir}`.
    pub fn files(&self, scope: &Scope<'_>, places: &Places) -> Result<Vec<CellFile>, Failure> {
        let mut files = Vec::new();
        for (path, (entry, pointer)) in &self.files {
            let target = PathBuf::from(path);
            let inside = target
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
            if !inside || target.as_os_str().is_empty() {
                return Err(Failure::new(
                    crate::runner::outcome::FailureKind::Step,
                    pointer,
                    format!("`{path}` is not below ${{dir}}"),
                ));
            }
            let text = if entry.interpolated() {
                match template::fill(entry.text(), scope, places) {
                    Ok(serde_json::Value::String(text)) => text,
                    Ok(other) => Value::from(&other).to_text(),
                    Err(error) => return Err(unfilled(error, pointer)),
                }
            } else {
                entry.text().to_owned()
            };
            files.push(CellFile { path: target, text, mode: entry.mode() });
        }
        Ok(files)
    }

    /// Files and folders beside the scenario's own file, which are copied below `${dir}`.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn copied(&self) -> std::io::Result<Vec<PathBuf>> {
        let Some(folder) = &self.scenario.folder else { return Ok(Vec::new()) };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name != FILE_OF_FOLDER && name != "__pycache__" && !name.starts_with('.') {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Decides on the cell once its steps have run and its log and leaks were looked at.
    #[must_use]
    pub fn judge(&self, failures: Vec<Failure>, scope: &Scope<'_>) -> (Verdict, Vec<Failure>) {
        judge(self.expected, failures, judged(&self.symptom, scope), judged(&self.healthy, scope), self.vacuous)
    }
}

/// Collects how numbers were written, by their paths. What a variant overrides by another type is forgotten.
fn spell(node: &Node, path: &str, spellings: &mut IndexMap<String, String>) {
    match &node.value {
        NodeValue::Map(map) => {
            map.entries.iter().for_each(|entry| spell(&entry.value, &format!("{path}.{}", entry.key), spellings));
        }
        NodeValue::Int(_) | NodeValue::Float(_) => {
            spellings.insert(path.to_owned(), node.span.text().trim().to_owned());
        }
        _ => {
            spellings.shift_remove(path);
        }
    }
}

/// What expressions see as `start` of a server that has started.
fn started() -> Value {
    Value::record([
        ("ok", true.into()),
        ("error", Value::Null),
        ("code", Value::Null),
        ("file", Value::Null),
        ("line", Value::Null),
        ("log", "".into()),
    ])
}
