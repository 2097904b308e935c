//! Values with a text form of their own. Each describes itself to the schema (`pattern`, `x-expected`), so that the check
//! against the schema refuses what the parser here would refuse.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use serde::{Deserialize as DeriveDeserialize, Serialize, Serializer};

/// A newtype over text of a certain form.
macro_rules! text {
    ($(#[doc = $doc:literal])+ $name:ident, $pattern:expr, $expected:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveDeserialize, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": concat!($($doc),+).trim(),
                    "pattern": $pattern,
                    "x-expected": $expected,
                })
            }
        }
    };
}

text!(
    /// A name of the spec's own: of a server, a daemon, a site.
    Name, "^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$", "a name of letters, digits, `_`, `-`, `.` and `:`"
);
text!(
    /// A URL path at which something is mounted; `~` in front makes it a regular expression.
    UrlPath, "^(/[^?#]*|~ ?[^ ].*)$", "a path that begins with `/`, or `~` and a regular expression"
);
text!(
    /// A URL path.
    PlainPath, "^/[^?#]*$", "a path that begins with `/`"
);
text!(
    /// An absolute path of the file system.
    FilePath, "^/", "an absolute path"
);
text!(
    /// A user or group: its name, or `#` and its number.
    Account, "^([A-Za-z_][A-Za-z0-9_.-]*\\$?|#[0-9]{1,10})$", "a name, or `#` and a number"
);
text!(
    /// A file mode mask in octal digits, quoted.
    Umask, "^0?[0-7]{1,3}$", "octal digits in quotes, such as \"027\""
);
text!(
    /// A version of Python, such as 3.11, or 3.13t for a free-threaded one.
    PythonVersion, "^3\\.[0-9]{1,2}t?$", "a version in quotes, such as \"3.11\""
);
text!(
    /// An address of a proxy, or a network of proxies.
    Network, r"^([0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/[0-9]{1,3})?)$",
    "an IP address or a network such as 10.0.0.0/8"
);
text!(
    /// A name of an HTTP header.
    HeaderName, "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "a header name"
);
text!(
    /// A name of an environment variable.
    VariableName, "^[A-Za-z_][A-Za-z0-9_]*$", "a variable name"
);
text!(
    /// A Python module and the name of the application in it.
    ModuleReference,
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*)?$",
    "`package.module:callable`"
);
text!(
    /// What browsers show when they ask for a password. httpd would take `%` and `$` for the beginning of an expression.
    Realm, r#"^[^"\\%$]+$"#, "text without `\"`, `\\`, `%` and `$`"
);
text!(
    /// A user or a group that a script knows. httpd would take `%` and `$` for the beginning of an expression.
    Principal, r#"^[^"\\%$]+$"#, "a name without `\"`, `\\`, `%` and `$`"
);
text!(
    /// A name of a handler; httpd knows them in small letters only.
    HandlerName, "^[a-z0-9_][a-z0-9_.-]{0,63}$", "a name of small letters, digits, `_`, `-` and `.`"
);
text!(
    /// An ending of file names.
    Extension, r"^\.[A-Za-z0-9_+-]+$", "an ending such as .md"
);
text!(
    /// A name of a Python object.
    Callable, "^[A-Za-z_][A-Za-z0-9_]*$", "a Python name"
);
text!(
    /// A name of an Apache module, without `mod_`.
    ModuleName, "^[a-z0-9_]+$", "a module's name without `mod_`"
);
text!(
    /// The address of another server.
    UpstreamUrl, r"^(http|https|h2|h2c|ws|wss)://[^\s]+$|^unix:/[^\s|]+$", "a URL such as http://127.0.0.1:9001"
);

/// A host name; `*.` in front stands for every name below it. Names with other letters than ASCII's are those that a browser makes
/// of them (IDNA), and a dot at the end means nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HostName(String);

impl HostName {
    /// The text, as clients send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for every name below it.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Reads a name.
    fn parse(text: &str) -> Result<Self, String> {
        let plain = text.strip_suffix('.').unwrap_or(text);
        if plain.is_ascii() {
            return Ok(Self(plain.to_owned()));
        }
        let (star, name) = plain.strip_prefix("*.").map_or(("", plain), |name| ("*.", name));
        let ascii = idna::domain_to_ascii(name)
            .map_err(|_| format!("`{text}` is no host name: it has letters that names on the internet cannot have"))?;
        Ok(Self(format!("{star}{ascii}")))
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for HostName {
    fn schema_name() -> Cow<'static, str> {
        "HostName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Letters beyond ASCII's are looked at when the name is read.
        let label = "[A-Za-z0-9_\u{a1}-\u{fffd}]([A-Za-z0-9_\u{a1}-\u{fffd}-]{0,61}[A-Za-z0-9_\u{a1}-\u{fffd}])?";
        json_schema!({
            "type": "string",
            "description": "A host name; `*.` in front stands for every name below it.",
            "pattern": format!("^(\\*\\.)?{label}(\\.{label})*\\.?$"),
            "x-expected": "a host name such as www.example.com",
            "x-help": "write the name alone, as in www.example.com: ports stand in `server.listen`; for requests to an address, leave out `hosts`",
        })
    }
}

impl FilePath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl UrlPath {
    /// The regular expression, if this is one.
    pub fn regex(&self) -> Option<&str> {
        self.0.strip_prefix('~').map(str::trim_start)
    }
}

impl ModuleReference {
    /// The module.
    pub fn module(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(module, _)| module)
    }

    /// The application's name in the module.
    pub fn callable(&self) -> &str {
        self.0.split_once(':').map_or("application", |(_, callable)| callable)
    }
}

impl Network {
    /// Whether the address is one, and the prefix is not longer than it.
    pub fn is_valid(&self) -> bool {
        let (address, prefix) =
            self.0.split_once('/').map_or((self.0.as_str(), None), |(address, prefix)| (address, Some(prefix)));
        let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
        let most = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most))
    }

    /// Whether every address is in it.
    pub fn is_everything(&self) -> bool {
        self.0.rsplit_once('/').is_some_and(|(_, prefix)| prefix.parse() == Ok(0u8))
    }

    /// Bits of the address beyond the prefix that are set: `10.0.0.1/8` is probably a slip.
    pub fn has_host_bits(&self) -> bool {
        let Some((address, prefix)) = self.0.split_once('/') else { return false };
        let (Ok(address), Ok(prefix)) = (address.parse::<std::net::IpAddr>(), prefix.parse::<u32>()) else {
            return false;
        };
        match address {
            std::net::IpAddr::V4(address) => prefix < 32 && address.to_bits() & (u32::MAX >> prefix) != 0,
            std::net::IpAddr::V6(address) => prefix < 128 && address.to_bits() & (u128::MAX >> prefix) != 0,
        }
    }
}

/// A number with units, in text.
macro_rules! quantity {
    ($(#[doc = $doc:literal])+ $name:ident, $pattern:literal, $expected:literal, $parse:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_u64<E: Error>(self, value: u64) -> Result<$name, E> {
                        Ok($name(value))
                    }

                    fn visit_i64<E: Error>(self, value: i64) -> Result<$name, E> {
                        u64::try_from(value).map($name).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let parse: fn(&str) -> Option<u64> = $parse;
                        parse(text).map($name).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": ["integer", "string"],
                    "description": concat!($($doc),+).trim(),
                    "minimum": 0,
                    "maximum": 1_000_000_000_000_000_u64,
                    "minLength": 1,
                    "pattern": $pattern,
                    "x-expected": $expected,
                })
            }
        }
    };
}

quantity!(
    /// A length of time in whole seconds.
    Seconds, "^([0-9]{1,6}d)?([0-9]{1,8}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$", "a time in whole seconds such as 30s, 5m, 1h30m or 7d", seconds
);
quantity!(
    /// A length of time in milliseconds.
    Milliseconds, "^[0-9]{1,9}(ms|s)$", "a time such as 5ms or 1s", milliseconds
);
quantity!(
    /// A number of bytes. K, M and G, and KiB, MiB and GiB, are powers of 1024; kB, MB and GB are powers of 1000.
    Size, "^[0-9]{1,9}(K|M|G|KiB|MiB|GiB|kB|KB|MB|GB|B)?$", "a size such as 512K, 10MiB or 1GB", size
);

fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(total)
}

fn milliseconds(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => text.strip_suffix('s')?.parse::<u64>().ok()?.checked_mul(1000),
    }
}

/// Units of size with their number of bytes. A letter alone counts in powers of 1024, as Apache's directives do; otherwise
/// the prefix says which: decimal (`MB`) or binary (`MiB`).
pub const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
];

fn size(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "" => 1,
        unit => SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(unit)
}

/// A key that the format knows and this version does not render; giving it is refused by name.
#[derive(Clone, Debug, PartialEq, Eq, DeriveDeserialize, Serialize)]
pub struct NotYet;

impl JsonSchema for NotYet {
    fn schema_name() -> Cow<'static, str> {
        "NotYet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-not-supported": "this key is part of the format; a later version renders it" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities() {
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("365d"), Some(31_536_000));
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("5"), None);
        assert_eq!(milliseconds("5ms"), Some(5));
        assert_eq!(milliseconds("2s"), Some(2000));
        assert_eq!(size("10M"), Some(10 << 20));
        assert_eq!(size("1KiB"), Some(1024));
        assert_eq!((size("10MB"), size("10MiB"), size("1kB")), (Some(10_000_000), Some(10 << 20), Some(1000)));
        assert_eq!(size("7"), Some(7));
    }

    #[test]
    fn networks() {
        for (text, valid, host_bits) in [
            ("10.0.0.0/8", true, false),
            ("10.0.0.1/8", true, true),
            ("10.0.0.1", true, false),
            ("10.0.0.0/33", false, true),
            ("300.0.0.1", false, false),
            ("fd00::/8", true, false),
            ("::1/129", false, false),
            ("0.0.0.0/0", true, false),
        ] {
            let network = Network(text.to_owned());
            assert_eq!(network.is_valid(), valid, "{text}");
            if valid {
                assert_eq!(network.has_host_bits(), host_bits, "{text}");
            }
        }
    }

    proptest! {
        /// What the schema's pattern lets through, the parser reads.
        #[test]
        fn the_parser_reads_what_the_pattern_passes(text in "[0-9]{0,3}[dhmsKMGB]{0,2}[0-9]{0,2}[iBms]{0,3}") {
            type Case = (Schema, fn(&str) -> Option<u64>);
            let mut generator = SchemaGenerator::default();
            let cases: [Case; 3] = [
                (Seconds::json_schema(&mut generator), seconds),
                (Milliseconds::json_schema(&mut generator), milliseconds),
                (Size::json_schema(&mut generator), size),
            ];
            for (schema, parse) in cases {
                let pattern = schema.get("pattern").and_then(serde_json::Value::as_str).unwrap().to_owned();
                let matches = regex_lite::Regex::new(&pattern).unwrap().is_match(&text) && !text.is_empty();
                prop_assert!(!matches || parse(&text).is_some(), "{} {}", pattern, text);
            }
        }
    }
}
