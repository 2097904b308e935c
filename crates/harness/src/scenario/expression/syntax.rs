//! The tree of an expression.

use std::ops::Range;

use crate::scenario::value::Value;

/// A node with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A value that was written out.
    Literal(Value),
    /// A name of the scope.
    Name(String),
    /// `a.b`
    Member(Box<Expr>, String, Range<usize>),
    /// `a.b(…)`
    Call(Box<Expr>, String, Vec<Expr>, Range<usize>),
    /// `a[…]`
    Index(Box<Expr>, Box<Expr>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `not a`, `-a`
    Unary(UnaryOperator, Box<Expr>),
    /// `a == b`
    Binary(BinaryOperator, Box<Expr>, Box<Expr>),
}

/// An operator before its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOperator {
    /// `not`, `!`
    Not,
    /// `-`
    Negate,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOperator {
    /// `or`, `||`
    Or,
    /// `and`, `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `matches`: the text on the left matches the regular expression on the right.
    Matches,
    /// `contains`: the text, list or object on the left has the right one in it.
    Contains,
    /// `in`: the same, the other way around.
    In,
    /// `not in`
    NotIn,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

impl BinaryOperator {
    /// How it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// Whether it compares its operands.
    #[must_use]
    pub const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessEqual
                | Self::Greater
                | Self::GreaterEqual
                | Self::Matches
                | Self::Contains
                | Self::In
                | Self::NotIn
        )
    }
}

impl Expr {
    /// Calls a function with this node and those below; it says whether to go further down.
    pub fn visit<'a>(&'a self, function: &mut dyn FnMut(&'a Self) -> bool) {
        if !function(self) {
            return;
        }
        match &self.kind {
            ExprKind::Literal(_) | ExprKind::Name(_) => {}
            ExprKind::Member(base, ..) | ExprKind::Unary(_, base) => base.visit(function),
            ExprKind::Call(base, _, arguments, _) => {
                base.visit(function);
                arguments.iter().for_each(|argument| argument.visit(function));
            }
            ExprKind::Index(left, right) | ExprKind::Binary(_, left, right) => {
                left.visit(function);
                right.visit(function);
            }
            ExprKind::List(items) => items.iter().for_each(|item| item.visit(function)),
        }
    }

    /// The name and the members after it, if the node is nothing but that.
    #[must_use]
    pub fn path(&self) -> Option<Vec<(String, Range<usize>)>> {
        match &self.kind {
            ExprKind::Name(name) => Some(vec![(name.clone(), self.span.clone())]),
            ExprKind::Member(base, name, span) => {
                let mut path = base.path()?;
                path.push((name.clone(), span.clone()));
                Some(path)
            }
            _ => None,
        }
    }
}
