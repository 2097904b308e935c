//! Site-packages by the search path.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG216",
        title: "site-packages by the search path",
        cause: "The path of packages names the site-packages of an environment. Packages of the system are then \
                found before or between them, `.pth` files may not be read, and a new version of Python needs another \
                path.",
        fix: "Name the virtual environment with `python-home=`.",
    }),
    name: "site-packages-in-path",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a python-path=/srv/shop/venv/lib/python3.11/site-packages\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a python-home=/srv/shop/venv\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn environment_in(path: &str) -> Option<String> {
    let part = path.split(':').find(|part| part.trim_end_matches('/').ends_with("/site-packages"))?;
    let environment = part.rsplit_once("/lib")?.0;
    Some(environment.to_owned())
}

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let Some(environment) = daemon.value("python-path").and_then(environment_in) else { continue };
        let finding =
            Finding::new(input.daemon_statement(daemon), "`python-path=` names the site-packages of an environment");
        found.push(finding.option("python-path").help(format!("name the environment: `python-home={environment}`")));
    }
    for statement in input.named("WSGIPythonPath") {
        if let Some(environment) = environment_in(&statement.word(0).unwrap_or_default()) {
            let finding = Finding::new(statement, "`WSGIPythonPath` names the site-packages of an environment");
            found.push(finding.word(0).help(format!("name the environment: `WSGIPythonHome {environment}`")));
        }
    }
    found
}
