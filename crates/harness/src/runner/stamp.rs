//! With what a run was done: a verdict is about these versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use confgen::facts::Facts;
use regex::bytes::Regex;
use serde::Serialize;

use super::machine::Machine;

/// The versions of everything that takes part in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stamp {
    /// When the run began, in UTC, as in 2026-11-30T08:15:00.
    pub started: String,
    /// The machine's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The version of the harness.
    pub harness: String,
    /// The version of httpd.
    pub httpd: String,
    /// The binary of httpd.
    pub httpd_binary: PathBuf,
    /// Our module.
    pub module: Option<Binary>,
    /// The C module.
    pub mod_wsgi: Option<Binary>,
    /// The versions of Python for which there is an engine.
    pub engines: Vec<String>,
    /// The version of Python that serves applications.
    pub python: String,
    /// The distributions in the virtual environment, by normalised name, with their versions.
    pub packages: BTreeMap<String, String>,
}

/// A build of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Binary {
    /// Its file.
    pub file: PathBuf,
    /// What it calls itself, where that can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the file was written, in UTC.
    pub modified: String,
}

impl Stamp {
    /// The present state of the machine.
    #[must_use]
    pub fn of(machine: &Machine, facts: &Facts) -> Self {
        let system = |name: &str| {
            fs::read_to_string(Path::new("/proc/sys/kernel").join(name))
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        Self {
            started: utc(SystemTime::now()),
            host: system("hostname"),
            kernel: system("osrelease"),
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            httpd: facts.httpd.version.clone(),
            httpd_binary: facts.httpd.binary.clone(),
            module: facts.wsgi.module.as_deref().map(binary),
            mod_wsgi: machine.peer.as_deref().map(binary),
            engines: machine.engines.iter().cloned().collect(),
            python: machine.python_release.clone().unwrap_or_else(|| machine.python_text()),
            packages: machine.packages.clone(),
        }
    }

    /// Its parts as names and values, without those that are empty.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let build = |binary: &Option<Binary>| {
            binary.as_ref().map_or_else(String::new, |binary| {
                let version = binary.version.as_deref().map(|version| format!("{version}, ")).unwrap_or_default();
                format!("{} ({version}{})", binary.file.display(), binary.modified)
            })
        };
        let own = [
            ("harness", self.harness.clone()),
            ("kernel", self.kernel.clone()),
            ("httpd", format!("{} ({})", self.httpd_binary.display(), self.httpd)),
            ("module", build(&self.module)),
            ("mod_wsgi", build(&self.mod_wsgi)),
            ("engines", self.engines.join(", ")),
            ("python", self.python.clone()),
        ];
        let packages: Vec<_> = self.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let all = own.into_iter().chain([("packages", packages.join(", "))]);
        all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn binary(file: &Path) -> Binary {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"mod_wsgi_rs/[0-9]+(\.[0-9]+)+").expect("a fixed pattern"));
    let bytes = fs::read(file).unwrap_or_default();
    let version = NAME.find(&bytes).map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned());
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified()).map(utc).unwrap_or_default();
    Binary { file: file.to_owned(), version, modified }
}

/// A moment in UTC, to the second.
fn utc(moment: SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map(|moment| moment.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_pairs() {
        assert_eq!(utc(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00");
        let stamp =
            Stamp { kernel: "6.1".into(), packages: [("flask".into(), "3.0".into())].into(), ..Stamp::default() };
        let pairs = stamp.pairs();
        assert!(pairs.contains(&("kernel".into(), "6.1".into())), "{pairs:?}");
        assert!(pairs.contains(&("packages".into(), "flask 3.0".into())), "{pairs:?}");
        assert!(pairs.iter().all(|(name, _)| name != "module"), "{pairs:?}");
    }
}
