//! The raw step.

use std::io::{self, Read};

use schemars::JsonSchema;
use serde::Deserialize;

use super::http::Listener;
use crate::scenario::quantity::{Size, Time};

/// Bytes sent to and expected from one of the server's ports over a connection of its own. Short form: `{send: …}` sends and
/// reads until the server closes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Raw {
    /// Which of the server's ports. Default: http.
    #[serde(default)]
    pub to: Listener,
    /// Another port in place of the one of `to`: `${{ ports.NAME }}`.
    #[serde(default)]
    pub port: Option<u16>,
    /// What to send before everything else.
    #[serde(default)]
    pub send: Option<Bytes>,
    /// What is done one after the other. Without it, reads until the server closes.
    #[serde(default)]
    pub exchange: Vec<Exchange>,
    /// The longest time for all of it. Default: the step's timeout.
    #[serde(default)]
    pub timeout: Option<Time>,
}

/// Bytes to send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Bytes {
    /// This text.
    Text(String),
    /// These lines, each ended by CR LF.
    Lines(Vec<String>),
    /// A text so many times.
    Repeated(Repeated),
}

/// A text that is sent several times.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Repeated {
    /// The text.
    pub text: String,
    /// How many times.
    #[serde(default = "once")]
    pub times: u32,
    /// A pause after every byte, to be a slow client.
    #[serde(default)]
    pub drip: Option<Time>,
}

const fn once() -> u32 {
    1
}

impl Bytes {
    /// The bytes themselves.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Lines(lines) => lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect(),
            Self::Repeated(repeated) => repeated.text.repeat(repeated.times as usize).into_bytes(),
        }
    }

    /// The bytes one after the other, without all of them in memory at once.
    pub fn reader(&self) -> Box<dyn Read + Send + Sync> {
        match self {
            Self::Repeated(repeated) => {
                Box::new(Repeat { text: repeated.text.clone().into_bytes(), place: 0, left: repeated.times })
            }
            _ => Box::new(io::Cursor::new(self.to_bytes())),
        }
    }

    /// Whether the bytes begin with these.
    #[must_use]
    pub fn starts_with(&self, start: &[u8]) -> bool {
        let mut own = Vec::new();
        self.reader().take(start.len() as u64).read_to_end(&mut own).is_ok() && own == start
    }

    /// The pause after every byte.
    #[must_use]
    pub const fn drip(&self) -> Option<Time> {
        match self {
            Self::Repeated(repeated) => repeated.drip,
            _ => None,
        }
    }
}

/// A text, again and again.
struct Repeat {
    text: Vec<u8>,
    place: usize,
    left: u32,
}

impl Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.text.is_empty() {
            return Ok(0);
        }
        let mut filled = 0;
        while filled < buffer.len() && self.left > 0 {
            let count = (self.text.len() - self.place).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&self.text[self.place..self.place + count]);
            filled += count;
            self.place += count;
            if self.place == self.text.len() {
                self.place = 0;
                self.left -= 1;
            }
        }
        Ok(filled)
    }
}

/// One act on a raw connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Exchange {
    /// Sends bytes.
    Send(Bytes),
    /// Reads until what was received since the last `expect` matches this regular expression; fails if it never does.
    Expect(String),
    /// Reads one whole HTTP response, so many bytes, or until the server closes.
    Read(Expected),
    /// Does nothing for so long, as a slow client does.
    Pause(Time),
    /// Ends the connection: our half of it, all of it, or by a reset.
    End(RawEnd),
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// One whole HTTP response.
    Response,
    /// Everything until the server closes.
    End,
    /// So many bytes: `{bytes: 10}`.
    Bytes(Size),
}

/// How the client ends its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawEnd {
    /// Sends no more, still reads.
    HalfClose,
    /// Closes.
    Close,
    /// Resets the connection.
    Reset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_bytes_are() {
        let repeated = |text: &str, times| Bytes::Repeated(Repeated { text: text.to_owned(), times, drip: None });
        for bytes in [
            Bytes::Text("HEAD /".to_owned()),
            Bytes::Lines(vec!["HEAD /".to_owned(), String::new()]),
            repeated("HE", 3),
            repeated("0123456789abcdef", 1000),
            repeated("", 3),
            repeated("x", 0),
        ] {
            let mut read = Vec::new();
            bytes.reader().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes.to_bytes());
            for start in [&b"HEAD "[..], b"HEH", b""] {
                assert_eq!(bytes.starts_with(start), read.starts_with(start), "{bytes:?} {start:?}");
            }
        }
    }
}
