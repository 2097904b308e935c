//! Matchers: a value to equal, a comparison as text, or operators.

use std::cmp::Ordering;

use regex::Regex;
use serde_json::Value as Json;

use crate::runner::outcome::{Failure, FailureKind};
use crate::scenario::Value;
use crate::scenario::quantity::{Size, Time};
use crate::scenario::schema::{Matcher, Operator};

/// Comparisons as they are written in texts, longer signs first.
const SIGNS: &[(&str, Operator)] = &[
    ("<=", Operator::Le),
    (">=", Operator::Ge),
    ("==", Operator::Eq),
    ("!=", Operator::Ne),
    ("<", Operator::Lt),
    (">", Operator::Gt),
];

/// The longest text that a message shows of a value.
const SHOWN: usize = 200;

/// A value that is not what it must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// The place below the matcher's own.
    pub place: String,
    /// One line.
    pub message: String,
    /// What it was.
    pub actual: Value,
    /// What it must be.
    pub expected: Value,
}

impl Mismatch {
    /// As a failure at a place.
    #[must_use]
    pub fn into_failure(self, kind: FailureKind, pointer: &str) -> Failure {
        Failure::new(kind, format!("{pointer}{}", self.place), self.message)
            .operand("actual", self.actual)
            .operand("expected", self.expected)
    }
}

/// Everything in which a value is not what a matcher says; `label` is what the value is called.
#[must_use]
pub fn mismatches(matcher: &Matcher, value: &Value, label: &str) -> Vec<Mismatch> {
    let mut found = Vec::new();
    examine(&matcher.0, value, label, "", &mut found);
    found
}

fn examine(expected: &Json, actual: &Value, label: &str, place: &str, found: &mut Vec<Mismatch>) {
    let mut wrong = |message: String| {
        found.push(Mismatch {
            place: place.to_owned(),
            message,
            actual: actual.clone(),
            expected: Value::from(expected),
        });
    };
    match expected {
        Json::Object(members) if !members.is_empty() && members.keys().all(|key| Operator::of_key(key).is_some()) => {
            for (key, operand) in members {
                if let Some(operator) = Operator::of_key(key) {
                    operate(operator, operand, actual, label, &format!("{place}/{}", escape(key)), found);
                }
            }
        }
        Json::Object(members) => {
            if actual.members().is_none() {
                wrong(format!("{label} is {}, not an object", shown(actual)));
                return;
            }
            for (key, inner) in members {
                examine(
                    inner,
                    &walk(actual, key),
                    &format!("{label}.{key}"),
                    &format!("{place}/{}", escape(key)),
                    found,
                );
            }
        }
        Json::Array(values) if !matches!(actual, Value::List(_)) => {
            if !values.iter().any(|value| equal(actual, value)) {
                wrong(format!("{label} is {}, none of {expected}", shown(actual)));
            }
        }
        Json::String(text) if let Some((operator, operand)) = comparison(text, actual) => {
            match compare(operator, actual, &operand) {
                Some(true) => {}
                Some(false) => wrong(format!("{label} is {}, not {text}", shown(actual))),
                None => wrong(format!("{label} is {}, which cannot be compared with {text}", shown(actual))),
            }
        }
        _ if equal(actual, expected) => {}
        _ => wrong(format!("{label} is {}, not {}", shown(actual), shown(&quantity(expected, actual)))),
    }
}

/// A comparison such as `< 500ms`, for values that have an order but are no texts.
fn comparison(text: &str, actual: &Value) -> Option<(Operator, Value)> {
    if !matches!(actual, Value::Int(_) | Value::Float(_) | Value::Duration(_)) {
        return None;
    }
    let (sign, operator) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign))?;
    Some((*operator, quantity(&Json::from(text[sign.len()..].trim()), actual)))
}

/// What a matcher's value means beside an actual one: `500ms` beside a duration is a duration, `40MiB` beside a number a size.
fn quantity(expected: &Json, actual: &Value) -> Value {
    let Json::String(text) = expected else { return Value::from(expected) };
    let read = match actual {
        Value::Duration(_) => text.parse::<Time>().ok().map(|time| Value::from(time.0)),
        Value::Int(_) | Value::Float(_) => text
            .parse::<f64>()
            .ok()
            .filter(|number| number.fract() != 0.0)
            .map(Value::Float)
            .or_else(|| text.parse::<Size>().ok().map(|size| Value::from(size.0))),
        _ => None,
    };
    read.unwrap_or_else(|| Value::from(expected))
}

fn equal(actual: &Value, expected: &Json) -> bool {
    let expected = quantity(expected, actual);
    match (actual, &expected) {
        // Bodies and header fields are texts also where they hold a number.
        (Value::Text(text), Value::Int(_) | Value::Float(_) | Value::Bool(_)) => *text == expected.to_text(),
        _ => actual.same(&expected) == Some(true),
    }
}

fn compare(operator: Operator, actual: &Value, expected: &Value) -> Option<bool> {
    let as_number = |value: &Value| match value {
        Value::Text(text) => text.trim().parse::<f64>().ok().map(Value::Float),
        _ => None,
    };
    let order = || actual.order(expected).or_else(|| as_number(actual)?.order(expected));
    Some(match operator {
        Operator::Eq => actual.same(expected)?,
        Operator::Ne => !actual.same(expected)?,
        Operator::Lt => order()? == Ordering::Less,
        Operator::Le => order()? != Ordering::Greater,
        Operator::Gt => order()? == Ordering::Greater,
        Operator::Ge => order()? != Ordering::Less,
        _ => return None,
    })
}

fn operate(operator: Operator, operand: &Json, actual: &Value, label: &str, place: &str, found: &mut Vec<Mismatch>) {
    let text = || Value::from(operand).to_text();
    let pattern = || Regex::new(&text()).map_err(|error| error.to_string());
    // Texts are looked at as such; of other values their text is.
    let subject = || actual.to_text();
    let outcome: Result<bool, String> = match operator {
        Operator::Eq => Ok(equal(actual, operand)),
        // Something else is there, not nothing: a page of errors has no JSON whose member could be the wanted one.
        Operator::Ne => Ok(!equal(actual, operand) && (*actual != Value::Null || operand.is_null())),
        Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge => {
            let expected = quantity(operand, actual);
            compare(operator, actual, &expected).ok_or_else(|| format!("{} has no order with {operand}", actual.kind()))
        }
        Operator::Matches => pattern().map(|pattern| *actual != Value::Null && pattern.is_match(&subject())),
        Operator::NotMatches => pattern().map(|pattern| *actual == Value::Null || !pattern.is_match(&subject())),
        Operator::Contains => Ok(contains(actual, operand)),
        Operator::NotContains => Ok(!contains(actual, operand)),
        Operator::StartsWith => Ok(*actual != Value::Null && subject().starts_with(&text())),
        Operator::EndsWith => Ok(*actual != Value::Null && subject().ends_with(&text())),
        Operator::In => one_of(actual, operand),
        Operator::NotIn => one_of(actual, operand).map(|is| !is && *actual != Value::Null),
        Operator::Exists => match operand {
            Json::Bool(wanted) => Ok((*actual != Value::Null) == *wanted),
            other => Err(format!("`exists` takes true or false, not {other}")),
        },
        Operator::Length => {
            let length = match actual {
                Value::List(values) => Some(values.len()),
                Value::Text(text) => Some(text.chars().count()),
                other => other.members().map(indexmap::IndexMap::len),
            };
            match length {
                Some(length) => {
                    return examine(operand, &length.into(), &format!("the length of {label}"), place, found);
                }
                None => Err(format!("{} has no length", actual.kind())),
            }
        }
    };
    let message = match outcome {
        Ok(true) => return,
        Ok(false) if operator == Operator::Exists => {
            format!("{label} is {}there", if *actual == Value::Null { "not " } else { "" })
        }
        Ok(false) => format!(
            "{label} is {}; it must be that it {} {}",
            shown(actual),
            operator.phrase(),
            shown(&quantity(operand, actual))
        ),
        Err(error) => format!("{label}: {error}"),
    };
    found.push(Mismatch { place: place.to_owned(), message, actual: actual.clone(), expected: Value::from(operand) });
}

fn contains(actual: &Value, operand: &Json) -> bool {
    match actual {
        Value::Null => false,
        Value::List(values) => values.iter().any(|value| equal(value, operand)),
        Value::Map(members) | Value::Record(members) => operand.as_str().is_some_and(|name| members.contains_key(name)),
        other => other.to_text().contains(&Value::from(operand).to_text()),
    }
}

fn one_of(actual: &Value, operand: &Json) -> Result<bool, String> {
    let Json::Array(values) = operand else { return Err("`in` needs a list".to_owned()) };
    Ok(values.iter().any(|value| equal(actual, value)))
}

/// The part of a value that a dotted path names; null if there is none. A key that itself has dots comes first.
pub(super) fn walk(value: &Value, path: &str) -> Value {
    if let Some(members) = value.members() {
        if let Some(found) = members.get(path) {
            return found.clone();
        }
        for (position, _) in path.match_indices('.').collect::<Vec<_>>().into_iter().rev() {
            if let Some(inner) =
                members.get(&path[..position]).or_else(|| members.get(&path[..position].to_ascii_lowercase()))
            {
                return walk(inner, &path[position + 1..]);
            }
        }
        return members.get(&path.to_ascii_lowercase()).cloned().unwrap_or_default();
    }
    if let Value::List(values) = value {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let element = first.parse::<usize>().ok().and_then(|index| values.get(index));
        return element.map_or(Value::Null, |element| rest.map_or_else(|| element.clone(), |rest| walk(element, rest)));
    }
    Value::Null
}

/// A key as part of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).collect::<String>() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(matcher: &str, value: impl Into<Value>) -> bool {
        mismatches(&Matcher(serde_json::from_str(matcher).unwrap()), &value.into(), "x").is_empty()
    }

    #[test]
    fn values_comparisons_and_operators() {
        assert!(fits("200", 200_i64) && !fits("201", 200_i64));
        assert!(fits("[200, 302]", 302_i64) && !fits("[200]", 302_i64));
        assert!(fits(r#""21""#, "21") && fits("21", "21") && !fits("22", "21"));
        assert!(fits("null", Value::Null) && !fits("null", "x"));
        assert!(
            fits(r#""< 500ms""#, Value::Duration(499_000_000)) && !fits(r#""< 500ms""#, Value::Duration(500_000_000))
        );
        assert!(fits(r#"">= 40MiB""#, 41_943_040_i64) && !fits(r#""< 40MiB""#, 41_943_040_i64));
        assert!(fits(r#""< 5""#, "< 5"), "beside a text it is a text");
        assert!(fits(r#"{"ne": "7"}"#, "8") && !fits(r#"{"ne": 7}"#, "7"));
        assert!(fits(r#"{"matches": "^a.c$", "length": 3, "contains": "b"}"#, "abc"));
        assert!(
            fits(r#"{"not-matches": "x", "not-contains": "y"}"#, "abc") && fits(r#"{"not-matches": "x"}"#, Value::Null)
        );
        assert!(fits(r#"{"exists": false}"#, Value::Null) && !fits(r#"{"exists": true}"#, Value::Null));
        assert!(fits(r#"{"in": [1, 2]}"#, 2_i64) && fits(r#"{"not-in": [1, 2]}"#, 3_i64));
        assert!(fits(r#"{"lt": "1s"}"#, Value::Duration(1)) && fits(r#"{"gt": 3}"#, "4"));
        assert!(!fits(r#"{"lt": 3}"#, Value::Null));
    }

    #[test]
    fn what_is_not_there_fits_nothing_but_null() {
        for matcher in [r#"{"ne": 7}"#, r#"{"not-in": [7]}"#, r#"{"length": 0}"#, r#""!= 0""#, r#""< 3""#] {
            assert!(!fits(matcher, Value::Null), "{matcher}");
        }
        assert!(!fits(r#"{"ne": null}"#, Value::Null) && fits(r#"{"ne": null}"#, 7_i64));
        assert!(fits(r#"{"length": 0}"#, "") && fits(r#"{"length": 0}"#, Value::List(Vec::new())));
        assert!(fits(r#""!= 0""#, 7_i64) && !fits(r#""!= 0""#, 0_i64));
    }

    #[test]
    fn messages_name_both_sides() {
        let found = mismatches(&Matcher(serde_json::json!({"contains": "z"})), &"abc".into(), "body");
        assert_eq!(
            (found[0].place.as_str(), found[0].message.as_str()),
            ("/contains", "body is \"abc\"; it must be that it contains \"z\"")
        );
        let found = mismatches(&Matcher(serde_json::json!({"a/b": 1})), &Value::Map(indexmap::IndexMap::new()), "json");
        assert_eq!((found[0].place.as_str(), found[0].message.as_str()), ("/a~1b", "json.a/b is null, not 1"));
    }
}
