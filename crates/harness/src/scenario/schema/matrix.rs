//! Axes, needs and expectations: which cells there are and what each must show.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// A processing module of httpd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mpm {
    /// Threads, with idle connections kept by a listener thread.
    Event,
    /// Threads.
    Worker,
    /// A process per connection.
    Prefork,
}

/// Where the application runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In Apache's children: every application's `daemon` is dropped from the spec.
    Embedded,
    /// As the spec says.
    Daemon,
}

/// Which module serves the applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Module {
    /// This project's module.
    #[serde(rename = "ours")]
    Ours,
    /// The C module, where it is installed.
    #[serde(rename = "mod_wsgi")]
    ModWsgi,
}

macro_rules! names {
    ($($type:ident { $($variant:ident = $name:literal),+ $(,)? })+) => {$(
        impl $type {
            /// Every value with its name.
            pub const ALL: &'static [(&'static str, Self)] = &[$(($name, Self::$variant)),+];

            /// The name that scenarios use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
                    format!("`{text}` is none of {}", known.join(", "))
                })
            }
        }
    )+};
}

names! {
    Mpm { Event = "event", Worker = "worker", Prefork = "prefork" }
    Mode { Embedded = "embedded", Daemon = "daemon" }
    Module { Ours = "ours", ModWsgi = "mod_wsgi" }
}

/// A version of Python, such as 3.13, or 3.13t for the free-threaded build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PythonTag {
    /// The number before the dot.
    pub major: u32,
    /// The number behind it.
    pub minor: u32,
    /// Whether it is the build without the GIL.
    pub free_threaded: bool,
}

impl PythonTag {
    /// Major and minor number.
    #[must_use]
    pub const fn version(self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

impl fmt::Display for PythonTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}{}", self.major, self.minor, if self.free_threaded { "t" } else { "" })
    }
}

impl FromStr for PythonTag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no version of Python such as \"3.13\" or \"3.13t\"");
        let (numbers, free_threaded) = text.strip_suffix('t').map_or((text, false), |numbers| (numbers, true));
        let (major, minor) = numbers.split_once('.').ok_or_else(wrong)?;
        let number = |part: &str| part.parse().map_err(|_| wrong());
        Ok(Self { major: number(major)?, minor: number(minor)?, free_threaded })
    }
}

impl<'de> Deserialize<'de> for PythonTag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for PythonTag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for PythonTag {
    fn schema_name() -> Cow<'static, str> {
        "PythonTag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A version of Python in quotes, such as \"3.13\", or \"3.13t\" for the free-threaded build.",
            "pattern": r"^3\.[0-9]{1,2}t?$",
            "x-expected": "a version in quotes, such as \"3.13\" or \"3.13t\""
        })
    }
}

/// The axes along which every variant is run. A cell is made for each combination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Matrix {
    /// Processing modules. Default: event alone.
    #[serde(default)]
    pub mpm: OneOrMany<Mpm>,
    /// Embedded drops every application's `daemon`; daemon leaves the spec as it is. Default: as the spec says.
    #[serde(default)]
    pub mode: OneOrMany<Mode>,
    /// Modules. Default: ours alone.
    #[serde(default)]
    pub module: OneOrMany<Module>,
    /// Versions of Python. Default: the one of the environment. A cell whose engine is not installed is skipped.
    #[serde(default)]
    pub python: OneOrMany<PythonTag>,
    /// Combinations to add; axes that are not named take their default.
    #[serde(default)]
    pub include: Vec<Axes>,
    /// Combinations to leave out: those that agree with all values named.
    #[serde(default)]
    pub exclude: Vec<Axes>,
}

/// The position of a cell on the axes; in `include` and `exclude` only some of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Axes {
    /// The processing module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mpm: Option<Mpm>,
    /// Where the application runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Which module serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
    /// The version of Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonTag>,
}

impl Axes {
    /// Names of the axes with the values set here.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let axes = [
            ("mpm", self.mpm.map(|mpm| mpm.to_string())),
            ("mode", self.mode.map(|mode| mode.to_string())),
            ("module", self.module.map(|module| module.to_string())),
            ("python", self.python.map(|python| python.to_string())),
        ];
        axes.into_iter().filter_map(|(axis, value)| value.map(|value| (axis, value))).collect()
    }

    /// Whether a position has every value that is named here.
    #[must_use]
    pub fn includes(&self, position: &Self) -> bool {
        self.pairs().iter().all(|pair| position.pairs().contains(pair))
    }
}

/// What must be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    /// The problem: every expression of `symptom` holds.
    Symptom,
    /// The cure: every expression of `healthy` holds.
    Healthy,
}

impl Expectation {
    /// The name that scenarios use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Symptom => "symptom",
            Self::Healthy => "healthy",
        }
    }
}

/// What a variant must show, perhaps by module and Python version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expect {
    /// The same in every cell.
    Always(Expectation),
    /// By conditions, the first that fits: `ours`, `mod_wsgi`, `python >=3.12`, both joined by a space, or `else`.
    When(IndexMap<String, Expectation>),
}

/// What the machine must have. An unmet need makes a cell SKIP with its reason, which is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Needs {
    /// Python packages of the scenarios' environment.
    #[serde(default)]
    pub python_package: OneOrMany<String>,
    /// Versions of Python, such as ">=3.12" or ">=3.11, <3.13".
    #[serde(default)]
    pub python: Option<String>,
    /// Versions of Python whose engines must be installed, such as "3.13t", beside the one that the cell runs on.
    #[serde(default)]
    pub engine: OneOrMany<String>,
    /// True: the harness runs as root.
    #[serde(default)]
    pub root: bool,
    /// True: the harness runs as an ordinary user.
    #[serde(default)]
    pub non_root: bool,
    /// Modules of httpd (such as ssl), or mod_wsgi for the C module.
    #[serde(default)]
    pub module: OneOrMany<String>,
    /// Time zones of the system's database, such as Asia/Tokyo.
    #[serde(default)]
    pub zoneinfo: OneOrMany<String>,
    /// Locales that are installed, such as de_DE.UTF-8.
    #[serde(default)]
    pub locale: OneOrMany<String>,
    /// Programs on the search path.
    #[serde(default)]
    pub command: OneOrMany<String>,
    /// At least so many processors.
    #[serde(default)]
    pub cpus: Option<usize>,
}
