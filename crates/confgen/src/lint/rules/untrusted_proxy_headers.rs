//! Headers of proxies are believed from everybody.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG202",
        title: "headers of proxies are believed from everybody",
        cause: "`WSGITrustedProxyHeaders` without `WSGITrustedProxies` lets every client say which address, scheme \
                or host it has.",
        fix: "Name the proxies: `WSGITrustedProxies 10.0.0.0/8`.",
    }),
    name: "untrusted-proxy-headers",
    severity: Severity::Warning,
    bad: "WSGITrustedProxyHeaders X-Forwarded-For",
    good: "WSGITrustedProxyHeaders X-Forwarded-For\nWSGITrustedProxies 10.0.0.5",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let trusts =
        |host: usize| input.named("WSGITrustedProxies").any(|statement| statement.host == host || statement.host == 0);
    input
        .named("WSGITrustedProxyHeaders")
        .filter(|statement| !trusts(statement.host))
        .map(|statement| Finding::new(statement, "these headers are believed from every client"))
        .collect()
}
