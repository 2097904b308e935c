//! The value of a tree.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::methods::METHODS;
use super::scope::Scope;
use super::syntax::{BinaryOperator, Expr, ExprKind, UnaryOperator};
use crate::runner::outcome::Operand;
use crate::scenario::value::Value;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    /// The part of the text that has none.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether another answer of the server could have a value, so that waiting for one makes sense.
    pub may_pass: bool,
}

impl EvaluationError {
    fn new(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self { span: span.clone(), message: message.into(), help: None, may_pass: false }
    }

    /// An error of the data, not of the expression.
    fn of_data(span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), may_pass: true, ..Self::new(span, message) }
    }

    fn did_you_mean<'k>(mut self, written: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        self.help = confgen::diagnostic::closest(written, known).map(|word| format!("did you mean `{word}`?"));
        self
    }
}

/// What came of a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// Whether it holds.
    pub holds: bool,
    /// The part that decided.
    pub span: Range<usize>,
    /// The operands of that part with their values.
    pub operands: Vec<Operand>,
}

type Evaluated<'a> = Result<Cow<'a, Value>, EvaluationError>;

pub(super) fn evaluate<'a>(expr: &'a Expr, scope: &'a Scope<'_>) -> Evaluated<'a> {
    match &expr.kind {
        ExprKind::Literal(value) => Ok(Cow::Borrowed(value)),
        ExprKind::Name(name) => scope.get(name).map(Cow::Borrowed).ok_or_else(|| {
            EvaluationError::new(&expr.span, format!("there is no `{name}` here")).did_you_mean(name, scope.names())
        }),
        ExprKind::Member(base, name, span) => {
            let value = evaluate(base, scope)?;
            require_json(base, &value)?;
            member(value, name, span)
        }
        ExprKind::Call(base, name, arguments, span) => {
            let value = evaluate(base, scope)?;
            require_json(base, &value)?;
            let arguments = arguments
                .iter()
                .map(|argument| evaluate(argument, scope).map(Cow::into_owned))
                .collect::<Result<Vec<_>, _>>()?;
            call(&value, name, &arguments, span).map(Cow::Owned)
        }
        ExprKind::Index(base, index) => {
            let value = evaluate(base, scope)?;
            require_json(base, &value)?;
            match evaluate(index, scope)?.as_ref() {
                Value::Text(key) => match value.members() {
                    // Header names are the members that need this form; they are kept in lower case.
                    Some(members) => Ok(Cow::Owned(
                        members.get(key).or_else(|| members.get(&key.to_lowercase())).cloned().unwrap_or_default(),
                    )),
                    None => member(value, key, &index.span),
                },
                Value::Int(position) => element(&value, *position, &index.span).map(Cow::Owned),
                other => Err(EvaluationError::new(&index.span, format!("{} is no index", other.kind()))),
            }
        }
        ExprKind::List(items) => {
            let items =
                items.iter().map(|item| evaluate(item, scope).map(Cow::into_owned)).collect::<Result<_, _>>()?;
            Ok(Cow::Owned(Value::List(items)))
        }
        ExprKind::Unary(UnaryOperator::Not, operand) => Ok(Cow::Owned(Value::Bool(!truth(operand, scope)?))),
        ExprKind::Unary(UnaryOperator::Negate, operand) => match evaluate(operand, scope)?.as_ref() {
            Value::Int(value) => Ok(Cow::Owned(Value::Int(value.wrapping_neg()))),
            Value::Float(value) => Ok(Cow::Owned(Value::Float(-value))),
            Value::Duration(value) => Ok(Cow::Owned(Value::Duration(value.wrapping_neg()))),
            other => Err(EvaluationError::new(&expr.span, format!("{} has no negative", other.kind()))),
        },
        ExprKind::Binary(operator, left, right) => match operator {
            BinaryOperator::And => {
                let holds = truth(left, scope)? && truth(right, scope)?;
                Ok(Cow::Owned(Value::Bool(holds)))
            }
            BinaryOperator::Or => {
                let holds = truth(left, scope)? || truth(right, scope)?;
                Ok(Cow::Owned(Value::Bool(holds)))
            }
            _ => {
                let values = (evaluate(left, scope)?, evaluate(right, scope)?);
                distinguishable(*operator, expr, (left, &values.0), (right, &values.1))?;
                apply(*operator, &values.0, &values.1)
                    .map(Cow::Owned)
                    .map_err(|message| EvaluationError::new(&expr.span, message))
            }
        },
    }
}

/// Whether a condition holds. Only `true` and `false` are conditions: a text, a number or null would hold by accident.
pub(super) fn truth(expr: &Expr, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
    as_truth(&expr.span, evaluate(expr, scope)?.as_ref())
}

fn as_truth(span: &Range<usize>, value: &Value) -> Result<bool, EvaluationError> {
    match value {
        Value::Bool(holds) => Ok(*holds),
        other => {
            let shown: String = other.to_string().chars().take(SHOWN).collect();
            let message = match other {
                Value::Null => "expected true or false, got null".to_owned(),
                _ => format!("expected true or false, got {}: {shown}", other.kind()),
            };
            Err(EvaluationError::of_data(
                span,
                message,
                "compare it with the value you expect, as in `… == 200` or `… != null`",
            ))
        }
    }
}

/// How much of a value a message shows.
const SHOWN: usize = 80;

/// An answer that is not JSON has no members. They are not null either: `x.json.error == null` would hold for every page
/// of errors.
fn require_json(base: &Expr, value: &Value) -> Result<(), EvaluationError> {
    let (ExprKind::Name(name) | ExprKind::Member(_, name, _)) = &base.kind else { return Ok(()) };
    if name != "json" {
        return Ok(());
    }
    let message = match value {
        Value::Null => "the body is not JSON (or there is no body), so it has no members".to_owned(),
        Value::List(bodies) if bodies.contains(&Value::Null) => {
            let missing = bodies.iter().filter(|body| **body == Value::Null).count();
            format!("{missing} of {} bodies are not JSON, so they have no members", bodies.len())
        }
        _ => return Ok(()),
    };
    Err(EvaluationError::of_data(
        &base.span,
        message,
        "test for that with `json == null`, or look at `status` and `body`",
    ))
}

/// Two values that are both missing are not equal in any way that tells something.
fn distinguishable(
    operator: BinaryOperator,
    expr: &Expr,
    left: (&Expr, &Value),
    right: (&Expr, &Value),
) -> Result<(), EvaluationError> {
    let missing = |(expr, value): (&Expr, &Value)| *value == Value::Null && !matches!(expr.kind, ExprKind::Literal(_));
    if matches!(operator, BinaryOperator::Equal | BinaryOperator::NotEqual) && missing(left) && missing(right) {
        return Err(EvaluationError::of_data(
            &expr.span,
            "both sides are null, so comparing them tells nothing",
            "to test for a missing value, compare each side with `null`",
        ));
    }
    Ok(())
}

/// A member of a value. Of a list: the list of its elements' members, or an aggregate.
fn member<'a>(value: Cow<'a, Value>, name: &str, span: &Range<usize>) -> Evaluated<'a> {
    match value.as_ref() {
        Value::Null => return Ok(Cow::Owned(Value::Null)),
        Value::Map(members) | Value::Record(members) if members.contains_key(name) => {
            return Ok(match value {
                Cow::Borrowed(Value::Map(members) | Value::Record(members)) => Cow::Borrowed(&members[name]),
                Cow::Owned(Value::Map(mut members) | Value::Record(mut members)) => {
                    Cow::Owned(members.swap_remove(name).unwrap_or_default())
                }
                _ => Cow::Owned(Value::Null),
            });
        }
        _ => {}
    }
    if let Ok(position) = name.parse::<i64>() {
        return element(&value, position, span).map(Cow::Owned);
    }
    let method = METHODS.iter().find(|method| method.name == name);
    if let Some(result) = method.and_then(|method| method.run(&value, &[])) {
        return result.map(Cow::Owned).map_err(|reason| EvaluationError::new(span, explain(name, &reason)));
    }
    match value.as_ref() {
        Value::List(values) => {
            let members = values.iter().map(|value| member(Cow::Borrowed(value), name, span).map(Cow::into_owned));
            Ok(Cow::Owned(Value::List(members.collect::<Result<_, _>>()?)))
        }
        // What a concurrent or repeated step does not have itself, its results have.
        Value::Record(members) => match members.get("results") {
            Some(results @ Value::List(_)) => {
                member(Cow::Borrowed(results), name, span).map(|value| Cow::Owned(value.into_owned()))
            }
            _ => {
                let known: Vec<_> = members.keys().map(String::as_str).collect();
                let error = EvaluationError::new(span, format!("there is no `{name}`, only {}", known.join(", ")));
                Err(error.did_you_mean(name, known))
            }
        },
        Value::Map(_) => Ok(Cow::Owned(Value::Null)),
        other => {
            let methods = METHODS.iter().map(|method| method.name);
            Err(EvaluationError::new(span, format!("{} has no `{name}`", other.kind())).did_you_mean(name, methods))
        }
    }
}

fn element(value: &Value, position: i64, span: &Range<usize>) -> Result<Value, EvaluationError> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::List(values) => {
            let length = i64::try_from(values.len()).unwrap_or(i64::MAX);
            let position = if position < 0 { position + length } else { position };
            Ok(usize::try_from(position).ok().and_then(|position| values.get(position)).cloned().unwrap_or_default())
        }
        other => Err(EvaluationError::new(span, format!("{} has no elements", other.kind()))),
    }
}

fn call(value: &Value, name: &str, arguments: &[Value], span: &Range<usize>) -> Result<Value, EvaluationError> {
    if *value == Value::Null {
        return Ok(Value::Null);
    }
    let method = METHODS.iter().find(|method| method.name == name);
    match method.and_then(|method| method.run(value, arguments)) {
        Some(result) => result.map_err(|reason| EvaluationError::new(span, explain(name, &reason))),
        // A method of texts over a list of texts, as in `storm.body.match("x")`.
        None => match value {
            Value::List(values) => {
                values.iter().map(|value| call(value, name, arguments, span)).collect::<Result<_, _>>().map(Value::List)
            }
            other => Err(EvaluationError::new(span, format!("{} has no method `{name}`", other.kind()))),
        },
    }
}

fn explain(name: &str, reason: &str) -> String {
    if reason.is_empty() { format!("`{name}` takes no value") } else { format!("`{name}`: {reason}") }
}

/// Applies an operator; the error is a message.
fn apply(operator: BinaryOperator, left: &Value, right: &Value) -> Result<Value, String> {
    let order = || {
        left.order(right).ok_or_else(|| {
            format!("{} and {} have no order: {left} {} {right}", left.kind(), right.kind(), operator.symbol())
        })
    };
    let same = || {
        left.same(right).ok_or_else(|| {
            format!("{} and {} cannot be compared: {left} {} {right}", left.kind(), right.kind(), operator.symbol())
        })
    };
    let holds = match operator {
        BinaryOperator::Equal => same()?,
        BinaryOperator::NotEqual => !same()?,
        BinaryOperator::Less => order()? == Ordering::Less,
        BinaryOperator::LessEqual => order()? != Ordering::Greater,
        BinaryOperator::Greater => order()? == Ordering::Greater,
        BinaryOperator::GreaterEqual => order()? != Ordering::Less,
        BinaryOperator::Matches => matches(left, right)?,
        BinaryOperator::Contains => contains(left, right)?,
        BinaryOperator::In => contains(right, left)?,
        BinaryOperator::NotIn => !contains(right, left)?,
        // Both are evaluated lazily, before this function is called.
        BinaryOperator::And | BinaryOperator::Or => return Err(format!("`{}` joins conditions", operator.symbol())),
        BinaryOperator::Add => return add(left, right),
        BinaryOperator::Subtract | BinaryOperator::Multiply | BinaryOperator::Divide | BinaryOperator::Remainder => {
            return arithmetic(operator, left, right);
        }
    };
    Ok(Value::Bool(holds))
}

fn matches(value: &Value, pattern: &Value) -> Result<bool, String> {
    let Value::Text(pattern) = pattern else {
        return Err(format!("a regular expression is a text, not {}", pattern.kind()));
    };
    let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
    match value {
        Value::Null => Ok(false),
        Value::Text(text) => Ok(pattern.is_match(text)),
        Value::List(values) => Ok(values.iter().any(|value| pattern.is_match(&value.to_text()))),
        other => Ok(pattern.is_match(&other.to_text())),
    }
}

fn contains(whole: &Value, part: &Value) -> Result<bool, String> {
    match (whole, part) {
        (Value::Null, _) => Ok(false),
        (Value::Text(text), Value::Text(part)) => Ok(text.contains(part.as_str())),
        (Value::List(values), part) => Ok(values.iter().any(|value| value.same(part) == Some(true))),
        (Value::Map(members) | Value::Record(members), Value::Text(name)) => Ok(members.contains_key(name)),
        _ => Err(format!("{} cannot contain {}", whole.kind(), part.kind())),
    }
}

/// The sum; texts and lists are joined.
pub(super) fn add(left: &Value, right: &Value) -> Result<Value, String> {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => Ok(Value::Text(format!("{a}{b}"))),
        (Value::List(a), Value::List(b)) => Ok(Value::List(a.iter().chain(b).cloned().collect())),
        _ => arithmetic(BinaryOperator::Add, left, right),
    }
}

/// Arithmetic on numbers and durations. What does not fit into 64 bits is an error, never a wrong number.
fn arithmetic(operator: BinaryOperator, left: &Value, right: &Value) -> Result<Value, String> {
    let overflow = || format!("{left} {} {right} is too large", operator.symbol());
    let unsupported = || format!("{} {} {} has no meaning", left.kind(), operator.symbol(), right.kind());
    let by_zero = || format!("{left} {} {right}: division by zero", operator.symbol());
    let is_zero = |value: &Value| matches!(value, Value::Int(0) | Value::Duration(0)) || value.as_number() == Some(0.0);
    if matches!(operator, BinaryOperator::Divide | BinaryOperator::Remainder) && is_zero(right) {
        return Err(by_zero());
    }
    let nanos = |value: f64| {
        if value.abs() < i64::MAX as f64 { Ok(Value::Duration(value.round() as i64)) } else { Err(overflow()) }
    };
    match (operator, left, right) {
        (BinaryOperator::Divide, Value::Duration(a), Value::Duration(b)) => Ok(Value::Float(*a as f64 / *b as f64)),
        (BinaryOperator::Divide, Value::Int(a), Value::Int(b)) if a.checked_rem(*b) == Some(0) => {
            a.checked_div(*b).map(Value::Int).ok_or_else(overflow)
        }
        (
            BinaryOperator::Add | BinaryOperator::Subtract | BinaryOperator::Remainder,
            Value::Duration(a),
            Value::Duration(b),
        ) => integer(operator, *a, *b).map(Value::Duration).ok_or_else(overflow),
        (
            BinaryOperator::Add | BinaryOperator::Subtract | BinaryOperator::Multiply | BinaryOperator::Remainder,
            Value::Int(a),
            Value::Int(b),
        ) => integer(operator, *a, *b).map(Value::Int).ok_or_else(overflow),
        (BinaryOperator::Multiply, Value::Duration(a), factor)
        | (BinaryOperator::Multiply, factor, Value::Duration(a)) => {
            nanos(*a as f64 * factor.as_number().ok_or_else(unsupported)?)
        }
        (BinaryOperator::Divide, Value::Duration(a), divisor) => {
            nanos(*a as f64 / divisor.as_number().ok_or_else(unsupported)?)
        }
        _ => {
            let (a, b) = left.as_number().zip(right.as_number()).ok_or_else(unsupported)?;
            Ok(Value::Float(match operator {
                BinaryOperator::Add => a + b,
                BinaryOperator::Subtract => a - b,
                BinaryOperator::Multiply => a * b,
                BinaryOperator::Divide => a / b,
                _ => a % b,
            }))
        }
    }
}

const fn integer(operator: BinaryOperator, a: i64, b: i64) -> Option<i64> {
    match operator {
        BinaryOperator::Add => a.checked_add(b),
        BinaryOperator::Subtract => a.checked_sub(b),
        BinaryOperator::Multiply => a.checked_mul(b),
        _ => a.checked_rem(b),
    }
}

/// Whether a condition holds, and which part of it decided with which operands.
pub(super) fn test(source: &str, expr: &Expr, scope: &Scope<'_>) -> Result<Tested, EvaluationError> {
    let operand = |expr: &Expr| -> Result<Operand, EvaluationError> {
        let label = source.get(expr.span.clone()).unwrap_or_default().to_owned();
        Ok(Operand { label, value: evaluate(expr, scope)?.into_owned() })
    };
    match &expr.kind {
        ExprKind::Binary(BinaryOperator::And, left, right) => {
            let tested = test(source, left, scope)?;
            if !tested.holds { Ok(tested) } else { test(source, right, scope) }
        }
        ExprKind::Binary(BinaryOperator::Or, left, right) => {
            let first = test(source, left, scope)?;
            if first.holds {
                return Ok(first);
            }
            let second = test(source, right, scope)?;
            if second.holds {
                return Ok(second);
            }
            let operands = first.operands.into_iter().chain(second.operands).collect();
            Ok(Tested { holds: false, span: expr.span.clone(), operands })
        }
        ExprKind::Unary(UnaryOperator::Not, inner) => {
            let tested = test(source, inner, scope)?;
            Ok(Tested { holds: !tested.holds, span: expr.span.clone(), operands: tested.operands })
        }
        ExprKind::Binary(operator, left, right) if operator.compares() => {
            let values = (operand(left)?, operand(right)?);
            distinguishable(*operator, expr, (left, &values.0.value), (right, &values.1.value))?;
            let holds = apply(*operator, &values.0.value, &values.1.value)
                .map_err(|message| EvaluationError::new(&expr.span, message))?;
            let holds = as_truth(&expr.span, &holds)?;
            Ok(Tested { holds, span: expr.span.clone(), operands: vec![values.0, values.1] })
        }
        _ => {
            let operand = operand(expr)?;
            let holds = as_truth(&expr.span, &operand.value)?;
            Ok(Tested { holds, span: expr.span.clone(), operands: vec![operand] })
        }
    }
}
