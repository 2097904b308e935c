//! The directives of httpd and the modules that come with it, as `httpd -L` lists them.

use std::collections::HashMap;
use std::sync::OnceLock;

/// One line for each: facts that httpd prints of itself.
const TABLE: &str = include_str!("httpd.tsv");

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

#[cfg(test)]
mod tests {
    use super::*;

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
