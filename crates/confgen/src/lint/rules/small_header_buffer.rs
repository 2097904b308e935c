//! Little room for response headers.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG226",
        title: "little room for response headers",
        cause: "A line of the response's header that is longer than `header-buffer-size=` makes the request fail \
                with 500. Cookies and Kerberos tokens are often longer than 8 KiB.",
        fix: "Leave the option out: the default is 32768.",
    }),
    name: "small-header-buffer",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a header-buffer-size=8192\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// The default, in bytes.
const USUAL: i64 = 32_768;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        if let Some(size) = daemon.number("header-buffer-size").filter(|size| (1..USUAL).contains(size)) {
            let message = format!("a header line of a response may have {size} bytes");
            let fix = Fix::replace(
                input.daemon_statement(daemon),
                Part::Option("header-buffer-size".to_owned()),
                "header-buffer-size=32768",
            );
            found.push(Finding::new(input.daemon_statement(daemon), message).option("header-buffer-size").fix(fix));
        }
    }
    found
}
