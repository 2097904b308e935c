//! Reading a spec and the facts that it is rendered for.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path as FsPath, PathBuf};

use clap::Args;

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Document, Entry, Format, Map, Node, Path, Segment, Source, Span, Value, merge_patch};
use crate::facts::{Facts, ProbeOptions};
use crate::spec::{Draft, Spec, relative};

/// A spec and what is changed in it.
#[derive(Debug, Args)]
pub(super) struct SpecArgs {
    /// The spec: YAML, TOML or JSON by its ending; `-` is standard input (YAML or JSON).
    #[arg(value_name = "SPEC")]
    pub(super) spec: PathBuf,
    /// Apply a profile of the spec; several are applied in order.
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Vec<String>,
    /// Set a key, for example `server.listen.http=8080`. The value is read as YAML; `null` removes the key.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// The machine that is rendered for.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Facts of a machine, as `confgen facts` prints them, in place of looking at this one.
    #[arg(long, value_name = "FILE")]
    pub(super) facts: Option<PathBuf>,
    /// The httpd to use.
    #[arg(long, value_name = "PATH", conflicts_with = "facts")]
    pub(super) httpd: Option<PathBuf>,
}

impl SpecArgs {
    /// Reads the spec; mistakes in it are reported when it is rendered, together with what is found then.
    pub(super) fn load(&self) -> Result<Draft, Failure> {
        let (name, text) = read(&self.spec)?;
        let document =
            Document::parse(&name, text, Format::of(&name)).map_err(|error| Failure::new(Exit::Spec, error.into()))?;
        let mut root = document.root;
        ensure_spec(&name, &root)?;
        for profile in &self.profile {
            root = Spec::with_profile(root, profile).map_err(|error| Failure::new(Exit::Spec, *error))?;
        }
        for setting in &self.set {
            root = merge_patch(root, &patch(setting)?);
        }
        ensure_site(&name, &root)?;
        let root = relative::resolved(root, |source| self.folder_of(source));
        let mut draft = Draft::new(root);
        draft.errors.splice(..0, without_schema(&name, &draft.spec.root));
        Ok(draft)
    }

    /// Where relative paths of a source begin: at the folder of the spec's file; those of `--set` at the working directory.
    fn folder_of(&self, source: &str) -> Option<PathBuf> {
        if source == SET {
            return std::env::current_dir().ok();
        }
        // Standard input is in no folder.
        let file = Some(&self.spec).filter(|spec| spec.as_os_str() != "-")?;
        Some(std::path::absolute(file).ok()?.parent()?.to_owned())
    }
}

/// What errors call the value of `--set`.
const SET: &str = "<--set>";

/// A file that is empty, or is something else, must not be taken for the spec of a server that does nothing.
fn ensure_spec(name: &str, root: &Node) -> Result<(), Failure> {
    let refuse = |message: String| {
        let help = "a spec begins with `schema: confgen/1`";
        Err(Failure::new(Exit::Spec, Diagnostic::error(Code::EmptySpec, message).help(help)))
    };
    match &root.value {
        Value::Null => refuse(format!("{name} is empty")),
        Value::Map(map) if map.entries.is_empty() => refuse(format!("{name} is empty")),
        _ => Ok(()),
    }
}

/// A document that does not say which format it has may have another one.
fn without_schema(name: &str, root: &Node) -> Option<Diagnostic> {
    let first = root.as_map().filter(|_| root.get("schema").is_none())?.entries.first()?;
    let diagnostic = Diagnostic::error(Code::EmptySpec, format!("{name} has no `schema`"));
    Some(diagnostic.at(first.key_span.clone(), "").help("a spec begins with `schema: confgen/1`"))
}

/// A spec that serves nothing is a mistake, or what was left of one by a profile.
fn ensure_site(name: &str, root: &Node) -> Result<(), Failure> {
    let filled = |key: &str| {
        root.get(key).is_some_and(|node| match &node.value {
            Value::Null => false,
            Value::Map(map) => !map.entries.is_empty(),
            Value::Seq(items) => !items.is_empty(),
            // Of another type: that is reported with the other mistakes.
            _ => true,
        })
    };
    if root.as_map().is_none() || filled("sites") || filled("raw") {
        return Ok(());
    }
    let diagnostic = Diagnostic::error(Code::EmptySpec, format!("{name} has no site: the server would serve nothing"));
    let help = "add one: `sites: {www: {apps: {/: {script: /srv/app.wsgi}}}}`";
    Err(Failure::new(Exit::Spec, diagnostic.at(root.span.clone(), "").help(help)))
}

/// A pipe with a name may never get a writer. Those that a shell makes (`/dev/fd/63`) have one.
fn refuse_pipe(path: &FsPath) -> Result<(), Failure> {
    let of_shell = path.starts_with("/dev") || path.starts_with("/proc");
    if of_shell || !fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Ok(());
    }
    let message = format!("{} is a pipe, to which nobody may ever write", path.display());
    let help = format!("let the shell open it: `confgen … - < {}`", path.display());
    Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Form, message).help(help)))
}

/// The longest spec that is read, in bytes. A device such as `/dev/zero` never ends.
const LONGEST_SPEC: u64 = 16 * 1024 * 1024;

fn read(path: &FsPath) -> Result<(String, String), Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        let bytes = bounded(std::io::stdin().lock())
            .map_err(|error| Failure::io("read", FsPath::new("standard input"), &error))?;
        ("<stdin>".to_owned(), bytes)
    } else {
        refuse_pipe(path)?;
        let bytes = fs::File::open(path).and_then(bounded).map_err(|error| Failure::io("read", path, &error))?;
        (path.display().to_string(), bytes)
    };
    if bytes.len() as u64 > LONGEST_SPEC {
        let message = format!("{name} is larger than 16 MiB, the limit for a spec");
        let help = "name the YAML, TOML or JSON file that holds the spec";
        return Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Range, message).help(help)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("{name} is not UTF-8 text: line {line} has other bytes");
        Failure::new(Exit::Spec, Diagnostic::error(Code::Syntax, message).help("save it as UTF-8"))
    })?;
    Ok((name, text))
}

/// Reads up to one byte more than the limit, which shows that the input is too long.
fn bounded(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LONGEST_SPEC + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `KEY=VALUE` as a merge patch whose places are on the command line.
fn patch(setting: &str) -> Result<Node, Failure> {
    let source = Source::new(SET, setting);
    let whole = Span::whole(&source);
    let wrong =
        |message: String| Failure::new(Exit::Spec, Diagnostic::error(Code::Form, message).at(whole.clone(), ""));
    let Some((key, value)) = setting.split_once('=') else {
        return Err(wrong("`--set` needs KEY=VALUE".to_owned()));
    };
    let path: Path = key.parse().map_err(|error: crate::document::ParsePathError| wrong(error.to_string()))?;
    let value_span = Span::new(&source, key.len() + 1..setting.len());
    let mut node = match Document::parse(SET, value, Format::Yaml) {
        _ if value.is_empty() => Node::new(Value::String(String::new()), value_span.clone()),
        Ok(document) => moved(document.root, &value_span),
        Err(error) => return Err(wrong(error.message)),
    };
    for segment in path.segments().iter().rev() {
        let Segment::Key(key) = segment else {
            return Err(wrong("`--set` sets keys of maps; a list is set as a whole".to_owned()));
        };
        let entry =
            Entry { key: key.clone(), key_span: Span::new(&source, 0..setting.find('=').unwrap_or(0)), value: node };
        node = Node::new(Value::Map(Map { entries: vec![entry] }), whole.clone());
    }
    Ok(node)
}

/// The same value, with every place within the setting.
fn moved(node: Node, to: &Span) -> Node {
    let place = |span: &Span| Span::new(&to.source, to.range.start + span.range.start..to.range.start + span.range.end);
    let span = place(&node.span);
    let value = match node.value {
        Value::Seq(items) => Value::Seq(items.into_iter().map(|item| moved(item, to)).collect()),
        Value::Map(map) => Value::Map(Map {
            entries: map
                .entries
                .into_iter()
                .map(|entry| Entry { key_span: place(&entry.key_span), key: entry.key, value: moved(entry.value, to) })
                .collect(),
        }),
        scalar => scalar,
    };
    Node::new(value, span)
}

impl MachineArgs {
    /// Reads the facts, or looks at this machine.
    pub(super) fn load(&self, context: &Context<'_>) -> Result<Facts, Failure> {
        match &self.facts {
            Some(file) => {
                let (name, text) = read(file)?;
                Facts::parse(&name, text).map_err(|error| Failure::new(Exit::Spec, *error))
            }
            None => self.probe(context),
        }
    }

    /// Looks at this machine.
    pub(super) fn probe(&self, context: &Context<'_>) -> Result<Facts, Failure> {
        let mut options = ProbeOptions::from_environment(context.environment);
        options.httpd.clone_from(&self.httpd);
        Facts::probe(&options).map_err(|error| Failure::new(Exit::Environment, error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_patches() {
        assert_eq!(
            patch("server.listen.http=8080").unwrap().to_json(),
            serde_json::json!({"server": {"listen": {"http": 8080}}})
        );
        assert_eq!(patch("a=").unwrap().to_json(), serde_json::json!({"a": ""}));
        assert_eq!(patch("a={b: [1, x]}").unwrap().to_json(), serde_json::json!({"a": {"b": [1, "x"]}}));
        let span = Path::of(["a", "b"]).span(&patch("a={b: xyz}").unwrap());
        assert_eq!(span.text(), "xyz");
        for wrong in ["a", "a[0]=1", "a..b=1", "a={b"] {
            assert!(patch(wrong).is_err(), "{wrong}");
        }
    }
}
