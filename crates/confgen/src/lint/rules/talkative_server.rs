//! More said or waited for than needed.

use crate::diagnostic::{Code, CodeInfo, Severity};
use crate::lint::{Finding, Input, Rule};

pub(super) const RULE: Rule = Rule {
    code: Code::new(&CodeInfo {
        id: "CG248",
        title: "more said or waited for than needed",
        cause: "A debug log fills the disk and may hold data of users; `ServerTokens Full` tells everybody the \
                versions in use; without mod_reqtimeout a client that sends its request slowly holds a thread for as \
                long as it likes.",
        fix: "Use `LogLevel warn`, `ServerTokens Prod`, and load mod_reqtimeout.",
    }),
    name: "talkative-server",
    severity: Severity::Note,
    bad: "ServerTokens Full",
    good: "ServerTokens Prod",
    scripts: &[],
    check,
};

fn check(input: &Input<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for statement in input.named("ServerTokens").filter(|statement| statement.is_set_to("Full")) {
        found.push(Finding::new(statement, "everybody is told which versions are in use"));
    }
    for statement in input.named("LogLevel") {
        let words = statement.words();
        let loud = words.iter().enumerate().find(|(_, word)| {
            let level = word.rsplit(':').next().unwrap_or_default().to_lowercase();
            level == "debug" || level.starts_with("trace")
        });
        if let Some((index, word)) = loud {
            found.push(Finding::new(statement, format!("`{word}` fills the log")).word(index));
        }
    }
    let slow = input.loads("reqtimeout") == Some(false) && !input.has("RequestReadTimeout");
    if slow && let Some(listen) = input.named("Listen").next() {
        found.push(Finding::new(
            listen,
            "slow clients may hold a thread for as long as they like: mod_reqtimeout is not loaded",
        ));
    }
    found
}
