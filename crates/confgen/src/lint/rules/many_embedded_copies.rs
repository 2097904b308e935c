//! A copy of the application for each connection.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG252",
        title: "a copy of the application for each connection",
        cause: "With the prefork MPM each connection has a process, and in embedded mode each process loads the \
                application. Many of them need very much memory.",
        fix: "Serve the application by daemon processes, use the event MPM, or set `MaxRequestWorkers` to what the \
              memory allows.",
    }),
    name: "many-embedded-copies",
    severity: Severity::Warning,
    bad: "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\nMaxRequestWorkers 256\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}",
    good: "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\nMaxRequestWorkers 20\nWSGIScriptAlias / /srv/a.wsgi application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// More processes than this are many.
const MANY: i64 = 50;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let Some(mount) = input.embedded().next() else { return Vec::new() };
    if input.mpm() != Some("prefork") {
        return Vec::new();
    }
    let limit = ["MaxRequestWorkers", "MaxClients"].into_iter().flat_map(|name| input.named(name)).last();
    let number = limit.and_then(|statement| statement.word(0)?.parse::<i64>().ok());
    match (limit, number) {
        (Some(statement), Some(number)) if number > MANY => {
            let finding = Finding::new(statement, format!("up to {number} processes load the application"));
            vec![finding.also(input.of_mount(mount), Part::Whole, "served in embedded mode")]
        }
        (None, _) => vec![Finding::new(input.of_mount(mount), "up to 256 processes load this application")],
        _ => Vec::new(),
    }
}
