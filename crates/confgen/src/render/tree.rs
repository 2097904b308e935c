//! A rendered tree: files with their modes, and for each line the key that it was made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{self, Node, Segment, Span};
use crate::httpd::Complaint;
use crate::spec::{SecretSource, SecretTime};

/// The name of the script that starts and stops the server of a tree.
pub(super) const CTL: &str = "ctl";

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
    /// Whether everybody may read the logs.
    pub(super) world_readable_logs: bool,
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
    /// Whether connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
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
    /// `NAME=VALUE` lines whose values are never shown.
    Secrets {
        /// The lines.
        lines: Vec<SecretLine>,
        /// When the values are taken.
        at: SecretTime,
    },
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
            Content::Secrets { .. } => None,
        }
    }

    /// Everything as one text, for standard output; secrets are named and not shown.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // How it is started depends on where it stands: that is written with the tree, and not printed.
        let shown: Vec<&File> = self.files.iter().filter(|file| file.path != CTL).collect();
        for file in &shown {
            if shown.len() > 1 {
                if !text.is_empty() {
                    text.push('\n');
                }
                text += &format!("#### {} (mode {:04o})\n", file.path, file.mode);
            }
            match &file.content {
                Content::Text { text: content, .. } => text += content,
                Content::Secrets { lines, at } => {
                    let when = match at {
                        SecretTime::Render => "the tree is written",
                        SecretTime::Start => "the server starts",
                    };
                    for line in lines {
                        text += &format!("# {} is taken from {} when {when}\n", line.name, source_name(&line.source));
                    }
                }
            }
        }
        text
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

    /// The key that a line (from 1) of a file was made from, and its place. Of several keys it is the one whose value a text
    /// holds.
    pub fn key_of_line(&self, file: &str, line: usize, text: &str) -> Option<(document::Path, Span)> {
        let keys = self.keys_of_line(file, line);
        let key = likely(&keys, text, &self.root)?;
        Some((key.clone(), span(&self.root, key)))
    }

    /// The place of a key in the spec.
    pub fn place_of(&self, key: &document::Path) -> Span {
        span(&self.root, key)
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
