//! Words, as httpd's `ap_getword_conf` reads them from a line.
//!
//! A word is quoted when it begins with `"` or `'`; the quote ends it even when other bytes follow directly, and a quote
//! that is never closed takes the rest of the line. A backslash stands for itself, except before another backslash and,
//! within quotes, before that quote.

use super::{Span, is_space};

/// How a word is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// Not at all.
    None,
    /// With `"`.
    Double,
    /// With `'`.
    Single,
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word in the line's text, with its quotes.
    pub span: Span,
    /// How it is quoted.
    pub quote: Quote,
    /// Whether the closing quote is there; an unquoted word is always closed.
    pub closed: bool,
    /// The value: quotes and the backslashes that quote something removed. `${NAME}` is not resolved.
    pub value: Vec<u8>,
}

impl Word {
    /// The value as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// Reads the word that begins at or after `from`; `None` when only white space is left.
#[must_use]
pub fn next(text: &[u8], from: usize) -> Option<Word> {
    let start = (from..text.len()).find(|place| !is_space(text[*place]))?;
    let quote = match text[start] {
        b'"' => Quote::Double,
        b'\'' => Quote::Single,
        _ => Quote::None,
    };
    let mut value = Vec::new();
    let (end, closed) = if quote == Quote::None {
        let end = (start..text.len()).find(|place| is_space(text[*place])).unwrap_or(text.len());
        unescape(&text[start..end], None, &mut value);
        (end, true)
    } else {
        let mark = text[start];
        let mut end = start + 1;
        while end < text.len() && text[end] != mark {
            let escaped = text[end] == b'\\' && text.get(end + 1).is_some_and(|next| *next == mark || *next == b'\\');
            end += if escaped { 2 } else { 1 };
        }
        unescape(&text[start + 1..end], Some(mark), &mut value);
        let closed = end < text.len();
        (end + usize::from(closed), closed)
    };
    Some(Word { span: start..end, quote, closed, value })
}

/// All words from a place on. An empty quoted word is a word.
pub fn words(text: &[u8], from: usize) -> impl Iterator<Item = Word> {
    let mut position = from;
    std::iter::from_fn(move || {
        let word = next(text, position)?;
        position = word.span.end;
        Some(word)
    })
}

fn unescape(raw: &[u8], mark: Option<u8>, value: &mut Vec<u8>) {
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escapes = byte == b'\\' && bytes.peek().is_some_and(|next| *next == b'\\' || Some(*next) == mark);
        value.push(if escapes { bytes.next().unwrap_or(byte) } else { byte });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<String> {
        words(text.as_bytes(), 0).map(|word| word.text()).collect()
    }

    #[test]
    fn words_are_split_as_httpd_splits_them() {
        assert_eq!(values("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(values(r#""a b" 'c "d"' "e \"f\"" "#), ["a b", r#"c "d""#, r#"e "f""#]);
        assert_eq!(values(r#""a"b c"d e" "#), ["a", "b", "c\"d", "e\""]);
        assert_eq!(values(r"C:\x \\server\\y '\' z"), [r"C:\x", r"\server\y", r"' z"]);
        assert_eq!(values(r#""" x"#), ["", "x"]);
        assert_eq!(values("\"open ended"), ["open ended"]);
    }

    #[test]
    fn an_open_quote_is_seen() {
        let word = next(b"\"open", 0).unwrap();
        assert!(!word.closed);
        assert!(next(b"\"a\"", 0).unwrap().closed);
        // The last backslash quotes the quote, so nothing closes the word.
        assert!(!next(br#""a\""#, 0).unwrap().closed);
    }

    proptest! {
        #[test]
        fn words_lie_apart_and_leave_only_white_space(text in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\''), Just(b'\\'), Just(b' '), any::<u8>()], 0..80)) {
            let mut position = 0;
            for word in words(&text, 0) {
                prop_assert!(word.span.start >= position && word.span.end > word.span.start);
                prop_assert!(text[position..word.span.start].iter().all(|byte| is_space(*byte)));
                position = word.span.end;
            }
            prop_assert!(text[position..].iter().all(|byte| is_space(*byte)));
        }
    }
}
