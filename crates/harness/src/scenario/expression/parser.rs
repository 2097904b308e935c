//! Tokens to tree, by precedence.

use std::ops::Range;

use super::lexer::{Lexed, Token, lex};
use super::methods::METHODS;
use super::syntax::{BinaryOperator, Expr, ExprKind, UnaryOperator};
use crate::scenario::value::Value;

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl ParseError {
    /// An error at a place.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// How deep brackets and `not` may be nested: deeper ones are no expression that anybody writes, and would use up the stack.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(source: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { tokens: lex(source)?, position: 0, end: source.len(), depth: 0 };
    if parser.tokens.is_empty() {
        return Err(ParseError::new(0..source.len(), "the expression is empty"));
    }
    let expr = parser.expression()?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<Lexed>,
    position: usize,
    end: usize,
    depth: usize,
}

/// Comparison operators, as symbols and as words.
fn comparison(token: &Token) -> Option<BinaryOperator> {
    Some(match token {
        Token::Symbol("==") => BinaryOperator::Equal,
        Token::Symbol("!=") => BinaryOperator::NotEqual,
        Token::Symbol("<") => BinaryOperator::Less,
        Token::Symbol("<=") => BinaryOperator::LessEqual,
        Token::Symbol(">") => BinaryOperator::Greater,
        Token::Symbol(">=") => BinaryOperator::GreaterEqual,
        Token::Name(word) => match word.as_str() {
            "matches" => BinaryOperator::Matches,
            "contains" => BinaryOperator::Contains,
            "in" => BinaryOperator::In,
            _ => return None,
        },
        _ => return None,
    })
}

/// Words that are no names.
const WORDS: &[&str] = &["and", "or", "not", "matches", "contains", "in"];

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position).map(|lexed| &lexed.token)
    }

    fn here(&self) -> Range<usize> {
        self.tokens.get(self.position).map_or(self.end..self.end, |lexed| lexed.span.clone())
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.position += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(found)) if found == word);
        self.position += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let error = match self.peek() {
            None => ParseError::new(self.here(), format!("the expression ends where {expected} is needed")),
            Some(Token::Symbol("=")) => ParseError::new(self.here(), "`=` is no operator").help("did you mean `==`?"),
            Some(Token::Symbol("&")) => ParseError::new(self.here(), "`&` is no operator").help("did you mean `and`?"),
            Some(Token::Symbol("|")) => ParseError::new(self.here(), "`|` is no operator").help("did you mean `or`?"),
            Some(Token::Symbol(symbol)) => {
                ParseError::new(self.here(), format!("`{symbol}` stands where {expected} is needed"))
            }
            Some(Token::Name(name)) => {
                ParseError::new(self.here(), format!("`{name}` stands where {expected} is needed"))
            }
            Some(Token::Literal(value)) => {
                ParseError::new(self.here(), format!("{value} stands where {expected} is needed"))
            }
        };
        match self.peek() {
            Some(Token::Name(name)) if error.help.is_none() && expected.starts_with("an operator") => {
                match confgen::diagnostic::closest(name, WORDS.iter().copied()) {
                    Some(word) => error.help(format!("did you mean `{word}`?")),
                    None => error,
                }
            }
            _ => error,
        }
    }

    fn expression(&mut self) -> Result<Expr, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::new(self.here(), "the expression is nested too deeply"));
        }
        let mut left = self.conjunction()?;
        while self.word("or") || self.symbol("||") {
            let right = self.conjunction()?;
            left = binary(BinaryOperator::Or, left, right);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr, ParseError> {
        let mut left = self.negation()?;
        while self.word("and") || self.symbol("&&") {
            let right = self.negation()?;
            left = binary(BinaryOperator::And, left, right);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expr, ParseError> {
        let start = self.here().start;
        if self.word("not") || self.symbol("!") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(ParseError::new(self.here(), "the expression is nested too deeply"));
            }
            let operand = self.negation()?;
            self.depth -= 1;
            let span = start..operand.span.end;
            return Ok(Expr { kind: ExprKind::Unary(UnaryOperator::Not, Box::new(operand)), span });
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, ParseError> {
        let left = self.sum()?;
        let operator = match self.peek() {
            Some(Token::Name(word)) if word == "not" => {
                self.position += 1;
                if !self.word("in") {
                    return Err(self.unexpected("`in` after `not`"));
                }
                BinaryOperator::NotIn
            }
            Some(token) => match comparison(token) {
                Some(operator) => {
                    self.position += 1;
                    operator
                }
                None => return Ok(left),
            },
            None => return Ok(left),
        };
        let right = self.sum()?;
        if self.peek().and_then(comparison).is_some() {
            return Err(ParseError::new(self.here(), "comparisons cannot be chained").help("join them by `and`"));
        }
        Ok(binary(operator, left, right))
    }

    fn sum(&mut self) -> Result<Expr, ParseError> {
        let mut left = self.product()?;
        loop {
            let operator = if self.symbol("+") {
                BinaryOperator::Add
            } else if self.symbol("-") {
                BinaryOperator::Subtract
            } else {
                return Ok(left);
            };
            let right = self.product()?;
            left = binary(operator, left, right);
        }
    }

    fn product(&mut self) -> Result<Expr, ParseError> {
        let mut left = self.sign()?;
        loop {
            let operator = if self.symbol("*") {
                BinaryOperator::Multiply
            } else if self.symbol("/") {
                BinaryOperator::Divide
            } else if self.symbol("%") {
                BinaryOperator::Remainder
            } else {
                return Ok(left);
            };
            let right = self.sign()?;
            left = binary(operator, left, right);
        }
    }

    fn sign(&mut self) -> Result<Expr, ParseError> {
        let start = self.here().start;
        let mut minus = 0;
        while self.symbol("-") {
            minus += 1;
        }
        let operand = self.postfix()?;
        if minus % 2 == 0 {
            return Ok(operand);
        }
        let span = start..operand.span.end;
        Ok(Expr { kind: ExprKind::Unary(UnaryOperator::Negate, Box::new(operand)), span })
    }

    fn postfix(&mut self) -> Result<Expr, ParseError> {
        let mut base = self.primary()?;
        loop {
            let start = base.span.start;
            if self.symbol(".") {
                let span = self.here();
                let Some(Token::Name(name)) = self.peek().cloned() else {
                    return Err(self.unexpected("a member's name"));
                };
                self.position += 1;
                if self.symbol("(") {
                    let arguments = self.list(")")?;
                    if !METHODS.iter().any(|method| method.name == name) {
                        let known: Vec<_> = METHODS.iter().map(|method| method.name).collect();
                        let error = ParseError::new(span, format!("there is no method `{name}`"));
                        return Err(match confgen::diagnostic::closest(&name, known.iter().copied()) {
                            Some(word) => error.help(format!("did you mean `{word}`?")),
                            None => error.help(format!("methods are {}", known.join(", "))),
                        });
                    }
                    let whole = start..self.previous_end();
                    base = Expr { kind: ExprKind::Call(Box::new(base), name, arguments, span), span: whole };
                } else {
                    let whole = start..span.end;
                    base = Expr { kind: ExprKind::Member(Box::new(base), name, span), span: whole };
                }
            } else if self.symbol("[") {
                let index = self.expression()?;
                if !self.symbol("]") {
                    return Err(self.unexpected("`]`"));
                }
                let whole = start..self.previous_end();
                base = Expr { kind: ExprKind::Index(Box::new(base), Box::new(index)), span: whole };
            } else {
                return Ok(base);
            }
        }
    }

    fn previous_end(&self) -> usize {
        self.position.checked_sub(1).and_then(|index| self.tokens.get(index)).map_or(0, |lexed| lexed.span.end)
    }

    /// Expressions separated by commas up to a closing bracket.
    fn list(&mut self, close: &str) -> Result<Vec<Expr>, ParseError> {
        let mut items = Vec::new();
        while !self.symbol(close) {
            if !items.is_empty() && !self.symbol(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
            if self.symbol(close) {
                break;
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn primary(&mut self) -> Result<Expr, ParseError> {
        let span = self.here();
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected("a value"));
        };
        let literal = |value| Ok(Expr { kind: ExprKind::Literal(value), span: span.clone() });
        match token {
            Token::Literal(value) => {
                self.position += 1;
                literal(value)
            }
            Token::Name(name) => match name.as_str() {
                "true" | "false" => {
                    self.position += 1;
                    literal(Value::Bool(name == "true"))
                }
                "null" => {
                    self.position += 1;
                    literal(Value::Null)
                }
                word if WORDS.contains(&word) => Err(self.unexpected("a value")),
                _ => {
                    self.position += 1;
                    Ok(Expr { kind: ExprKind::Name(name), span })
                }
            },
            Token::Symbol("(") => {
                self.position += 1;
                let inner = self.expression()?;
                if !self.symbol(")") {
                    return Err(self.unexpected("`)`"));
                }
                Ok(Expr { kind: inner.kind, span: span.start..self.previous_end() })
            }
            Token::Symbol("[") => {
                self.position += 1;
                let items = self.list("]")?;
                Ok(Expr { kind: ExprKind::List(items), span: span.start..self.previous_end() })
            }
            Token::Symbol(_) => Err(self.unexpected("a value")),
        }
    }
}

fn binary(operator: BinaryOperator, left: Expr, right: Expr) -> Expr {
    let span = left.span.start..right.span.end;
    Expr { kind: ExprKind::Binary(operator, Box::new(left), Box::new(right)), span }
}
