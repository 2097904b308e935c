//! Requests without a time limit that works.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG221",
        title: "requests without a time limit that works",
        cause: "Without `request-timeout=` a stuck request keeps its thread for ever. With one that is longer than \
                `socket-timeout=` (or httpd's `Timeout`), clients get an error before the process is replaced: a \
                process of several threads allows a single request more than the option says.",
        fix: "Set `request-timeout=60`, and a `socket-timeout=` that is longer than the limit that results.",
    }),
    name: "request-timeout",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a threads=5\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a threads=5 request-timeout=30 socket-timeout=90\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// The limit of httpd when nothing is said, in seconds.
const TIMEOUT: i64 = 60;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in input.daemons.iter().filter(|daemon| daemon.number("threads") != Some(0)) {
        let statement = input.daemon_statement(daemon);
        let Some(limit) = daemon.number("request-timeout").filter(|seconds| *seconds > 0) else {
            found.push(
                Finding::new(statement, format!("requests of group `{}` have no time limit", daemon.name)).word(0),
            );
            continue;
        };
        let of_httpd = || input.of_host(daemon.host, "Timeout")?.word(0)?.parse().ok();
        let socket =
            daemon.number("socket-timeout").filter(|seconds| *seconds > 0).or_else(of_httpd).unwrap_or(TIMEOUT);
        // A lone request is allowed more, the more threads there are.
        #[expect(clippy::cast_precision_loss, reason = "times in seconds")]
        let effective = limit as f64 * (1.0 + (daemon.threads().max(1) as f64).ln());
        #[expect(clippy::cast_precision_loss, reason = "times in seconds")]
        if effective > socket as f64 {
            let message = format!("a lone request may take {effective:.0} seconds, but is waited for {socket} seconds");
            let finding = Finding::new(statement, message).option("request-timeout");
            found.push(
                finding.help(format!("set `socket-timeout=` above {effective:.0}, or a shorter `request-timeout=`")),
            );
        }
    }
    found
}
