//! A Python home that is none.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG215",
        title: "a Python home that is none",
        cause: "The home of Python is the folder that holds `bin` and `lib` (`sys.prefix`). With the path of the \
                interpreter or of site-packages Python does not find its library and does not start.",
        fix: "Name the folder above: that of the virtual environment, for example `/srv/shop/venv`.",
    }),
    name: "python-home-is-no-home",
    severity: Severity::Error,
    bad: "WSGIDaemonProcess a python-home=/srv/shop/venv/bin/python\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a python-home=/srv/shop/venv\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// The folder that a path below it was probably meant to name.
fn home_of(path: &str) -> Option<&str> {
    let path = path.trim_end_matches('/');
    let last = path.rsplit('/').next()?;
    if last.starts_with("python") && path.contains("/bin/") || last == "bin" && path.matches('/').count() > 1 {
        let home = path.split("/bin").next()?;
        return (!home.is_empty() && home != "/usr" || last != "bin").then_some(home);
    }
    (last == "site-packages" || last == "dist-packages").then(|| path.split("/lib").next()).flatten()
}

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let Some(home) = daemon.value("python-home").and_then(home_of) else { continue };
        let finding = Finding::new(input.daemon_statement(daemon), "`python-home=` names no home of Python");
        found.push(finding.option("python-home").help(format!("did you mean `{home}`?")));
    }
    for statement in input.named("WSGIPythonHome") {
        let path = statement.word(0).unwrap_or_default();
        if let Some(home) = home_of(&path) {
            let finding = Finding::new(statement, "`WSGIPythonHome` names no home of Python");
            found.push(finding.word(0).help(format!("did you mean `{home}`?")));
        }
    }
    found
}
