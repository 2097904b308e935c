//! A time limit that limits nothing.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG220",
        title: "a time limit that limits nothing",
        cause: "After so long a time nobody waits for the answer any more. Stuck requests keep their threads until \
                all of them are stuck.",
        fix: "Choose a limit that is a little longer than the slowest good request, such as 60 seconds.",
    }),
    name: "endless-timeout",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a request-timeout=3600\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a request-timeout=60\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Limits from here on limit nothing, in seconds.
const ENDLESS: i64 = 1000;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        if let Some(seconds) = daemon.number("request-timeout").filter(|seconds| *seconds >= ENDLESS) {
            let finding = Finding::new(input.daemon_statement(daemon), format!("a request may take {seconds} seconds"));
            found.push(finding.option("request-timeout"));
        }
    }
    if input.uses_wsgi() {
        for statement in input.named("Timeout") {
            if let Some(seconds) =
                statement.word(0).and_then(|word| word.parse::<i64>().ok()).filter(|seconds| *seconds >= ENDLESS)
            {
                found.push(
                    Finding::new(statement, format!("a client that says nothing is waited for {seconds} seconds"))
                        .word(0),
                );
            }
        }
    }
    found
}
