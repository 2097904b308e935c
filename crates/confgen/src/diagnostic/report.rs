//! Showing findings: rustc's look on a terminal, the same without colour elsewhere, JSON for programs.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

use super::{Diagnostic, Severity};

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences.
    Plain,
    /// ANSI colours.
    Coloured,
}

impl Diagnostic {
    /// The finding as text, without a line end after it.
    pub fn render(&self, style: Style) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.code.id()));
        for (position, source) in self.sources().into_iter().enumerate() {
            let mut snippet = Snippet::source(source.text.as_str()).path(source.name.as_str());
            for (index, label) in self.labels.iter().enumerate().filter(|(_, label)| *label.span.source == *source) {
                let kind = if index == 0 && position == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let annotation = kind.span(visible(&label.span));
                snippet = snippet.annotation(match label.text.is_empty() {
                    true => annotation,
                    false => annotation.label(label.text.as_str()),
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

    /// The distinct sources of the labels, in order of first use.
    fn sources(&self) -> Vec<&crate::source::Source> {
        let mut sources: Vec<&crate::source::Source> = Vec::new();
        for label in &self.labels {
            if !sources.iter().any(|source| **source == *label.span.source) {
                sources.push(&label.span.source);
            }
        }
        sources
    }

    /// The finding for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let labels: Vec<_> = self
            .labels
            .iter()
            .map(|label| {
                let (line, column) = label.span.line_column();
                let (end_line, end_column) = label.span.source.line_column(label.span.range.end);
                serde_json::json!({
                    "file": label.span.source.name,
                    "start": {"line": line, "column": column, "byte": label.span.range.start},
                    "end": {"line": end_line, "column": end_column, "byte": label.span.range.end},
                    "text": label.text,
                })
            })
            .collect();
        serde_json::json!({
            "code": self.code.id(),
            "severity": self.severity,
            "message": self.message,
            "labels": labels,
            "notes": self.notes,
            "help": self.help,
        })
    }
}

/// How snippets are drawn: with ASCII alone where there are no colours.
pub fn renderer(style: Style) -> Renderer {
    match style {
        Style::Plain => Renderer::plain().decor_style(DecorStyle::Ascii),
        Style::Coloured => Renderer::styled(),
    }
}

/// The part of a place that a caret stands under: something is needed, and one line is enough.
pub fn visible(span: &crate::source::Span) -> std::ops::Range<usize> {
    let text = span.text();
    let line = text.find('\n').map_or(span.range.end, |newline| span.range.start + newline);
    let end = line.max(span.range.start);
    match end > span.range.start {
        true => span.range.start..end,
        false => {
            let next = span.source.text[span.range.start..].chars().next().filter(|next| *next != '\n');
            span.range.start..span.range.start + next.map_or(0, char::len_utf8)
        }
    }
}

/// Several findings, one after the other, each followed by an empty line.
pub fn render_all(diagnostics: &[Diagnostic], style: Style) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(style) + "\n\n").collect()
}

/// Several findings for programs.
pub fn render_json(diagnostics: &[Diagnostic]) -> serde_json::Value {
    serde_json::json!({ "diagnostics": diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;
    use crate::source::{Source, Span};

    #[test]
    fn a_caret_under_the_place() {
        let source = Source::new("site.yaml", "a: 1\nport: 70000\n");
        let span = Span::new(&source, 11..16);
        let text = Diagnostic::error(Code::Range, "70000 is no port")
            .at(span, "at most 65535")
            .help("use 8000")
            .render(Style::Plain);
        assert!(text.contains("error[CG105]: 70000 is no port"), "{text}");
        assert!(text.contains("--> site.yaml:2:7"), "{text}");
        assert!(text.contains("^^^^^ at most 65535"), "{text}");
        assert!(text.contains("= help: use 8000"), "{text}");
    }

    #[test]
    fn an_empty_place_and_an_empty_text_are_shown() {
        let source = Source::new("empty.yaml", "");
        let text = Diagnostic::error(Code::Syntax, "nothing").at(Span::new(&source, 0..0), "").render(Style::Plain);
        assert!(text.contains("empty.yaml"), "{text}");
    }
}
