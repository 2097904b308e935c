//! All of a step's checks over its result.

use serde_json::Value as Json;

use super::matcher::{Mismatch, escape, holds};
use crate::runner::outcome::{Failure, FailureKind, Operand};
use crate::scenario::expression::{Expression, Scope, member_of};
use crate::scenario::schema::{Check, Matcher, Operator};
use crate::scenario::value::Value;

/// One demand: where it stands below the check, the path into the result, and what must be there.
struct Demand {
    pointer: String,
    path: Vec<String>,
    matcher: Matcher,
}

/// The demands of a check, in the order of the documentation.
fn demands(check: &Check) -> Vec<Demand> {
    let mut demands = Vec::new();
    let mut add = |pointer: String, path: &[&str], matcher: Matcher| {
        demands.push(Demand { pointer, path: path.iter().map(|&part| part.to_owned()).collect(), matcher });
    };
    if let Some(status) = &check.status {
        let matcher = match &status.0 {
            allowed @ Json::Array(_) => Matcher(serde_json::json!({"in": allowed})),
            _ => status.clone(),
        };
        add("/status".to_owned(), &["status"], matcher);
    }
    for (name, matcher) in check.header.iter().flatten() {
        add(format!("/header/{}", escape(name)), &["header", &name.to_lowercase()], matcher.clone());
    }
    if let Some(body) = &check.body {
        add("/body".to_owned(), &["body"], body.clone());
    }
    if let Some(regex) = &check.regex {
        add("/regex".to_owned(), &["body"], Matcher(serde_json::json!({"matches": regex})));
    }
    if let Some(json) = &check.json {
        add("/json".to_owned(), &["json"], json.clone());
    }
    if let Some(duration) = &check.duration {
        add("/duration".to_owned(), &["duration"], duration.clone());
    }
    if let Some(bytes) = &check.bytes {
        add("/bytes".to_owned(), &["bytes"], bytes.clone());
    }
    for (path, matcher) in &check.paths {
        let parts: Vec<_> = path.split('.').collect();
        add(format!("/{}", escape(path)), &parts, matcher.clone());
    }
    demands
}

/// The paths into the result that a check speaks of, each with its place below the check.
#[must_use]
pub fn paths_of(check: &Check) -> Vec<(String, Vec<String>)> {
    demands(check).into_iter().map(|demand| (demand.pointer, demand.path)).collect()
}

/// Checks a result. `pointer` is the check's place in the scenario. All failures are given, not only the first.
#[must_use]
pub fn evaluate(check: &Check, result: &Value, scope: &Scope<'_>, pointer: &str) -> Vec<Failure> {
    evaluate_as(check, result, scope, pointer, "")
}

fn evaluate_as(check: &Check, result: &Value, scope: &Scope<'_>, pointer: &str, prefix: &str) -> Vec<Failure> {
    let mut failures = Vec::new();
    for demand in demands(check) {
        let label = format!("{prefix}{}", demand.path.join("."));
        let place = format!("{pointer}{}", demand.pointer);
        let actual = demand.path.iter().try_fold(result.clone(), |value, part| member_of(value, part));
        let actual = match actual {
            Ok(actual) => actual,
            Err(error) => {
                failures.push(Failure::new(FailureKind::Check, place, format!("`{label}`: {}", error.message)));
                continue;
            }
        };
        if let Err(mismatch) = holds(&demand.matcher, &actual) {
            failures.push(describe(mismatch, &label, &place, &demand.pointer));
        }
    }
    if let Some(inner) = &check.all {
        match results(result) {
            Some(results) if results.is_empty() => {
                failures.push(Failure::new(FailureKind::Check, format!("{pointer}/all"), "there are no results to check"));
            }
            Some(results) => {
                for (index, each) in results.iter().enumerate() {
                    let prefix = format!("{prefix}results[{index}].");
                    failures.extend(evaluate_as(inner, each, scope, &format!("{pointer}/all"), &prefix));
                }
            }
            None => failures.push(no_results(pointer, "all")),
        }
    }
    if let Some(inner) = &check.any {
        match results(result) {
            Some(results) => {
                let place = format!("{pointer}/any");
                let tried: Vec<_> = results.iter().map(|each| evaluate_as(inner, each, scope, &place, prefix)).collect();
                if tried.iter().all(|failures| !failures.is_empty()) {
                    let message = format!("none of the {} results fits", results.len());
                    let mut failure = Failure::new(FailureKind::Check, place, message);
                    failure.operands = tried.into_iter().filter_map(|mut failures| failures.swap_remove(0).operands.into_iter().next()).take(8).collect();
                    failures.push(failure);
                }
            }
            None => failures.push(no_results(pointer, "any")),
        }
    }
    if let Some(expressions) = &check.that {
        let scope = scope.with_members(result);
        for (index, source) in expressions.iter().enumerate() {
            failures.extend(condition(source, &scope, &format!("{pointer}/that/{index}"), FailureKind::Check));
        }
    }
    failures
}

/// Whether an expression holds; what it looked like if it does not.
pub(crate) fn condition(source: &str, scope: &Scope<'_>, pointer: &str, kind: FailureKind) -> Option<Failure> {
    let expression = match Expression::parse(source) {
        Ok(expression) => expression,
        Err(error) => {
            let mut failure = Failure::new(FailureKind::Expression, pointer, error.message);
            failure.within = Some(error.span);
            return Some(failure);
        }
    };
    match expression.test(scope) {
        Ok(tested) if tested.holds => None,
        Ok(tested) => {
            let mut failure = Failure::new(kind, pointer, format!("`{}` does not hold", &source[tested.span.clone()]));
            failure.within = Some(tested.span);
            failure.operands = tested.operands;
            Some(failure)
        }
        Err(error) => {
            let mut failure = Failure::new(FailureKind::Expression, pointer, error.message);
            failure.within = Some(error.span);
            failure.notes.extend(error.help);
            Some(failure)
        }
    }
}

fn results(result: &Value) -> Option<&[Value]> {
    match result.members()?.get("results")? {
        Value::List(results) => Some(results),
        _ => None,
    }
}

fn no_results(pointer: &str, key: &str) -> Failure {
    Failure::new(FailureKind::Check, format!("{pointer}/{key}"), format!("`{key}` is for concurrent and repeated steps"))
}

fn describe(mismatch: Mismatch, label: &str, place: &str, demand: &str) -> Failure {
    let name = format!("{label}{}", mismatch.path);
    // A list of allowed statuses and `regex` became operators here; their place in the scenario has none.
    let made = (demand == "/status" && mismatch.pointer == "/in") || demand == "/regex";
    let pointer = if made { place.to_owned() } else { format!("{place}{}", mismatch.pointer) };
    let mut failure = Failure::new(FailureKind::Check, pointer, format!("`{name}` {}", mismatch.message));
    failure.operands.push(Operand { label: "actual".to_owned(), value: mismatch.actual });
    if let Some(expected) = mismatch.expected {
        let operator = mismatch.pointer.rsplit('/').next().and_then(Operator::of_key);
        let label = match operator {
            Some(Operator::Eq) | None => "expected".to_owned(),
            Some(operator) => format!("expected: {}", operator.phrase()),
        };
        failure.operands.push(Operand { label, value: expected });
    }
    failure
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result() -> Value {
        Value::record([
            ("ok", true.into()),
            ("status", 200i64.into()),
            ("header", Value::from(&json!({"content-type": "text/plain"}))),
            ("body", "hello".into()),
            ("json", Value::Null),
            ("duration", Value::Duration(700_000_000)),
            ("bytes", 5i64.into()),
        ])
    }

    fn failures(check: Json, result: &Value) -> Vec<Failure> {
        let check: Check = serde_json::from_value(check).unwrap();
        evaluate(&check, result, &Scope::new(), "/steps/0/check")
    }

    #[test]
    fn a_result_that_fits() {
        let check = json!({
            "status": [200, 204], "header": {"Content-Type": "text/plain", "X-None": null}, "body": {"contains": "ell"},
            "regex": "^h", "duration": "< 1s", "bytes": 5, "ok": true, "that": ["status + bytes == 205"]
        });
        assert_eq!(failures(check, &result()), []);
    }

    #[test]
    fn every_failure_with_its_place() {
        let check = json!({"status": [201], "header": {"Content-Type": "x"}, "duration": "< 500ms", "that": ["bytes > 9 or status == 1"]});
        let failures = failures(check, &result());
        let places: Vec<_> = failures.iter().map(|failure| failure.pointer.as_str()).collect();
        assert_eq!(
            places,
            ["/steps/0/check/status", "/steps/0/check/header/Content-Type", "/steps/0/check/duration", "/steps/0/check/that/0"]
        );
        assert_eq!(failures[2].operands[0].value, Value::Duration(700_000_000));
        assert_eq!(failures[3].operands.len(), 4, "both sides of both comparisons");
    }

    #[test]
    fn members_that_are_not_there() {
        let failures = failures(json!({"statsu": 200}), &result());
        assert!(failures[0].message.contains("there is no `statsu`"), "{}", failures[0].message);
    }

    #[test]
    fn several_results() {
        let storm = Value::record([("results", Value::List(vec![result(), result()]))]);
        assert_eq!(failures(json!({"all": {"status": 200}, "any": {"body": "hello"}}), &storm), []);
        assert_eq!(failures(json!({"all": {"status": 500}}), &storm).len(), 2);
        assert_eq!(failures(json!({"any": {"status": 500}}), &storm).len(), 1);
        assert_eq!(failures(json!({"all": {"status": 500}}), &result()).len(), 1);
        let none = Value::record([("results", Value::List(vec![]))]);
        assert_eq!(failures(json!({"all": {"status": 500}}), &none).len(), 1, "nothing to check is no success");
    }
}
