//! Wildcards, as httpd matches names with them.

/// Whether a text holds wildcards.
pub(crate) fn is_pattern(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' => return true,
            b'\\' => {
                bytes.next();
            }
            b'[' if bytes.as_slice().contains(&b']') => return true,
            _ => {}
        }
    }
    false
}

/// Whether a name matches a pattern of `*`, `?`, `[a-z]`, `[!a]` and backslashes. A leading dot has to be written.
pub(crate) fn fnmatch(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    // The last `*` and where its match began: on a mismatch it takes one more byte.
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match step(&pattern[at..], name[place]) {
            Some(0) => {
                star = Some((at + 1, place));
                at += 1;
            }
            Some(length) => {
                at += length;
                place += 1;
            }
            None => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                at = after;
                place = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of the pattern match a byte of the name; 0 for `*`, which matches any number.
fn step(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'*', ..] => Some(0),
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] if rest.contains(&b']') => class(rest, byte).map(|length| length + 1),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// The length of a class up to and with its `]`, if the byte is in it.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut within = false;
    while let Some(low) = pattern.get(at) {
        if *low == b']' && at > first {
            return (within != negated).then_some(at + 1);
        }
        let range = pattern.get(at + 1) == Some(&b'-') && pattern.get(at + 2).is_some_and(|high| *high != b']');
        let high = if range { pattern[at + 2] } else { *low };
        within |= (*low..=high).contains(&byte);
        at += if range { 3 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let matches = |pattern: &str, name: &str| fnmatch(pattern.as_bytes(), name.as_bytes());
        assert!(matches("*.conf", "a.conf") && !matches("*.conf", "a.conf~") && !matches("*.conf", ".conf"));
        assert!(matches(".*", ".a") && matches("a?c*", "abcd") && !matches("a?c", "ac"));
        assert!(matches("[0-9]*", "10-x") && !matches("[!0-9]*", "10-x") && matches("[!a]", "b"));
        assert!(matches("\\*", "*") && !matches("\\*", "a") && matches("*a*b*c", "xxaxxbxxc"));
        assert!(matches("[", "[") && matches("[]]", "]"));
    }
}
