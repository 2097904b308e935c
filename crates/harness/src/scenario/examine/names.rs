//! The names that an expression can speak of, before anything has run.

use std::ops::Range;

use confgen::document::{Node, Span};
use indexmap::IndexMap;

use crate::scenario::expression::{Expr, ExprKind, Expression, METHODS};
use crate::scenario::problem::{Code, Problem};
use crate::scenario::schema::{COMMON_MEMBERS, SCOPE, StepKind};
use crate::scenario::value::Value;

/// The members of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Their names.
    pub(super) members: Vec<&'static str>,
    /// What kind of result it is, for messages.
    pub(super) kind: &'static str,
}

impl Shape {
    /// The shape of a step: what its kind gives, and what the steps inside give through it.
    pub(super) fn new(kind: StepKind, nested: &[Self], repeated: bool) -> Self {
        let own = kind.definition().members.iter().chain(COMMON_MEMBERS).map(|member| member.name);
        let mut members: Vec<_> = own.collect();
        for name in nested.iter().flat_map(|shape| &shape.members) {
            if !members.contains(name) {
                members.push(name);
            }
        }
        if repeated {
            members.extend(
                ["results", "elapsed"].iter().filter(|name| !members.contains(name)).copied().collect::<Vec<_>>(),
            );
        }
        Self { members, kind: kind.name() }
    }

    /// The shape of one of the results of a concurrent or repeated step.
    pub(super) fn of_one(&self) -> Self {
        let members = self.members.iter().filter(|name| !["results", "elapsed"].contains(name)).copied();
        Self { members: members.collect(), kind: self.kind }
    }
}

/// Names known at a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    vars: Vec<String>,
    ports: Vec<String>,
    results: IndexMap<String, Shape>,
    plain: Vec<String>,
    /// Whether this is inside a concurrent step, and inside a repeated one.
    client: bool,
    index: bool,
}

/// Members whose values are durations, and methods that keep them so.
pub(super) const DURATIONS: &[&str] = &["duration", "first-byte"];
const KEEPERS: &[&str] = &["min", "max", "mean", "sum", "first", "last"];

impl Names {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn add_vars(&mut self, vars: &Node) {
        self.vars.extend(vars.as_map().into_iter().flat_map(|map| &map.entries).map(|entry| entry.key.clone()));
    }

    pub(super) fn add_ports(&mut self, ports: &Node) {
        self.ports.extend(ports.as_seq().unwrap_or_default().iter().filter_map(Node::as_str).map(str::to_owned));
    }

    /// The same names inside a step that several clients do at once.
    pub(super) fn inside_concurrent(mut self) -> Self {
        self.client = true;
        self.index = true;
        self
    }

    /// The same names inside a repeated step.
    pub(super) fn inside_repetition(mut self) -> Self {
        self.index = true;
        self
    }

    /// A captured name, or one of a loop.
    pub(super) fn add_plain(&mut self, name: &str) {
        self.plain.push(name.to_owned());
    }

    /// A step's result.
    pub(super) fn add_result(&mut self, id: &str, shape: Shape) {
        self.results.insert(id.to_owned(), shape);
    }

    pub(super) fn has_result(&self, id: &str) -> bool {
        self.results.contains_key(id)
    }

    pub(super) fn result_ids(&self) -> Vec<&str> {
        self.results.keys().map(String::as_str).collect()
    }

    /// Whether a name has a meaning of its own.
    pub(super) fn is_reserved(name: &str) -> bool {
        SCOPE.iter().any(|member| member.name == name)
            || ["true", "false", "null", "and", "or", "not", "in", "matches", "contains"].contains(&name)
    }

    /// Checks every name of an expression. `place` turns a part of its text into a place of the file.
    pub(super) fn check(
        &self,
        expression: &Expression,
        own: Option<&Shape>,
        place: &dyn Fn(&Range<usize>) -> Span,
        problems: &mut Vec<Problem>,
    ) {
        self.check_comparisons(expression, own, place, problems);
        for reference in expression.references() {
            let Some((name, part)) = reference.path.first() else { continue };
            let member = reference.path.get(1);
            if own.is_some_and(|shape| shape.members.contains(&name.as_str())) || self.plain.contains(name) {
                continue;
            }
            let known: Vec<&str> = match name.as_str() {
                _ if self.results.contains_key(name) => {
                    let shape = &self.results[name];
                    if let Some((member, part)) = member
                        && !shape.members.contains(&member.as_str())
                    {
                        let message = format!("the result of `{name}` ({}) has no `{member}`", shape.kind);
                        problems.push(
                            Problem::error(Code::UnknownMember, message)
                                .at(place(part), "")
                                .known(member, &shape.members),
                        );
                    }
                    continue;
                }
                "vars" => self.vars.iter().map(String::as_str).collect(),
                "matrix" => vec!["mpm", "mode", "module", "python"],
                "ports" => self.ports.iter().map(String::as_str).collect(),
                "start" => vec!["ok", "error", "code", "file", "line", "log"],
                "log" => vec!["error", "access", "console"],
                "client" | "index" => {
                    let (known, inside) = match name.as_str() {
                        "client" => (self.client, "concurrent"),
                        _ => (self.index, "concurrent and repeated"),
                    };
                    if !known {
                        let message = format!("`{name}` has a value only inside of {inside} steps");
                        problems.push(Problem::error(Code::OutOfPlace, message).at(place(part), ""));
                    }
                    continue;
                }
                _ if SCOPE.iter().any(|member| member.name == name) => continue,
                _ => {
                    let mut known: Vec<&str> = self.result_ids();
                    known.extend(self.plain.iter().map(String::as_str));
                    known.extend(own.into_iter().flat_map(|shape| shape.members.iter().copied()));
                    known.extend(SCOPE.iter().map(|member| member.name));
                    problems.push(
                        Problem::error(Code::UnknownName, format!("there is no `{name}` here"))
                            .at(place(part), "")
                            .known(name, &known),
                    );
                    continue;
                }
            };
            if let Some((member, part)) = member
                && !known.contains(&member.as_str())
                && !METHODS.iter().any(|method| method.name == member)
            {
                problems.push(
                    Problem::error(Code::UnknownMember, format!("`{name}` has no `{member}`"))
                        .at(place(part), "")
                        .known(member, &known),
                );
            }
        }
    }

    /// A duration is compared with a duration: `x.duration < 1000` fails at run time, after everything has been done.
    fn check_comparisons(
        &self,
        expression: &Expression,
        own: Option<&Shape>,
        place: &dyn Fn(&Range<usize>) -> Span,
        problems: &mut Vec<Problem>,
    ) {
        let is_duration = |expr: &Expr| {
            let Some(path) = expr.path() else { return false };
            let mut names: Vec<&str> = path.iter().map(|(name, _)| name.as_str()).collect();
            let known =
                own.is_some_and(|shape| shape.members.contains(&names[0])) || self.results.contains_key(names[0]);
            while names.len() > 1 && names.last().is_some_and(|name| KEEPERS.contains(name)) {
                names.pop();
            }
            // What a JSON body calls a duration is the application's.
            known && names.len() <= 2 && names.last().is_some_and(|name| DURATIONS.contains(name))
        };
        let is_number = |expr: &Expr| matches!(expr.kind, ExprKind::Literal(Value::Int(_) | Value::Float(_)));
        expression.root().visit(&mut |expr| {
            if let ExprKind::Binary(operator, left, right) = &expr.kind
                && operator.compares()
                && ((is_duration(left) && is_number(right)) || (is_number(left) && is_duration(right)))
            {
                problems.push(
                    Problem::error(Code::Comparison, "a duration cannot be compared with a number")
                        .at(place(&expr.span), "")
                        .help("write the unit, as in `x.duration < 1000ms`"),
                );
            }
            true
        });
    }
}
