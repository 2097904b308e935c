//! Steps that do something: concurrent, signal, file, exec, stop.

use std::borrow::Cow;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value as Json;

use super::matrix::OneOrMany;
use super::step::Deferred;
use crate::scenario::quantity::Time;

/// The same step by several clients at once, each with connections of its own.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Concurrent {
    /// How many clients. Default with a list in `each`: one for each of its steps.
    #[serde(default)]
    pub n: Option<u32>,
    /// True: all connect first and start together.
    #[serde(default)]
    pub barrier: bool,
    /// Client number k starts k times so long after the first.
    #[serde(default)]
    pub stagger: Option<Time>,
    /// How often each client does its step, one after the other. Default: once.
    #[serde(default)]
    pub times: Option<u32>,
    /// The step, or a list of steps that the clients take in turn. `${{ client }}` is the client's number from 0.
    pub each: OneOrMany<Deferred>,
}

/// A signal to one of the server's processes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Signal {
    /// Its name: TERM, HUP, USR1, WINCH, INT, KILL, STOP, CONT, …
    pub send: String,
    /// `parent`, `children`, `daemon NAME`, `daemons`, `group` (all processes of the server) or `pid NUMBER`.
    pub to: SignalTarget,
}

/// Which processes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Json")]
pub enum SignalTarget {
    /// The process that was started.
    Parent,
    /// Apache's children, without daemon processes.
    Children,
    /// The processes of one daemon group.
    Daemon(String),
    /// The processes of all daemon groups.
    Daemons,
    /// Everything the server consists of.
    Group,
    /// One process.
    Pid(u32),
}

impl JsonSchema for SignalTarget {
    fn schema_name() -> Cow<'static, str> {
        "SignalTarget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`parent`, `children`, `daemon NAME`, `daemons`, `group` (all processes of the server) or `pid NUMBER`.",
            "pattern": r"^(parent|children|daemons|group|daemon\s+\S+|pid\s+[0-9]+)$",
            "x-expected": "parent, children, daemon NAME, daemons, group or pid NUMBER"
        })
    }
}

impl FromStr for SignalTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words.as_slice() {
            ["parent"] => Ok(Self::Parent),
            ["children"] => Ok(Self::Children),
            ["daemons"] => Ok(Self::Daemons),
            ["group"] => Ok(Self::Group),
            ["daemon", name] => Ok(Self::Daemon((*name).to_owned())),
            ["pid", number] => match number.parse() {
                // 0 and negative numbers would reach whole process groups, the harness's own among them.
                Ok(pid) if pid > 1 => Ok(Self::Pid(pid)),
                _ => Err(format!("`{number}` is no process id")),
            },
            _ => Err(format!("`{text}` is none of parent, children, daemon NAME, daemons, group, pid NUMBER")),
        }
    }
}

impl TryFrom<Json> for SignalTarget {
    type Error = String;

    fn try_from(value: Json) -> Result<Self, String> {
        match value {
            Json::String(text) => text.parse(),
            Json::Number(number) => format!("pid {number}").parse(),
            other => Err(format!("`{other}` names no process")),
        }
    }
}

/// Changes or reads a file below `${dir}`: one of the keys with the path (relative paths are below `${dir}`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileStep {
    /// Sets the file's time of change to now, really later than before; makes it if it is missing.
    #[serde(default)]
    pub touch: Option<String>,
    /// Writes `text`, in place of what was there.
    #[serde(default)]
    pub write: Option<String>,
    /// Adds `text` at the end.
    #[serde(default)]
    pub append: Option<String>,
    /// Replaces every match of the regular expression `match` by `text`; fails without one.
    #[serde(default)]
    pub replace: Option<String>,
    /// Sets the permissions to `mode`.
    #[serde(default)]
    pub chmod: Option<String>,
    /// Removes the file, or the folder with what is in it.
    #[serde(default)]
    pub remove: Option<String>,
    /// Makes the folder.
    #[serde(default)]
    pub mkdir: Option<String>,
    /// Reads the file into the result's `text`.
    #[serde(default)]
    pub read: Option<String>,
    /// The text for write, append and replace.
    #[serde(default)]
    pub text: Option<String>,
    /// The regular expression for replace.
    #[serde(default, rename = "match")]
    pub pattern: Option<String>,
    /// Octal permissions as a text, such as "0000".
    #[serde(default)]
    #[schemars(regex(pattern = r"^0?[0-7]{3,4}$"))]
    pub mode: Option<String>,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction<'a> {
    /// Set the time of change.
    Touch,
    /// Write this text.
    Write(&'a str),
    /// Add this text.
    Append(&'a str),
    /// Replace matches of the expression by the text.
    Replace(&'a str, &'a str),
    /// Set the permissions.
    Chmod(u32),
    /// Remove it.
    Remove,
    /// Make the folder.
    Mkdir,
    /// Read it.
    Read,
}

impl FileStep {
    /// The acts that are asked for, each with its path, or what is missing for it; a valid step has exactly one.
    pub fn actions(&self) -> Vec<(&str, Result<FileAction<'_>, &'static str>)> {
        let text = || self.text.as_deref().ok_or("`text` is missing");
        let mode = || {
            let mode = self.mode.as_deref().ok_or("`mode` is missing")?;
            u32::from_str_radix(mode, 8).map_err(|_| "`mode` must be octal digits in quotes, such as \"0600\"")
        };
        let replace = || Ok(FileAction::Replace(self.pattern.as_deref().ok_or("`match` is missing")?, text()?));
        let acts = [
            (&self.touch, Ok(FileAction::Touch)),
            (&self.write, text().map(FileAction::Write)),
            (&self.append, text().map(FileAction::Append)),
            (&self.replace, replace()),
            (&self.chmod, mode().map(FileAction::Chmod)),
            (&self.remove, Ok(FileAction::Remove)),
            (&self.mkdir, Ok(FileAction::Mkdir)),
            (&self.read, Ok(FileAction::Read)),
        ];
        acts.into_iter().filter_map(|(path, act)| path.as_deref().map(|path| (path, act))).collect()
    }
}

/// Runs a program; an exit status other than 0 fails the step unless `check` says something about `exit`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exec {
    /// The program and its arguments, or a text for the shell.
    pub command: Command,
    /// What it reads from standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Variables in addition to the harness's environment.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// Its working directory. Default: `${dir}`.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The longest time it may take. Default: the step's timeout.
    #[serde(default)]
    pub timeout: Option<Time>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Command {
    /// A text for /bin/sh.
    Shell(String),
    /// A program with its arguments.
    Program(Vec<String>),
}

/// Stops the server and waits for the end of all its processes. At the end of a cell this is done anyway; a step
/// makes its duration and exit status part of the result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stop {
    /// The signal to the parent: TERM (default), INT, or WINCH for a graceful stop.
    #[serde(default)]
    pub signal: Option<String>,
    /// The longest time until all have ended. Default: 10s. Then they are killed and the step fails.
    #[serde(default)]
    pub within: Option<Time>,
}
