//! A directive in a place where it may not stand.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::directives::directive;
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG249",
        title: "a directive in a place where it may not stand",
        cause: "httpd refuses the directive there: those of daemon processes and of Python's start belong to the \
                main server, others may not stand in folders' sections or `.htaccess` files.",
        fix: "Move it to the main server or to a virtual host.",
    }),
    name: "wrong-place",
    severity: Severity::Error,
    bad: "<VirtualHost *:80>\nWSGIPythonHome /srv/venv\n</VirtualHost>",
    good: "WSGIPythonHome /srv/venv",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in &input.statements {
        let name = statement.node.name.as_str();
        let folder = input.htaccess
            || statement.sections.iter().any(|section| {
                ["Directory", "DirectoryMatch", "Files", "FilesMatch", "Location", "LocationMatch"]
                    .iter()
                    .any(|kind| section.is(kind))
            });
        let place = match () {
            () if input.htaccess => "htaccess",
            () if folder => "directory",
            () if statement.host > 0 => "vhost",
            () => "server",
        };
        if !name.to_ascii_lowercase().starts_with("wsgi") {
            continue;
        }
        let Some(known) = directive(name) else { continue };
        if known.contexts.is_empty() || known.contexts.iter().any(|context| context == place) {
            continue;
        }
        let shown = match place {
            "htaccess" => "a `.htaccess` file",
            "directory" => "a section for folders, files or locations",
            _ => "a virtual host",
        };
        found.push(Finding::new(statement, format!("`{}` may not stand in {shown}", known.name)).name());
    }
    found
}
