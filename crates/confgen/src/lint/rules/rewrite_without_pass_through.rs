//! A rewritten URL that does not reach the application.

use crate::configuration::{MountKind, Part, same_or_below};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG238",
        title: "a rewritten URL that does not reach the application",
        cause: "A `RewriteRule` of the server or of a virtual host makes a file name of its result, so aliases are \
                not looked at and the application does not see the request.",
        fix: "Add the flag `[PT]` (pass through).",
    }),
    name: "rewrite-without-pass-through",
    severity: Severity::Warning,
    bad: "WSGIScriptAlias /shop /srv/shop/app.wsgi application-group=%{GLOBAL}\nRewriteEngine On\nRewriteRule ^/old/(.*)$ /shop/$1 [L]",
    good: "WSGIScriptAlias /shop /srv/shop/app.wsgi application-group=%{GLOBAL}\nRewriteEngine On\nRewriteRule ^/old/(.*)$ /shop/$1 [PT]",
    scripts: &[],
    check,
};

/// Flags with which the result is no file name.
const OTHERWISE: [&str; 12] =
    ["PT", "PASSTHROUGH", "R", "REDIRECT", "P", "PROXY", "F", "FORBIDDEN", "G", "GONE", "H", "HANDLER"];

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in input.named("RewriteRule") {
        // In a folder's section the result is looked up as a URL again.
        if input.htaccess || rule.sections.iter().any(|section| !section.is("RequireAll")) {
            continue;
        }
        let (Some(target), flags) = (rule.word(1), rule.word(2).unwrap_or_default()) else { continue };
        let flags = flags.trim_matches(['[', ']']).to_uppercase();
        let otherwise =
            flags.split(',').any(|flag| OTHERWISE.contains(&flag.trim().split('=').next().unwrap_or_default()));
        let mount = input.mounts.iter().find(|mount| {
            mount.kind == MountKind::Alias
                && mount.url != "/"
                && (mount.host == rule.host || mount.host == 0)
                && same_or_below(&mount.url, &target)
        });
        if let Some(mount) = mount
            && !otherwise
        {
            let finding =
                Finding::new(rule, format!("the result begins with `{}`, but is taken for a file name", mount.url));
            let finding = finding.word(1).also(input.of_mount(mount), Part::Whole, "this alias is not looked at");
            let written = rule.word(2).is_some_and(|flags| flags.starts_with('[') && flags.ends_with(']'));
            found.push(match (written, flags.as_str()) {
                (true, "L") => finding.fix(Fix::replace(rule, Part::Word(2), "[PT]")),
                _ => finding,
            });
        }
    }
    found
}
