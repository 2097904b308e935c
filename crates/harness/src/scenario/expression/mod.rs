//! The expressions of scenarios: `tokyo.json.hour == 9 and storm.duration.max < 1s`.
//!
//! A text is lexed and parsed once ([`Expression::parse`]); positions are kept in every node, so that a failure shows
//! which part did not hold and what its operands were ([`Expression::test`]).

mod evaluate;
mod lexer;
mod methods;
mod parser;
mod scope;
mod syntax;

use std::ops::Range;

pub use evaluate::{EvaluationError, Tested};
pub use lexer::{Lexed, Token, lex};
pub use methods::{METHODS, Method};
pub use parser::ParseError;
pub use scope::Scope;
pub use syntax::{BinaryOperator, Expr, ExprKind, UnaryOperator};

use super::value::Value;

/// A parsed expression with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    source: String,
    root: Expr,
}

/// A name that an expression speaks of, with the members that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name and the members, each with its place in the expression's text.
    pub path: Vec<(String, Range<usize>)>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where the text is none, with the place and what was expected.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let root = parser::parse(source)?;
        Ok(Self { source: source.to_owned(), root })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its outermost node.
    #[must_use]
    pub const fn root(&self) -> &Expr {
        &self.root
    }

    /// The value.
    ///
    /// # Errors
    /// Where a name is unknown or values do not go together.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvaluationError> {
        evaluate::evaluate(&self.root, scope).map(std::borrow::Cow::into_owned)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As of [`Self::evaluate`], and where its value is neither true nor false.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        evaluate::truth(&self.root, scope)
    }

    /// Whether it holds; if not, which part does not, with its operands.
    ///
    /// # Errors
    /// As of [`Self::evaluate`].
    pub fn test(&self, scope: &Scope<'_>) -> Result<Tested, EvaluationError> {
        evaluate::test(&self.source, &self.root, scope)
    }

    /// Every name it speaks of, with the members that follow.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        self.root.visit(&mut |expr| {
            if let Some(path) = expr.path() {
                found.push(Reference { path });
                return false;
            }
            true
        });
        found
    }

    /// Whether it demands that something takes at most a certain time, so that other work on the machine could spoil it.
    #[must_use]
    pub fn bounds_time_from_above(&self) -> bool {
        let mut bounded = false;
        self.root.visit(&mut |expr| {
            if let ExprKind::Binary(operator, left, right) = &expr.kind {
                let is_time = |expr: &Expr| matches!(expr.kind, ExprKind::Literal(Value::Duration(_)));
                bounded |= match operator {
                    BinaryOperator::Less | BinaryOperator::LessEqual => is_time(right),
                    BinaryOperator::Greater | BinaryOperator::GreaterEqual => is_time(left),
                    _ => false,
                };
            }
            true
        });
        bounded
    }
}

#[cfg(test)]
mod tests;
