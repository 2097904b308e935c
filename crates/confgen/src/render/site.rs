//! What a site serves: applications, files, other servers.

use std::collections::BTreeMap;

use super::builder::Builder;
use super::mounts::{Kind, Mounts, substitution, trimmed};
use super::processes::restrict;
use super::raw;
use super::view::{AliasView, HealthView, Line, LocationView, Place, RawView, SiteView, StaticView};
use super::{access, app, files, handlers, settings, upstreams};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::quote;
use crate::spec::{HealthBy, Links, Name, Site, Static};

/// What is worth compressing.
const TEXT_TYPES: &[&str] = &[
    "text/html",
    "text/plain",
    "text/css",
    "text/xml",
    "text/javascript",
    "application/javascript",
    "application/json",
    "application/xml",
    "image/svg+xml",
];

pub(super) fn view(builder: &mut Builder<'_>, name: &Name, site: &Site, raws: &[(raw::Place, RawView)]) -> SiteView {
    let key = Path::of(["sites", name.as_str()]);
    let mounts = Mounts::of(site, &key);
    mounts.check(builder);
    let place =
        |wanted: &raw::Place| raws.iter().filter(|(place, _)| place == wanted).map(|(_, view)| view.clone()).collect();
    let lines = lines(builder, site, &key);
    let (health, health_location) = health(builder, site, &mounts, &key).unzip();
    let (statics, static_locations): (Vec<_>, Vec<_>) = statics(builder, site, &mounts, &key).into_iter().unzip();
    let (proxies, upstream_locations) = upstreams::views(builder, site, &mounts, &key);
    let (apps, app_locations): (Vec<_>, Vec<_>) =
        app::views(builder, name, site, &mounts, &key, raws).into_iter().unzip();
    let locations = health_location.into_iter().chain(static_locations).chain(upstream_locations).chain(app_locations);
    let mut locations: Vec<LocationView> =
        locations.filter(|location| !location.lines.is_empty() || !location.raw.is_empty()).collect();
    // Of the locations that fit, the last one wins.
    locations.sort_by_key(|location| (location.regex, location.length));
    SiteView {
        start: place(&raw::Place::SiteStart(name.to_string())),
        end: place(&raw::Place::SiteEnd(name.to_string())),
        lines,
        health,
        statics,
        proxies,
        apps,
        locations,
    }
}

fn lines(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for (variable, value) in settings::variables(&site.env) {
        builder.modules.need("env");
        let own = key.join("env").join(variable.as_str());
        lines.push(Line::quoted("SetEnv", [builder.arg(&own, &variable), builder.arg(&own, value)]));
    }
    let limits = key.join("limits");
    if let Some(body) = site.limits.body {
        lines.push(Line::bare("LimitRequestBody", [builder.arg(&limits.join("body"), body)]));
    }
    let mut timeouts = Vec::new();
    if let Some(time) = site.limits.header_timeout {
        timeouts.push(builder.arg(&limits.join("header-timeout"), format!("header={time}")));
    }
    if let Some(time) = site.limits.body_timeout {
        let rate = if time.0 > 0 { ",MinRate=500" } else { "" };
        timeouts.push(builder.arg(&limits.join("body-timeout"), format!("body={time}{rate}")));
    }
    if !timeouts.is_empty() {
        builder.modules.need("reqtimeout");
        lines.push(Line::bare("RequestReadTimeout", timeouts));
    }
    if let Some(proxies) = &site.proxies {
        let own = key.join("proxies");
        let (trust, headers) = (own.join("trust"), own.join("headers"));
        for (index, network) in proxies.trust.iter().enumerate() {
            if !network.is_valid() {
                builder.error(Code::Form, &trust.join(index), format!("{network} is no IP address or network"));
            } else if network.is_everything() {
                let message =
                    format!("{network} is every address: any client may choose the address that it comes from");
                let diagnostic = Diagnostic::warning(Code::TrustsEveryone, message);
                builder.report(&trust.join(index), "", diagnostic.help("name the proxies, such as 10.0.0.0/8"));
            } else if network.has_host_bits() {
                builder.warn(Code::Form, &trust.join(index), format!("{network} has bits set beyond its prefix"));
            }
        }
        lines.push(Line::bare(
            "WSGITrustedProxies",
            proxies.trust.iter().enumerate().map(|(index, network)| builder.arg(&trust.join(index), network)),
        ));
        lines.push(Line::quoted(
            "WSGITrustedProxyHeaders",
            proxies.headers.iter().enumerate().map(|(index, name)| builder.arg(&headers.join(index), name)),
        ));
    }
    lines.extend(handlers::lines(builder, site, key));
    lines.extend(restrict(builder, &site.restrict_process, &key.join("restrict-process")));
    lines
}

fn health(
    builder: &mut Builder<'_>,
    site: &Site,
    mounts: &Mounts<'_>,
    key: &Path,
) -> Option<(HealthView, LocationView)> {
    let health = site.health.as_ref()?;
    let own = key.join("health");
    if health.answers == HealthBy::App {
        let path_key = own.join("path");
        match mounts.owner(health.path.as_str()) {
            Some(mount) if mount.kind == Kind::App => {}
            // A regular expression comes before what is mounted at `/`, and nobody can tell whether it fits.
            Some(mount) if mount.path == "/" && !mounts.regexes.is_empty() => {}
            None if !mounts.regexes.is_empty() => {}
            Some(mount) => {
                let message = format!("no application answers at `{}`: `{}` comes first", health.path, mount.key);
                let other = mount.key.key_span(&builder.spec.root);
                let diagnostic = Diagnostic::error(Code::Shadowed, message);
                let span = path_key.span(&builder.spec.root);
                builder.push(diagnostic.at(span, "").at(other, "comes first"));
            }
            None => builder.error(Code::Reference, &path_key, format!("no application answers at `{}`", health.path)),
        }
        return None;
    }
    builder.modules.need("alias");
    builder.add_text("health/ok", "ok\n".to_owned(), &own);
    let directory = builder.server_root.join("health");
    let directory = builder.path_text(&directory, &own);
    let file = format!("{directory}/ok");
    let alias = alias(builder, mounts, health.path.as_str(), &file, (&own.join("path"), &own));
    let view = HealthView {
        block: builder.origins.block(&own),
        alias,
        directory: builder.arg(&own, quote::literal(&directory)),
    };
    // It is open also where everything around it is not.
    let mut lines = reset(builder, site, mounts, health.path.as_str(), Kind::Health, &own);
    lines.extend([
        Line::bare("ForceType", [builder.arg(&own, "text/plain")]),
        Line::bare("Require", [builder.arg(&own, "all"), builder.arg(&own, "granted")]),
    ]);
    Some((view, location(builder, health.path.as_str(), &own, lines)))
}

/// An alias for a path; applications below it are left to themselves.
fn alias(
    builder: &Builder<'_>,
    mounts: &Mounts<'_>,
    mount: &str,
    target: &str,
    (path_key, target_key): (&Path, &Path),
) -> AliasView {
    match mounts.without_apps(mount) {
        Some(pattern) => AliasView {
            regex: true,
            path: builder.arg(path_key, pattern),
            target: builder.arg(target_key, substitution(target)),
        },
        None => AliasView { regex: false, path: builder.arg(path_key, mount), target: builder.arg(target_key, target) },
    }
}

/// What files further out say of themselves would hold for everything below their path; what is no such file sets it back.
pub(super) fn reset(
    builder: &Builder<'_>,
    site: &Site,
    mounts: &Mounts<'_>,
    path: &str,
    kind: Kind,
    key: &Path,
) -> Vec<Line> {
    let outer: Vec<&Static> = mounts
        .around(path)
        .filter(|mount| mount.kind == Kind::Static)
        .filter_map(|mount| site.statics.iter().find(|(path, _)| trimmed(path.as_str()) == mount.path))
        .map(|(_, files)| files)
        .collect();
    let mut lines = Vec::new();
    if outer.iter().any(|files| files.cache.is_some()) {
        lines.push(Line::bare("ExpiresActive", [builder.arg(key, "Off")]));
    }
    if kind != Kind::Static && outer.iter().any(|files| files.handler.is_some()) {
        lines.push(Line::bare("SetHandler", [builder.arg(key, "None")]));
    }
    lines
}

/// What holds below a path that is no regular expression.
pub(super) fn location(builder: &Builder<'_>, mount: &str, key: &Path, lines: Vec<Line>) -> LocationView {
    LocationView {
        block: builder.origins.block(key),
        regex: false,
        length: mount.trim_end_matches('/').len(),
        path: builder.arg(key, quote::literal(mount)),
        lines,
        raw: Vec::new(),
    }
}

/// Longer paths come first: httpd takes the first that fits.
pub(super) fn longest_first<K: AsRef<str> + Ord, V>(map: &BTreeMap<K, V>) -> Vec<(&K, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_ref().trim_end_matches('/').len()));
    entries
}

fn statics(builder: &mut Builder<'_>, site: &Site, mounts: &Mounts<'_>, key: &Path) -> Vec<(StaticView, LocationView)> {
    let base = key.join("static");
    let mut views = Vec::new();
    for (path, files) in longest_first(&site.statics) {
        let own = base.join(path.as_str());
        let (target, directory, only) = match (&files.dir, &files.file) {
            (Some(dir), None) => {
                files::check(builder, dir, files::Wanted::Directory, &own.join("dir"));
                let target = dir.as_str().trim_end_matches('/');
                let target = if target.is_empty() { "/" } else { target };
                (target.to_owned(), target.to_owned(), None)
            }
            (None, Some(file)) => {
                files::check(builder, file, files::Wanted::File, &own.join("file"));
                let (directory, name) = split(file.as_str());
                if path.as_str().ends_with('/') {
                    builder.error(Code::Form, &own, "a single file cannot be mounted at a path that ends in `/`");
                }
                (file.as_str().to_owned(), directory.to_owned(), Some(name.to_owned()))
            }
            (Some(_), Some(_)) => {
                builder.error(Code::Conflict, &own.join("file"), "`dir` and `file` exclude each other");
                continue;
            }
            (None, None) => {
                let diagnostic = Diagnostic::error(Code::Missing, "neither `dir` nor `file` is given");
                builder.report(&own, "", diagnostic.help("add `dir` or `file`"));
                continue;
            }
        };
        need_modules(builder, files);
        let mount = trimmed(path.as_str());
        let target_key = if files.dir.is_some() { own.join("dir") } else { own.join("file") };
        let mut lines = match files.cache {
            Some(_) => Vec::new(),
            None => reset(builder, site, mounts, mount, Kind::Static, &own),
        };
        lines.extend(static_lines(builder, site, files, &own));
        let location = location(builder, mount, &own, lines);
        let root = mount == "/" && only.is_none();
        let place = match root {
            true => Place::Root(builder.arg(&target_key, &target)),
            false => Place::Alias(alias(builder, mounts, mount, &target, (&own, &target_key))),
        };
        let view = StaticView {
            block: builder.origins.block(&own),
            place,
            directory: builder.arg(&target_key, quote::literal(&directory)),
            only: only.map(|name| builder.arg(&target_key, quote::literal(&name))),
            options: builder.arg(&own.join("links"), options(files)),
            closed: (!files.hidden).then(|| builder.arg(&own.join("hidden"), hidden(&directory))),
        };
        views.push((view, location));
    }
    views
}

/// The features that a directory has.
fn options(files: &Static) -> String {
    let links = match files.links {
        Links::SameOwner => Some("SymLinksIfOwnerMatch"),
        Links::All => Some("FollowSymLinks"),
        Links::None => None,
    };
    let words: Vec<&str> = files.listing.then_some("Indexes").into_iter().chain(links).collect();
    if words.is_empty() { "None".to_owned() } else { words.join(" ") }
}

/// The expression that holds for what has a hidden name below a directory. A section `<If>` counts last: no location opens it again.
fn hidden(directory: &str) -> String {
    let mut path = String::new();
    for byte in directory.trim_end_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'_' | b'-' => path.push(char::from(byte)),
            _ => path.push_str(&format!("\\x{byte:02x}")),
        }
    }
    format!("%{{REQUEST_FILENAME}} =~ m#^{path}/(?:.*/)?\\.(?!well-known(?:/|$))#")
}

/// What holds for the URLs of files.
fn static_lines(builder: &mut Builder<'_>, site: &Site, files: &Static, key: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(time) = files.cache {
        let own = key.join("cache");
        lines.push(Line::bare("ExpiresActive", [builder.arg(&own, "On")]));
        lines.push(Line::quoted("ExpiresDefault", [builder.arg(&own, format!("access plus {time} seconds"))]));
    }
    if files.compress {
        let own = key.join("compress");
        let words = ["DEFLATE"].iter().chain(TEXT_TYPES);
        lines.push(Line::bare("AddOutputFilterByType", words.map(|word| builder.arg(&own, word))));
    }
    lines.extend(access::lines(builder, files.access.as_ref(), files.auth.as_ref(), key));
    lines.extend(handlers::of_location(builder, site, files.handler.as_ref(), key));
    lines
}

fn need_modules(builder: &mut Builder<'_>, files: &Static) {
    builder.modules.need("alias");
    if files.cache.is_some() {
        builder.modules.need("expires");
    }
    if files.compress {
        builder.modules.need("deflate");
    }
    if files.listing {
        builder.modules.need("autoindex");
    }
}

/// A path's directory and name.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => ("/", path),
    }
}
