//! The top level of a scenario.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::matrix::{Expect, Matrix, Needs};
use super::step::{DeathAllowance, Deferred, LogAllowance};
use crate::scenario::quantity::Time;

/// The version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SchemaTag {
    /// The only version so far.
    #[serde(rename = "harness/1")]
    V1,
}

/// A reported issue: a server, the steps that show it, and what must be seen with and without the cure.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The version of the format: `harness/1`.
    pub schema: SchemaTag,
    /// The scenario's name: lower-case letters, digits and dashes; unique in a catalogue.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]*$"), extend("x-expected" = "lower-case letters, digits and dashes"))]
    pub id: String,
    /// One line: what goes wrong.
    pub title: String,
    /// A longer text: why it goes wrong and what the cure is.
    #[serde(default)]
    pub about: Option<String>,
    /// Where the issue was reported or documented.
    #[serde(default)]
    pub source: Option<String>,
    /// Words that `-E 'tag(…)'` selects by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What it shows, as the coverage page lists it: `directive:WSGIScriptAlias`, `option:WSGIDaemonProcess/threads`,
    /// `code:WSGI0135`, `api:mod_wsgi.request_data`, `event:request_started`, `metric:process_metrics/pid`,
    /// `environ:mod_wsgi.process_group`, `rule:mapping/SLUG` (a rule of `docs/contract/mapping.toml`).
    #[serde(default)]
    pub covers: Vec<Cover>,
    /// What the machine must have; what is missing makes a cell SKIP with the reason.
    #[serde(default)]
    pub needs: Needs,
    /// The longest time one cell may take, the server's start and stop included. Default: 120s.
    #[serde(default)]
    pub timeout: Option<Time>,
    /// About how long a cell takes, where that is long: it is started early, as long as no history of runs says better.
    #[serde(default)]
    pub takes: Option<Time>,
    /// The axes along which every variant is run.
    #[serde(default)]
    pub matrix: Matrix,
    /// Values for `${{ vars.NAME }}`; a variant overrides them one by one.
    #[serde(default)]
    pub vars: IndexMap<String, Json>,
    /// Files written below `${dir}` before the server starts: path to text, or to `{text, mode, …}`. Files and folders beside
    /// a `scenario.yaml` are copied below `${dir}` too.
    #[serde(default)]
    pub files: IndexMap<String, FileEntry>,
    /// The server: a confgen spec (`confgen/1`). Layout, port, log level and module have defaults here.
    #[serde(default)]
    pub server: Option<Json>,
    /// Whether the server may refuse to start. `may-fail`: that is a result, not a fault. Expressions see it as `start`
    /// (`start.ok`, `start.error`, `start.code`, `start.file`, `start.line`, `start.log`); the steps are skipped.
    #[serde(default)]
    pub start: StartRule,
    /// How httpd is launched, where that differs from a server's usual way.
    #[serde(default)]
    pub launch: LaunchMode,
    /// Names of further ports that are held for the server: `${{ ports.NAME }}`.
    #[serde(default)]
    pub ports: Vec<PortName>,
    /// Steps done before the server starts: exec and file.
    #[serde(default)]
    pub before: Vec<Deferred>,
    /// The settings to compare. Without any there is one, `default`, which must be healthy.
    #[serde(default)]
    pub variants: IndexMap<String, Variant>,
    /// Warnings and errors in the error log that belong to the scenario; every other one fails the cell.
    #[serde(default)]
    pub allow_log: Vec<LogAllowance>,
    /// Signals that may end processes of the server, such as SEGV. Any other death by a signal fails the cell, unless a signal
    /// step has sent the signal to that process, or an allowed line of the log tells of that process.
    #[serde(default)]
    pub allow_death: Vec<DeathAllowance>,
    /// What is done, in this order.
    #[serde(default)]
    pub steps: Vec<Deferred>,
    /// Expressions that all hold where the problem shows.
    #[serde(default)]
    pub symptom: Vec<String>,
    /// Expressions that all hold where the problem is gone. Where one of the two lists is expected to hold, the other must
    /// not, and a scenario with a `symptom` has a `healthy` list that differs from it.
    #[serde(default)]
    pub healthy: Vec<String>,
    /// Why `symptom` and `healthy` may hold at once, be equal, or why there is no `healthy`.
    #[serde(default)]
    pub vacuous: Option<String>,
    /// Runs alone on the machine. A cell with an upper time bound does so anyway.
    #[serde(default)]
    pub exclusive: bool,
}

/// The id of something that the coverage page lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Cover(
    #[schemars(
        regex(pattern = r"^(directive:[A-Za-z]+|option:[A-Za-z]+/[a-z0-9-]+|code:[A-Z]+[0-9]+|(api|event|environ):[A-Za-z_][\w.]*|metric:\w+/[\w./-]+|rule:(adapter|mapping|daemon|auth|proxies|logs|telemetry|api|config|extensions)/[a-z0-9-]+)$"),
        extend("x-expected" = "KIND:NAME with a KIND of directive, option, code, api, event, metric, environ, or rule:PAGE/SLUG")
    )]
    pub String,
);

/// Whether the server may refuse to start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartRule {
    /// A server that does not start fails the cell.
    #[default]
    Must,
    /// A server that ends instead of starting is what expressions judge.
    MayFail,
}

/// How httpd is launched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LaunchMode {
    /// True: one process that serves everything itself (`httpd -X`), as for a debugger.
    #[serde(default)]
    pub single_process: bool,
    /// What the server reads from standard input. Default: nothing.
    #[serde(default)]
    pub input: Option<String>,
}

/// The name of a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct PortName(
    #[schemars(regex(pattern = r"^[a-z][a-z0-9-]*$"), extend("x-expected" = "lower-case letters, digits and dashes"))]
    pub String,
);

/// One setting of the server, and what must be seen with it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Variant {
    /// `symptom`, `healthy`, or a map by module and Python version: `{mod_wsgi: symptom, ours: healthy}`.
    pub expect: Expect,
    /// One line: what is different here.
    #[serde(default)]
    pub title: Option<String>,
    /// A merge patch (RFC 7396) on the scenario's server: maps merge, null removes, all else replaces.
    #[serde(default)]
    pub server: Option<Json>,
    /// Values that override the scenario's.
    #[serde(default)]
    pub vars: IndexMap<String, Json>,
    /// Files that replace the scenario's or join them; null removes one.
    #[serde(default)]
    pub files: IndexMap<String, Option<FileEntry>>,
    /// Further needs of this variant.
    #[serde(default)]
    pub needs: Option<Needs>,
    /// Axes of this variant, in place of the scenario's.
    #[serde(default)]
    pub matrix: Option<Matrix>,
    /// In place of the scenario's `start`.
    #[serde(default)]
    pub start: Option<StartRule>,
    /// In place of the scenario's `launch`.
    #[serde(default)]
    pub launch: Option<LaunchMode>,
    /// In place of the scenario's `before`.
    #[serde(default)]
    pub before: Option<Vec<Deferred>>,
    /// Further warnings and errors that belong to this variant.
    #[serde(default)]
    pub allow_log: Vec<LogAllowance>,
    /// Further signals that may end processes of the server.
    #[serde(default)]
    pub allow_death: Vec<DeathAllowance>,
    /// Steps in place of the scenario's.
    #[serde(default)]
    pub steps: Option<Vec<Deferred>>,
    /// Expressions in place of the scenario's `symptom`.
    #[serde(default)]
    pub symptom: Option<Vec<String>>,
    /// Expressions in place of the scenario's `healthy`.
    #[serde(default)]
    pub healthy: Option<Vec<String>>,
    /// Why both lists may hold at once in this variant.
    #[serde(default)]
    pub vacuous: Option<String>,
    /// A time limit in place of the scenario's.
    #[serde(default)]
    pub timeout: Option<Time>,
    /// About how long it takes, in place of what the scenario says.
    #[serde(default)]
    pub takes: Option<Time>,
}

/// A file below `${dir}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FileEntry {
    /// Its text, in which `${dir}` and `${{ }}` are replaced.
    Text(String),
    /// Its text with more about it.
    Content(FileContent),
}

/// A file with its properties.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileContent {
    /// The text.
    pub text: String,
    /// Octal permissions as a text, such as "0600". Default: readable and writable for the serving user.
    #[serde(default)]
    #[schemars(regex(pattern = r"^0?[0-7]{3,4}$"))]
    pub mode: Option<String>,
    /// False: `${…}` in the text is left as it is.
    #[serde(default = "yes")]
    pub interpolate: bool,
}

const fn yes() -> bool {
    true
}

impl FileEntry {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Content(content) => &content.text,
        }
    }

    /// The permissions, if some were given.
    #[must_use]
    pub fn mode(&self) -> Option<u32> {
        match self {
            Self::Text(_) => None,
            Self::Content(content) => content.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok()),
        }
    }

    /// Whether `${…}` in the text is replaced.
    #[must_use]
    pub const fn interpolated(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Content(content) => content.interpolate,
        }
    }
}
