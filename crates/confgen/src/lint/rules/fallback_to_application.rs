//! A fallback to an application.

use crate::configuration::{MountKind, Part, same_or_below};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG239",
        title: "a fallback to an application",
        cause: "`FallbackResource` looks for its target as a file of a folder. The path of an alias is none; \
                requests for missing files end in a loop or in 404.",
        fix: "Mount the application at `/` and put aliases for static files above it, or use `RewriteRule` with \
              `[PT]`.",
    }),
    name: "fallback-to-application",
    severity: Severity::Warning,
    bad: "WSGIScriptAlias /shop /srv/shop/app.wsgi application-group=%{GLOBAL}\n<Directory /srv/www>\nFallbackResource /shop\n</Directory>",
    good: "WSGIScriptAlias /shop /srv/shop/app.wsgi application-group=%{GLOBAL}\n<Directory /srv/www>\nFallbackResource /index.html\n</Directory>",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in input.named("FallbackResource") {
        let Some(target) = statement.word(0).filter(|target| target != "disabled") else { continue };
        let mount = input.mounts.iter().find(|mount| {
            mount.kind == MountKind::Alias
                && mount.url != "/"
                && (mount.host == statement.host || mount.host == 0)
                && same_or_below(&mount.url, &target)
        });
        if let Some(mount) = mount {
            let finding = Finding::new(statement, "this path is an application, not a file").word(0);
            found.push(finding.also(input.of_mount(mount), Part::Whole, "mounted here"));
        }
    }
    found
}
