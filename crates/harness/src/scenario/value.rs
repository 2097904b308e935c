//! The values that expressions compute with: what JSON knows, and lengths of time.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Number, Value as Json};

use super::quantity::write_nanos;

/// A value of an expression.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing: an absent header, a member of a JSON object that is not there.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number; sizes (`64K`) are numbers of bytes.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A length of time in nanoseconds; differences may be negative.
    Duration(i64),
    /// Several values.
    List(Vec<Value>),
    /// Named values of unknown names: asking for one that is not there gives null.
    Map(IndexMap<String, Value>),
    /// Named values of known names, as of a step's result: asking for another one is an error.
    Record(IndexMap<String, Value>),
}

impl Value {
    /// A record of these members.
    pub fn record<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Record(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The name of the value's type, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Duration(_) => "a duration",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Record(_) => "an object",
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if it has any.
    #[must_use]
    pub const fn members(&self) -> Option<&IndexMap<String, Self>> {
        match self {
            Self::Map(members) | Self::Record(members) => Some(members),
            _ => None,
        }
    }

    /// Whether both are the same; nothing if values of these types cannot be compared.
    #[must_use]
    pub fn same(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Null, Self::Null) => Some(true),
            (Self::Null, _) | (_, Self::Null) => Some(false),
            (Self::Int(a), Self::Int(b)) => Some(a == b),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                Some(self.as_number() == other.as_number())
            }
            (Self::Bool(a), Self::Bool(b)) => Some(a == b),
            (Self::Text(a), Self::Text(b)) => Some(a == b),
            (Self::Duration(a), Self::Duration(b)) => Some(a == b),
            (Self::List(a), Self::List(b)) => {
                Some(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b) == Some(true)))
            }
            (Self::Map(a) | Self::Record(a), Self::Map(b) | Self::Record(b)) => Some(
                a.len() == b.len()
                    && a.iter().all(|(key, value)| b.get(key).is_some_and(|b| value.same(b) == Some(true))),
            ),
            _ => None,
        }
    }

    /// Which one is smaller; nothing if values of these types have no order.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                self.as_number()?.partial_cmp(&other.as_number()?)
            }
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// The value as JSON; durations become their number of seconds.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::Text(value) => Json::from(value.as_str()),
            Self::Duration(value) => Json::from(*value as f64 / 1e9),
            Self::List(values) => Json::Array(values.iter().map(Self::to_json).collect()),
            Self::Map(members) | Self::Record(members) => {
                Json::Object(members.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// The value as it is put into a place of a scenario that holds nothing but `${{ }}`: durations keep their unit.
    #[must_use]
    pub fn to_yaml_scalar(&self) -> Json {
        match self {
            Self::Duration(value) => Json::from(format!("{value}ns")),
            other => other.to_json(),
        }
    }

    /// The value as it is put into a text.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(_) | Self::Map(_) | Self::Record(_) => self.to_json().to_string(),
            other => other.to_string(),
        }
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Json::Object(members) => {
                Self::Map(members.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        Self::Duration(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// As an expression would write it: texts in quotes.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Duration(nanos) => write_nanos(f, *nanos),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
            Self::Map(members) | Self::Record(members) => {
                f.write_str("{")?;
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{key}: {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}
