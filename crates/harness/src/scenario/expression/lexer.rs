//! Text to tokens. Filters use the same tokens.

use std::ops::Range;

use winnow::ascii::multispace0;
use winnow::combinator::{alt, opt, preceded, repeat};
use winnow::prelude::*;
use winnow::stream::LocatingSlice;
use winnow::token::{any, none_of, one_of, take_while};

use super::parser::ParseError;
use crate::scenario::quantity::{size_unit, time_unit, unit_names};
use crate::scenario::value::Value;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A number, text, duration or size.
    Literal(Value),
    /// A name; words such as `and` are names here.
    Name(String),
    /// An operator or bracket.
    Symbol(&'static str),
}

/// A token with its bytes in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Lexed {
    /// The token.
    pub token: Token,
    /// Its bytes.
    pub span: Range<usize>,
}

type Input<'a> = LocatingSlice<&'a str>;

/// Symbols, longer ones before those they begin with.
const SYMBOLS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ".", ",", "+", "-", "*", "/", "%", "=", "&",
    "|",
];

/// What a piece of text is before its meaning is looked at.
enum Raw<'a> {
    Number(&'a str, &'a str),
    Name(&'a str),
    Text(String),
    Symbol(&'static str),
}

fn number<'a>(input: &mut Input<'a>) -> winnow::Result<Raw<'a>> {
    let digits = (
        take_while(1.., |c: char| c.is_ascii_digit() || c == '_'),
        opt(('.', take_while(1.., |c: char| c.is_ascii_digit() || c == '_'))),
    )
        .take();
    (digits, take_while(0.., |c: char| c.is_alphanumeric() || c == '_'))
        .map(|(number, unit)| Raw::Number(number, unit))
        .parse_next(input)
}

/// A name: letters, digits, underscores, and dashes between them (`second-tokyo`), so a difference needs spaces.
fn name<'a>(input: &mut Input<'a>) -> winnow::Result<Raw<'a>> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (
        one_of(|c: char| c.is_ascii_alphabetic() || c == '_'),
        take_while(0.., word),
        repeat::<_, _, (), _, _>(0.., ('-', take_while(1.., word))),
    )
        .take()
        .map(Raw::Name)
        .parse_next(input)
}

fn escaped(input: &mut Input<'_>) -> winnow::Result<char> {
    preceded('\\', any)
        .map(|c| match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            other => other,
        })
        .parse_next(input)
}

/// `"…"` with escapes. An unknown escape such as `\d` keeps its backslash, as regular expressions need it.
fn double_quoted<'a>(input: &mut Input<'a>) -> winnow::Result<Raw<'a>> {
    let known =
        preceded(winnow::combinator::peek(('\\', one_of(['n', 'r', 't', '0', '\\', '"']))), escaped).map(String::from);
    let kept = ('\\', any).take().map(str::to_owned);
    let plain = none_of(['"', '\\']).map(String::from);
    let parts = repeat(0.., alt((known, kept, plain))).fold(String::new, |mut text, part: String| {
        text.push_str(&part);
        text
    });
    ('"', parts, '"').map(|(_, text, _)| Raw::Text(text)).parse_next(input)
}

/// `'…'`, taken literally; `''` is one quote.
fn single_quoted<'a>(input: &mut Input<'a>) -> winnow::Result<Raw<'a>> {
    let part = alt(("''".value('\''), none_of('\'')));
    ('\'', repeat::<_, _, String, _, _>(0.., part), '\'').map(|(_, text, _)| Raw::Text(text)).parse_next(input)
}

fn symbol<'a>(input: &mut Input<'a>) -> winnow::Result<Raw<'a>> {
    for known in SYMBOLS {
        if input.as_ref().starts_with(known) {
            let length = known.chars().count();
            winnow::token::take(length).parse_next(input)?;
            return Ok(Raw::Symbol(known));
        }
    }
    winnow::combinator::fail.parse_next(input)
}

/// Splits a text into tokens.
///
/// # Errors
/// At a character that begins no token, an open quote, or a number with an unknown unit.
pub fn lex(text: &str) -> Result<Vec<Lexed>, ParseError> {
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        let _: winnow::Result<&str> = multispace0.parse_next(&mut input);
        let rest: &str = input.as_ref();
        if rest.is_empty() {
            return Ok(tokens);
        }
        let start = text.len() - rest.len();
        // A member that follows a dot may be a bare index, which must not swallow the next dot as a fraction.
        let after_dot = matches!(tokens.last(), Some(Lexed { token: Token::Symbol("."), .. }));
        if after_dot && rest.starts_with(|c: char| c.is_ascii_digit()) {
            let digits: winnow::Result<&str> = take_while(1.., |c: char| c.is_ascii_digit()).parse_next(&mut input);
            let digits = digits.unwrap_or_default();
            tokens.push(Lexed { token: Token::Name(digits.to_owned()), span: start..start + digits.len() });
            continue;
        }
        let parsed: winnow::Result<(Raw<'_>, Range<usize>)> =
            alt((number, name, double_quoted, single_quoted, symbol)).with_span().parse_next(&mut input);
        let Ok((raw, span)) = parsed else {
            let first = rest.chars().next().unwrap_or(' ');
            return Err(match first {
                '"' | '\'' => {
                    ParseError::new(start..text.len(), format!("the text that begins with {first} does not end"))
                }
                other => ParseError::new(start..start + other.len_utf8(), format!("`{other}` begins nothing here")),
            });
        };
        let token = match raw {
            Raw::Name(name) => Token::Name(name.to_owned()),
            Raw::Text(text) => Token::Literal(Value::Text(text)),
            Raw::Symbol(symbol) => Token::Symbol(symbol),
            Raw::Number(number, unit) => Token::Literal(quantity(number, unit, &span)?),
        };
        tokens.push(Lexed { token, span });
    }
}

/// The value of a number with its unit, if it has one.
fn quantity(number: &str, unit: &str, span: &Range<usize>) -> Result<Value, ParseError> {
    let digits = number.replace('_', "");
    let float: f64 =
        digits.parse().map_err(|_| ParseError::new(span.clone(), format!("`{number}` is not a number")))?;
    let whole = || digits.parse::<i64>().map_err(|_| ParseError::new(span.clone(), format!("`{number}` is too large")));
    if unit.is_empty() {
        return if digits.contains('.') { Ok(Value::Float(float)) } else { whole().map(Value::Int) };
    }
    let too_large = || ParseError::new(span.clone(), format!("`{number}{unit}` is too large"));
    let scaled = |factor: f64| {
        let value = (float * factor).round();
        if value > i64::MAX as f64 { Err(too_large()) } else { Ok(value as i64) }
    };
    if let Some(factor) = time_unit(unit) {
        return scaled(factor).map(Value::Duration);
    }
    if let Some(factor) = size_unit(unit) {
        return scaled(factor as f64).map(Value::Int);
    }
    let start = span.start + number.len();
    Err(ParseError::new(start..span.end, format!("`{unit}` is not a unit")).help(format!("units are {}", unit_names())))
}
