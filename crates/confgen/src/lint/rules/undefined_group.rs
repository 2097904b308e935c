//! No such group of daemon processes.

use crate::diagnostic::closest;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG206",
        title: "no such group of daemon processes",
        cause: "No `WSGIDaemonProcess` defines the group that a directive names. Requests are answered with 500 \
                (Internal Server Error).",
        fix: "Define the group with `WSGIDaemonProcess NAME`, or correct the name.",
    }),
    name: "undefined-group",
    severity: Severity::Error,
    bad: "ServerRoot /etc/httpd\nWSGIDaemonProcess shop\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=shopp application-group=%{GLOBAL}",
    good: "ServerRoot /etc/httpd\nWSGIDaemonProcess shop\nWSGIScriptAlias / /srv/shop/app.wsgi process-group=shop application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for delegation in input.delegations() {
        if input.daemon(&delegation.group).is_some() || delegation.statement.node.open {
            continue;
        }
        let near = closest(&delegation.group, input.daemons.iter().map(|daemon| daemon.name.as_str()));
        // The rest of the configuration may define it.
        if input.partial && near.is_none() {
            continue;
        }
        let finding = Finding::new(
            delegation.statement,
            format!("no `WSGIDaemonProcess` defines the group `{}`", delegation.group),
        );
        let finding = if delegation.by_option { finding.option("process-group") } else { finding.word(0) };
        found.push(match near {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding,
        });
    }
    found
}
