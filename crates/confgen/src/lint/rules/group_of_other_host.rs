//! A group of another virtual host.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG207",
        title: "a group of another virtual host",
        cause: "The group is defined within a virtual host of another `ServerName`. Only virtual hosts of the same \
                name may use it; requests are answered with 500.",
        fix: "Define the group outside of virtual hosts, or within this one.",
    }),
    name: "group-of-other-host",
    severity: Severity::Error,
    bad: "<VirtualHost *:80>\nServerName a.example\nWSGIDaemonProcess a\n</VirtualHost>\n<VirtualHost *:80>\nServerName b.example\nWSGIScriptAlias / /srv/b.wsgi process-group=a application-group=%{GLOBAL}\n</VirtualHost>",
    good: "WSGIDaemonProcess a\n<VirtualHost *:80>\nServerName b.example\nWSGIScriptAlias / /srv/b.wsgi process-group=a application-group=%{GLOBAL}\n</VirtualHost>",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for delegation in input.delegations() {
        let Some(daemon) = input.daemon(&delegation.group) else { continue };
        if input.reaches(delegation.statement.host, daemon) {
            continue;
        }
        let (own, other) = (&input.hosts[delegation.statement.host], &input.hosts[daemon.host]);
        let finding = Finding::new(
            delegation.statement,
            format!("the group `{}` belongs to {}; {} may not use it", delegation.group, other.title(), own.title()),
        );
        let finding = if delegation.by_option { finding.option("process-group") } else { finding.word(0) };
        found.push(finding.also(input.daemon_statement(daemon), Part::Whole, "defined here"));
    }
    found
}
