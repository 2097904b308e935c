//! Directives that are gone.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG235",
        title: "directives that are gone",
        cause: "Current releases have no such directive any more. httpd refuses the configuration, or ignores the \
                line.",
        fix: "Remove the line.",
    }),
    name: "removed-directive",
    severity: Severity::Error,
    bad: "WSGILazyInitialization On",
    good: "# nothing",
    scripts: &[],
    check,
};

/// Directives that httpd refuses.
const REMOVED: [&str; 6] = [
    "WSGILazyInitialization",
    "WSGIUserAuthoritative",
    "WSGIReloadMechanism",
    "WSGIPy3kWarningFlag",
    "WSGINewRelicConfigFile",
    "WSGINewRelicEnvironment",
];

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in REMOVED.iter().flat_map(|name| input.named(name)) {
        let message = format!("`{}` does not exist any more", statement.node.name);
        let severity = if statement.node.open { Severity::Warning } else { Severity::Error };
        found.push(Finding::new(statement, message).severity(severity).fix(Fix::remove(statement)));
    }
    for statement in input.named("WSGIVerboseDebugging") {
        let finding = Finding::new(statement, "`WSGIVerboseDebugging` has no effect any more").severity(Severity::Note);
        found.push(finding.help("use `LogLevel wsgi:debug`").fix(Fix::remove(statement)));
    }
    found
}
