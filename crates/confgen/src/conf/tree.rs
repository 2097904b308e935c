//! The tree of a file: directives, and sections with what they contain.
//!
//! Nothing is evaluated here. Sections nest as they are written, whatever httpd would skip, and the tree of a broken file
//! is as complete as it can be: [`File::problems`] says what does not fit. Whether httpd accepts a file also depends on
//! what `<IfModule>` and its like skip, which the reader of whole configurations decides.

use super::line::{self, Line};
use super::word::{self, Word};
use super::{Span, is_space};

/// How deep sections may nest: deeper ones are read as if they stood beside their parent.
const DEPTH: usize = 200;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What the file contains, in order.
    pub items: Vec<Item>,
    /// What does not fit together, in the order of the lines.
    pub problems: Vec<Problem>,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Nothing but white space.
    Blank(Line),
    /// A comment.
    Comment(Line),
    /// A directive.
    Directive(Directive),
    /// A section.
    Section(Section),
    /// The end of a section that is not open here.
    StrayEnd(Directive),
}

/// A directive, or the first line of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The line.
    pub line: Line,
    /// The name as written, without `<` and `>`.
    pub name: Word,
    /// The rest of the line's text: without the `>` of a section and what follows it.
    pub arguments: Span,
}

impl Directive {
    /// The name as text.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.text()
    }

    /// Whether it has this name; httpd does not distinguish case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.value.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The arguments as they are written.
    #[must_use]
    pub fn raw_arguments(&self) -> &[u8] {
        &self.line.text()[self.arguments.clone()]
    }

    /// The arguments as words. Their spans are places in the line's text.
    pub fn words(&self) -> impl Iterator<Item = Word> {
        word::words(&self.line.text()[..self.arguments.end], self.arguments.start)
    }
}

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its first line.
    pub open: Directive,
    /// What it contains.
    pub items: Vec<Item>,
    /// Its last line; `None` when it is not closed.
    pub close: Option<Line>,
}

/// What does not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// Where in the source.
    pub span: Span,
}

/// The kinds of problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A section that nothing closes.
    Unclosed {
        /// Its name.
        name: String,
    },
    /// An end without a section.
    StrayEnd {
        /// Its name.
        name: String,
        /// The section that is open there, if any.
        open: Option<String>,
    },
    /// The first or last line of a section without `>`.
    NoBracket {
        /// The section's name; `/` before it for a last line.
        name: String,
    },
    /// `<` without a name.
    Nameless,
    /// Deeper nesting than this reader follows.
    TooDeep,
}

/// An open section.
struct Open {
    directive: Directive,
    items: Vec<Item>,
}

/// Reads a file.
#[must_use]
pub fn parse(source: &[u8]) -> File {
    let mut builder = Builder { root: Vec::new(), open: Vec::new(), problems: Vec::new() };
    for line in line::lines(source) {
        builder.add(line);
    }
    builder.finish()
}

struct Builder {
    root: Vec<Item>,
    open: Vec<Open>,
    problems: Vec<Problem>,
}

impl Builder {
    fn add(&mut self, line: Line) {
        if line.is_blank() {
            return self.push(Item::Blank(line));
        }
        if line.is_comment() {
            return self.push(Item::Comment(line));
        }
        let Some(name) = word::next(line.text(), 0) else { return self.push(Item::Blank(line)) };
        match name.value.as_slice() {
            // httpd ignores a line whose first word is empty (`""`).
            [] => self.push(Item::Comment(line)),
            [b'<', b'/', ..] => self.end(line, name),
            [b'<', ..] => self.begin(line, name),
            _ => {
                let arguments = arguments(&line, name.span.end);
                self.push(Item::Directive(Directive { line, name, arguments }));
            }
        }
    }

    fn begin(&mut self, line: Line, mut name: Word) {
        let text = line.text();
        let mut rest = arguments(&line, name.span.end);
        name.value.remove(0);
        name.span.start += 1;
        let within_name = name.value.last() == Some(&b'>');
        if within_name {
            name.value.pop();
            name.span.end -= 1;
            rest = rest.start..rest.start;
        } else if let Some(bracket) = text[rest.clone()].iter().rposition(|byte| *byte == b'>') {
            rest = trim_end(text, rest.start..rest.start + bracket);
        } else {
            self.report(&line, ProblemKind::NoBracket { name: name.text() });
        }
        if name.value.is_empty() {
            self.report(&line, ProblemKind::Nameless);
        }
        let directive = Directive { line, name, arguments: rest };
        if self.open.len() == DEPTH {
            self.report(&directive.line.clone(), ProblemKind::TooDeep);
            return self.push(Item::Directive(directive));
        }
        self.open.push(Open { directive, items: Vec::new() });
    }

    fn end(&mut self, line: Line, mut name: Word) {
        name.value.drain(..2);
        let closed = name.value.last() == Some(&b'>');
        if closed {
            name.value.pop();
        } else {
            self.report(&line, ProblemKind::NoBracket { name: format!("/{}", name.text()) });
        }
        let matches = |open: &Open| open.directive.name.value.eq_ignore_ascii_case(&name.value);
        let Some(depth) = self.open.iter().rposition(matches) else {
            let open = self.open.last().map(|open| open.directive.name());
            self.report(&line, ProblemKind::StrayEnd { name: name.text(), open });
            let arguments = arguments(&line, name.span.end);
            return self.push(Item::StrayEnd(Directive { line, name, arguments }));
        };
        // Sections inside that are still open have lost their end.
        while self.open.len() > depth + 1 {
            self.close_unclosed();
        }
        self.close(Some(line));
    }

    fn close_unclosed(&mut self) {
        if let Some(open) = self.open.last() {
            let name = open.directive.name();
            let line = open.directive.line.clone();
            self.report(&line, ProblemKind::Unclosed { name });
        }
        self.close(None);
    }

    fn close(&mut self, close: Option<Line>) {
        if let Some(Open { directive, items }) = self.open.pop() {
            self.push(Item::Section(Section { open: directive, items, close }));
        }
    }

    fn push(&mut self, item: Item) {
        match self.open.last_mut() {
            Some(open) => open.items.push(item),
            None => self.root.push(item),
        }
    }

    fn report(&mut self, line: &Line, kind: ProblemKind) {
        self.problems.push(Problem { kind, span: line.source_span(&(0..line.text().len())) });
    }

    fn finish(mut self) -> File {
        while !self.open.is_empty() {
            self.close_unclosed();
        }
        self.problems.sort_by_key(|problem| problem.span.start);
        File { items: self.root, problems: self.problems }
    }
}

/// What follows the first word of a line.
fn arguments(line: &Line, from: usize) -> Span {
    let text = line.text();
    let start = (from..text.len()).find(|place| !is_space(text[*place])).unwrap_or(text.len());
    start..text.len()
}

fn trim_end(text: &[u8], span: Span) -> Span {
    let end =
        text[span.clone()].iter().rposition(|byte| !is_space(*byte)).map_or(span.start, |last| span.start + last + 1);
    span.start..end
}

impl File {
    /// The lines of the file, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<&Line> {
        let mut lines = Vec::new();
        collect(&self.items, &mut lines);
        lines
    }

    /// The bytes of the file, put together from its lines.
    #[must_use]
    pub fn print(&self, source: &[u8]) -> Vec<u8> {
        self.lines().iter().flat_map(|line| source[line.span.clone()].iter().copied()).collect()
    }
}

fn collect<'a>(items: &'a [Item], lines: &mut Vec<&'a Line>) {
    for item in items {
        match item {
            Item::Blank(line) | Item::Comment(line) => lines.push(line),
            Item::Directive(directive) | Item::StrayEnd(directive) => lines.push(&directive.line),
            Item::Section(section) => {
                lines.push(&section.open.line);
                collect(&section.items, lines);
                lines.extend(&section.close);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(items: &[Item]) -> String {
        let parts: Vec<String> = items
            .iter()
            .map(|item| match item {
                Item::Blank(_) => "_".to_owned(),
                Item::Comment(_) => "#".to_owned(),
                Item::Directive(directive) => {
                    format!("{}({})", directive.name(), String::from_utf8_lossy(directive.raw_arguments()))
                }
                Item::StrayEnd(directive) => format!("!{}", directive.name()),
                Item::Section(section) => {
                    let arguments = String::from_utf8_lossy(section.open.raw_arguments()).into_owned();
                    format!("<{} {arguments}|{}>", section.open.name(), sketch(&section.items))
                }
            })
            .collect();
        parts.join(" ")
    }

    fn tree(source: &str) -> String {
        sketch(&parse(source.as_bytes()).items)
    }

    #[test]
    fn sections_nest() {
        let source = "Listen 80\n<VirtualHost *:80>\n  # c\n\n  <Directory \"/srv/a b\">\n    Require all granted\n  </Directory>\n</VirtualHost>\n";
        assert_eq!(tree(source), "Listen(80) <VirtualHost *:80|# _ <Directory \"/srv/a b\"|Require(all granted)>>");
        assert_eq!(parse(source.as_bytes()).problems, []);
    }

    #[test]
    fn names_do_not_depend_on_case_or_odd_spelling() {
        assert_eq!(tree("<ifmodule x>\nA\n</IfModule>"), "<ifmodule x|A()>");
        assert_eq!(tree("<RequireAll>\n</RequireAll> and more"), "<RequireAll |>");
        assert_eq!(tree("<If \"%{HTTP_HOST} > 'a'\">\n</If>"), "<If \"%{HTTP_HOST} > 'a'\"|>");
        assert_eq!(tree("<Directory \\\n  /srv>\n</Directory>"), "<Directory /srv|>");
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_place() {
        let kinds = |source: &str| -> Vec<ProblemKind> {
            parse(source.as_bytes()).problems.into_iter().map(|problem| problem.kind).collect()
        };
        let name = || "Directory".to_owned();
        assert_eq!(kinds("<Directory /a>\n"), [ProblemKind::Unclosed { name: name() }]);
        assert_eq!(kinds("</Directory>\n"), [ProblemKind::StrayEnd { name: name(), open: None }]);
        assert_eq!(
            kinds("<Files x>\n</Directory>\n</Files>\n"),
            [ProblemKind::StrayEnd { name: name(), open: Some("Files".to_owned()) }]
        );
        assert_eq!(kinds("<Directory /a\n</Directory>\n"), [ProblemKind::NoBracket { name: name() }]);
        assert_eq!(kinds("<Directory /a>\n</Directory\n"), [ProblemKind::NoBracket { name: "/Directory".to_owned() }]);
        assert_eq!(
            kinds("<Directory /a>\n<Files x>\n</Directory>\n"),
            [ProblemKind::Unclosed { name: "Files".to_owned() }]
        );
        let file = parse(b"A\n  <Directory /a>\n");
        assert_eq!(file.problems[0].span, 4..18);
    }

    #[test]
    fn deep_nesting_ends_somewhere() {
        let source = "<a>\n".repeat(100_000);
        let file = parse(source.as_bytes());
        assert!(file.problems.iter().any(|problem| problem.kind == ProblemKind::TooDeep));
        assert_eq!(file.print(source.as_bytes()), source.as_bytes());
    }

    fn fragment() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("<Directory /x>\n".to_owned()),
            Just("</Directory>\r\n".to_owned()),
            Just("<IfModule".to_owned()),
            Just("</ifmodule>\n".to_owned()),
            Just("\\\n".to_owned()),
            Just("\"".to_owned()),
            Just("# x\n".to_owned()),
            Just(">".to_owned()),
            "[ -~\\t\\n\\r\\x00]{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn every_byte_comes_back(parts in proptest::collection::vec(fragment(), 0..30)) {
            let source = parts.concat();
            prop_assert_eq!(parse(source.as_bytes()).print(source.as_bytes()), source.as_bytes());
        }

        #[test]
        fn every_byte_of_anything_comes_back(source in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(parse(&source).print(&source), source);
        }
    }
}
