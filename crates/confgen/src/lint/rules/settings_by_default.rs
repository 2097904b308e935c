//! Settings that a neighbour may have set.

use crate::configuration::{Mount, Part};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG214",
        title: "settings that a neighbour may have set",
        cause: "The script sets `DJANGO_SETTINGS_MODULE` with `setdefault`, which keeps a value that is there. \
                Another project in the same processes has set it before, so this one may be served with the other's \
                settings.",
        fix: "Write `os.environ[\"DJANGO_SETTINGS_MODULE\"] = ...` in the scripts, or give each project a group of \
              its own.",
    }),
    name: "settings-by-default",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess d\nWSGIScriptAlias /a /srv/a/wsgi.py process-group=d\nWSGIScriptAlias /b /srv/b/wsgi.py process-group=d",
    good: "WSGIDaemonProcess a\nWSGIDaemonProcess b\nWSGIScriptAlias /a /srv/a/wsgi.py process-group=a\nWSGIScriptAlias /b /srv/b/wsgi.py process-group=b",
    scripts: &[
        ("/srv/a/wsgi.py", "import os\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"a.settings\")"),
        ("/srv/b/wsgi.py", "import os\nos.environ[\"DJANGO_SETTINGS_MODULE\"] = \"b.settings\""),
    ],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let by_default = |mount: &Mount| {
        input.script(&mount.script).is_some_and(|text| {
            text.lines().any(|line| line.contains("setdefault(") && line.contains("DJANGO_SETTINGS_MODULE"))
        })
    };
    let mut found = Vec::new();
    for mount in &input.mounts {
        let neighbour = input
            .mounts
            .iter()
            .find(|other| other.script != mount.script && other.group == mount.group && input.is_django(other));
        if let Some(neighbour) = neighbour
            && by_default(mount)
        {
            let finding =
                Finding::new(input.of_mount(mount), "the script keeps a `DJANGO_SETTINGS_MODULE` that is set already");
            found.push(finding.also(input.of_mount(neighbour), Part::Whole, "this project runs in the same processes"));
        }
    }
    found
}
