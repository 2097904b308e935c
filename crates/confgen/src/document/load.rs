//! Reading a document in one of three formats.

use std::sync::Arc;

use super::node::Node;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{Source, Span};

/// The formats that a document may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// TOML 1.1.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// The endings of names of specs.
    pub const ENDINGS: [&'static str; 4] = ["yaml", "yml", "toml", "json"];

    /// The format that a file name's ending says; YAML when it says nothing.
    pub fn of(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("toml") => Self::Toml,
            Some("json") => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// A document: its text and the tree that it holds.
#[derive(Clone, Debug)]
pub struct Document {
    /// The text with the name that errors call it.
    pub source: Arc<Source>,
    /// The value tree.
    pub root: Node,
}

/// Why a text could not be read into a tree.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// What is wrong.
    pub message: String,
    /// Which kind of mistake it is.
    pub code: Code,
    /// Where.
    pub span: Span,
    /// A fact that helps to understand it.
    pub note: Option<String>,
    /// What to do.
    pub help: Option<&'static str>,
}

impl LoadError {
    pub(super) fn syntax(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), code: Code::Syntax, span, note: None, help: None }
    }

    pub(super) fn duplicate(key: &str, span: Span) -> Self {
        let message = format!("the key `{key}` is given twice");
        Self { message, code: Code::DuplicateKey, span, note: None, help: None }
    }
}

impl From<LoadError> for Diagnostic {
    fn from(error: LoadError) -> Self {
        let mut diagnostic = Self::error(error.code, error.message).at(error.span, "");
        diagnostic.notes.extend(error.note);
        diagnostic.help.extend(error.help.map(str::to_owned));
        diagnostic
    }
}

impl Document {
    /// Reads a text. `name` is what errors call it.
    ///
    /// # Errors
    /// When the text is not well-formed or a key stands twice in a map.
    pub fn parse(name: impl Into<String>, text: impl Into<String>, format: Format) -> Result<Self, LoadError> {
        let source = Source::new(name, text);
        let root = match format {
            Format::Yaml => super::yaml::parse(&source)?,
            Format::Toml => super::toml::parse(&source)?,
            Format::Json => super::json::parse(&source)?,
        };
        Ok(Self { source, root })
    }

    /// The name that errors call this document.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// A document that a program made, such as the short form of a command line; errors show `name` and the value as JSON.
    pub fn from_json(name: impl Into<String>, json: &serde_json::Value) -> Self {
        let text = serde_json::to_string_pretty(json).unwrap_or_default();
        let source = Source::new(name, text);
        let root = super::json::parse(&source).unwrap_or_else(|_| Node::from_json(json, &Span::whole(&source)));
        Self { source, root }
    }
}
