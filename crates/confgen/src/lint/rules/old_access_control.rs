//! Access control of Apache 2.2.

use std::rc::Rc;

use crate::configuration::{Part, Statement};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Fix, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG242",
        title: "access control of Apache 2.2",
        cause: "`Order`, `Allow`, `Deny` and `Satisfy` work only with mod_access_compat, and together with `Require` \
                in ways that few expect. Without that module httpd refuses the configuration.",
        fix: "Use `Require all granted`, `Require all denied` or `Require ip ...`.",
    }),
    name: "old-access-control",
    severity: Severity::Warning,
    bad: "<Directory /srv/shop>\nOrder allow,deny\nAllow from all\n</Directory>",
    good: "<Directory /srv/shop>\nRequire all granted\n</Directory>",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let old = |name: &'static str| input.named(name).filter(|statement| !statement.node.open);
    for order in old("Order") {
        let same = |statement: &&Statement<'_>| {
            statement.host == order.host && Rc::ptr_eq(&statement.sections, &order.sections)
        };
        let rules: Vec<_> = old("Allow").chain(old("Deny")).filter(same).collect();
        let finding = Finding::new(order, "access control of Apache 2.2");
        let spelled: Vec<String> =
            rules.iter().map(|rule| format!("{} {}", rule.node.name, rule.text()).to_ascii_lowercase()).collect();
        let words = order.text().replace(' ', "").to_ascii_lowercase();
        let modern = match (words.as_str(), spelled.as_slice()) {
            ("allow,deny" | "deny,allow", [only]) if only == "allow from all" => Some("Require all granted"),
            ("deny,allow" | "allow,deny", [only]) if only == "deny from all" => Some("Require all denied"),
            _ => None,
        };
        found.push(match (modern, rules.as_slice()) {
            (Some(modern), [rule]) => {
                let fix = Fix::replace(order, Part::Whole, modern).and(Fix::remove(rule));
                finding.help(format!("write `{modern}`")).fix(fix)
            }
            _ => finding,
        });
    }
    for statement in old("Satisfy") {
        found
            .push(Finding::new(statement, "access control of Apache 2.2").help("use `<RequireAny>` or `<RequireAll>`"));
    }
    found
}
