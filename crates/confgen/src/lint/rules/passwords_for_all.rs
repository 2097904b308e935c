//! Every application gets passwords.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG246",
        title: "every application gets passwords",
        cause: "`WSGIPassAuthorization On` for the whole server gives the `Authorization` header, with the passwords \
                or tokens in it, to each application, also to those that do not check them.",
        fix: "Set it for the application that needs it: `WSGIScriptAlias /api /srv/api.wsgi pass-authorization=On`, \
              or within its `<Location>`.",
    }),
    name: "passwords-for-all",
    severity: Severity::Warning,
    bad: "WSGIPassAuthorization On\nWSGIScriptAlias /a /srv/a.wsgi application-group=a\nWSGIScriptAlias /b /srv/b.wsgi application-group=b",
    good: "<Location /a>\nWSGIPassAuthorization On\n</Location>\nWSGIScriptAlias /a /srv/a.wsgi application-group=a\nWSGIScriptAlias /b /srv/b.wsgi application-group=b",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in
        input.named("WSGIPassAuthorization").filter(|statement| statement.is_on() && statement.sections.is_empty())
    {
        let of_scope = |host: usize| statement.host == 0 || host == statement.host;
        let mut scripts: Vec<&str> =
            input.mounts.iter().filter(|mount| of_scope(mount.host)).map(|mount| mount.script.as_str()).collect();
        scripts.sort_unstable();
        scripts.dedup();
        if scripts.len() > 1 {
            found.push(Finding::new(
                statement,
                format!("{} applications get the `Authorization` header", scripts.len()),
            ));
        }
    }
    found
}
