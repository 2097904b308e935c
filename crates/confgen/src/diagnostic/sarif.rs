//! Findings as SARIF 2.1.0, which code hosts and editors read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Code, Diagnostic, Label, Severity};

/// Several findings of a program as one SARIF log. `version` is the program's.
pub fn render_sarif(program: &str, version: &str, diagnostics: &[Diagnostic]) -> Value {
    let mut codes: BTreeMap<&str, Code> = BTreeMap::new();
    for diagnostic in diagnostics {
        codes.insert(diagnostic.code.id(), diagnostic.code);
    }
    let index = |code: Code| codes.keys().position(|id| *id == code.id());
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|diagnostic| {
            let (primary, related) = match diagnostic.labels.split_first() {
                Some((first, rest)) => (vec![location(first, None)], rest),
                None => (Vec::new(), &[][..]),
            };
            json!({
                "ruleId": diagnostic.code.id(),
                "ruleIndex": index(diagnostic.code),
                "level": level(diagnostic.severity),
                "message": {"text": message(diagnostic)},
                "locations": primary,
                "relatedLocations": related.iter().enumerate().map(|(id, label)| location(label, Some(id))).collect::<Vec<_>>(),
            })
        })
        .collect();
    let rules: Vec<Value> = codes
        .values()
        .map(|code| {
            let info = code.info();
            json!({
                "id": info.id,
                "name": info.title,
                "shortDescription": {"text": info.title},
                "fullDescription": {"text": info.cause},
                "help": {"text": info.fix},
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": program, "version": version, "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// The message with what helps to understand it and to mend it: a result has room for one text.
fn message(diagnostic: &Diagnostic) -> String {
    let notes = diagnostic.notes.iter().map(|note| format!("\nnote: {note}"));
    let help = diagnostic.help.iter().map(|help| format!("\nhelp: {help}"));
    std::iter::once(diagnostic.message.clone()).chain(notes).chain(help).collect()
}

fn location(label: &Label, id: Option<usize>) -> Value {
    let (line, column) = label.span.line_column();
    let (end_line, end_column) = label.span.source.line_column(label.span.range.end);
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(&label.span.source.name)},
            "region": {
                "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
            },
        },
    });
    if let Some(map) = location.as_object_mut() {
        if let Some(id) = id {
            map.insert("id".to_owned(), json!(id));
        }
        if !label.text.is_empty() {
            map.insert("message".to_owned(), json!({"text": label.text}));
        }
    }
    location
}

/// A file's name as a URI: relative ones stay so.
fn uri(name: &str) -> String {
    let mut uri = if name.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, Span};

    #[test]
    fn a_finding_with_two_places() {
        let (one, two) = (Source::new("a b.yaml", "x: 1\ny: ü2\n"), Source::new("/etc/z.conf", "z\n"));
        let diagnostic = Diagnostic::warning(Code::Conflict, "both")
            .at(Span::new(&one, 8..11), "here")
            .at(Span::new(&two, 0..1), "")
            .note("a fact")
            .help("a cure");
        let log = render_sarif("confgen", "1.2.3", &[diagnostic]);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], Code::Conflict.id());
        let result = &run["results"][0];
        assert_eq!((&result["level"], &result["ruleIndex"]), (&json!("warning"), &json!(0)));
        assert_eq!(result["message"]["text"], "both\nnote: a fact\nhelp: a cure");
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b.yaml");
        assert_eq!(place["region"], json!({"startLine": 2, "startColumn": 4, "endLine": 2, "endColumn": 6}));
        assert_eq!(result["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"], "file:///etc/z.conf");
        assert_eq!(render_sarif("x", "1", &[])["runs"][0]["results"], json!([]));
    }

    /// The types are made from the schema of SARIF 2.1.0: what does not fit is refused, and what the schema does not know is lost.
    #[test]
    fn the_log_is_what_its_schema_says() {
        let source = Source::new("/etc/a b.conf", "x: 1\ny: 2\n");
        let (first, second) = (Span::new(&source, 0..4), Span::new(&source, 5..9));
        let all = [
            Diagnostic::error(Code::Conflict, "both")
                .at(first.clone(), "here")
                .at(second, "there")
                .note("a fact")
                .help("a cure"),
            Diagnostic::warning(Code::Range, "without a place"),
            Diagnostic { severity: Severity::Note, ..Diagnostic::warning(Code::Form, "a note") }.at(first, ""),
        ];
        for found in [&all[..], &[]] {
            let log = render_sarif("confgen", "1.2.3", found);
            let typed: serde_sarif::sarif::Sarif = serde_json::from_value(log.clone()).unwrap();
            assert_eq!(without_empty(serde_json::to_value(&typed).unwrap()), without_empty(log));
        }
        let mut wrong = render_sarif("confgen", "1.2.3", &all);
        wrong["runs"][0]["results"][0]["level"] = json!("loud");
        assert!(serde_json::from_value::<serde_sarif::sarif::Sarif>(wrong).is_err());
    }

    /// An empty list and none are the same.
    fn without_empty(value: Value) -> Value {
        match value {
            Value::Object(map) => map
                .into_iter()
                .filter(|(_, value)| *value != json!([]))
                .map(|(key, value)| (key, without_empty(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Array(list) => list.into_iter().map(without_empty).collect(),
            other => other,
        }
    }
}
