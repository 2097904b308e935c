//! Connections that outlive their sockets.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG230",
        title: "connections that outlive their sockets",
        cause: "With mod_wsgi each graceful restart (as log rotation does) gives the sockets new names. A connection \
                that a client keeps open across the restart finds no daemon process any more and gets 503.",
        fix: "Add `WSGISocketRotation Off`, or set a `KeepAliveTimeout` of at most 5 seconds.",
    }),
    name: "rotated-sockets",
    severity: Severity::Note,
    bad: "ServerRoot /etc/httpd\nLoadModule wsgi_module modules/mod_wsgi.so\nKeepAliveTimeout 60\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "ServerRoot /etc/httpd\nLoadModule wsgi_module modules/mod_wsgi.so\nKeepAliveTimeout 60\nWSGISocketRotation Off\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let off = input.named("WSGISocketRotation").any(|statement| statement.is_set_to("Off"));
    if off || input.daemons.is_empty() || input.is_ours() != Some(false) {
        return Vec::new();
    }
    input
        .named("KeepAliveTimeout")
        .filter(|statement| {
            statement.word(0).and_then(|word| word.parse::<i64>().ok()).is_some_and(|seconds| seconds > 5)
        })
        .map(|statement| {
            Finding::new(statement, "connections outlive the sockets of daemon processes at a graceful restart")
        })
        .collect()
}
