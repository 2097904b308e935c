//! Groups of daemon processes.

use std::collections::BTreeSet;
use std::fmt::Write;

use askama::Template;

use super::builder::Builder;
use super::settings;
use super::view::{DaemonView, ImportView, Monitor, OptionView};
use super::{accounts, files, secrets, server};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Node, Path, Value};
use crate::spec::{Daemon, Interpreter, Name, Reload};

/// Apache's own processes, or the first interpreter of a process.
pub(super) const GLOBAL: &str = "%{GLOBAL}";

/// What stands for an interpreter in httpd's language.
pub(super) fn application_group(interpreter: &Interpreter) -> &str {
    match interpreter {
        Interpreter::Main => GLOBAL,
        Interpreter::Resource => "%{RESOURCE}",
        Interpreter::Named(name) => name,
    }
}

pub(super) fn views(builder: &mut Builder<'_>) -> Vec<DaemonView> {
    let spec = builder.spec;
    spec.daemons.iter().map(|(name, daemon)| view(builder, name, daemon)).collect()
}

/// Warns of daemons that nothing is sent to.
pub(super) fn check_used(builder: &mut Builder<'_>) {
    let spec = builder.spec;
    let mut named = BTreeSet::new();
    for part in ["sites", "runtime"] {
        spec.root.get(part).into_iter().for_each(|node| names_of_daemons(node, &mut named));
    }
    for (name, daemon) in &spec.daemons {
        let word = |text: &str| text.split(|c: char| !is_of_name(c)).any(|word| word == name.as_str());
        // A group that is chosen for each request has its names in variables.
        let dynamic = |text: &str| text.contains("process-group=%{") || text.contains("WSGIProcessGroup %{");
        let used = named.contains(name.as_str())
            || !daemon.import.is_empty()
            || spec.raw.iter().any(|raw| word(&raw.text) || dynamic(&raw.text));
        if !used {
            let diagnostic = Diagnostic::warning(Code::UnusedDaemon, format!("nothing is sent to the daemon `{name}`"));
            let help = format!("give an application `daemon: {name}`, or remove the daemon");
            builder.report(&Path::of(["daemons", name.as_str()]), "", diagnostic.help(help));
        }
    }
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.:-".contains(character)
}

/// The names that stand at keys called `daemon`.
fn names_of_daemons<'n>(node: &'n Node, into: &mut BTreeSet<&'n str>) {
    match &node.value {
        Value::Map(map) => {
            for entry in &map.entries {
                match &entry.value.value {
                    Value::String(name) if entry.key == "daemon" => drop(into.insert(name)),
                    _ => names_of_daemons(&entry.value, into),
                }
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| names_of_daemons(item, into)),
        _ => {}
    }
}

fn view(builder: &mut Builder<'_>, name: &Name, daemon: &Daemon) -> DaemonView {
    let key = Path::of(["daemons", name.as_str()]);
    check(builder, daemon, &key);
    let mut options = Vec::new();
    for setting in settings::DAEMON {
        if let Some(value) = (setting.value)(daemon) {
            let own = setting.key.iter().fold(key.clone(), |path, key| path.join(*key));
            options.push(OptionView { name: setting.option, value: builder.arg(&own, value) });
        }
        // Without a group the processes would have Apache's, and with it what Apache may read.
        if setting.option == "user"
            && daemon.group.is_none()
            && let Some(user) = &daemon.user
            && let Some(group) = accounts::group_of(builder, user, &key.join("user"))
        {
            options.push(OptionView { name: "group", value: builder.arg(&key.join("user"), group) });
        }
    }
    for (variable, value) in settings::plain_variables(daemon) {
        let own = key.join("env").join(variable);
        options.push(OptionView { name: settings::SETENV, value: builder.arg(&own, format!("{variable}={value}")) });
    }
    if let Some(file) = secrets::of_daemon(builder, name, daemon, &key) {
        options.push(OptionView { name: settings::ENVIRONMENT_FILE, value: builder.arg(&key.join("env"), file) });
    }
    DaemonView { block: builder.origins.block(&key), name: builder.arg(&key, name), options }
}

fn check(builder: &mut Builder<'_>, daemon: &Daemon, key: &Path) {
    for (name, account) in [("user", &daemon.user), ("socket-user", &daemon.socket_user)] {
        if let Some(account) = account {
            accounts::user(builder, account, &key.join(name));
        }
    }
    if let Some(group) = &daemon.group {
        accounts::group(builder, group, &key.join("group"));
    }
    for (index, group) in daemon.supplementary_groups.iter().enumerate() {
        accounts::group(builder, group, &key.join("supplementary-groups").join(index));
    }
    if let Some(chroot) = &daemon.chroot {
        accounts::needs_root(builder, &key.join("chroot"), "changing the root directory", false);
        files::check(builder, chroot, files::Wanted::Directory, &key.join("chroot"));
    }
    if let Some(home) = &daemon.home {
        files::check(builder, home, files::Wanted::Directory, &key.join("home"));
    }
    if let Some(home) = &daemon.python_home {
        server::check_home(
            builder,
            home,
            &key.join("python-home"),
            daemon.python.as_ref().map(|version| version.as_str()),
        );
    }
    if let Some(version) = &daemon.python {
        server::check_version(builder, version.as_str(), &key.join("python"));
    }
    for (index, path) in daemon.python_path.iter().enumerate() {
        let own = key.join("python-path").join(index);
        files::no_colon(builder, path, &own);
        if builder.check_files
            && std::fs::metadata(path.as_path()).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            builder.warn(Code::MissingFile, &own, format!("there is no directory {path}; Python ignores it"));
        }
    }
    if let Some(file) = &daemon.environment_file {
        files::check(builder, file, files::Wanted::File, &key.join("environment-file"));
    }
    for (name, locale) in [("lang", &daemon.lang), ("locale", &daemon.locale)] {
        if let Some(locale) = locale
            && !builder.facts.locales.is_empty()
            && !builder.facts.has_locale(locale)
        {
            let mut list = String::new();
            for (index, known) in builder.facts.locales.iter().take(6).enumerate() {
                let _ = write!(list, "{}{known}", if index > 0 { ", " } else { "" });
            }
            let diagnostic = Diagnostic::warning(Code::NotInstalled, format!("the locale `{locale}` is not installed"));
            builder.report(&key.join(name), "", diagnostic.note(format!("installed: {list}")));
        }
    }
    for (one, other, set) in [
        (
            ["timeouts", "inactivity"],
            ["recycle", "idle"],
            daemon.timeouts.inactivity.is_some() && daemon.recycle.idle.is_some(),
        ),
        (
            ["timeouts", "restart-interval"],
            ["recycle", "interval"],
            daemon.timeouts.restart_interval.is_some() && daemon.recycle.interval.is_some(),
        ),
    ] {
        if set {
            let own = other.iter().fold(key.clone(), |path, key| path.join(*key));
            builder.error(
                Code::Conflict,
                &own,
                format!("`{}` and `{}` say the same thing", one.join("."), other.join(".")),
            );
        }
    }
    for (number, import) in daemon.import.iter().enumerate() {
        files::check(builder, &import.script, files::Wanted::File, &key.join("import").join(number).join("script"));
    }
}

/// Scripts that processes import when they start: those of Apache's own processes, then those of the daemons.
pub(super) fn imports(builder: &mut Builder<'_>) -> Vec<ImportView> {
    let spec = builder.spec;
    let mut views = Vec::new();
    let embedded = Path::of(["runtime", "import"]);
    for (index, import) in spec.runtime.import.iter().enumerate() {
        let key = embedded.join(index);
        files::check(builder, &import.script, files::Wanted::File, &key.join("script"));
        views.push(import_view(builder, &key, import.script.as_str(), GLOBAL, &import.interpreter));
    }
    for (name, daemon) in &spec.daemons {
        if daemon.reload == Reload::OnChange {
            views.extend(monitors(builder, name));
        }
        let base = Path::of(["daemons", name.as_str(), "import"]);
        for (index, import) in daemon.import.iter().enumerate() {
            views.push(import_view(
                builder,
                &base.join(index),
                import.script.as_str(),
                name.as_str(),
                &import.interpreter,
            ));
        }
    }
    views
}

/// The script that watches the modules, in every interpreter of the daemon's applications: each has modules of its own.
fn monitors(builder: &mut Builder<'_>, name: &Name) -> Vec<ImportView> {
    let spec = builder.spec;
    let key = Path::of(["daemons", name.as_str(), "reload"]);
    let apps = spec.sites.values().flat_map(|site| site.apps.values()).filter(|app| app.daemon.as_ref() == Some(name));
    let mut interpreters: Vec<&Interpreter> = Vec::new();
    for app in apps {
        if !interpreters.contains(&&app.interpreter) {
            interpreters.push(&app.interpreter);
        }
    }
    if interpreters.contains(&&Interpreter::Resource) {
        let message = "`reload: on-change` does not see the modules of interpreters that are made for each script";
        let diagnostic = Diagnostic::warning(Code::Conflict, message);
        builder.report(&key, "", diagnostic.help("give its applications an `interpreter` with a name, or `main`"));
        interpreters.retain(|interpreter| **interpreter != Interpreter::Resource);
    }
    if interpreters.is_empty() {
        return Vec::new();
    }
    let text = Monitor { key: "reload: on-change" }.render().unwrap_or_default();
    builder.add_text("reload/monitor.py", text, &key);
    let script = builder.server_root.join("reload/monitor.py");
    let script = builder.path_text(&script, &key);
    interpreters
        .into_iter()
        .map(|interpreter| import_view(builder, &key, &script, name.as_str(), interpreter))
        .collect()
}

pub(super) fn import_view(
    builder: &mut Builder<'_>,
    key: &Path,
    script: &str,
    process_group: &str,
    interpreter: &Interpreter,
) -> ImportView {
    if *interpreter == Interpreter::Resource {
        builder.error(Code::Conflict, key, "`resource` is no one interpreter that a script could be imported into");
    }
    ImportView {
        block: builder.origins.block(key),
        script: builder.arg(key, script),
        process_group: builder.arg(key, process_group),
        application_group: builder.arg(key, application_group(interpreter)),
    }
}
