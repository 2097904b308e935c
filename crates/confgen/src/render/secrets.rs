//! Secrets of daemons: variables in a file that only the server reads. Their values are taken when the tree is written, by
//! `confgen secrets` later, or when the server starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FsPath;
use std::rc::Rc;

use super::beneath::{Failed, Folder};
use super::builder::Builder;
use super::manifest::{FINGERPRINTS, Found, MANIFEST, Manifest, fingerprints, hash, read_fingerprints};
use super::territory::{self, io};
use super::tree::{Content, File, SecretLine};
use super::write::{MadeFolders, Wanted, Write, WriteOptions, Written, edited};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::environment::Environment;
use crate::spec::{Daemon, EnvValue, Name, SecretFrom, SecretSource, SecretTime};

/// The file with a daemon's secrets, which is added to the tree, if it has any.
pub(super) fn of_daemon(builder: &mut Builder<'_>, name: &Name, daemon: &Daemon, key: &Path) -> Option<String> {
    let secrets = daemon.env.iter().filter_map(|(variable, value)| match value {
        EnvValue::Secret(secret) => Some((variable.as_str(), &secret.secret)),
        EnvValue::Plain(_) => None,
    });
    let secrets: Vec<(&str, &SecretFrom)> = secrets.collect();
    let at = time(builder, &secrets, key)?;
    let mut lines = Vec::new();
    for (variable, from) in secrets {
        let own = key.join("env").join(variable);
        let place = own.join("secret");
        let Some(source) = from.source() else {
            let message = match from.file {
                Some(_) => "a secret is taken from a `file` or from `env`, not from both",
                None => "a secret needs a `file` or `env`, which it is taken from",
            };
            builder.error(Code::Secret, &place, message);
            continue;
        };
        match (&source, at) {
            (SecretSource::File(file), SecretTime::Render) if builder.check_files && !file.as_path().is_file() => {
                let message = format!("there is no file {file} to take the secret from");
                let diagnostic = Diagnostic::error(Code::Secret, message)
                    .help("`at: start` takes it when the server starts, on a machine that has the file");
                builder.report(&place.join("file"), "", diagnostic);
            }
            (SecretSource::Env(name), SecretTime::Start) => {
                let message = format!(
                    "a secret that is taken when the server starts needs a `file`: the variable {name} may be missing then"
                );
                builder.error(Code::Secret, &place.join("env"), message);
            }
            _ => {}
        }
        lines.push(SecretLine { name: variable.to_owned(), source, key: own });
    }
    if daemon.environment_file.is_some() {
        let message = "`environment-file` cannot be combined with secrets in `env`: confgen writes such a file itself";
        builder.error(Code::Conflict, &key.join("environment-file"), message);
    }
    let mut file = String::from("secrets/");
    for character in name.as_str().chars() {
        match character {
            ':' => file.push_str("%3A"),
            other => file.push(other),
        }
    }
    file.push_str(".env");
    builder.files.push(File { path: file.clone(), mode: 0o600, content: Content::Secrets { lines, at } });
    let path = builder.server_root.join(file);
    Some(builder.path_text(&path, key))
}

/// When the secrets of a daemon are taken, all at the same time, as they are in one file. Nothing for a daemon without any.
fn time(builder: &mut Builder<'_>, secrets: &[(&str, &SecretFrom)], key: &Path) -> Option<SecretTime> {
    // On another machine a script of the tree can read files, and it knows no variables of confgen.
    let elsewhere = !builder.facts.here && secrets.iter().all(|(_, from)| from.env.is_none());
    let default = builder.secrets.unwrap_or(if elsewhere { SecretTime::Start } else { SecretTime::Render });
    let (first, from) = secrets.first()?;
    let at = from.at.unwrap_or(default);
    if let Some((other, _)) = secrets.iter().find(|(_, from)| from.at.unwrap_or(default) != at) {
        let own = key.join("env").join(*other).join("secret");
        let message = format!("the secrets `{first}` and `{other}` of a daemon are taken at different times");
        let diagnostic = Diagnostic::error(Code::Conflict, message);
        builder.report(&own, "", diagnostic.help("give all secrets of the daemon the same `at`"));
    }
    Some(at)
}

pub(super) fn missing(name: &str, reason: &str) -> Diagnostic {
    Diagnostic::error(Code::Secret, format!("the secret `{name}` cannot be taken: {reason}"))
}

pub(super) fn push_variable(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'=');
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
}

/// Fills in the secrets of a tree that was written without them: each value is taken from where the spec said, on this machine.
///
/// # Errors
/// When the directory is no tree of confgen, a secret cannot be taken, or a file was edited by hand.
pub fn fill_secrets(directory: &FsPath, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
    fill(directory, options, SecretTime::Render)
}

/// Takes the secrets anew that are taken when the server starts, before it reads its configuration again.
///
/// # Errors
/// When the directory is no tree of confgen, or a secret cannot be taken.
pub fn refresh_secrets(directory: &FsPath, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
    let found = Folder::open(directory).ok().and_then(|folder| Manifest::read(&folder).ok());
    match found {
        // Most trees have none.
        Some(Found::Ours(manifest)) if manifest.secrets_at_start.is_empty() => Ok(Written::default()),
        _ => fill(directory, options, SecretTime::Start),
    }
}

/// Removes the files of secrets that are taken when the server starts: its end takes the values along.
///
/// # Errors
/// When a file cannot be removed.
pub fn forget_secrets(directory: &FsPath) -> Result<(), Vec<Diagnostic>> {
    let root = Rc::new(Folder::open(directory).map_err(|error| io(Failed::new(directory, error)))?);
    let Found::Ours(manifest) = Manifest::read(&root).map_err(io)? else { return Ok(()) };
    let mut write = Write::new(root, MadeFolders::default());
    for path in &manifest.secrets_at_start {
        write.stage_removal(path)?;
    }
    write.commit()
}

fn fill(directory: &FsPath, options: &WriteOptions, at: SecretTime) -> Result<Written, Vec<Diagnostic>> {
    territory::ensure_named_safely(directory)?;
    let root = Rc::new(Folder::open(directory).map_err(|error| io(Failed::new(directory, error)))?);
    root.lock().map_err(io)?;
    territory::ensure_trusted(&root, options)?;
    let Some(manifest) = territory::previous(&root, &WriteOptions { adopt: false, ..options.clone() })? else {
        let message = format!("{} is not a tree of confgen: it has no {MANIFEST}", directory.display());
        return Err(vec![Diagnostic::error(Code::ForeignFolder, message)]);
    };
    let mut write = Write::new(root, MadeFolders::default());
    let known = read_fingerprints(&write.root).map_err(io)?;
    let (mut errors, mut sums, mut written) = (Vec::new(), BTreeMap::new(), Written::default());
    let mut files = Vec::new();
    for (path, sources) in &manifest.secrets {
        let made_at_start = manifest.secrets_at_start.contains(path);
        if made_at_start != (at == SecretTime::Start) {
            if made_at_start {
                written.at_start.push(path.clone());
            }
            continue;
        }
        let mut bytes = Vec::new();
        for (name, source) in sources {
            match value(source, &options.environment) {
                Ok(taken) => push_variable(&mut bytes, name, &taken),
                Err(reason) => errors.push(missing(name, &reason)),
            }
        }
        if let (Some(expected), Some(there)) = (known.get(path), write.read(path)?)
            && !options.force
            && hash(&there) != *expected
            && there != bytes
        {
            errors.push(edited(&directory.join(path)));
        }
        if !made_at_start {
            sums.insert(path.clone(), hash(&bytes));
        }
        files.push(Wanted { path, mode: 0o600, secret: true, bytes });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    for file in &files {
        match write.stage(file)? {
            true => written.changed.push(file.path.to_owned()),
            false => written.unchanged.push(file.path.to_owned()),
        }
    }
    if !sums.is_empty() {
        write.stage(&Wanted { path: FINGERPRINTS, mode: 0o600, secret: true, bytes: fingerprints(&sums) })?;
    }
    write.commit()?;
    write.keep();
    Ok(written)
}

/// The value of a secret. Reasons never hold any of it.
pub(super) fn value(source: &SecretSource, environment: &Environment) -> Result<Vec<u8>, String> {
    use std::os::unix::ffi::OsStrExt;
    let mut value = match source {
        SecretSource::File(path) => fs::read(path.as_path()).map_err(|error| format!("{path}: {error}"))?,
        SecretSource::Env(name) => environment
            .get_os(name.as_str())
            .ok_or_else(|| format!("the variable {name} is not set"))?
            .as_bytes()
            .to_vec(),
    };
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    if value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err("it has more than one line, or a NUL in it; let the application read the file itself, or encode the value (base64)".to_owned());
    }
    if value.trim_ascii().len() != value.len() {
        return Err("it begins or ends with a blank, which files of variables do not keep".to_owned());
    }
    Ok(value)
}
