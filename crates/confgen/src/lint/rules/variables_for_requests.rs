//! Variables that the process does not have.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG250",
        title: "variables that the process does not have",
        cause: "`SetEnv` gives values to requests (`environ`), not to the process (`os.environ`). Python and \
                frameworks read these names from the process, when they start.",
        fix: "Set them in the script, or for the group: `setenv=NAME=value` with mod_wsgi_rs.",
    }),
    name: "variables-for-requests",
    severity: Severity::Warning,
    bad: "SetEnv DJANGO_SETTINGS_MODULE shop.settings\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}",
    good: "# set in the script\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Names that are read from the process.
const OF_PROCESS: [&str; 14] = [
    "DJANGO_SETTINGS_MODULE",
    "DJANGO_CONFIGURATION",
    "FLASK_ENV",
    "FLASK_DEBUG",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONUNBUFFERED",
    "PYTHON_EGG_CACHE",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "DATABASE_URL",
    "TZ",
    "LANG",
    "LC_ALL",
];

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in input.named("SetEnv") {
        let Some(name) = statement.word(0) else { continue };
        let served: Vec<_> =
            input.mounts.iter().filter(|mount| statement.host == 0 || mount.host == statement.host).collect();
        if served.is_empty() {
            continue;
        }
        let asks = |text: &str| {
            ["environ[", "environ.get(", "getenv("]
                .iter()
                .any(|call| ['"', '\''].iter().any(|quote| text.contains(&format!("os.{call}{quote}{name}{quote}"))))
        };
        // A script that passes its requests' variables on knows what it does.
        let known = served.iter().any(|mount| {
            input
                .script(&mount.script)
                .is_some_and(|text| text.contains("os.environ[") && text.contains("environ.get(") && !asks(&text))
        });
        if (OF_PROCESS.contains(&name.as_ref()) && !known)
            || served.iter().any(|mount| input.script(&mount.script).is_some_and(|text| asks(&text)))
        {
            found.push(Finding::new(statement, format!("`{name}` is set for requests, not for the process")).word(0));
        }
    }
    found
}
