//! What is wrong with a scenario: a code, a message, the places, and a way out. All of a file's problems are reported at once.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use confgen::diagnostic::{Code as SpecCode, Diagnostic, Severity, Style};
use confgen::document::Span;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $title:literal;)+) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        /// Every code with its name in messages and its title.
        pub const CODES: &[(Code, &str, &str)] = &[$((Code::$name, $id, $title),)+];
    };
}

codes! {
    /// The text is not well-formed.
    Syntax = "HS101", "not well-formed";
    /// A key stands twice.
    DuplicateKey = "HS102", "a key is given twice";
    /// A key that is not known.
    UnknownKey = "HS103", "unknown key";
    /// A value of another type.
    Type = "HS104", "wrong type";
    /// A number outside its range.
    Range = "HS105", "out of range";
    /// A word that is not among the allowed ones.
    UnknownValue = "HS106", "unknown value";
    /// Something that has to be there is not.
    Missing = "HS107", "a key is missing";
    /// Text that does not have the needed form.
    Form = "HS108", "wrong form";
    /// A text that is no expression.
    Expression = "HS201", "no expression";
    /// A name that an expression cannot speak of.
    UnknownName = "HS202", "unknown name";
    /// A member that a value does not have.
    UnknownMember = "HS203", "unknown member";
    /// A `${…}` that names nothing, or does not end.
    Placeholder = "HS204", "unknown place";
    /// A text that is no regular expression.
    Regex = "HS205", "no regular expression";
    /// A comparison that has no result, such as that of a duration with a number.
    Comparison = "HS206", "values that cannot be compared";
    /// A name that has a meaning elsewhere, such as `client` outside of a concurrent step.
    OutOfPlace = "HS207", "a name out of its place";
    /// A step without a kind, or with several.
    StepKind = "HS301", "not exactly one kind of step";
    /// A step that lacks something, or contradicts itself.
    StepContent = "HS302", "incomplete step";
    /// A name that stands for two things.
    DuplicateName = "HS303", "a name is used twice";
    /// Something refers to nothing.
    Reference = "HS304", "refers to nothing";
    /// Something speaks of a daemon group that the server does not have.
    Daemon = "HS305", "unknown daemon group";
    /// Two scenarios with one id.
    DuplicateScenario = "HS401", "two scenarios have the same id";
    /// No condition of an `expect` fits a cell.
    Expectation = "HS402", "no expectation for a cell";
    /// A list of conditions is missing.
    NoConditions = "HS403", "nothing to decide by";
    /// The matrix leaves no cell.
    NoCells = "HS404", "no cells";
    /// `symptom` and `healthy` are the same list.
    SameConditions = "HS405", "symptom and healthy are equal";
    /// A symptom without its opposite.
    NoOpposite = "HS406", "a symptom without a healthy list";
    /// An id or a variant that was asked for and does not exist.
    UnknownScenario = "HS407", "no such scenario or variant";
    /// A file cannot be read.
    Unreadable = "HS501", "cannot be read";
    /// The nested server has mistakes; shown under confgen's own code.
    Server = "HS601", "the server is wrong";
}

impl Code {
    /// The name in messages.
    #[must_use]
    pub fn id(self) -> &'static str {
        CODES[self as usize].1
    }
}

impl From<SpecCode> for Code {
    fn from(code: SpecCode) -> Self {
        match code {
            SpecCode::Syntax => Self::Syntax,
            SpecCode::DuplicateKey => Self::DuplicateKey,
            SpecCode::UnknownKey => Self::UnknownKey,
            SpecCode::Type => Self::Type,
            SpecCode::Range => Self::Range,
            SpecCode::UnknownValue => Self::UnknownValue,
            SpecCode::Missing => Self::Missing,
            SpecCode::Form => Self::Form,
            _ => Self::Server,
        }
    }
}

/// A place with a few words about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What it has to do with the message; may be empty.
    pub text: String,
}

/// Something wrong with a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The code.
    pub code: Code,
    /// The code as it is shown: confgen's own for mistakes of the nested server.
    pub shown: &'static str,
    /// Whether it refuses the scenario.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// The places; the first is where to look.
    pub labels: Vec<Label>,
    /// Facts that help to understand it.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Problem {
    /// An error without a place yet.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            shown: code.id(),
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning without a place yet.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// A mistake of the nested server, under confgen's code.
    #[must_use]
    pub fn of_server(diagnostic: Diagnostic) -> Self {
        let shown = diagnostic.code.id();
        Self { code: Code::Server, shown, ..Self::from(diagnostic) }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a way out if there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }

    /// Adds `did you mean …?` when a known word is close to the one that was written, else the list of known ones.
    #[must_use]
    pub fn did_you_mean(self, written: &str, known: &[&str]) -> Self {
        match confgen::diagnostic::closest(written, known.iter().copied()) {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None if known.is_empty() => self,
            None => self.help(format!("known are {}", known.join(", "))),
        }
    }

    /// Whether it refuses the scenario.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Where to look.
    #[must_use]
    pub fn span(&self) -> Option<&Span> {
        self.labels.first().map(|label| &label.span)
    }

    /// The problem as text, without a line end after it.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.shown));
        let mut sources: Vec<&Span> = Vec::new();
        for label in &self.labels {
            if !sources.iter().any(|known| *known.source == *label.span.source) {
                sources.push(&label.span);
            }
        }
        for (position, first) in sources.into_iter().enumerate() {
            let mut snippet = Snippet::source(first.source.text.as_str()).path(first.source.name.as_str());
            for (index, label) in
                self.labels.iter().enumerate().filter(|(_, label)| *label.span.source == *first.source)
            {
                let kind = if index == 0 && position == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let annotation = kind.span(first_line(&label.span));
                snippet = snippet.annotation(if label.text.is_empty() {
                    annotation
                } else {
                    annotation.label(label.text.as_str())
                });
            }
            group = group.element(snippet);
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        renderer(style).render(&[group])
    }

    /// The problem for programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let labels = self.labels.iter().map(|label| {
            let (line, column) = label.span.line_column();
            serde_json::json!({"file": label.span.source.name, "line": line, "column": column, "text": label.text})
        });
        serde_json::json!({
            "code": self.shown,
            "severity": self.severity,
            "message": self.message,
            "labels": labels.collect::<Vec<_>>(),
            "notes": self.notes,
            "help": self.help,
        })
    }
}

/// How snippets are drawn: with ASCII alone where there are no colours.
pub(crate) fn renderer(style: Style) -> Renderer {
    match style {
        Style::Plain => Renderer::plain().decor_style(DecorStyle::Ascii),
        Style::Coloured => Renderer::styled(),
    }
}

/// The part of a span that a caret stands under: its first line, and at least one character.
pub(crate) fn first_line(span: &Span) -> std::ops::Range<usize> {
    let line = span.text().lines().next().unwrap_or_default();
    let end = span.range.start + line.trim_end().len();
    if end > span.range.start {
        return span.range.start..end;
    }
    let next = span.source.text[span.range.start..].chars().next().filter(|next| *next != '\n');
    span.range.start..span.range.start + next.map_or(0, char::len_utf8)
}

impl From<Diagnostic> for Problem {
    fn from(diagnostic: Diagnostic) -> Self {
        let code = Code::from(diagnostic.code);
        let labels = diagnostic.labels.into_iter().map(|label| Label { span: label.span, text: label.text }).collect();
        Self {
            code,
            shown: code.id(),
            severity: diagnostic.severity,
            message: diagnostic.message,
            labels,
            notes: diagnostic.notes,
            help: diagnostic.help,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = self.span() {
            write!(f, "{span}: ")?;
        }
        write!(f, "[{}] {}", self.shown, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order() {
        assert!(CODES.is_sorted_by(|a, b| a.1 < b.1));
        for (position, (code, ..)) in CODES.iter().enumerate() {
            assert_eq!(*code as usize, position);
        }
    }
}
