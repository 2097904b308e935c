//! The words of JSON Schema: what a schema says about types, keys, enumerations and patterns.

use std::sync::OnceLock;

use serde_json::Value as Json;

use super::node::{Node, Value};

pub(super) fn type_is(name: &str, node: &Node) -> bool {
    matches!(
        (name, &node.value),
        ("null", Value::Null)
            | ("boolean", Value::Bool(_))
            | ("integer", Value::Int(_))
            | ("number", Value::Int(_) | Value::Float(_))
            | ("string", Value::String(_))
            | ("array", Value::Seq(_))
            | ("object", Value::Map(_))
    )
}

pub(super) fn required(schema: &Json) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

pub(super) fn property_names(schema: &Json) -> impl Iterator<Item = &str> {
    schema.get("properties").and_then(Json::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
}

/// The words of an enumeration, if the schema is one.
pub(super) fn words_of(schema: &Json) -> Option<Vec<&str>> {
    if let Some(Json::Array(values)) = schema.get("enum") {
        return Some(values.iter().filter_map(Json::as_str).collect());
    }
    schema.get("const").and_then(Json::as_str).map(|word| vec![word])
}

pub(super) fn words(schema: &Json) -> Vec<&str> {
    words_of(schema).unwrap_or_default()
}

pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [rest @ .., last] => {
            let rest: Vec<_> = rest.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", rest.join(", "))
        }
    }
}

/// Whether a text matches a pattern of a schema. Patterns are few and constant; each is compiled once per process.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};
    static COMPILED: OnceLock<Mutex<BTreeMap<String, Option<regex_lite::Regex>>>> = OnceLock::new();
    let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| regex_lite::Regex::new(pattern).ok());
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}
