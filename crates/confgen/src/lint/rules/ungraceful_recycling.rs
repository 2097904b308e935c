//! Processes that are replaced at once.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG222",
        title: "processes that are replaced at once",
        cause: "The processes are replaced from time to time, and `graceful-timeout=0` gives running requests no \
                time to end: they are lost.",
        fix: "Leave `graceful-timeout=` out (15 seconds), or set it above the time of your slowest request.",
    }),
    name: "ungraceful-recycling",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a maximum-requests=1000 graceful-timeout=0\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a maximum-requests=1000\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in input.daemons.iter().filter(|daemon| daemon.number("graceful-timeout") == Some(0)) {
        let limits = ["maximum-requests", "restart-interval", "cpu-time-limit"];
        if let Some(limit) = limits.iter().find(|name| daemon.number(name).is_some_and(|value| value > 0)) {
            let message = format!("`{limit}=` replaces processes, and requests that run then are lost");
            found.push(Finding::new(input.daemon_statement(daemon), message).option("graceful-timeout"));
        }
    }
    found
}
