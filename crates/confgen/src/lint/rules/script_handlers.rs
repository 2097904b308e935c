//! Files that may not be run.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG243",
        title: "files that may not be run",
        cause: "Files that a handler makes applications need `Options ExecCGI`; without it requests are answered \
                with 403. `cgi-script` for `.py` or `.wsgi` starts a program for each request, which a WSGI script is \
                not.",
        fix: "Add `Options +ExecCGI` to the folder, or mount the script with `WSGIScriptAlias`.",
    }),
    name: "script-handlers",
    severity: Severity::Error,
    bad: "<Directory /srv/www>\nAddHandler wsgi-script .wsgi\n</Directory>",
    good: "<Directory /srv/www>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let allows = |host: usize| {
        input.named("Options").filter(|options| options.host == host || options.host == 0).any(|options| {
            options
                .words()
                .iter()
                .any(|word| matches!(word.trim_start_matches('+').to_lowercase().as_str(), "execcgi" | "all"))
        })
    };
    for handler in input.handlers() {
        let statement = &input.statements[handler.statement];
        if !allows(statement.host) {
            let finding = Finding::new(statement, "nothing allows these files to be run (`Options +ExecCGI`)");
            // The rest of the configuration may allow it.
            found.push(if input.partial && statement.sections.is_empty() {
                finding.severity(Severity::Note)
            } else {
                finding
            });
        }
    }
    for statement in input.named("AddHandler").filter(|statement| statement.is_set_to("cgi-script")) {
        if let Some(extension) = statement.words().iter().skip(1).find(|word| word.trim_start_matches('.') == "wsgi") {
            let message = format!("`{extension}` files are started as programs, once for each request");
            found.push(Finding::new(statement, message).severity(Severity::Warning));
        }
    }
    found
}
