//! What is found before any rule: text that httpd would not read, and names that nothing knows.

use crate::conf::reader::Refusal;
use crate::configuration::{Configuration, Part, Texts};
use crate::diagnostic::{Code, Diagnostic, Label, Severity};
use crate::directives;

/// Names of directives that are shorter than this are not compared with others: too many are alike.
const SHORTEST: usize = 6;

/// Faults of the text itself.
#[must_use]
pub fn structure(configuration: &Configuration<'_>, texts: &Texts<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        configuration.reading.refusal.iter().map(|refusal| refused(refusal, configuration, texts)).collect();
    if !configuration.partial {
        for (place, name) in &configuration.reading.undefined {
            let mut diagnostic = Diagnostic::warning(Code::UndefinedVariable, format!("nothing defines `${{{name}}}`"));
            diagnostic.severity = Severity::Note;
            found.push(diagnostic.at(texts.line(*place), "").help(Code::UndefinedVariable.info().fix));
        }
    }
    for statement in &configuration.statements {
        let name = statement.node.name.as_str();
        if name.len() < SHORTEST || directives::spelled(name).is_some() {
            continue;
        }
        if let Some(near) = directives::nearly(name) {
            let diagnostic = Diagnostic::warning(Code::UnknownDirective, format!("unknown directive `{name}`"));
            let span = texts.of(statement, &Part::Name);
            found.push(diagnostic.at(span, "").help(format!("did you mean `{near}`?")));
        }
    }
    found
}

fn refused(refusal: &Refusal, configuration: &Configuration<'_>, texts: &Texts<'_>) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(Code::ConfRefused, refusal.kind.to_string());
    for (index, (path, number)) in refusal.places.iter().rev().enumerate() {
        let sources = &configuration.reading.sources;
        let place = sources.iter().position(|source| source.path == *path).and_then(|source| {
            let line = sources[source].lines.iter().find(|line| line.number == *number)?;
            Some(texts.span(source, &line.source_span(&(0..line.text().len()))))
        });
        let text = if index == 0 { "" } else { "included from here" };
        match place {
            Some(span) => diagnostic.labels.push(Label { span, text: text.to_owned() }),
            None => diagnostic.notes.push(format!("{}, line {number}", path.display())),
        }
    }
    diagnostic
}
