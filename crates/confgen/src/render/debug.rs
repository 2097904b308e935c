//! One process that serves everything itself, for a debugger: what a spec becomes when `runtime.debug` asks for it.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{Daemon, EnvValue, MpmSettings, Name, Spec};

use super::tree;

/// What applications ask to find out in which mode they run; the names are those of mod_wsgi-express.
const DEBUG_MODE: &str = "MOD_WSGI_DEBUG_MODE";
const DEBUGGER_ENABLED: &str = "MOD_WSGI_DEBUGGER_ENABLED";

/// A spec without daemons, its keys still being those of the original.
pub(super) struct SingleProcess {
    pub(super) spec: Spec,
    /// What the process's environment has beside that of the spec.
    pub(super) environment: BTreeMap<String, String>,
    /// What could not be taken over.
    pub(super) warnings: Vec<Diagnostic>,
}

/// The spec for one process, if that is asked for.
pub(super) fn single_process(original: &Spec) -> Option<SingleProcess> {
    let debug = original.runtime.debugging()?;
    let mut single = SingleProcess { spec: original.clone(), environment: BTreeMap::new(), warnings: Vec::new() };
    single.environment.insert(DEBUG_MODE.to_owned(), "true".to_owned());
    if debug.debugger || debug.at_start {
        single.environment.insert(DEBUGGER_ENABLED.to_owned(), "true".to_owned());
    }
    let used: Vec<(&Name, &Daemon)> = original.daemons.iter().filter(|(name, _)| is_used(original, name)).collect();
    for (name, daemon) in &used {
        take_over(&mut single, name, daemon);
    }
    let model = &mut single.spec.model;
    model.daemons.clear();
    // One request at a time: two prompts on one terminal would share what is typed.
    model.server.mpm_settings = MpmSettings {
        start_servers: Some(1),
        threads_per_child: Some(1),
        max_request_workers: Some(1),
        ..MpmSettings::default()
    };
    let restrict = &mut model.runtime.restrict;
    (restrict.stdin, restrict.stdout, restrict.embedded) = (Some(false), Some(false), None);
    for site in model.sites.values_mut() {
        site.restrict_process.clear();
        for app in site.apps.values_mut() {
            app.daemon = None;
            app.restrict_process.clear();
            app.script_reloading = Some(false);
        }
        for handler in site.handlers.values_mut() {
            handler.daemon = None;
        }
    }
    Some(single)
}

fn is_used(spec: &Spec, name: &Name) -> bool {
    spec.sites.values().any(|site| {
        site.apps.values().any(|app| app.daemon.as_ref() == Some(name))
            || site.handlers.values().any(|handler| handler.daemon.as_ref() == Some(name))
    })
}

/// What a daemon gives to Python, the process now has.
fn take_over(single: &mut SingleProcess, name: &Name, daemon: &Daemon) {
    let key = Path::of(["daemons", name.as_str()]);
    let python = &mut single.spec.model.runtime.python;
    for path in daemon.home.iter().chain(&daemon.python_path) {
        if !python.path.contains(path) {
            python.path.push(path.clone());
        }
    }
    if let Some(home) = &daemon.python_home {
        match python.venv.as_ref().or(python.home.as_ref()) {
            None => python.home = Some(home.clone()),
            Some(other) if other == home => {}
            Some(other) => {
                let message = format!("`debug` has one process, and that runs the Python of {other}");
                warn(single, &key.join("python-home"), message);
            }
        }
    }
    single.spec.model.runtime.import.extend(daemon.import.iter().cloned());
    for (variable, locale) in [("LANG", &daemon.lang), ("LC_ALL", &daemon.locale)] {
        if let Some(locale) = locale {
            single.environment.insert(variable.to_owned(), locale.clone());
        }
    }
    for (variable, value) in &daemon.env {
        let own = key.join("env").join(variable.as_str());
        match value {
            EnvValue::Secret(_) => {
                let message =
                    format!("`debug` leaves the secret {} out: no file hands it to the process", variable.as_str());
                warn(single, &own, message);
            }
            EnvValue::Plain(value) => {
                let value = value.to_string();
                let earlier = single.environment.insert(variable.as_str().to_owned(), value.clone());
                if earlier.is_some_and(|earlier| earlier != value) {
                    let message =
                        format!("`debug` has one process, in which {} is that of `{name}`", variable.as_str());
                    warn(single, &own, message);
                }
            }
        }
    }
}

fn warn(single: &mut SingleProcess, key: &Path, message: String) {
    let span = tree::span(&single.spec.root, key);
    single.warnings.push(Diagnostic::warning(Code::Conflict, message).at(span, ""));
}
