//! A rate limit that small pieces defeat.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG227",
        title: "a rate limit that small pieces defeat",
        cause: "`response-flush-delay=0` passes each small piece of a response on at once. mod_ratelimit then sends \
                many more pieces than it is made for, and the rate is not kept.",
        fix: "Leave `response-flush-delay=` out.",
    }),
    name: "flush-with-rate-limit",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a response-flush-delay=0\n<Location />\nSetOutputFilter RATE_LIMIT\n</Location>\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a\n<Location />\nSetOutputFilter RATE_LIMIT\n</Location>\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let limit = ["SetOutputFilter", "AddOutputFilter", "AddOutputFilterByType"]
        .into_iter()
        .flat_map(|name| input.named(name))
        .find(|statement| statement.text().to_ascii_uppercase().contains("RATE_LIMIT"));
    let Some(limit) = limit else { return Vec::new() };
    input
        .daemons
        .iter()
        .filter(|daemon| daemon.number("response-flush-delay") == Some(0))
        .map(|daemon| {
            let finding = Finding::new(input.daemon_statement(daemon), "pieces of responses are passed on at once");
            finding.option("response-flush-delay").also(limit, Part::Whole, "the rate is limited here")
        })
        .collect()
}
