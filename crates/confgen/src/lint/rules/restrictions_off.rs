//! Restrictions that are switched off.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG234",
        title: "restrictions that are switched off",
        cause: "`WSGIRestrictSignal Off` lets the application replace the server's signal handlers, so that a stop \
                or restart may hang. `WSGIRestrictStdin` and `WSGIRestrictStdout Off` hide that code uses streams \
                which have no meaning in a server. They are often left over from looking for a fault.",
        fix: "Remove the directive, and repair the code that needs it.",
    }),
    name: "restrictions-off",
    severity: Severity::Warning,
    bad: "WSGIRestrictSignal Off",
    good: "WSGIRestrictSignal On",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in ["WSGIRestrictSignal", "WSGIRestrictStdin", "WSGIRestrictStdout"] {
        for statement in input.named(name).filter(|statement| statement.is_set_to("Off")) {
            // Applications that print are no danger; mod_wsgi does not restrict standard output by itself.
            let severity = if name == "WSGIRestrictSignal" { Severity::Warning } else { Severity::Note };
            found.push(Finding::new(statement, format!("`{name}` is Off")).severity(severity));
        }
    }
    found
}
