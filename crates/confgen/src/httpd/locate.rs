//! Finds the httpd binary and what it was built with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::command;

/// Names under which distributions install the server, in the order of trying.
const NAMES: &[&str] = &["apache2", "httpd"];

/// Whether an argument 0 is that of an httpd.
pub(super) fn is_known_name(first: &str) -> bool {
    let name = Path::new(first).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    NAMES.iter().any(|known| name.starts_with(known))
}

/// Folders that an ordinary user's search path often lacks.
const SYSTEM_FOLDERS: &[&str] =
    &["/usr/sbin", "/usr/local/sbin", "/usr/local/apache2/bin", "/usr/bin", "/usr/local/bin", "/sbin"];

/// Folders of shared modules, beside those relative to the built-in server root.
const MODULE_FOLDERS: &[&str] = &[
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/lib/apache2",
    "/usr/local/libexec/apache24",
    "/usr/local/apache2/modules",
];

/// The multi-processing modules confgen knows, best first.
const MPMS: &[&str] = &["event", "worker", "prefork"];

/// An httpd on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Httpd {
    /// The binary.
    pub binary: PathBuf,
    /// Its version, for example `2.4.71`.
    pub version: String,
    /// The server root it was built with.
    pub built_root: PathBuf,
    /// The modules compiled into it, named as in `LoadModule` but without `_module`: `so`, `core`, `unixd`.
    pub static_modules: Vec<String>,
    /// The folder of its shared modules, when one was found.
    pub modules_folder: Option<PathBuf>,
    /// The shared modules there, named as their files without `mod_` and `.so`.
    pub shared_modules: Vec<String>,
}

/// Why no usable httpd was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// No binary of any known name.
    #[error("no httpd found (looked for {} in {}); install apache2-bin (Debian) or httpd (Fedora, Alpine: apache2)", NAMES.join(" and "), join(.searched))]
    NotFound {
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// The binary could not be executed.
    #[error("cannot run {}: {cause}", .binary.display())]
    Run {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The binary ran but is no httpd.
    #[error("{} is not an Apache httpd: `-V` printed {printed:?}", .binary.display())]
    NotHttpd {
        /// The binary.
        binary: PathBuf,
        /// The first line of what it printed.
        printed: String,
    },
}

fn join(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Httpd {
    /// Finds httpd: the given binary, or the first known name on the search path (the value of `PATH`) and in the usual system folders.
    pub fn locate(given: Option<&Path>, search_path: Option<&std::ffi::OsStr>) -> Result<Self, LocateError> {
        if let Some(binary) = given {
            return Self::inspect(binary);
        }
        let mut folders: Vec<PathBuf> =
            search_path.map(|value| std::env::split_paths(value).collect()).unwrap_or_default();
        folders.extend(SYSTEM_FOLDERS.iter().map(PathBuf::from));
        for name in NAMES {
            for folder in &folders {
                let binary = folder.join(name);
                if folder.is_absolute() && binary.is_file() {
                    return Self::inspect(&binary);
                }
            }
        }
        let mut searched = Vec::new();
        for folder in folders {
            if !searched.contains(&folder) {
                searched.push(folder);
            }
        }
        Err(LocateError::NotFound { searched })
    }

    /// Reads the facts of one binary.
    pub fn inspect(binary: &Path) -> Result<Self, LocateError> {
        let settings = print(binary, "-V")?;
        let not_httpd = || LocateError::NotHttpd {
            binary: binary.to_owned(),
            printed: settings.lines().next().unwrap_or_default().to_owned(),
        };
        let version = version(&settings).ok_or_else(not_httpd)?;
        let built_root = PathBuf::from(setting(&settings, "HTTPD_ROOT").ok_or_else(not_httpd)?);
        let static_modules = static_modules(&print(binary, "-l")?);
        let modules_folder = modules_folder(binary, &built_root);
        let mut shared_modules = modules_folder.as_deref().map(shared_modules).unwrap_or_default();
        shared_modules.sort();
        Ok(Self { binary: binary.to_owned(), version, built_root, static_modules, modules_folder, shared_modules })
    }

    /// The multi-processing modules that can be used, best first. One that is compiled in excludes all others.
    pub fn mpms(&self) -> Vec<&'static str> {
        if let Some(mpm) = self.static_mpm() {
            return vec![mpm];
        }
        MPMS.iter()
            .copied()
            .filter(|mpm| self.shared_modules.iter().any(|module| module.strip_prefix("mpm_") == Some(mpm)))
            .collect()
    }

    /// The multi-processing module that is compiled in, if any.
    pub fn static_mpm(&self) -> Option<&'static str> {
        MPMS.iter().copied().find(|mpm| self.static_modules.iter().any(|module| module == mpm))
    }

    /// The file of a shared module, by its name without `_module`.
    pub fn module_file(&self, name: &str) -> Option<PathBuf> {
        self.shared_modules
            .iter()
            .any(|module| module == name)
            .then(|| self.modules_folder.as_ref().map(|folder| folder.join(format!("mod_{name}.so"))))?
    }

    /// Whether a module is compiled in.
    pub fn has_static(&self, name: &str) -> bool {
        self.static_modules.iter().any(|module| module == name)
    }
}

/// Output of an informational option. `-f /dev/null` keeps the machine's own configuration out of it; the exit status says
/// nothing then, because an empty configuration has no MPM.
fn print(binary: &Path, option: &str) -> Result<String, LocateError> {
    let output = command::httpd(binary)
        .args(["-f", "/dev/null", option])
        .output()
        .map_err(|cause| LocateError::Run { binary: binary.to_owned(), cause })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn version(settings: &str) -> Option<String> {
    let line = settings.lines().find(|line| line.starts_with("Server version:"))?;
    let rest = line.split_once('/')?.1;
    Some(rest.split_whitespace().next()?.to_owned())
}

/// The value of ` -D NAME="value"`.
fn setting<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| {
        let (key, value) = line.trim().strip_prefix("-D ")?.split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

fn static_modules(listing: &str) -> Vec<String> {
    let mut names = Vec::new();
    for file in listing.lines().filter_map(|line| line.trim().strip_suffix(".c")) {
        let name = file.strip_prefix("mod_").or_else(|| file.strip_prefix("http_")).unwrap_or(file);
        // `core.c` and `http_core.c` are one module to LoadModule.
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn modules_folder(binary: &Path, built_root: &Path) -> Option<PathBuf> {
    let mut candidates = vec![built_root.join("modules")];
    if let Some(prefix) = binary.parent().and_then(Path::parent) {
        candidates.push(prefix.join("modules"));
        candidates.push(prefix.join("lib/apache2/modules"));
    }
    candidates.extend(MODULE_FOLDERS.iter().map(PathBuf::from));
    candidates.into_iter().find(|folder| folder.is_dir() && !shared_modules(folder).is_empty())
}

fn shared_modules(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("mod_")?.strip_suffix(".so").map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "Server version: Apache/2.4.57 (Debian)\nServer built:   2023\nServer MPM:     event\nServer compiled with....\n -D APR_HAS_SENDFILE\n -D HTTPD_ROOT=\"/etc/apache2\"\n -D SERVER_CONFIG_FILE=\"apache2.conf\"\n";

    #[test]
    fn reads_version_and_settings() {
        assert_eq!(version(SETTINGS).as_deref(), Some("2.4.57"));
        assert_eq!(setting(SETTINGS, "HTTPD_ROOT"), Some("/etc/apache2"));
        assert_eq!(setting(SETTINGS, "APR_HAS_SENDFILE"), None);
        assert_eq!(version("Usage: sleep NUMBER"), None);
    }

    #[test]
    fn names_static_modules_as_load_module_does() {
        assert_eq!(
            static_modules("Compiled in modules:\n  core.c\n  mod_so.c\n  http_core.c\n  event.c\n"),
            ["core", "so", "event"]
        );
    }

    #[test]
    fn a_program_that_is_no_httpd_is_refused_by_name() {
        let error = Httpd::inspect(Path::new("/bin/echo")).unwrap_err();
        assert!(error.to_string().starts_with("/bin/echo is not an Apache httpd"), "{error}");
        let error = Httpd::locate(Some(Path::new("/nonexistent/httpd")), None).unwrap_err();
        assert!(error.to_string().starts_with("cannot run /nonexistent/httpd"), "{error}");
    }
}
