//! What is to be known about a machine before a configuration for it can be rendered: probed, or read from a file that
//! `confgen facts` wrote there, so that rendering works anywhere and gives the same bytes everywhere.

mod locale;
mod probe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Document, from_node};

pub use probe::{ProbeError, ProbeOptions};

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Facts {
    /// The version of this format.
    pub schema: FactsVersion,
    /// The httpd.
    pub httpd: HttpdFacts,
    /// The wsgi modules and engines.
    pub wsgi: WsgiFacts,
    /// Who starts httpd.
    pub start: StartFacts,
    /// The system's list of MIME types.
    #[serde(default)]
    pub mime_types: Option<PathBuf>,
    /// Users with their numbers.
    #[serde(default)]
    pub users: BTreeMap<String, UserFacts>,
    /// Groups with their numbers.
    #[serde(default)]
    pub groups: BTreeMap<String, u32>,
    /// Locales.
    #[serde(default)]
    pub locales: Vec<String>,
    /// Whether these facts are of the machine that this program runs on, so that files may be looked at.
    #[serde(skip)]
    pub here: bool,
}

/// A user's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserFacts {
    /// Its own.
    pub uid: u32,
    /// That of its group.
    pub gid: u32,
}

/// The version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum FactsVersion {
    /// The first one.
    #[default]
    #[serde(rename = "confgen-facts/1")]
    V1,
}

/// An httpd.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpdFacts {
    /// The binary.
    pub binary: PathBuf,
    /// Its version.
    pub version: String,
    /// Modules compiled into it.
    #[serde(default)]
    pub built_in: Vec<String>,
    /// The directory of its modules.
    #[serde(default)]
    pub modules_dir: Option<PathBuf>,
    /// The modules there, without `mod_` and `.so`.
    #[serde(default)]
    pub modules: Vec<String>,
    /// The multi-processing modules, best first.
    pub mpms: Vec<String>,
    /// The program that rotates logs.
    #[serde(default)]
    pub rotatelogs: Option<PathBuf>,
}

/// The wsgi modules and engines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct WsgiFacts {
    /// Our module.
    pub module: Option<PathBuf>,
    /// The versions of Python whose daemon stands beside it.
    pub daemons: Vec<String>,
    /// The versions of Python whose embedded engine stands beside it.
    pub engines: Vec<String>,
    /// The C module.
    pub mod_wsgi: Option<PathBuf>,
}

/// Who starts httpd.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartFacts {
    /// The user.
    pub user: String,
    /// Its number; 0 may change users.
    pub uid: u32,
    /// The user that serves when root starts and none is named.
    #[serde(default)]
    pub web_user: Option<String>,
    /// The lowest port that this user may listen on.
    #[serde(default = "unprivileged_port")]
    pub lowest_port: u16,
}

fn unprivileged_port() -> u16 {
    1024
}

impl Facts {
    /// Reads facts from a text that `confgen facts` wrote.
    ///
    /// # Errors
    /// When the text is not that.
    pub fn parse(name: &str, text: String) -> Result<Self, Box<Diagnostic>> {
        let document =
            Document::parse(name, text, crate::document::Format::of(name)).map_err(|error| Box::new(error.into()))?;
        from_node(&document.root).map_err(|error| {
            let diagnostic = Diagnostic::error(Code::Facts, format!("the facts do not fit: {}", error.message));
            Box::new(match error.span {
                Some(span) => diagnostic.at(span, ""),
                None => diagnostic,
            })
        })
    }

    /// Facts as text.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Whether root starts httpd.
    pub fn starts_as_root(&self) -> bool {
        self.start.uid == 0
    }

    /// The number of a user; `#5` is the user with that number.
    pub fn user(&self, account: &str) -> Option<u32> {
        match account.strip_prefix('#') {
            Some(number) => number.parse().ok(),
            None => self
                .users
                .get(account)
                .copied()
                .or_else(|| self.here.then(|| probe::user(account))?)
                .map(|user| user.uid),
        }
    }

    /// The name (or `#` and the number) of a user's own group.
    pub(crate) fn group_of(&self, account: &str) -> Option<String> {
        let user = match account.strip_prefix('#') {
            Some(number) => {
                let uid: u32 = number.parse().ok()?;
                self.users.values().find(|user| user.uid == uid).copied()?
            }
            None => self.users.get(account).copied().or_else(|| self.here.then(|| probe::user(account))?)?,
        };
        let name = self.groups.iter().find(|(_, gid)| **gid == user.gid).map(|(name, _)| name.clone());
        Some(name.unwrap_or_else(|| format!("#{}", user.gid)))
    }

    /// The number of a group.
    pub fn group(&self, account: &str) -> Option<u32> {
        match account.strip_prefix('#') {
            Some(number) => number.parse().ok(),
            None => self.groups.get(account).copied().or_else(|| self.here.then(|| probe::group(account))?),
        }
    }

    /// The file of a module of httpd; `Ok(None)` when it is compiled in.
    pub(crate) fn module_file(&self, name: &str) -> Option<Option<PathBuf>> {
        if self.httpd.built_in.iter().any(|module| module == name) {
            return Some(None);
        }
        let directory = self.httpd.modules_dir.as_deref()?;
        let known = self.httpd.modules.iter().any(|module| module == name);
        known.then(|| Some(directory.join(format!("mod_{name}.so"))))
    }

    /// Whether a locale exists; names are compared as the C library does, without regard to how the codeset is written.
    pub fn has_locale(&self, name: &str) -> bool {
        self.locales.iter().any(|locale| locale::same(locale, name))
    }
}

/// The version of Python that a virtual environment says it is for.
pub(crate) fn venv_version(home: &Path) -> Option<String> {
    let text = std::fs::read_to_string(home.join("pyvenv.cfg")).ok()?;
    let version = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "version" | "version_info").then(|| value.trim().to_owned())
    })?;
    let mut parts = version.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}
