//! What a site serves: applications, files, other servers.

use std::collections::BTreeMap;

use super::builder::Builder;
use super::processes::restrict;
use super::raw::Place;
use super::view::{HealthView, Line, LocationView, RawView, SiteView, StaticView, UpstreamView};
use super::{access, app, files, handlers, settings};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::quote;
use crate::spec::{HealthBy, Name, Site, Static};

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

pub(super) fn view(builder: &mut Builder<'_>, name: &Name, site: &Site, raws: &[(Place, RawView)]) -> SiteView {
    let key = Path::of(["sites", name.as_str()]);
    check_paths(builder, site, &key);
    let place =
        |wanted: &Place| raws.iter().filter(|(place, _)| place == wanted).map(|(_, view)| view.clone()).collect();
    let lines = lines(builder, site, &key);
    let (health, health_location) = health(builder, site, &key).unzip();
    let (statics, static_locations): (Vec<_>, Vec<_>) = statics(builder, site, &key).into_iter().unzip();
    let upstreams = upstreams(builder, site, &key);
    let (apps, app_locations): (Vec<_>, Vec<_>) = app::views(builder, name, site, &key, raws).into_iter().unzip();
    let locations = health_location.into_iter().chain(static_locations).chain(app_locations);
    let mut locations: Vec<LocationView> =
        locations.filter(|location| !location.lines.is_empty() || !location.raw.is_empty()).collect();
    // Of the locations that fit, the last one wins.
    locations.sort_by_key(|location| (location.regex, location.length));
    SiteView {
        start: place(&Place::SiteStart(name.to_string())),
        end: place(&Place::SiteEnd(name.to_string())),
        lines,
        health,
        statics,
        upstreams,
        apps,
        locations,
    }
}

/// Nothing is mounted twice.
fn check_paths(builder: &mut Builder<'_>, site: &Site, key: &Path) {
    let mut taken: Vec<(&str, Path)> = Vec::new();
    let apps = site.apps.keys().map(|path| (path.as_str(), key.join("apps").join(path.as_str())));
    let statics = site.statics.keys().map(|path| (path.as_str(), key.join("static").join(path.as_str())));
    let upstreams = site.upstreams.keys().map(|path| (path.as_str(), key.join("upstreams").join(path.as_str())));
    let health = site
        .health
        .iter()
        .filter(|health| health.answers == HealthBy::Httpd)
        .map(|health| (health.path.as_str(), key.join("health").join("path")));
    for (path, own) in apps.chain(statics).chain(upstreams).chain(health) {
        let mount = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        match taken.iter().find(|(known, _)| *known == mount) {
            Some((_, first)) => {
                let first = first.key_span(&builder.spec.root);
                let diagnostic = Diagnostic::error(Code::Conflict, format!("two things are mounted at `{mount}`"));
                let span = own.key_span(&builder.spec.root);
                builder.push(diagnostic.at(span, "again").at(first, "first here"));
            }
            None => taken.push((mount, own)),
        }
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

fn health(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Option<(HealthView, LocationView)> {
    let health = site.health.as_ref()?;
    let own = key.join("health");
    if health.answers == HealthBy::App {
        let covered =
            site.apps.keys().any(|path| path.regex().is_some() || within(health.path.as_str(), path.as_str()));
        if !covered {
            builder.error(Code::Reference, &own.join("path"), format!("no application answers at `{}`", health.path));
        }
        return None;
    }
    builder.modules.need("alias");
    builder.add_text("health/ok", "ok\n".to_owned(), &own);
    let directory = builder.server_root.join("health");
    let directory = builder.path_text(&directory, &own);
    let view = HealthView {
        block: builder.origins.block(&own),
        path: builder.arg(&own.join("path"), &health.path),
        file: builder.arg(&own, format!("{directory}/ok")),
        directory: builder.arg(&own, quote::literal(&directory)),
    };
    // It is open also where everything around it is not.
    let lines = vec![
        Line::bare("ForceType", [builder.arg(&own, "text/plain")]),
        Line::bare("Require", [builder.arg(&own, "all"), builder.arg(&own, "granted")]),
    ];
    Some((view, location(builder, health.path.as_str(), &own, lines)))
}

/// What holds below a path that is no regular expression.
fn location(builder: &Builder<'_>, mount: &str, key: &Path, lines: Vec<Line>) -> LocationView {
    LocationView {
        block: builder.origins.block(key),
        regex: false,
        length: mount.trim_end_matches('/').len(),
        path: builder.arg(key, quote::literal(mount)),
        lines,
        raw: Vec::new(),
    }
}

/// Whether a path is at or below a mount.
pub(super) fn within(path: &str, mount: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Longer paths come first: httpd takes the first that fits.
pub(super) fn longest_first<K: AsRef<str> + Ord, V>(map: &BTreeMap<K, V>) -> Vec<(&K, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_ref().trim_end_matches('/').len()));
    entries
}

fn statics(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Vec<(StaticView, LocationView)> {
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
        let mount = if path.as_str().len() > 1 { path.as_str().trim_end_matches('/') } else { "/" };
        let target_key = if files.dir.is_some() { own.join("dir") } else { own.join("file") };
        let lines = static_lines(builder, site, files, &own);
        let location = location(builder, mount, &own, lines);
        let view = StaticView {
            block: builder.origins.block(&own),
            root: mount == "/" && only.is_none(),
            path: builder.arg(&own, mount),
            target: builder.arg(&target_key, target),
            directory: builder.arg(&target_key, quote::literal(&directory)),
            only: only.map(|name| builder.arg(&target_key, quote::literal(&name))),
            listing: files.listing,
        };
        views.push((view, location));
    }
    views
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

fn upstreams(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Vec<UpstreamView> {
    let base = key.join("upstreams");
    let mut views = Vec::new();
    for (path, upstream) in longest_first(&site.upstreams) {
        builder.modules.need("proxy_http");
        if upstream.websocket {
            builder.modules.need("proxy_wstunnel");
        }
        let own = base.join(path.as_str());
        let url = upstream.to.as_str();
        if url.starts_with("h2") {
            builder.modules.need("proxy_http2");
        }
        let target = match url.strip_prefix("unix:") {
            Some(socket) => format!("unix:{socket}|http://localhost"),
            None => url.to_owned(),
        };
        views.push(UpstreamView {
            block: builder.origins.block(&own),
            path: builder.arg(&own, path),
            to: builder.arg(&own.join("to"), target),
            websocket: upstream.websocket,
            timeout: upstream.timeout.map(|time| builder.arg(&own.join("timeout"), time)),
        });
    }
    views
}
