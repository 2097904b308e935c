//! Findings of every program here: a code, a message, the places that it is about, notes and a way out.

mod code;
mod github;
mod report;
mod sarif;

pub use code::{CODES, Code, CodeInfo};
pub use github::render_github;
pub use report::{Style, render_all, render_json, renderer, visible};
pub use sarif::render_sarif;

use std::fmt;

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is refused.
    Note,
    /// Probably not meant; nothing is refused.
    Warning,
    /// Refused.
    Error,
}

/// A place with a few words about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What the place has to do with the message; may be empty.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// The stable code, which `explain` knows.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One line that says what is wrong.
    pub message: String,
    /// The places; the first is where to look.
    pub labels: Vec<Label>,
    /// Facts that help to understand it.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
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

    /// Adds a place. The first one added is the one that the message is about.
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
    pub fn known(self, written: &str, known: &[&str]) -> Self {
        match closest(written, known.iter().copied()) {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None if known.is_empty() => self,
            None => self.help(format!("known are {}", known.join(", "))),
        }
    }

    /// Adds `did you mean …?` when a known word is close to the one that was written.
    #[must_use]
    pub fn did_you_mean<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match closest(written, known) {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }

    /// Whether this refuses the input.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Where to look.
    pub fn span(&self) -> Option<&Span> {
        self.labels.first().map(|label| &label.span)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(span) = self.span() {
            write!(f, "{span}: ")?;
        }
        write!(f, "[{}] {}", self.code.id(), self.message)
    }
}

/// The known word that is most like the written one, if one is like it at all.
pub fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    known
        .into_iter()
        .map(|word| {
            let candidate = word.to_lowercase();
            let distance = strsim::damerau_levenshtein(&lower, &candidate);
            let allowed = match lower.chars().count().max(candidate.chars().count()) {
                0..=2 => 1,
                3..=5 => 2,
                6..=9 => 3,
                _ => 4,
            };
            let prefix = lower.len() >= 3 && candidate.starts_with(&lower);
            let rank = if prefix { distance.min(allowed) } else { distance };
            (rank, distance, allowed, word)
        })
        // Two words without a letter in common are not alike, however short they are.
        .filter(|(rank, _, allowed, word)| {
            rank <= allowed && *rank < word.chars().count() && *rank < lower.chars().count()
        })
        .min_by_key(|(rank, distance, _, _)| (*rank, *distance))
        .map(|(_, _, _, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word() {
        let known = ["processes", "threads", "user", "python-path", "event"];
        assert_eq!(closest("proceses", known), Some("processes"));
        assert_eq!(closest("Thread", known), Some("threads"));
        assert_eq!(closest("python_path", known), Some("python-path"));
        assert_eq!(closest("evnet", known), Some("event"));
        assert_eq!(closest("zebra", known), None);
        assert_eq!(closest("", known), None);
        assert_eq!(closest("a", ["var", "lib"]), None);
        assert_eq!(closest("vra", ["var", "lib"]), Some("var"));
    }
}
