//! Which Python an application runs in: what a missing package is a question of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::applications::Application;
use crate::diagnostic::Diagnostic;
use crate::facts::{Facts, venv_version};
use crate::spec::{ModuleChoice, Spec};

/// The Python of each daemon, and of Apache's own processes.
pub(super) struct Pythons {
    daemons: BTreeMap<String, Python>,
    embedded: Python,
    /// Folders that may hold a virtual environment of the project.
    near: Vec<PathBuf>,
}

struct Python {
    /// The virtual environment or installation; `None` for the system's.
    home: Option<PathBuf>,
    version: Option<String>,
    /// Where modules of the application are looked for.
    path: Vec<PathBuf>,
}

impl Pythons {
    pub(super) fn of(spec: &Spec, facts: &Facts) -> Self {
        let runtime = &spec.runtime.python;
        let common = runtime.venv.as_ref().or(runtime.home.as_ref()).map(|home| home.as_path().to_owned());
        let version = |given: Option<&str>, home: Option<&Path>| {
            let ours = || match &spec.runtime.module {
                ModuleChoice::Auto => facts.wsgi.daemons.first().cloned(),
                ModuleChoice::Path(path) if facts.wsgi.module.as_deref() == Some(Path::new(path)) => {
                    facts.wsgi.daemons.first().cloned()
                }
                _ => None,
            };
            given.map(str::to_owned).or_else(|| home.and_then(venv_version)).or_else(ours)
        };
        let given = runtime.version.as_ref().map(|version| version.as_str());
        let path =
            |paths: &[crate::spec::FilePath]| paths.iter().map(|path| path.as_path().to_owned()).collect::<Vec<_>>();
        let embedded =
            Python { version: version(given, common.as_deref()), home: common.clone(), path: path(&runtime.path) };
        let mut near = Vec::new();
        let daemons = spec.daemons.iter().map(|(name, daemon)| {
            let home = daemon.python_home.as_ref().map(|home| home.as_path().to_owned()).or_else(|| common.clone());
            let own = daemon.python.as_ref().map(|version| version.as_str()).or(given);
            let mut paths = path(&daemon.python_path);
            paths.extend(daemon.home.as_ref().map(|home| home.as_path().to_owned()));
            near.extend(paths.iter().cloned());
            (name.to_string(), Python { version: version(own, home.as_deref()), home, path: paths })
        });
        let daemons = daemons.collect();
        Self { daemons, embedded, near }
    }

    fn python(&self, application: &Application) -> &Python {
        application.daemon.as_ref().and_then(|daemon| self.daemons.get(daemon)).unwrap_or(&self.embedded)
    }

    /// The file of a module of the application's own.
    pub(super) fn file_of(&self, application: &Application, module: &str) -> Option<PathBuf> {
        let relative = module.replace('.', "/");
        let folders = self.python(application).path.iter();
        let mut files = folders
            .flat_map(|folder| [folder.join(format!("{relative}.py")), folder.join(&relative).join("__init__.py")]);
        files.find(|file| file.is_file())
    }

    /// Adds to a missing package in which Python it is missing, and how to name another one.
    pub(super) fn explain(&self, application: &Application, diagnostic: Diagnostic, spec: bool) -> Diagnostic {
        let python = self.python(application);
        let version = python.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let place = match &python.home {
            Some(home) if home.join("pyvenv.cfg").is_file() => format!("in the virtual environment {}", home.display()),
            Some(home) => format!("with the installation {}", home.display()),
            None => "of the system, without a virtual environment".to_owned(),
        };
        let diagnostic = diagnostic.note(format!("it runs in Python{version} {place}"));
        let found = python.home.is_none().then(|| self.environment_nearby(application)).flatten();
        let environment = found.map_or_else(|| "DIR".to_owned(), |folder| folder.display().to_string());
        let name = match (spec, &application.daemon) {
            (false, _) => format!(
                "`confgen start {} --venv {environment}`",
                application.given.as_deref().unwrap_or("APPLICATION")
            ),
            (true, Some(daemon)) => {
                format!("`runtime.python.venv: {environment}`, or `python-home` of the daemon `{daemon}`")
            }
            (true, None) => format!("`runtime.python.venv: {environment}`"),
        };
        match &python.home {
            Some(home) => diagnostic.help(format!(
                "install the package there ({}/bin/pip install …), or name another environment: {name}",
                home.display()
            )),
            None => diagnostic.help(format!("name the virtual environment that has the package: {name}")),
        }
    }

    /// A virtual environment in a folder of the application.
    fn environment_nearby(&self, application: &Application) -> Option<PathBuf> {
        let own = Path::new(&application.named).parent().filter(|parent| parent.is_absolute()).map(Path::to_path_buf);
        let folders = self.near.iter().cloned().chain(own);
        folders
            .flat_map(|folder| [".venv", "venv", "env"].map(|name| folder.join(name)))
            .find(|folder| folder.join("pyvenv.cfg").is_file())
    }
}
