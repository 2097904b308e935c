//! What a schema says of a value itself: its words, range and form, the keys of a map, the items of a list.

use serde_json::Value as Json;

use super::super::node::{Entry, Value};
use super::super::vocabulary::{matches, property_names, required, words_of};
use super::walker::{Place, Walker};
use crate::diagnostic::{Code, Diagnostic};

impl<'s> Walker<'s> {
    pub(super) fn visit_scalar(&mut self, schema: &'s Json, place: &Place<'_>) {
        if let Some(words) = words_of(schema)
            && let Some(text) = place.node.as_str()
        {
            if !words.contains(&text) {
                self.unknown_word(text, &words, place);
            }
            return;
        }
        if let Some(constant) = schema.get("const")
            && *constant != place.node.to_json()
        {
            self.report(
                &place.path,
                Diagnostic::error(Code::UnknownValue, format!("{} has to be {constant}", place.name()))
                    .at(place.span(), ""),
            );
        }
        let number = match place.node.value {
            #[expect(clippy::cast_precision_loss, reason = "limits in schemas are far below 2^53")]
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            _ => None,
        };
        if let Some(number) = number {
            self.visit_number(schema, number, place);
        }
        if let Some(text) = place.node.as_str() {
            self.visit_text(schema, text, place);
        }
    }

    pub(super) fn visit_number(&mut self, schema: &'s Json, number: f64, place: &Place<'_>) {
        let bound = |keyword: &str| schema.get(keyword).and_then(Json::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        let below = low.is_some_and(|low| number < low) || bound("exclusiveMinimum").is_some_and(|low| number <= low);
        let above =
            high.is_some_and(|high| number > high) || bound("exclusiveMaximum").is_some_and(|high| number >= high);
        if below || above {
            let range = match (low, high) {
                (Some(low), Some(high)) => format!("expected {low} to {high}"),
                (Some(low), None) => format!("expected {low} or more"),
                (None, Some(high)) => format!("expected at most {high}"),
                (None, None) => "out of range".to_owned(),
            };
            let diagnostic = Diagnostic::error(Code::Range, format!("{} is out of range: {number}", place.name()));
            self.report(&place.path, diagnostic.at(place.span(), range));
        }
    }

    pub(super) fn visit_text(&mut self, schema: &'s Json, text: &str, place: &Place<'_>) {
        let length = text.chars().count() as u64;
        let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_u64);
        let short = limit("minLength").is_some_and(|least| length < least);
        let long = limit("maxLength").is_some_and(|most| length > most);
        let form = schema.get("pattern").and_then(Json::as_str).is_some_and(|pattern| !matches(pattern, text));
        if !(short || long || form) {
            return;
        }
        self.wrong_form(schema, text, place);
    }

    pub(super) fn wrong_form(&mut self, schema: &'s Json, text: &str, place: &Place<'_>) {
        let length = text.chars().count() as u64;
        let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_u64);
        let short = limit("minLength").is_some_and(|least| length < least);
        let long = limit("maxLength").is_some_and(|most| length > most);
        let expected = match schema.get("x-expected").and_then(Json::as_str) {
            Some(expected) => format!("expected {expected}"),
            None if short && length == 0 => "empty".to_owned(),
            None if short => "too short".to_owned(),
            None if long => "too long".to_owned(),
            None => {
                format!("expected text like /{}/", schema.get("pattern").and_then(Json::as_str).unwrap_or_default())
            }
        };
        let mut diagnostic =
            Diagnostic::error(Code::Form, format!("{} does not have the right form: {text:?}", place.name()))
                .at(place.span(), expected);
        if let Some(help) = schema.get("x-help").and_then(Json::as_str) {
            diagnostic = diagnostic.help(help);
        }
        self.report(&place.path, diagnostic);
    }

    pub(super) fn visit_map(&mut self, schema: &'s Json, place: &Place<'_>) {
        let Some(map) = place.node.as_map() else { return };
        let properties = schema.get("properties").and_then(Json::as_object);
        let additional = schema.get("additionalProperties");
        for entry in &map.entries {
            let inner =
                Place { node: &entry.value, key: Some(&entry.key_span), path: place.path.join(entry.key.as_str()) };
            let patterned: Vec<&Json> = schema
                .get("patternProperties")
                .and_then(Json::as_object)
                .into_iter()
                .flatten()
                .filter(|(pattern, _)| matches(pattern, &entry.key))
                .map(|(_, schema)| schema)
                .collect();
            if let Some(property) = properties.and_then(|properties| properties.get(&entry.key)) {
                self.visit(property, &inner);
            } else if !patterned.is_empty() {
                for schema in patterned {
                    self.visit(schema, &inner);
                }
            } else if additional == Some(&Json::Bool(false)) {
                match schema
                    .get("patternProperties")
                    .and_then(Json::as_object)
                    .filter(|_| properties.is_none_or(serde_json::Map::is_empty))
                {
                    Some(patterns) => self.wrong_key(entry, patterns.keys().next().map(String::as_str), schema, place),
                    None => {
                        let known: Vec<&str> = property_names(schema).collect();
                        self.unknown_key(entry, &known, place);
                    }
                }
            } else if let Some(additional @ Json::Object(_)) = additional {
                self.visit(additional, &inner);
            }
            if let Some(names) = schema.get("propertyNames").map(|names| self.resolve(names)) {
                let fits =
                    names.get("pattern").and_then(Json::as_str).is_none_or(|pattern| matches(pattern, &entry.key));
                let short = names
                    .get("minLength")
                    .and_then(Json::as_u64)
                    .is_some_and(|least| (entry.key.chars().count() as u64) < least);
                if !fits || short {
                    self.wrong_key(entry, names.get("pattern").and_then(Json::as_str), names, place);
                }
                if let Some(words) = words_of(names)
                    && !words.contains(&entry.key.as_str())
                {
                    self.unknown_key(entry, &words, place);
                }
            }
        }
        for key in required(schema).filter(|key| map.entry(key).is_none()) {
            let diagnostic = Diagnostic::error(Code::Missing, format!("`{key}` is missing in {}", place.name()));
            self.report(
                &place.path,
                diagnostic.at(place.span(), format!("needs `{key}`")).help(format!("add `{key}`")),
            );
        }
        let least = schema.get("minProperties").and_then(Json::as_u64).unwrap_or(0);
        if (map.entries.len() as u64) < least {
            self.report(
                &place.path,
                Diagnostic::error(Code::Missing, format!("{} is empty", place.name())).at(place.span(), ""),
            );
        }
    }

    pub(super) fn wrong_key(&mut self, entry: &Entry, pattern: Option<&str>, schema: &Json, place: &Place<'_>) {
        let expected = schema.get("x-expected").and_then(Json::as_str).map(str::to_owned);
        let expected = expected.unwrap_or_else(|| format!("text like /{}/", pattern.unwrap_or_default()));
        let diagnostic = Diagnostic::error(Code::Form, format!("{:?} cannot be a key of {}", entry.key, place.name()));
        self.report(
            &place.path.join(entry.key.as_str()),
            diagnostic.at(entry.key_span.clone(), format!("expected {expected}")),
        );
    }

    pub(super) fn visit_list(&mut self, schema: &'s Json, place: &Place<'_>) {
        let Some(items) = place.node.as_seq() else { return };
        let prefix = schema.get("prefixItems").and_then(Json::as_array);
        for (index, item) in items.iter().enumerate() {
            let inner = Place { node: item, key: None, path: place.path.join(index) };
            match prefix.and_then(|prefix| prefix.get(index)).or_else(|| schema.get("items")) {
                Some(Json::Bool(true)) | None => {}
                Some(schema) => self.visit(schema, &inner),
            }
        }
        let count = items.len() as u64;
        let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_u64);
        if limit("minItems").is_some_and(|least| count < least) {
            self.report(
                &place.path,
                Diagnostic::error(Code::Missing, format!("{} has too few items", place.name())).at(place.span(), ""),
            );
        }
        if limit("maxItems").is_some_and(|most| count > most) {
            self.report(
                &place.path,
                Diagnostic::error(Code::Range, format!("{} has too many items", place.name())).at(place.span(), ""),
            );
        }
        if schema.get("uniqueItems") == Some(&Json::Bool(true)) {
            for (index, item) in items.iter().enumerate() {
                if let Some(first) = items[..index].iter().find(|earlier| earlier.to_json() == item.to_json()) {
                    let diagnostic =
                        Diagnostic::error(Code::Conflict, format!("{} has the same item twice", place.name()));
                    self.report(
                        &place.path.join(index),
                        diagnostic.at(item.span.clone(), "again").at(first.span.clone(), "first here"),
                    );
                }
            }
        }
    }
}
