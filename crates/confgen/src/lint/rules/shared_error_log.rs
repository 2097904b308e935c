//! Errors in the log of another.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG254",
        title: "errors in the log of another",
        cause: "The virtual host has an access log of its own, but what its application prints and its tracebacks go \
                to the error log of the whole server.",
        fix: "Add an `ErrorLog` to the virtual host.",
    }),
    name: "shared-error-log",
    severity: Severity::Note,
    bad: "<VirtualHost *:80>\nCustomLog logs/shop.log combined\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}\n</VirtualHost>",
    good: "<VirtualHost *:80>\nCustomLog logs/shop.log combined\nErrorLog logs/shop-error.log\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}\n</VirtualHost>",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, host) in input.hosts.iter().enumerate().skip(1) {
        let own = |name: &str| input.named(name).any(|statement| statement.host == index);
        let serves = input.mounts.iter().any(|mount| mount.host == index);
        if let Some(section) = host.statement
            && serves
            && (own("CustomLog") || own("TransferLog"))
            && !own("ErrorLog")
        {
            found.push(Finding::new(
                &input.statements[section],
                format!("{} has no `ErrorLog` of its own", host.title()),
            ));
        }
    }
    found
}
