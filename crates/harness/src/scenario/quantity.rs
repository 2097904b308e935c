//! Lengths of time and numbers of bytes, as scenarios write them: `2.5s`, `50ms`, `10MiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use confgen::spec::SIZE_UNITS;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Units of time with their length in nanoseconds; the longest spelling of a shared prefix first.
const TIME_UNITS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86_400e9)];

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not start with a number.
    #[error("`{0}` does not start with a number")]
    NoNumber(String),
    /// A number without a unit.
    #[error("`{text}` has no unit: write {example}")]
    NoUnit {
        /// What was written.
        text: String,
        /// What could have been meant.
        example: String,
    },
    /// The unit is not known.
    #[error("`{unit}` is not a unit: one of {known}")]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// The units there are.
        known: String,
    },
    /// The quantity cannot be represented.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Splits `12.5ms` into its number and its unit.
fn split(text: &str) -> Result<(f64, &str), QuantityError> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.replace('_', "");
    let number = number.parse().map_err(|_| QuantityError::NoNumber(text.to_owned()))?;
    Ok((number, unit.trim_start()))
}

/// Nanoseconds of a number with a unit of time, or nothing if the unit is none.
#[must_use]
pub fn time_unit(unit: &str) -> Option<f64> {
    TIME_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// Bytes of one unit of size, or nothing if the unit is none.
#[must_use]
pub fn size_unit(unit: &str) -> Option<u64> {
    SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// The names of all units, for messages.
#[must_use]
pub fn unit_names() -> String {
    TIME_UNITS.iter().map(|(n, _)| *n).chain(SIZE_UNITS.iter().map(|(n, _)| *n)).collect::<Vec<_>>().join(", ")
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub Duration);

impl Time {
    /// That many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// That many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl FromStr for Time {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let (number, unit) = split(text)?;
        if unit.is_empty() {
            return Err(QuantityError::NoUnit { text: text.to_owned(), example: format!("{text}s or {text}ms") });
        }
        let factor = time_unit(unit).ok_or_else(|| QuantityError::UnknownUnit {
            unit: unit.to_owned(),
            known: TIME_UNITS.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
        })?;
        let seconds = number * factor / 1e9;
        let duration = Duration::try_from_secs_f64(seconds).map_err(|_| QuantityError::TooLarge(text.to_owned()))?;
        // Values beyond 292 years could not be compared with results, which count nanoseconds in 64 bits.
        if duration.as_nanos() > i64::MAX as u128 {
            return Err(QuantityError::TooLarge(text.to_owned()));
        }
        Ok(Self(duration))
    }
}

/// Writes nanoseconds in the largest unit that keeps three significant digits readable.
pub(crate) fn write_nanos(f: &mut fmt::Formatter<'_>, nanos: i64) -> fmt::Result {
    let magnitude = nanos.unsigned_abs();
    let (divisor, unit) = match magnitude {
        0 => return f.write_str("0s"),
        1..1_000 => (1.0, "ns"),
        1_000..1_000_000 => (1e3, "us"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let number = nanos as f64 / divisor;
    let text = if number.abs() >= 100.0 { format!("{number:.1}") } else { format!("{number:.3}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    write!(f, "{text}{unit}")
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_nanos(f, i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value {
            serde_json::Value::String(text) => text.parse().map_err(serde::de::Error::custom),
            serde_json::Value::Number(number) => Err(serde::de::Error::custom(QuantityError::NoUnit {
                example: format!("{number}s or {number}ms"),
                text: number.to_string(),
            })),
            _ => Err(serde::de::Error::custom("a length of time such as 2.5s or 50ms is needed")),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: a number with a unit (ns, us, ms, s, m, h, d), such as 2.5s or 50ms.",
            "pattern": r"^\s*[0-9][0-9_.]*\s*(ns|us|µs|ms|s|m|h|d)\s*$",
            "x-expected": "a length of time such as 2.5s or 50ms"
        })
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let (number, unit) = split(text)?;
        let factor = if unit.is_empty() {
            1
        } else {
            size_unit(unit).ok_or_else(|| QuantityError::UnknownUnit {
                unit: unit.to_owned(),
                known: SIZE_UNITS.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
            })?
        };
        let bytes = number * factor as f64;
        if bytes > i64::MAX as f64 {
            return Err(QuantityError::TooLarge(text.to_owned()));
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value {
            serde_json::Value::String(text) => text.parse().map_err(serde::de::Error::custom),
            serde_json::Value::Number(number) => number
                .as_u64()
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom(format!("`{number}` is not a number of bytes"))),
            _ => Err(serde::de::Error::custom("a number of bytes such as 4096 or 8MiB is needed")),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, with or without a unit: 4096, 64K, 8MiB, 10MB.",
            "x-expected": "a number of bytes such as 4096 or 8MiB",
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9][0-9_.]*\s*(B|kB|KB|MB|GB|KiB|MiB|GiB|K|M|G)?\s*$"}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        for (text, nanos) in [
            ("2.5s", 2_500_000_000),
            ("50ms", 50_000_000),
            ("10us", 10_000),
            ("3m", 180_000_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().0.as_nanos(), nanos, "{text}");
        }
    }

    #[test]
    fn a_time_needs_a_unit() {
        assert_eq!("30".parse::<Time>().unwrap_err().to_string(), "`30` has no unit: write 30s or 30ms");
        assert!("30 sec".parse::<Time>().unwrap_err().to_string().starts_with("`sec` is not a unit"));
        assert!("x".parse::<Time>().is_err());
    }

    #[test]
    fn times_are_written_short() {
        assert_eq!(Time::from_millis(2500).to_string(), "2.5s");
        assert_eq!(Time::from_millis(347).to_string(), "347ms");
        assert_eq!(Time(Duration::from_nanos(1_234_567)).to_string(), "1.235ms");
        assert_eq!(Time::default().to_string(), "0s");
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [("5", 5), ("64K", 65536), ("8MiB", 8 << 20), ("10MB", 10_000_000), ("1KB", 1000)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
    }

    #[test]
    fn a_size_means_the_same_in_a_step_and_in_a_spec() {
        for (unit, bytes) in SIZE_UNITS {
            let text = format!("3{unit}");
            let in_spec: confgen::spec::Size = serde_json::from_value(text.clone().into()).unwrap();
            assert_eq!((text.parse::<Size>().unwrap().0, in_spec.0), (3 * bytes, 3 * bytes), "{text}");
        }
    }
}
