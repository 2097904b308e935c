//! A search path that no application has.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG217",
        title: "a search path that no application has",
        cause: "`WSGIPythonPath` holds for embedded mode. Daemon processes do not take it over: their applications \
                do not find the packages.",
        fix: "Give the groups the path: `WSGIDaemonProcess NAME python-path=...`.",
    }),
    name: "python-path-without-effect",
    severity: Severity::Warning,
    bad: "WSGIPythonPath /srv/shop\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a python-path=/srv/shop\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    if input.mounts.is_empty()
        || input.embedded().next().is_some()
        || !input.handlers().is_empty()
        || input.delegates_by_request()
    {
        return Vec::new();
    }
    input
        .named("WSGIPythonPath")
        .filter(|statement| statement.sections.is_empty())
        .map(|statement| {
            Finding::new(
                statement,
                "this path holds for embedded mode alone, and every application is served by daemon processes",
            )
        })
        .collect()
}
