//! Steps: what all kinds have in common, and the registry of kinds.

use std::borrow::Cow;

use confgen::httpd::Signal;
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use super::check::Check;
use super::http::Http;
use super::load::Load;
use super::matrix::Module;
use super::members::{
    CONCURRENT_MEMBERS, EXEC_MEMBERS, FILE_MEMBERS, HTTP_MEMBERS, LOAD_MEMBERS, LOG_MEMBERS, Member, PROCESS_MEMBERS,
    RAW_MEMBERS, SIGNAL_MEMBERS, STOP_MEMBERS, WAIT_MEMBERS,
};
use super::observe::{Log, Process, Wait};
use super::operate::{self, Concurrent, Exec, FileStep, Stop};
use super::raw::Raw;
use crate::scenario::quantity::Time;

/// A part of a scenario whose `${{ }}` are evaluated later than those around it, such as the step that a `wait` repeats.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Deferred(pub Json);

impl JsonSchema for Deferred {
    fn schema_name() -> Cow<'static, str> {
        Step::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Step::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Step::json_schema(generator)
    }
}

/// One step. Exactly one of its kinds (`http`, `raw`, `concurrent`, `load`, `signal`, `wait`, `log`, `process`, `file`, `exec`, `stop`) is given.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// The name by which expressions speak of the step's result.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]*$"), extend("x-expected" = "a name: letters, digits, dashes, no digit first"))]
    pub id: Option<String>,
    /// One line for reports.
    #[serde(default)]
    pub title: Option<String>,
    /// An expression; where it does not hold, the step is skipped and counted as such.
    #[serde(default, rename = "if")]
    pub condition: Option<String>,
    /// Does the step so many times, one after the other; `${{ index }}` counts from 0.
    #[serde(default)]
    pub repeat: Option<Repeat>,
    /// Does the step once for each value of a list: `for-each: {path: [/a, /b]}` gives `${{ path }}`.
    #[serde(default)]
    pub for_each: Option<IndexMap<String, Json>>,
    /// An HTTP request.
    #[serde(default)]
    pub http: Option<Http>,
    /// Bytes sent to and expected from the server's port.
    #[serde(default)]
    pub raw: Option<Raw>,
    /// The same step by several clients at once.
    #[serde(default)]
    pub concurrent: Option<Concurrent>,
    /// Requests by several clients for some time, counted.
    #[serde(default)]
    pub load: Option<Load>,
    /// A signal to one of the server's processes.
    #[serde(default)]
    pub signal: Option<operate::Signal>,
    /// Repeats a step until it succeeds.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// What is in a log, and what is not.
    #[serde(default)]
    pub log: Option<Log>,
    /// The server's processes: how many, their memory, descriptors and threads.
    #[serde(default)]
    pub process: Option<Process>,
    /// Changes or reads a file below `${dir}`.
    #[serde(default)]
    pub file: Option<FileStep>,
    /// Runs a program.
    #[serde(default)]
    pub exec: Option<Exec>,
    /// Stops the server and waits for its end.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// What must hold of the result.
    #[serde(default)]
    pub check: Option<Check>,
    /// Names for parts of the result: `{pid: json.pid}` gives `${{ pid }}` to the steps that follow.
    #[serde(default)]
    pub capture: IndexMap<String, String>,
    /// True: a failure is recorded (`ID.ok` is false) without failing the cell.
    #[serde(default)]
    pub soft: bool,
    /// The longest time the step may take. Default: 30s.
    #[serde(default)]
    pub timeout: Option<Time>,
}

/// How often a step is done.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Repeat {
    /// So many times.
    Times(u32),
    /// So many times with a pause or an end.
    Until(RepeatUntil),
}

/// A repetition with conditions.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RepeatUntil {
    /// At most so many times.
    pub times: u32,
    /// An expression over the scope and the members of the last result; ends the repetition once it holds.
    #[serde(default)]
    pub until: Option<String>,
}

/// A warning or an error in the error log that belongs to a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAllowance {
    /// By its code, such as `WSGI0174` or `AH00045`; lines of a traceback that follow belong to it.
    Code(String),
    /// By a regular expression over the whole line.
    Matching(String),
}

impl<'de> Deserialize<'de> for LogAllowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Pattern {
            r#match: String,
        }
        let value = Json::deserialize(deserializer)?;
        match value {
            Json::String(code) if is_code(&code) => Ok(Self::Code(code)),
            Json::String(code) => Err(serde::de::Error::custom(format!(
                "`{code}` is no code such as WSGI0174 or AH00045; for other lines write {{match: \"regular expression\"}}"
            ))),
            other => {
                let pattern = Pattern::deserialize(other).map_err(serde::de::Error::custom)?;
                regex::Regex::new(&pattern.r#match).map_err(serde::de::Error::custom)?;
                Ok(Self::Matching(pattern.r#match))
            }
        }
    }
}

/// A signal that may end processes of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeathAllowance {
    signal: Signal,
    module: Option<Module>,
}

impl DeathAllowance {
    /// The signal.
    #[must_use]
    pub const fn signal(self) -> Signal {
        self.signal
    }

    /// Whether it is meant for cells of this module.
    #[must_use]
    pub fn is_for(self, module: Module) -> bool {
        self.module.is_none_or(|own| own == module)
    }
}

/// A signal by its name, with or without `SIG`.
fn signal_of(name: &str) -> Result<Signal, String> {
    let full = if name.starts_with("SIG") { name.to_owned() } else { format!("SIG{name}") };
    full.parse().map_err(|_| {
        let names: Vec<&str> = Signal::iterator().map(|signal| &signal.as_str()[3..]).collect();
        let meant = confgen::diagnostic::closest(name, names.iter().copied());
        let meant = meant.map(|meant| format!(": did you mean `{meant}`?")).unwrap_or_default();
        format!("unknown signal `{name}`{meant}")
    })
}

impl<'de> Deserialize<'de> for DeathAllowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct OfModule {
            signal: String,
            module: Module,
        }
        let (name, module) = match Json::deserialize(deserializer)? {
            Json::String(name) => (name, None),
            other => {
                let OfModule { signal, module } = OfModule::deserialize(other).map_err(serde::de::Error::custom)?;
                (signal, Some(module))
            }
        };
        signal_of(&name).map(|signal| Self { signal, module }).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for DeathAllowance {
    fn schema_name() -> Cow<'static, str> {
        "DeathAllowance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let module = generator.subschema_for::<Module>();
        let signal =
            json_schema!({"type": "string", "pattern": "^(SIG)?[A-Z]+[0-9]?$", "x-expected": "a signal such as SEGV"});
        json_schema!({
            "x-expected": "a signal such as SEGV, or {signal: SEGV, module: mod_wsgi}",
            "description": "A signal that may end processes of the server, such as SEGV, or {signal: SEGV, module: mod_wsgi} for the cells of one module.",
            "anyOf": [
                signal,
                {
                    "type": "object",
                    "properties": {"signal": signal, "module": module},
                    "required": ["signal", "module"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Whether a text looks like the code of a log line: capitals, then digits.
fn is_code(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_uppercase());
    digits.len() < text.len() && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

impl JsonSchema for LogAllowance {
    fn schema_name() -> Cow<'static, str> {
        "LogAllowance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-expected": "a code such as WSGI0174, or {match: \"regular expression\"}",
            "description": "A warning or error that belongs to the scenario: its code, or {match: regular expression} over its line.",
            "anyOf": [
                {"type": "string", "pattern": "^[A-Z]+[0-9]+$", "x-expected": "a code such as WSGI0174; for other lines {match: \"regular expression\"}"},
                {
                    "type": "object",
                    "properties": {"match": {"type": "string", "description": "A regular expression over the whole line."}},
                    "required": ["match"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// An HTTP request.
    Http,
    /// Bytes over a socket.
    Raw,
    /// Several clients at once.
    Concurrent,
    /// Counted requests for some time.
    Load,
    /// A signal.
    Signal,
    /// A repetition until success.
    Wait,
    /// A look into a log.
    Log,
    /// A look at processes.
    Process,
    /// A change of a file.
    File,
    /// A program.
    Exec,
    /// The server's stop.
    Stop,
}

/// What is known of a kind of steps apart from how it is run.
#[derive(Debug)]
pub struct StepDefinition {
    /// The kind.
    pub kind: StepKind,
    /// Its key in a step.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The members of its result, beside [`super::COMMON_MEMBERS`]. The step's code fills every one (null where it does not apply).
    pub members: &'static [Member],
    /// Keys below the kind's own that hold steps, which are interpolated when they run.
    pub nested: &'static [&'static str],
}

/// Every kind of steps.
pub const STEPS: &[StepDefinition] = &[
    StepDefinition {
        kind: StepKind::Http,
        name: "http",
        summary: "an HTTP request",
        members: HTTP_MEMBERS,
        nested: &[],
    },
    StepDefinition {
        kind: StepKind::Raw,
        name: "raw",
        summary: "bytes sent and expected",
        members: RAW_MEMBERS,
        nested: &[],
    },
    StepDefinition {
        kind: StepKind::Concurrent,
        name: "concurrent",
        summary: "the same step by several clients at once",
        members: CONCURRENT_MEMBERS,
        nested: &["each"],
    },
    StepDefinition {
        kind: StepKind::Load,
        name: "load",
        summary: "counted requests for some time",
        members: LOAD_MEMBERS,
        nested: &["during"],
    },
    StepDefinition {
        kind: StepKind::Signal,
        name: "signal",
        summary: "a signal to a process",
        members: SIGNAL_MEMBERS,
        nested: &[],
    },
    StepDefinition {
        kind: StepKind::Wait,
        name: "wait",
        summary: "a step repeated until it succeeds",
        members: WAIT_MEMBERS,
        nested: &["for"],
    },
    StepDefinition { kind: StepKind::Log, name: "log", summary: "what is in a log", members: LOG_MEMBERS, nested: &[] },
    StepDefinition {
        kind: StepKind::Process,
        name: "process",
        summary: "the server's processes",
        members: PROCESS_MEMBERS,
        nested: &[],
    },
    StepDefinition {
        kind: StepKind::File,
        name: "file",
        summary: "a change of a file",
        members: FILE_MEMBERS,
        nested: &[],
    },
    StepDefinition { kind: StepKind::Exec, name: "exec", summary: "a program", members: EXEC_MEMBERS, nested: &[] },
    StepDefinition {
        kind: StepKind::Stop,
        name: "stop",
        summary: "the server's stop",
        members: STOP_MEMBERS,
        nested: &[],
    },
];

/// What a step does, by its kind.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// An HTTP request.
    Http(&'a Http),
    /// Bytes over a socket.
    Raw(&'a Raw),
    /// Several clients at once.
    Concurrent(&'a Concurrent),
    /// Counted requests for some time.
    Load(&'a Load),
    /// A signal.
    Signal(&'a operate::Signal),
    /// A repetition until success.
    Wait(&'a Wait),
    /// A look into a log.
    Log(&'a Log),
    /// A look at processes.
    Process(&'a Process),
    /// A change of a file.
    File(&'a FileStep),
    /// A program.
    Exec(&'a Exec),
    /// The server's stop.
    Stop(&'a Stop),
}

impl StepKind {
    /// The definition of the kind.
    #[must_use]
    pub fn definition(self) -> &'static StepDefinition {
        STEPS.iter().find(|step| step.kind == self).unwrap_or(&STEPS[0])
    }

    /// The kind's key in a step.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// The kind with this key.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        STEPS.iter().find(|step| step.name == name).map(|step| step.kind)
    }
}

impl Step {
    /// What the step does. The loader has made sure that there is exactly one kind.
    #[must_use]
    pub fn action(&self) -> Option<Action<'_>> {
        None.or_else(|| self.http.as_ref().map(Action::Http))
            .or_else(|| self.raw.as_ref().map(Action::Raw))
            .or_else(|| self.concurrent.as_ref().map(Action::Concurrent))
            .or_else(|| self.load.as_ref().map(Action::Load))
            .or_else(|| self.signal.as_ref().map(Action::Signal))
            .or_else(|| self.wait.as_ref().map(Action::Wait))
            .or_else(|| self.log.as_ref().map(Action::Log))
            .or_else(|| self.process.as_ref().map(Action::Process))
            .or_else(|| self.file.as_ref().map(Action::File))
            .or_else(|| self.exec.as_ref().map(Action::Exec))
            .or_else(|| self.stop.as_ref().map(Action::Stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_has_every_kind_once_and_under_its_key() {
        for (index, step) in STEPS.iter().enumerate() {
            assert_eq!(StepKind::of_name(step.name), Some(step.kind));
            assert_eq!(step.kind as usize, index, "{} is out of order", step.name);
            assert_eq!(serde_json::to_value(step.kind).unwrap(), step.name);
        }
    }

    #[test]
    fn death_allowances_are_signals() {
        let read = |json| serde_json::from_value::<DeathAllowance>(json);
        assert_eq!(read("SEGV".into()).unwrap().signal(), Signal::SIGSEGV);
        let killed = read("SIGKILL".into()).unwrap();
        assert!(killed.signal() == Signal::SIGKILL && killed.is_for(Module::Ours) && killed.is_for(Module::ModWsgi));
        assert_eq!(read("SEGF".into()).unwrap_err().to_string(), "unknown signal `SEGF`: did you mean `SEGV`?");
        let theirs = read(serde_json::json!({"signal": "ABRT", "module": "mod_wsgi"})).unwrap();
        assert!(theirs.is_for(Module::ModWsgi) && !theirs.is_for(Module::Ours));
        assert!(read(serde_json::json!({"signal": "ABRT"})).is_err());
    }

    #[test]
    fn log_allowances_are_codes_or_patterns() {
        let read = |json| serde_json::from_value::<LogAllowance>(json);
        assert_eq!(read("WSGI0174".into()).unwrap(), LogAllowance::Code("WSGI0174".into()));
        assert_eq!(read(serde_json::json!({"match": "x+"})).unwrap(), LogAllowance::Matching("x+".into()));
        assert!(read("some text".into()).is_err());
        assert!(read(serde_json::json!({"match": "("})).is_err());
    }
}
