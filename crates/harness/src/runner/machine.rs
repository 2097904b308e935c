//! What the machine has: the facts that `needs` and the axes are judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use confgen::environment::Environment;
use confgen::facts::Facts;
use confgen::httpd::Account;

use crate::scenario::schema::PythonTag;

/// What the machine has.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Whether the harness runs as root.
    pub root: bool,
    /// The name of the user that serves requests.
    pub user: String,
    /// The version of Python that serves applications, as major and minor number.
    pub python: (u32, u32),
    /// Its whole version, where the environment says it.
    pub python_release: Option<String>,
    /// The versions whose engine stands beside the module.
    pub engines: BTreeSet<String>,
    /// The environment of Python packages.
    pub venv: Option<PathBuf>,
    /// The packages there, by normalised name, with their versions.
    pub packages: BTreeMap<String, String>,
    /// The C module.
    pub peer: Option<PathBuf>,
    /// Modules of httpd, without `mod_`.
    pub modules: BTreeSet<String>,
    /// Processing modules of httpd.
    pub mpms: Vec<String>,
    /// Locales that are installed.
    pub locales: Vec<String>,
    /// The folder of the system's time zones.
    pub zoneinfo: PathBuf,
    /// Folders of programs.
    pub search_path: Vec<PathBuf>,
    /// Processors.
    pub cpus: usize,
}

/// Where to look, as the user said.
#[derive(Debug, Clone, Default)]
pub struct MachineOptions {
    /// The environment of Python packages.
    pub venv: Option<PathBuf>,
    /// The C module.
    pub peer: Option<PathBuf>,
}

/// The folder of the running program, where module and engines stand.
#[must_use]
pub fn own_folder() -> Option<PathBuf> {
    std::env::current_exe()
        .ok()
        .and_then(|path| path.canonicalize().ok())
        .and_then(|path| path.parent().map(Path::to_path_buf))
}

impl Machine {
    /// Looks at this machine. Options come first, then the variables `HARNESS_VENV` and `HARNESS_PEER`, then the folders
    /// beside the one of the running program.
    #[must_use]
    pub fn probe(options: &MachineOptions, environment: &Environment, facts: &Facts) -> Self {
        let beside = |name: &str| own_folder().and_then(|folder| folder.parent().map(|parent| parent.join(name)));
        let variable = |name: &str| environment.get_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let found = |given: &Option<PathBuf>, name: &str, default: &str| {
            given.clone().or_else(|| variable(name)).or_else(|| beside(default).filter(|path| path.exists()))
        };
        let venv = found(&options.venv, "HARNESS_VENV", "venv").map(|path| fs::canonicalize(&path).unwrap_or(path));
        let peer = found(&options.peer, "HARNESS_PEER", "peer/mod_wsgi.so")
            .filter(|path| path.exists())
            // httpd looks for a relative one below its own root.
            .map(|path| fs::canonicalize(&path).unwrap_or(path))
            .or_else(|| facts.wsgi.mod_wsgi.clone());
        let python_release = venv.as_deref().and_then(version_of_venv);
        let python = python_release.as_deref().and_then(read_version);
        let python = python.or_else(|| {
            facts.wsgi.daemons.iter().chain(&facts.wsgi.engines).filter_map(|version| read_version(version)).max()
        });
        let root = facts.starts_as_root();
        let user = if root { facts.start.web_user.clone() } else { None };
        let zones = variable("PYTHONTZPATH").unwrap_or_else(|| PathBuf::from("/usr/share/zoneinfo"));
        Self {
            root,
            user: user.unwrap_or_else(|| Account::current().name),
            python: python.unwrap_or((3, 11)),
            python_release,
            engines: facts.wsgi.daemons.iter().chain(&facts.wsgi.engines).cloned().collect(),
            packages: venv.as_deref().map(packages).unwrap_or_default(),
            venv,
            peer,
            modules: facts.httpd.modules.iter().chain(&facts.httpd.built_in).cloned().collect(),
            mpms: facts.httpd.mpms.clone(),
            locales: facts.locales.clone(),
            zoneinfo: zones,
            search_path: environment
                .get_os("PATH")
                .map(|path| std::env::split_paths(path).collect())
                .unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }

    /// The version of Python as text.
    #[must_use]
    pub fn python_text(&self) -> String {
        format!("{}.{}", self.python.0, self.python.1)
    }

    /// The version of Python.
    #[must_use]
    pub const fn python_tag(&self) -> PythonTag {
        PythonTag { major: self.python.0, minor: self.python.1, free_threaded: false }
    }

    /// The program that shows the Python code of a process: that of the environment, else one on the search path.
    #[must_use]
    pub fn py_spy(&self) -> PathBuf {
        let own = self.venv.as_ref().map(|venv| venv.join("bin/py-spy"));
        own.filter(|program| program.exists()).unwrap_or_else(|| PathBuf::from("py-spy"))
    }

    /// Whether a program is on the search path.
    #[must_use]
    pub fn has_command(&self, name: &str) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let runs = |path: &Path| {
            fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        };
        if name.contains('/') {
            runs(Path::new(name))
        } else {
            self.search_path.iter().any(|folder| runs(&folder.join(name)))
        }
    }
}

/// `3.11` or `3.11.2` as numbers.
fn read_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn version_of_venv(venv: &Path) -> Option<String> {
    let text = fs::read_to_string(venv.join("pyvenv.cfg")).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let is_version = matches!(key.trim(), "version" | "version_info") && read_version(value).is_some();
        is_version.then(|| value.trim().to_owned())
    })
}

/// Names of distributions, as packaging tools compare them: lower case, with dashes.
#[must_use]
pub fn normalised(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

/// The distributions of an environment with their versions.
fn packages(venv: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for version in fs::read_dir(venv.join("lib")).into_iter().flatten().flatten() {
        for entry in fs::read_dir(version.path().join("site-packages")).into_iter().flatten().flatten() {
            let path = entry.path();
            let distribution = path
                .extension()
                .and_then(OsStr::to_str)
                .is_some_and(|ending| ending == "dist-info" || ending == "egg-info");
            if distribution && let Some(stem) = path.file_stem().and_then(OsStr::to_str) {
                // NAME-VERSION, and for eggs also the version of Python.
                let mut parts = stem.split('-');
                let name = parts.next().unwrap_or_default();
                found.insert(normalised(name), parts.next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_an_environment() {
        let venv = tempfile::tempdir().unwrap();
        let site = venv.path().join("lib/python3.11/site-packages");
        for name in ["Flask_Login-0.6.dist-info", "zope.interface-5.egg-info", "flask"] {
            fs::create_dir_all(site.join(name)).unwrap();
        }
        fs::write(venv.path().join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.12.4\n").unwrap();
        let found = packages(venv.path());
        let found: Vec<_> = found.iter().map(|(name, version)| (name.as_str(), version.as_str())).collect();
        assert_eq!(found, [("flask-login", "0.6"), ("zope-interface", "5")]);
        assert_eq!(version_of_venv(venv.path()).as_deref(), Some("3.12.4"));
    }
}
