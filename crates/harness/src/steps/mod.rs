//! What the kinds of steps do. A step's code acts on the [`Stage`] of its cell and gives the members of its result; conditions,
//! checks, captures, repetitions and limits are common to all kinds and stand in the runner.

mod coding;
mod concurrent;
mod cookies;
pub(crate) mod exec;
mod file;
mod http;
mod load;
mod log;
mod process;
mod raw;
mod signal;
mod stage;
mod stop;
mod wait;
pub mod wire;

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value as Json;

pub use cookies::CookieJar;
pub use exec::Leftovers;
pub use http::KeptConnections;
pub use stage::{Sent, Stage, StageParts, StopSummary, hand_over};

use crate::runner::outcome::{Failure, FailureKind};
use crate::runner::perform::Performer;
use crate::scenario::Value;
use crate::scenario::expression::Scope;
use crate::scenario::prepared::PreparedStep;
use crate::scenario::schema::Action;
use wire::{Connection, Limit};

/// What a step gave: the members of its kind, and what went wrong. Places of failures are relative to the kind's key.
#[derive(Debug, Default)]
pub struct Produced {
    /// The members.
    pub members: IndexMap<String, Value>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// What went wrong in steps inside; their places are whole.
    pub inner: Vec<Failure>,
    /// Names that steps inside gave to parts of their results.
    pub captured: Vec<(String, Value)>,
    /// A failure that counts only if the step's check says nothing about this member.
    pub unchecked: Option<(&'static str, Failure)>,
    /// How long it took, where that is not simply the time of the step's run.
    pub duration: Option<Duration>,
    /// A command line that repeats a request.
    pub curl: Option<String>,
}

impl Produced {
    pub(crate) fn with<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self { members: members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), ..Self::default() }
    }

    pub(crate) fn failed(kind: FailureKind, message: String) -> Self {
        let mut produced = Self::default();
        produced.fail(kind, message);
        produced
    }

    pub(crate) fn fail(&mut self, kind: FailureKind, message: impl Into<String>) {
        self.fail_at(kind, "", message);
    }

    pub(crate) fn fail_at(&mut self, kind: FailureKind, pointer: &str, message: impl Into<String>) {
        self.failures.push(Failure::new(kind, pointer, message));
    }

    pub(crate) fn unless_checked(&mut self, member: &'static str, kind: FailureKind, message: impl Into<String>) {
        self.unchecked = Some((member, Failure::new(kind, "", message)));
    }
}

/// What a step may use beside its own description.
pub(crate) struct Setting<'a> {
    /// The cell's server, files and connections.
    pub(crate) stage: &'a Stage,
    /// What performs the steps that a step contains.
    pub(crate) performer: &'a Performer<'a>,
    /// The names that expressions know.
    pub(crate) scope: &'a Scope<'a>,
    /// Until when.
    pub(crate) limit: Limit<'a>,
    /// The step as it was written, with the steps inside.
    pub(crate) prepared: &'a PreparedStep,
    /// A connection that was opened before the clients started together.
    pub(crate) opened: Option<Connection>,
}

/// Runs a step of any kind.
pub(crate) fn run(action: Action<'_>, setting: Setting<'_>) -> Produced {
    let Setting { stage, limit, .. } = setting;
    match action {
        Action::Http(step) => http::run(step, stage, limit, setting.opened),
        Action::Raw(step) => raw::run(step, stage, limit),
        Action::Concurrent(step) => concurrent::run(step, &setting),
        Action::Load(step) => load::run(step, &setting),
        Action::Signal(step) => signal::run(step, stage),
        Action::Wait(step) => wait::run(step, &setting),
        Action::Log(step) => log::run(step, setting.prepared.soft, stage, limit),
        Action::Process(step) => process::run(step, stage, limit),
        Action::File(step) => file::run(step, stage),
        Action::Exec(step) => exec::run(step, stage, limit),
        Action::Stop(step) => stop::run(step, stage, limit),
    }
}

/// Opens the connection of a step before its time, where the step has one of its own.
pub(crate) fn open(action: Action<'_>, stage: &Stage, limit: Limit<'_>) -> Option<Connection> {
    match action {
        Action::Http(step) => http::open(step, stage, limit),
        _ => None,
    }
}

/// Bytes as text; what is no UTF-8 is replaced.
fn bytes_value(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into_owned())
}

/// Bytes as JSON, or null.
fn json_value(bytes: &[u8]) -> Value {
    serde_json::from_slice::<Json>(bytes).map_or(Value::Null, |json| Value::from(&json))
}

/// A JSON value as the text of a form's field.
fn text_of(json: &Json) -> String {
    Value::from(json).to_text()
}
