//! The applications of a site.

use askama::Template;

use super::access;
use super::builder::Builder;
use super::daemons::{GLOBAL, application_group, import_view};
use super::mounts::{Kind, Mounts, within};
use super::processes::{daemon, restrict};
use super::raw::Place;
use super::site::{longest_first, reset, split};
use super::view::{AppScript, AppView, DebugScript, Grant, Line, LocationView, OptionView, RawView};
use super::{files, python, settings};
use crate::diagnostic::{Code, Diagnostic};
use crate::directives;
use crate::document::Path;
use crate::quote;
use crate::spec::{App, Daemon, Name, Site, UrlPath};

/// The applications in the order in which httpd has to look for them, each with what holds below its path.
pub(super) fn views(
    builder: &mut Builder<'_>,
    name: &Name,
    site: &Site,
    mounts: &Mounts<'_>,
    key: &Path,
    raws: &[(Place, RawView)],
) -> Vec<(AppView, LocationView)> {
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
        if let Some((view, mut location)) = app_view(builder, name, site, path, app, &own, raw) {
            if path.regex().is_none() {
                location.lines.splice(..0, reset(builder, site, mounts, path.as_str(), Kind::App, &own));
            }
            views.push((view, location));
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
) -> Option<(AppView, LocationView)> {
    let group = app.daemon.as_ref().and_then(|name| daemon(builder, name, &key.join("daemon")));
    let (script, script_key, directory) = script(builder, site_name, path, app, group, key)?;
    // A script that is made for the application knows its callable already.
    let own_script = app.script.as_ref().is_some_and(|own| own.as_str() == script);
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
    if let Some(callable) = app.callable.as_ref().filter(|_| own_script) {
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
    lines.extend(access::lines(builder, app.access.as_ref(), app.auth.as_ref(), key));
    lines.extend(access::decider(builder, "WSGIDispatchScript", app.dispatch.as_ref(), &key.join("dispatch")));
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
    let location = LocationView {
        block: builder.origins.block(key),
        regex,
        length: path.as_str().trim_end_matches('/').len(),
        path: builder.arg(key, if regex { mount.to_owned() } else { quote::literal(mount) }),
        lines,
        raw,
    };
    let view = AppView {
        block: builder.origins.block(key),
        regex,
        path: builder.arg(key, mount),
        script: builder.arg(&script_key, &script),
        options,
        imports,
        grants: vec![Grant {
            directory: builder.arg(&script_key, quote::literal(if folder.is_empty() { "/" } else { folder })),
            only: only.map(|name| builder.arg(&script_key, name)),
        }],
    };
    Some((view, location))
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
            if directory || dynamic {
                if builder.spec.runtime.debugging().is_some_and(|debug| debug.debugger || debug.at_start) {
                    builder.warn(Code::Conflict, &own, "the debugger does not see to scripts that requests choose");
                }
            } else if builder.spec.runtime.debugging().is_some() {
                let callable = app.callable.as_ref().map_or("application", |callable| callable.as_str());
                let target = Debugged { script: Some(script.as_str()), module: "", callable };
                return Some(debug_script(builder, site, path, &target, &own));
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
            if builder.spec.runtime.debugging().is_some() {
                let target = Debugged { script: None, module: reference.module(), callable: reference.callable() };
                return Some(debug_script(builder, site, path, &target, &own));
            }
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

/// What is served under a debugger.
struct Debugged<'a> {
    script: Option<&'a str>,
    module: &'a str,
    callable: &'a str,
}

/// The script that serves an application under a debugger.
fn debug_script(
    builder: &mut Builder<'_>,
    site: &Name,
    path: &UrlPath,
    target: &Debugged<'_>,
    key: &Path,
) -> (String, Path, bool) {
    let debug = builder.spec.runtime.debugging().cloned().unwrap_or_default();
    // Python reads the text of a JSON string as the same string.
    let literal = |text: &str| serde_json::Value::from(text).to_string();
    let slug = slug(site, path);
    let original = builder.original;
    let daemon = original.sites.get(site).and_then(|site| original.daemons.get(site.apps.get(path)?.daemon.as_ref()?));
    let app_key = Path::of(["sites", site.as_str(), "apps", path.as_str()]).to_string();
    let text = DebugScript {
        key: &app_key,
        notice: literal(&format!("debugging {app_key}: changed code is loaded by a restart only")),
        home: daemon.and_then(|daemon| daemon.home.as_ref()).map(|home| literal(home.as_str())),
        name: literal(&format!("debugged {slug}")),
        script: target.script.map(literal),
        module: target.module,
        callable: target.callable,
        debugger: debug.debugger || debug.at_start,
        at_start: debug.at_start,
    };
    let file = format!("debug/{slug}.wsgi");
    let text = text.render().unwrap_or_default();
    builder.add_text(&file, text, key);
    let target = builder.server_root.join(&file);
    (builder.path_text(&target, key), key.clone(), false)
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
