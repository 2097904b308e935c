//! A whole configuration, read as httpd reads it: conditions evaluated, `Include` followed, macros expanded, variables
//! replaced, in httpd's order and with its rules about where sections end.
//!
//! httpd acts on some directives while it reads (`Include`, `Define`, `LoadModule`, `<IfModule>`, `<Macro>` …). What these
//! skip is never looked at, except for the balance of its sections. That is why the same text can be accepted on one
//! machine and refused on another, and why the reader needs [`Facts`].

mod condition;
mod files;
mod machine;
mod macros;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use self::files::ReadError;
use self::machine::Machine;
use super::line::Line;

/// What has to be known about a server to evaluate its configuration.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `ServerRoot` before the configuration sets another: where relative paths begin.
    pub server_root: PathBuf,
    /// Modules that are compiled in, by their source files (`core.c`, `mod_so.c`).
    pub built_in: Vec<String>,
    /// httpd's version as `(2, 4, 62)`; without it `<IfVersion>` stays open.
    pub version: Option<(u32, u32, u32)>,
    /// Names given with `-D`.
    pub defines: BTreeSet<Vec<u8>>,
    /// The environment that httpd is started with, for `${NAME}`.
    pub environment: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Names of all directives and sections (`<Directory`), in lower case; without them `<IfDirective>` and `<IfSection>`
    /// stay open.
    pub directives: Option<BTreeSet<String>>,
    /// Whether the text is only a part of a configuration. Modules, names and macros that it does not define then stay open,
    /// as do files that are not there.
    pub partial: bool,
    /// The folder that stands for the configuration's own `ServerRoot`: that of a copy of a server's tree.
    pub relocated: Option<PathBuf>,
}

/// A text that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it comes from.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its logical lines.
    pub lines: Vec<Line>,
}

/// A place: a line of a source. Lines of a macro have the place where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The index of the source.
    pub source: usize,
    /// The index of the logical line.
    pub line: usize,
}

/// A directive or section that is in effect.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// Its name, without `<`.
    pub name: String,
    /// The arguments as one text, variables replaced.
    pub arguments: Vec<u8>,
    /// The arguments as words, variables replaced in each.
    pub words: Vec<Vec<u8>>,
    /// What a section contains; `None` for a directive.
    pub children: Option<Vec<Node>>,
    /// Whether it depends on a condition that the facts do not decide.
    pub open: bool,
}

impl Node {
    /// Whether it has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// Why httpd would refuse to read the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where, the innermost file last: a file and the number of the line that httpd names.
    pub places: Vec<(PathBuf, usize)>,
    /// What is wrong.
    pub kind: RefusalKind,
}

/// What can be wrong while httpd reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalKind {
    /// An end without its section.
    #[error("`</{0}>` closes no section")]
    StrayEnd(String),
    /// An end of another section than the one that is open.
    #[error("expected `</{expected}>`, got `</{found}>`")]
    OtherEnd {
        /// The section that is open.
        expected: String,
        /// The section whose end was found.
        found: String,
    },
    /// A section that is not closed.
    #[error("the section `<{0}>` is not closed")]
    Unclosed(String),
    /// A section's line without `>`.
    #[error("`<{0}` has no closing `>`")]
    NoBracket(String),
    /// Too few or too many arguments of a directive that takes effect while httpd reads.
    #[error("`{name}` takes {takes}")]
    Arguments {
        /// The directive.
        name: String,
        /// What it takes.
        takes: &'static str,
    },
    /// A variable's name with a colon.
    #[error("the name of a variable must not contain `:`")]
    Colon,
    /// A file that cannot be included.
    #[error("{0}")]
    Include(String),
    /// Files that include each other.
    #[error("the file includes itself, or files are included more than {0} deep")]
    Depth(usize),
    /// A macro that does not exist, or is used with another number of arguments.
    #[error("{0}")]
    Macro(String),
}

/// A configuration as far as it could be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Every text, the main file first.
    pub sources: Vec<Source>,
    /// What is in effect, in order.
    pub nodes: Vec<Node>,
    /// Why httpd would refuse it.
    pub refusal: Option<Refusal>,
    /// Variables that were used and are not defined, with the places.
    pub undefined: Vec<(Place, String)>,
    /// Files to include that are not there, in a [`partial`](Facts::partial) configuration.
    pub missing: Vec<(Place, String)>,
    /// Modules that are loaded: their names in `LoadModule`.
    pub modules: Vec<String>,
}

/// Reads a configuration from its main file.
///
/// # Errors
/// When the main file cannot be read. Problems of included files are a [`Reading::refusal`].
pub fn read(main: &Path, facts: &Facts) -> Result<Reading, ReadError> {
    Ok(read_text(main, files::read(main)?, facts))
}

/// Reads a configuration whose main text is here already; `name` is what messages call it.
#[must_use]
pub fn read_text(name: &Path, bytes: Vec<u8>, facts: &Facts) -> Reading {
    Machine::new(facts).run(name, bytes)
}

/// The bytes of a configuration file. Only a file is read, and not more than a configuration can be large.
///
/// # Errors
/// When it cannot be read, or is something else.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    files::read(path)
}

#[cfg(test)]
mod tests;
