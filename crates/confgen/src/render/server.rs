//! The httpd itself: its processes, listeners, logs, and the wsgi module.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::builder::Builder;
use super::raw::Place;
use super::settings;
use super::view::{AccessView, EndpointView, Line, LogsView, MimeTypes, RawView, RuntimeView, ServerView};
use super::{accounts, embedded, files};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Path, Value};
use crate::facts::venv_version;
use crate::httpd::SOCKET_PATH_LIMIT;
use crate::spec::{
    AccessFormat, AccessLog, Endpoint, EndpointAddress, Endpoints, KeepAlive, Layout, Level, LogLevels, LogTarget,
    ModuleChoice, Mpm, Spec,
};

/// Where requests come in unless the spec says so.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:8000";

/// What httpd appends to the prefix of sockets, at most.
const SOCKET_SUFFIX: usize = 24;

const COMBINED: &str = r#"%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#;
const COMMON: &str = r#"%h %l %u %t "%r" %>s %b"#;
const JSON: &str = concat!(
    r#"{"time":"%{%Y-%m-%dT%H:%M:%S%z}t","client":"%a","user":"%u","method":"%m","path":"%U","query":"%q","status":%>s,"bytes":%B,"#,
    r#""micros":%D,"host":"%v","referer":"%{Referer}i","agent":"%{User-Agent}i"}"#
);
const DEV: &str = "%m %U%q %>s %{ms}Tms";

/// Listeners of one kind with their keys.
pub(super) fn endpoints(spec: &Spec, tls: bool) -> Vec<(Endpoint, Path)> {
    let listen = &spec.server.listen;
    let base = Path::of(["server", "listen"]);
    let (given, key) = match tls {
        true => (&listen.https, base.join("https")),
        false => (&listen.http, base.join("http")),
    };
    match given {
        Some(Endpoints::One(endpoint)) => vec![(endpoint.clone(), key)],
        Some(Endpoints::Several(endpoints)) => {
            endpoints.iter().enumerate().map(|(index, endpoint)| (endpoint.clone(), key.join(index))).collect()
        }
        None if !tls && listen.https.is_none() => {
            vec![(Endpoint::Address(EndpointAddress(DEFAULT_ENDPOINT.to_owned())), key)]
        }
        None => Vec::new(),
    }
}

/// The distinct ports of one kind, each with its key.
pub(super) fn ports(spec: &Spec, tls: bool) -> Vec<(u16, Path)> {
    let mut ports: Vec<(u16, Path)> = Vec::new();
    for (endpoint, key) in endpoints(spec, tls) {
        if let Some(port) = endpoint.port()
            && !ports.iter().any(|(known, _)| *known == port)
        {
            ports.push((port, key));
        }
    }
    ports
}

/// What can be said without looking at sites.
pub(super) fn check(builder: &mut Builder<'_>) {
    let spec = builder.spec;
    let layout_key = Path::of(["server", "layout"]);
    if !matches!(spec.server.layout, Layout::Auto | Layout::Single) {
        let diagnostic = Diagnostic::error(Code::NotSupported, "this layout is known, not supported yet");
        builder.report(&layout_key, "", diagnostic.help("use `single`"));
    }
    let http = Path::of(["server", "listen", "http"]);
    if spec.server.listen.https.is_none() && http.find(&spec.root).is_some_and(|node| node.value == Value::Null) {
        let diagnostic = Diagnostic::error(Code::Conflict, "`http: null` leaves no port to listen on");
        builder.report(&http, "", diagnostic.help("give `http` a port, or `server.listen.https` one"));
    }
    let mut seen: Vec<(Endpoint, bool)> = Vec::new();
    for tls in [false, true] {
        for (endpoint, key) in endpoints(spec, tls) {
            if !endpoint.is_valid() {
                builder.error(Code::Range, &key, "this is no address with a port from 1 to 65535");
                continue;
            }
            let port = endpoint.port().unwrap_or_default();
            let clash = seen.iter().find(|(other, _)| {
                other.port() == Some(port)
                    && (other.address() == endpoint.address()
                        || other.address().is_none()
                        || endpoint.address().is_none())
            });
            if let Some((_, other_tls)) = clash {
                let what = if *other_tls == tls { "is given twice" } else { "is used for http and https" };
                builder.error(Code::Conflict, &key, format!("the port {port} {what}"));
            }
            if port < builder.facts.start.lowest_port {
                let user = &builder.facts.start.user;
                let diagnostic = Diagnostic::error(Code::NeedsRoot, format!("`{user}` may not listen on port {port}"));
                let lowest = builder.facts.start.lowest_port;
                builder.report(&key, "", diagnostic.help(format!("start as root, or use a port from {lowest} up")));
            }
            seen.push((endpoint, tls));
        }
    }
    if spec.server.log.world_readable && spec.server.log.to != LogTarget::Files {
        let key = Path::of(["server", "log", "world-readable"]);
        let diagnostic = Diagnostic::error(
            Code::Conflict,
            "`world-readable` is about the folder `logs`, which these logs are not in",
        );
        builder.report(&key, "", diagnostic.help("leave it out, or write the logs `to: files`"));
    }
    if let LogTarget::At(log) = &spec.server.log.to {
        let key = Path::of(["server", "log", "to", "at"]);
        for (name, file) in [("error", &log.error), ("access", &log.access)] {
            if builder.check_files && file.as_path().parent().is_some_and(|parent| !parent.is_dir()) {
                builder.error(
                    Code::MissingFile,
                    &key.join(name),
                    format!("the directory of the log {file} does not exist"),
                );
            }
        }
    }
    if spec.runtime.python.home.is_some() && spec.runtime.python.venv.is_some() {
        builder.error(Code::Conflict, &Path::of(["runtime", "python", "home"]), "`home` and `venv` exclude each other");
    }
}

/// The multi-processing module.
pub(super) fn mpm(builder: &mut Builder<'_>) -> Mpm {
    let installed: Vec<Mpm> = builder.facts.httpd.mpms.iter().filter_map(|name| Mpm::from_name(name)).collect();
    let key = Path::of(["server", "mpm"]);
    let wanted = builder.spec.server.mpm;
    if wanted == Mpm::Auto {
        return [Mpm::Event, Mpm::Worker, Mpm::Prefork].into_iter().find(|mpm| installed.contains(mpm)).unwrap_or_else(
            || {
                builder.error(Code::NotInstalled, &key, "httpd has no multi-processing module");
                Mpm::Event
            },
        );
    }
    if !installed.contains(&wanted) {
        let names: Vec<&str> = installed.iter().map(|mpm| mpm.name()).collect();
        builder.error(
            Code::NotInstalled,
            &key,
            format!("httpd has no MPM `{}`; it has {}", wanted.name(), names.join(", ")),
        );
    }
    wanted
}

/// The file of the wsgi module.
pub(super) fn wsgi_module(builder: &mut Builder<'_>) -> PathBuf {
    let key = Path::of(["runtime", "module"]);
    let (found, what) = match &builder.spec.runtime.module {
        ModuleChoice::Auto => {
            (builder.facts.wsgi.module.clone(), "our module (mod_wsgi_rs.so) was not found beside confgen")
        }
        ModuleChoice::ModWsgi => (builder.facts.wsgi.mod_wsgi.clone(), "the C module (mod_wsgi.so) was not found"),
        ModuleChoice::Path(path) => {
            let path = PathBuf::from(path);
            if builder.check_files && !path.is_file() {
                builder.error(Code::MissingFile, &key, format!("there is no file {}", path.display()));
            }
            (Some(path), "")
        }
    };
    found.unwrap_or_else(|| {
        let diagnostic = Diagnostic::error(Code::NoModule, what);
        let diagnostic = match builder.spec.runtime.module {
            ModuleChoice::ModWsgi => diagnostic.help("name it with the variable CONFGEN_MOD_WSGI, or install it"),
            _ => diagnostic.help("`make build` puts it beside confgen, in target/dist"),
        };
        builder.report(&key, "", diagnostic);
        PathBuf::new()
    })
}

/// The user that serves requests.
pub(super) fn serving_user(builder: &mut Builder<'_>) -> String {
    let spec = builder.spec;
    let key = Path::of(["server", "user"]);
    match (&spec.server.group, &spec.server.user) {
        (Some(group), _) => accounts::group(builder, group, &Path::of(["server", "group"])),
        (None, Some(user)) => drop(accounts::group_of(builder, user, &key)),
        (None, None) => {}
    }
    match &spec.server.user {
        Some(user) => {
            accounts::user(builder, user, &key);
            user.as_str().to_owned()
        }
        None if !builder.facts.starts_as_root() => builder.facts.start.user.clone(),
        None => builder.facts.start.web_user.clone().unwrap_or_else(|| {
            let diagnostic = Diagnostic::error(
                Code::ServesAsRoot,
                "httpd is started as root, and there is no user for it to serve as",
            );
            builder.report(&key, "", diagnostic.help("name an unprivileged user with `server.user`"));
            String::new()
        }),
    }
}

pub(super) fn view(builder: &mut Builder<'_>, mpm: Mpm, serving_user: &str, raws: &[(Place, RawView)]) -> ServerView {
    let spec = builder.spec;
    let key = Path::of(["server"]);
    let root = builder.server_root.clone();
    let root = builder.path_text(&root, &key);
    let as_root = builder.facts.starts_as_root();
    let user = as_root.then(|| builder.arg(&key.join("user"), serving_user));
    let group = as_root.then(|| {
        let group = spec.server.group.as_ref().map(|group| group.as_str().to_owned());
        let group = group.or_else(|| builder.facts.group_of(serving_user)).unwrap_or_else(|| serving_user.to_owned());
        builder.arg(&key.join("group"), group)
    });
    let listen_key = key.join("listen");
    let mut listen = Vec::new();
    for tls in [false, true] {
        for (endpoint, key) in endpoints(spec, tls) {
            let address = match (endpoint.address(), endpoint.port().unwrap_or_default()) {
                (None, port) => port.to_string(),
                (Some(address), port) => format!("{address}:{port}"),
            };
            listen.push(EndpointView { address: builder.arg(&key, address), tls });
        }
    }
    let place =
        |wanted: &Place| raws.iter().filter(|(place, _)| place == wanted).map(|(_, view)| view.clone()).collect();
    ServerView {
        block: builder.origins.block(&key),
        root: builder.arg(&key, &root),
        name: builder.arg(&key.join("server-name"), server_name(spec)),
        user,
        group,
        lines: lines(builder),
        listen_block: builder.origins.block(&listen_key),
        listen,
        mpm_block: builder.origins.block(&key.join("mpm")),
        mpm_lines: mpm_lines(builder, mpm),
        types: types(builder, &root),
        tls: spec.sites.values().any(|site| site.tls.is_some()),
        log_block: builder.origins.block(&key.join("log")),
        start: place(&Place::ServerStart),
        end: place(&Place::ServerEnd),
    }
}

/// The name that httpd gives for itself.
pub(super) fn server_name(spec: &Spec) -> &str {
    spec.server.server_name.as_ref().map_or("localhost", |name| name.as_str())
}

fn lines(builder: &mut Builder<'_>) -> Vec<Line> {
    let spec = builder.spec;
    let server = &spec.server;
    let key = Path::of(["server"]);
    let mut lines = Vec::new();
    if let Some(timeout) = server.timeout {
        lines.push(Line::bare("Timeout", [builder.arg(&key.join("timeout"), timeout)]));
    }
    let keep = key.join("keep-alive");
    match server.keep_alive {
        Some(KeepAlive::Switch(on)) => lines.push(Line::bare("KeepAlive", [builder.arg(&keep, settings::switch(on))])),
        Some(KeepAlive::Idle(time)) => {
            lines.push(Line::bare("KeepAlive", [builder.arg(&keep, settings::switch(time.0 > 0))]));
            if time.0 > 0 {
                lines.push(Line::bare("KeepAliveTimeout", [builder.arg(&keep, time)]));
            }
        }
        None => {}
    }
    if let Some(requests) = server.max_keep_alive_requests {
        lines.push(Line::bare("MaxKeepAliveRequests", [builder.arg(&key.join("max-keep-alive-requests"), requests)]));
    }
    lines.extend(read_timeout(builder));
    if server.listen.proxy_protocol {
        builder.modules.need("remoteip");
        let on = builder.arg(&key.join("listen").join("proxy-protocol"), settings::switch(true));
        lines.push(Line::bare("RemoteIPProxyProtocol", [on]));
    }
    lines.push(Line::bare("TraceEnable", [builder.arg(&key.join("trace"), settings::switch(server.trace))]));
    lines.push(Line::bare("ServerTokens", [builder.arg(&key.join("server-tokens"), server.server_tokens.name())]));
    lines
}

/// Slow requests are given up, unless that is not wanted or httpd lacks the module.
fn read_timeout(builder: &mut Builder<'_>) -> Option<Line> {
    let key = Path::of(["server", "request-read-timeout"]);
    let wanted = builder.spec.server.request_read_timeout;
    if wanted == Some(false) {
        // The module has limits of its own, which a site's `limits` would bring in.
        let loaded = builder.modules.names().any(|name| name == "reqtimeout");
        return loaded
            .then(|| Line::bare("RequestReadTimeout", [builder.arg(&key, "header=0"), builder.arg(&key, "body=0")]));
    }
    if builder.facts.module_file("reqtimeout").is_none() && wanted.is_none() {
        return None;
    }
    builder.modules.need("reqtimeout");
    let limits = ["header=20-40,MinRate=500", "body=20,MinRate=500"];
    Some(Line::bare("RequestReadTimeout", limits.map(|limit| builder.arg(&key, limit))))
}

fn mpm_lines(builder: &mut Builder<'_>, mpm: Mpm) -> Vec<Line> {
    let key = Path::of(["server", "mpm-settings"]);
    let mut lines = Vec::new();
    for setting in settings::MPM {
        let Some(value) = (setting.value)(&builder.spec.server.mpm_settings) else { continue };
        let own = key.join(setting.key);
        match setting.mpms.contains(&mpm) {
            true => lines.push(Line::bare(setting.directive, [builder.arg(&own, value)])),
            // What a debugger needs is no key of the spec.
            false if own.find(&builder.spec.root).is_none() => {}
            false => builder.warn(
                Code::Conflict,
                &own,
                format!("the MPM `{}` has no `{}`; it is left out", mpm.name(), setting.key),
            ),
        }
    }
    lines
}

/// The system's list of MIME types, or one of ours in the tree.
fn types(builder: &mut Builder<'_>, root: &str) -> super::origin::Arg {
    use askama::Template;
    let key = Path::of(["server"]);
    if let Some(types) = builder.facts.mime_types.clone() {
        let text = builder.path_text(&types, &key);
        return builder.arg(&key, text);
    }
    let text = MimeTypes.render().unwrap_or_default();
    builder.add_text("mime.types", text, &key);
    builder.arg(&key, format!("{root}/mime.types"))
}

/// The error log, when it is a file.
pub(super) fn error_log_file(builder: &Builder<'_>) -> Option<PathBuf> {
    let log = &builder.spec.server.log;
    match (&log.to, &log.rotate) {
        (_, Some(_)) | (LogTarget::Terminal, _) => None,
        (LogTarget::Files, None) => Some(builder.server_root.join("logs/error.log")),
        (LogTarget::At(files), None) => Some(files.error.as_path().to_owned()),
    }
}

pub(super) fn logs(builder: &mut Builder<'_>) -> LogsView {
    let log = &builder.spec.server.log;
    let key = Path::of(["server", "log"]);
    let (to, level, access_key) = (key.join("to"), key.join("level"), key.join("access"));
    let root = builder.server_root.display().to_string();
    let (error, access) = match &log.to {
        LogTarget::Files => (format!("{root}/logs/error.log"), format!("{root}/logs/access.log")),
        LogTarget::Terminal => ("/dev/stderr".to_owned(), "/dev/stdout".to_owned()),
        LogTarget::At(files) => (files.error.to_string(), files.access.to_string()),
    };
    let (error, access) = match &log.rotate {
        Some(rotate) => (
            rotated(builder, &error, rotate.size.0, rotate.keep),
            rotated(builder, &access, rotate.size.0, rotate.keep),
        ),
        None => (error, access),
    };
    let mut levels = Vec::new();
    match &log.level {
        None => {
            levels.push(builder.arg(&level, Level::Warn.name()));
            levels.push(builder.arg(&level, format!("wsgi:{}", Level::Info.name())));
        }
        Some(LogLevels::All(one)) => levels.push(builder.arg(&level, one.name())),
        Some(LogLevels::ByModule(by_module)) => {
            let default = by_module
                .iter()
                .find(|(module, _)| module.as_str() == "default")
                .map_or(Level::Warn, |(_, level)| *level);
            levels.push(builder.arg(&level.join("default"), default.name()));
            for (module, one) in by_module.iter().filter(|(module, _)| module.as_str() != "default") {
                levels.push(builder.arg(&level.join(module.as_str()), format!("{module}:{}", one.name())));
            }
        }
    }
    let format = match &log.access {
        None | Some(AccessLog::Named(AccessFormat::Combined)) => Some(COMBINED.to_owned()),
        Some(AccessLog::Named(AccessFormat::Off)) => None,
        Some(AccessLog::Named(AccessFormat::Common)) => Some(COMMON.to_owned()),
        Some(AccessLog::Named(AccessFormat::Json)) => Some(JSON.to_owned()),
        Some(AccessLog::Named(AccessFormat::Dev)) => Some(DEV.to_owned()),
        Some(AccessLog::Custom(custom)) => Some(custom.format.clone()),
    };
    let access_key = match &log.access {
        Some(AccessLog::Custom(_)) => access_key.join("format"),
        _ => access_key,
    };
    if format.as_deref().is_some_and(|format| format.contains("%I") || format.contains("%O") || format.contains("%S")) {
        builder.modules.need("logio");
    }
    LogsView {
        error: builder.arg(&to, error),
        levels,
        access: format
            .map(|format| AccessView { target: builder.arg(&to, access), format: builder.arg(&access_key, format) }),
    }
}

/// A log that goes through httpd's own program for rotation.
fn rotated(builder: &mut Builder<'_>, file: &str, size: u64, keep: u32) -> String {
    let key = Path::of(["server", "log", "rotate"]);
    let Some(program) = builder.facts.httpd.rotatelogs.clone() else {
        builder.error(Code::NotInstalled, &key, "httpd's program `rotatelogs` was not found");
        return String::new();
    };
    if builder.spec.server.log.to == LogTarget::Terminal {
        builder.error(Code::Conflict, &key, "a log on the terminal cannot be rotated");
    }
    let program = builder.path_text(&program, &key);
    if [file, program.as_str()].iter().any(|path| path.contains([' ', '"', '\'', '\\', '$', '%'])) {
        builder.error(
            Code::Form,
            &key,
            "a rotated log cannot have blanks, quotes, backslashes, `$` or `%` in its path",
        );
    }
    // rotatelogs wants whole kilobytes, and rotates the file itself plus so many numbered ones.
    format!("|{program} -n {keep} {file} {}K", size.div_ceil(1024).max(1))
}

/// Whether connections to the server begin with a header of the PROXY protocol.
pub(super) fn proxy_protocol(spec: &Spec) -> bool {
    let turns_on = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("RemoteIPProxyProtocol"))
            && words.next().is_some_and(|word| word.eq_ignore_ascii_case("On"))
    };
    spec.server.listen.proxy_protocol || spec.raw.iter().any(|raw| raw.text.lines().any(turns_on))
}

/// The environment that httpd is started with.
pub(super) fn environment(spec: &Spec) -> BTreeMap<String, String> {
    spec.server.environment.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_string())).collect()
}

pub(super) fn runtime(builder: &mut Builder<'_>, module: &std::path::Path) -> RuntimeView {
    let spec = builder.spec;
    let key = Path::of(["runtime"]);
    let module_text = builder.path_text(module, &key.join("module"));
    let mut lines = Vec::new();
    // Lines of one's own may define daemons too; httpd's runtime folder is often not there.
    let own_daemons = spec.raw.iter().any(|raw| raw.text.contains("WSGIDaemonProcess"));
    if !spec.daemons.is_empty() || own_daemons || spec.runtime.socket_prefix.is_some() {
        let prefix_key = key.join("socket-prefix");
        let prefix = match &spec.runtime.socket_prefix {
            Some(prefix) => prefix.as_str().to_owned(),
            None => {
                let prefix = builder.server_root.join("run/wsgi");
                builder.path_text(&prefix, &prefix_key)
            }
        };
        if prefix.len() + SOCKET_SUFFIX > SOCKET_PATH_LIMIT {
            let diagnostic = Diagnostic::error(
                Code::SocketPath,
                format!("sockets below {prefix} would have paths longer than {SOCKET_PATH_LIMIT} bytes"),
            );
            builder.report(
                &prefix_key,
                "",
                diagnostic.help("use a shorter directory for the server, or set `runtime.socket-prefix`"),
            );
        }
        lines.push(Line::quoted("WSGISocketPrefix", [builder.arg(&prefix_key, prefix)]));
    }
    for setting in settings::GLOBAL {
        let own = setting.key.iter().fold(Path::root(), |path, key| path.join(*key));
        for value in (setting.values)(spec) {
            lines.push(Line::quoted(setting.directive, [builder.arg(&own, value)]));
        }
    }
    if let Some(line) = embedded::opened_by_raw(spec) {
        let message = "this line needs Python in Apache's own processes: `WSGIRestrictEmbedded` is not set";
        let diagnostic = Diagnostic::warning(Code::EmbeddedByRaw, message);
        let help =
            "give it a daemon (`process-group=NAME`), or say that it is meant: `runtime.restrict.embedded: false`";
        builder.report(&line, "", diagnostic.help(help));
    }
    lines.extend(telemetry(builder));
    check_python(builder);
    RuntimeView { block: builder.origins.block(&key), module: builder.arg(&key.join("module"), module_text), lines }
}

/// Where processes report to, with its option.
fn telemetry(builder: &Builder<'_>) -> Option<Line> {
    let telemetry = builder.spec.runtime.telemetry.as_ref()?;
    let key = Path::of(["runtime", "telemetry"]);
    let mut args = vec![builder.arg(&key.join("service"), &telemetry.service)];
    args.extend(telemetry.interval.map(|interval| builder.arg(&key.join("interval"), format!("interval={interval}"))));
    Some(Line::quoted("WSGITelemetryService", args))
}

fn check_python(builder: &mut Builder<'_>) {
    let spec = builder.spec;
    let key = Path::of(["runtime", "python"]);
    let python = &spec.runtime.python;
    for (index, path) in python.path.iter().enumerate() {
        files::no_colon(builder, path, &key.join("path").join(index));
    }
    for (name, home) in [("venv", &python.venv), ("home", &python.home)] {
        let Some(home) = home else { continue };
        let own = key.join(name);
        check_home(builder, home, &own, python.version.as_ref().map(|version| version.as_str()));
        if name == "venv"
            && builder.check_files
            && home.as_path().is_dir()
            && !home.as_path().join("pyvenv.cfg").is_file()
        {
            let diagnostic =
                Diagnostic::error(Code::MissingFile, format!("{home} is no virtual environment: it has no pyvenv.cfg"));
            builder.report(&own, "", diagnostic.help("use `home` for an installation's prefix"));
        }
    }
    if let Some(version) = &python.version {
        check_version(builder, version.as_str(), &key.join("version"));
    }
}

/// A Python home has to be there, and its version has to have an engine.
pub(super) fn check_home(builder: &mut Builder<'_>, home: &crate::spec::FilePath, key: &Path, version: Option<&str>) {
    if !files::check(builder, home, files::Wanted::Directory, key) || version.is_some() {
        return;
    }
    if let Some(version) = venv_version(home.as_path()) {
        check_version(builder, &version, key);
    }
}

/// A version of Python has to have an engine beside the module. The C module has one built in, which nobody can ask.
pub(super) fn check_version(builder: &mut Builder<'_>, version: &str, key: &Path) {
    let engines = &builder.facts.wsgi.daemons;
    if builder.spec.runtime.module != ModuleChoice::Auto
        || engines.is_empty()
        || engines.iter().any(|engine| engine == version)
    {
        return;
    }
    let message = format!("there is no engine for Python {version}; installed: {}", engines.join(", "));
    builder.error(Code::NotInstalled, key, message);
}
