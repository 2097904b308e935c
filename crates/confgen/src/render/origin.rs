//! Where each line of a rendered file came from.
//!
//! A value goes into a template together with the key of the spec that it was taken from, as a mark of two control
//! characters around a number; values themselves hold no control characters. The marks are taken out when the text is
//! finished, and what remains of them is: line N was made from these keys.

use std::cell::RefCell;
use std::fmt;

use crate::document::Path;

const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

/// A value for a template, with the key that it came from.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    origin: usize,
    text: String,
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}{CLOSE}", self.origin)?;
        f.write_str(&self.text)
    }
}

/// The keys that values came from.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    paths: RefCell<Vec<Path>>,
}

impl Origins {
    /// A value that came from a key.
    pub(crate) fn arg(&self, path: &Path, text: impl fmt::Display) -> Arg {
        let mut paths = self.paths.borrow_mut();
        let origin = match paths.last() == Some(path) {
            true => paths.len() - 1,
            false => {
                paths.push(path.clone());
                paths.len() - 1
            }
        };
        Arg { origin, text: text.to_string() }
    }

    /// The comment over a block.
    pub(crate) fn block(&self, path: &Path) -> Arg {
        self.arg(path, path)
    }

    /// Takes the marks out of a rendered text. Lines without content are dropped; a block's comment gets an empty line
    /// before it.
    pub(crate) fn finish(&self, rendered: &str) -> Finished {
        let paths = self.paths.borrow();
        let mut text = String::with_capacity(rendered.len());
        let mut lines = Vec::new();
        let mut after_comment = true;
        for marked in rendered.lines() {
            let mut line = String::with_capacity(marked.len());
            let mut origins: Vec<Path> = Vec::new();
            let mut rest = marked;
            while let Some((before, after)) = rest.split_once(OPEN) {
                line.push_str(before);
                let Some((number, after)) = after.split_once(CLOSE) else {
                    rest = after;
                    continue;
                };
                if let Some(path) = number.parse::<usize>().ok().and_then(|number| paths.get(number))
                    && !origins.contains(path)
                {
                    origins.push(path.clone());
                }
                rest = after;
            }
            line.push_str(rest);
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            let comment = line.starts_with('#');
            if comment && !after_comment {
                text.push('\n');
                lines.push(Vec::new());
            }
            after_comment = comment;
            text.push_str(line);
            text.push('\n');
            lines.push(origins);
        }
        Finished { text, lines }
    }
}

/// A finished text with the keys of its lines.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The text.
    pub(crate) text: String,
    /// For each line, the keys that its values came from.
    pub(crate) lines: Vec<Vec<Path>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_origins() {
        let origins = Origins::default();
        let (a, b) = (Path::of(["a"]), Path::of(["a", "b"]));
        let text = format!(
            "# {}:\nX \"{}\"\n\n\n# {}:\nY {} {}\n",
            origins.block(&a),
            origins.arg(&b, 5),
            origins.block(&b),
            origins.arg(&a, "x"),
            origins.arg(&b, "y")
        );
        let finished = origins.finish(&text);
        assert_eq!(finished.text, "# a:\nX \"5\"\n\n# a.b:\nY x y\n");
        assert_eq!(finished.lines, [vec![a.clone()], vec![b.clone()], vec![], vec![b.clone()], vec![a, b]]);
    }
}
