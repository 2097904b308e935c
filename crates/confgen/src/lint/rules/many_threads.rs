//! Very many threads.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG219",
        title: "very many threads",
        cause: "Threads of a Python process take turns. With many of them requests get slower together, each holds \
                memory and a connection to the database, and none of them is turned away when the application is \
                stuck.",
        fix: "Use 3 to 10 threads for each process, and more processes when the CPU is not busy.",
    }),
    name: "many-threads",
    severity: Severity::Warning,
    bad: "WSGIDaemonProcess a processes=2 threads=100\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    good: "WSGIDaemonProcess a processes=4 threads=10\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=%{GLOBAL}",
    scripts: &[],
    check,
};

/// More threads in a process than this are many.
const THREADS: i64 = 25;

/// More threads in a group than this are many.
const ALL: i64 = 200;

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for daemon in &input.daemons {
        let (processes, threads) = (daemon.processes(), daemon.threads());
        let statement = input.daemon_statement(daemon);
        if threads > THREADS {
            found.push(Finding::new(statement, format!("{threads} threads in each process")).option("threads"));
        } else if processes.saturating_mul(threads) > ALL {
            let all = processes.saturating_mul(threads);
            found.push(
                Finding::new(statement, format!("{processes} processes with {threads} threads are {all} threads"))
                    .option("processes"),
            );
        }
    }
    found
}
