//! One request at a time.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG244",
        title: "one request at a time",
        cause: "With the prefork MPM each process serves one request at a time, and only one process is allowed. In \
                embedded mode all requests wait for each other.",
        fix: "Allow more processes, use the event MPM, or serve the application by daemon processes.",
    }),
    name: "one-request-at-a-time",
    severity: Severity::Warning,
    bad: "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\nMaxRequestWorkers 1\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}",
    good: "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\nMaxRequestWorkers 20\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    if input.mpm() != Some("prefork") || input.embedded().next().is_none() {
        return Vec::new();
    }
    ["MaxRequestWorkers", "MaxClients", "ServerLimit"]
        .into_iter()
        .flat_map(|name| input.named(name))
        .filter(|statement| statement.is_set_to("1"))
        .map(|statement| Finding::new(statement, "one process serves all requests, one after the other"))
        .collect()
}
