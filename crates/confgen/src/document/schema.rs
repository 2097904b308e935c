//! Checking a tree against the JSON Schema of a type: every mistake at once, each with its place and, for a name that
//! is nearly right, the name that was probably meant.
//!
//! The walker knows the part of JSON Schema that schemars writes. Types with a text form of their own (a duration, a
//! size) describe it with `pattern` and say in `x-expected` what an error message calls it; `x-help` adds advice, and a
//! schema with `x-not-supported` refuses its value by name.

mod alternatives;
mod values;
mod walker;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::node::Node;
use super::path::Path;
use crate::diagnostic::{Code, Diagnostic};
use walker::{Place, Walker};

/// The JSON Schema of a type.
pub fn of<T: JsonSchema>() -> Json {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = false;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Checks a tree against the schema of a type and reads it.
///
/// # Errors
/// All mistakes of the tree.
pub fn read<T: JsonSchema + DeserializeOwned>(root: &Node) -> Result<T, Vec<Diagnostic>> {
    let errors = check(&of::<T>(), root);
    if !errors.is_empty() {
        return Err(errors);
    }
    super::from_node(root).map_err(|error| {
        let diagnostic = Diagnostic::error(Code::Form, error.message);
        vec![match error.span {
            Some(span) => diagnostic.at(span, ""),
            None => diagnostic,
        }]
    })
}

/// Every mistake of a tree against a schema, in the order of the text.
pub fn check(schema: &Json, root: &Node) -> Vec<Diagnostic> {
    check_at(schema, schema, root, &Path::root())
}

/// The same, each mistake with the path of what would have to go for the rest to be readable.
pub fn find(schema: &Json, root: &Node) -> Vec<(Path, Diagnostic)> {
    let mut walker = Walker { root: schema, found: Vec::new() };
    walker.visit(schema, &Place { node: root, key: None, path: Path::root() });
    walker.found
}

/// The same for a part of a tree: `schema` is a part of `root_schema` (which holds the `$defs`), `path` says where the
/// node stands, for the messages.
pub fn check_at(root_schema: &Json, schema: &Json, node: &Node, path: &Path) -> Vec<Diagnostic> {
    let mut walker = Walker { root: root_schema, found: Vec::new() };
    walker.visit(schema, &Place { node, key: None, path: path.clone() });
    walker.found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::diagnostic::{Style, render_all};
    use crate::document::{Document, Format};

    /// A colour.
    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Colour {
        /// Red.
        Red,
        /// Light blue.
        LightBlue,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only the reading is tested")]
    enum Listen {
        Port(u16),
        Addresses(Vec<String>),
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only the reading is tested")]
    enum Step {
        Http { get: String },
        Signal { send: String },
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading is tested")]
    struct Config {
        name: String,
        #[serde(default)]
        colour: Option<Colour>,
        #[serde(default)]
        listen: Option<Listen>,
        #[serde(default)]
        max_size: Option<u8>,
        #[serde(default)]
        steps: Vec<Step>,
        #[serde(default)]
        more: BTreeMap<String, Config>,
    }

    fn errors(text: &str) -> String {
        let document = Document::parse("c.yaml", text, Format::Yaml).unwrap();
        read::<Config>(&document.root).map_or_else(|errors| render_all(&errors, Style::Plain), |_| String::new())
    }

    #[test]
    fn a_good_document_is_read() {
        assert_eq!(
            errors(
                "name: x\ncolour: light-blue\nlisten: 80\nmax-size: 3\nsteps: [{http: {get: /}}]\nmore: {a: {name: b, listen: [x]}}\n"
            ),
            ""
        );
        assert_eq!(errors("name: x\ncolour: null\nlisten: ~\n"), "");
    }

    #[test]
    fn all_mistakes_at_once() {
        let text = errors(
            "colour: ligth-blue\nlisten: 70000\nmax_size: 3\nmore:\n  a: {name: 3, colour: [red]}\n  b:\n    name: x\n    max-size: 300\n",
        );
        for expected in [
            "`name` is missing",
            "did you mean `light-blue`?",
            "did you mean `max-size`?",
            "`more.a.name` is an integer, expected a string",
            "`more.a.colour` is a list, expected `red` or `light-blue`",
            "`listen` is out of range: 70000",
            "`more.b.max-size` is out of range: 300",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert_eq!(text.matches("error[").count(), 7, "{text}");
    }

    #[test]
    fn a_step_is_told_by_its_key() {
        let text = errors("name: x\nsteps: [{htpt: {get: /}}]\n");
        assert!(text.contains("did you mean `http`?"), "{text}");
        let text = errors("name: x\nsteps: [{http: {gte: /}}]\n");
        assert!(text.contains("`get` is missing in `steps[0].http`"), "{text}");
    }
}
