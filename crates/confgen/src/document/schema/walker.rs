//! The walk over a tree along its schema, and what is said of a value that does not fit.

use serde_json::Value as Json;

use super::super::node::{Entry, Node, Value};
use super::super::path::{Path, first_span};
use super::super::vocabulary::{list, type_is, words_of};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

/// A node with the key that holds it.
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) key: Option<&'a Span>,
    pub(super) path: Path,
}

impl Place<'_> {
    pub(super) fn span(&self) -> Span {
        match (&self.node.value, self.key) {
            (Value::Map(_) | Value::Seq(_), Some(key)) => key.clone(),
            (Value::Map(_) | Value::Seq(_), None) => first_span(self.node),
            _ => self.node.span.clone(),
        }
    }

    pub(super) fn name(&self) -> String {
        match self.path.segments().is_empty() {
            true => "the document".to_owned(),
            false => format!("`{}`", self.path),
        }
    }
}

pub(super) struct Walker<'s> {
    pub(super) root: &'s Json,
    pub(super) found: Vec<(Path, Diagnostic)>,
}

impl<'s> Walker<'s> {
    pub(super) fn report(&mut self, path: &Path, diagnostic: Diagnostic) {
        self.found.push((path.clone(), diagnostic));
    }

    pub(super) fn visit(&mut self, schema: &'s Json, place: &Place<'_>) {
        let schema = self.resolve(schema);
        if let Some(reason) = schema.get("x-not-supported").and_then(Json::as_str) {
            if !place.node.is_null() {
                let diagnostic =
                    Diagnostic::error(Code::NotSupported, format!("{} is known, not supported yet", place.name()));
                self.report(
                    &place.path,
                    diagnostic.at(place.key.cloned().unwrap_or_else(|| place.span()), "").note(reason),
                );
            }
            return;
        }
        let branches = self.branches(schema);
        if !branches.is_empty() {
            self.visit_branches(schema, &branches, place);
        }
        for part in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.visit(part, place);
        }
        // With alternatives it is they that say the type, unless the schema names one of its own.
        if (branches.is_empty() || schema.get("type").is_some()) && !self.type_fits(schema, place.node) {
            self.wrong_type(schema, place);
            return;
        }
        self.visit_scalar(schema, place);
        match &place.node.value {
            Value::Map(_) => self.visit_map(schema, place),
            Value::Seq(_) => self.visit_list(schema, place),
            _ => {}
        }
    }

    /// Follows `$ref`.
    pub(super) fn resolve(&self, schema: &'s Json) -> &'s Json {
        let mut schema = schema;
        for _ in 0..32 {
            let Some(reference) = schema.get("$ref").and_then(Json::as_str) else { break };
            let Some(target) = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                break;
            };
            schema = target;
        }
        schema
    }

    pub(super) fn type_fits(&self, schema: &'s Json, node: &Node) -> bool {
        match schema.get("type") {
            Some(Json::String(name)) => type_is(name, node),
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).any(|name| type_is(name, node)),
            _ => match schema {
                Json::Bool(allowed) => *allowed,
                _ => {
                    let branches = self.branches(schema);
                    branches.is_empty() || branches.iter().any(|branch| self.type_fits(branch, node))
                }
            },
        }
    }

    pub(super) fn wrong_type(&mut self, schema: &'s Json, place: &Place<'_>) {
        let expected = self.expected(schema);
        let diagnostic = Diagnostic::error(
            Code::Type,
            format!("{} is {}, expected {expected}", place.name(), place.node.type_name()),
        );
        let mut diagnostic = diagnostic.at(place.span(), format!("expected {expected}"));
        if let Some(help) = schema.get("x-help").and_then(Json::as_str) {
            diagnostic = diagnostic.help(help);
        }
        self.report(&place.path, diagnostic);
    }

    /// What a schema takes, in words.
    pub(super) fn expected(&self, schema: &'s Json) -> String {
        let schema = self.resolve(schema);
        if let Some(text) = schema.get("x-expected").and_then(Json::as_str) {
            return text.to_owned();
        }
        if let Some(words) = words_of(schema) {
            return list(&words);
        }
        let named = |name: &str| match name {
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a map",
            _ => "null",
        };
        match schema.get("type") {
            Some(Json::String(name)) => return named(name).to_owned(),
            Some(Json::Array(names)) => {
                let names: Vec<_> =
                    names.iter().filter_map(Json::as_str).filter(|name| *name != "null").map(named).collect();
                return names.join(" or ");
            }
            _ => {}
        }
        let mut parts: Vec<String> = Vec::new();
        for branch in self.branches(schema) {
            let part = self.expected(branch);
            if part != "null" && !parts.contains(&part) {
                parts.push(part);
            }
        }
        match parts.is_empty() {
            true => "another value".to_owned(),
            false => parts.join(" or "),
        }
    }

    pub(super) fn unknown_word(&mut self, written: &str, words: &[&str], place: &Place<'_>) {
        let diagnostic = Diagnostic::error(Code::UnknownValue, format!("`{written}` is no value of {}", place.name()));
        self.report(
            &place.path,
            diagnostic
                .at(place.span(), format!("expected {}", list(words)))
                .did_you_mean(written, words.iter().copied()),
        );
    }

    pub(super) fn unknown_key(&mut self, entry: &Entry, known: &[&str], place: &Place<'_>) {
        let diagnostic =
            Diagnostic::error(Code::UnknownKey, format!("unknown key `{}` in {}", entry.key, place.name()))
                .at(entry.key_span.clone(), "not known here");
        let suggested = diagnostic.clone().did_you_mean(&entry.key, known.iter().copied());
        self.report(
            &place.path.join(entry.key.as_str()),
            match suggested.help.is_empty() && !known.is_empty() {
                true => diagnostic.help(format!("known keys: {}", known.join(", "))),
                false => suggested,
            },
        );
    }
}
