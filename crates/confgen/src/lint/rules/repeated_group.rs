//! A group is defined twice.

use crate::configuration::Part;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG209",
        title: "a group is defined twice",
        cause: "The names of groups of daemon processes are one list for the whole server. httpd refuses a second \
                `WSGIDaemonProcess` of the same name, also in another virtual host.",
        fix: "Define the group once, outside of virtual hosts or in the first one of the same `ServerName`; the \
              others use it.",
    }),
    name: "repeated-group",
    severity: Severity::Error,
    bad: "<VirtualHost *:80>\nServerName a.example\nWSGIDaemonProcess a\n</VirtualHost>\n<VirtualHost *:443>\nServerName a.example\nWSGIDaemonProcess a\n</VirtualHost>",
    good: "<VirtualHost *:80>\nServerName a.example\nWSGIDaemonProcess a\n</VirtualHost>\n<VirtualHost *:443>\nServerName a.example\nWSGIProcessGroup a\n</VirtualHost>",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, daemon) in input.daemons.iter().enumerate() {
        let statement = input.daemon_statement(daemon);
        let earlier = input.daemons[..index].iter().find(|earlier| earlier.name == daemon.name);
        if let Some(earlier) = earlier
            && !statement.node.open
            && !statement.is_unresolved()
        {
            let finding = Finding::new(statement, format!("the group `{}` is defined already", daemon.name));
            found.push(finding.word(0).also(input.daemon_statement(earlier), Part::Word(0), "defined here first"));
        }
    }
    found
}
