//! What a site mounts at which path, across all kinds: the longest path wins, whatever it serves.
//!
//! httpd itself looks for upstreams first, then for aliases, then for applications, and for files of the document root last.
//! The exceptions that this order needs are made here: `ProxyPass … !` for what lies below an upstream, and regular expressions
//! in place of aliases that applications lie below.

use super::builder::Builder;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{HealthBy, Site};

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    App,
    Static,
    Upstream,
    Health,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::App => "application",
            Self::Static => "static path",
            Self::Upstream => "upstream",
            Self::Health => "health check",
        }
    }
}

/// Something at a plain path.
#[derive(Clone, Debug)]
pub(super) struct Mount<'a> {
    pub(super) kind: Kind,
    /// Without a slash at the end, unless it is `/`.
    pub(super) path: &'a str,
    /// Its key in the spec.
    pub(super) key: Path,
}

/// All mounts of a site.
pub(super) struct Mounts<'a> {
    /// The longest path first.
    plain: Vec<Mount<'a>>,
    /// Applications at regular expressions.
    pub(super) regexes: Vec<(&'a str, Path)>,
}

impl<'a> Mounts<'a> {
    pub(super) fn of(site: &'a Site, key: &Path) -> Self {
        let (apps, statics, upstreams) = (key.join("apps"), key.join("static"), key.join("upstreams"));
        let mut plain: Vec<Mount<'a>> = Vec::new();
        let mut add = |kind, path: &'a str, key| plain.push(Mount { kind, path: trimmed(path), key });
        for path in site.apps.keys().filter(|path| path.regex().is_none()) {
            add(Kind::App, path.as_str(), apps.join(path.as_str()));
        }
        for path in site.statics.keys() {
            add(Kind::Static, path.as_str(), statics.join(path.as_str()));
        }
        for path in site.upstreams.keys() {
            add(Kind::Upstream, path.as_str(), upstreams.join(path.as_str()));
        }
        if let Some(health) = site.health.as_ref().filter(|health| health.answers == HealthBy::Httpd) {
            add(Kind::Health, health.path.as_str(), key.join("health").join("path"));
        }
        plain.sort_by_key(|mount| std::cmp::Reverse(length(mount.path)));
        let regexes = site.apps.keys().filter_map(|path| Some((path.regex()?, apps.join(path.as_str())))).collect();
        Self { plain, regexes }
    }

    /// Everything at plain paths, the longest first.
    pub(super) fn plain(&self) -> &[Mount<'a>] {
        &self.plain
    }

    /// What lies below a path, the longest path first.
    pub(super) fn below(&self, path: &str) -> impl Iterator<Item = &Mount<'a>> {
        let path = trimmed(path).to_owned();
        self.plain.iter().filter(move |mount| mount.path != path && within(mount.path, &path))
    }

    /// What a path lies below, the innermost first.
    pub(super) fn around(&self, path: &str) -> impl Iterator<Item = &Mount<'a>> {
        let path = trimmed(path).to_owned();
        self.plain.iter().filter(move |mount| mount.path != path && within(&path, mount.path))
    }

    /// What answers at a path.
    pub(super) fn owner(&self, path: &str) -> Option<&Mount<'a>> {
        self.plain.iter().find(|mount| within(path, mount.path))
    }

    /// The applications that lie below a path, as a regular expression that fits what the path itself is for, and nothing that is
    /// theirs. What follows the path is the first group. `None` when no application lies below it.
    pub(super) fn without_apps(&self, path: &str) -> Option<String> {
        let path = trimmed(path);
        let rest = |inner: &str| pattern(&inner[length(path)..]) + "(?:/|$)";
        let inner: Vec<String> =
            self.below(path).filter(|mount| mount.kind == Kind::App).map(|mount| rest(mount.path)).collect();
        let own = if path == "/" { String::new() } else { pattern(path) };
        (!inner.is_empty()).then(|| format!("(?s)^{own}(?!{})(/.*)?$", inner.join("|")))
    }

    /// Nothing is mounted twice, and nothing where httpd never looks for it.
    pub(super) fn check(&self, builder: &mut Builder<'_>) {
        for (index, mount) in self.plain.iter().enumerate() {
            check_spelling(builder, mount);
            if let Some(other) = self.plain[..index].iter().find(|other| other.path == mount.path) {
                let first = other.key.key_span(&builder.spec.root);
                let diagnostic =
                    Diagnostic::error(Code::Conflict, format!("two things are mounted at `{}`", mount.path));
                let span = mount.key.key_span(&builder.spec.root);
                builder.push(diagnostic.at(span, "again").at(first, "first here"));
            }
        }
        for (regex, key) in &self.regexes {
            let start = literal_start(regex);
            let hiding = self.plain.iter().filter(|mount| mount.kind != Kind::App && mount.path != "/");
            if let Some(mount) =
                hiding.into_iter().find(|mount| start.as_deref().is_some_and(|start| within(start, mount.path)))
            {
                let what = mount.kind.name();
                let diagnostic = Diagnostic::error(
                    Code::Shadowed,
                    format!(
                        "the application at `~ {regex}` is never reached: the {what} at `{}` comes first",
                        mount.path
                    ),
                );
                let other = mount.key.key_span(&builder.spec.root);
                let span = key.key_span(&builder.spec.root);
                builder.push(
                    diagnostic
                        .at(span, "never reached")
                        .at(other, "comes first")
                        .help("mount the application at a plain path: of plain paths the longest wins"),
                );
            }
        }
    }
}

/// httpd compares paths as they are after decoding and normalising: a path with `%41` or `..` in it never matches.
fn check_spelling(builder: &mut Builder<'_>, mount: &Mount<'_>) {
    let decoded = decode(mount.path);
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut right = vec![b'/'];
    right.extend(segments.join(&b'/'));
    if right == mount.path.as_bytes() {
        return;
    }
    let diagnostic = Diagnostic::error(
        Code::Form,
        format!(
            "no request matches the path `{}`: httpd decodes and normalizes paths before it compares them",
            mount.path
        ),
    );
    let diagnostic = match String::from_utf8(right) {
        Ok(right) if !right.contains(char::is_control) => diagnostic.help(format!("write `{right}`")),
        _ => diagnostic.help("write the path as it is after decoding"),
    };
    let span = match mount.kind {
        Kind::Health => mount.key.span(&builder.spec.root),
        _ => mount.key.key_span(&builder.spec.root),
    };
    builder.push(diagnostic.at(span, ""));
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(first));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    bytes
}

/// A path without the slash at its end.
pub(super) fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

fn length(path: &str) -> usize {
    if path == "/" { 0 } else { path.len() }
}

/// Whether a path is at or below a mount.
pub(super) fn within(path: &str, mount: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path as a regular expression; like an alias it fits however often a slash is repeated.
fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len() + 8);
    for character in path.chars() {
        match character {
            '/' => pattern.push_str("/+"),
            '\\' | '^' | '$' | '.' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | ']' | '{' | '}' => {
                pattern.push('\\');
                pattern.push(character);
            }
            other => pattern.push(other),
        }
    }
    pattern
}

/// The target of a regular expression, with the first group after it.
pub(super) fn substitution(target: &str) -> String {
    let mut text = String::with_capacity(target.len() + 4);
    for character in target.chars() {
        if matches!(character, '\\' | '$' | '&') {
            text.push('\\');
        }
        text.push(character);
    }
    text + "$1"
}

/// The path that everything which fits a regular expression begins with, up to its last whole segment.
fn literal_start(regex: &str) -> Option<String> {
    let rest = regex.strip_prefix('^')?;
    if rest.contains('|') {
        return None;
    }
    let end = rest.find(['\\', '^', '$', '.', '?', '*', '+', '(', '[', '{']).unwrap_or(rest.len());
    let literal = &rest[..end];
    // The last character may be optional, or the beginning of a longer name.
    let ends_here = rest[end..].starts_with('$') && end > 0;
    let whole = if ends_here { literal } else { &literal[..literal.rfind('/')?] };
    (!whole.is_empty()).then(|| whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_regular_expressions_begin_with() {
        for (regex, start) in [
            ("^/u/app[0-9]+", Some("/u")),
            ("^/u/app/(.*)$", Some("/u/app")),
            ("^/u$", Some("/u")),
            ("^/(a|b)/", None),
            ("^/u|^/v", None),
            ("/u/x/", None),
            ("^/u", None),
        ] {
            assert_eq!(literal_start(regex).as_deref(), start, "{regex}");
        }
    }

    #[test]
    fn paths_are_compared_segment_by_segment() {
        assert!(within("/a/b", "/a") && within("/a", "/a/") && within("/a", "/"));
        assert!(!within("/ab", "/a") && !within("/", "/a"));
    }
}
