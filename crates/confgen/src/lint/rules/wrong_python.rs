//! A directive for another Python.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG236",
        title: "a directive for another Python",
        cause: "Interpreters with a lock of their own need Python 3.12 or later, and running without the global lock \
                needs a free-threaded build. With another Python the directive is ignored, with a warning in the \
                log.",
        fix: "Remove the directive, or use another Python.",
    }),
    name: "wrong-python",
    severity: Severity::Warning,
    bad: "LoadModule wsgi_module modules/mod_wsgi-py311.so\nWSGIPerInterpreterGIL On",
    good: "LoadModule wsgi_module modules/mod_wsgi-py313.so\nWSGIPerInterpreterGIL On",
    scripts: &[],
    check,
};

/// The version of Python that the configuration shows: the minor number, and whether it is free-threaded.
fn python(input: &Input<'_>) -> Option<(u32, bool)> {
    let named = |text: &str| {
        let rest =
            text.split("py3").nth(1).or_else(|| text.split("python3.").nth(1)).or_else(|| text.strip_prefix("3."))?;
        let rest = rest.trim_start_matches('.');
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((digits.parse().ok()?, rest[digits.len()..].starts_with('t')))
    };
    let module = input
        .named("LoadModule")
        .find(|statement| statement.word(0).is_some_and(|name| name == "wsgi_module"))
        .and_then(|statement| named(statement.word(1)?.rsplit('/').next()?));
    module.or_else(|| named(&input.named("WSGIPython").next()?.word(0)?))
}

fn check(input: &Input<'_>) -> Vec<Finding> {
    let Some((minor, free)) = python(input) else { return Vec::new() };
    let on = |name: &'static str| input.named(name).filter(|statement| statement.is_on());
    let mut found = Vec::new();
    if minor < 12 {
        found.extend(
            on("WSGIPerInterpreterGIL").map(|statement| {
                Finding::new(statement, format!("Python 3.{minor} has one lock for all interpreters"))
            }),
        );
    }
    if !free {
        found.extend(
            on("WSGIFreeThreading")
                .map(|statement| Finding::new(statement, format!("Python 3.{minor} is not a free-threaded build"))),
        );
    }
    found
}
