//! What must hold of a step's result: the evaluation of `check`.

mod matcher;

use crate::runner::outcome::{Failure, FailureKind};
use crate::scenario::Value;
use crate::scenario::expression::{Expression, Scope};
use crate::scenario::schema::{Check, Matcher};

pub use matcher::{Mismatch, mismatches};

/// Everything of a check that does not hold. Places are below `pointer`, which is the check's own.
#[must_use]
pub fn check(check: &Check, result: &Value, scope: &Scope<'_>, pointer: &str) -> Vec<Failure> {
    let mut failures = Vec::new();
    let member = |name: &str| result.members().and_then(|members| members.get(name)).cloned().unwrap_or_default();
    let mut require = |matcher: &Matcher, value: &Value, label: &str, place: &str| {
        let found = mismatches(matcher, value, label);
        failures.extend(
            found.into_iter().map(|mismatch| mismatch.into_failure(FailureKind::Check, &format!("{pointer}{place}"))),
        );
    };
    let plain = [
        (&check.status, "status"),
        (&check.body, "body"),
        (&check.json, "json"),
        (&check.duration, "duration"),
        (&check.bytes, "bytes"),
    ];
    for (matcher, name) in plain {
        let Some(matcher) = matcher else { continue };
        match member(name) {
            // Of a step with several results each one's duration counts.
            Value::List(values) if name == "duration" => {
                for value in values {
                    require(matcher, &value, name, &format!("/{name}"));
                }
            }
            value => require(matcher, &value, name, &format!("/{name}")),
        }
    }
    for (name, matcher) in check.header.iter().flatten() {
        let header = member("header");
        let value =
            header.members().and_then(|fields| fields.get(&name.to_ascii_lowercase())).cloned().unwrap_or_default();
        require(matcher, &value, &format!("header {name}"), &format!("/header/{}", matcher::escape(name)));
    }
    if let Some(pattern) = &check.regex {
        let matcher = Matcher(serde_json::json!({ "matches": pattern }));
        require(&matcher, &member("body"), "body", "/regex");
    }
    for (path, matcher) in &check.paths {
        if path.starts_with("json.") && member("json") == Value::Null {
            // `json.error: null` must not hold for a page that is no JSON at all.
            require(
                &Matcher(serde_json::json!({"exists": true})),
                &Value::Null,
                "json",
                &format!("/{}", matcher::escape(path)),
            );
            continue;
        }
        require(matcher, &matcher::walk(result, path), path, &format!("/{}", matcher::escape(path)));
    }
    failures.extend(unknown(check, result, pointer));
    if let Some(every) = &check.all {
        let all = results(result);
        if all.is_empty() {
            // Nothing to look at is no success.
            failures.push(Failure::new(FailureKind::Check, format!("{pointer}/all"), "there are no results to check"));
        }
        for (index, one) in all.iter().enumerate() {
            let found = self::check(every, one, scope, &format!("{pointer}/all"));
            failures.extend(found.into_iter().map(|failure| failure.note(format!("result {index} of {}", all.len()))));
        }
    }
    if let Some(some) = &check.any {
        let all = results(result);
        let found: Vec<Vec<Failure>> =
            all.iter().map(|one| self::check(some, one, scope, &format!("{pointer}/any"))).collect();
        if !found.iter().any(Vec::is_empty) {
            let mut failure = Failure::new(
                FailureKind::Check,
                format!("{pointer}/any"),
                format!("none of {} results fits", all.len()),
            );
            failure.notes = found.into_iter().flatten().map(|failure| failure.message).collect();
            failures.push(failure);
        }
    }
    let members = scope.with_members(result);
    for (index, source) in check.that.iter().flatten().enumerate() {
        failures.extend(condition(source, &members, FailureKind::Check, &format!("{pointer}/that/{index}")));
    }
    failures
}

/// Paths that begin with something the result does not have: a slip of the pen that a demand for null would hide.
fn unknown(check: &Check, result: &Value, pointer: &str) -> Vec<Failure> {
    let Value::Record(members) = result else { return Vec::new() };
    let first = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    let missing =
        check.paths.keys().filter(|path| !members.contains_key(path.as_str()) && !members.contains_key(&first(path)));
    let known = || members.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    missing
        .map(|path| {
            Failure::new(
                FailureKind::Check,
                format!("{pointer}/{}", matcher::escape(path)),
                format!("there is no `{}`, only {}", first(path), known()),
            )
        })
        .collect()
}

/// Why one value that a step's own key demands is not as demanded; the place is below the step's kind.
#[must_use]
pub fn demand(key: &str, matcher: &Matcher, value: &Value) -> Vec<Failure> {
    mismatches(matcher, value, key)
        .into_iter()
        .map(|mismatch| mismatch.into_failure(FailureKind::Check, &format!("/{key}")))
        .collect()
}

/// Why an expression does not hold, if it does not.
#[must_use]
pub fn condition(source: &str, scope: &Scope<'_>, kind: FailureKind, pointer: &str) -> Option<Failure> {
    let wrong = |message: String, span| Failure {
        within: Some(span),
        ..Failure::new(FailureKind::Expression, pointer, message)
    };
    let expression = match Expression::parse(source) {
        Ok(expression) => expression,
        Err(error) => return Some(wrong(error.message, error.span)),
    };
    match expression.test(scope) {
        Ok(tested) if tested.holds => None,
        Ok(tested) => {
            let part = source.get(tested.span.clone()).unwrap_or(source);
            Some(Failure {
                within: Some(tested.span),
                operands: tested.operands,
                ..Failure::new(kind, pointer, format!("`{part}` does not hold"))
            })
        }
        Err(error) => {
            let mut failure = wrong(error.message, error.span);
            if error.may_pass {
                failure.kind = kind;
            }
            Some(error.help.into_iter().fold(failure, Failure::note))
        }
    }
}

/// The results of a concurrent or repeated step.
fn results(result: &Value) -> &[Value] {
    match result.members().and_then(|members| members.get("results")) {
        Some(Value::List(results)) => results,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(text: &str, result: &Value) -> Vec<(String, String)> {
        let parsed: Check = serde_json::from_str(text).unwrap();
        check(&parsed, result, &Scope::new(), "/steps/0/check")
            .into_iter()
            .map(|failure| (failure.pointer, failure.message))
            .collect()
    }

    fn response() -> Value {
        let json = serde_json::json!({"pid": 7, "user": {"name": "x"}, "list": [1, 2], "dotted.key": true});
        Value::record([
            ("status", 200_i64.into()),
            ("header", Value::Map([("content-type".to_owned(), Value::from("text/plain"))].into_iter().collect())),
            ("body", "hello".into()),
            ("json", Value::from(&json)),
            ("bytes", 5_i64.into()),
            ("duration", Value::Duration(300_000_000)),
        ])
    }

    #[test]
    fn a_fitting_result_has_no_failures() {
        let text = r#"{"status": [200, 201], "header": {"Content-Type": {"starts-with": "text/"}, "X-None": null}, "body": "hello", "regex": "^h",
            "json": {"pid": {"gt": 6}, "user": {"name": "x"}, "dotted.key": true, "list": [1, 2]}, "json.user.name": "x", "duration": "< 500ms",
            "bytes": {"in": [5, 6]}, "that": ["json.pid == 7", "status < 300"]}"#;
        assert_eq!(failures(text, &response()), []);
    }

    #[test]
    fn every_mismatch_is_named_with_its_place() {
        let text = r#"{"status": 500, "header": {"content-type": "x"}, "json": {"user": {"name": "y"}}, "json.pid": 8, "duration": "> 1s", "that": ["status == 200 and json.pid == 9"]}"#;
        let found = failures(text, &response());
        let places: Vec<&str> = found.iter().map(|(place, _)| place.trim_start_matches("/steps/0/check")).collect();
        assert_eq!(places, ["/status", "/json/user/name", "/duration", "/header/content-type", "/json.pid", "/that/0"]);
        assert_eq!(found[0].1, "status is 200, not 500");
        assert_eq!(found[2].1, "duration is 300ms, not > 1s");
        assert_eq!(found[5].1, "`json.pid == 9` does not hold");
    }

    #[test]
    fn all_and_any_look_at_every_result() {
        let result =
            Value::record([("results", Value::List(vec![response(), Value::record([("status", 500_i64.into())])]))]);
        assert_eq!(failures(r#"{"any": {"status": 500}}"#, &result), []);
        assert_eq!(
            failures(r#"{"all": {"status": 200}}"#, &result),
            [("/steps/0/check/all/status".to_owned(), "status is 500, not 200".to_owned())]
        );
        assert_eq!(failures(r#"{"any": {"status": 404}}"#, &result)[0].1, "none of 2 results fits");
        let none = Value::record([("results", Value::List(Vec::new()))]);
        assert_eq!(failures(r#"{"all": {"status": 200}}"#, &none).len(), 1, "nothing to check is no success");
    }

    #[test]
    fn a_page_that_is_not_json_has_no_members() {
        let page = Value::record([("status", 500_i64.into()), ("json", Value::Null)]);
        for text in [
            r#"{"json.error": null}"#,
            r#"{"json.error": {"exists": false}}"#,
            r#"{"json.error": {"not-contains": "x"}}"#,
            r#"{"json": {"error": null}}"#,
            r#"{"that": ["json.error == null"]}"#,
        ] {
            assert_eq!(failures(text, &page).len(), 1, "{text}");
        }
        assert_eq!(failures(r#"{"json": null, "that": ["json == null"]}"#, &page), []);
    }

    #[test]
    fn members_that_are_not_there() {
        let found = failures(r#"{"statsu": null, "jsno.x": null}"#, &response());
        assert_eq!(found.len(), 2);
        assert!(found[0].1.starts_with("there is no `statsu`, only status, "), "{}", found[0].1);
    }
}
