//! Log records as JSON objects (`WSGILogFormat json`): one object per record, on one line, in UTF-8.

use std::time::{SystemTime, UNIX_EPOCH};

use wsgi_protocol::line::MAX_LINE;

/// The most bytes of one text, escapes included.
const MOST: usize = 6000;

/// Beyond so many bytes texts are cut to nothing: an object stays within what a log packet holds, as a part of one would
/// be no object.
const WHOLE: usize = MAX_LINE - 1024;

/// An object that grows member by member.
pub(crate) struct Object(String);

impl Object {
    /// An object that says when.
    pub(crate) fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(format!("{{\"time\":\"{}\"", timestamp(elapsed.as_secs(), elapsed.subsec_micros())))
    }

    /// Adds a text. Bytes that are no UTF-8 become replacement characters; long texts are cut.
    pub(crate) fn text(mut self, name: &str, value: &[u8]) -> Self {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":\"");
        let limit = (self.0.len() + MOST).min(WHOLE);
        for character in String::from_utf8_lossy(value).chars() {
            if self.0.len() >= limit {
                self.0.push('…');
                break;
            }
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                // Line ends of Unicode, which some readers of lines take for the end of one.
                character if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
                    self.0.push_str(&format!("\\u{:04x}", u32::from(character)));
                }
                character => self.0.push(character),
            }
        }
        self.0.push('"');
        self
    }

    /// Adds a text unless it is empty.
    pub(crate) fn some(self, name: &str, value: &[u8]) -> Self {
        if value.is_empty() { self } else { self.text(name, value) }
    }

    /// Adds a number.
    pub(crate) fn number(mut self, name: &str, value: u64) -> Self {
        self.0.push_str(&format!(",\"{name}\":{value}"));
        self
    }

    /// The object's text.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push('}');
        self.0.into_bytes()
    }
}

/// Adds the place in the source that a record comes from.
pub(crate) fn source(object: Object, source: Option<(&[u8], u32)>) -> Object {
    match source {
        Some((file, line)) => object.text("file", file).number("line", u64::from(line)),
        None => object,
    }
}

/// `2026-11-21T06:00:00.000000Z`
fn timestamp(seconds: u64, micros: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that leap days are last; eras of 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_on_one_line_and_within_bounds() {
        let object = Object::now().text("a", b"\"\\\n\r\t\x01\xff\xc3\xa4").some("b", b"").number("c", 7).finish();
        let text = String::from_utf8(object).expect("UTF-8");
        assert!(
            text.starts_with("{\"time\":\"20")
                && text.ends_with("Z\",\"a\":\"\\\"\\\\\\n\\r\\t\\u0001\u{fffd}ä\",\"c\":7}"),
            "{text}"
        );
        let long = Object::now().text("a", &[1; 100_000]).finish();
        assert!(long.len() < MOST + 100, "{}", long.len());
        assert!(String::from_utf8(long).expect("UTF-8").ends_with("…\"}"));
    }

    #[test]
    fn an_object_fits_into_a_packet_whole() {
        let long = [b'x'; 100_000];
        let object = Object::now().text("application_group", &long).text("logger", &long).text("message", &long);
        let object = source(object, Some((&long, u32::MAX))).text("exception", &long).finish();
        let record = crate::logging::object(wsgi_protocol::abi::Level::Error, &object);
        let packet = wsgi_protocol::line::encode(wsgi_protocol::line::Origin { pid: 1, tid: 2 }, &record);
        let (_, read) = wsgi_protocol::line::decode(&packet).expect("a packet");
        assert!(read.object().is_some(), "{} bytes", object.len());
    }

    #[test]
    fn days_are_counted_as_calendars_do() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000005Z"),
            (951_782_400, "2000-02-29T00:00:00.000005Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000005Z"),
            (1_795_240_800, "2026-11-21T06:00:00.000005Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000005Z"),
        ] {
            assert_eq!(timestamp(seconds, 5), expected);
        }
    }
}
