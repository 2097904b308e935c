//! Logical lines: physical lines joined where a backslash stands before the line's end.
//!
//! httpd joins lines before it looks at what they say, so a comment or the header of a section continues like any other
//! line. A backslash counts when it is followed by LF or CRLF; what is before it does not matter. At the end of the file a
//! continuation joins nothing, and a backslash that no line end follows is an ordinary byte.

use super::{Span, is_space};

/// One logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// All bytes of the line in the source, its line end and continuations included.
    pub span: Span,
    /// What httpd sees: continuations removed, white space at both ends trimmed, cut at a NUL byte.
    text: Vec<u8>,
    /// Where the pieces between continuations begin: in `text`, and in the source.
    pieces: Vec<(usize, usize)>,
    /// The number that httpd gives the line in its messages: that of its last physical line, from 1.
    pub number: usize,
    /// The number of its first physical line, from 1.
    pub first_number: usize,
}

impl Line {
    /// What httpd sees of the line.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The place in the source of a place in [`Self::text`]. The end of the text belongs to the last piece.
    #[must_use]
    pub fn source_offset(&self, offset: usize) -> usize {
        let (logical, source) =
            self.pieces.iter().rev().find(|(logical, _)| *logical <= offset).copied().unwrap_or((0, self.span.start));
        source + (offset - logical)
    }

    /// The span in the source of a span in [`Self::text`]. It may contain continuations.
    #[must_use]
    pub fn source_span(&self, span: &Span) -> Span {
        let start = self.source_offset(span.start);
        // The end is the place after the last byte: a continuation right behind that byte is not part of the span.
        let end = if span.is_empty() { start } else { self.source_offset(span.end - 1) + 1 };
        start..end
    }

    /// Whether httpd ignores the line: blank.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether httpd ignores the line: a comment.
    #[must_use]
    pub fn is_comment(&self) -> bool {
        self.text.first() == Some(&b'#')
    }

    /// Whether the line stands on more than one physical line.
    #[must_use]
    pub fn is_continued(&self) -> bool {
        self.first_number != self.number
    }
}

/// All logical lines of a source, in order. Their spans follow each other and cover the whole source.
#[must_use]
pub fn lines(source: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut position = 0;
    let mut number = 1;
    while position < source.len() {
        let line = next(source, position, number);
        position = line.span.end;
        number = line.number + 1;
        lines.push(line);
    }
    lines
}

fn next(source: &[u8], start: usize, first_number: usize) -> Line {
    let mut text = Vec::new();
    let mut pieces = Vec::new();
    let mut position = start;
    let mut number = first_number;
    loop {
        let end = source[position..].iter().position(|byte| *byte == b'\n').map(|found| position + found);
        let physical_end = end.map_or(source.len(), |found| found + 1);
        pieces.push((text.len(), position));
        let content = &source[position..end.unwrap_or(source.len())];
        // httpd handles each physical line as a C string. After a NUL it does not see the line end any more, so the line
        // does not continue either.
        let nul = content.iter().position(|byte| *byte == 0);
        let visible = &content[..nul.unwrap_or(content.len())];
        let continued = if end.is_some() && nul.is_none() { without_continuation(visible) } else { None };
        position = physical_end;
        match continued {
            Some(kept) => {
                text.extend_from_slice(kept);
                // At the end of the file httpd counts the line that it looked for in vain.
                number += 1;
                if position == source.len() {
                    break;
                }
            }
            None => {
                text.extend_from_slice(visible);
                break;
            }
        }
    }
    let mut line = Line { span: start..position, text, pieces, number, first_number };
    trim(&mut line);
    line
}

/// The line without the backslash that continues it (and a CR behind that), if it is continued.
fn without_continuation(content: &[u8]) -> Option<&[u8]> {
    content.strip_suffix(b"\r").unwrap_or(content).strip_suffix(b"\\")
}

fn trim(line: &mut Line) {
    let end = line.text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    line.text.truncate(end);
    let start = line.text.iter().position(|byte| !is_space(*byte)).unwrap_or(0);
    if start == 0 {
        return;
    }
    line.text.drain(..start);
    // Pieces move with the text; the one that the text now begins in begins later in the source.
    let first = line.pieces.iter().rposition(|(logical, _)| *logical <= start).unwrap_or(0);
    line.pieces.drain(..first);
    for (index, (logical, source)) in line.pieces.iter_mut().enumerate() {
        if index == 0 {
            *source += start - *logical;
            *logical = 0;
        } else {
            *logical -= start;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(source: &[u8]) -> Vec<Vec<u8>> {
        lines(source).iter().map(|line| line.text().to_vec()).collect()
    }

    #[test]
    fn lines_continue_after_a_backslash() {
        assert_eq!(texts(b"  A b \\\n  c\nD\n"), [b"A b   c".to_vec(), b"D".to_vec()]);
        assert_eq!(texts(b"A \\\r\nb\r\nD"), [b"A b".to_vec(), b"D".to_vec()]);
        assert_eq!(texts(b"# a comment \\\nListen 80\n"), [b"# a comment Listen 80".to_vec()]);
        assert_eq!(texts(b"A \\ \nB\n"), [b"A \\".to_vec(), b"B".to_vec()]);
        // A second backslash changes nothing.
        assert_eq!(texts(b"A \\\\\nB\n"), [b"A \\B".to_vec()]);
    }

    #[test]
    fn the_end_of_the_file_ends_a_line() {
        assert_eq!(texts(b"A \\\n"), [b"A".to_vec()]);
        assert_eq!(texts(b"A \\"), [b"A \\".to_vec()]);
        assert_eq!(texts(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_nul_byte_hides_the_rest_of_its_line() {
        assert_eq!(texts(b"A b\0c \\\nB\n"), [b"A b".to_vec(), b"B".to_vec()]);
    }

    #[test]
    fn numbers_are_those_of_httpd() {
        let found = lines(b"A\n\nB \\\n  c\nD\n");
        let numbers: Vec<_> = found.iter().map(|line| (line.first_number, line.number)).collect();
        assert_eq!(numbers, [(1, 1), (2, 2), (3, 4), (5, 5)]);
    }

    #[test]
    fn places_lead_back_to_the_source() {
        let source = b"  Listen \\\n \\\n  80 # x\n";
        let line = &lines(source)[0];
        assert_eq!(line.text(), b"Listen    80 # x");
        let place = line.text().iter().position(|byte| *byte == b'8').unwrap();
        assert_eq!(&source[line.source_span(&(place..place + 2))], b"80");
        assert_eq!(&source[line.source_span(&(0..6))], b"Listen");
    }

    proptest! {
        #[test]
        fn the_lines_cover_the_source(source in proptest::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(b' '), Just(0u8), any::<u8>()], 0..200)) {
            let mut position = 0;
            for line in lines(&source) {
                prop_assert_eq!(line.span.start, position);
                prop_assert!(line.span.end > position);
                for (offset, byte) in line.text().iter().enumerate() {
                    prop_assert_eq!(source[line.source_offset(offset)], *byte);
                }
                position = line.span.end;
            }
            prop_assert_eq!(position, source.len());
        }
    }
}
