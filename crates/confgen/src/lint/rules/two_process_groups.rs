//! Two groups for one application.

use crate::configuration::Part;
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

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mount in &input.mounts {
        let Some(own) = mount.option("process-group") else { continue };
        let Some(other) = input.effective(&mount.target(), "WSGIProcessGroup") else { continue };
        // A group for the whole server or host is a default; one for this application contradicts.
        let others = input.mounts.iter().any(|sibling| {
            sibling.option("process-group").is_none()
                && sibling.host == mount.host
                && sibling.statement != mount.statement
        });
        if other.word(0).is_some_and(|group| group != own) && !(others && other.sections.is_empty()) {
            let finding = Finding::new(input.of_mount(mount), format!("the application is served by group `{own}`"));
            found.push(finding.option("process-group").also(other, Part::Whole, "this one does not count for it"));
        }
    }
    found
}
