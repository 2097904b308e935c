//! Methods of values, among them the aggregates over lists: `.min`, `.max`, `.count`, `.all`. Parentheses may be left
//! out where there are no arguments.

use std::cmp::Ordering;

use crate::scenario::value::Value;

/// A method.
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    run: Run,
}

/// What a method does with a value and its arguments; nothing where values of this type do not have the method.
type Run = fn(&Value, &[Value]) -> Option<Result<Value, String>>;

impl Method {
    /// Runs it; nothing if values of this type do not have the method.
    pub(super) fn run(&self, value: &Value, arguments: &[Value]) -> Option<Result<Value, String>> {
        (self.run)(value, arguments)
    }
}

/// Every method.
pub const METHODS: &[Method] = &[
    Method {
        name: "min",
        help: "the smallest of a list",
        run: |v, a| list(v).map(|l| no_arguments(a).and_then(|()| extreme(l, Ordering::Less))),
    },
    Method {
        name: "max",
        help: "the largest of a list",
        run: |v, a| list(v).map(|l| no_arguments(a).and_then(|()| extreme(l, Ordering::Greater))),
    },
    Method {
        name: "sum",
        help: "the sum of a list",
        run: |v, a| list(v).map(|l| no_arguments(a).and_then(|()| sum(l))),
    },
    Method {
        name: "mean",
        help: "the mean of a list",
        run: |v, a| list(v).map(|l| no_arguments(a).and_then(|()| mean(l))),
    },
    Method {
        name: "percentile",
        help: "the value that so many percent of a list do not exceed",
        run: |v, a| list(v).map(|l| percentile(l, a)),
    },
    Method {
        name: "count",
        help: "how many are in a list; with a value: how many equal it",
        run: |v, a| list(v).map(|l| count(l, a).map(Value::from)),
    },
    Method {
        name: "all",
        help: "whether all of a list are true; with a value: whether all equal it",
        run: |v, a| list(v).map(|l| Ok((count_true(l, a)? == l.len()).into())),
    },
    Method {
        name: "any",
        help: "whether any of a list is true; with a value: whether any equals it",
        run: |v, a| list(v).map(|l| Ok((count_true(l, a)? > 0).into())),
    },
    Method {
        name: "none",
        help: "whether none of a list is true; with a value: whether none equals it",
        run: |v, a| list(v).map(|l| Ok((count_true(l, a)? == 0).into())),
    },
    Method {
        name: "distinct",
        help: "a list without repetitions",
        run: |v, a| list(v).map(|l| no_arguments(a).map(|()| distinct(l))),
    },
    Method {
        name: "sorted",
        help: "a list in order",
        run: |v, a| list(v).map(|l| no_arguments(a).and_then(|()| sorted(l).map(Value::List))),
    },
    Method {
        name: "first",
        help: "the first of a list, or null",
        run: |v, a| list(v).map(|l| no_arguments(a).map(|()| l.first().cloned().into())),
    },
    Method {
        name: "last",
        help: "the last of a list, or null",
        run: |v, a| list(v).map(|l| no_arguments(a).map(|()| l.last().cloned().into())),
    },
    Method {
        name: "len",
        help: "the length of a text, list or object",
        run: |v, a| length(v).map(|n| no_arguments(a).map(|()| n.into())),
    },
    Method {
        name: "keys",
        help: "the names of an object's members",
        run: |v, a| {
            v.members().map(|m| no_arguments(a).map(|()| Value::List(m.keys().map(|k| k.as_str().into()).collect())))
        },
    },
    Method {
        name: "values",
        help: "the values of an object's members",
        run: |v, a| v.members().map(|m| no_arguments(a).map(|()| Value::List(m.values().cloned().collect()))),
    },
    Method {
        name: "lines",
        help: "the lines of a text",
        run: |v, a| v.as_text().map(|t| no_arguments(a).map(|()| Value::List(t.lines().map(Value::from).collect()))),
    },
    Method {
        name: "lower",
        help: "a text in lower case",
        run: |v, a| v.as_text().map(|t| no_arguments(a).map(|()| t.to_lowercase().into())),
    },
    Method {
        name: "trim",
        help: "a text without white space around it",
        run: |v, a| v.as_text().map(|t| no_arguments(a).map(|()| t.trim().into())),
    },
    Method {
        name: "split",
        help: "the parts of a text between a separator",
        run: |v, a| v.as_text().map(|t| text_argument(a).map(|s| Value::List(t.split(s).map(Value::from).collect()))),
    },
    Method {
        name: "match",
        help: "the first match of a regular expression: its first group, or all of it; or null",
        run: |v, a| v.as_text().map(|t| first_match(t, a)),
    },
    Method {
        name: "find",
        help: "all matches of a regular expression: their first groups, or all of them",
        run: |v, a| v.as_text().map(|t| find(t, a)),
    },
    Method {
        name: "number",
        help: "the number that a text holds",
        run: |v, a| v.as_text().map(|t| no_arguments(a).and_then(|()| number(t))),
    },
    Method {
        name: "json",
        help: "the JSON value that a text holds",
        run: |v, a| v.as_text().map(|t| no_arguments(a).and_then(|()| json(t))),
    },
    Method {
        name: "seconds",
        help: "a duration as a number of seconds",
        run: |v, a| duration(v).map(|d| no_arguments(a).map(|()| (d as f64 / 1e9).into())),
    },
];

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(values) => Some(values),
        _ => None,
    }
}

const fn duration(value: &Value) -> Option<i64> {
    match value {
        Value::Duration(nanos) => Some(*nanos),
        _ => None,
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Text(text) => Some(text.chars().count()),
        Value::List(values) => Some(values.len()),
        Value::Map(members) | Value::Record(members) => Some(members.len()),
        _ => None,
    }
}

const fn no_arguments(arguments: &[Value]) -> Result<(), String> {
    if arguments.is_empty() { Ok(()) } else { Err(String::new()) }
}

fn text_argument(arguments: &[Value]) -> Result<&str, String> {
    match arguments {
        [Value::Text(text)] => Ok(text),
        _ => Err("it takes one text".to_owned()),
    }
}

fn regex_argument(arguments: &[Value]) -> Result<regex::Regex, String> {
    regex::Regex::new(text_argument(arguments)?).map_err(|error| error.to_string())
}

fn extreme(values: &[Value], wanted: Ordering) -> Result<Value, String> {
    let mut best: Option<&Value> = None;
    for value in values {
        best = Some(match best {
            None => value,
            Some(so_far) => match value.order(so_far) {
                Some(order) if order == wanted => value,
                Some(_) => so_far,
                None => return Err(format!("{} and {} have no order", so_far.kind(), value.kind())),
            },
        });
    }
    Ok(best.cloned().unwrap_or_default())
}

fn sum(values: &[Value]) -> Result<Value, String> {
    let mut total = match values.first() {
        None => return Ok(Value::Int(0)),
        Some(first) => first.clone(),
    };
    for value in &values[1..] {
        total = super::evaluate::add(&total, value)?;
    }
    match total {
        Value::Int(_) | Value::Float(_) | Value::Duration(_) => Ok(total),
        other => Err(format!("{} cannot be summed up", other.kind())),
    }
}

fn mean(values: &[Value]) -> Result<Value, String> {
    let count = values.len();
    if count == 0 {
        return Ok(Value::Null);
    }
    Ok(match sum(values)? {
        Value::Duration(nanos) => Value::Duration(nanos / i64::try_from(count).unwrap_or(i64::MAX)),
        other => Value::Float(other.as_number().unwrap_or_default() / count as f64),
    })
}

fn sorted(values: &[Value]) -> Result<Vec<Value>, String> {
    let mut sorted = values.to_vec();
    for pair in values.windows(2) {
        if pair[0].order(&pair[1]).is_none() {
            return Err(format!("{} and {} have no order", pair[0].kind(), pair[1].kind()));
        }
    }
    sorted.sort_by(|a, b| a.order(b).unwrap_or(Ordering::Equal));
    Ok(sorted)
}

fn percentile(values: &[Value], arguments: &[Value]) -> Result<Value, String> {
    let share = match arguments {
        [share] => share.as_number().filter(|share| (0.0..=100.0).contains(share)),
        _ => None,
    };
    let share = share.ok_or("it takes a number from 0 to 100")?;
    let sorted = sorted(values)?;
    if sorted.is_empty() {
        return Ok(Value::Null);
    }
    let rank = (share / 100.0 * sorted.len() as f64).ceil() as usize;
    Ok(sorted[rank.clamp(1, sorted.len()) - 1].clone())
}

fn count(values: &[Value], arguments: &[Value]) -> Result<usize, String> {
    match arguments {
        [] => Ok(values.len()),
        [wanted] => Ok(values.iter().filter(|value| value.same(wanted) == Some(true)).count()),
        _ => Err("it takes at most one value".to_owned()),
    }
}

fn count_true(values: &[Value], arguments: &[Value]) -> Result<usize, String> {
    match arguments {
        [] => values.iter().try_fold(0, |count, value| match value {
            Value::Bool(holds) => Ok(count + usize::from(*holds)),
            other => Err(format!("expected a list of true and false, got {}: {other}", other.kind())),
        }),
        _ => count(values, arguments),
    }
}

fn distinct(values: &[Value]) -> Value {
    let mut distinct: Vec<Value> = Vec::new();
    for value in values {
        if !distinct.iter().any(|known| known.same(value) == Some(true)) {
            distinct.push(value.clone());
        }
    }
    Value::List(distinct)
}

fn group(captures: &regex::Captures<'_>) -> Value {
    captures.get(1).or_else(|| captures.get(0)).map(|found| found.as_str()).into()
}

fn first_match(text: &str, arguments: &[Value]) -> Result<Value, String> {
    Ok(regex_argument(arguments)?.captures(text).map_or(Value::Null, |captures| group(&captures)))
}

fn find(text: &str, arguments: &[Value]) -> Result<Value, String> {
    Ok(Value::List(regex_argument(arguments)?.captures_iter(text).map(|captures| group(&captures)).collect()))
}

fn number(text: &str) -> Result<Value, String> {
    let text = text.trim();
    text.parse::<i64>()
        .map(Value::Int)
        .or_else(|_| text.parse::<f64>().map(Value::Float))
        .map_err(|_| format!("{text:?} is not a number"))
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map(|json: serde_json::Value| Value::from(&json)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_names_of_their_own() {
        for (index, method) in METHODS.iter().enumerate() {
            assert!(METHODS[..index].iter().all(|other| other.name != method.name), "{}", method.name);
            assert!(!method.help.is_empty());
        }
    }
}
