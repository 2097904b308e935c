//! `processes=1` tells applications of several processes.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG218",
        title: "`processes=1` tells applications of several processes",
        cause: "With `processes=` an application sees `wsgi.multiprocess` as True, whatever the number is. Debuggers \
                and other tools that need one process then refuse to work.",
        fix: "Leave the option out: without it there is one process, and applications see that.",
    }),
    name: "one-process-by-number",
    severity: Severity::Note,
    bad: "WSGIDaemonProcess a processes=1 threads=5\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a threads=5\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let of_one = input.daemons.iter().filter(|daemon| daemon.number("processes") == Some(1));
    of_one
        .map(|daemon| {
            let statement = input.daemon_statement(daemon);
            let message = "`processes=1` makes `wsgi.multiprocess` True";
            Finding::new(statement, message).option("processes")
        })
        .collect()
}
