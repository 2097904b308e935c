//! The reference page of all codes, made from the tables; and tests that the tables are complete.

use std::fmt::Write as _;
use std::path::Path;

use super::absent::{ABSENT, Absent};
use super::process::OF_PROCESSES;
use super::{CODES, Code};

const BEGINNING: &str = include_str!("page.md");

fn all() -> Vec<&'static Code> {
    let mut all: Vec<&Code> = CODES.iter().copied().chain(OF_PROCESSES).collect();
    all.sort_by_key(|code| code.number);
    all
}

/// The page.
pub(crate) fn page() -> String {
    let mut page = BEGINNING.to_owned();
    page.push_str(
        "\n## All codes\n\n| Code | Level | What happened | What becomes of it | What to do |\n|---|---|---|---|---|\n",
    );
    for code in all() {
        let name = code.name();
        let (level, anchor) = (code.level.name(), name.to_lowercase());
        let _ = writeln!(
            page,
            "| <a id=\"{anchor}\"></a>{name} | {level} | {} | {} | {} |",
            code.cause, code.outcome, code.action
        );
    }
    page.push_str(
        "\n## Codes of mod_wsgi that are never logged here\n\n| Code | What it is in mod_wsgi | What happens instead |\n\
         |---|---|---|\n",
    );
    for Absent(number, meaning, reason) in ABSENT {
        let _ = writeln!(page, "| WSGI{number:04} | {meaning} | {reason} |");
    }
    page
}

/// Numbers of codes in the sources below a folder.
fn numbers_in(folder: &Path, found: &mut Vec<u16>) {
    for entry in std::fs::read_dir(folder).expect("the source tree is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            numbers_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("the source tree is readable");
            for (start, prefix) in [("WSGI", 4), ("\"0", 1)] {
                for (at, _) in text.match_indices(start) {
                    let digits = text.get(at + prefix..at + prefix + 4).unwrap_or_default();
                    let whole = !text[at + prefix..].chars().nth(4).is_some_and(char::is_alphanumeric);
                    let quoted = prefix == 4 || text.get(at + 5..at + 6) == Some("\"");
                    if whole && quoted && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        found.extend(digits.parse::<u16>().ok().filter(|number| *number > 0));
                    }
                }
            }
        }
    }
}

// Covers: rule:logs/codes-documented
#[test]
fn every_code_of_mod_wsgi_stands_in_one_table() {
    let mut known: Vec<u16> = all().iter().map(|code| code.number).chain(ABSENT.iter().map(|code| code.0)).collect();
    known.sort_unstable();
    for pair in known.windows(2) {
        assert_ne!(pair[0], pair[1], "WSGI{:04} stands in two tables", pair[0]);
    }
    let missing: Vec<u16> = (1..=210).filter(|number| !known.contains(number)).collect();
    assert!(missing.is_empty(), "{missing:?} stand in no table");
    for code in all() {
        for text in [code.cause, code.outcome, code.action] {
            assert!(text.ends_with('.') && text.len() > 8 && !text.contains('|'), "{}: {text:?}", code.name());
        }
    }
}

#[test]
fn what_processes_log_stands_in_the_table_and_the_other_way_round() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut logged = Vec::new();
    numbers_in(&own.join("../python/src"), &mut logged);
    numbers_in(&own.join("src/daemon"), &mut logged);
    numbers_in(&own.join("src/scripts"), &mut logged);
    let known: Vec<u16> = all().iter().map(|code| code.number).collect();
    logged.retain(|number| !(ABSENT.iter().any(|code| code.0 == *number)));
    for number in &logged {
        assert!(known.contains(number), "WSGI{number:04} is logged and stands in no table");
    }
    for code in OF_PROCESSES {
        assert!(logged.contains(&code.number), "{} stands in the table and is logged nowhere", code.name());
    }
}
