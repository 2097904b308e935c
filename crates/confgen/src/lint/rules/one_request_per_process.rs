//! A process for each request.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG253",
        title: "a process for each request",
        cause: "Each process ends after one connection, so that the application is loaded for every request. This is \
                meant for looking for faults.",
        fix: "Remove the line, or use a number above 1000.",
    }),
    name: "one-request-per-process",
    severity: Severity::Warning,
    bad: "MaxConnectionsPerChild 1",
    good: "MaxConnectionsPerChild 0",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let children = ["MaxConnectionsPerChild", "MaxRequestsPerChild"].into_iter().flat_map(|name| input.named(name));
    let daemons = input.daemons.iter().filter(|daemon| daemon.number("maximum-requests") == Some(1)).map(|daemon| {
        Finding::new(input.daemon_statement(daemon), "each process serves one request").option("maximum-requests")
    });
    children
        .filter(|statement| statement.is_set_to("1"))
        .map(|statement| Finding::new(statement, "each process serves one connection"))
        .chain(daemons)
        .collect()
}
