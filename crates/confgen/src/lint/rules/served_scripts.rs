//! Scripts that can be read or run by accident.

use crate::configuration::{MountKind, Part, same_or_below};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG240",
        title: "scripts that can be read or run by accident",
        cause: "The script, or a folder of scripts, lies below `DocumentRoot`: without the alias, or through another \
                URL, its source is served as text. An alias to a folder makes every file in it an application.",
        fix: "Keep the application outside of `DocumentRoot`, and mount its script by name.",
    }),
    name: "served-scripts",
    severity: Severity::Warning,
    bad: "DocumentRoot /srv/www\nWSGIScriptAlias / /srv/www/shop/app.wsgi application-group=%{GLOBAL}",
    good: "DocumentRoot /srv/www\nWSGIScriptAlias / /srv/shop/app.wsgi application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mount in &input.mounts {
        let statement = input.of_mount(mount);
        let root = input.of_host(mount.host, "DocumentRoot");
        let below = root
            .and_then(|root| Some((root, root.word(0)?.trim_end_matches('/').to_owned())))
            .filter(|(_, folder)| !folder.is_empty() && same_or_below(folder, &mount.script));
        if let Some((root, folder)) = below {
            let finding = Finding::new(statement, format!("the script lies below `DocumentRoot` ({folder})"));
            found.push(finding.word(1).also(root, Part::Whole, "files below this folder are served"));
        } else if input.is_folder(&mount.script) && mount.kind == MountKind::Alias {
            found.push(
                Finding::new(statement, "every file in this folder is an application").word(1).severity(Severity::Note),
            );
        }
    }
    found
}
