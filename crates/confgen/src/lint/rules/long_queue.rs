//! A long queue without a time limit.

use crate::configuration::Daemon;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG224",
        title: "a long queue without a time limit",
        cause: "Many requests may wait for the group, and each waits as long as it takes. After a time of overload \
                the processes work for clients that have gone.",
        fix: "Set `queue-timeout=45`: requests that have waited longer are answered with 504 (Gateway Timeout).",
    }),
    name: "long-queue",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a listen-backlog=500\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a listen-backlog=500 queue-timeout=45\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let long = |daemon: &&Daemon| daemon.number("listen-backlog").is_some_and(|length| length > 100);
    let limited = |daemon: &&Daemon| daemon.number("queue-timeout").is_some_and(|seconds| seconds > 0);
    input
        .daemons
        .iter()
        .filter(|daemon| long(daemon) && !limited(daemon))
        .map(|daemon| {
            Finding::new(input.daemon_statement(daemon), "so many requests may wait, without a limit of time")
                .option("listen-backlog")
        })
        .collect()
}
