//! The only module that knows the YAML crate.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

use super::load::LoadError;
use super::node::{Entry, Map, Node, Value};
use crate::source::{Source, Span};

pub(super) fn parse(source: &Arc<Source>) -> Result<Node, LoadError> {
    let options = serde_yaml::options! {
        with_snippet: false,
        strict_booleans: true,
    };
    if source.text.trim().is_empty() {
        return Ok(Node::new(Value::Map(Map::default()), Span::new(source, 0..0)));
    }
    let raw: Raw = serde_yaml::from_str_with_options(&source.text, options).map_err(|error| {
        let span = error.location().map_or_else(|| Span::new(source, 0..0), |location| span(source, &location));
        explained(&first_line(&error.without_snippet().to_string()), span)
    })?;
    Ok(raw.into_node(source))
}

/// What the library says of mistakes that people make, with our words and what to do.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "multiple yaml documents",
        "there is more than one document in the file",
        "keep one, and put each of the others into a file of its own",
    ),
    ("recursive reference", "an alias stands inside the value that it stands for", "write the value out"),
    ("unknown anchor", "there is no anchor of this name before the alias", "`&NAME` in front of a value makes one"),
    ("tabs disallowed", "a tab cannot indent", "use blanks"),
    ("merge value must be", "`<<` takes a map, or a list of maps", "name an anchor of a map: `<<: *NAME`"),
    (TOO_MANY, "the document has too many values", "those behind an alias count each time that it is used"),
    (OWN_TOO_LARGE, "the integer is too large", "quote it to have text"),
];

/// A mistake in our own words.
fn explained(message: &str, span: Span) -> LoadError {
    let lower = message.to_ascii_lowercase();
    if lower.contains("duplicate") {
        return LoadError::duplicate(span.clone().text(), span);
    }
    match MISTAKES.iter().find(|(said, ..)| lower.contains(said)) {
        Some((_, ours, help)) => LoadError { help: Some(help), ..LoadError::syntax(*ours, span) },
        None => LoadError {
            note: Some(format!("the reader says: {message}")),
            ..LoadError::syntax("this is no well-formed YAML", span)
        },
    }
}

/// What [`RawVisitor`] says of an integer that is too large.
const OWN_TOO_LARGE: &str = "the integer is too large";

/// What the library says when a document, with its aliases followed, has more values than anybody writes.
const TOO_MANY: &str = "budget breached";

/// The library adds the position and advice in further lines; the position is shown by the caret already.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.split_once(" at line ").map_or(line, |(before, _)| before);
    line.trim_start_matches("error: ").to_owned()
}

fn span(source: &Arc<Source>, location: &Location) -> Span {
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(length)) => {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let length = usize::try_from(length).unwrap_or(0);
            Span::new(source, start..start.saturating_add(length))
        }
        _ => {
            let line = usize::try_from(location.line()).unwrap_or(1).max(1);
            let column = usize::try_from(location.column()).unwrap_or(1).max(1);
            let start: usize = source.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
            let start = start + source.text[start..].chars().take(column - 1).map(char::len_utf8).sum::<usize>();
            Span::new(source, start..start + 1)
        }
    }
}

struct Raw(Spanned<RawValue>);

enum RawValue {
    Scalar(Value),
    Seq(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        deserializer.deserialize_any(Self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Int(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<RawValue, E> {
        i64::try_from(value).map(|value| RawValue::Scalar(Value::Int(value))).map_err(|_| E::custom(OWN_TOO_LARGE))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawValue::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut entries: Vec<(Spanned<String>, Raw)> = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            if entries.iter().any(|(existing, _)| existing.value == key.value) {
                return Err(A::Error::custom(format!("duplicate mapping key {}", key.value)));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(RawValue::Map(entries))
    }
}

impl Raw {
    fn into_node(self, source: &Arc<Source>) -> Node {
        let span = span(source, &self.0.referenced);
        let value = match self.0.value {
            RawValue::Scalar(value) => value,
            RawValue::Seq(items) => Value::Seq(items.into_iter().map(|item| item.into_node(source)).collect()),
            RawValue::Map(entries) => Value::Map(Map {
                entries: entries
                    .into_iter()
                    .map(|(key, value)| {
                        let key_span = self::span(source, &key.referenced);
                        Entry { key: key.value, key_span, value: value.into_node(source) }
                    })
                    .collect(),
            }),
        };
        Node::new(value, span)
    }
}

#[cfg(test)]
mod tests {
    use crate::document::{Document, Format, Path};

    fn span(text: &str, path: &str) -> String {
        let document = Document::parse("f", text, Format::Yaml).unwrap();
        let span = path.parse::<Path>().unwrap().span(&document.root);
        format!("{span} {:?}", span.text())
    }

    #[test]
    fn spans_of_scalars_and_keys() {
        let text = "a: 1\nb:\n  ünï: \"x y\"\n  list: [p, 'q']\n";
        assert_eq!(span(text, "a"), "f:1:4 \"1\"");
        assert_eq!(span(text, "b.ünï"), "f:3:8 \"\\\"x y\\\"\"");
        assert_eq!(span(text, "b.list[1]"), "f:4:13 \"'q'\"");
        assert_eq!(span(text, "b.list"), "f:4:3 \"list\"");
        assert_eq!(span(text, "b"), "f:2:1 \"b\"");
    }

    #[test]
    fn keys_stay_text_and_scalars_get_their_type() {
        let document = Document::parse("f", "on: yes\n1: 0x10\n/: ~\nt: true\nf: 1.5\ns: '1'\n", Format::Yaml).unwrap();
        assert_eq!(
            document.root.to_json(),
            serde_json::json!({"on": "yes", "1": 16, "/": null, "t": true, "f": 1.5, "s": "1"})
        );
    }

    #[test]
    fn a_duplicate_key_is_an_error_with_its_place() {
        let error = Document::parse("f", "a: 1\nb: 2\na: 3\n", Format::Yaml).unwrap_err();
        assert_eq!(error.span.to_string(), "f:3:1");
        assert!(error.message.contains("`a`"), "{}", error.message);
    }

    #[test]
    fn aliases_of_aliases_end_with_a_message() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (one, other) in "abcdefg".chars().zip("bcdefgh".chars()) {
            text += &format!("{other}: &{other} [{}]\n", vec![format!("*{one}"); 10].join(", "));
        }
        let error = Document::parse("f", text, Format::Yaml).unwrap_err();
        assert!(error.message.starts_with("the document has too many values"), "{}", error.message);
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = Document::parse("f", "a: [1, 2\nb: 3\n", Format::Yaml).unwrap_err();
        assert!(error.span.line_column().0 >= 1);
        assert!(!error.message.is_empty());
    }
}
