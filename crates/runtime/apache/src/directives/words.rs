//! Splitting a directive's arguments by Apache's rules.

/// Takes the next word, as `ap_getword_conf` does: quotes hold a word together, a backslash before a quote or a
/// backslash is dropped inside of them.
pub(crate) fn next_word(rest: &mut &[u8]) -> Vec<u8> {
    *rest = rest.trim_ascii_start();
    let Some(first) = rest.first().copied() else { return Vec::new() };
    let mut word = Vec::new();
    let mut position = 0;
    if matches!(first, b'"' | b'\'') {
        position = 1;
        while let Some(byte) = rest.get(position).copied() {
            position += 1;
            match byte {
                b'\\' if rest.get(position).is_some_and(|next| *next == first || *next == b'\\') => {
                    word.push(rest[position]);
                    position += 1;
                }
                byte if byte == first => break,
                byte => word.push(byte),
            }
        }
    } else {
        while let Some(byte) = rest.get(position).copied().filter(|byte| !byte.is_ascii_whitespace()) {
            word.push(byte);
            position += 1;
        }
    }
    *rest = rest[position..].trim_ascii_start();
    word
}

/// Takes the next `name=value`. The value may be quoted, and blanks may stand before it, as mod_wsgi reads it too.
///
/// # Errors
/// The word, when it has no `=` or no name.
pub(crate) fn next_option(rest: &mut &[u8]) -> Result<(String, Vec<u8>), String> {
    *rest = rest.trim_ascii_start();
    let end = rest.iter().position(|byte| *byte == b'=' || byte.is_ascii_whitespace()).unwrap_or(rest.len());
    let name = String::from_utf8_lossy(&rest[..end]).into_owned();
    if name.is_empty() || rest.get(end) != Some(&b'=') {
        return Err(String::from_utf8_lossy(&next_word(rest)).into_owned());
    }
    *rest = &rest[end + 1..];
    Ok((name, next_word(rest)))
}

/// Splits a word where an option with one of these names begins inside of it: what stands before it, and the rest.
pub(crate) fn inner_option<'w>(word: &'w [u8], names: &[&str]) -> Option<(&'w [u8], &'w [u8])> {
    let blanks = word.iter().enumerate().filter(|(_, byte)| byte.is_ascii_whitespace());
    let mut starts = blanks.map(|(blank, _)| blank + 1);
    let begins_option = |rest: &[u8]| {
        names.iter().any(|name| rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'=')))
    };
    let start = starts.find(|start| begins_option(&word[*start..]))?;
    Some((word[..start].trim_ascii(), &word[start..]))
}

/// C's `atoi`: leading digits count, anything else is 0.
pub(crate) fn leading_integer(value: &[u8]) -> i64 {
    let value = value.trim_ascii_start();
    let (negative, digits) = match value.first() {
        Some(b'-') => (true, &value[1..]),
        Some(b'+') => (false, &value[1..]),
        _ => (false, value),
    };
    let mut number: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if negative { -number } else { number }
}

/// A number of seconds above 0, with a fraction or without.
pub(crate) fn positive_seconds(value: &[u8]) -> Option<f64> {
    let seconds = std::str::from_utf8(value.trim_ascii_start()).ok()?.parse::<f64>().ok()?;
    (seconds > 0.0 && seconds.is_finite()).then_some(seconds)
}

/// The known name that is nearest to a misspelt one, when one is near.
pub(crate) fn nearest<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let bound = (given.len() / 3).max(2);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let mut rest = line.as_bytes();
        let mut found = Vec::new();
        while !rest.is_empty() {
            found.push(String::from_utf8(next_word(&mut rest)).expect("text"));
        }
        found
    }

    #[test]
    fn words_are_split_as_apache_does() {
        assert_eq!(words(" /a  /b\t/c "), ["/a", "/b", "/c"]);
        assert_eq!(words(r#""a b" 'c d' e"f"#), ["a b", "c d", "e\"f"]);
        assert_eq!(words(r#""a \"b\" \\ \n""#), [r#"a "b" \ \n"#]);
        assert_eq!(words("\"open"), ["open"]);
    }

    #[test]
    fn options_are_names_and_values() {
        let mut rest = &b"threads=5 display-name=\"a b\" home=  /x python-path='/x y' odd group="[..];
        let mut read = || next_option(&mut rest).map(|(name, value)| (name, String::from_utf8(value).expect("text")));
        assert_eq!(read(), Ok(("threads".into(), "5".into())));
        assert_eq!(read(), Ok(("display-name".into(), "a b".into())));
        assert_eq!(read(), Ok(("home".into(), "/x".into())));
        assert_eq!(read(), Ok(("python-path".into(), "/x y".into())));
        assert_eq!(read(), Err("odd".into()));
        assert_eq!(read(), Ok(("group".into(), String::new())));
        assert!(rest.is_empty());
        assert_eq!(next_option(&mut &b"=x y"[..]), Err("=x".into()));
    }

    #[test]
    fn an_option_inside_of_a_word_is_found() {
        let names = ["process-group", "application-group"];
        let inner = |word: &'static str| {
            inner_option(word.as_bytes(), &names)
                .map(|(own, rest)| [own, rest].map(|part| str::from_utf8(part).expect("text")))
        };
        assert_eq!(inner("/app.wsgi process-group=g"), Some(["/app.wsgi", "process-group=g"]));
        assert_eq!(
            inner("/a b.wsgi \tapplication-group=%{GLOBAL} x"),
            Some(["/a b.wsgi", "application-group=%{GLOBAL} x"])
        );
        for word in ["/app.wsgi", "/process-group=g/app.wsgi", "/a process-group", "/a process-groups=x", ""] {
            assert_eq!(inner(word), None, "{word}");
        }
    }

    #[test]
    fn integers_are_read_as_c_does() {
        for (text, number) in
            [("15", 15), ("abc", 0), ("7abc", 7), ("-3", -3), (" 4", 4), ("", 0), ("99999999999999999999", i64::MAX)]
        {
            assert_eq!(leading_integer(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        let known = ["threads", "processes", "request-timeout"];
        assert_eq!(nearest("thread", known), Some("threads"));
        assert_eq!(nearest("reqest-timout", known), Some("request-timeout"));
        assert_eq!(nearest("colour", known), None);
    }
}
