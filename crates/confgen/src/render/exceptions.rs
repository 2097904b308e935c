//! What hosts serve that otherwise redirect or refuse: httpd's own health checks, and the files of ACME's challenges.
//!
//! A load balancer asks by address and often on the plain port; a certificate authority asks on port 80 while the certificate
//! of the https port may have expired. httpd redirects before it looks for files, so that the expression of the redirect decides
//! what is served.

use super::builder::Builder;
use super::mounts::within;
use super::site;
use super::view::ExceptView;
use crate::document::Path;
use crate::spec::{Health, HealthBy, Name, Site};

/// Where a certificate authority looks for the proof that a name is ours (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge";

/// The health checks that are answered for names that no site has.
pub(super) fn of_unknown_names(builder: &mut Builder<'_>) -> Option<ExceptView> {
    let spec = builder.spec;
    let mut checks: Vec<(&Name, &Health)> = Vec::new();
    for (name, site) in &spec.sites {
        if let Some(health) = by_httpd(site)
            && !checks.iter().any(|(_, known)| known.path.as_str() == health.path.as_str())
        {
            checks.push((name, health));
        }
    }
    let (first, _) = checks.first()?;
    let key = health_key(first);
    let paths: Vec<String> = checks.iter().map(|(_, health)| exactly(health)).collect();
    let mut sites = Vec::new();
    for (name, health) in checks {
        let only = Site { health: Some(health.clone()), ..Site::default() };
        sites.push(site::view(builder, name, &only, &[]));
    }
    Some(ExceptView { paths: builder.arg(&key, paths.join("|")), sites })
}

/// What a site serves on hosts that redirect.
pub(super) fn of_redirect(builder: &mut Builder<'_>, name: &Name, site: &Site) -> Option<ExceptView> {
    let mut paths = Vec::new();
    let mut key = Path::of(["sites", name.as_str(), "static"]);
    let health = by_httpd(site).cloned();
    let mut only = Site { health, ..site.clone() };
    // Only what is for the challenges alone is passed on.
    only.upstreams.retain(|path, _| within(path.as_str(), CHALLENGES));
    only.statics.retain(|path, _| within(path.as_str(), CHALLENGES) || within(CHALLENGES, path.as_str()));
    if only.statics.is_empty() && only.upstreams.is_empty() {
        only.handlers.clear();
    } else {
        paths.push(format!("{}/", pattern(CHALLENGES)));
    }
    if let Some(health) = &only.health {
        paths.push(exactly(health));
        key = health_key(name);
    }
    if paths.is_empty() {
        return None;
    }
    only.apps.clear();
    only.env.clear();
    only.restrict_process.clear();
    builder.modules.need("rewrite");
    let view = site::view(builder, name, &only, &[]);
    Some(ExceptView { paths: builder.arg(&key, paths.join("|")), sites: vec![view] })
}

fn health_key(site: &Name) -> Path {
    Path::of(["sites", site.as_str(), "health", "path"])
}

/// A health check that needs no application.
fn by_httpd(site: &Site) -> Option<&Health> {
    site.health.as_ref().filter(|health| health.answers == HealthBy::Httpd)
}

fn exactly(health: &Health) -> String {
    pattern(health.path.as_str()) + "$"
}

/// A path as a regular expression without a backslash: mod_rewrite reads its arguments by rules of its own and keeps every
/// backslash, where other directives take two for one. Like an alias it fits however often a slash is repeated.
fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len() + 8);
    for character in path.chars() {
        match character {
            '/' => pattern.push_str("/+"),
            '.' | '|' | '?' | '*' | '+' | '(' | ')' | '[' | ']' | '{' | '}' | '$' => {
                pattern.extend(['[', character, ']']);
            }
            '\\' | '^' | '"' => pattern.push('.'),
            other => pattern.push(other),
        }
    }
    pattern
}
