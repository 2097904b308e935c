//! Paths into a tree: `sites.www.tls.cert`, `raw[0].text`, `sites.www.apps./reports.daemon`, or a JSON pointer.

use std::fmt;
use std::str::FromStr;

use super::node::{Node, Value};
use crate::source::Span;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A key of a map.
    Key(String),
    /// An index of a list.
    Index(usize),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Segment {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Where in a tree a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    segments: Vec<Segment>,
}

/// A path that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{path}` is no path: {reason}")]
pub struct ParsePathError {
    path: String,
    reason: &'static str,
}

impl Path {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of keys.
    pub fn of<const N: usize>(keys: [&str; N]) -> Self {
        Self { segments: keys.iter().map(|key| Segment::from(*key)).collect() }
    }

    /// This path with one more step.
    #[must_use]
    pub fn join(&self, segment: impl Into<Segment>) -> Self {
        let mut segments = Vec::with_capacity(self.segments.len() + 1);
        segments.extend_from_slice(&self.segments);
        segments.push(segment.into());
        Self { segments }
    }

    /// The steps.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The path without its last step; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.segments.split_last()?;
        Some(Self { segments: rest.to_vec() })
    }

    /// The last key of the path, if its last step is a key.
    pub fn last_key(&self) -> Option<&str> {
        match self.segments.last()? {
            Segment::Key(key) => Some(key),
            Segment::Index(_) => None,
        }
    }

    /// Reads a JSON pointer (RFC 6901). Digits are an index only where the tree has a list.
    pub fn from_pointer(pointer: &str, root: &Node) -> Result<Self, ParsePathError> {
        if pointer.is_empty() {
            return Ok(Self::root());
        }
        let Some(rest) = pointer.strip_prefix('/') else {
            return Err(ParsePathError { path: pointer.to_owned(), reason: "a JSON pointer begins with `/`" });
        };
        let mut path = Self::root();
        let mut node = Some(root);
        for part in rest.split('/') {
            let key = part.replace("~1", "/").replace("~0", "~");
            let index = key.parse::<usize>().ok().filter(|_| node.is_some_and(|node| node.as_seq().is_some()));
            match index {
                Some(index) => {
                    path.segments.push(Segment::Index(index));
                    node = node.and_then(|node| node.as_seq()?.get(index));
                }
                None => {
                    node = node.and_then(|node| node.get(&key));
                    path.segments.push(Segment::Key(key));
                }
            }
        }
        Ok(path)
    }

    /// The node at this path.
    pub fn find<'a>(&self, root: &'a Node) -> Option<&'a Node> {
        self.segments.iter().try_fold(root, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(index) => node.as_seq()?.get(*index),
        })
    }

    /// Where the value at this path was written. A map or list in block style has no useful extent of its own, so
    /// the key that holds it is meant. Without such a value: the nearest ancestor.
    pub fn span(&self, root: &Node) -> Span {
        let (node, key) = self.nearest(root);
        match (&node.value, key) {
            (Value::Map(_) | Value::Seq(_), Some(key)) => key,
            _ => node.span.clone(),
        }
    }

    /// Where the key of this path was written; the value itself for an item of a list.
    pub fn key_span(&self, root: &Node) -> Span {
        let (node, key) = self.nearest(root);
        key.unwrap_or_else(|| node.span.clone())
    }

    /// The deepest node on the way that exists, and the span of its key.
    fn nearest<'a>(&self, root: &'a Node) -> (&'a Node, Option<Span>) {
        let mut node = root;
        let mut key_span = None;
        for segment in &self.segments {
            match (segment, &node.value) {
                (Segment::Key(key), Value::Map(map)) => match map.entry(key) {
                    Some(entry) => {
                        key_span = Some(entry.key_span.clone());
                        node = &entry.value;
                    }
                    None => break,
                },
                (Segment::Index(index), Value::Seq(items)) => match items.get(*index) {
                    Some(item) => {
                        key_span = match item.value {
                            Value::Map(_) | Value::Seq(_) => Some(first_span(item)),
                            _ => None,
                        };
                        node = item;
                    }
                    None => break,
                },
                _ => break,
            }
        }
        (node, key_span)
    }
}

/// The first key or item inside a container.
pub(super) fn first_span(node: &Node) -> Span {
    match &node.value {
        Value::Map(map) => map.entries.first().map_or_else(|| node.span.clone(), |entry| entry.key_span.clone()),
        Value::Seq(items) => items.first().map_or_else(|| node.span.clone(), first_span),
        _ => node.span.clone(),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    if key.is_empty()
                        || key
                            .chars()
                            .any(|character| matches!(character, '.' | '[' | ']' | '"' | ' ') || character.is_control())
                    {
                        write!(f, "{key:?}")?;
                    } else {
                        f.write_str(key)?;
                    }
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = ParsePathError;

    fn from_str(text: &str) -> Result<Self, ParsePathError> {
        let error = |reason| ParsePathError { path: text.to_owned(), reason };
        let mut path = Self::root();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (index, after) = after.split_once(']').ok_or_else(|| error("`[` without `]`"))?;
                path.segments.push(Segment::Index(index.parse().map_err(|_| error("an index is a number"))?));
                rest = after;
            } else if rest.starts_with('"') {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let key = stream.next().and_then(Result::ok).ok_or_else(|| error("a quoted key does not end"))?;
                rest = &rest[stream.byte_offset()..];
                path.segments.push(Segment::Key(key));
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                if end == 0 {
                    return Err(error("a key is empty"));
                }
                path.segments.push(Segment::Key(rest[..end].to_owned()));
                rest = &rest[end..];
            }
            if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() {
                    return Err(error("it ends with a dot"));
                }
                rest = after;
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_parse_are_inverse() {
        for text in ["sites.www.tls.cert", "raw[0].text", "sites.www.apps./reports.daemon", "hosts[1]", "a.\"b.c\".d"] {
            let path: Path = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        assert!("a..b".parse::<Path>().is_err());
        assert!("a.".parse::<Path>().is_err());
        assert!("a[x]".parse::<Path>().is_err());
    }
}
