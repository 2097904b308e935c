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
            make_room(&mut definition);
            definitions.insert(format!("confgen.{name}"), definition);
        }
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("$schema");
            // A patch has parts of a server only, and null removes.
            spec.remove("required");
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

/// Lets a text with a hole stand where another type or form is asked for.
fn make_room(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            let kind = members.get("type").and_then(Json::as_str);
            let typed = matches!(kind, Some("integer" | "number" | "boolean"));
            let formed = kind == Some("string") && (members.contains_key("pattern") || members.contains_key("enum"));
            if typed || formed {
                let description = members.remove("description");
                let strict = Json::Object(std::mem::take(members));
                members.extend(description.map(|description| ("description".to_owned(), description)));
                members.insert("anyOf".to_owned(), json!([strict, {"type": "string", "pattern": r"\$\{"}]));
                return;
            }
            for (key, member) in members.iter_mut() {
                // What describes keys is no value.
                if key != "propertyNames" && key != "oneOf" {
                    make_room(member);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(make_room),
        _ => {}
    }
}
