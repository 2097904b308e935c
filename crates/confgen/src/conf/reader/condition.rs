//! The conditions that httpd evaluates while it reads.

use super::Facts;
use super::machine::Loaded;
use super::variables::Defines;

/// What the facts say about a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    /// The facts do not tell.
    Open,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

impl Truth {
    fn negated_if(self, negated: bool) -> Self {
        match self {
            Self::Yes if negated => Self::No,
            Self::No if negated => Self::Yes,
            other => other,
        }
    }
}

/// The sections that are conditions, in lower case.
pub(super) const CONDITIONS: [&str; 6] = ["ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection"];

/// What a condition is evaluated against.
pub(super) struct World<'a> {
    pub(super) facts: &'a Facts,
    pub(super) defines: &'a Defines,
    pub(super) loaded: &'a Loaded,
    pub(super) server_root: &'a std::path::Path,
}

impl World<'_> {
    /// Evaluates a condition; `words` are its arguments, at least one.
    pub(super) fn evaluate(&self, section: &str, words: &[Vec<u8>]) -> Truth {
        let Some(first) = words.first() else { return Truth::Open };
        let (negated, name) = match first.strip_prefix(b"!") {
            // `! name` and `!name` are the same.
            Some([]) => (true, words.get(1).map_or(&[][..], Vec::as_slice)),
            Some(name) => (true, name),
            None => (false, first.as_slice()),
        };
        let truth = match section {
            "ifmodule" => self.unless_partial(self.loaded.has(name)),
            "ifdefine" => self.unless_partial(self.defines.has(name)),
            "iffile" => {
                use std::os::unix::ffi::OsStrExt as _;
                self.unless_partial(self.server_root.join(std::ffi::OsStr::from_bytes(name)).exists())
            }
            "ifdirective" => self.knows(name, ""),
            "ifsection" => self.knows(name, "<"),
            "ifversion" => return self.version(words),
            _ => Truth::Open,
        };
        truth.negated_if(negated)
    }

    /// In a part of a configuration, what is not there may stand in another part.
    fn unless_partial(&self, found: bool) -> Truth {
        if found || !self.facts.partial { found.into() } else { Truth::Open }
    }

    fn knows(&self, name: &[u8], prefix: &str) -> Truth {
        let Some(known) = &self.facts.directives else { return Truth::Open };
        let name = String::from_utf8_lossy(name).to_lowercase();
        let name = name.trim_start_matches('<');
        known.contains(&format!("{prefix}{name}")).into()
    }

    fn version(&self, words: &[Vec<u8>]) -> Truth {
        let Some(version) = self.facts.version else { return Truth::Open };
        let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        let (operator, wanted) = match words {
            [wanted] => ("=".to_owned(), text(wanted)),
            [operator, wanted, ..] => (text(operator), text(wanted)),
            [] => return Truth::Open,
        };
        let (negated, operator) = match operator.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, operator),
        };
        // `/…/` and `~` compare with a regular expression of httpd's flavour.
        let mut parts = wanted.split('.').map(str::parse::<u32>);
        let mut part = || parts.next().unwrap_or(Ok(0));
        let (Ok(major), Ok(minor), Ok(patch)) = (part(), part(), part()) else { return Truth::Open };
        let order = version.cmp(&(major, minor, patch));
        let holds = match operator.as_str() {
            "" | "=" | "==" => order.is_eq(),
            ">" => order.is_gt(),
            ">=" => order.is_ge(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            _ => return Truth::Open,
        };
        Truth::from(holds).negated_if(negated)
    }
}
