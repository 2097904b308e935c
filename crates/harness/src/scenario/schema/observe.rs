//! Steps that look: wait, log, process.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::check::Matcher;
use super::matrix::OneOrMany;
use super::step::Deferred;
use crate::scenario::quantity::Time;

/// Repeats a step until it succeeds. On failure the report shows every attempt.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wait {
    /// The step, with its own check.
    pub r#for: Deferred,
    /// The longest time.
    pub within: Time,
    /// The time between two attempts. Default: 50ms.
    #[serde(default)]
    pub every: Option<Time>,
}

/// What is in a log, and what is not. Everything named must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Log {
    /// Which log. Default: error.
    #[serde(default)]
    pub file: LogFile,
    /// Texts that must occur.
    #[serde(default)]
    pub contains: OneOrMany<String>,
    /// Regular expressions that must match a line.
    #[serde(default)]
    pub matches: OneOrMany<String>,
    /// Regular expressions that must match no line.
    #[serde(default)]
    pub absent: OneOrMany<String>,
    /// Codes of lines that must occur, such as WSGI0174.
    #[serde(default)]
    pub code: OneOrMany<String>,
    /// How many lines fit all of `contains`, `matches` and `code`: a number or an operator. Default: at least one.
    #[serde(default)]
    pub count: Option<Matcher>,
    /// From where: the beginning (default), or the `id` of an earlier step, from whose start on lines count.
    #[serde(default)]
    pub since: Option<String>,
    /// Waits so long for what must occur. Default: 20s, as lines may come later than answers; a `soft` step looks once.
    #[serde(default)]
    pub within: Option<Time>,
}

/// One of the server's logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFile {
    /// Errors, warnings and what applications print.
    #[default]
    Error,
    /// Requests.
    Access,
    /// What the server wrote to its standard output and error.
    Console,
}

/// The server's processes. What is named must hold; the rest of the result is for `check` and expressions.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Process {
    /// The processes of this daemon group.
    #[serde(default)]
    pub daemon: Option<String>,
    /// Processes by what they are: parent, children, daemons or all. Default: all.
    #[serde(default)]
    pub role: Option<ProcessRole>,
    /// One process.
    #[serde(default)]
    pub pid: Option<ProcessId>,
    /// How many there are: a number or an operator.
    #[serde(default)]
    pub count: Option<Matcher>,
    /// How many of them have ended without being waited for.
    #[serde(default)]
    pub zombies: Option<Matcher>,
    /// Each one's number of threads.
    #[serde(default)]
    pub threads: Option<Matcher>,
    /// Each one's number of open descriptors.
    #[serde(default)]
    pub fds: Option<Matcher>,
    /// Each one's proportional share of memory (PSS) in bytes, as in "< 40MiB".
    #[serde(default)]
    pub memory: Option<Matcher>,
    /// Each one's name, as ps shows it.
    #[serde(default)]
    pub name: Option<Matcher>,
    /// Waits so long until all of that holds.
    #[serde(default)]
    pub within: Option<Time>,
}

/// Processes by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessRole {
    /// The process that was started.
    Parent,
    /// Apache's children, without daemon processes.
    Children,
    /// The processes of all daemon groups.
    Daemons,
    /// All of them.
    All,
}

/// A process id, as a number or as the text that `"${{ pid }}"` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId(pub u32);

impl<'de> Deserialize<'de> for ProcessId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Json::deserialize(deserializer)?;
        let number = match &value {
            Json::Number(number) => number.as_u64(),
            Json::String(text) => text.parse().ok(),
            _ => None,
        };
        number
            .and_then(|number| u32::try_from(number).ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("`{value}` is no process id")))
    }
}

impl JsonSchema for ProcessId {
    fn schema_name() -> Cow<'static, str> {
        "ProcessId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "description": "A process id."})
    }
}
