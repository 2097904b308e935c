//! The one place that quotes values for httpd's language.
//!
//! A template writes the double quotes itself (`"{{ value }}"`), and every value passes through [`Conf`] on its way. Inside
//! double quotes httpd's word reader undoes exactly `\\` and `\"`. Before words are read, `${NAME}` is replaced anywhere in a
//! line; it is kept literal by a definition whose value is a dollar sign. NUL, CR and LF cannot be written at all: they are
//! refused with a place when the spec is read, and once more here.

use std::fmt;

/// The name that stands for a dollar sign in rendered configurations.
pub const DOLLAR: &str = "CG_DOLLAR";

/// The escaper that askama binds to `.conf` templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conf;

impl askama::filters::Escaper for Conf {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(position) = rest.find(['\\', '"', '$', '\0', '\r', '\n']) {
            let (before, special) = rest.split_at(position);
            dest.write_str(before)?;
            let mut after = special.chars();
            match after.next() {
                Some('\\') => dest.write_str("\\\\")?,
                Some('"') => dest.write_str("\\\"")?,
                // A dollar sign at the end of a piece may meet a brace that begins the next one.
                Some('$') if after.as_str().is_empty() || after.as_str().starts_with('{') => {
                    write!(dest, "${{{DOLLAR}}}")?
                }
                Some('$') => dest.write_char('$')?,
                _ => return Err(fmt::Error),
            }
            rest = after.as_str();
        }
        dest.write_str(rest)
    }
}

/// A value as one word of httpd's language, quotes included; for what is written without a template.
///
/// # Errors
/// When the value holds a NUL or a line break.
pub fn word(value: &str) -> Result<String, fmt::Error> {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    askama::filters::Escaper::write_escaped_str(&Conf, &mut quoted, value)?;
    quoted.push('"');
    Ok(quoted)
}

/// A path for the header of a section that takes wildcards (`<Directory>`, `<Files>`, `<Location>`), so that it names
/// itself and nothing else.
pub fn literal(path: &str) -> String {
    if !path.contains(['*', '?', '[']) {
        return path.to_owned();
    }
    let mut pattern = String::with_capacity(path.len() + 8);
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => {
                pattern.push('[');
                pattern.push(character);
                pattern.push(']');
            }
            // With a wildcard in it the whole path is a pattern, in which a backslash quotes.
            '\\' => pattern.push_str("\\\\"),
            other => pattern.push(other),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// httpd's own reading of a line: `ap_resolve_env`, then `ap_getword_conf` for one quoted word.
    fn read(line: &str) -> String {
        let mut resolved = String::new();
        let mut rest = line;
        while let Some(position) = rest.find("${") {
            resolved.push_str(&rest[..position]);
            let end = rest[position..].find('}').map(|end| position + end);
            match end {
                Some(end) if &rest[position + 2..end] == DOLLAR => {
                    resolved.push('$');
                    rest = &rest[end + 1..];
                }
                _ => {
                    resolved.push_str("${");
                    rest = &rest[position + 2..];
                }
            }
        }
        resolved.push_str(rest);
        let inner = resolved.strip_prefix('"').unwrap();
        let mut word = String::new();
        let mut characters = inner.chars().peekable();
        while let Some(character) = characters.next() {
            match (character, characters.peek()) {
                ('"', _) => break,
                ('\\', Some('\\' | '"')) => word.extend(characters.next()),
                (other, _) => word.push(other),
            }
        }
        word
    }

    proptest! {
        #[test]
        fn a_word_reads_back(value in "([^\\x00\\r\\n]|[$][{]|[\\\\\"$}]){0,40}") {
            prop_assert_eq!(read(&word(&value).unwrap()), value);
        }

        #[test]
        fn line_ends_are_refused(before in "[a-z\"$]{0,4}", after in "[a-z\"$]{0,4}", end in "[\\x00\\r\\n]") {
            prop_assert!(word(&(before + &end + &after)).is_err());
        }
    }

    #[test]
    fn wildcards_are_literal() {
        assert_eq!(literal("/srv/a b"), "/srv/a b");
        assert_eq!(literal("/srv/[x]*?"), "/srv/[[]x][*][?]");
        assert_eq!(literal("/srv/a\\b*"), "/srv/a\\\\b[*]");
    }
}
