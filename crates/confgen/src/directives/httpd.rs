//! The directives of httpd and the modules that come with it, as `httpd -L` lists them.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// One line for each: facts that httpd prints of itself.
const TABLE: &str = include_str!("httpd.tsv");

/// The names of directives that read the rest of their line themselves.
const RAW: &str = include_str!("raw.txt");

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Outside of sections for folders, files and locations.
    Server,
    /// Inside of them only.
    Directory,
    /// Both.
    Anywhere,
}

/// A directive or a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Httpd {
    /// Its name.
    pub name: String,
    /// Whether it is a section.
    pub section: bool,
    /// Its module, without `mod_`; `core` and the like for what is always there.
    pub module: String,
    /// Where it may stand.
    pub place: Place,
    /// The classes of `AllowOverride` that let it stand in `.htaccess`, in small letters; `any`: every class but None. Empty: none does.
    pub overrides: Vec<String>,
}

/// Every directive, in the order of their names. Some names belong to several modules.
pub fn all() -> &'static [Httpd] {
    static PARSED: OnceLock<Vec<Httpd>> = OnceLock::new();
    PARSED.get_or_init(|| TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Httpd> {
    let mut cells = line.split('\t');
    let (name, module, place, overrides) = (cells.next()?, cells.next()?, cells.next()?, cells.next()?);
    Some(Httpd {
        name: name.trim_start_matches('<').to_owned(),
        section: name.starts_with('<'),
        module: module.to_owned(),
        place: match place {
            "server" => Place::Server,
            "directory" => Place::Directory,
            _ => Place::Anywhere,
        },
        overrides: overrides.split('|').filter(|class| *class != "-").map(str::to_owned).collect(),
    })
}

/// A directive or section by its name, in any case of letters.
pub(super) fn named(name: &str) -> Option<&'static Httpd> {
    static NAMES: OnceLock<HashMap<String, usize>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let named = |(index, entry): (usize, &Httpd)| (entry.name.to_ascii_lowercase(), index);
        all().iter().enumerate().rev().map(named).collect()
    });
    names.get(&name.to_ascii_lowercase()).map(|index| &all()[*index])
}

/// A section by its name, in any case of letters. Some directives have the name of a section.
pub(super) fn section(name: &str) -> Option<&'static Httpd> {
    all().iter().find(|entry| entry.section && entry.name.eq_ignore_ascii_case(name))
}

/// Whether a directive, by its name in any case of letters, reads the rest of its line itself, quotes included.
pub(super) fn is_raw(name: &str) -> bool {
    static NAMES: OnceLock<HashSet<String>> = OnceLock::new();
    let names = || RAW.lines().filter(|line| !line.starts_with('#')).map(str::to_ascii_lowercase).collect();
    NAMES.get_or_init(names).contains(&name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_directives_are_in_the_table() {
        for name in RAW.lines().filter(|line| !line.starts_with('#')) {
            assert!(named(name).is_some_and(|entry| entry.name == name && !entry.section), "{name}");
        }
        assert!(is_raw("rewriterule") && is_raw("Require") && !is_raw("DocumentRoot") && !is_raw("Alias"));
    }

    #[test]
    fn the_table_is_whole() {
        assert!(all().len() > 600, "{}", all().len());
        assert_eq!(all().len(), TABLE.lines().filter(|line| !line.starts_with('#')).count());
        let host = named("virtualhost").unwrap();
        assert!(host.section && host.place == Place::Server && host.overrides.is_empty() && host.module == "core");
        let options = named("OPTIONS").unwrap();
        assert_eq!((options.place, options.overrides.as_slice()), (Place::Anywhere, &["options".to_owned()][..]));
        assert!(all().iter().all(|entry| !entry.name.is_empty() && !entry.module.is_empty()));
        assert!(all().is_sorted_by_key(|entry| entry.name.to_ascii_lowercase()));
    }
}
