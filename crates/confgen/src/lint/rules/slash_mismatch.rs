//! A slash on one side of an alias.

use crate::configuration::MountKind;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG245",
        title: "a slash on one side of an alias",
        cause: "What follows the URL path of an alias is put behind its file path as it stands. With a slash on one \
                side only, `/static/a.css` becomes `/srv/statica.css`, or a folder's URL without the slash is not \
                found.",
        fix: "Write both with a slash at the end, or both without.",
    }),
    name: "slash-mismatch",
    severity: Severity::Warning,
    bad: "Alias /static/ /srv/static",
    good: "Alias /static/ /srv/static/",
    scripts: &[],
    check,
};

/// A slash behind the URL alone glues names together; one behind the path alone only doubles a slash.
fn severity(url: &str) -> Severity {
    if url.ends_with('/') { Severity::Warning } else { Severity::Note }
}

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in ["Alias", "ScriptAlias"].into_iter().flat_map(|name| input.named(name)) {
        let (Some(url), Some(path)) = (statement.word(0), statement.word(1)) else { continue };
        let differs = url.ends_with('/') != path.ends_with('/');
        // A variable may end with a slash.
        if differs && url != "/" && !statement.is_unresolved() {
            let finding = Finding::new(statement, format!("`{url}` and `{path}` do not end alike"));
            found.push(finding.severity(severity(&url)));
        }
    }
    for mount in input.mounts.iter().filter(|mount| mount.kind == MountKind::Alias && mount.url != "/") {
        if mount.url.ends_with('/') != mount.script.ends_with('/') {
            let message = format!("`{}` and `{}` do not end alike", mount.url, mount.script);
            found.push(Finding::new(input.of_mount(mount), message).severity(severity(&mount.url)));
        }
    }
    found
}
