//! Request bodies that old releases lose.

use crate::configuration::{Daemon, Part};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG228",
        title: "request bodies that old releases lose",
        cause: "mod_wsgi 6.0.0 to 6.0.4 lost request bodies when `WSGIScriptReloading` is Off and the group has no \
                `queue-timeout=`.",
        fix: "Use mod_wsgi 6.0.5 or later, or set a `queue-timeout=`.",
    }),
    name: "lost-bodies",
    severity: Severity::Note,
    bad: "LoadModule wsgi_module modules/mod_wsgi.so\nWSGIScriptReloading Off\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "LoadModule wsgi_module modules/mod_wsgi.so\nWSGIScriptReloading Off\nWSGIDaemonProcess a queue-timeout=45\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let Some(off) = input.named("WSGIScriptReloading").find(|statement| statement.is_set_to("Off")) else {
        return Vec::new();
    };
    if input.is_ours() != Some(false) {
        return Vec::new();
    }
    let unlimited = |daemon: &&Daemon| daemon.number("queue-timeout").is_none_or(|seconds| seconds == 0);
    let first = input.daemons.iter().find(unlimited);
    first
        .map(|daemon| {
            Finding::new(off, "with mod_wsgi 6.0.0 to 6.0.4 request bodies may be lost").also(
                input.daemon_statement(daemon),
                Part::Word(0),
                "this group has no `queue-timeout=`",
            )
        })
        .into_iter()
        .collect()
}
