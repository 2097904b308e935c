//! Small stacks.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG225",
        title: "small stacks",
        cause: "Code that calls itself deeply (templates, parsers, regular expressions) crashes the process when the \
                stack of a thread is full.",
        fix: "Leave `stack-size=` out, or use 524288 (512 KiB) where memory is scarce.",
    }),
    name: "small-stack",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a stack-size=131072\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a stack-size=1048576\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Below this, ordinary code crashes, in bytes.
const CRASHES: i64 = 256 * 1024;

/// Below this, deep recursion may crash, in bytes.
const SMALL: i64 = 1024 * 1024;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let Some(size) = daemon.number("stack-size").filter(|size| (1..SMALL).contains(size)) else { continue };
        let severity = if size < CRASHES { Severity::Warning } else { Severity::Note };
        let message = format!("threads have a stack of {} KiB", size / 1024);
        found.push(Finding::new(input.daemon_statement(daemon), message).option("stack-size").severity(severity));
    }
    found
}
