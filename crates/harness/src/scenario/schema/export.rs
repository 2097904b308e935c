//! The JSON Schema for editors: the scenario's own with confgen's inside, and room for `${{ }}` wherever it may stand.

use confgen::document::schema as document_schema;
use serde_json::{Value as Json, json};

use super::scenario::Scenario;
use super::step::STEPS;

/// The whole schema.
#[must_use]
pub fn json_schema() -> Json {
    let mut schema = document_schema::of::<Scenario>();
    if let Some(definitions) = schema.pointer_mut("/$defs").and_then(Json::as_object_mut) {
        for (name, definition) in definitions.iter_mut() {
            if in_steps(name) {
                make_room(definition);
            }
        }
        if let Some(step) = definitions.get_mut("Step").and_then(Json::as_object_mut) {
            let kinds: Vec<_> = STEPS.iter().map(|step| json!({"required": [step.name]})).collect();
            step.insert("oneOf".to_owned(), Json::Array(kinds));
        }
        let mut spec = document_schema::of::<confgen::spec::Model>();
        prefix_references(&mut spec);
        let inner = spec.as_object_mut().and_then(|spec| spec.remove("$defs"));
        for (name, mut definition) in inner.and_then(|inner| inner.as_object().cloned()).into_iter().flatten() {
            relax(&mut definition);
            make_room(&mut definition);
            definitions.insert(format!("confgen.{name}"), definition);
        }
        relax(&mut spec);
        make_room(&mut spec);
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("$schema");
        }
        definitions.insert("confgen".to_owned(), spec);
        if let Some(variant) = definitions.get_mut("Variant") {
            refer_to_spec(variant);
        }
    }
    refer_to_spec(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "A scenario of the harness".into());
    }
    schema
}

/// Definitions whose values may be filled when a step runs.
fn in_steps(name: &str) -> bool {
    !matches!(
        name,
        "SchemaTag"
            | "Axes"
            | "Matrix"
            | "Mode"
            | "Module"
            | "Mpm"
            | "Needs"
            | "Expect"
            | "Expectation"
            | "Variant"
            | "StartRule"
            | "PortName"
            | "PythonTag"
            | "Cover"
            | "FileEntry"
            | "FileContent"
            | "LogAllowance"
            | "DeathAllowance"
    ) && !name.starts_with("OneOrMany")
}

fn refer_to_spec(holder: &mut Json) {
    if let Some(server) = holder.pointer_mut("/properties/server") {
        let description = server.get("description").cloned();
        *server = json!({"description": description, "anyOf": [{"$ref": "#/$defs/confgen"}, {"type": "null"}]});
    }
}

fn prefix_references(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            for (key, member) in members.iter_mut() {
                if key == "$ref"
                    && let Some(name) = member.as_str().and_then(|reference| reference.strip_prefix("#/$defs/"))
                {
                    *member = Json::from(format!("#/$defs/confgen.{name}"));
                } else {
                    prefix_references(member);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(prefix_references),
        _ => {}
    }
}

/// A scenario's server and the patches of its variants are parts of one: each may lack what the others have, and null
/// removes a member.
fn relax(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            members.remove("required");
            // Without required members several alternatives may fit.
            if let Some(alternatives) = members.remove("oneOf") {
                members.entry("anyOf").or_insert(alternatives);
            }
            for (key, member) in members.iter_mut() {
                if key == "properties" {
                    for property in member.as_object_mut().into_iter().flat_map(|properties| properties.values_mut()) {
                        relax(property);
                        add_alternative(property, json!({"type": "null"}));
                    }
                } else {
                    relax(member);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(relax),
        _ => {}
    }
}

/// A text with a hole, which is filled before the value is used.
fn hole() -> Json {
    json!({"type": "string", "pattern": r"\$\{"})
}

/// Lets a text with a hole stand for any value.
fn make_room(schema: &mut Json) {
    let Json::Object(members) = schema else { return };
    for key in ["anyOf", "oneOf", "allOf"] {
        members.get_mut(key).and_then(Json::as_array_mut).into_iter().flatten().for_each(make_room);
    }
    let values =
        members.get_mut("properties").and_then(Json::as_object_mut).into_iter().flat_map(|all| all.values_mut());
    for value in values {
        make_room(value);
        add_alternative(value, hole());
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = members.get_mut(key).filter(|value| value.is_object()) {
            make_room(value);
            add_alternative(value, hole());
        }
    }
    // A definition of a word or a number is itself what stands for a value.
    let scalar = |kind: &str| matches!(kind, "string" | "integer" | "number" | "boolean");
    if members.get("type").and_then(Json::as_str).is_some_and(scalar) {
        add_alternative(schema, hole());
    }
}

/// Lets a value be something else instead. What describes it stays in front.
fn add_alternative(schema: &mut Json, alternative: Json) {
    let Json::Object(members) = schema else { return };
    let form = ["pattern", "enum", "const", "format"].iter().any(|key| members.contains_key(*key));
    let anything =
        ["type", "anyOf", "oneOf", "allOf", "$ref", "const", "enum"].iter().all(|key| !members.contains_key(*key));
    let any_text = alternative == hole() && members.get("type").and_then(Json::as_str) == Some("string") && !form;
    if anything || any_text {
        return;
    }
    if let Some(Json::Array(alternatives)) = members.get_mut("anyOf") {
        if !alternatives.contains(&alternative) {
            alternatives.push(alternative);
        }
        return;
    }
    let description = members.remove("description");
    let strict = Json::Object(std::mem::take(members));
    members.extend(description.map(|description| ("description".to_owned(), description)));
    members.insert("anyOf".to_owned(), json!([strict, alternative]));
}
