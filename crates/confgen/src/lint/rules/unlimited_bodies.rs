//! Request bodies of any length.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG247",
        title: "request bodies of any length",
        cause: "`WSGIChunkedRequest On` lets requests in whose length is not announced. Without `LimitRequestBody` a \
                client can send as much as it likes.",
        fix: "Set `LimitRequestBody`, for example to 10485760 (10 MiB).",
    }),
    name: "unlimited-bodies",
    severity: Severity::Warning,
    bad: "WSGIChunkedRequest On",
    good: "WSGIChunkedRequest On\nLimitRequestBody 10485760",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let limited = |host: usize| input.named("LimitRequestBody").any(|limit| limit.host == host || limit.host == 0);
    input
        .named("WSGIChunkedRequest")
        .filter(|statement| statement.is_on() && !limited(statement.host))
        .map(|statement| {
            Finding::new(statement, "bodies without a length are let in, and `LimitRequestBody` is not set")
        })
        .collect()
}
