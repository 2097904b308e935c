//! Filters: `tag(signals) & !variant(problem) & mpm(event)`.

use std::ops::Range;

use winnow::combinator::{alt, delimited, repeat};
use winnow::prelude::*;
use winnow::stream::LocatingSlice;
use winnow::token::{literal, take_while};

/// What a filter can ask of a cell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The scenario's id.
    pub id: &'a str,
    /// Its tags.
    pub tags: &'a [String],
    /// The variant's name.
    pub variant: &'a str,
    /// The processing module.
    pub mpm: &'a str,
    /// embedded or daemon; empty where the matrix has no such axis.
    pub mode: &'a str,
    /// ours or mod_wsgi.
    pub module: &'a str,
    /// The version of Python.
    pub python: &'a str,
    /// symptom or healthy.
    pub expect: &'a str,
    /// The scenario's file.
    pub file: &'a str,
    /// Where the issue was reported.
    pub source: &'a str,
}

/// A question about one property.
#[derive(Debug)]
pub struct Predicate {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    values: for<'a> fn(&Subject<'a>) -> Vec<&'a str>,
}

/// Every predicate. Their arguments may contain `*`.
pub const PREDICATES: &[Predicate] = &[
    Predicate {
        name: "tag",
        help: "a tag of the scenario",
        values: |subject| subject.tags.iter().map(String::as_str).collect(),
    },
    Predicate { name: "id", help: "the scenario's id", values: |subject| vec![subject.id] },
    Predicate { name: "variant", help: "the variant's name", values: |subject| vec![subject.variant] },
    Predicate { name: "mpm", help: "event, worker or prefork", values: |subject| vec![subject.mpm] },
    Predicate { name: "mode", help: "embedded or daemon", values: |subject| vec![subject.mode] },
    Predicate { name: "module", help: "ours or mod_wsgi", values: |subject| vec![subject.module] },
    Predicate { name: "python", help: "the version of Python, such as 3.13t", values: |subject| vec![subject.python] },
    Predicate { name: "expect", help: "symptom or healthy", values: |subject| vec![subject.expect] },
    Predicate {
        name: "path",
        help: "the scenario's file, or a part of its path",
        values: |subject| vec![subject.file],
    },
    Predicate { name: "source", help: "where the issue was reported", values: |subject| vec![subject.source] },
];

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every cell.
    All,
    /// No cell.
    None,
    /// The predicate of this number with its argument.
    Is(usize, String),
    /// Not this.
    Not(Box<Filter>),
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// One of both.
    Or(Box<Filter>, Box<Filter>),
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// Where.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'t> {
    Call(&'t str, &'t str, Range<usize>),
    And,
    Or,
    Not,
    Open,
    Close,
}

type Input<'t> = LocatingSlice<&'t str>;

fn word<'t>(input: &mut Input<'t>) -> winnow::Result<&'t str> {
    take_while(1.., |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-').parse_next(input)
}

/// `name(argument)`; the argument goes to the closing bracket, brackets inside are balanced.
fn call<'t>(input: &mut Input<'t>) -> winnow::Result<Token<'t>> {
    let (name, span) = word.with_span().parse_next(input)?;
    fn balanced<'t>(input: &mut Input<'t>) -> winnow::Result<()> {
        let plain = take_while(1.., |c: char| c != '(' && c != ')').void();
        repeat(0.., alt((plain, delimited('(', balanced, ')').void()))).parse_next(input)
    }
    let argument = delimited('(', balanced.take(), ')').parse_next(input)?;
    Ok(Token::Call(name, argument.trim(), span))
}

fn tokens(text: &str) -> Result<Vec<(Token<'_>, Range<usize>)>, FilterError> {
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        let _: winnow::Result<&str> = take_while(0.., char::is_whitespace).parse_next(&mut input);
        let rest: &str = input.as_ref();
        if rest.is_empty() {
            return Ok(tokens);
        }
        let start = text.len() - rest.len();
        let symbol = |symbol: &'static str| literal(symbol);
        let operator = alt((
            alt((symbol("&&"), symbol("&"))).value(Token::And),
            alt((symbol("||"), symbol("|"), symbol("+"))).value(Token::Or),
            symbol("!").value(Token::Not),
            symbol("(").value(Token::Open),
            symbol(")").value(Token::Close),
        ));
        let parsed: winnow::Result<(Token<'_>, Range<usize>)> =
            alt((call, operator)).with_span().parse_next(&mut input);
        if let Ok(token) = parsed {
            tokens.push(token);
            continue;
        }
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        let name = &rest[..length];
        let joined = match name {
            "and" => Some(Token::And),
            "or" => Some(Token::Or),
            "not" => Some(Token::Not),
            _ => None,
        };
        if let Some(token) = joined {
            let _: winnow::Result<&str> = word.parse_next(&mut input);
            tokens.push((token, start..start + length));
            continue;
        }
        let open = rest[length..].starts_with('(');
        let span = start..start + length.max(1);
        return Err(if open {
            FilterError {
                span: start + length..text.len(),
                message: "the bracket is not closed".to_owned(),
                help: None,
            }
        } else {
            let shown = rest.get(..length.max(1)).unwrap_or(rest);
            FilterError {
                span,
                message: format!("`{shown}` asks nothing"),
                help: Some(format!("filters are like `tag(signals) & !mpm(event)`; there are {}", names())),
            }
        });
    }
}

fn names() -> String {
    PREDICATES.iter().map(|predicate| predicate.name).chain(["all", "none"]).collect::<Vec<_>>().join(", ")
}

struct Reader<'t> {
    tokens: Vec<(Token<'t>, Range<usize>)>,
    position: usize,
    end: usize,
    depth: usize,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Reader { tokens: tokens(text)?, position: 0, end: text.len(), depth: 0 };
        let filter = parser.either()?;
        match parser.tokens.get(parser.position) {
            None => Ok(filter),
            Some((_, span)) => {
                Err(FilterError { span: span.clone(), message: "`&` or `|` is needed here".to_owned(), help: None })
            }
        }
    }

    /// Whether it lets a cell through.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Is(predicate, pattern) => {
                let predicate = &PREDICATES[*predicate];
                let within = predicate.name == "path" || predicate.name == "source";
                (predicate.values)(subject)
                    .into_iter()
                    .any(|value| glob(pattern, value) || (within && value.contains(pattern.as_str())))
            }
            Self::Not(inner) => !inner.matches(subject),
            Self::And(left, right) => left.matches(subject) && right.matches(subject),
            Self::Or(left, right) => left.matches(subject) || right.matches(subject),
        }
    }
}

impl Reader<'_> {
    fn take(&mut self, token: &Token<'_>) -> bool {
        let found = self.tokens.get(self.position).is_some_and(|(found, _)| found == token);
        self.position += usize::from(found);
        found
    }

    fn either(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.both()?;
        while self.take(&Token::Or) {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.one()?;
        while self.take(&Token::And) {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        let here = self.tokens.get(self.position).map_or(self.end..self.end, |(_, span)| span.clone());
        let error = |message: &str| FilterError { span: here.clone(), message: message.to_owned(), help: None };
        if self.depth > 64 {
            return Err(error("the filter is nested too deeply"));
        }
        let filter = match self.tokens.get(self.position).map(|(token, _)| token.clone()) {
            Some(Token::Not) => {
                self.position += 1;
                Filter::Not(Box::new(self.one()?))
            }
            Some(Token::Open) => {
                self.position += 1;
                let inner = self.either()?;
                if !self.take(&Token::Close) {
                    return Err(error("the bracket is not closed"));
                }
                inner
            }
            Some(Token::Call(name, argument, span)) => {
                self.position += 1;
                match (name, PREDICATES.iter().position(|predicate| predicate.name == name)) {
                    ("all", _) if argument.is_empty() => Filter::All,
                    ("none", _) if argument.is_empty() => Filter::None,
                    (_, Some(predicate)) => Filter::Is(predicate, argument.to_owned()),
                    (_, None) => {
                        let known = PREDICATES.iter().map(|predicate| predicate.name);
                        let help =
                            confgen::diagnostic::closest(name, known).map(|word| format!("did you mean `{word}`?"));
                        return Err(FilterError {
                            span,
                            message: format!("there is no `{name}`"),
                            help: help.or_else(|| Some(format!("there are {}", names()))),
                        });
                    }
                }
            }
            _ => return Err(error("a question such as `tag(signals)` is needed here")),
        };
        self.depth -= 1;
        Ok(filter)
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(position) => rest = &rest[position + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selects(filter: &str) -> bool {
        let tags = ["signals".to_owned(), "shutdown".to_owned()];
        let subject = Subject {
            id: "signal-off-breaks-stop",
            tags: &tags,
            variant: "problem",
            mpm: "event",
            module: "ours",
            expect: "symptom",
            file: "scenarios/signals/signal-off-breaks-stop/scenario.yaml",
            ..Subject::default()
        };
        Filter::parse(filter).unwrap().matches(&subject)
    }

    #[test]
    fn filters_select() {
        assert!(selects("tag(signals) & !variant(workaround) & mpm(event)"));
        assert!(!selects("tag(signals) & !variant(problem)"));
        assert!(selects("id(signal-*) and (mpm(worker) or mpm(event))"));
        assert!(selects("path(scenarios/signals)"));
        assert!(selects("!none() & all()"));
        assert!(!selects("tag(sig)"));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(selects("mpm(event) | mpm(x) & mpm(y)"));
        assert!(!selects("(mpm(event) | mpm(x)) & mpm(y)"));
    }

    #[test]
    fn mistakes_have_a_place() {
        let wrong = |text: &str| {
            let error = Filter::parse(text).unwrap_err();
            (error.span, error.message, error.help.unwrap_or_default())
        };
        assert_eq!(wrong("tga(x)"), (0..3, "there is no `tga`".into(), "did you mean `tag`?".into()));
        assert_eq!(wrong("tag(x").1, "the bracket is not closed");
        assert_eq!(wrong("tag(x) &").0, 8..8);
        assert_eq!(wrong("tag(x) mpm(y)").1, "`&` or `|` is needed here");
        assert_eq!(wrong("signals").1, "`signals` asks nothing");
        assert_eq!(wrong("").0, 0..0);
    }

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("*b*", "abc", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*b*b", "ab", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_an_error_within_it(text in "[a-z()&|! *]{0,24}|\\PC{0,12}") {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                prop_assert!(text.is_char_boundary(error.span.start));
            }
        }

        #[test]
        fn not_inverts_and_de_morgan_holds(a in "(tag|id|mpm|variant)\\((event|signals|problem|x\\*)\\)", b in "(tag|mpm)\\((event|signals|\\*)\\)") {
            let not_both = format!("!({a} & {b})");
            let either_not = format!("!{a} | !{b}");
            prop_assert_eq!(selects(&not_both), selects(&either_not));
            let twice = format!("!!{a}");
            prop_assert_eq!(selects(&twice), selects(&a));
        }
    }
}
