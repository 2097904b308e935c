//! Places of a configuration for messages.

use std::cell::OnceCell;
use std::sync::Arc;

use super::Statement;
use crate::conf::reader::{Place, Reading};
use crate::conf::{self, word};
use crate::source::{Source, Span};

/// A part of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its name.
    Name,
    /// One of its words, from 0.
    Word(usize),
    /// The options of this name, or all of it when there is none.
    Option(String),
}

/// The texts of a configuration, with places for messages. Bytes that are not UTF-8 are replaced in what is shown.
#[derive(Debug)]
pub struct Texts<'r> {
    reading: &'r Reading,
    sources: Vec<OnceCell<Arc<Source>>>,
}

impl<'r> Texts<'r> {
    /// The texts of what was read.
    #[must_use]
    pub fn new(reading: &'r Reading) -> Self {
        Self { reading, sources: reading.sources.iter().map(|_| OnceCell::new()).collect() }
    }

    /// A text as messages show it.
    #[must_use]
    pub fn source(&self, index: usize) -> &Arc<Source> {
        self.sources[index].get_or_init(|| {
            let source = &self.reading.sources[index];
            Source::new(source.path.display().to_string(), String::from_utf8_lossy(&source.bytes).into_owned())
        })
    }

    /// A range of bytes of a source.
    #[must_use]
    pub fn span(&self, index: usize, range: &conf::Span) -> Span {
        let shown = self.source(index);
        let bytes = &self.reading.sources[index].bytes;
        if shown.text.len() == bytes.len() {
            return Span::new(shown, range.clone());
        }
        let moved = |at: usize| String::from_utf8_lossy(&bytes[..at.min(bytes.len())]).len();
        Span::new(shown, moved(range.start)..moved(range.end))
    }

    /// A part of a directive.
    #[must_use]
    pub fn of(&self, statement: &Statement<'_>, part: &Part) -> Span {
        let Place { source, .. } = statement.node.place;
        self.span(source, &self.bytes_of(statement, part))
    }

    /// A whole line.
    #[must_use]
    pub fn line(&self, place: Place) -> Span {
        let line = &self.reading.sources[place.source].lines[place.line];
        self.span(place.source, &line.source_span(&(0..line.text().len())))
    }

    /// The bytes of a part of a directive in its source.
    #[must_use]
    pub fn bytes_of(&self, statement: &Statement<'_>, part: &Part) -> conf::Span {
        let Place { source, line } = statement.node.place;
        let line = &self.reading.sources[source].lines[line];
        let text = line.text();
        let name = word::next(text, 0).map_or(0..text.len(), |word| word.span);
        let within = match part {
            Part::Whole => 0..text.len(),
            Part::Name => name,
            Part::Word(index) => word::words(text, name.end)
                .nth(*index)
                .map(|word| without_bracket(text, word.span, statement.node.children.is_some()))
                .unwrap_or(0..text.len()),
            Part::Option(wanted) => super::options::options(text, name.end)
                .into_iter()
                .rfind(|option| option.name == *wanted)
                .map_or(0..text.len(), |option| option.span),
        };
        line.source_span(&within)
    }
}

/// The word of a section's first line without its `>`.
fn without_bracket(text: &[u8], span: conf::Span, section: bool) -> conf::Span {
    match section && text[span.clone()].ends_with(b">") && span.len() > 1 {
        true => span.start..span.end - 1,
        false => span,
    }
}
