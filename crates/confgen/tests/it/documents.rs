//! The examples of the documents.

use std::fs;

use confgen::render::RenderOptions;

use crate::fixture::{machine, rendered, workspace};

/// The fenced blocks of a page that are whole specs.
fn specs(page: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.filter(|block| block.contains("schema: confgen/1")).map(str::to_owned).collect()
}

#[test]
fn examples_are_rendered() {
    for (page, count) in [("README.md", 1), ("docs/confgen.md", 3)] {
        let specs = specs(page);
        assert_eq!(specs.len(), count, "{page}");
        for spec in specs {
            rendered(&spec, &machine(), &RenderOptions::default())
                .unwrap_or_else(|errors| panic!("{page}\n{spec}\n{errors}"));
        }
    }
}
