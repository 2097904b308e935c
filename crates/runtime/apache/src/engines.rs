//! The Python engines beside the module file, and which one serves what.

use std::ffi::{CStr, OsStr, c_void};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::host::ServingUser;
use crate::host::files::{self, PathError};

/// One Python version that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// `3.11`, `3.13t`.
    pub(crate) version: String,
    /// `wsgi_python-X.Y.so`.
    pub(crate) library: PathBuf,
    /// `wsgi-daemon-X.Y`.
    pub(crate) daemon: PathBuf,
}

/// The daemon of a Python version, opened when the configuration was read: what is executed later is the very file
/// that was checked.
#[derive(Debug)]
pub(crate) struct DaemonEngine {
    /// `3.11`, `3.13t`.
    pub(crate) version: String,
    /// Opened with `O_PATH`.
    pub(crate) file: OwnedFd,
}

/// Why there is no engine to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// The module's own file is not known.
    #[error("The folder of the module cannot be determined.")]
    NoFolder,
    /// Nothing is installed.
    #[error("No Python engine (wsgi_python-X.Y.so with wsgi-daemon-X.Y) lies in '{}'.", .0.display())]
    NoneInstalled(PathBuf),
    /// The wanted version is not installed.
    #[error("{asked_by} needs the engine for Python {version}, which is not in '{}'; installed: {installed}.", folder.display())]
    Absent {
        /// The directive or option and its value.
        asked_by: String,
        /// The wanted version.
        version: String,
        /// Where engines are looked for.
        folder: PathBuf,
        /// Those that are there.
        installed: String,
    },
    /// The version that was asked for is not the one of the home.
    #[error("{asked_by} {version} does not fit {home_asked_by} '{}', which is for Python {of_home}. Give one of them, or a home for Python {version}.", home.display())]
    Contradiction {
        /// How the version was asked for.
        asked_by: String,
        /// The version.
        version: String,
        /// How the home was given.
        home_asked_by: String,
        /// The home.
        home: PathBuf,
        /// Its version.
        of_home: String,
    },
    /// The Python home holds no Python.
    #[error("{asked_by}: {problem} {installed}.")]
    Home {
        /// The directive or option.
        asked_by: String,
        /// What is wrong with its value.
        problem: HomeProblem,
        /// What is said of the engines that are there.
        installed: String,
    },
    /// Apache's user cannot use the Python home.
    #[error("{asked_by}: Python home '{}' cannot be used: {reason}.", home.display())]
    HomeUnreachable {
        /// The directive or option.
        asked_by: String,
        /// Its value.
        home: PathBuf,
        /// What is in the way.
        reason: PathError,
    },
    /// An engine's file must not be used.
    #[error("The engine '{}' is refused: {reason}.", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: PathError,
    },
}

/// What is wrong with a Python home.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HomeProblem {
    /// It is not there.
    #[error("Unable to stat Python home '{}' ({reason}). Give the directory of a Python installation or virtual environment.", home.display())]
    Missing {
        /// The home.
        home: PathBuf,
        /// The system's text.
        reason: String,
    },
    /// It is a file.
    #[error("Python home '{}' is not a directory.", .0.display())]
    NotDirectory(PathBuf),
    /// There is nothing of a Python in it.
    #[error("Python home '{}' is neither a virtual environment (no pyvenv.cfg) nor a Python installation (no lib/pythonX.Y/os.py).", .0.display())]
    Empty(PathBuf),
}

/// The engines of one folder, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engines {
    folder: PathBuf,
    found: Vec<Engine>,
}

/// Who asks for an engine, and what says which one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'c> {
    /// `WSGIPython`, `python=`: how the version was asked for, and the version.
    pub(crate) version: Option<(&'c str, &'c str)>,
    /// `WSGIPythonHome`, `python-home=`: how the home was given, and the home.
    pub(crate) home: Option<(&'c str, &'c [u8])>,
}

/// `3.11` or `3.13t`.
pub(crate) fn is_version(text: &str) -> bool {
    ordering(text).is_some()
}

/// Whether interpreters of this Python can have a GIL of their own.
pub(crate) fn can_own_gil(version: &str) -> bool {
    ordering(version).is_some_and(|(major, minor, _)| (major, minor) >= (3, 12))
}

/// Whether this Python can run without a GIL.
pub(crate) fn is_free_threaded(version: &str) -> bool {
    ordering(version).is_some_and(|(.., free_threaded)| free_threaded)
}

fn ordering(version: &str) -> Option<(u32, u32, bool)> {
    let (number, free_threaded) = match version.strip_suffix('t') {
        Some(number) => (number, true),
        None => (version, false),
    };
    let (major, minor) = number.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (plain(major) && plain(minor)).then_some((major.parse().ok()?, minor.parse().ok()?, free_threaded))
}

impl Engines {
    /// The engines beside the module's file.
    pub(crate) fn beside_module() -> Result<Self, EngineError> {
        let file = module_file().ok_or(EngineError::NoFolder)?;
        let folder = file.parent().ok_or(EngineError::NoFolder)?;
        Ok(Self::of(folder))
    }

    /// The engines of a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<Engine> = names
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix("wsgi_python-")?.strip_suffix(".so")?.to_owned();
                is_version(&version).then(|| Engine {
                    library: folder.join(&name),
                    daemon: folder.join(format!("wsgi-daemon-{version}")),
                    version,
                })
            })
            .collect();
        // A free-threaded build is never the default beside an ordinary one of any version.
        found.sort_by_key(|engine| ordering(&engine.version).map(|(major, minor, free)| (!free, major, minor)));
        Self { folder: folder.to_owned(), found }
    }

    /// The engine that is wanted: by version, else by home, else the newest.
    pub(crate) fn choose(&self, wanted: Wanted<'_>) -> Result<Engine, EngineError> {
        let of_home = wanted.home.map(|(asked_by, home)| self.version_of_home(asked_by, home)).transpose()?;
        if let (Some((asked_by, version)), Some((home_asked_by, home)), Some(of_home)) =
            (wanted.version, wanted.home, of_home.clone())
            && !home_serves(home, version)
        {
            return Err(EngineError::Contradiction {
                asked_by: asked_by.to_owned(),
                version: version.to_owned(),
                home_asked_by: home_asked_by.to_owned(),
                home: PathBuf::from(OsStr::from_bytes(home)),
                of_home,
            });
        }
        let (asked_by, version) = match (wanted.version, wanted.home, of_home) {
            (Some((asked_by, version)), ..) => (format!("{asked_by} {version}"), version.to_owned()),
            (None, Some((asked_by, home)), Some(version)) => {
                (format!("{asked_by} {}", String::from_utf8_lossy(home)), version)
            }
            _ => return self.found.last().cloned().ok_or_else(|| EngineError::NoneInstalled(self.folder.clone())),
        };
        self.found.iter().find(|engine| engine.version == version).cloned().ok_or_else(|| {
            if self.found.is_empty() {
                return EngineError::NoneInstalled(self.folder.clone());
            }
            EngineError::Absent { asked_by, version, folder: self.folder.clone(), installed: self.installed() }
        })
    }

    /// The versions that are there.
    fn installed(&self) -> String {
        self.found.iter().map(|engine| engine.version.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn version_of_home(&self, asked_by: &str, home: &[u8]) -> Result<String, EngineError> {
        version_of_home(home).map_err(|problem| {
            let installed = match self.installed() {
                none if none.is_empty() => "No engine is installed".to_owned(),
                versions => format!("Engines are installed for Python {versions}"),
            };
            EngineError::Home { asked_by: asked_by.to_owned(), problem, installed }
        })
    }
}

impl Engine {
    /// Checks that the library can be loaded by Apache's children: it is safe, and their user can reach it. The path
    /// is then one without links.
    pub(crate) fn check_library(self, user: &ServingUser) -> Result<Self, EngineError> {
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |reason| EngineError::Refused { path, reason }
        };
        let library = files::trusted(&self.library).map_err(refused(&self.library))?;
        files::reachable(&library, user).map_err(refused(&library))?;
        Ok(Self { library, ..self })
    }

    /// Opens the daemon, and checks that a server which was started as root may execute just this file.
    pub(crate) fn open_daemon(self) -> Result<DaemonEngine, EngineError> {
        let file = files::open_trusted(&self.daemon)
            .map_err(|reason| EngineError::Refused { path: self.daemon.clone(), reason })?;
        Ok(DaemonEngine { version: self.version, file })
    }
}

/// Checks that Apache's children can use a Python home: their user can search every folder of it.
pub(crate) fn check_home(asked_by: &str, home: &[u8], user: &ServingUser) -> Result<(), EngineError> {
    let home = PathBuf::from(OsStr::from_bytes(home));
    let real = home.canonicalize().map_err(|error| PathError::Unknown(home.clone(), error.to_string()));
    real.and_then(|real| files::reachable(&real, user)).map_err(|reason| EngineError::HomeUnreachable {
        asked_by: asked_by.to_owned(),
        home,
        reason,
    })
}

/// Whether a Python home is one for this version: a virtual environment made with it, or an installation that has its
/// standard library.
pub(crate) fn home_serves(home: &[u8], version: &str) -> bool {
    let home = Path::new(OsStr::from_bytes(home));
    match std::fs::read(home.join("pyvenv.cfg")).ok().and_then(|text| version_of_venv(&text, home)) {
        Some(own) => own == version,
        None => home.join("lib").join(format!("python{version}")).join("os.py").is_file(),
    }
}

/// The version that a Python home asks for.
fn version_of_home(home: &[u8]) -> Result<String, HomeProblem> {
    let home = PathBuf::from(OsStr::from_bytes(home));
    let metadata =
        home.metadata().map_err(|error| HomeProblem::Missing { home: home.clone(), reason: error.to_string() })?;
    if !metadata.is_dir() {
        return Err(HomeProblem::NotDirectory(home));
    }
    let found = std::fs::read(home.join("pyvenv.cfg")).ok().and_then(|text| version_of_venv(&text, &home));
    found.or_else(|| version_of_installation(&home)).ok_or(HomeProblem::Empty(home))
}

/// `version = 3.11.7` (venv) or `version_info = 3.11.7.final.0` (virtualenv).
fn version_of_venv(text: &[u8], home: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        matches!(key.trim(), "version" | "version_info").then(|| value.trim())
    })?;
    let mut parts = value.split('.');
    let plain = format!("{}.{}", parts.next()?, parts.next()?);
    let free_threaded = format!("{plain}t");
    if home.join("lib").join(format!("python{free_threaded}")).is_dir() {
        return Some(free_threaded);
    }
    is_version(&plain).then_some(plain)
}

/// The newest `lib/pythonX.Y` with a standard library in it.
fn version_of_installation(home: &Path) -> Option<String> {
    let names = std::fs::read_dir(home.join("lib")).ok()?.flatten();
    let versions = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let version = name.strip_prefix("python")?;
        (is_version(version) && entry.path().join("os.py").is_file()).then(|| version.to_owned())
    });
    versions.max_by_key(|version| ordering(version))
}

/// The file that this code was loaded from.
fn module_file() -> Option<PathBuf> {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let symbol: *const c_void = (&raw const crate::module::wsgi_module).cast();
    // SAFETY: the structure is writable; its name is a C string when the call succeeds.
    unsafe {
        if libc::dladdr(symbol, found.as_mut_ptr()) == 0 {
            return None;
        }
        let name = found.assume_init().dli_fname;
        if name.is_null() {
            return None;
        }
        Some(PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(versions: &[&str]) -> (PathBuf, Engines) {
        let folder =
            std::env::temp_dir().join(format!("mod_wsgi_rs-engines-{}-{}", versions.join("_"), std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        for version in versions {
            std::fs::write(folder.join(format!("wsgi_python-{version}.so")), "").expect("own folder");
        }
        std::fs::write(folder.join("wsgi_python-x.so"), "").expect("own folder");
        let engines = Engines::of(&folder);
        (folder, engines)
    }

    const NOTHING: Wanted<'static> = Wanted { version: None, home: None };

    #[test]
    fn the_newest_engine_is_the_default() {
        let (folder, engines) = engines(&["3.9", "3.11", "3.13t"]);
        assert_eq!(engines.choose(NOTHING).expect("some are there").version, "3.11");
        let free = Wanted { version: Some(("WSGIPython", "3.13t")), home: None };
        assert_eq!(engines.choose(free).expect("it is there").version, "3.13t");
        std::fs::remove_dir_all(folder).expect("own folder");
    }

    // Covers: rule:extensions/engine-missing
    #[test]
    fn an_absent_version_is_refused_with_those_that_are_there() {
        let (folder, engines) = engines(&["3.11", "3.12"]);
        let refused = engines.choose(Wanted { version: Some(("WSGIPython", "3.8")), home: None }).expect_err("absent");
        assert!(refused.to_string().contains("installed: 3.11, 3.12"), "{refused}");
        std::fs::remove_dir_all(folder).expect("own folder");
        let none = Engines::of(Path::new("/nonexistent")).choose(NOTHING).expect_err("nothing there");
        assert_eq!(none, EngineError::NoneInstalled("/nonexistent".into()));
    }

    // Covers: rule:extensions/engine-by-home, rule:config/python-home-checked
    #[test]
    fn a_home_names_its_version() {
        let (folder, engines) = engines(&["3.11"]);
        let home = folder.join("venv");
        let wanted = |home: &Path| {
            let bytes = home.as_os_str().as_bytes().to_vec();
            engines.choose(Wanted { version: None, home: Some(("python-home", &bytes)) })
        };
        let refused = wanted(&home).expect_err("it is not there").to_string();
        assert!(refused.starts_with("python-home: Unable to stat Python home"), "{refused}");
        assert!(refused.ends_with("Engines are installed for Python 3.11."), "{refused}");
        std::fs::create_dir_all(&home).expect("own folder");
        let empty = HomeProblem::Empty(home.clone());
        assert!(matches!(wanted(&home), Err(EngineError::Home { problem, .. }) if problem == empty));
        std::fs::write(home.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.7\n").expect("own folder");
        assert_eq!(wanted(&home).expect("3.11 is there").version, "3.11");
        std::fs::write(home.join("pyvenv.cfg"), "version_info = 3.12.1.final.0\n").expect("own folder");
        assert!(matches!(wanted(&home), Err(EngineError::Absent { version, .. }) if version == "3.12"));
        std::fs::remove_file(home.join("pyvenv.cfg")).expect("own folder");
        std::fs::create_dir_all(home.join("lib/python3.11")).expect("own folder");
        std::fs::write(home.join("lib/python3.11/os.py"), "").expect("own folder");
        assert_eq!(wanted(&home).expect("3.11 is there").version, "3.11");
        std::fs::remove_dir_all(folder).expect("own folder");
    }

    // Covers: option:WSGIDaemonProcess/python, rule:config/python-home-checked
    #[test]
    fn a_version_and_a_home_have_to_fit() {
        let (folder, engines) = engines(&["3.11", "3.13"]);
        let home = folder.join("venv");
        std::fs::create_dir_all(&home).expect("own folder");
        std::fs::write(home.join("pyvenv.cfg"), "version = 3.11.7\n").expect("own folder");
        let bytes = home.as_os_str().as_bytes().to_vec();
        let wanted = |version| {
            engines.choose(Wanted { version: Some(("python", version)), home: Some(("python-home", &bytes)) })
        };
        assert_eq!(wanted("3.11").expect("they agree").version, "3.11");
        let refused = wanted("3.13").expect_err("they do not").to_string();
        assert!(refused.starts_with("python 3.13 does not fit python-home "), "{refused}");
        assert!(refused.contains("which is for Python 3.11."), "{refused}");
        // An installation may hold several.
        std::fs::remove_file(home.join("pyvenv.cfg")).expect("own folder");
        for version in ["3.11", "3.13"] {
            let library = home.join("lib").join(format!("python{version}"));
            std::fs::create_dir_all(&library).expect("own folder");
            std::fs::write(library.join("os.py"), "").expect("own folder");
        }
        assert_eq!(wanted("3.11").expect("it is there").version, "3.11");
        std::fs::remove_dir_all(folder).expect("own folder");
    }

    #[test]
    fn versions_are_recognised() {
        assert!(is_version("3.11") && is_version("3.13t"));
        for wrong in ["", "3", "3.", ".11", "3.x", "../3.11", "3.11.2", "3.-1"] {
            assert!(!is_version(wrong), "{wrong}");
        }
    }
}
