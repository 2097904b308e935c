//! The raw step.

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

    /// The pause after every byte.
    #[must_use]
    pub const fn drip(&self) -> Option<Time> {
        match self {
            Self::Repeated(repeated) => repeated.drip,
            _ => None,
        }
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
