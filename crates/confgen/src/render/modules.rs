//! Which modules of httpd a configuration needs.

use std::collections::BTreeSet;

/// Modules that every configuration needs, and those that others need, in the order of loading. What is not here is loaded
/// after them, by name.
const ORDER: &[&str] = &[
    "unixd",
    "log_config",
    "logio",
    "version",
    "authn_core",
    "authz_core",
    "authz_host",
    "authz_user",
    "mime",
    "dir",
    "alias",
    "env",
    "setenvif",
    "headers",
    "expires",
    "filter",
    "deflate",
    "autoindex",
    "reqtimeout",
    "rewrite",
    "socache_shmcb",
    "ssl",
    "proxy",
    "proxy_http",
    "proxy_http2",
    "proxy_wstunnel",
];

/// Modules without which nothing works.
const ALWAYS: &[&str] = &["unixd", "log_config", "authz_core", "mime", "dir"];

/// What a module needs beside it.
const NEEDS: &[(&str, &[&str])] = &[
    ("ssl", &["socache_shmcb"]),
    ("deflate", &["filter"]),
    ("brotli", &["filter"]),
    ("proxy_http", &["proxy"]),
    ("proxy_http2", &["proxy", "http2"]),
    ("proxy_wstunnel", &["proxy"]),
    ("proxy_balancer", &["proxy", "slotmem_shm"]),
    ("auth_basic", &["authn_core", "authz_user"]),
    ("auth_digest", &["authn_core", "authz_user"]),
    ("authn_file", &["authn_core", "auth_basic"]),
];

/// Directives of raw texts, by the module that they need. Beginnings of names stand with a star.
const OF_DIRECTIVES: &[(&str, &str)] = &[
    ("header", "headers"),
    ("requestheader", "headers"),
    ("rewrite*", "rewrite"),
    ("proxypass*", "proxy_http"),
    ("proxy*", "proxy"),
    ("setenvif*", "setenvif"),
    ("browsermatch*", "setenvif"),
    ("setenv", "env"),
    ("unsetenv", "env"),
    ("passenv", "env"),
    ("expires*", "expires"),
    ("alias", "alias"),
    ("aliasmatch", "alias"),
    ("redirect*", "alias"),
    ("scriptalias*", "alias"),
    ("authtype", "auth_basic"),
    ("authbasicprovider", "auth_basic"),
    ("authuserfile", "authn_file"),
    ("authname", "authn_core"),
    ("ssl*", "ssl"),
    ("requestreadtimeout", "reqtimeout"),
    ("addoutputfilterbytype", "filter"),
    ("deflate*", "deflate"),
    ("directoryindex", "dir"),
    ("fallbackresource", "dir"),
    ("index*", "autoindex"),
    ("extendedstatus", "status"),
    ("h2*", "http2"),
    ("substitute", "substitute"),
    ("dumpio*", "dumpio"),
    ("use", "macro"),
];

/// Handlers and filters of raw texts, by the module that provides them.
const OF_WORDS: &[(&str, &str)] = &[
    ("server-status", "status"),
    ("server-info", "info"),
    ("deflate", "deflate"),
    ("substitute", "substitute"),
    ("cgi-script", "cgi"),
    ("ip", "authz_host"),
    ("local", "authz_host"),
    ("host", "authz_host"),
    ("valid-user", "authz_user"),
    ("mod_wsgi_rs", ""),
];

/// Modules that are needed.
#[derive(Debug, Default)]
pub(super) struct Modules {
    names: BTreeSet<String>,
}

impl Modules {
    pub(super) fn new() -> Self {
        let mut modules = Self::default();
        for name in ALWAYS {
            modules.need(name);
        }
        modules
    }

    /// What is needed so far.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn need(&mut self, name: &str) {
        if name.is_empty() || !self.names.insert(name.to_owned()) {
            return;
        }
        for (_, others) in NEEDS.iter().filter(|(module, _)| *module == name) {
            for other in *others {
                self.need(other);
            }
        }
    }

    /// What a line of a raw text needs.
    pub(super) fn need_for(&mut self, directive: &str, line: &str) {
        let directive = directive.to_ascii_lowercase();
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => directive.starts_with(start),
            None => directive == pattern,
        };
        if let Some((_, module)) = OF_DIRECTIVES.iter().find(|(pattern, _)| fits(pattern)) {
            self.need(module);
        }
        if matches!(
            directive.as_str(),
            "sethandler" | "addhandler" | "setoutputfilter" | "addoutputfilter" | "addoutputfilterbytype" | "require"
        ) {
            for word in line.split_whitespace() {
                let word = word.to_ascii_lowercase();
                if let Some((_, module)) = OF_WORDS.iter().find(|(name, _)| *name == word) {
                    self.need(module);
                }
            }
        }
    }

    /// The names in the order of loading.
    pub(super) fn ordered(&self) -> Vec<&str> {
        let known = ORDER.iter().copied().filter(|name| self.names.contains(*name));
        let others = self.names.iter().map(String::as_str).filter(|name| !ORDER.contains(name));
        known.chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_followed_and_ordered() {
        let mut modules = Modules::new();
        modules.need("ssl");
        modules.need_for("Header", "Header always set X y");
        modules.need_for("RewriteRule", "RewriteRule ^ - [L]");
        modules.need_for("Require", "Require ip 10.0.0.1");
        modules.need("zz_own");
        let names = modules.ordered();
        for name in ["ssl", "socache_shmcb", "headers", "rewrite", "authz_host", "authz_core"] {
            assert!(names.contains(&name), "{name} {names:?}");
        }
        let position = |wanted: &str| names.iter().position(|name| *name == wanted).unwrap();
        assert!(position("socache_shmcb") < position("ssl"));
        assert_eq!(names.last(), Some(&"zz_own"));
    }
}
