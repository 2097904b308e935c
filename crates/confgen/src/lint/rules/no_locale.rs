//! A locale that is left to chance.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG231",
        title: "a locale that is left to chance",
        cause: "Without `lang=` or `locale=` the application has the locale that httpd was started with, often `C`. \
                File names, `print` and the formats of numbers then differ between a start at boot and one by hand.",
        fix: "Set `lang=C.UTF-8` for the group.",
    }),
    name: "no-locale",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a lang=C.UTF-8\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    // Of the two, mod_wsgi alone leaves it to httpd's environment.
    if input.is_ours() == Some(true) {
        return Vec::new();
    }
    input
        .daemons
        .iter()
        .filter(|daemon| daemon.option("lang").is_none() && daemon.option("locale").is_none())
        .map(|daemon| {
            Finding::new(input.daemon_statement(daemon), format!("group `{}` has no locale of its own", daemon.name))
                .word(0)
        })
        .collect()
}
