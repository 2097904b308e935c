//! What a template left behind.

use crate::conf::{is_space, word};
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG257",
        title: "what a template left behind",
        cause: "A quote that nothing closes takes the rest of the line into one word, and a placeholder that no \
                template replaced (`{{ name }}`, `<%= name %>`, `@NAME@`) is taken as it stands.",
        fix: "Close the quote, or render the template.",
    }),
    name: "odd-quotes",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a display-name=\"%{GROUP} python-home=/srv/venv\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a display-name=\"%{GROUP}\" python-home=/srv/venv\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in
        input.statements.iter().filter(|statement| statement.node.name.to_ascii_lowercase().starts_with("wsgi"))
    {
        let text = statement.text();
        let left = [("{{", "}}"), ("<%", "%>"), ("{%", "%}")]
            .iter()
            .find(|(open, close)| text.split_once(open).is_some_and(|(_, rest)| rest.contains(close)));
        let marked = text.split_whitespace().find(|word| {
            word.split('@').nth(1).is_some_and(|name| {
                name.len() > 1
                    && word.matches('@').count() == 2
                    && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            })
        });
        if left.is_some() || marked.is_some() {
            found.push(Finding::new(statement, "a placeholder that no template replaced"));
        } else if has_open_quote(&statement.node.arguments) {
            found.push(Finding::new(statement, "a quote that nothing closes"));
        }
    }
    found
}

/// Whether a quote at the beginning of a word or of a value is not closed.
fn has_open_quote(text: &[u8]) -> bool {
    let mut at = 0;
    let mut fresh = true;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' | b'\'' if fresh => match word::next(text, at) {
                Some(word) if word.closed => at = word.span.end,
                _ => return true,
            },
            b'=' => {
                fresh = true;
                at += 1;
            }
            byte => {
                fresh = is_space(*byte);
                at += 1;
            }
        }
    }
    false
}
