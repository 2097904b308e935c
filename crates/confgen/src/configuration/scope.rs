//! Which setting counts for a request: httpd merges the server's settings, folders, files and locations, in that order.

use std::path::Path;

use regex_lite::Regex;

use super::{Configuration, Statement};
use crate::conf::glob::{fnmatch, is_pattern};
use crate::conf::reader::Node;

/// What a setting is looked up for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The index of the host.
    pub host: usize,
    /// The path of the URL.
    pub url: Option<&'t str>,
    /// The file.
    pub file: Option<&'t str>,
}

/// The order in which a setting counts: the kind of its section, for folders the depth, the host, and the place.
type Rank = (u8, usize, usize, usize);

impl<'r> Configuration<'r> {
    /// The directive of a name that counts for a target: the last one in the order in which httpd merges.
    #[must_use]
    pub fn effective(&self, target: &Target<'_>, name: &str) -> Option<&Statement<'r>> {
        self.in_order(target, name).pop()
    }

    /// All directives of a name that hold for a target; later ones count over earlier ones.
    #[must_use]
    pub fn in_order(&self, target: &Target<'_>, name: &str) -> Vec<&Statement<'r>> {
        let own = if target.host == 0 { &[] } else { self.indices_of(target.host, name) };
        let mut ranked: Vec<(Rank, &Statement<'r>)> = self
            .indices_of(0, name)
            .iter()
            .chain(own)
            .filter_map(|index| {
                let statement = &self.statements[*index];
                let (kind, depth) = rank(statement, target)?;
                Some(((kind, depth, usize::from(statement.host != 0), *index), statement))
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, statement)| statement).collect()
    }
}

/// The kind and depth of the sections around a directive; `None` when one of them does not hold for the target, or cannot be
/// judged.
fn rank(statement: &Statement<'_>, target: &Target<'_>) -> Option<(u8, usize)> {
    let mut found = (0, 0);
    for section in statement.sections.iter() {
        let place = place(section, target)?;
        found = found.max(place);
    }
    Some(found)
}

fn place(section: &Node, target: &Target<'_>) -> Option<(u8, usize)> {
    let words: Vec<String> = section.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let (regex, pattern) = match words.as_slice() {
        [tilde, pattern, ..] if tilde == "~" => (true, pattern.as_str()),
        [pattern, ..] => (section.name.to_ascii_lowercase().ends_with("match"), pattern.as_str()),
        [] => return None,
    };
    let kind = section.name.to_ascii_lowercase();
    match kind.trim_end_matches("match") {
        "directory" => {
            let file = target.file?;
            match regex {
                true => Regex::new(pattern).ok()?.is_match(file).then_some((2, 0)),
                false => below_directory(pattern, file).map(|depth| (1, depth)),
            }
        }
        "files" => {
            let name = Path::new(target.file?).file_name()?.to_string_lossy().into_owned();
            let holds = match regex {
                true => Regex::new(pattern).ok()?.is_match(&name),
                false => fnmatch(pattern.as_bytes(), name.as_bytes()),
            };
            holds.then_some((3, 0))
        }
        "location" => {
            let url = target.url?;
            let holds = match regex {
                true => Regex::new(pattern).ok()?.is_match(url),
                false => below_location(pattern, url),
            };
            holds.then_some((4, 0))
        }
        // These change for which requests a directive holds only in ways that do not matter for settings of applications.
        "requireall" | "requireany" | "requirenone" | "limit" | "limitexcept" => Some((0, 0)),
        _ => None,
    }
}

/// How many components a `<Directory>` has, if a file is in it or below.
fn below_directory(pattern: &str, file: &str) -> Option<usize> {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let parts: Vec<&str> = file.split('/').filter(|part| !part.is_empty()).collect();
    let holds = pattern.len() <= parts.len()
        && pattern.iter().zip(&parts).all(|(pattern, part)| match is_pattern(pattern.as_bytes()) {
            true => fnmatch(pattern.as_bytes(), part.as_bytes()),
            false => pattern == part,
        });
    holds.then_some(pattern.len())
}

/// Whether a URL is at or below a `<Location>`.
fn below_location(pattern: &str, url: &str) -> bool {
    if is_pattern(pattern.as_bytes()) {
        let wanted = pattern.matches('/').count();
        let url: Vec<&str> = url.splitn(wanted + 2, '/').collect();
        let start = url.get(..=wanted).map(|parts| parts.join("/"));
        return start.is_some_and(|start| fnmatch(pattern.as_bytes(), start.as_bytes()));
    }
    same_or_below(pattern, url)
}

/// Whether a path is another one or below it, by whole parts.
#[must_use]
pub fn same_or_below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}
