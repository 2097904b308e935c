//! A file in one form: indented by sections, names as their modules write them. What httpd reads stays the same.
//!
//! Only white space at both ends of a line and behind the name changes, and the case of names. Arguments stay byte for byte, as
//! each directive reads its own; so do comments, and what follows a continuation.

use super::edit::{Edit, apply};
use super::line::Line;
use super::tree::{Directive, Item, Problem, parse};
use super::{Span, is_space};

/// One level of sections.
const INDENT: usize = 4;

/// The file in its form. `spelled` knows how names are written.
///
/// # Errors
/// What does not fit together in the file: its form cannot be seen then.
pub fn format(source: &[u8], spelled: impl Fn(&str) -> Option<&'static str>) -> Result<Vec<u8>, Vec<Problem>> {
    let file = parse(source);
    if !file.problems.is_empty() {
        return Err(file.problems);
    }
    let mut formatter = Formatter { source, spelled: &spelled, edits: Vec::new() };
    formatter.items(&file.items, 0);
    // Each edit lies within its own line, so that they cannot meet.
    Ok(apply(source, &formatter.edits).unwrap_or_else(|_| source.to_vec()))
}

struct Formatter<'a> {
    source: &'a [u8],
    spelled: &'a dyn Fn(&str) -> Option<&'static str>,
    edits: Vec<Edit>,
}

impl Formatter<'_> {
    fn items(&mut self, items: &[Item], depth: usize) {
        for item in items {
            match item {
                Item::Blank(line) => self.blank(line),
                Item::Comment(line) => self.ends(line, depth),
                Item::Directive(directive) | Item::StrayEnd(directive) => self.directive(directive, depth),
                Item::Section(section) => {
                    self.directive(&section.open, depth);
                    self.items(&section.items, depth + 1);
                    if let Some(close) = &section.close {
                        self.close(close, depth);
                    }
                }
            }
        }
    }

    /// A line of white space becomes an empty one. One that a backslash continues stays.
    fn blank(&mut self, line: &Line) {
        let bytes = &self.source[line.span.clone()];
        if !bytes.contains(&b'\\') && !bytes.contains(&0) {
            let end = line.span.start + content(bytes);
            self.replace(line.span.start..end, b"");
        }
    }

    fn directive(&mut self, directive: &Directive, depth: usize) {
        self.ends(&directive.line, depth);
        let line = &directive.line;
        let name = line.source_span(&directive.name.span);
        self.name(name.clone());
        // The arguments begin at their first byte, wherever the name ends.
        let text = line.text();
        let first = (directive.name.span.end..text.len()).find(|place| !is_space(text[*place]));
        if let Some(first) = first {
            let gap = name.end..line.source_offset(first);
            let blank = self.source[gap.clone()].iter().all(|byte| matches!(byte, b' ' | b'\t'));
            if blank && !gap.is_empty() && text[first] != b'>' {
                self.replace(gap, b" ");
            }
        }
    }

    /// The last line of a section.
    fn close(&mut self, line: &Line, depth: usize) {
        self.ends(line, depth);
        let text = line.text();
        let Some(end) = text.iter().position(|byte| *byte == b'>') else { return };
        let from = 2..end.max(2);
        if text.starts_with(b"</") && !text[from.clone()].iter().any(|byte| is_space(*byte)) {
            self.name(line.source_span(&from));
        }
    }

    fn name(&mut self, span: Span) {
        let written = &self.source[span.clone()];
        let Ok(name) = std::str::from_utf8(written) else { return };
        if let Some(spelled) = (self.spelled)(name)
            && spelled != name
        {
            self.replace(span, spelled.as_bytes());
        }
    }

    /// White space at the beginning and at the end of a line.
    fn ends(&mut self, line: &Line, depth: usize) {
        let bytes = &self.source[line.span.clone()];
        let begin = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(0);
        // A first physical line with nothing but a continuation has no beginning to indent.
        if !bytes[begin..].starts_with(b"\\\n") && !bytes[begin..].starts_with(b"\\\r\n") {
            let indent = vec![b' '; depth * INDENT];
            self.replace(line.span.start..line.span.start + begin, &indent);
        }
        let end = content(bytes);
        let kept = bytes[..end].iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
        // Behind a backslash white space keeps it from continuing the line.
        if kept > begin && kept < end && bytes[kept - 1] != b'\\' && !bytes.contains(&0) {
            self.replace(line.span.start + kept..line.span.start + end, b"");
        }
    }

    fn replace(&mut self, span: Span, text: &[u8]) {
        if self.source[span.clone()] != *text {
            self.edits.push(Edit { span, text: text.to_vec() });
        }
    }
}

/// How long a line is without its end.
fn content(bytes: &[u8]) -> usize {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes).len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conf::words;
    use crate::directives::spelled;

    fn formatted(text: &str) -> String {
        String::from_utf8(format(text.as_bytes(), spelled).unwrap()).unwrap()
    }

    #[test]
    fn sections_names_and_white_space() {
        let text = "servername   x  \r\n\t# a comment \n<virtualHOST *:80>\ndocumentroot  \"/a  b\" \n   \n<directory />\n<IFMODULE !x.c>\nOptions  None  All\n</ifmodule>\n</directory>\n</VIRTUALHOST>\n";
        assert_eq!(
            formatted(text),
            "ServerName x\r\n# a comment\n<VirtualHost *:80>\n    DocumentRoot \"/a  b\"\n\n    <Directory />\n        <IfModule !x.c>\n            Options None  All\n        </IfModule>\n    </Directory>\n</VirtualHost>\n"
        );
    }

    #[test]
    fn continuations_and_backslashes_stay() {
        for text in [
            "Alias /a \\\n   /b\n",
            "# a \\\n  b\n",
            "Define A \\ \nDefine B x\n",
            "Define A x\\",
            "\\\nServerName x\n",
        ] {
            assert_eq!(formatted(text), text);
        }
        assert_eq!(formatted("  alias   /a \\\n   /b  \n"), "Alias /a \\\n   /b\n");
    }

    #[test]
    fn a_broken_file_is_refused() {
        assert!(format(b"<VirtualHost *:80>\n", spelled).is_err());
        assert!(format(b"</Directory>\n", spelled).is_err());
    }

    /// What httpd reads: names and arguments, in order.
    fn meaning(source: &[u8]) -> Vec<(String, Vec<Vec<u8>>)> {
        fn walk(items: &[Item], into: &mut Vec<(String, Vec<Vec<u8>>)>) {
            for item in items {
                let directive = match item {
                    Item::Directive(directive) | Item::StrayEnd(directive) => directive,
                    Item::Section(section) => {
                        into.push(read(&section.open));
                        walk(&section.items, into);
                        into.push(("/".to_owned(), Vec::new()));
                        continue;
                    }
                    Item::Blank(_) | Item::Comment(_) => continue,
                };
                into.push(read(directive));
            }
        }
        fn read(directive: &Directive) -> (String, Vec<Vec<u8>>) {
            let arguments = words(directive.raw_arguments(), 0).map(|word| word.value).collect();
            (directive.name().to_ascii_lowercase(), arguments)
        }
        let mut all = Vec::new();
        walk(&parse(source).items, &mut all);
        all
    }

    proptest! {
        #[test]
        fn the_meaning_stays_and_once_is_enough(
            lines in proptest::collection::vec(
                "([ \t]{0,3}(serverNAME|<IfModule|</IfModule>|# x|Define|\\\\|\"q)?[ \t]{0,2}[a\"'\\\\>#\u{e4}\t ]{0,5})", 0..8),
            end in prop_oneof![Just("\n"), Just("\r\n")],
        ) {
            let source = lines.join(end).into_bytes();
            if let Ok(once) = format(&source, spelled) {
                prop_assert_eq!(meaning(&source), meaning(&once));
                prop_assert_eq!(format(&once, spelled).unwrap(), once);
            }
        }
    }
}
