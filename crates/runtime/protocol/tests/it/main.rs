//! The fuzzers' corpus, so that what a fuzzer once found stays found.

#[path = "../../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is checked in") {
        let path = entry.expect("a readable folder").path();
        check(&fs::read(&path).expect("a readable file"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn frames() {
    replay("frames", checks::frames);
}

#[test]
fn request() {
    replay("request", checks::request);
}

#[test]
fn head() {
    replay("head", checks::head);
}

#[test]
fn launch() {
    replay("launch", checks::launch);
}

#[test]
fn line() {
    replay("line", checks::line);
}

#[test]
fn loader() {
    replay("loader", checks::loader);
}

#[test]
fn scripts() {
    replay("scripts", checks::scripts);
}

#[test]
fn scoreboard() {
    replay("scoreboard", checks::scoreboard);
}

#[test]
fn page() {
    replay("page", checks::page);
}
