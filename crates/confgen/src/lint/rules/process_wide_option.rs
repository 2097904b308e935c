//! An option of one interpreter that is one of the process.

use crate::configuration::Statement;
use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG237",
        title: "an option of one interpreter that is one of the process",
        cause: "Free threading is a matter of the whole process, and a switch interval one of each lock. Set for one \
                interpreter that has no lock of its own they are ignored, with a warning in the log.",
        fix: "Set it for the whole group or server, or give the interpreter a lock of its own \
              (`WSGIPerInterpreterGIL On`).",
    }),
    name: "process-wide-option",
    severity: Severity::Warning,
    bad: "<WSGIInterpreterOptions application-group=shop>\nWSGIFreeThreading On\n</WSGIInterpreterOptions>",
    good: "WSGIFreeThreading On",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let of_one = |statement: &&Statement<'_>| {
        statement.sections.iter().any(|section| {
            section.is("WSGIInterpreterOptions")
                && section.arguments.windows(18).any(|part| part == b"application-group=")
        })
    };
    let own_lock = input.named("WSGIPerInterpreterGIL").any(Statement::is_on);
    let threads = input.named("WSGIFreeThreading").filter(of_one);
    let intervals = input.named("WSGISwitchInterval").filter(of_one).filter(|_| !own_lock);
    threads
        .map(|statement| Finding::new(statement, "free threading cannot be switched for one interpreter"))
        .chain(
            intervals
                .map(|statement| Finding::new(statement, "the interpreter shares its lock, and with it the interval")),
        )
        .collect()
}
