//! A log format with a typing error.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG256",
        title: "a log format with a typing error",
        cause: "`%{%cu}t` is not the time with microseconds: the inner `%` does not belong there, and httpd writes \
                nonsense.",
        fix: "Write `%{cu}t`.",
    }),
    name: "log-format-typo",
    severity: Severity::Error,
    bad: "ErrorLogFormat \"[%{%cuz}t] %M\"",
    good: "ErrorLogFormat \"[%{cuz}t] %M\"",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in input.named("ErrorLogFormat") {
        let words = statement.words();
        let wrong = |word: &str| ["%{%c", "%{%u}t", "%{%cu"].iter().any(|typo| word.contains(typo));
        if let Some((index, word)) = words.iter().enumerate().find(|(_, word)| wrong(word)) {
            let mended = word.replace("%{%c", "%{c").replace("%{%u}t", "%{u}t");
            let quoted = format!("\"{}\"", mended.replace('\\', "\\\\").replace('"', "\\\""));
            let finding = Finding::new(statement, "`%` within the braces does not belong there").word(index);
            found.push(finding.fix(Fix::replace(statement, Part::Word(index), quoted)));
        }
    }
    found
}
