//! A lock that is chosen by hand.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG251",
        title: "a lock that is chosen by hand",
        cause: "`WSGIAcceptMutex` was needed on systems of long ago. Today's default is right, and some of the other \
                kinds leave locks behind when the server is killed.",
        fix: "Remove the line.",
    }),
    name: "accept-mutex",
    severity: Severity::Note,
    bad: "WSGIAcceptMutex sysvsem",
    good: "# nothing",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    input
        .named("WSGIAcceptMutex")
        .filter(|statement| !statement.is_set_to("default"))
        .map(|statement| Finding::new(statement, "the kind of lock is chosen by hand").fix(Fix::remove(statement)))
        .collect()
}
