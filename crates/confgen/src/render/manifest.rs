//! The list of a tree's files: what confgen wrote, so that it knows its own files from those of others and sees edits.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::beneath::{Failed, Folder};
use super::tree::SecretLine;
use crate::spec::{SecretSource, SecretTime};

/// The name of the list of a tree's files.
pub const MANIFEST: &str = "MANIFEST.json";

/// The folder for files with secrets.
pub(super) const SECRETS: &str = "secrets";

/// The list of the hashes of files with secrets. It stands beside them and is as closed as they are: a hash of a short secret
/// gives it away.
pub(super) const FINGERPRINTS: &str = "secrets/.fingerprints";

const SCHEMA: &str = "confgen-manifest/1";

/// The list of a tree's files.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    schema: String,
    confgen: String,
    /// The hash of the spec.
    pub(super) spec: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) files: BTreeMap<String, Listed>,
    /// Where the values of secrets are taken from, by file and variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) secrets: BTreeMap<String, BTreeMap<String, SecretSource>>,
    /// Those of these files that are made when the server starts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) secrets_at_start: BTreeSet<String>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    pub(super) mode: String,
    /// Missing for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
}

/// What stands under the list's name.
pub(super) enum Found {
    Nothing,
    Ours(Manifest),
    /// A file that is not such a list.
    Foreign,
}

impl Manifest {
    pub(super) fn new(spec: String, environment: BTreeMap<String, String>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            confgen: env!("CARGO_PKG_VERSION").to_owned(),
            spec,
            environment,
            files: BTreeMap::new(),
            secrets: BTreeMap::new(),
            secrets_at_start: BTreeSet::new(),
        }
    }

    /// Reads the list of a folder. What it names may be removed when it is not rendered any more; names that confgen never
    /// writes are not its own, whoever wrote them there.
    pub(super) fn read(folder: &Folder) -> Result<Found, Failed> {
        let Some(bytes) = folder.read(OsStr::new(MANIFEST))? else { return Ok(Found::Nothing) };
        let Ok(mut manifest) = serde_json::from_slice::<Self>(&bytes) else { return Ok(Found::Foreign) };
        if manifest.schema != SCHEMA {
            return Ok(Found::Foreign);
        }
        manifest.files.retain(|path, _| is_ours(path));
        manifest.secrets.retain(|path, _| is_ours(path));
        Ok(Found::Ours(manifest))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        (serde_json::to_string_pretty(self).unwrap_or_default() + "\n").into_bytes()
    }

    pub(super) fn list_secrets(&mut self, path: &str, lines: &[SecretLine], at: SecretTime) {
        if at == SecretTime::Start {
            self.secrets_at_start.insert(path.to_owned());
        }
        let sources = lines.iter().map(|line| (line.name.clone(), line.source.clone())).collect();
        self.secrets.insert(path.to_owned(), sources);
    }
}

/// Whether confgen writes files of this name.
pub(super) fn is_ours(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let (Some(Component::Normal(first)), second, None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    // A path is compared as it is written: `./x` and `x/` are not what confgen writes.
    let Some(first) = first.to_str() else { return false };
    let Some(second) = second else {
        return matches!(first, "httpd.conf" | "mime.types" | "ctl") && path == first;
    };
    let Component::Normal(second) = second else { return false };
    let Some(second) = second.to_str() else { return false };
    let known = match first {
        "apps" | "debug" => second.ends_with(".wsgi"),
        "secrets" => second.ends_with(".env") || path == FINGERPRINTS,
        "health" => second == "ok",
        "reload" => second == "monitor.py",
        _ => false,
    };
    known && path == format!("{first}/{second}")
}

/// The hashes of files with secrets, as text.
pub(super) fn fingerprints(secrets: &BTreeMap<String, String>) -> Vec<u8> {
    secrets.iter().map(|(path, hash)| format!("{hash}  {path}\n")).collect::<String>().into_bytes()
}

/// Reads the hashes of files with secrets.
pub(super) fn read_fingerprints(folder: &Folder) -> Result<BTreeMap<String, String>, Failed> {
    let Some(secrets) = folder.sub(OsStr::new(SECRETS))? else { return Ok(BTreeMap::new()) };
    let name = Path::new(FINGERPRINTS).file_name().unwrap_or_default();
    let text = secrets.read(name)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let pairs = text.lines().filter_map(|line| line.split_once("  "));
    Ok(pairs.map(|(hash, path)| (path.to_owned(), hash.to_owned())).collect())
}

pub(super) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_written_are_ours() {
        for path in
            ["httpd.conf", "apps/main-root.wsgi", "secrets/web%3Ax.env", "health/ok", "reload/monitor.py", "ctl"]
        {
            assert!(is_ours(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../httpd.conf",
            "apps/../httpd.conf",
            "./httpd.conf",
            "apps//x.wsgi",
            "apps/x.py",
            "apps/a/b.wsgi",
            "logs/error.log",
            "important.txt",
            "httpd.conf/",
            MANIFEST,
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
