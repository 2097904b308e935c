//! Clients choose the names of interpreters.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG201",
        title: "clients choose the names of interpreters",
        cause: "The name of the interpreter holds the server's name or port (`%{RESOURCE}`, which is the default, \
                `%{SERVER}` or `%{HOST}`), and with `UseCanonicalName Off` these come from the request's Host header. \
                Each new name makes the process load the application once more.",
        fix: "Set `application-group=%{GLOBAL}` for the application, or give the interpreter a fixed name.",
    }),
    name: "default-interpreter",
    severity: Severity::Warning,
    bad: "WSGIScriptAlias / /srv/shop/app.wsgi",
    good: "WSGIScriptAlias / /srv/shop/app.wsgi application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mount in &input.mounts {
        let name = input.interpreter_of(mount);
        let by_request = ["%{RESOURCE}", "%{SERVER}", "%{HOST}"].iter().any(|token| name.contains(token));
        let canonical = input.of_host(mount.host, "UseCanonicalName").is_some_and(|name| !name.is_set_to("Off"));
        if !by_request || canonical {
            continue;
        }
        let finding =
            Finding::new(input.of_mount(mount), format!("the interpreter's name `{name}` depends on the request"));
        // With `%{HOST}` the whole name is the client's choice; with the others only the port is.
        let severity = if name.contains("%{HOST}") { Severity::Warning } else { Severity::Note };
        found.push(finding.severity(severity));
    }
    found
}
