//! Finding and reading a configuration: a file, or the folder of a server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::conf::reader::{Facts, ReadError, Reading, read_file, read_text};

/// The main files of a server's folder, in the order in which they are looked for.
const MAIN: [&str; 5] =
    ["apache2.conf", "httpd.conf", "conf/httpd.conf", "etc/apache2/apache2.conf", "etc/httpd/conf/httpd.conf"];

/// Modules that the httpd of every distribution has compiled in.
const BUILT_IN: [&str; 9] = [
    "core.c",
    "mod_so.c",
    "http_core.c",
    "mod_log_config.c",
    "mod_logio.c",
    "mod_version.c",
    "mod_unixd.c",
    "mod_watchdog.c",
    "util_script.c",
];

/// Modules that are as good as always loaded: in a part of a configuration they are taken to be.
const ALWAYS: [&str; 8] = [
    "mod_authz_core.c",
    "authz_core_module",
    "mod_authz_host.c",
    "mod_alias.c",
    "alias_module",
    "mod_dir.c",
    "mod_mime.c",
    "mod_wsgi.c",
];

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What was read.
    pub reading: Reading,
    /// The main file.
    pub main: PathBuf,
    /// Whether it is a part of a configuration: it loads no module and names no `ServerRoot`.
    pub partial: bool,
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A folder without a main file.
    #[error("no main configuration file in {}: looked for {}", .0.display(), MAIN[..3].join(", "))]
    NoMain(PathBuf),
    /// Files in the folder cannot be listed.
    #[error("cannot read {}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// Reads a file or the folder of a server. A folder without a main file is read file by file: each of its `*.conf` is a part.
///
/// # Errors
/// When a file cannot be read, or a folder has nothing to read.
pub fn load(path: &Path) -> Result<Vec<Loaded>, LoadError> {
    if !path.is_dir() {
        return Ok(vec![load_main(path)?]);
    }
    if let Some(main) = MAIN.iter().map(|name| path.join(name)).find(|file| file.is_file()) {
        return Ok(vec![load_main(&main)?]);
    }
    let failed = |cause| LoadError::Folder { path: path.to_owned(), cause };
    let mut files: Vec<PathBuf> = fs::read_dir(path)
        .map_err(failed)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name.ends_with(".conf") || name == ".htaccess") && file.is_file()
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(LoadError::NoMain(path.to_owned()));
    }
    files.iter().map(|file| load_main(file)).collect()
}

/// Reads a configuration from its main file.
///
/// # Errors
/// When the file cannot be read.
pub fn load_main(main: &Path) -> Result<Loaded, LoadError> {
    Ok(load_text(main, read_file(main)?))
}

/// Reads a configuration whose main text is here already. `main` names it, and its folder is where relative paths begin unless
/// the text names another one.
#[must_use]
pub fn load_text(main: &Path, text: Vec<u8>) -> Loaded {
    let absolute = std::path::absolute(main).unwrap_or_else(|_| main.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    // Red Hat's main file stands in conf/ of the server's folder.
    let named_conf = folder.file_name().is_some_and(|name| name == "conf");
    let root = if named_conf { folder.parent().unwrap_or(&folder).to_owned() } else { folder.clone() };
    let mut facts = Facts {
        server_root: root.clone(),
        built_in: BUILT_IN.map(str::to_owned).to_vec(),
        version: Some((2, 4, 62)),
        environment: environment(&folder),
        directives: Some(known_names()),
        relocated: Some(root.clone()),
        ..Facts::default()
    };
    let mut reading = read_text(main, text.clone(), &facts);
    let named = reading.nodes.iter().find(|node| node.is("ServerRoot")).and_then(|node| node.words.first());
    let named = named.map(|root| PathBuf::from(String::from_utf8_lossy(root).into_owned()));
    // A file that stands elsewhere than its server's folder is not a copy of it.
    if named.is_some_and(|named| named.is_dir()) && !has_layout(&root) {
        facts.relocated = None;
        reading = read_text(main, text.clone(), &facts);
    }
    let partial = reading.modules.is_empty() && !reading.nodes.iter().any(|node| node.is("ServerRoot"));
    if partial {
        facts.partial = true;
        facts.built_in.extend(ALWAYS.map(str::to_owned));
        reading = read_text(main, text, &facts);
    }
    Loaded { reading, main: main.to_owned(), partial }
}

/// Whether a folder looks like that of a server: with what a main file includes.
fn has_layout(folder: &Path) -> bool {
    ["conf.d", "conf.modules.d", "mods-enabled", "sites-enabled", "conf-enabled", "mods-available", "extra"]
        .iter()
        .any(|name| folder.join(name).is_dir())
}

fn known_names() -> BTreeSet<String> {
    let httpd = crate::directives::of_httpd()
        .iter()
        .map(|entry| format!("{}{}", if entry.section { "<" } else { "" }, entry.name.to_lowercase()));
    let wsgi = crate::directives::all().iter().map(|entry| entry.name.to_lowercase());
    httpd.chain(wsgi).collect()
}

/// The variables that Debian's `envvars` beside the main file exports. It is read, not executed.
fn environment(folder: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let path = folder.join("envvars");
    let Some(text) = path.is_file().then(|| fs::read_to_string(&path).ok()).flatten() else { return found };
    for line in text.lines() {
        let line = line.trim();
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else { continue };
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name(name) {
            continue;
        }
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        // `$SUFFIX` is empty but for second instances; other uses of variables are resolved from what stands above.
        let mut resolved = value.replace("$SUFFIX", "").replace("${SUFFIX}", "");
        for (known, known_value) in &found {
            let known = String::from_utf8_lossy(known);
            let known_value = String::from_utf8_lossy(known_value);
            resolved =
                resolved.replace(&format!("${{{known}}}"), &known_value).replace(&format!("${known}"), &known_value);
        }
        if !resolved.contains('$') && !resolved.contains('`') {
            found.entry(name.as_bytes().to_vec()).or_insert_with(|| resolved.into_bytes());
        }
    }
    found
}
