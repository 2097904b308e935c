//! Instances by name: what `start` writes down for `status`, `stop`, `graceful` and `restart`.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::instance::{Identity, Instance, Stale};

/// The longest name of an instance.
const LONGEST_NAME: usize = 64;

/// What is written down about a running server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// What identifies it.
    pub identity: Identity,
    /// The binary it was started from.
    pub binary: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its error log, where it is a file.
    pub error_log: Option<PathBuf>,
    /// Where it answers.
    pub urls: Vec<String>,
    /// The environment it was started with.
    pub environment: std::collections::BTreeMap<String, String>,
    /// What it serves, as it was asked for.
    pub serves: String,
    /// The spec it was started with, where that is a file.
    #[serde(default)]
    pub source: Option<SpecSource>,
}

/// Where a spec was read from, and what was changed in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SpecSource {
    /// The file.
    pub file: PathBuf,
    /// The profiles that were applied.
    pub profile: Vec<String>,
    /// The keys that were set.
    pub set: Vec<String>,
}

/// The folder with the records of one user.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: PathBuf,
}

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A name that could lead out of the folder.
    #[error(
        "{0:?} is not a name for an instance: letters, digits, `.`, `_` and `-`, not beginning with a dot, at most {LONGEST_NAME}"
    )]
    Name(String),
    /// Somebody else's folder stands where ours should be.
    #[error("{} belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// A record that cannot be read as one.
    #[error("{} is not the record of an instance: {cause}", .path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The name is taken by a server that runs.
    #[error("an instance named {name} is running already (pid {pid}{})", .urls.first().map(|url| format!(", {url}")).unwrap_or_default())]
    Running {
        /// The name.
        name: String,
        /// The pid of its parent process.
        pid: u32,
        /// Where it answers.
        urls: Vec<String>,
    },
    /// There is no record of that name.
    #[error("there is no instance named {name}{}", self::listed(.known))]
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The system refused.
    #[error("cannot use {}: {cause}", .path.display())]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "; none is running".to_owned() } else { format!("; there are: {}", names.join(", ")) }
}

/// The state of a recorded instance.
#[derive(Debug)]
pub enum State {
    /// It runs.
    Running(Instance),
    /// It has ended without saying so.
    Ended(Stale),
}

impl Registry {
    /// The registry of this user: below the given runtime folder (the value of `XDG_RUNTIME_DIR`), `/run` for root, or
    /// the temporary folder.
    pub fn of_user(runtime_folder: Option<&Path>) -> Self {
        let user = nix::unistd::Uid::effective();
        let folder = match runtime_folder {
            Some(folder) if folder.is_absolute() && folder.is_dir() => folder.join("confgen"),
            _ if user.is_root() && Path::new("/run").is_dir() => PathBuf::from("/run/confgen"),
            _ => std::env::temp_dir().join(format!("confgen-{user}")),
        };
        Self { folder }
    }

    /// A registry in a given folder.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes a record; fails if a running server has the name.
    pub fn register(&self, record: &Record) -> Result<(), RegistryError> {
        self.ensure_free(&record.name)?;
        let path = self.path(&record.name)?;
        let failed = |cause| RegistryError::System { path: path.clone(), cause };
        self.prepare()?;
        let text =
            serde_json::to_vec_pretty(record).map_err(|cause| RegistryError::Garbage { path: path.clone(), cause })?;
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&new).and_then(|mut file| io::Write::write_all(&mut file, &text)).map_err(failed)?;
        fs::rename(&new, &path).map_err(failed)
    }

    /// Fails if a running server has the name.
    pub fn ensure_free(&self, name: &str) -> Result<(), RegistryError> {
        match self.find(name) {
            Ok((record, State::Running(instance))) => {
                Err(RegistryError::Running { name: name.to_owned(), pid: instance.pid(), urls: record.urls })
            }
            Ok(_) | Err(RegistryError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Forgets a server. One that was registered under the name since is left alone.
    pub fn forget(&self, record: &Record) -> Result<(), RegistryError> {
        match self.read(&record.name) {
            Ok(current) if current.identity == record.identity => {
                let path = self.path(&record.name)?;
                match fs::remove_file(&path) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(RegistryError::System { path, cause }),
                    _ => Ok(()),
                }
            }
            Ok(_) | Err(RegistryError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A server by name, with whether it runs.
    pub fn find(&self, name: &str) -> Result<(Record, State), RegistryError> {
        let record = self.read(name)?;
        let state = Instance::attach(&record.identity).map_or_else(State::Ended, State::Running);
        Ok((record, state))
    }

    /// All records, by name.
    pub fn all(&self) -> Result<Vec<(Record, State)>, RegistryError> {
        let names = self.names()?;
        names
            .iter()
            .filter_map(|name| match self.find(name) {
                // It ended between the two looks.
                Err(RegistryError::Unknown { .. }) => None,
                other => Some(other),
            })
            .collect()
    }

    fn names(&self) -> Result<Vec<String>, RegistryError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(RegistryError::System { path: self.folder.clone(), cause }),
        };
        self.trusted()?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Record, RegistryError> {
        let path = self.path(name)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RegistryError::Unknown { name: name.to_owned(), known: self.names()? });
            }
            Err(cause) => return Err(RegistryError::System { path, cause }),
        };
        self.trusted()?;
        serde_json::from_slice(&bytes).map_err(|cause| RegistryError::Garbage { path, cause })
    }

    fn path(&self, name: &str) -> Result<PathBuf, RegistryError> {
        if is_name(name) {
            Ok(self.folder.join(format!("{name}.json")))
        } else {
            Err(RegistryError::Name(name.to_owned()))
        }
    }

    fn prepare(&self) -> Result<(), RegistryError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|cause| RegistryError::System { path: self.folder.clone(), cause })?;
        self.trusted()
    }

    /// A folder in a shared place is only ours if we own it and nobody else may write there: a record names a process to be signalled.
    fn trusted(&self) -> Result<(), RegistryError> {
        let metadata = fs::symlink_metadata(&self.folder)
            .map_err(|cause| RegistryError::System { path: self.folder.clone(), cause })?;
        let ours = metadata.is_dir()
            && metadata.uid() == nix::unistd::Uid::effective().as_raw()
            && metadata.mode() & 0o022 == 0;
        if ours { Ok(()) } else { Err(RegistryError::Foreign(self.folder.clone())) }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with('.') && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpd::process;
    use std::os::unix::fs::PermissionsExt;

    fn record(name: &str) -> Record {
        let own = process::stat(std::process::id()).unwrap();
        Record {
            name: name.into(),
            identity: Identity { pid: own.pid, start_time: own.start_time, root: "/nonexistent".into() },
            binary: "/usr/sbin/apache2".into(),
            config: "/x/httpd.conf".into(),
            error_log: None,
            urls: vec!["http://localhost:8000/".into()],
            environment: std::collections::BTreeMap::new(),
            serves: "app.wsgi".into(),
            source: None,
        }
    }

    #[test]
    fn records_are_kept_by_name_and_forgotten() {
        let top = tempfile::tempdir().unwrap();
        let registry = Registry::at(&top.path().join("confgen"));
        assert!(registry.all().unwrap().is_empty());
        let shop = record("shop");
        registry.register(&shop).unwrap();
        let (found, state) = registry.find("shop").unwrap();
        assert_eq!(found, shop);
        assert!(matches!(state, State::Ended(_)), "this test is no httpd");
        registry.register(&shop).unwrap();
        assert_eq!(registry.find("shpo").unwrap_err().to_string(), "there is no instance named shpo; there are: shop");
        let mut later = shop.clone();
        later.identity.start_time += 1;
        registry.forget(&later).unwrap();
        assert_eq!(registry.all().unwrap().len(), 1, "another server's record is left alone");
        registry.forget(&shop).unwrap();
        assert!(registry.all().unwrap().is_empty());
    }

    #[test]
    fn names_do_not_lead_out_and_folders_of_others_are_refused() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("confgen");
        let registry = Registry::at(&folder);
        for name in ["", "../x", "a/b", ".hidden", "a b", &"x".repeat(65)] {
            assert!(matches!(registry.find(name), Err(RegistryError::Name(_))), "{name:?}");
        }
        registry.register(&record("a")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(registry.find("a"), Err(RegistryError::Foreign(_))));
    }
}
