//! Processes that cannot be told apart.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG233",
        title: "processes that cannot be told apart",
        cause: "Without `display-name=` the processes of all groups look like httpd in `ps` and `top`. `%{GLOBAL}` \
                has no meaning there and is shown as it stands.",
        fix: "Set `display-name=%{GROUP}`.",
    }),
    name: "display-name",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a display-name=%{GLOBAL}\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a display-name=%{GROUP}\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let statement = input.daemon_statement(daemon);
        match daemon.value("display-name") {
            Some("%{GLOBAL}") => {
                let fix = Fix::replace(statement, Part::Option("display-name".to_owned()), "display-name=%{GROUP}");
                let finding = Finding::new(statement, "`%{GLOBAL}` is shown as it stands").option("display-name");
                found.push(finding.severity(Severity::Warning).fix(fix));
            }
            // Our daemons are called by their group anyway.
            None if input.is_ours() != Some(true) => {
                found.push(
                    Finding::new(statement, format!("group `{}` has no name in lists of processes", daemon.name))
                        .word(0),
                );
            }
            _ => {}
        }
    }
    found
}
