//! TOML into the tree.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::LoadError;
use super::node::{Entry, Map, Node, Value};
use crate::source::{Source, Span};

pub(super) fn parse(source: &Arc<Source>) -> Result<Node, LoadError> {
    let table = DeTable::parse(&source.text).map_err(|error| {
        let span = Span::new(source, error.span().unwrap_or(0..0));
        match error.message().contains("duplicate") {
            true => LoadError::duplicate(span.clone().text(), span),
            false => LoadError::syntax(error.message().to_owned(), span),
        }
    })?;
    let span = Span::new(source, table.span());
    Ok(Node::new(map(source, table.get_ref())?, span))
}

fn map(source: &Arc<Source>, table: &DeTable<'_>) -> Result<Value, LoadError> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, item) in table {
        entries.push(Entry {
            key: key.get_ref().to_string(),
            key_span: Span::new(source, key.span()),
            value: value(source, item)?,
        });
    }
    // The crate's table is sorted by name; the order of writing is that of the positions.
    entries.sort_by_key(|entry| entry.key_span.range.start);
    Ok(Value::Map(Map { entries }))
}

fn value(source: &Arc<Source>, item: &Spanned<DeValue<'_>>) -> Result<Node, LoadError> {
    let span = Span::new(source, item.span());
    let value = match item.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Value::Int(integer),
            Err(_) => return Err(LoadError::syntax("the integer is too large", span)),
        },
        DeValue::Float(float) => match float.as_str().parse() {
            Ok(float) => Value::Float(float),
            Err(_) => return Err(LoadError::syntax("this number cannot be read", span)),
        },
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
        DeValue::Array(items) => Value::Seq(items.iter().map(|item| value_of(source, item)).collect::<Result<_, _>>()?),
        DeValue::Table(table) => map(source, table)?,
    };
    Ok(Node::new(value, span))
}

fn value_of(source: &Arc<Source>, item: &Spanned<DeValue<'_>>) -> Result<Node, LoadError> {
    value(source, item)
}

#[cfg(test)]
mod tests {
    use crate::document::{Document, Format, Path};

    #[test]
    fn the_same_tree_as_yaml_with_positions() {
        let text = "z = 1\n[a.b]\nc = \"x\"\nlist = [1, 2]\n";
        let document = Document::parse("f.toml", text, Format::Toml).unwrap();
        assert_eq!(document.root.to_json(), serde_json::json!({"z": 1, "a": {"b": {"c": "x", "list": [1, 2]}}}));
        let span = "a.b.c".parse::<Path>().unwrap().span(&document.root);
        assert_eq!((span.to_string().as_str(), span.text()), ("f.toml:3:5", "\"x\""));
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        let error = Document::parse("f.toml", "a = 1\na = 2\n", Format::Toml).unwrap_err();
        assert_eq!(error.span.line_column().0, 2);
    }
}
