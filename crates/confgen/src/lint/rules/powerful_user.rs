//! An application with too many rights.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG232",
        title: "an application with too many rights",
        cause: "The group runs as root, so that every fault of the application is one of the whole machine; or as \
                the user of Apache itself, so that the application can read the server's files and signal its \
                processes.",
        fix: "Make a user for the application, and name it: `user=shop group=shop`.",
    }),
    name: "powerful-user",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a user=root\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a user=shop group=shop\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Users that web servers run as.
const OF_APACHE: [&str; 5] = ["www-data", "apache", "httpd", "nobody", "daemon"];

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let Some(user) = daemon.value("user") else { continue };
        let statement = input.daemon_statement(daemon);
        if matches!(user, "root" | "#0") {
            found
                .push(Finding::new(statement, "the application runs as root").option("user").severity(Severity::Error));
        } else if OF_APACHE.contains(&user) {
            let message = format!("the application runs as `{user}`, the user of Apache itself");
            found.push(Finding::new(statement, message).option("user").severity(Severity::Note));
        }
    }
    found
}
