//! A library that cannot be loaded.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG255",
        title: "a library that cannot be loaded",
        cause: "`LoadFile` loads shared libraries. An archive (`libpython*.a`) is none; httpd does not start.",
        fix: "Name the shared library (`libpython3.11.so.1.0`), or remove the line: the wsgi module loads its Python \
              itself.",
    }),
    name: "static-python-library",
    severity: Severity::Error,
    bad: "LoadFile /usr/lib/libpython3.11.a",
    good: "LoadFile /usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let is_archive =
        |word: &str| word.rsplit('/').next().is_some_and(|name| name.starts_with("libpython") && name.ends_with(".a"));
    input
        .named("LoadFile")
        .filter_map(|statement| {
            let index = statement.words().iter().position(|word| is_archive(word))?;
            Some(Finding::new(statement, "this is an archive, not a shared library").word(index))
        })
        .collect()
}
