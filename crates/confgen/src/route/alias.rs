//! From the path of a URL to a file: proxies, rewritten URLs, redirects, aliases, applications, `DocumentRoot`.

use regex_lite::{Captures, Regex};

use super::{Outcome, Translated, Walk};
use crate::configuration::{MountKind, Statement};

impl<'w> Walk<'w> {
    pub(super) fn translate(&mut self, path: &str) -> Result<Translated, Outcome> {
        let path = &self.rewrite(path)?;
        if let Some(outcome) = self.proxy(path) {
            return Err(outcome);
        }
        if let Some(outcome) = self.redirect(path) {
            return Err(outcome);
        }
        if let Some(file) = self.alias(path) {
            return Ok(Translated { path: path.clone(), file, mount: None });
        }
        if let Some(translated) = self.mount(path) {
            return Ok(translated);
        }
        match self.configuration.of_host(self.host, "DocumentRoot") {
            Some(root) => {
                let folder = root.word(0).unwrap_or_default();
                self.step("folder", folder.clone().into_owned(), Some(root));
                Ok(Translated {
                    path: path.clone(),
                    file: format!("{}{path}", folder.trim_end_matches('/')),
                    mount: None,
                })
            }
            None => Err(Outcome::Open("the configuration names no `DocumentRoot`, and no alias matches".to_owned())),
        }
    }

    fn proxy(&mut self, path: &str) -> Option<Outcome> {
        let mut all: Vec<&'w Statement<'w>> = self.of_host("ProxyPass");
        all.extend(self.of_host("ProxyPassMatch"));
        all.sort_by_key(|statement| (statement.host == 0, statement.index));
        for statement in all {
            let (from, to) = (statement.word(0)?, statement.word(1)?);
            let target = if statement.node.is("ProxyPassMatch") {
                let Ok(regex) = Regex::new(&from) else { continue };
                let Some(found) = regex.captures(path) else { continue };
                substitute(&to, &found)
            } else {
                let Some(length) = matched(path, &from) else { continue };
                format!("{to}{}", &path[length..])
            };
            if to == "!" {
                self.step("proxy", format!("not for {from}"), Some(statement));
                return None;
            }
            self.step("proxy", format!("{from} to {to}"), Some(statement));
            return Some(Outcome::Proxy(target));
        }
        let target = crate::configuration::Target { host: self.host, url: Some(path), file: None };
        let located =
            self.configuration.effective(&target, "ProxyPass").filter(|statement| !statement.sections.is_empty())?;
        let base = located.word(0)?;
        let section = located.sections.last()?;
        let prefix = String::from_utf8_lossy(section.words.first()?).into_owned();
        self.step("proxy", format!("{prefix} to {base}"), Some(located));
        if base == "!" {
            return None;
        }
        Some(Outcome::Proxy(format!("{base}{}", path.strip_prefix(prefix.as_str()).unwrap_or_default())))
    }

    /// mod_alias: the first alias that matches.
    fn alias(&mut self, path: &str) -> Option<String> {
        let mut all: Vec<&'w Statement<'w>> = ["Alias", "AliasMatch", "ScriptAlias", "ScriptAliasMatch"]
            .iter()
            .flat_map(|name| self.of_host(name))
            .collect();
        all.sort_by_key(|statement| (statement.host == 0, statement.index));
        for statement in all {
            let (Some(from), Some(to)) = (statement.word(0), statement.word(1)) else { continue };
            let file = if statement.node.name.to_ascii_lowercase().ends_with("match") {
                let Some(found) = Regex::new(&from).ok().and_then(|regex| regex.captures(path)) else { continue };
                substitute(&to, &found)
            } else {
                let Some(length) = matched(path, &from) else { continue };
                format!("{to}{}", &path[length..])
            };
            self.step("alias", format!("{} {from} {to}", statement.node.name), Some(statement));
            return Some(file);
        }
        None
    }

    /// The wsgi module: the first of its aliases that matches.
    fn mount(&mut self, path: &str) -> Option<Translated> {
        let configuration = self.configuration;
        let mut mounts: Vec<_> =
            configuration.mounts.iter().filter(|mount| mount.host == self.host || mount.host == 0).collect();
        mounts.sort_by_key(|mount| (mount.host == 0 && self.host != 0, mount.statement));
        for mount in mounts {
            let file = match mount.kind {
                MountKind::Alias => {
                    let Some(length) = matched(path, &mount.url) else { continue };
                    // `/` stands for everything: its slash is a part of what follows.
                    let length = if mount.url == "/" { 0 } else { length };
                    format!("{}{}", mount.script, &path[length..])
                }
                MountKind::AliasMatch => {
                    let Some(found) = Regex::new(&mount.url).ok().and_then(|regex| regex.captures(path)) else {
                        continue;
                    };
                    let Some(whole) = found.get(0).filter(|whole| !whole.is_empty()) else { continue };
                    let is_root = whole.as_str() == "/" && whole.start() == 0;
                    let length = if is_root { 0 } else { whole.end() };
                    format!("{}{}", substitute(&mount.script, &found), &path[length..])
                }
            };
            let statement = &configuration.statements[mount.statement];
            self.step("alias", format!("{} {}", statement.node.name, mount.url), Some(statement));
            return Some(Translated { path: path.to_owned(), file, mount: Some(mount.statement) });
        }
        None
    }
}

/// How much of a path an alias matches: whole segments, unless the alias ends in a slash; a run of slashes is one.
pub(super) fn matched(path: &str, alias: &str) -> Option<usize> {
    let (path, alias) = (path.as_bytes(), alias.as_bytes());
    let (mut at, mut place) = (0, 0);
    while place < alias.len() {
        if alias[place] == b'/' {
            if path.get(at) != Some(&b'/') {
                return None;
            }
            while alias.get(place) == Some(&b'/') {
                place += 1;
            }
            while path.get(at) == Some(&b'/') {
                at += 1;
            }
        } else {
            if path.get(at) != Some(&alias[place]) {
                return None;
            }
            at += 1;
            place += 1;
        }
    }
    let segment_ends = alias.last() == Some(&b'/') || at == path.len() || path[at] == b'/';
    segment_ends.then_some(at)
}

/// `$1` and the like, replaced by what a regular expression found.
pub(super) fn substitute(text: &str, found: &Captures<'_>) -> String {
    let mut made = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '$' => match letters.peek().and_then(|digit| digit.to_digit(10)) {
                Some(digit) => {
                    letters.next();
                    made += found.get(digit as usize).map_or("", |group| group.as_str());
                }
                None => made.push('$'),
            },
            '\\' if letters.peek().is_some_and(|next| matches!(next, '$' | '\\')) => made.extend(letters.next()),
            letter => made.push(letter),
        }
    }
    made
}
