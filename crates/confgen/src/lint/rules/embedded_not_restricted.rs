//! Embedded mode is left on.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG211",
        title: "embedded mode is left on",
        cause: "Every application is served by daemon processes, but `WSGIRestrictEmbedded` is not On. A directive \
                that is missing somewhere makes an application run in Apache's own processes without a word.",
        fix: "Add `WSGIRestrictEmbedded On` to the main server.",
    }),
    name: "embedded-not-restricted",
    severity: Severity::Note,
    bad: "ServerRoot /etc/httpd\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "ServerRoot /etc/httpd\nWSGIRestrictEmbedded On\nWSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Scripts that run in Apache's own processes whatever serves the application.
const EMBEDDED: [&str; 4] = ["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript", "WSGIDispatchScript"];

fn check(input: &Input<'_>) -> Vec<Finding> {
    let restricted = input.named("WSGIRestrictEmbedded").any(|statement| statement.is_on());
    let needed = EMBEDDED.iter().any(|name| input.has(name)) || !input.handlers().is_empty();
    let Some(first) = input.mounts.first() else { return Vec::new() };
    if input.partial || restricted || needed || input.embedded().next().is_some() {
        return Vec::new();
    }
    vec![Finding::new(
        input.of_mount(first),
        "all applications are served by daemon processes, and embedded mode is left on",
    )]
}
