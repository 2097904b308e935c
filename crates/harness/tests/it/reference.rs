//! The reference of the format names everything that there is.

use harness::runner::filter::PREDICATES;
use harness::scenario::expression::METHODS;
use harness::scenario::schema::{COMMON_MEMBERS, OPERATORS, SCOPE, STEPS, json_schema};

#[test]
fn every_key_operator_method_and_name_is_explained() {
    let text = include_str!("../../../../docs/scenario-format.md");
    let words: std::collections::BTreeSet<&str> =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).collect();
    let schema = json_schema();
    let mut names: Vec<String> = Vec::new();
    let keys = |definition: &serde_json::Value| {
        definition["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    names.extend(keys(&schema));
    for definition in [
        "Variant",
        "Matrix",
        "Needs",
        "Step",
        "Http",
        "Upload",
        "Raw",
        "Concurrent",
        "Signal",
        "Wait",
        "Log",
        "Process",
        "FileStep",
        "Exec",
        "Stop",
        "Check",
    ] {
        let found = keys(&schema["$defs"][definition]);
        assert!(!found.is_empty(), "{definition}");
        names.extend(found);
    }
    names.extend(OPERATORS.iter().map(|(key, ..)| (*key).to_owned()));
    names.extend(METHODS.iter().map(|method| method.name.to_owned()));
    names.extend(
        SCOPE
            .iter()
            .chain(COMMON_MEMBERS)
            .chain(STEPS.iter().flat_map(|step| step.members))
            .map(|member| member.name.to_owned()),
    );
    names.extend(STEPS.iter().map(|step| step.name.to_owned()));
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/scenario-format.md does not name {missing:?}");
}

#[test]
fn every_predicate_and_exit_status_is_explained() {
    let text = include_str!("../../../../docs/harness.md");
    for predicate in PREDICATES {
        assert!(text.contains(predicate.name), "{}", predicate.name);
    }
    for (_, code, _) in harness::exit::EXITS {
        assert!(text.contains(&format!("{code} ")), "{code}");
    }
}
