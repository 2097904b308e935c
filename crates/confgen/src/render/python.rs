//! Whether an application's module can be found, without running anything of it.

use std::fs;
use std::io::Read;
use std::path::{Path as FsPath, PathBuf};

use super::builder::Builder;
use crate::diagnostic::{Code, Diagnostic, closest};
use crate::document::Path;
use crate::facts::venv_version;
use crate::spec::{App, Daemon, ModuleReference};

/// Where modules are looked for.
struct SearchPath {
    directories: Vec<PathBuf>,
    /// Code of a `.pth` file finds modules, so that anything may be there.
    open: bool,
}

/// Reports a module that is nowhere on the search path of its application.
pub(super) fn check_module(
    builder: &mut Builder<'_>,
    reference: &ModuleReference,
    daemon: Option<&Daemon>,
    key: &Path,
) {
    if !builder.check_files {
        return;
    }
    let search = search_path(builder, daemon);
    let parts: Vec<&str> = reference.module().split('.').collect();
    let mut places = search.directories.clone();
    for (depth, part) in parts.iter().enumerate() {
        let found: Vec<Found> = places.iter().filter_map(|directory| find(directory, part)).collect();
        let last = depth + 1 == parts.len();
        // A regular package or module ends the search; namespace packages add up.
        if let Some(regular) = found.iter().find(|found| !matches!(found, Found::Namespace(_))) {
            match regular {
                Found::Module if last => return,
                Found::Module => break,
                Found::Package(directory) | Found::Namespace(directory) => places = vec![directory.clone()],
            }
        } else if found.is_empty() {
            if depth == 0 && search.open {
                return;
            }
            missing(builder, reference, &parts, depth, &places, &search, key);
            return;
        } else {
            places = found.into_iter().filter_map(Found::directory).collect();
        }
        if last {
            return;
        }
    }
    let depth = parts.len() - 1;
    missing(builder, reference, &parts, depth, &[], &search, key);
}

/// The file of a module, where it is found without running anything.
pub(super) fn module_file(
    builder: &Builder<'_>,
    reference: &ModuleReference,
    daemon: Option<&Daemon>,
) -> Option<PathBuf> {
    let mut places = search_path(builder, daemon).directories;
    let (parents, name) = match reference.module().rsplit_once('.') {
        Some((parents, name)) => (parents.split('.').collect(), name),
        None => (Vec::new(), reference.module()),
    };
    for part in parents {
        let found: Vec<Found> = places.iter().filter_map(|directory| find(directory, part)).collect();
        let regular = found.iter().position(|found| !matches!(found, Found::Namespace(_)));
        places = match regular {
            Some(index) => found.into_iter().nth(index).and_then(Found::directory).into_iter().collect(),
            None => found.into_iter().filter_map(Found::directory).collect(),
        };
    }
    let directory = places
        .iter()
        .find(|directory| find(directory, name).is_some_and(|found| !matches!(found, Found::Namespace(_))))?;
    let candidates = [directory.join(name).join("__init__.py"), directory.join(format!("{name}.py"))];
    candidates.into_iter().find(|file| file.is_file())
}

fn missing(
    builder: &mut Builder<'_>,
    reference: &ModuleReference,
    parts: &[&str],
    depth: usize,
    places: &[PathBuf],
    search: &SearchPath,
    key: &Path,
) {
    let mut diagnostic =
        Diagnostic::error(Code::MissingModule, format!("there is no Python module `{}`", reference.module()));
    let listed = |directories: &[PathBuf]| {
        directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    diagnostic = match depth {
        0 => diagnostic.note(format!("looked in {}", listed(&search.directories))),
        _ => diagnostic.note(format!("`{}` is there, in {}", parts[..depth].join("."), listed(places))),
    };
    let names: Vec<String> = places.iter().take(4).flat_map(|directory| names(directory)).collect();
    if let Some(name) = closest(parts[depth], names.iter().map(String::as_str)) {
        let mut meant: Vec<&str> = parts.to_vec();
        meant[depth] = name;
        diagnostic = diagnostic.help(format!("did you mean `{}:{}`?", meant.join("."), reference.callable()));
    } else if depth == 0 {
        diagnostic = diagnostic.help("add the directory that holds it to the daemon's `python-path`");
    }
    builder.report(key, "", diagnostic);
}

enum Found {
    Module,
    Package(PathBuf),
    Namespace(PathBuf),
}

impl Found {
    fn directory(self) -> Option<PathBuf> {
        match self {
            Self::Module => None,
            Self::Package(directory) | Self::Namespace(directory) => Some(directory),
        }
    }
}

/// A module or package of a name in a directory, in Python's order of preference.
fn find(directory: &FsPath, name: &str) -> Option<Found> {
    let package = directory.join(name);
    if package.join("__init__.py").is_file() || package.join("__init__.pyc").is_file() {
        return Some(Found::Package(package));
    }
    if directory.join(format!("{name}.py")).is_file() || directory.join(format!("{name}.pyc")).is_file() {
        return Some(Found::Module);
    }
    let extension = fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|file| {
            file.strip_prefix(name)
                .is_some_and(|rest| rest == ".so" || (rest.starts_with('.') && rest.ends_with(".so")))
        })
    });
    if extension {
        return Some(Found::Module);
    }
    package.is_dir().then_some(Found::Namespace(package))
}

/// Names of modules and packages in a directory.
fn names(directory: &FsPath) -> Vec<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            match name.strip_suffix(".py") {
                Some(module) => Some(module.to_owned()),
                None => entry.path().join("__init__.py").is_file().then_some(name),
            }
        })
        .filter(|name| name != "__init__")
        .collect()
}

fn search_path(builder: &Builder<'_>, daemon: Option<&Daemon>) -> SearchPath {
    let python = &builder.spec.runtime.python;
    let mut search = SearchPath { directories: Vec::new(), open: false };
    let own = daemon.map_or(&python.path, |daemon| &daemon.python_path);
    if let Some(home) = daemon.and_then(|daemon| daemon.home.as_ref()) {
        search.directories.push(home.as_path().to_owned());
    }
    for directory in own {
        add_site(&mut search, directory.as_path().to_owned());
    }
    let home = daemon.and_then(|daemon| daemon.python_home.as_ref()).or(python.venv.as_ref()).or(python.home.as_ref());
    if let Some(home) = home {
        let home = home.as_path();
        for library in [home.join("lib"), home.join("lib64")] {
            for version in fs::read_dir(library).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if version.join("site-packages").is_dir() {
                    add_site(&mut search, version.join("site-packages"));
                    search.directories.push(version);
                }
            }
        }
        let own_only = venv_version(home).is_some()
            && !fs::read_to_string(home.join("pyvenv.cfg"))
                .is_ok_and(|text| text.contains("include-system-site-packages = true"));
        if own_only {
            return search;
        }
    }
    for library in ["/usr/lib", "/usr/local/lib"] {
        for version in fs::read_dir(library).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let is_python =
                version.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("python3"));
            if is_python {
                for sub in ["dist-packages", "site-packages"] {
                    if version.join(sub).is_dir() {
                        add_site(&mut search, version.join(sub));
                    }
                }
                search.directories.push(version);
            }
        }
    }
    search
}

/// A directory with what its `.pth` files add.
fn add_site(search: &mut SearchPath, directory: PathBuf) {
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "pth")
            && let Ok(text) = fs::read_to_string(&path)
        {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                match line.starts_with("import ") || line.starts_with("import\t") {
                    // An editable install finds its modules by code; other code in such files has other purposes.
                    true => {
                        search.open |= ["__editable__", "finder", "meta_path", "sys.path", "addsitedir"]
                            .iter()
                            .any(|word| line.contains(word))
                    }
                    false => search.directories.push(directory.join(line)),
                }
            }
        }
    }
    search.directories.push(directory);
}
/// How much of a script is looked at.
const LONGEST_SCRIPT: u64 = 256 << 10;

/// The code of an application, where its file can be read.
pub(super) fn code_of(builder: &Builder<'_>, app: &App) -> Option<String> {
    if !builder.check_files {
        return None;
    }
    let file = match (&app.script, &app.module) {
        (Some(script), _) => script.as_path().to_owned(),
        (None, Some(reference)) => {
            let daemon = app.daemon.as_ref().and_then(|name| builder.original.daemons.get(name));
            module_file(builder, reference, daemon)?
        }
        (None, None) => return None,
    };
    if !file.is_file() {
        return None;
    }
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(LONGEST_SCRIPT).read_to_string(&mut text).ok()?;
    Some(text)
}
