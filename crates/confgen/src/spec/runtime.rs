//! `runtime`: the wsgi module and Python, for the whole server.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::scalar::{FilePath, PythonVersion};

/// The wsgi module and Python.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Runtime {
    /// Which module: `auto` (the one beside confgen), `mod_wsgi` (the C module), or a path.
    pub module: ModuleChoice,
    /// Python, as embedded mode and every daemon sees it unless the daemon says otherwise.
    pub python: Python,
    /// What applications may not do.
    pub restrict: Restrict,
    /// Where sockets of the daemons are made: a path that file names are appended to. Default: `run/wsgi` in the server's directory.
    pub socket_prefix: Option<FilePath>,
    /// The most sub-interpreters that a process may create.
    pub maximum_interpreters: Option<u32>,
    /// The format of application log records.
    pub log_format: Option<RecordFormat>,
    /// Whether interpreters are destroyed when a process ends, so that `atexit` runs. Default: true.
    pub destroy_interpreters: Option<bool>,
    /// Whether applications may ask for the server's metrics, in embedded mode; a daemon has its own `server-metrics`.
    pub server_metrics: Option<bool>,
    /// Whether the module tells in detail what it does.
    pub verbose: Option<bool>,
    /// Where processes report to.
    pub telemetry: Option<Telemetry>,
    /// Scripts to import in every Apache child at its start.
    pub import: Vec<Import>,
    /// One process that serves everything itself, for a debugger on a terminal: true, or what the debugger does. Daemons are not
    /// started; their search path and variables are taken over. Changed code is loaded by a restart only.
    pub debug: Option<Debugging>,
}

impl Runtime {
    /// What a debugger does, when there is to be one process for it.
    pub fn debugging(&self) -> Option<&Debug> {
        match self.debug.as_ref()? {
            Debugging::Switch(false) => None,
            Debugging::Switch(true) => Some(&Debug { debugger: false, at_start: false }),
            Debugging::By(debug) => Some(debug),
        }
    }
}

/// One process for a debugger.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expected" = "true, false or a map"))]
pub enum Debugging {
    /// Whether there is only one process; what an application itself calls (`breakpoint()`) finds a terminal.
    Switch(bool),
    /// One process with a debugger.
    By(Debug),
}

/// What the debugger does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Debug {
    /// Python's debugger stops where an application raised an exception.
    pub debugger: bool,
    /// It stops once each application is loaded, so that breakpoints can be set. Includes `debugger`.
    pub at_start: bool,
}

/// A script that is imported when a process starts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Import {
    /// The script.
    pub script: FilePath,
    /// Into which interpreter. Default: `main`.
    #[serde(default)]
    pub interpreter: super::site::Interpreter,
}

/// Where processes report to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Telemetry {
    /// The socket of an ingester: `unix:/path`.
    #[schemars(regex(pattern = "^unix:/[^\\s\"]+$"), extend("x-expected" = "`unix:/path`"))]
    pub service: String,
    /// Seconds between reports.
    #[serde(default)]
    pub interval: Option<f64>,
    /// Requests that take longer, in seconds, are reported one by one; 0 is off.
    #[serde(default)]
    pub slow_requests: Option<f64>,
    /// Further options, such as `CaptureUserAgent`.
    #[serde(default)]
    pub options: Vec<String>,
}

/// The format of log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormat {
    /// httpd's lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which wsgi module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum ModuleChoice {
    /// The one beside confgen.
    #[default]
    Auto,
    /// The C module.
    ModWsgi,
    /// A file.
    Path(String),
}

impl From<String> for ModuleChoice {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "mod_wsgi" => Self::ModWsgi,
            _ => Self::Path(text),
        }
    }
}

impl From<ModuleChoice> for String {
    fn from(choice: ModuleChoice) -> Self {
        match choice {
            ModuleChoice::Auto => "auto".to_owned(),
            ModuleChoice::ModWsgi => "mod_wsgi".to_owned(),
            ModuleChoice::Path(path) => path,
        }
    }
}

impl JsonSchema for ModuleChoice {
    fn schema_name() -> Cow<'static, str> {
        "ModuleChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(auto|mod_wsgi|/.*)$",
            "x-expected": "`auto`, `mod_wsgi` or an absolute path",
        })
    }
}

/// Python for the whole server.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Python {
    /// The version whose engine runs. Default: the one of the virtual environment, else that of the build.
    pub version: Option<PythonVersion>,
    /// The virtual environment. The same as `home`, checked to be one.
    pub venv: Option<FilePath>,
    /// The installation's prefix or a virtual environment (`WSGIPythonHome`).
    pub home: Option<FilePath>,
    /// Directories in front of the search path, in embedded mode; a daemon has its own `python-path`.
    pub path: Vec<FilePath>,
    /// The level of `-O`.
    #[schemars(range(min = 0, max = 2))]
    pub optimize: Option<u8>,
    /// Filters as for `-W`.
    pub warnings: Vec<String>,
    /// Where eggs are unpacked, in embedded mode.
    pub eggs: Option<FilePath>,
    /// The seed of hashes: `random`, or a number.
    pub hash_seed: Option<super::server::Scalar>,
    /// The interval at which Python switches threads, in seconds; a daemon has its own.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 3600))]
    pub switch_interval: Option<f64>,
    /// Whether each sub-interpreter has a GIL of its own (Python 3.12 and later).
    pub per_interpreter_gil: Option<bool>,
    /// Whether a build of Python without a GIL runs without it.
    pub free_threading: Option<bool>,
    /// Whether `.pyc` files are left unwritten.
    pub dont_write_bytecode: Option<bool>,
}

/// What applications may not do. Unset is the module's default: signal true, the others false.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Restrict {
    /// Reading standard input raises.
    pub stdin: Option<bool>,
    /// Writing standard output raises; otherwise it goes to the log.
    pub stdout: Option<bool>,
    /// Registering signal handlers is ignored.
    pub signal: Option<bool>,
    /// Apache's children run no Python. Default: true when every application has a daemon.
    pub embedded: Option<bool>,
}
