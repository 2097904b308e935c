//! A rendered tree: files with their modes, and for each line the key that it was made from.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{self, Node, Segment, Span};
use crate::environment::Environment;
use crate::httpd::Complaint;
use crate::spec::SecretSource;

/// The name of the list of a tree's files.
pub const MANIFEST: &str = "MANIFEST.json";

/// What confgen renders.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where the tree is meant to stand.
    pub server_root: PathBuf,
    /// Its files, in order.
    pub files: Vec<File>,
    /// The environment that httpd is to be started with.
    pub environment: BTreeMap<String, String>,
    /// What is worth knowing, although nothing was refused.
    pub warnings: Vec<Diagnostic>,
    /// What was chosen.
    pub choice: Choice,
    /// The tree of the spec, for places.
    pub(super) root: Node,
}

/// What was chosen where the spec leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choice {
    /// The httpd.
    pub httpd: PathBuf,
    /// Its version.
    pub httpd_version: String,
    /// The multi-processing module.
    pub mpm: String,
    /// The wsgi module.
    pub module: PathBuf,
    /// The versions of Python whose engines are there; empty with the C module.
    pub engines: Vec<String>,
    /// The user that serves.
    pub user: String,
    /// The error log, when it is a file.
    pub error_log: Option<PathBuf>,
    /// Whether one process is to serve everything itself (`httpd -X`), for a debugger.
    pub single_process: bool,
}

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below the server's root.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Text, with the keys that its lines were made from.
    Text {
        /// The text.
        text: String,
        /// For each line, the keys.
        lines: Vec<Vec<document::Path>>,
    },
    /// `NAME=VALUE` lines whose values are taken when the tree is written, and never shown.
    Secrets(Vec<SecretLine>),
}

/// A variable whose value is a secret.
#[derive(Clone, Debug)]
pub struct SecretLine {
    /// The variable.
    pub name: String,
    /// Where its value is.
    pub source: SecretSource,
    /// The key of the spec.
    pub key: document::Path,
}

/// How a tree is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Whether files that were edited by hand are overwritten.
    pub force: bool,
    /// What becomes of secrets.
    pub secrets: Secrets,
    /// The environment that secrets may come from.
    pub environment: Environment,
}

/// What becomes of secrets when a tree is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are taken from where the spec says.
    #[default]
    Take,
    /// They stay there; variables get no value. For a tree that is only to be looked at by httpd.
    Blank,
}

/// What writing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are new or differ.
    pub changed: Vec<String>,
    /// Files that were as they should be.
    pub unchanged: Vec<String>,
    /// Files of the previous tree that are gone.
    pub removed: Vec<String>,
}

/// The list of a tree's files.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    schema: String,
    confgen: String,
    spec: String,
    environment: BTreeMap<String, String>,
    files: BTreeMap<String, Listed>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    mode: String,
    /// Missing for secrets: a hash of a short secret gives it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl Tree {
    /// The main configuration file.
    pub fn config(&self) -> PathBuf {
        self.server_root.join("httpd.conf")
    }

    /// A file by its path below the root.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The text of a file, if it is text.
    pub fn text(&self, path: &str) -> Option<&str> {
        match &self.file(path)?.content {
            Content::Text { text, .. } => Some(text),
            Content::Secrets(_) => None,
        }
    }

    /// Everything as one text, for standard output; secrets are named and not shown.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            if self.files.len() > 1 {
                if !text.is_empty() {
                    text.push('\n');
                }
                text += &format!("#### {} (mode {:04o})\n", file.path, file.mode);
            }
            match &file.content {
                Content::Text { text: content, .. } => text += content,
                Content::Secrets(lines) => {
                    for line in lines {
                        text += &format!(
                            "# {} is taken from {} when the tree is written\n",
                            line.name,
                            source_name(&line.source)
                        );
                    }
                }
            }
        }
        text
    }

    /// Writes the tree to its server root: nothing is touched unless all of it can be made, and a file that is as it should be
    /// is not touched at all.
    ///
    /// # Errors
    /// When a secret cannot be taken, a file was edited by hand, or the system refuses to write.
    pub fn write(&self, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
        self.write_to(&self.server_root, options)
    }

    /// The same, to another directory.
    ///
    /// # Errors
    /// As [`Tree::write`].
    pub fn write_to(&self, directory: &Path, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
        let contents = self.contents(options)?;
        let previous = read_manifest(directory);
        if !options.force
            && let Some(previous) = &previous
        {
            let edited = edited(directory, previous, &contents);
            if !edited.is_empty() {
                return Err(edited);
            }
        }
        self.write_contents(directory, &contents, previous.as_ref()).map_err(|(path, error)| {
            vec![Diagnostic::error(Code::Io, format!("cannot write {}: {error}", path.display()))]
        })
    }

    /// The bytes of every file.
    fn contents(&self, options: &WriteOptions) -> Result<Vec<(&File, Vec<u8>)>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let mut contents = Vec::new();
        for file in &self.files {
            match &file.content {
                Content::Text { text, .. } => contents.push((file, text.clone().into_bytes())),
                Content::Secrets(lines) => {
                    let mut bytes = Vec::new();
                    for line in lines {
                        let value = match options.secrets {
                            Secrets::Take => secret(line, &options.environment),
                            Secrets::Blank => Ok(Vec::new()),
                        };
                        match value {
                            Ok(value) => {
                                bytes.extend_from_slice(line.name.as_bytes());
                                bytes.push(b'=');
                                bytes.extend_from_slice(&value);
                                bytes.push(b'\n');
                            }
                            Err(reason) => errors.push(
                                Diagnostic::error(
                                    Code::Secret,
                                    format!("the secret `{}` cannot be taken: {reason}", line.name),
                                )
                                .at(line.key.span(&self.root), ""),
                            ),
                        }
                    }
                    contents.push((file, bytes));
                }
            }
        }
        if errors.is_empty() { Ok(contents) } else { Err(errors) }
    }

    fn write_contents(
        &self,
        directory: &Path,
        contents: &[(&File, Vec<u8>)],
        previous: Option<&Manifest>,
    ) -> Result<Written, (PathBuf, io::Error)> {
        let mut written = Written::default();
        for folder in ["", "logs", "run"] {
            make_directory(&directory.join(folder), 0o755)?;
        }
        let mut manifest = Manifest {
            schema: "confgen-manifest/1".to_owned(),
            confgen: env!("CARGO_PKG_VERSION").to_owned(),
            spec: hash(self.root.to_json().to_string().as_bytes()),
            environment: self.environment.clone(),
            files: BTreeMap::new(),
        };
        // Everything is written beside its place before anything is put in place: a disk that is full, or a folder in which
        // nothing can be made, leaves the tree as it was.
        let mut staged = Vec::new();
        for (file, bytes) in contents {
            let path = directory.join(&file.path);
            if let Some(parent) = path.parent() {
                make_directory(parent, if matches!(file.content, Content::Secrets(_)) { 0o700 } else { 0o755 })?;
            }
            match stage(&path, bytes, file.mode)? {
                Some(fresh) => {
                    written.changed.push(file.path.clone());
                    staged.push(fresh);
                }
                None => written.unchanged.push(file.path.clone()),
            }
            let sha256 = matches!(file.content, Content::Text { .. }).then(|| hash(bytes));
            manifest.files.insert(file.path.clone(), Listed { mode: format!("{:04o}", file.mode), sha256 });
        }
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
        staged.extend(stage(&directory.join(MANIFEST), text.as_bytes(), 0o644)?);
        for fresh in staged {
            fresh.put()?;
        }
        for path in previous
            .iter()
            .flat_map(|previous| previous.files.keys())
            .filter(|path| !manifest.files.contains_key(*path))
        {
            let gone = directory.join(path);
            match fs::remove_file(&gone) {
                Ok(()) => written.removed.push(path.clone()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((gone, error)),
            }
        }
        Ok(written)
    }

    /// The keys that a line (from 1) of a file was made from. A directive that goes over several lines is one.
    pub fn keys_of_line(&self, file: &str, line: usize) -> Vec<document::Path> {
        let Some(File { content: Content::Text { text, lines }, .. }) = self.file(file) else { return Vec::new() };
        let texts: Vec<&str> = text.lines().collect();
        let Some(mut first) = line.checked_sub(1).filter(|index| *index < texts.len()) else { return Vec::new() };
        let mut last = first;
        while first > 0 && texts[first - 1].ends_with('\\') {
            first -= 1;
        }
        while last + 1 < texts.len() && texts[last].ends_with('\\') {
            last += 1;
        }
        let mut keys: Vec<document::Path> = Vec::new();
        for key in lines.get(first..=last).into_iter().flatten().flatten() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        if keys.is_empty() {
            // The end of a section belongs to what opened it.
            keys = lines[..first].iter().rev().find(|keys| !keys.is_empty()).cloned().unwrap_or_default();
        }
        keys
    }

    /// What httpd said about the tree as it stands in `directory`, said about the spec.
    pub fn explain(&self, directory: &Path, complaint: &Complaint) -> Diagnostic {
        let error = complaint.severity == crate::httpd::Severity::Error;
        let message = format!("httpd: {}", complaint.message);
        let mut diagnostic = match error {
            true => Diagnostic::error(Code::HttpdRefused, message),
            false => Diagnostic::warning(Code::HttpdRefused, message),
        };
        let file = complaint.file.as_deref().and_then(|file| file.strip_prefix(directory).ok()).and_then(Path::to_str);
        if let (Some(file), Some(line)) = (file, complaint.line) {
            let keys = self.keys_of_line(file, line);
            if let Some(key) = likely(&keys, &complaint.message, &self.root) {
                diagnostic = diagnostic.at(span(&self.root, key), format!("`{key}`"));
            }
            if let Some(text) = self.text(file).and_then(|text| text.lines().nth(line - 1)) {
                diagnostic = diagnostic.note(format!("line {line} of the rendered {file}: {}", text.trim()));
            }
        } else if let Some(key) = self.key_in(&complaint.message) {
            diagnostic = diagnostic.at(span(&self.root, &key), format!("`{key}`"));
        }
        match &complaint.code {
            Some(code) => diagnostic.note(format!("httpd's code: {code}")),
            None => diagnostic,
        }
    }

    /// The key whose value a message without a line names.
    fn key_in(&self, message: &str) -> Option<document::Path> {
        let Content::Text { lines, .. } = &self.file("httpd.conf")?.content else { return None };
        let mut best: Option<(usize, &document::Path)> = None;
        for key in lines.iter().flatten() {
            let Some(value) = key.find(&self.root).and_then(scalar) else { continue };
            if value.len() >= 3 && message.contains(&value) && best.is_none_or(|(length, _)| value.len() > length) {
                best = Some((value.len(), key));
            }
        }
        best.map(|(_, key)| key.clone())
    }
}

/// Among the keys of a line, the one that a message is about: the one whose value it quotes, else the one whose name it says.
fn likely<'a>(keys: &'a [document::Path], message: &str, root: &Node) -> Option<&'a document::Path> {
    let lower = message.to_lowercase();
    let quoted = keys
        .iter()
        .filter(|key| key.find(root).and_then(scalar).is_some_and(|value| value.len() >= 2 && message.contains(&value)))
        .max_by_key(|key| key.find(root).and_then(scalar).map_or(0, |value| value.len()));
    let named = || {
        keys.iter().filter_map(|key| Some((key, key.last_key()?))).find(|(_, name)| {
            let words: Vec<&str> = name.split('-').collect();
            name.len() >= 4 && (lower.contains(&words.join(" ")) || lower.contains(*name))
        })
    };
    // What was written in the spec is more likely wrong than what confgen chose.
    let written = || {
        keys.iter().find(|key| {
            key.find(root).or_else(|| key.parent()?.find(root).filter(|node| node.as_str().is_some())).is_some()
        })
    };
    quoted.or_else(|| named().map(|(key, _)| key)).or_else(written).or_else(|| keys.first())
}

fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        document::Value::String(text) => Some(text.clone()),
        document::Value::Int(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The place of a key. A line of a raw text has its number as last step.
pub(super) fn span(root: &Node, key: &document::Path) -> Span {
    let Some((Segment::Index(number), parent)) = key.segments().last().zip(key.parent()) else { return key.span(root) };
    let Some(node) = parent.find(root) else { return key.span(root) };
    let Some(line) = node.as_str().and_then(|text| text.lines().nth(*number)) else { return key.span(root) };
    // The same words stand in the source, at the same line of the block or between the quotes.
    let source = &node.span.source;
    let from = node.span.range.start;
    let wanted = line.trim();
    let skipped =
        node.as_str().unwrap_or_default().lines().take(*number).filter(|earlier| earlier.trim() == wanted).count();
    match source.text[from..].match_indices(wanted).filter(|_| !wanted.is_empty()).nth(skipped) {
        Some((offset, _)) => Span::new(source, from + offset..from + offset + wanted.len()),
        None => node.span.clone(),
    }
}

fn source_name(source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => format!("the file {path}"),
        SecretSource::Env(name) => format!("the variable {name}"),
    }
}

/// The value of a secret. Reasons never hold any of it.
fn secret(line: &SecretLine, environment: &Environment) -> Result<Vec<u8>, String> {
    use std::os::unix::ffi::OsStrExt;
    let mut value = match &line.source {
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
        return Err("it has more than one line, or a NUL in it".to_owned());
    }
    if value.trim_ascii().len() != value.len() {
        return Err("it begins or ends with a blank, which files of variables do not keep".to_owned());
    }
    Ok(value)
}

/// The list of the tree before. What it names is removed when it is not rendered any more, so names that lead out of the
/// directory are none of ours, whoever wrote them.
fn read_manifest(directory: &Path) -> Option<Manifest> {
    let mut manifest: Manifest = serde_json::from_str(&fs::read_to_string(directory.join(MANIFEST)).ok()?).ok()?;
    manifest.files.retain(|path, _| {
        Path::new(path).components().all(|component| matches!(component, std::path::Component::Normal(_)))
    });
    Some(manifest)
}

/// Files that are neither as they were written nor as they are to be.
fn edited(directory: &Path, previous: &Manifest, contents: &[(&File, Vec<u8>)]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (path, listed) in &previous.files {
        let (Some(expected), Ok(bytes)) = (&listed.sha256, fs::read(directory.join(path))) else { continue };
        let wanted = contents.iter().any(|(file, content)| file.path == *path && *content == bytes);
        if hash(&bytes) != *expected && !wanted {
            let diagnostic =
                Diagnostic::error(Code::Edited, format!("{} was edited by hand", directory.join(path).display()));
            found.push(diagnostic.help("move the change into the spec (`raw`), or overwrite it with `--force`"));
        }
    }
    found
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make_directory(path: &Path, mode: u32) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// A file that is written and not yet in its place. It is gone when it is not put there.
struct Staged {
    fresh: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Puts it in place, in one step: the file is whole at any time.
    fn put(self) -> Result<(), (PathBuf, io::Error)> {
        fs::rename(&self.fresh, &self.path).map_err(|error| (self.path.clone(), error))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Where it was put in place there is nothing to remove; otherwise the first error is the one to report.
        let _ = fs::remove_file(&self.fresh);
    }
}

/// Writes a file beside its place, so that a secret is never readable; nothing for one that is as it should be.
fn stage(path: &Path, bytes: &[u8], mode: u32) -> Result<Option<Staged>, (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if let (Ok(metadata), Ok(existing)) = (fs::symlink_metadata(path), fs::read(path))
        && metadata.is_file()
        && existing == bytes
    {
        if metadata.mode() & 0o7777 != mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        return Ok(None);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode & 0o600).open(&fresh).map_err(failed)?;
    let staged = Staged { fresh, path: path.to_owned() };
    file.write_all(bytes).and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode))).map_err(failed)?;
    Ok(Some(staged))
}
