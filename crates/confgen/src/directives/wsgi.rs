//! The directives of the wsgi module: the same table that the module itself is made from.

use std::sync::OnceLock;

use serde::Deserialize;

/// The table as the module's package writes it.
const TABLE: &str = include_str!("../../../runtime/apache/directives.json");

/// A directive, a container or an option.
#[derive(Clone, Debug, Deserialize)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// How many arguments it takes: a number, `flag`, `1+` for a line that it reads itself, `raw` for a section.
    #[serde(default)]
    pub arity: Option<String>,
    /// The directive that an option belongs to.
    #[serde(default)]
    pub of: Option<String>,
    /// Where it may stand: `server`, `vhost`, `directory`, `htaccess`.
    #[serde(default)]
    pub contexts: Vec<String>,
    /// Its default, in httpd's language.
    #[serde(default)]
    pub default: Option<String>,
    /// Whether it is ours.
    #[serde(default)]
    pub extension: bool,
    /// Whether the module has it already.
    pub status: Status,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A directive.
    #[default]
    Directive,
    /// A section.
    Container,
    /// An option of `WSGIDaemonProcess`.
    DaemonOption,
    /// An option of a script alias.
    AliasOption,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}

/// Whether the module has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It does.
    Supported,
    /// Not yet; it refuses it by name.
    Known,
}

/// The whole table.
pub fn all() -> &'static [Directive] {
    static PARSED: OnceLock<Vec<Directive>> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(TABLE).unwrap_or_default())
}

/// A directive or container by its name, in any case of letters.
pub fn directive(name: &str) -> Option<&'static Directive> {
    all()
        .iter()
        .find(|entry| matches!(entry.kind, Kind::Directive | Kind::Container) && entry.name.eq_ignore_ascii_case(name))
}

/// An option of `WSGIDaemonProcess`.
pub fn daemon_option(name: &str) -> Option<&'static Directive> {
    all().iter().find(|entry| entry.kind == Kind::DaemonOption && entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_readable_and_whole() {
        for name in ["WSGIScriptAlias", "wsgidaemonprocess", "WSGIRestrictSignal", "WSGIInterpreterOptions"] {
            assert!(directive(name).is_some(), "{name}");
        }
        assert!(daemon_option("environment-file").is_some_and(|option| option.extension));
        assert!(daemon_option("threads").is_some_and(|option| !option.extension && option.status == Status::Supported));
        assert!(directive("WSGINonsense").is_none());
    }
}
