//! A file in one form: indented by sections, names as their modules write them. What httpd reads stays the same.
//!
//! White space at both ends of a line and behind the name changes, and the case of names. Quotes go from arguments that have no need
//! of them, where the directive gets words and cannot see the quotes. Everything else of the arguments stays byte for byte, as each
//! directive reads its own; so do comments, what follows a continuation, and programs in sections for other languages.

use super::edit::{Edit, apply};
use super::line::Line;
use super::tree::{Directive, Item, Problem, parse};
use super::word::Quote;
use super::{Span, is_space};

/// One level of sections.
const INDENT: usize = 4;

/// What has to be known of directives and sections.
#[derive(Clone, Copy)]
pub struct Names {
    /// How the name of a directive or a section is written.
    pub spelled: fn(&str) -> Option<&'static str>,
    /// Whether a directive gets its arguments as words.
    pub takes_words: fn(&str) -> bool,
    /// Whether the lines of a section are read as they stand.
    pub has_directives: fn(&str) -> bool,
    /// Whether a section holds a program.
    pub has_code: fn(&str) -> bool,
}

/// The file in its form.
///
/// # Errors
/// What does not fit together in the file: its form cannot be seen then.
pub fn format(source: &[u8], names: Names) -> Result<Vec<u8>, Vec<Problem>> {
    let file = parse(source);
    if !file.problems.is_empty() {
        return Err(file.problems);
    }
    let mut formatter = Formatter { source, names, quotes_stay: false, edits: Vec::new() };
    formatter.items(&file.items, 0);
    // Each edit lies within its own line, so that they cannot meet.
    Ok(apply(source, &formatter.edits).unwrap_or_else(|_| source.to_vec()))
}

struct Formatter<'a> {
    source: &'a [u8],
    names: Names,
    /// Whether the lines are in a section that may put something into them.
    quotes_stay: bool,
    edits: Vec<Edit>,
}

impl Formatter<'_> {
    fn items(&mut self, items: &[Item], depth: usize) {
        for item in items {
            match item {
                Item::Blank(line) => self.blank(line),
                Item::Comment(line) => self.ends(line, depth),
                Item::Directive(directive) | Item::StrayEnd(directive) => {
                    self.directive(directive, depth);
                    self.quotes(directive);
                }
                Item::Section(section) => {
                    self.directive(&section.open, depth);
                    let name = section.open.name();
                    if !(self.names.has_code)(&name) {
                        let around = self.quotes_stay;
                        self.quotes_stay |= !(self.names.has_directives)(&name);
                        self.items(&section.items, depth + 1);
                        self.quotes_stay = around;
                    }
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

    /// Removes the quotes around words that are the same without them.
    fn quotes(&mut self, directive: &Directive) {
        if self.quotes_stay || !(self.names.takes_words)(&directive.name()) {
            return;
        }
        let line = &directive.line;
        for word in directive.words().filter(|word| word.quote != Quote::None && word.closed) {
            let apart = line.text().get(word.span.end).is_none_or(|next| is_space(*next));
            let span = line.source_span(&word.span);
            // A word that goes over several lines stays.
            let whole = self.source[span.clone()] == line.text()[word.span.clone()];
            if apart && whole && is_plain(&word.value) {
                self.replace(span, &word.value);
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
        if let Some(spelled) = (self.names.spelled)(name)
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

/// Whether an argument is one word without quotes, and has nothing in it that a reader would take for more than text: no variable,
/// no expression, no regular expression.
fn is_plain(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:,+@=~*".contains(byte);
    !value.is_empty() && value.iter().all(plain) && !value.starts_with(b"expr=")
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
    use crate::conf::{reader, words};
    use crate::directives;

    const NAMES: Names = Names {
        spelled: directives::spelled,
        takes_words: directives::takes_words,
        has_directives: directives::has_directives,
        has_code: directives::has_code,
    };

    fn formatted(text: &str) -> String {
        String::from_utf8(format(text.as_bytes(), NAMES).unwrap()).unwrap()
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
    fn quotes_that_nothing_needs_go() {
        for (before, after) in [
            ("KeepAlive \"On\"\n", "KeepAlive On\n"),
            ("DocumentRoot '/srv/app'\n", "DocumentRoot /srv/app\n"),
            ("Alias \"/a\"\t\"/srv/a b\" \n", "Alias /a\t\"/srv/a b\"\n"),
            ("LogFormat \"%h\" \"short\"\n", "LogFormat \"%h\" short\n"),
            ("WSGIPythonHome \"/srv/venv\"\n", "WSGIPythonHome /srv/venv\n"),
            ("Alias \\\n  \"/a\" \\\n  '/b'\n", "Alias \\\n  /a \\\n  /b\n"),
            (
                "<Directory \"/srv\">\nAllowOverrideList \"None\"\n</Directory>\n",
                "<Directory \"/srv\">\n    AllowOverrideList None\n</Directory>\n",
            ),
        ] {
            assert_eq!(formatted(before), after);
        }
    }

    #[test]
    fn quotes_that_may_mean_something_stay() {
        for text in [
            "DocumentRoot \"/srv/a b\"\n",
            "DocumentRoot \"\"\n",
            "DocumentRoot \"/srv/${NAME}\"\n",
            "DocumentRoot \"C:\\srv\"\n",
            "DocumentRoot \"/it's\"\n",
            "DocumentRoot \"#1\"\n",
            "DocumentRoot \"<a\"\n",
            "DocumentRoot \"/a\"b\n",
            "DocumentRoot \"/a\n",
            "DocumentRoot \"/a\\\nb\"\n",
            "Nonsense \"On\"\n",
            "Header \"set\" \"X\" \"y\"\n",
            "RewriteRule \"/a\" \"/b\"\n",
            "AliasMatch \"/a\" \"/b\"\n",
            "WSGIDaemonProcess \"web\"\n",
            "CustomLog \"/log\" \"%h\" \"expr=1\"\n".replace("\"/log\"", "/log").as_str(),
            "<Macro M on>\n    KeepAlive \"on\"\n</Macro>\n",
            "<Macro M on>\n    <IfModule x>\n        KeepAlive \"on\"\n    </IfModule>\n</Macro>\n",
            "<Unknown>\n    KeepAlive \"on\"\n</Unknown>\n",
        ] {
            assert_eq!(formatted(text), *text);
        }
    }

    #[test]
    fn programs_in_sections_stay() {
        let text = "<LuaQuickHandler>\n  require \"x\"\n\tdefine = 'a'\n\n</LuaQuickHandler>\n";
        assert_eq!(formatted(text), text);
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
        assert!(format(b"<VirtualHost *:80>\n", NAMES).is_err());
        assert!(format(b"</Directory>\n", NAMES).is_err());
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

    /// What httpd would do with it: names and words as the reader of whole configurations has them.
    fn effect(folder: &std::path::Path, source: &[u8]) -> String {
        fn show(nodes: &[reader::Node], into: &mut String) {
            for node in nodes {
                let words: Vec<_> = node.words.iter().map(|word| String::from_utf8_lossy(word)).collect();
                *into += &format!("{} {words:?} {{", node.name.to_ascii_lowercase());
                show(node.children.as_deref().unwrap_or_default(), into);
                into.push('}');
            }
        }
        let file = folder.join("httpd.conf");
        std::fs::write(&file, source).unwrap();
        let environment = [(b"V".to_vec(), b"a b".to_vec())].into_iter().collect();
        let reading = reader::read(&file, &reader::Facts { environment, ..reader::Facts::default() }).unwrap();
        let mut text = format!("{:?} ", reading.refusal);
        show(&reading.nodes, &mut text);
        text
    }

    proptest! {
        #[test]
        fn the_reader_reads_the_same_words(
            lines in proptest::collection::vec(
                prop_oneof![
                    "(DocumentRoot|ALIAS|Define|Header|alias \\\\\n|<IfModule !x>|</IfModule>)( [\"']?(/a|on|a b|\\$\\{V\\}|#|<x|\\\\|)[\"']?b?[ \t]?){0,3}",
                    "<Macro M on>\nAlias( \"?(/a|on|b)\"?){1,2}\n</Macro>\nUse M (\"a b\"|x)",
                ], 0..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let source = lines.join("\n").into_bytes();
            if let Ok(once) = format(&source, NAMES) {
                prop_assert_eq!(effect(folder.path(), &source), effect(folder.path(), &once));
                prop_assert_eq!(format(&once, NAMES).unwrap(), once);
            }
        }

        #[test]
        fn the_meaning_stays_and_once_is_enough(
            lines in proptest::collection::vec(
                "([ \t]{0,3}(serverNAME|<IfModule|</IfModule>|# x|Define|\\\\|\"q)?[ \t]{0,2}[a\"'\\\\>#\u{e4}\t ]{0,5})", 0..8),
            end in prop_oneof![Just("\n"), Just("\r\n")],
        ) {
            let source = lines.join(end).into_bytes();
            if let Ok(once) = format(&source, NAMES) {
                prop_assert_eq!(meaning(&source), meaning(&once));
                prop_assert_eq!(format(&once, NAMES).unwrap(), once);
            }
        }
    }
}
