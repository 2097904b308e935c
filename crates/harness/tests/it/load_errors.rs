//! What is wrong with a scenario is found all at once, with file, line and caret.

use std::path::Path;
use std::sync::Arc;

use confgen::diagnostic::Style;
use harness::runner::history::History;
use harness::runner::plan::{Selection, check_servers, plan};
use harness::scenario::load::{Loaded, load_text};
use harness::scenario::problem::Problem;

use crate::machine::machine;

/// All problems of a scenario, from its text to its planned servers.
fn problems(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrong");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let found: Vec<Problem> = match load_text(Path::new(name), text, None) {
        Err(problems) => problems,
        Ok(loaded) => {
            let loaded: Arc<Loaded> = Arc::new(loaded);
            match plan(&[loaded], &machine(), &Selection::default(), &History::default()) {
                Err(problems) => problems,
                Ok(plan) => check_servers(&plan, &machine()),
            }
        }
    };
    found.iter().map(|problem| problem.render(Style::Plain) + "\n\n").collect()
}

#[test]
fn keys_types_and_words() {
    insta::assert_snapshot!(problems("keys.yaml"));
}

#[test]
fn steps_that_contradict_themselves() {
    insta::assert_snapshot!(problems("steps.yaml"));
}

#[test]
fn expressions_and_holes() {
    insta::assert_snapshot!(problems("expressions.yaml"));
}

#[test]
fn the_nested_server() {
    insta::assert_snapshot!(problems("server.yaml"));
}

#[test]
fn a_key_given_twice() {
    insta::assert_snapshot!(problems("duplicate.yaml"));
}

#[test]
fn conditions_that_are_missing() {
    insta::assert_snapshot!(problems("conditions.yaml"));
}

#[test]
fn cells_without_an_expectation() {
    insta::assert_snapshot!(problems("expectation.yaml"));
}

#[test]
fn names_out_of_their_place() {
    insta::assert_snapshot!(problems("places.yaml"));
}

#[test]
fn daemon_groups_that_are_not_there() {
    insta::assert_snapshot!(problems("daemons.yaml"));
}
