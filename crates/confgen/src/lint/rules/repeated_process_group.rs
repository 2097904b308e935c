//! Several groups for one scope.

use std::rc::Rc;

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG204",
        title: "several groups for one scope",
        cause: "`WSGIProcessGroup` stands more than once in the same scope. Only the last one counts, for all \
                applications of the scope.",
        fix: "Give each application its group as an option of its alias: `WSGIScriptAlias /a /srv/a.wsgi \
              process-group=a`.",
    }),
    name: "repeated-process-group",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a\nWSGIDaemonProcess b\nWSGIProcessGroup a\nWSGIScriptAlias /a /srv/a.wsgi application-group=%{GLOBAL}\nWSGIProcessGroup b\nWSGIScriptAlias /b /srv/b.wsgi application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a\nWSGIDaemonProcess b\nWSGIScriptAlias /a /srv/a.wsgi process-group=a application-group=%{GLOBAL}\nWSGIScriptAlias /b /srv/b.wsgi process-group=b application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let all: Vec<_> = input.named("WSGIProcessGroup").filter(|statement| !statement.node.open).collect();
    let mut found = Vec::new();
    for (index, statement) in all.iter().enumerate() {
        let later = all[index + 1..].iter().find(|later| {
            later.host == statement.host
                && Rc::ptr_eq(&later.sections, &statement.sections)
                && later.text() != statement.text()
        });
        if let Some(later) = later {
            let finding = Finding::new(statement, "this group is replaced by a later one in the same scope");
            found.push(finding.also(later, Part::Whole, "this one counts"));
        }
    }
    found
}
