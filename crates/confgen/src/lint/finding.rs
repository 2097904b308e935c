//! What a rule says of a place.

use super::{Reported, Rule};
use crate::configuration::{Configuration, Part, Statement, Texts};
use crate::diagnostic::{Diagnostic, Label, Severity};

/// What would mend a finding. Only what cannot change more than the finding is about is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The changes.
    pub changes: Vec<Change>,
}

/// A change of one directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Remove the directive with its line.
    Remove(usize),
    /// Replace a part of it.
    Replace(usize, Part, String),
}

impl Fix {
    /// Removes a directive.
    #[must_use]
    pub fn remove(statement: &Statement<'_>) -> Self {
        Self { changes: vec![Change::Remove(statement.index)] }
    }

    /// Replaces a part of a directive.
    #[must_use]
    pub fn replace(statement: &Statement<'_>, part: Part, text: impl Into<String>) -> Self {
        Self { changes: vec![Change::Replace(statement.index, part, text.into())] }
    }

    /// This, and another change with it.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self
    }
}

/// What a rule found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The index of the directive that it is about.
    pub(super) at: usize,
    part: Part,
    label: String,
    message: String,
    severity: Option<Severity>,
    related: Vec<(usize, Part, String)>,
    notes: Vec<String>,
    help: Vec<String>,
    fix: Option<Fix>,
}

impl Finding {
    /// A finding about a directive.
    #[must_use]
    pub fn new(statement: &Statement<'_>, message: impl Into<String>) -> Self {
        Self {
            at: statement.index,
            part: Part::Whole,
            label: String::new(),
            message: message.into(),
            severity: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            fix: None,
        }
    }

    /// It is about one word of the directive, from 0.
    #[must_use]
    pub fn word(mut self, index: usize) -> Self {
        self.part = Part::Word(index);
        self
    }

    /// It is about an option of the directive.
    #[must_use]
    pub fn option(mut self, name: &str) -> Self {
        self.part = Part::Option(name.to_owned());
        self
    }

    /// It is about the directive's name.
    #[must_use]
    pub fn name(mut self) -> Self {
        self.part = Part::Name;
        self
    }

    /// What the place has to do with it.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    /// It is less or more serious than its rule usually is.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Another place that it has to do with.
    #[must_use]
    pub fn also(mut self, statement: &Statement<'_>, part: Part, text: impl Into<String>) -> Self {
        self.related.push((statement.index, part, text.into()));
        self
    }

    /// A fact that helps to understand it.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// What would mend it.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    pub(super) fn report(self, rule: &Rule, configuration: &Configuration<'_>, texts: &Texts<'_>) -> Reported {
        let span = |at: usize, part: &Part| texts.of(&configuration.statements[at], part);
        let mut diagnostic = Diagnostic::warning(rule.code, self.message).at(span(self.at, &self.part), self.label);
        diagnostic.severity = self.severity.unwrap_or(rule.severity);
        for (at, part, text) in self.related {
            diagnostic.labels.push(Label { span: span(at, &part), text });
        }
        diagnostic.notes = self.notes;
        diagnostic.help = self.help;
        if diagnostic.help.is_empty() {
            diagnostic.help.push(rule.code.info().fix.to_owned());
        }
        Reported { diagnostic, fix: self.fix }
    }
}
