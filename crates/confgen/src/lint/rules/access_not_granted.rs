//! Nothing grants access to an application.

use std::collections::HashMap;

use crate::configuration::{MountKind, Part, same_or_below};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG241",
        title: "nothing grants access to an application",
        cause: "httpd denies what is not granted: without a `Require` for the folder of the script, every request is \
                answered with 403 (Forbidden). `<Directory>` with the path of the script itself matches no folder and \
                grants nothing.",
        fix: "Add `<Directory /srv/shop>` with `Require all granted`, for the folder that the script is in.",
    }),
    name: "access-not-granted",
    severity: Severity::Warning,
    bad: "<Directory /srv/shop/app.wsgi>\nRequire all granted\n</Directory>\nWSGIScriptAlias / /srv/shop/app.wsgi application-group=%{GLOBAL}",
    good: "<Directory /srv/shop>\nRequire all granted\n</Directory>\nWSGIScriptAlias / /srv/shop/app.wsgi application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Folders that distributions open.
const OPEN: [&str; 2] = ["/var/www", "/usr/share"];

/// Directives that say who may use something.
const GRANTS: [&str; 4] = ["Require", "Allow", "Order", "AuthMerging"];

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut folders = HashMap::new();
    for section in input.named("Directory") {
        if let Some(path) = section.word(0) {
            folders.entry(path.trim_end_matches('/').to_owned()).or_insert(section);
        }
    }
    for mount in input.mounts.iter().filter(|mount| mount.kind == MountKind::Alias) {
        let statement = input.of_mount(mount);
        let file = folders.get(&mount.script).copied().filter(|_| !input.is_folder(&mount.script));
        if let Some(section) = file {
            let folder = mount.script.rsplit_once('/').map_or("/", |(folder, _)| folder);
            let finding = Finding::new(section, "this is the path of a script, not of a folder").word(0);
            let fix = Fix::replace(section, Part::Word(0), folder);
            found.push(
                finding
                    .also(statement, Part::Whole, "mounted here")
                    .help(format!("use `<Directory {folder}>`"))
                    .fix(fix),
            );
            continue;
        }
        let granted = GRANTS.iter().any(|name| input.effective(&mount.target(), name).is_some());
        let open = OPEN.iter().any(|folder| same_or_below(folder, &mount.script));
        if !granted && !open && !statement.is_unresolved() && !input.has_conditional_grant(mount) {
            let finding = Finding::new(statement, format!("nothing grants access to {}", mount.script)).word(1);
            // The main configuration may open the folder.
            found.push(if input.partial { finding.severity(Severity::Note) } else { finding });
        }
    }
    found
}
