//! What a Python source says at the level of its module, read without running it. This is no parser of Python: it knows strings,
//! comments, brackets and indentation, which is enough to tell an assignment from a text that looks like one.

use std::collections::BTreeMap;

/// A logical line: comments removed, continued lines joined.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    indent: usize,
    text: String,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// It is executed when the module is imported.
    Module,
    /// In a function or a class.
    Inner,
    /// It is executed when the module is run as a program.
    Main,
}

/// A name that a module defines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) level: Level,
    pub(super) what: What,
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The result of a call: what is called, with imported names written out, and the text of the whole call.
    Call(String, String),
    /// Another name, with imported names written out.
    Name(String),
    /// A function with its parameters.
    Function(Vec<String>),
    /// A class with its bases, imported names written out.
    Class(Vec<String>),
    /// Something else.
    Other,
}

/// A source.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) definitions: Vec<Definition>,
    /// Names that are imported anywhere, and what they stand for.
    pub(super) imports: BTreeMap<String, String>,
}

impl Module {
    pub(super) fn read(text: &str) -> Self {
        let lines = lines(text);
        let mut module = Self::default();
        for line in &lines {
            module.import(&line.text);
        }
        let mut blocks: Vec<(usize, Level)> = Vec::new();
        for line in &lines {
            while blocks.last().is_some_and(|(indent, _)| *indent >= line.indent) {
                blocks.pop();
            }
            let level = blocks.last().map_or(Level::Module, |(_, level)| *level);
            if let Some(definition) = module.definition(&line.text, level) {
                module.definitions.push(definition);
            }
            if line.text.contains(':') {
                blocks.push((line.indent, inner(&line.text, level)));
            }
        }
        module
    }

    /// Whether anything of a package is imported.
    pub(super) fn imports_from(&self, package: &str) -> bool {
        self.imports.values().any(|full| full.split('.').next() == Some(package))
    }

    fn import(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("import ") {
            for part in rest.split(',') {
                match part.split_once(" as ") {
                    Some((full, name)) => self.add_import(name, full.trim()),
                    None => {
                        let first = part.split('.').next().unwrap_or_default();
                        self.add_import(first, first.trim());
                        // So that it is known which package is used, `import a.b` keeps its whole name too.
                        self.add_import(part, part.trim());
                    }
                }
            }
        } else if let Some((from, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) {
            for part in names.trim().trim_matches(['(', ')']).split(',') {
                let (full, name) = part.split_once(" as ").unwrap_or((part, part));
                self.add_import(name, &format!("{}.{}", from.trim(), full.trim()));
            }
        }
    }

    fn add_import(&mut self, name: &str, full: &str) {
        if !name.trim().is_empty() {
            self.imports.insert(name.trim().to_owned(), full.to_owned());
        }
    }

    /// A dotted name with its first part as it was imported.
    fn full(&self, name: &str) -> String {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let first = self.imports.get(first).map_or(first, String::as_str);
        rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"))
    }

    fn definition(&self, line: &str, level: Level) -> Option<Definition> {
        if let Some(rest) = line.strip_prefix("def ") {
            let (name, rest) = rest.split_once('(')?;
            let what = What::Function(arguments(rest));
            return Some(Definition { name: name.trim().to_owned(), level, what });
        }
        if let Some(rest) = line.strip_prefix("class ") {
            let name = rest.split(['(', ':']).next()?.trim().to_owned();
            let bases = rest.split_once('(').map(|(_, bases)| arguments(bases)).unwrap_or_default();
            let what = What::Class(bases.iter().map(|base| self.full(base)).collect());
            return Some(Definition { name, level, what });
        }
        if let Some((from, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) {
            // Of what is imported only the usual name is taken for an application.
            let mut parts = names.trim().trim_matches(['(', ')']).split(',').map(str::trim);
            let part = parts.find(|part| *part == "application" || part.ends_with(" as application"))?;
            let full = part.split(" as ").next().unwrap_or(part).trim();
            let what = What::Name(format!("{}.{full}", from.trim()));
            return Some(Definition { name: "application".to_owned(), level, what });
        }
        let (target, value) = assignment(line)?;
        let called = value.find('(').map(|at| value[..at].trim()).filter(|called| is_dotted(called));
        let what = match called {
            Some(called) => What::Call(self.full(called), value.to_owned()),
            None if is_dotted(value) => What::Name(self.full(value)),
            None => What::Other,
        };
        Some(Definition { name: target.to_owned(), level, what })
    }
}

/// Where the lines of a block stand.
fn inner(header: &str, around: Level) -> Level {
    let word = header.split([' ', '(', ':']).next().unwrap_or_default();
    match word {
        _ if around != Level::Module => around,
        "def" | "class" | "async" => Level::Inner,
        "if" if header.contains("__name__") && header.contains("__main__") => Level::Main,
        _ => Level::Module,
    }
}

/// `name = value`, `name: type = value`; of `a = b = value` the first name.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let at = line.find('=')?;
    let target = line[..at].trim();
    let target = target.split(':').next().unwrap_or_default().trim();
    let mut value = line[at + 1..].trim();
    if !is_name(target) || value.starts_with('=') {
        return None;
    }
    while let Some((next, rest)) = value.split_once('=')
        && is_name(next.trim())
        && !rest.starts_with('=')
    {
        value = rest.trim();
    }
    Some((target, value))
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !text.starts_with(|first: char| first.is_ascii_digit())
}

fn is_dotted(text: &str) -> bool {
    text.split('.').all(is_name) && !matches!(text, "None" | "True" | "False")
}

/// The parts between commas up to the bracket that closes.
fn arguments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in text.chars() {
        match letter {
            ')' | ']' | '}' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Splits a source into logical lines. What is no Python gives lines that mean nothing.
fn lines(text: &str) -> Vec<Line> {
    let letters: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    let mut line = String::new();
    let (mut depth, mut at) = (0_usize, 0);
    let end_line = |line: &mut String, lines: &mut Vec<Line>| {
        let kept = line.trim_start();
        if !kept.is_empty() {
            let indent = line.chars().take_while(|letter| letter.is_whitespace()).map(width).sum();
            lines.push(Line { indent, text: kept.trim_end().to_owned() });
        }
        line.clear();
    };
    while at < letters.len() {
        let letter = letters[at];
        match letter {
            '#' => {
                at += letters[at..].iter().position(|letter| *letter == '\n').unwrap_or(letters.len() - at);
                continue;
            }
            '"' | '\'' => {
                let end = string_end(&letters, at);
                line.extend(letters[at..end].iter().map(|letter| if *letter == '\n' { ' ' } else { *letter }));
                at = end;
                continue;
            }
            '\\' if letters.get(at + 1) == Some(&'\n') => {
                line.push(' ');
                at += 1;
            }
            '\n' if depth == 0 => end_line(&mut line, &mut lines),
            '\n' | '\r' => line.push(' '),
            '(' | '[' | '{' => {
                depth += 1;
                line.push(letter);
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                line.push(letter);
            }
            _ => line.push(letter),
        }
        at += 1;
    }
    end_line(&mut line, &mut lines);
    lines
}

fn width(letter: char) -> usize {
    if letter == '\t' { 8 } else { 1 }
}

/// The place behind a string that begins here. One that is never closed ends with its line, or with the source.
fn string_end(letters: &[char], start: usize) -> usize {
    let quote = letters[start];
    let triple = letters[start..].starts_with(&[quote; 3]);
    let mut at = start + if triple { 3 } else { 1 };
    while at < letters.len() {
        match letters[at] {
            '\\' => at += 1,
            '\n' if !triple => return at,
            letter if letter == quote && !triple => return at + 1,
            letter if letter == quote && letters[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => {}
        }
        at += 1;
    }
    letters.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn defined(text: &str) -> Vec<(String, Level, What)> {
        let definitions = Module::read(text).definitions.into_iter();
        definitions.map(|found| (found.name, found.level, found.what)).collect()
    }

    #[test]
    fn names_at_the_level_of_the_module() {
        let text = "import flask as f\nfrom shop.web import (\n    Thing as T,  # a comment)\n    other,\n)\n'''\napp = f.Flask(1)\n'''\napp = f.Flask(__name__, # =\n  static_folder='x')\n";
        assert_eq!(
            defined(text),
            [(
                "app".to_owned(),
                Level::Module,
                What::Call("flask.Flask".to_owned(), "f.Flask(__name__,    static_folder='x')".to_owned())
            )]
        );
        let text = "try:\n    from a import b as application\nexcept ImportError:\n\tapplication: object = T()\nif __name__ == '__main__':\n    app = T()\nclass C(Base, m=1):\n    x = 1\ndef f(a, b=(1, 2), *c): pass\ny = x = z\n";
        let names: Vec<_> = defined(text).into_iter().map(|(name, level, _)| (name, level)).collect();
        let expected = [
            ("application", Level::Module),
            ("application", Level::Module),
            ("app", Level::Main),
            ("C", Level::Module),
            ("x", Level::Inner),
            ("f", Level::Module),
            ("y", Level::Module),
        ];
        assert_eq!(names, expected.map(|(name, level)| (name.to_owned(), level)));
        let function = Module::read("def f(a, b=(1, 2), *c): pass\n");
        assert_eq!(
            function.definitions[0].what,
            What::Function(vec!["a".to_owned(), "b=(1, 2)".to_owned(), "*c".to_owned()])
        );
    }

    #[test]
    fn what_only_looks_like_an_assignment() {
        for text in ["# app = Flask()\n", "x['app'] = 1\n", "app == Flask()\n", "\"app = Flask()\"\n", "app += 1\n"] {
            assert_eq!(defined(text), [], "{text}");
        }
        assert_eq!(defined("app = 'Flask()'\n")[0].2, What::Other);
        assert_eq!(defined("app = None\n")[0].2, What::Other);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "[a-z =()\\[\\]'\"\\\\\n#:\t.,]{0,80}") {
            Module::read(&text);
        }
    }
}
