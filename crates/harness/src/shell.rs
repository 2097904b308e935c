//! Command lines for people to paste.

/// A text as one word of a shell.
#[must_use]
pub fn word(text: &str) -> String {
    // No argument of a program can have a NUL in it.
    shlex::try_quote(text).map_or_else(|_| text.replace('\0', "\u{fffd}"), std::borrow::Cow::into_owned)
}
