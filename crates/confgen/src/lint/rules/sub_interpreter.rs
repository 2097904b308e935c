//! An application alone in its processes uses a sub-interpreter.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG212",
        title: "an application alone in its processes uses a sub-interpreter",
        cause: "The group serves one application, but not in the main interpreter. Packages with C extensions \
                (NumPy, cryptography, lxml, pydantic and others) may fail or hang in sub-interpreters.",
        fix: "Add `application-group=%{GLOBAL}`: the application then runs in the main interpreter.",
    }),
    name: "sub-interpreter",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a",
    good: "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for mount in &input.mounts {
        let Some(group) = &mount.group else { continue };
        let alone = input.mounts.iter().filter(|other| other.group.as_ref() == Some(group)).count() == 1;
        if alone && !input.is_in_main_interpreter(mount) && !group.contains("%{") {
            let name = input.interpreter_of(mount);
            let finding = Finding::new(
                input.of_mount(mount),
                format!("the only application of group `{group}` runs in a sub-interpreter (`{name}`)"),
            );
            found.push(finding);
        }
    }
    found
}
