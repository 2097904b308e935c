//! RFC 7396 merge patches that keep positions.

use super::node::{Entry, Map, Node, Value};

/// Applies a merge patch: maps merge key by key, `null` removes a key, everything else replaces. What the patch sets
/// keeps the patch's own positions.
#[must_use]
pub fn merge_patch(target: Node, patch: &Node) -> Node {
    let Value::Map(patch_map) = &patch.value else {
        return patch.clone();
    };
    let (mut map, span) = match target.value {
        Value::Map(map) => (map, target.span),
        _ => (Map::default(), patch.span.clone()),
    };
    for entry in &patch_map.entries {
        if entry.value.is_null() {
            map.remove(&entry.key);
            continue;
        }
        match map.get_mut(&entry.key) {
            Some(slot) => {
                let old = std::mem::replace(slot, Node::new(Value::Null, patch.span.clone()));
                let replaced = !matches!((&old.value, &entry.value.value), (Value::Map(_), Value::Map(_)));
                *slot = merge_patch(old, &entry.value);
                if replaced && let Some(existing) = map.entries.iter_mut().find(|existing| existing.key == entry.key) {
                    existing.key_span = entry.key_span.clone();
                }
            }
            None => {
                let empty = Node::new(Value::Null, entry.value.span.clone());
                map.entries.push(Entry {
                    key: entry.key.clone(),
                    key_span: entry.key_span.clone(),
                    value: merge_patch(empty, &entry.value),
                });
            }
        }
    }
    Node::new(Value::Map(map), span)
}

#[cfg(test)]
mod tests {
    use crate::document::{Document, Format, merge_patch};

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn examples_of_the_rfc() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"[1,2]"#, r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let target = Document::parse("target", target, Format::Json).unwrap().root;
            let patch = Document::parse("patch", patch, Format::Json).unwrap().root;
            let expected: serde_json::Value = serde_json::from_str(result).unwrap();
            assert_eq!(merge_patch(target, &patch).to_json(), expected);
        }
    }

    #[test]
    fn positions_follow_the_values() {
        let base = Document::parse("base.yaml", "a: {b: 1, c: 2}\n", Format::Yaml).unwrap().root;
        let patch = Document::parse("patch.yaml", "\na: {c: 3}\n", Format::Yaml).unwrap().root;
        let merged = merge_patch(base, &patch);
        let span = |path: &str| path.parse::<super::super::Path>().unwrap().span(&merged).to_string();
        assert_eq!(span("a.b"), "base.yaml:1:8");
        assert_eq!(span("a.c"), "patch.yaml:2:8");
    }
}
