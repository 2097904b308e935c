//! `name=value` arguments of the wsgi module's directives, as it reads them.

use crate::conf::is_space;
use crate::conf::word;

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Its name.
    pub name: String,
    /// Its value without quotes; `None` without `=`.
    pub value: Option<String>,
    /// Its place in the text that was read.
    pub span: std::ops::Range<usize>,
}

impl Opt {
    /// The value as a number.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.value.as_deref()?.parse().ok()
    }
}

/// The options from a place of a text on. Unlike other words, the quotes of a value stand behind its `=`.
pub(super) fn options(text: &[u8], from: usize) -> Vec<Opt> {
    let mut found = Vec::new();
    let mut at = from;
    loop {
        while text.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        if at >= text.len() {
            return found;
        }
        let start = at;
        while at < text.len() && text[at] != b'=' && !is_space(text[at]) {
            at += 1;
        }
        let name = String::from_utf8_lossy(&text[start..at]).into_owned();
        let value = if text.get(at) == Some(&b'=') {
            at += 1;
            match text.get(at) {
                Some(byte) if !is_space(*byte) => {
                    let read = word::next(text, at);
                    at = read.as_ref().map_or(text.len(), |word| word.span.end);
                    Some(read.map(|word| word.text()).unwrap_or_default())
                }
                _ => Some(String::new()),
            }
        } else {
            None
        };
        found.push(Opt { name, value, span: start..at });
    }
}

/// The first words of a text, and the options behind them.
pub(super) fn after_words(text: &[u8], count: usize) -> (Vec<String>, Vec<Opt>) {
    let mut words = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let Some(word) = word::next(text, at) else { break };
        at = word.span.end;
        words.push(word.text());
    }
    (words, options(text, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_quotes_are_one_option() {
        let (words, found) = after_words(b"d processes=2 python-path='/a b:/c' display-name=\"%{GROUP}\" odd home=", 1);
        assert_eq!(words, ["d"]);
        let pairs: Vec<_> = found.iter().map(|option| (option.name.as_str(), option.value.as_deref())).collect();
        let expected = [
            ("processes", Some("2")),
            ("python-path", Some("/a b:/c")),
            ("display-name", Some("%{GROUP}")),
            ("odd", None),
            ("home", Some("")),
        ];
        assert_eq!(pairs, expected);
        assert_eq!(found[0].span, 2..13);
        assert_eq!(found[0].number(), Some(2));
    }
}
