//! Changes of a source by spans: what no edit names stays as it is, byte for byte.

use super::Span;

/// One replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; an empty span inserts.
    pub span: Span,
    /// What comes in its place.
    pub text: Vec<u8>,
}

/// Two edits that touch the same bytes, or one outside the source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("edits overlap or lie outside the file at byte {at}")]
pub struct Conflict {
    /// Where in the source.
    pub at: usize,
}

/// The source with all edits made. Insertions at one place are made in the order given.
///
/// # Errors
/// When two edits overlap, or one lies outside the source; nothing is changed then.
pub fn apply(source: &[u8], edits: &[Edit]) -> Result<Vec<u8>, Conflict> {
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    ordered.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut result = Vec::with_capacity(source.len());
    let mut position = 0;
    for edit in ordered {
        if edit.span.start < position || edit.span.end < edit.span.start || edit.span.end > source.len() {
            return Err(Conflict { at: edit.span.start });
        }
        result.extend_from_slice(&source[position..edit.span.start]);
        result.extend_from_slice(&edit.text);
        position = edit.span.end;
    }
    result.extend_from_slice(&source[position..]);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(span: Span, text: &str) -> Edit {
        Edit { span, text: text.as_bytes().to_vec() }
    }

    #[test]
    fn edits_are_made_in_one_go() {
        let edits = [edit(4..5, "E"), edit(0..1, ""), edit(2..2, "+")];
        assert_eq!(apply(b"abcdef", &edits).unwrap(), b"b+cdEf");
    }

    #[test]
    fn overlaps_are_refused() {
        assert_eq!(apply(b"abcdef", &[edit(0..3, "x"), edit(2..4, "y")]), Err(Conflict { at: 2 }));
        assert_eq!(apply(b"abc", &[edit(2..9, "x")]), Err(Conflict { at: 2 }));
    }
}
