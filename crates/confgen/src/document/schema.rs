//! Checking a tree against the JSON Schema of a type: every mistake at once, each with its place and, for a name that
//! is nearly right, the name that was probably meant.
//!
//! The walker knows the part of JSON Schema that schemars writes. Types with a text form of their own (a duration, a
//! size) describe it with `pattern` and say in `x-expected` what an error message calls it; `x-help` adds advice, and a
//! schema with `x-not-supported` refuses its value by name.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::node::{Entry, Node, Span, Value};
use super::path::{Path, first_span};
use super::vocabulary::{list, matches, property_names, required, type_is, words, words_of};
use crate::diagnostic::{Code, Diagnostic};

/// The JSON Schema of a type.
pub fn of<T: JsonSchema>() -> Json {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = false;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Checks a tree against the schema of a type and reads it.
///
/// # Errors
/// All mistakes of the tree.
pub fn read<T: JsonSchema + DeserializeOwned>(root: &Node) -> Result<T, Vec<Diagnostic>> {
    let errors = check(&of::<T>(), root);
    if !errors.is_empty() {
        return Err(errors);
    }
    super::from_node(root).map_err(|error| {
        let diagnostic = Diagnostic::error(Code::Form, error.message);
        vec![match error.span {
            Some(span) => diagnostic.at(span, ""),
            None => diagnostic,
        }]
    })
}

/// Every mistake of a tree against a schema, in the order of the text.
pub fn check(schema: &Json, root: &Node) -> Vec<Diagnostic> {
    check_at(schema, schema, root, &Path::root())
}

/// The same, each mistake with the path of what would have to go for the rest to be readable.
pub fn find(schema: &Json, root: &Node) -> Vec<(Path, Diagnostic)> {
    let mut walker = Walker { root: schema, found: Vec::new() };
    walker.visit(schema, &Place { node: root, key: None, path: Path::root() });
    walker.found
}

/// The same for a part of a tree: `schema` is a part of `root_schema` (which holds the `$defs`), `path` says where the
/// node stands, for the messages.
pub fn check_at(root_schema: &Json, schema: &Json, node: &Node, path: &Path) -> Vec<Diagnostic> {
    let mut walker = Walker { root: root_schema, found: Vec::new() };
    walker.visit(schema, &Place { node, key: None, path: path.clone() });
    walker.found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

/// A node with the key that holds it.
struct Place<'a> {
    node: &'a Node,
    key: Option<&'a Span>,
    path: Path,
}

impl Place<'_> {
    fn span(&self) -> Span {
        match (&self.node.value, self.key) {
            (Value::Map(_) | Value::Seq(_), Some(key)) => key.clone(),
            (Value::Map(_) | Value::Seq(_), None) => first_span(self.node),
            _ => self.node.span.clone(),
        }
    }

    fn name(&self) -> String {
        match self.path.segments().is_empty() {
            true => "the document".to_owned(),
            false => format!("`{}`", self.path),
        }
    }
}

struct Walker<'s> {
    root: &'s Json,
    found: Vec<(Path, Diagnostic)>,
}

impl<'s> Walker<'s> {
    fn report(&mut self, path: &Path, diagnostic: Diagnostic) {
        self.found.push((path.clone(), diagnostic));
    }

    fn visit(&mut self, schema: &'s Json, place: &Place<'_>) {
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
    fn resolve(&self, schema: &'s Json) -> &'s Json {
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

    /// The alternatives of a schema, nested ones included.
    fn branches(&self, schema: &'s Json) -> Vec<&'s Json> {
        let mut branches = Vec::new();
        for keyword in ["anyOf", "oneOf"] {
            for branch in schema.get(keyword).and_then(Json::as_array).into_iter().flatten() {
                let branch = self.resolve(branch);
                let nested = self.branches(branch);
                // An alternative that has words of its own for what it takes is judged as one.
                match nested.is_empty() || branch.get("x-expected").is_some() {
                    true => branches.push(branch),
                    false => branches.extend(nested),
                }
            }
        }
        branches
    }

    /// One alternative has to fit. When none does, the errors of the one that was most likely meant are shown.
    fn visit_branches(&mut self, schema: &'s Json, branches: &[&'s Json], place: &Place<'_>) {
        let attempt = |branch: &'s Json| {
            let mut walker = Walker { root: self.root, found: Vec::new() };
            walker.visit(branch, place);
            walker.found
        };
        let mut results: Vec<(&'s Json, Vec<(Path, Diagnostic)>)> = Vec::with_capacity(branches.len());
        for branch in branches {
            let found = attempt(branch);
            if found.is_empty() {
                return;
            }
            results.push((branch, found));
        }
        let words: Vec<&str> = branches.iter().flat_map(|branch| words(branch)).collect();
        let fitting: Vec<usize> = (0..results.len())
            .filter(|index| self.type_fits(results[*index].0, place.node) && words_of(results[*index].0).is_none())
            .collect();
        match (&place.node.value, fitting.as_slice()) {
            // A word where words are expected, and no other text fits.
            (Value::String(text), []) if !words.is_empty() => self.unknown_word(text, &words, place),
            (Value::String(text), [_, ..]) if schema.get("x-expected").is_some() => {
                self.wrong_form(schema, text, place)
            }
            (_, [only]) => {
                let (_, found) = results.swap_remove(*only);
                self.found.extend(found);
            }
            (Value::Map(_), [_, ..]) => self.visit_map_branches(&fitting, results, place),
            (_, [_, ..]) => {
                let best = fitting.into_iter().min_by_key(|index| results[*index].1.len()).unwrap_or_default();
                let (_, found) = results.swap_remove(best);
                self.found.extend(found);
            }
            (_, []) => self.wrong_type(schema, place),
        }
    }

    /// Among several alternatives for a map, the one that shares most keys is meant; when each alternative is told by
    /// one key (an enum with content) and none of them is there, the keys are listed.
    fn visit_map_branches(
        &mut self,
        fitting: &[usize],
        mut results: Vec<(&'s Json, Vec<(Path, Diagnostic)>)>,
        place: &Place<'_>,
    ) {
        let Some(map) = place.node.as_map() else { return };
        let known =
            |branch: &Json, key: &str| branch.get("properties").is_some_and(|properties| properties.get(key).is_some());
        let score = |branch: &Json| {
            let shared = map.entries.iter().filter(|entry| known(branch, &entry.key)).count();
            let required = required(branch).filter(|key| map.entry(key).is_some()).count();
            (required, shared)
        };
        let best = fitting
            .iter()
            .copied()
            .max_by_key(|index| (score(results[*index].0), std::cmp::Reverse(results[*index].1.len())));
        let Some(best) = best else { return };
        if score(results[best].0) == (0, 0) {
            let keys: Vec<&str> = fitting.iter().flat_map(|index| property_names(results[*index].0)).collect();
            if let Some(entry) = map.entries.first()
                && !keys.is_empty()
            {
                self.unknown_key(entry, &keys, place);
                return;
            }
        }
        let (_, found) = results.swap_remove(best);
        self.found.extend(found);
    }

    fn type_fits(&self, schema: &'s Json, node: &Node) -> bool {
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

    fn wrong_type(&mut self, schema: &'s Json, place: &Place<'_>) {
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
    fn expected(&self, schema: &'s Json) -> String {
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

    fn unknown_word(&mut self, written: &str, words: &[&str], place: &Place<'_>) {
        let diagnostic = Diagnostic::error(Code::UnknownValue, format!("`{written}` is no value of {}", place.name()));
        self.report(
            &place.path,
            diagnostic
                .at(place.span(), format!("expected {}", list(words)))
                .did_you_mean(written, words.iter().copied()),
        );
    }

    fn unknown_key(&mut self, entry: &Entry, known: &[&str], place: &Place<'_>) {
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

    fn visit_scalar(&mut self, schema: &'s Json, place: &Place<'_>) {
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

    fn visit_number(&mut self, schema: &'s Json, number: f64, place: &Place<'_>) {
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

    fn visit_text(&mut self, schema: &'s Json, text: &str, place: &Place<'_>) {
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

    fn wrong_form(&mut self, schema: &'s Json, text: &str, place: &Place<'_>) {
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

    fn visit_map(&mut self, schema: &'s Json, place: &Place<'_>) {
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

    fn wrong_key(&mut self, entry: &Entry, pattern: Option<&str>, schema: &Json, place: &Place<'_>) {
        let expected = schema.get("x-expected").and_then(Json::as_str).map(str::to_owned);
        let expected = expected.unwrap_or_else(|| format!("text like /{}/", pattern.unwrap_or_default()));
        let diagnostic = Diagnostic::error(Code::Form, format!("{:?} cannot be a key of {}", entry.key, place.name()));
        self.report(
            &place.path.join(entry.key.as_str()),
            diagnostic.at(entry.key_span.clone(), format!("expected {expected}")),
        );
    }

    fn visit_list(&mut self, schema: &'s Json, place: &Place<'_>) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::diagnostic::{Style, render_all};
    use crate::document::{Document, Format};

    /// A colour.
    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Colour {
        /// Red.
        Red,
        /// Light blue.
        LightBlue,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only the reading is tested")]
    enum Listen {
        Port(u16),
        Addresses(Vec<String>),
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only the reading is tested")]
    enum Step {
        Http { get: String },
        Signal { send: String },
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading is tested")]
    struct Config {
        name: String,
        #[serde(default)]
        colour: Option<Colour>,
        #[serde(default)]
        listen: Option<Listen>,
        #[serde(default)]
        max_size: Option<u8>,
        #[serde(default)]
        steps: Vec<Step>,
        #[serde(default)]
        more: BTreeMap<String, Config>,
    }

    fn errors(text: &str) -> String {
        let document = Document::parse("c.yaml", text, Format::Yaml).unwrap();
        read::<Config>(&document.root).map_or_else(|errors| render_all(&errors, Style::Plain), |_| String::new())
    }

    #[test]
    fn a_good_document_is_read() {
        assert_eq!(
            errors(
                "name: x\ncolour: light-blue\nlisten: 80\nmax-size: 3\nsteps: [{http: {get: /}}]\nmore: {a: {name: b, listen: [x]}}\n"
            ),
            ""
        );
        assert_eq!(errors("name: x\ncolour: null\nlisten: ~\n"), "");
    }

    #[test]
    fn all_mistakes_at_once() {
        let text = errors(
            "colour: ligth-blue\nlisten: 70000\nmax_size: 3\nmore:\n  a: {name: 3, colour: [red]}\n  b:\n    name: x\n    max-size: 300\n",
        );
        for expected in [
            "`name` is missing",
            "did you mean `light-blue`?",
            "did you mean `max-size`?",
            "`more.a.name` is an integer, expected a string",
            "`more.a.colour` is a list, expected `red` or `light-blue`",
            "`listen` is out of range: 70000",
            "`more.b.max-size` is out of range: 300",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert_eq!(text.matches("error[").count(), 7, "{text}");
    }

    #[test]
    fn a_step_is_told_by_its_key() {
        let text = errors("name: x\nsteps: [{htpt: {get: /}}]\n");
        assert!(text.contains("did you mean `http`?"), "{text}");
        let text = errors("name: x\nsteps: [{http: {gte: /}}]\n");
        assert!(text.contains("`get` is missing in `steps[0].http`"), "{text}");
    }
}
