//! What a site serves: applications, files, other servers.

use std::collections::BTreeMap;

use askama::Template;

use super::builder::Builder;
use super::daemons::{GLOBAL, application_group, import_view};
use super::raw::Place;
use super::view::{
    AppScript, AppView, Grant, HealthView, Line, OptionView, RawView, SiteView, StaticView, UpstreamView,
};
use super::{files, python, settings};
use crate::diagnostic::{Code, Diagnostic};
use crate::directives;
use crate::document::Path;
use crate::quote;
use crate::spec::{App, Daemon, HealthBy, Name, Site, Static, UrlPath};

/// What a list of processes calls Apache's own.
const EMBEDDED: &str = "embedded";

pub(super) fn view(builder: &mut Builder<'_>, name: &Name, site: &Site, raws: &[(Place, RawView)]) -> SiteView {
    let key = Path::of(["sites", name.as_str()]);
    check_paths(builder, site, &key);
    let place =
        |wanted: &Place| raws.iter().filter(|(place, _)| place == wanted).map(|(_, view)| view.clone()).collect();
    SiteView {
        start: place(&Place::SiteStart(name.to_string())),
        end: place(&Place::SiteEnd(name.to_string())),
        lines: lines(builder, site, &key),
        health: health(builder, site, &key),
        statics: statics(builder, site, &key),
        upstreams: upstreams(builder, site, &key),
        apps: apps(builder, name, site, &key, raws),
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
    lines.extend(restrict(builder, &site.restrict_process, &key.join("restrict-process")));
    lines
}

/// The only processes that requests may reach.
fn restrict(builder: &mut Builder<'_>, names: &[Name], key: &Path) -> Option<Line> {
    if names.is_empty() {
        return None;
    }
    let mut args = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let own = key.join(index);
        if name.as_str() == EMBEDDED {
            args.push(builder.arg(&own, GLOBAL));
        } else {
            daemon(builder, name, &own);
            args.push(builder.arg(&own, name));
        }
    }
    Some(Line::quoted("WSGIRestrictProcess", args))
}

/// A daemon by its name; reports one that does not exist.
fn daemon<'a>(builder: &mut Builder<'a>, name: &Name, key: &Path) -> Option<&'a Daemon> {
    let spec = builder.spec;
    let found = spec.daemons.get(name);
    if found.is_none() {
        let diagnostic = Diagnostic::error(Code::Reference, format!("there is no daemon `{name}`"));
        let diagnostic = diagnostic.did_you_mean(name.as_str(), spec.daemons.keys().map(Name::as_str));
        let names: Vec<&str> = spec.daemons.keys().map(Name::as_str).collect();
        let diagnostic = match names.is_empty() {
            true => diagnostic.help(format!("define it: `daemons: {{{name}: {{}}}}`")),
            false => diagnostic.note(format!("daemons: {}", names.join(", "))),
        };
        builder.report(key, "", diagnostic);
    }
    found
}

fn health(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Option<HealthView> {
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
    Some(HealthView {
        block: builder.origins.block(&own),
        path: builder.arg(&own.join("path"), &health.path),
        location: builder.arg(&own.join("path"), quote::literal(health.path.as_str())),
        file: builder.arg(&own, format!("{directory}/ok")),
        directory: builder.arg(&own, quote::literal(&directory)),
    })
}

/// Whether a path is at or below a mount.
fn within(path: &str, mount: &str) -> bool {
    let mount = mount.trim_end_matches('/');
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Longer paths come first: httpd takes the first that fits.
fn longest_first<K: AsRef<str> + Ord, V>(map: &BTreeMap<K, V>) -> Vec<(&K, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_ref().trim_end_matches('/').len()));
    entries
}

fn statics(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Vec<StaticView> {
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
        views.push(StaticView {
            block: builder.origins.block(&own),
            root: mount == "/" && only.is_none(),
            path: builder.arg(&own, mount),
            location: builder.arg(&own, quote::literal(mount)),
            target: builder.arg(&target_key, target),
            directory: builder.arg(&target_key, quote::literal(&directory)),
            only: only.map(|name| builder.arg(&target_key, quote::literal(&name))),
            listing: files.listing,
            cache: files.cache.map(|time| builder.arg(&own.join("cache"), time)),
            compress: files.compress,
        });
    }
    views
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
fn split(path: &str) -> (&str, &str) {
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

fn apps(builder: &mut Builder<'_>, name: &Name, site: &Site, key: &Path, raws: &[(Place, RawView)]) -> Vec<AppView> {
    let base = key.join("apps");
    let mut ordered = longest_first(&site.apps);
    // A regular expression has no length to go by; it comes before the plain paths, which would swallow what it means.
    ordered.sort_by_key(|(path, _)| path.regex().is_none());
    let mut views = Vec::new();
    for (path, app) in ordered {
        let own = base.join(path.as_str());
        let raw = raws
            .iter()
            .filter(|(place, _)| *place == Place::App(name.to_string(), path.to_string()))
            .map(|(_, view)| view.clone())
            .collect();
        if let Some(view) = app_view(builder, name, site, path, app, &own, raw) {
            views.push(view);
        }
    }
    views
}

fn app_view(
    builder: &mut Builder<'_>,
    site_name: &Name,
    site: &Site,
    path: &UrlPath,
    app: &App,
    key: &Path,
    raw: Vec<RawView>,
) -> Option<AppView> {
    let group = app.daemon.as_ref().and_then(|name| daemon(builder, name, &key.join("daemon")));
    let (script, script_key, directory) = script(builder, site_name, path, app, group, key)?;
    for (index, import) in app.import.iter().enumerate() {
        files::check(builder, import, files::Wanted::File, &key.join("import").join(index));
    }
    let process_group = app.daemon.as_ref().map_or(GLOBAL, |name| name.as_str());
    let (daemon_key, interpreter_key) = (key.join("daemon"), key.join("interpreter"));
    let mut options = Vec::new();
    let mut lines = Vec::new();
    if app.preload {
        options.push(OptionView { name: "process-group", value: builder.arg(&daemon_key, process_group) });
        options.push(OptionView {
            name: "application-group",
            value: builder.arg(&interpreter_key, application_group(&app.interpreter)),
        });
    } else {
        lines.push(Line::quoted("WSGIProcessGroup", [builder.arg(&daemon_key, process_group)]));
        lines.push(Line::quoted(
            "WSGIApplicationGroup",
            [builder.arg(&interpreter_key, application_group(&app.interpreter))],
        ));
    }
    if let Some(callable) = app.callable.as_ref().filter(|_| app.module.is_none()) {
        options.push(OptionView { name: "callable-object", value: builder.arg(&key.join("callable"), callable) });
    }
    let outer: Vec<(&UrlPath, &App)> = match path.regex() {
        // Whatever it means may lie within any of the others.
        Some(_) => site.apps.iter().filter(|(other, _)| other.regex().is_none()).collect(),
        None => site
            .apps
            .iter()
            .filter(|(other, _)| other.regex().is_none() && *other != path && within(path.as_str(), other.as_str()))
            .collect(),
    };
    lines.extend(location_lines(builder, site, app, group, &outer, key));
    lines.extend(restrict(builder, &app.restrict_process, &key.join("restrict-process")));
    let mut imports = Vec::new();
    for (index, import) in app.import.iter().enumerate() {
        imports.push(import_view(
            builder,
            &key.join("import").join(index),
            import.as_str(),
            process_group,
            &app.interpreter,
        ));
    }
    let regex = path.regex().is_some();
    let mount = path.regex().unwrap_or(path.as_str());
    let (folder, name) = split(&script);
    let (folder, only) = match directory {
        true => (script.trim_end_matches('/'), None),
        false => (folder, Some(name)),
    };
    // A target with `$1` in it is not known before a request comes; what it can become is opened.
    let (folder, only) = match script.find('$').filter(|_| regex) {
        Some(dollar) if dollar < folder.len() => (split(&script[..dollar]).0, None),
        Some(_) => (folder, only.map(references_as_wildcards)),
        None => (folder, only.map(quote::literal)),
    };
    Some(AppView {
        block: builder.origins.block(key),
        regex,
        path: builder.arg(key, mount),
        location: builder.arg(key, if regex { mount.to_owned() } else { quote::literal(mount) }),
        script: builder.arg(&script_key, &script),
        options,
        imports,
        grants: vec![Grant {
            directory: builder.arg(&script_key, quote::literal(if folder.is_empty() { "/" } else { folder })),
            only: only.map(|name| builder.arg(&script_key, name)),
        }],
        lines,
        raw,
    })
}

/// The names that a name with `$1` in it can become.
fn references_as_wildcards(name: &str) -> String {
    let mut pattern = String::new();
    let mut parts = name.split('$');
    pattern.push_str(&quote::literal(parts.next().unwrap_or_default()));
    for part in parts {
        let rest = part.strip_prefix(|character: char| character.is_ascii_digit());
        pattern.push_str(if rest.is_some() { "*" } else { "$" });
        pattern.push_str(&quote::literal(rest.unwrap_or(part)));
    }
    pattern
}

/// Directives of an application's location. What an application further out sets would hold here too, so it is set back.
fn location_lines(
    builder: &mut Builder<'_>,
    site: &Site,
    app: &App,
    group: Option<&Daemon>,
    outer: &[(&UrlPath, &App)],
    key: &Path,
) -> Vec<Line> {
    let daemon_of = |app: &App| app.daemon.as_ref().and_then(|name| builder.spec.daemons.get(name));
    let mut lines = Vec::new();
    for setting in settings::APP {
        let own = key.join(setting.key);
        if let Some(value) = (setting.value)(app, group) {
            lines.push(Line::bare(setting.directive, [builder.arg(&own, value)]));
        } else if outer.iter().any(|(_, other)| (setting.value)(other, daemon_of(other)).is_some())
            && let Some(default) = directives::directive(setting.directive).and_then(|entry| entry.default.as_deref())
        {
            lines.push(Line::bare(setting.directive, [builder.arg(&own, default)]));
        }
    }
    let env_key = key.join("env");
    let mut unset: Vec<&str> = Vec::new();
    for name in outer.iter().flat_map(|(_, other)| other.env.keys()) {
        if !app.env.contains_key(name) && !unset.contains(&name.as_str()) {
            unset.push(name.as_str());
        }
    }
    for name in unset {
        builder.modules.need("env");
        match site.env.iter().find(|(known, _)| known.as_str() == name) {
            Some((_, value)) => {
                lines.push(Line::quoted("SetEnv", [builder.arg(&env_key, name), builder.arg(&env_key, value)]))
            }
            None => lines.push(Line::quoted("UnsetEnv", [builder.arg(&env_key, name)])),
        }
    }
    for (variable, value) in settings::variables(&app.env) {
        builder.modules.need("env");
        let own = env_key.join(variable.as_str());
        lines.push(Line::quoted("SetEnv", [builder.arg(&own, &variable), builder.arg(&own, value)]));
    }
    lines
}

/// The script that is mounted, its key, and whether it is a directory of scripts.
fn script(
    builder: &mut Builder<'_>,
    site: &Name,
    path: &UrlPath,
    app: &App,
    group: Option<&Daemon>,
    key: &Path,
) -> Option<(String, Path, bool)> {
    match (&app.script, &app.module) {
        (Some(script), None) => {
            let own = key.join("script");
            let directory = script.as_str().ends_with('/');
            let dynamic = path.regex().is_some() && script.as_str().contains('$');
            if !dynamic {
                let wanted = if directory { files::Wanted::Directory } else { files::Wanted::File };
                files::check(builder, script, wanted, &own);
            }
            if path.regex().is_none() && path.as_str().len() > 1 && path.as_str().ends_with('/') != directory {
                let diagnostic =
                    Diagnostic::error(Code::Form, "the path and the script have to end in `/` both, or neither");
                builder.report(
                    &own,
                    "",
                    diagnostic.note(
                        "with `/` the script is a directory, and the next part of the URL names the script in it",
                    ),
                );
            }
            Some((script.as_str().to_owned(), own, directory))
        }
        (None, Some(reference)) => {
            let own = key.join("module");
            if app.callable.is_some() {
                builder.error(
                    Code::Conflict,
                    &key.join("callable"),
                    "`module` names the application already, after its colon",
                );
            }
            python::check_module(builder, reference, group, &own);
            let file = format!("apps/{}.wsgi", slug(site, path));
            let text = {
                let key = key.to_string();
                let (first, rest) = reference
                    .callable()
                    .split_once('.')
                    .map_or((reference.callable(), None), |(first, rest)| (first, Some(rest)));
                AppScript { key: &key, module: reference.module(), callable: reference.callable(), first, rest }
                    .render()
                    .unwrap_or_default()
            };
            builder.add_text(&file, text, &own);
            let target = builder.server_root.join(&file);
            Some((builder.path_text(&target, &own), own, false))
        }
        (Some(_), Some(_)) => {
            builder.error(Code::Conflict, &key.join("module"), "`script` and `module` exclude each other");
            None
        }
        (None, None) => {
            let diagnostic = Diagnostic::error(Code::Missing, "an application needs `script` or `module`");
            builder.report(
                key,
                "",
                diagnostic.help("add `script: /path/app.wsgi` or `module: package.module:callable`"),
            );
            None
        }
    }
}

/// The name of the file that loads a module's application: site and path, joined by a dash. Where that does not tell which is
/// which, because something in them was replaced or the path has a dash itself, a number keeps it apart from others.
fn slug(site: &Name, path: &UrlPath) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .map(
                |character| {
                    if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') { character } else { '-' }
                },
            )
            .collect()
    };
    let mount = path.as_str().trim_matches('/');
    let name = if mount.is_empty() { "root".to_owned() } else { plain(mount) };
    let base = format!("{}-{name}", plain(site.as_str()));
    let told =
        path.as_str() == "/" || (!name.contains('-') && name != "root" && path.as_str().len() == mount.len() + 1);
    if told && !site.as_str().contains(':') {
        return base;
    }
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{site} {path}").as_bytes());
    format!("{base}-{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
}
