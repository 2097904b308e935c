//! Findings as annotations of GitHub Actions: one line for each.

use super::{Diagnostic, Severity};

/// Several findings, one line for each.
pub fn render_github(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(line).collect()
}

fn line(diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let place = diagnostic.span().map(|span| {
        let (line, column) = span.line_column();
        format!("file={},line={line},col={column},", property(&span.source.name))
    });
    let help = diagnostic.help.first().map(|help| format!("; {help}")).unwrap_or_default();
    let text = data(&format!("{}{help}", diagnostic.message));
    let title = property(&format!("{} {}", diagnostic.code.id(), diagnostic.code.info().title));
    format!("::{level} {}title={title}::{text}\n", place.unwrap_or_default())
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;
    use crate::source::{Source, Span};

    #[test]
    fn what_the_format_gives_a_meaning_is_escaped() {
        let source = Source::new("a,b:c.conf", "x\ny\n");
        let diagnostic =
            Diagnostic::warning(Code::Conflict, "100 %\nof: it").at(Span::new(&source, 2..3), "").help("mend");
        let title = Code::Conflict.info().title;
        let expected = format!(
            "::warning file=a%2Cb%3Ac.conf,line=2,col=1,title={} {title}::100 %25%0Aof: it; mend\n",
            Code::Conflict.id()
        );
        assert_eq!(render_github(&[diagnostic]), expected);
    }
}
