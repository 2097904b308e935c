//! Two Django projects in one interpreter.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG213",
        title: "two Django projects in one interpreter",
        cause: "Django keeps its settings in one place of an interpreter. The second project is served with the \
                settings of the first.",
        fix: "Give each project a group of daemon processes of its own.",
    }),
    name: "django-settings-clash",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess d\nWSGIScriptAlias /a /srv/a/wsgi.py process-group=d application-group=%{GLOBAL}\nWSGIScriptAlias /b /srv/b/wsgi.py process-group=d application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a\nWSGIDaemonProcess b\nWSGIScriptAlias /a /srv/a/wsgi.py process-group=a application-group=%{GLOBAL}\nWSGIScriptAlias /b /srv/b/wsgi.py process-group=b application-group=%{GLOBAL}",
    scripts: &[
        ("/srv/a/wsgi.py", "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()"),
        ("/srv/b/wsgi.py", "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()"),
    ],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, mount) in input.mounts.iter().enumerate() {
        let clash = input.mounts[..index].iter().find(|other| {
            other.script != mount.script
                && other.group == mount.group
                && input.interpreter_of(other) == input.interpreter_of(mount)
                && input.is_in_main_interpreter(mount)
                && input.is_django(other)
                && input.is_django(mount)
        });
        if let Some(other) = clash {
            let finding =
                Finding::new(input.of_mount(mount), "this Django project shares its interpreter with another one");
            found.push(finding.also(input.of_mount(other), Part::Whole, "the other project"));
        }
    }
    found
}
