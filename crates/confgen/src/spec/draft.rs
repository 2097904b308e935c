//! A spec with mistakes in it: what is wrong is taken out, so that the rest can be judged too and everything that is wrong
//! is reported at once.

use super::{MODEL_SCHEMA, Model, Spec};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Node, Path, Segment, Span, Value, schema};

/// Taking out a key can make the map around it incomplete, which is then taken out in turn; specs are not deeper than this.
const ROUNDS: usize = 16;

/// What could be read of a spec, and what could not.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The readable part. With errors it is good for finding more of them, and for nothing else.
    pub spec: Spec,
    /// Every mistake that can be seen without a machine.
    pub errors: Vec<Diagnostic>,
    /// The keys that were taken out.
    removed: Vec<Path>,
}

impl Draft {
    /// Reads a tree.
    pub fn new(root: Node) -> Self {
        let mut found = Vec::new();
        control_characters(&root, &Path::root(), &mut found);
        let unfit = schema::find(&MODEL_SCHEMA, &root);
        found.extend(
            unfit.into_iter().filter(|(path, _)| !found.iter().any(|(known, _)| known == path)).collect::<Vec<_>>(),
        );
        let errors: Vec<Diagnostic> = found.iter().map(|(_, diagnostic)| diagnostic.clone()).collect();
        let mut readable = root;
        let mut removed = Vec::new();
        let mut rounds = 0;
        while !found.is_empty() {
            rounds += 1;
            if rounds > ROUNDS {
                found.push((Path::root(), Diagnostic::error(Code::Form, String::new())));
            }
            // From the end, so that earlier items of a list keep their numbers while later ones go.
            let mut paths: Vec<Path> = found.into_iter().map(|(path, _)| path).collect();
            paths.sort();
            paths.dedup();
            for path in paths.iter().rev() {
                readable.remove(path);
            }
            removed.extend(paths);
            found = schema::find(&MODEL_SCHEMA, &readable);
        }
        match crate::document::from_node::<Model>(&readable) {
            Ok(model) => Self { spec: Spec { model, root: readable }, errors, removed },
            Err(error) => {
                let diagnostic = Diagnostic::error(Code::Form, error.message);
                let diagnostic = match error.span {
                    Some(span) => diagnostic.at(span, ""),
                    None => diagnostic,
                };
                let errors = errors.into_iter().chain([diagnostic]).collect();
                Self { spec: Spec { model: Model::default(), root: readable }, errors, removed: vec![Path::root()] }
            }
        }
    }

    /// Whether a name that is missing may be one that was taken out: a whole section, or the very name in one.
    fn may_have_had(&self, diagnostic: &Diagnostic) -> bool {
        let named = |segment: &Segment| matches!(segment, Segment::Key(key) if diagnostic.message.contains(&format!("`{key}`")));
        self.removed.iter().any(|path| path.segments().len() < 2 || path.segments().last().is_some_and(named))
    }

    /// Adds what a look at the readable part found. A name that is missing there may only have been taken out.
    #[must_use]
    pub fn errors_with(&self, more: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let consequence = |diagnostic: &Diagnostic| match diagnostic.code {
            Code::Missing | Code::Tls => true,
            Code::Reference => self.may_have_had(diagnostic),
            _ => false,
        };
        let more = more.into_iter().filter(|diagnostic| !consequence(diagnostic));
        let mut errors: Vec<Diagnostic> = self.errors.iter().cloned().chain(more).collect();
        errors.sort_by_key(|diagnostic| diagnostic.span().map(|span| (span.source.name.clone(), span.range.start)));
        errors
    }
}

/// A line break in a value would end the line of the configuration, and what follows would be a directive. It is refused
/// wherever a value is taken over, which is everywhere but in `raw` and in profiles that are not applied.
fn control_characters(node: &Node, path: &Path, found: &mut Vec<(Path, Diagnostic)>) {
    match &node.value {
        Value::String(text) => found.extend(control_character(text, &node.span, "the value of", path)),
        Value::Map(map) => {
            for entry in &map.entries {
                let inner = path.join(entry.key.as_str());
                found.extend(control_character(&entry.key, &entry.key_span, "the key", &inner));
                let own_lines =
                    matches!(inner.segments(), [Segment::Key(first)] if first == "profiles" || first == "raw");
                if !own_lines {
                    control_characters(&entry.value, &inner, found);
                }
            }
        }
        Value::Seq(items) => {
            for (index, item) in items.iter().enumerate() {
                control_characters(item, &path.join(index), found);
            }
        }
        _ => {}
    }
}

fn control_character(text: &str, span: &Span, what: &str, path: &Path) -> Option<(Path, Diagnostic)> {
    let character = text.chars().find(|character| character.is_control() && *character != '\t')?;
    let name = match character {
        '\n' | '\r' => "a line break".to_owned(),
        '\0' => "a NUL character".to_owned(),
        other => format!("the control character U+{:04X}", u32::from(other)),
    };
    let diagnostic =
        Diagnostic::error(Code::ControlCharacter, format!("{what} `{path}` contains {name}")).at(span.clone(), "");
    let diagnostic = diagnostic
        .note("it would end the line of httpd's configuration, and the rest would be read as further directives");
    Some((path.clone(), diagnostic))
}
