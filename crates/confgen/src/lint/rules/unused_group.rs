//! A group that nothing uses.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG210",
        title: "a group that nothing uses",
        cause: "The group's processes are started and serve nothing. When an application was meant to be served by \
                it, it is served in embedded mode instead.",
        fix: "Name the group at the application: `WSGIScriptAlias / /srv/app.wsgi process-group=NAME`, or remove the \
              group.",
    }),
    name: "unused-group",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess shop\nWSGIScriptAlias / /srv/shop/app.wsgi application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess shop\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=shop application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    // Of a part without applications, the rest of the configuration may use it.
    let elsewhere = input.partial && input.mounts.is_empty() && input.handlers().is_empty();
    if elsewhere || input.delegates_by_request() {
        return Vec::new();
    }
    let used: Vec<String> = input.delegations().into_iter().map(|delegation| delegation.group).collect();
    input
        .daemons
        .iter()
        .filter(|daemon| !used.contains(&daemon.name))
        // Without threads it is a service of its own, which serves no requests.
        .filter(|daemon| daemon.number("threads") != Some(0))
        .map(|daemon| {
            Finding::new(input.daemon_statement(daemon), format!("nothing uses the group `{}`", daemon.name)).word(0)
        })
        .collect()
}
