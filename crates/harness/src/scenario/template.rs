//! Texts with holes: `${{ expression }}` and `${dir}`. `$${` and `$${{` are literal `${` and `${{`.

use std::ops::Range;

use serde_json::Value as Json;

use super::expression::{EvaluationError, Expression, ParseError, Scope};
use super::value::Value;

/// A place that a short hole names, as in `${dir}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The cell's private folder.
    Dir,
    /// The server's port.
    Port,
    /// The environment of Python packages.
    Venv,
}

/// Places by name.
pub const PLACES: &[(&str, Place)] = &[("dir", Place::Dir), ("port", Place::Port), ("venv", Place::Venv)];

/// What the short holes are filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The cell's private folder.
    pub dir: String,
    /// The server's port.
    pub port: u16,
    /// The server's port for HTTPS, if it has one.
    pub https_port: Option<u16>,
    /// The server's further ports, by name.
    pub ports: Vec<(String, u16)>,
    /// The environment of Python packages, if there is one.
    pub venv: Option<String>,
}

impl Places {
    /// Stand-ins with which a scenario is checked before it runs.
    #[must_use]
    pub fn sample() -> Self {
        Self { dir: "/tmp".to_owned(), port: 8000, https_port: None, ports: Vec::new(), venv: None }
    }

    fn text(&self, place: Place) -> String {
        match place {
            Place::Dir => self.dir.clone(),
            Place::Port => self.port.to_string(),
            Place::Venv => self.venv.clone().unwrap_or_default(),
        }
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Place(Place),
    /// The expression and where its text begins.
    Expression(Box<Expression>, usize),
}

/// A text with holes.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a hole cannot be filled: the place in the text and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether it is the expression inside that is wrong.
    pub in_expression: bool,
}

/// Whether a text has something to replace.
#[must_use]
pub fn has_holes(text: &str) -> bool {
    text.contains("${")
}

/// The end of `${{ … }}` from behind its opening: the position of `}}` outside of quotes.
fn end_of_expression(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match (quote, character) {
            (Some('"'), '\\') => {
                characters.next();
            }
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '}') if text[position..].starts_with("}}") => return Some(position),
            _ => {}
        }
    }
    None
}

impl Template {
    /// Whether there is nothing to replace.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Every hole that is wrong.
    pub fn parse(text: &str) -> Result<Self, Vec<TemplateError>> {
        let mut parts = Vec::new();
        let mut errors = Vec::new();
        let mut literal = String::new();
        let mut position = 0;
        while let Some(found) = text[position..].find('$') {
            literal.push_str(&text[position..position + found]);
            position += found;
            let rest = &text[position..];
            if let Some(after) = rest.strip_prefix("$${") {
                literal.push_str("${");
                position = text.len() - after.len();
            } else if let Some(after) = rest.strip_prefix("${{") {
                let start = text.len() - after.len();
                let Some(length) = end_of_expression(after) else {
                    errors.push(TemplateError {
                        span: position..text.len().min(start),
                        message: "`${{` has no `}}`".to_owned(),
                        help: Some("write `$${{` for a literal `${{`".to_owned()),
                        in_expression: false,
                    });
                    break;
                };
                let source = &after[..length];
                let lead = source.len() - source.trim_start().len();
                match Expression::parse(source.trim()) {
                    Ok(expression) => {
                        if !literal.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut literal)));
                        }
                        parts.push(Part::Expression(Box::new(expression), start + lead));
                    }
                    Err(ParseError { span, message, help }) => {
                        let begin = start + lead;
                        errors.push(TemplateError {
                            span: begin + span.start..begin + span.end,
                            message,
                            help,
                            in_expression: true,
                        });
                    }
                }
                position = start + length + 2;
            } else if let Some(after) = rest.strip_prefix("${") {
                let name = &after[..after.find('}').unwrap_or(0)];
                let end = position + 2 + name.len() + 1;
                match PLACES.iter().find(|(known, _)| *known == name) {
                    Some((_, place)) => {
                        if !literal.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut literal)));
                        }
                        parts.push(Part::Place(*place));
                        position = end;
                    }
                    None => {
                        let known = PLACES.iter().map(|(known, _)| *known);
                        let help = confgen::diagnostic::closest(name, known).map_or_else(
                            || "write `$${` for a literal `${`".to_owned(),
                            |word| format!("did you mean `${{{word}}}`?"),
                        );
                        let shown = if name.is_empty() { "${".to_owned() } else { format!("${{{name}}}") };
                        errors.push(TemplateError {
                            span: position..(position + shown.len()).min(text.len()),
                            message: format!("`{shown}` is no place"),
                            help: Some(help),
                            in_expression: false,
                        });
                        literal.push_str("${");
                        position += 2;
                    }
                }
            } else {
                literal.push('$');
                position += 1;
            }
        }
        literal.push_str(text.get(position..).unwrap_or_default());
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if errors.is_empty() { Ok(Self { parts }) } else { Err(errors) }
    }

    /// The expressions inside, each with the position of its text.
    pub fn expressions(&self) -> impl Iterator<Item = (&Expression, usize)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression, start) => Some((&**expression, *start)),
            _ => None,
        })
    }

    /// The text with its holes filled. A text that is nothing but one expression keeps the expression's type.
    ///
    /// # Errors
    /// Where an expression has no value.
    pub fn render(&self, scope: &Scope<'_>, places: &Places) -> Result<Json, TemplateError> {
        if let [Part::Expression(expression, start)] = self.parts.as_slice() {
            return evaluate(expression, *start, scope).map(|value| value.to_yaml_scalar());
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Place(place) => text.push_str(&places.text(*place)),
                Part::Expression(expression, start) => match spelling(expression, scope) {
                    Some(written) => text.push_str(written),
                    None => text.push_str(&evaluate(expression, *start, scope)?.to_text()),
                },
            }
        }
        Ok(Json::String(text))
    }
}

/// A number of the scenario stands in a text as it was written: `5.0`, not `5`.
fn spelling<'s>(expression: &Expression, scope: &'s Scope<'_>) -> Option<&'s str> {
    let path = expression.root().path()?;
    let names: Vec<&str> = path.iter().map(|(name, _)| name.as_str()).collect();
    scope.spelling(&names.join("."))
}

fn evaluate(expression: &Expression, start: usize, scope: &Scope<'_>) -> Result<Value, TemplateError> {
    expression.evaluate(scope).map_err(|EvaluationError { span, message, help, .. }| TemplateError {
        span: start + span.start..start + span.end,
        message,
        help,
        in_expression: true,
    })
}

/// Fills the holes of one text.
///
/// # Errors
/// The first hole that cannot be filled.
pub fn fill(text: &str, scope: &Scope<'_>, places: &Places) -> Result<Json, TemplateError> {
    if !has_holes(text) {
        return Ok(Json::from(text));
    }
    Template::parse(text).map_err(|mut errors| errors.swap_remove(0))?.render(scope, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope<'static> {
        let mut scope = Scope::new();
        scope.set("pid", 4711i64);
        scope.set("word", "x");
        scope.set("vars", Value::record([("version", 5.0.into())]));
        scope.spell("vars.version", "5.0");
        scope.set("time", Value::Duration(1_500_000_000));
        scope
    }

    fn filled(text: &str) -> Json {
        let places = Places { dir: "/d".into(), port: 81, https_port: None, ports: Vec::new(), venv: None };
        fill(text, &scope(), &places).unwrap()
    }

    #[test]
    fn holes_are_filled() {
        assert_eq!(filled("pid ${{ pid }}, ${dir}/a:${port}"), "pid 4711, /d/a:81");
        assert_eq!(filled("${{ word + \"}}\" }}!"), "x}}!");
        assert_eq!(filled("no hole, $5 $"), "no hole, $5 $");
    }

    #[test]
    fn numbers_stand_in_texts_as_they_were_written() {
        assert_eq!(filled("v${{ vars.version }}"), "v5.0");
        assert_eq!(filled("${{ vars.version }}"), 5.0);
        assert_eq!(filled("v${{ vars.version + 1 }}"), "v6");
    }

    #[test]
    fn a_hole_alone_keeps_its_type() {
        assert_eq!(filled("${{ pid }}"), 4711);
        assert_eq!(filled("${{ pid == 1 }}"), false);
        assert_eq!(filled(" ${{ pid }}"), " 4711");
        assert_eq!(filled("${{ time }}"), "1500000000ns");
    }

    #[test]
    fn literals_are_kept() {
        assert_eq!(filled("$${HOME} $${{ x }}"), "${HOME} ${{ x }}");
    }

    #[test]
    fn every_wrong_hole_is_named() {
        let errors = Template::parse("${hom} ${{ 1 + }} ${{ x").unwrap_err();
        let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(
            messages,
            ["`${hom}` is no place", "the expression ends where a value is needed", "`${{` has no `}}`"]
        );
        assert_eq!(&"${hom} ${{ 1 + }} ${{ x"[errors[1].span.clone()], "");
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_taken_literally(text in "[a$\\{} }]{0,16}|\\PC{0,12}") {
            proptest::prop_assert_eq!(filled(&text.replace("${", "$${")), Json::from(text));
        }

        #[test]
        fn any_text_is_a_template_or_errors_within_it(text in "[a$\\{}' \"]{0,24}|\\PC{0,12}") {
            if let Err(errors) = Template::parse(&text) {
                for error in errors {
                    proptest::prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len(), "{:?}", error);
                }
            }
        }

        #[test]
        fn holes_between_texts_are_filled(before in "[a-z ]{0,8}", after in "[a-z ]{1,8}", number in proptest::prelude::any::<i32>()) {
            let mut scope = Scope::new();
            scope.set("n", number);
            let found = fill(&format!("{before}${{{{ n }}}}{after}"), &scope, &Places::sample()).unwrap();
            proptest::prop_assert_eq!(found, Json::from(format!("{before}{number}{after}")));
        }
    }
}
