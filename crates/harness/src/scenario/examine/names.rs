//! The names that an expression can speak of, before anything has run.

use std::ops::Range;

use confgen::document::{Node, Span};
use indexmap::IndexMap;

use crate::scenario::expression::{Expression, METHODS};
use crate::scenario::problem::{Code, Problem};
use crate::scenario::schema::{COMMON_MEMBERS, SCOPE, StepKind};

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
}

/// Names known at a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    vars: Vec<String>,
    ports: Vec<String>,
    results: IndexMap<String, Shape>,
    plain: Vec<String>,
}

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
                                .did_you_mean(member, &shape.members),
                        );
                    }
                    continue;
                }
                "vars" => self.vars.iter().map(String::as_str).collect(),
                "matrix" => vec!["mpm", "mode", "module", "python"],
                "ports" => self.ports.iter().map(String::as_str).collect(),
                "start" => vec!["ok", "error", "code", "file", "line", "log"],
                "log" => vec!["error", "access", "console"],
                _ if SCOPE.iter().any(|member| member.name == name) => continue,
                _ => {
                    let mut known: Vec<&str> = self.result_ids();
                    known.extend(self.plain.iter().map(String::as_str));
                    known.extend(own.into_iter().flat_map(|shape| shape.members.iter().copied()));
                    known.extend(SCOPE.iter().map(|member| member.name));
                    problems.push(
                        Problem::error(Code::UnknownName, format!("there is no `{name}` here"))
                            .at(place(part), "")
                            .did_you_mean(name, &known),
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
                        .did_you_mean(member, &known),
                );
            }
        }
    }
}
