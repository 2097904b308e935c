//! A Django project that cannot be loaded again.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG223",
        title: "a Django project that cannot be loaded again",
        cause: "When loading Django fails half-way, for example because the database is away, later attempts in the \
                same process fail as well (\"populate() isn't reentrant\"). Without `startup-timeout=` the process is \
                kept.",
        fix: "Set `startup-timeout=15`: a process that has not loaded its application by then is replaced.",
    }),
    name: "no-startup-timeout",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a request-timeout=20\nWSGIScriptAlias / /srv/a/wsgi.py process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a request-timeout=20 startup-timeout=15\nWSGIScriptAlias / /srv/a/wsgi.py process-group=a application-group=%{GLOBAL}",
    scripts: &[("/srv/a/wsgi.py", "from django.core.wsgi import get_wsgi_application")],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let limited = |name: &str| daemon.number(name).is_some_and(|seconds| seconds > 0);
        let django =
            input.mounts.iter().find(|mount| mount.group.as_ref() == Some(&daemon.name) && input.is_django(mount));
        if let Some(mount) = django
            && limited("request-timeout")
            && !limited("startup-timeout")
        {
            let finding = Finding::new(
                input.daemon_statement(daemon),
                format!("group `{}` has no `startup-timeout=`", daemon.name),
            );
            found.push(finding.word(0).also(input.of_mount(mount), Part::Whole, "this Django project is served by it"));
        }
    }
    found
}
