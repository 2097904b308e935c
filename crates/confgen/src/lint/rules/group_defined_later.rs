//! A group that is defined below its use.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG208",
        title: "a group that is defined below its use",
        cause: "An alias with both `process-group=` and `application-group=` loads its script when the server \
                starts, and needs the group to be defined above it. httpd refuses the configuration.",
        fix: "Move the `WSGIDaemonProcess` above the alias.",
    }),
    name: "group-defined-later",
    severity: Severity::Error,
    bad: "WSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}\nWSGIDaemonProcess a",
    good: "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mount in &input.mounts {
        let (Some(group), Some(interpreter)) = (mount.option("process-group"), mount.option("application-group"))
        else {
            continue;
        };
        let Some(daemon) = input.daemon(group) else { continue };
        if daemon.statement > mount.statement && !interpreter.contains("%{RESOURCE}") {
            let finding =
                Finding::new(input.of_mount(mount), format!("the group `{group}` is defined below this line"));
            found.push(finding.option("process-group").also(
                input.daemon_statement(daemon),
                Part::Whole,
                "defined here",
            ));
        }
    }
    found
}
