//! Looking at this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Facts, FactsVersion, HttpdFacts, StartFacts, UserFacts, WsgiFacts, locale};
use crate::httpd::{Account, Httpd, LocateError};

/// Where to look; everything that comes from the caller's environment.
#[derive(Clone, Debug, Default)]
pub struct ProbeOptions {
    /// The httpd to use.
    pub httpd: Option<PathBuf>,
    /// The search path for programs.
    pub search_path: Option<OsString>,
    /// The C module, when one is named.
    pub mod_wsgi: Option<PathBuf>,
    /// The folder of our own executable, where the module and the engines are.
    pub folder: Option<PathBuf>,
}

impl ProbeOptions {
    /// Looks beside the running executable and on the search path.
    pub fn from_environment(environment: &crate::environment::Environment) -> Self {
        Self {
            httpd: None,
            search_path: environment.get_os("PATH").map(ToOwned::to_owned),
            mod_wsgi: environment.get_os("CONFGEN_MOD_WSGI").map(PathBuf::from),
            folder: std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned)),
        }
    }
}

/// Why a machine cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No httpd.
    #[error(transparent)]
    Httpd(#[from] LocateError),
}

impl From<ProbeError> for crate::diagnostic::Diagnostic {
    fn from(error: ProbeError) -> Self {
        Self::error(crate::diagnostic::Code::NoHttpd, error.to_string())
    }
}

impl Facts {
    /// Describes this machine.
    ///
    /// # Errors
    /// When there is no httpd.
    pub fn probe(options: &ProbeOptions) -> Result<Self, ProbeError> {
        let httpd = Httpd::locate(options.httpd.as_deref(), options.search_path.as_deref())?;
        Ok(Self::probe_with(&httpd, options))
    }

    /// Describes this machine with an httpd that was found already.
    pub fn probe_with(httpd: &Httpd, options: &ProbeOptions) -> Self {
        let account = Account::current();
        let root = account.is_root();
        Self {
            schema: FactsVersion::V1,
            wsgi: wsgi(options, httpd.modules_folder.as_deref()),
            httpd: HttpdFacts {
                binary: httpd.binary.clone(),
                version: httpd.version.clone(),
                built_in: httpd.static_modules.clone(),
                modules_dir: httpd.modules_folder.clone(),
                modules: httpd.shared_modules.clone(),
                mpms: httpd.mpms().into_iter().map(str::to_owned).collect(),
                rotatelogs: rotatelogs(&httpd.binary),
            },
            start: StartFacts {
                user: account.name,
                uid: account.uid,
                web_user: Account::of_web_server().map(|account| account.name),
                lowest_port: if root { 1 } else { lowest_port() },
            },
            mime_types: ["/etc/mime.types", "/etc/apache2/mime.types", "/etc/httpd/conf/mime.types"]
                .iter()
                .map(PathBuf::from)
                .find(|path| path.is_file()),
            users: users("/etc/passwd"),
            groups: groups("/etc/group"),
            locales: locale::installed(),
            here: true,
        }
    }
}

/// Our module and the engines beside the executable (or, for a build that was not installed, in the folder `dist` beside it),
/// and the C module.
fn wsgi(options: &ProbeOptions, modules_folder: Option<&Path>) -> WsgiFacts {
    const MODULE: &str = "mod_wsgi_rs.so";
    let folders: Vec<PathBuf> = options
        .folder
        .iter()
        .flat_map(|folder| [folder.clone(), folder.join("../dist"), folder.join("../../dist")])
        .collect();
    let home =
        folders.iter().find(|folder| folder.join(MODULE).is_file()).and_then(|folder| folder.canonicalize().ok());
    let names: Vec<String> = home
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let versions = |prefix: &str, suffix: &str| {
        let mut versions: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(suffix))
            .filter(|version| version.starts_with("3."))
            .map(str::to_owned)
            .collect();
        versions.sort_by_key(|version| version.trim_end_matches('t')[2..].parse::<u32>().unwrap_or(0));
        versions
    };
    let peers = options
        .folder
        .iter()
        .flat_map(|folder| ["../peer/mod_wsgi.so", "../../peer/mod_wsgi.so"].map(|path| folder.join(path)));
    let mod_wsgi = options
        .mod_wsgi
        .iter()
        .cloned()
        .chain(peers)
        .chain(modules_folder.map(|folder| folder.join("mod_wsgi.so")))
        .find(|path| path.is_file())
        .and_then(|path| absolute(&path));
    WsgiFacts {
        module: home.as_ref().map(|folder| folder.join(MODULE)),
        daemons: versions("wsgi-daemon-", ""),
        engines: versions("wsgi_python-", ".so"),
        mod_wsgi,
    }
}

/// The path with its folder resolved and its name kept, so that a link keeps the name that it was found by.
fn absolute(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?.canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

fn rotatelogs(httpd: &Path) -> Option<PathBuf> {
    let beside = httpd.parent().map(|folder| folder.join("rotatelogs"));
    beside
        .into_iter()
        .chain(["/usr/bin/rotatelogs", "/usr/sbin/rotatelogs"].map(PathBuf::from))
        .find(|path| path.is_file())
}

fn lowest_port() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

/// Names and numbers of `/etc/passwd`.
fn users(path: &str) -> BTreeMap<String, UserFacts> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let user = UserFacts { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? };
            Some((fields.first().copied()?.to_owned(), user))
        })
        .collect()
}

/// Names and numbers of `/etc/group`.
fn groups(path: &str) -> BTreeMap<String, u32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((fields.first().copied()?.to_owned(), fields.get(2)?.parse().ok()?))
        })
        .collect()
}

/// The numbers of a user that may come from elsewhere than the local file.
pub(super) fn user(name: &str) -> Option<UserFacts> {
    let user = nix::unistd::User::from_name(name).ok().flatten()?;
    Some(UserFacts { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

/// The number of a group that may come from elsewhere than the local file.
pub(super) fn group(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}
