//! Two groups for one application.

use crate::configuration::{Mount, Part, Statement};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG205",
        title: "two groups for one application",
        cause: "The alias names one group of daemon processes and `WSGIProcessGroup` another one. The alias counts; \
                what the other directive is meant to do does not happen.",
        fix: "Remove the one that is not meant.",
    }),
    name: "two-process-groups",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a\nWSGIDaemonProcess b\nWSGIProcessGroup a\nWSGIScriptAlias / /srv/b.wsgi process-group=b application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess b\nWSGIScriptAlias / /srv/b.wsgi process-group=b application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// Whether a group is that of other applications too, and only a default for this one.
fn is_default(input: &Input<'_>, mount: &Mount, other: &Statement<'_>) -> bool {
    if let Some(section) = other.sections.last()
        && section.is("Location")
    {
        // That of a path above holds for what has no group of its own.
        let path = section.words.first().map(|word| String::from_utf8_lossy(word).into_owned());
        return path.is_none_or(|path| path.trim_end_matches('/') != mount.url.trim_end_matches('/'));
    }
    input.mounts.iter().any(|sibling| {
        sibling.statement != mount.statement
            && sibling.option("process-group").is_none()
            && input.effective(&sibling.target(), "WSGIProcessGroup").is_some_and(|group| group.index == other.index)
    })
}

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mount in &input.mounts {
        let Some(own) = mount.option("process-group") else { continue };
        let Some(other) = input.effective(&mount.target(), "WSGIProcessGroup") else { continue };
        if other.word(0).is_some_and(|group| group != own) && !is_default(input, mount, other) {
            let finding = Finding::new(input.of_mount(mount), format!("the application is served by group `{own}`"));
            found.push(finding.option("process-group").also(other, Part::Whole, "this one does not count for it"));
        }
    }
    found
}
