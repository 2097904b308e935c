//! Sockets in a bad place.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG229",
        title: "sockets in a bad place",
        cause: "Requests are passed to daemon processes through sockets whose names begin with `WSGISocketPrefix`. \
                In a folder that everybody can write to, others can remove or replace them; a path of more than about \
                100 bytes cannot be the name of a socket.",
        fix: "Use a short path in a folder of the server, such as `WSGISocketPrefix run/wsgi`.",
    }),
    name: "socket-prefix",
    severity: Severity::Warning,
    bad: "WSGISocketPrefix /tmp/wsgi\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGISocketPrefix run/wsgi\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Longer prefixes leave no room for the rest of a socket's name, in bytes.
const LONGEST: usize = 80;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in input.named("WSGISocketPrefix") {
        let Some(prefix) = statement.word(0) else { continue };
        if ["/tmp/", "/var/tmp/", "/dev/shm/"].iter().any(|folder| prefix.starts_with(folder)) {
            found.push(Finding::new(statement, "everybody can write to this folder").word(0));
        } else if prefix.len() > LONGEST {
            let message = format!("the prefix has {} bytes: too long for the names of sockets", prefix.len());
            found.push(Finding::new(statement, message).word(0));
        }
    }
    found
}
