//! Several headers name the client.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG203",
        title: "several headers name the client",
        cause: "More than one header with the client's address is trusted. A proxy sets one of them; the others can \
                come from the client, and which one counts is not defined.",
        fix: "Keep the one that your proxy sets, for example `X-Forwarded-For`.",
    }),
    name: "several-client-headers",
    severity: Severity::Warning,
    bad: "WSGITrustedProxies 10.0.0.5\nWSGITrustedProxyHeaders X-Forwarded-For X-Real-IP",
    good: "WSGITrustedProxies 10.0.0.5\nWSGITrustedProxyHeaders X-Forwarded-For",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let names = ["x-forwarded-for", "x-client-ip", "x-real-ip"];
    input
        .named("WSGITrustedProxyHeaders")
        .filter_map(|statement| {
            let words = statement.words();
            let clients: Vec<&str> = words
                .iter()
                .map(AsRef::as_ref)
                .filter(|word: &&str| names.contains(&word.to_lowercase().as_str()))
                .collect();
            (clients.len() > 1)
                .then(|| Finding::new(statement, format!("{} all name the client's address", clients.join(", "))))
        })
        .collect()
}
