//! Files to scenarios: everything that is wrong with one is found at once, with its place.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use confgen::diagnostic::closest;
use confgen::document::{Document, Format, Node, Span, from_node, schema as document_schema};

use super::examine;
use super::problem::{Code, Problem, of_document};
use super::schema::{Scenario, Step};
use super::span;

/// A scenario with the text it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed scenario.
    pub scenario: Scenario,
    /// The tree with the places of all keys and values.
    pub root: Node,
    /// The file.
    pub file: PathBuf,
    /// The folder whose other files belong to the scenario, if it is one.
    pub folder: Option<PathBuf>,
    /// What is odd, but does not keep it from running.
    pub warnings: Vec<Problem>,
    /// What keeps it from running. The rest of it is here, so that everything that is wrong is found at once.
    pub mistakes: Vec<Problem>,
}

/// The schema of scenarios; made once, as a catalogue has many.
static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(document_schema::of::<Scenario>);

/// The file of a scenario that is a folder.
pub const FILE_OF_FOLDER: &str = "scenario.yaml";

impl Loaded {
    /// The place of a JSON pointer, and of a part of the text there.
    #[must_use]
    pub fn locate(&self, pointer: &str, part: Option<&std::ops::Range<usize>>) -> Span {
        match (span::node_at(&self.root, pointer), part) {
            (Some(node), Some(part)) => span::of_part(node, part),
            _ => span::of_pointer(&self.root, pointer),
        }
    }
}

/// Every scenario below the paths, in order of their names. A folder with a `scenario.yaml` is one; so is a YAML file
/// that begins with the schema's key; a file that is named itself is one in any case.
///
/// # Errors
/// Where a path cannot be read.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, &mut found, &mut problems);
        } else if path.exists() {
            found.push(path.clone());
        } else {
            let problem = Problem::error(Code::Unreadable, format!("there is no `{}`", path.display()));
            problems.push(problem.maybe_help(nearest(path).map(|near| format!("did you mean `{}`?", near.display()))));
        }
    }
    let mut unique = Vec::new();
    let mut known = HashSet::new();
    for path in found {
        // A path may be given once by itself and once as a part of a folder, in different spellings.
        if known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            unique.push(path);
        }
    }
    if problems.is_empty() { Ok(unique) } else { Err(problems) }
}

/// The path with the nearest name to that of one that does not exist.
fn nearest(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> =
        fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let near = closest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
    let own = folder.join(FILE_OF_FOLDER);
    if own.is_file() {
        found.push(own);
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(Problem::error(Code::Unreadable, format!("failed to read {}: {error}", folder.display())));
            return;
        }
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, found, problems);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
            && fs::read_to_string(&path).is_ok_and(|text| text.lines().any(|line| line.starts_with("schema: harness/")))
        {
            found.push(path);
        }
    }
}

/// Reads a scenario that can run.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    read(path).and_then(without_mistakes)
}

fn without_mistakes(loaded: Loaded) -> Result<Loaded, Vec<Problem>> {
    if loaded.mistakes.is_empty() { Ok(loaded) } else { Err(loaded.mistakes) }
}

/// Reads a scenario with its mistakes.
///
/// # Errors
/// Where nothing can be read of it.
pub fn read(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let file = if path.is_dir() { path.join(FILE_OF_FOLDER) } else { path.to_path_buf() };
    let text = fs::read_to_string(&file).map_err(|error| {
        vec![Problem::error(Code::Unreadable, format!("failed to read {}: {error}", file.display()))]
    })?;
    let folder = (file.file_name().is_some_and(|name| name == FILE_OF_FOLDER))
        .then(|| file.parent().unwrap_or(Path::new(".")).to_path_buf());
    read_text(&file, text, folder)
}

/// Reads a scenario that can run from a text. `file` is what errors call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(file: &Path, text: String, folder: Option<PathBuf>) -> Result<Loaded, Vec<Problem>> {
    read_text(file, text, folder).and_then(without_mistakes)
}

fn read_text(file: &Path, text: String, folder: Option<PathBuf>) -> Result<Loaded, Vec<Problem>> {
    let name = file.display().to_string();
    let document = Document::parse(name, text, Format::of(&file.display().to_string()))
        .map_err(|error| vec![of_document(error.into())])?;
    let root = document.root;
    let unfit: Vec<_> = document_schema::find(&SCHEMA, &root)
        .into_iter()
        // A hole may stand for a value of any type; what fills it is checked when the step runs.
        .filter(|(_, diagnostic)| !diagnostic.span().is_some_and(|span| span.text().contains("${{")))
        .collect();
    // From the end, so that earlier items of a list keep their numbers while later ones go.
    let mut readable = root.clone();
    let mut paths: Vec<_> = unfit.iter().map(|(path, _)| path.clone()).collect();
    paths.sort();
    paths.dedup();
    for path in paths.iter().rev() {
        readable.remove(path);
    }
    let mut problems: Vec<Problem> = unfit.into_iter().map(|(_, diagnostic)| of_document(diagnostic)).collect();
    problems.extend(untyped_steps(&root, problems.is_empty()));
    let (found, warnings): (Vec<_>, Vec<_>) = examine::examine(&root).into_iter().partition(Problem::is_error);
    problems.extend(found);
    let scenario = match from_node::<Scenario>(&readable) {
        Ok(scenario) => Some(scenario),
        Err(error) if problems.is_empty() => {
            let problem = Problem::error(Code::Form, error.message);
            problems.push(match error.span {
                Some(span) => problem.at(span, ""),
                None => problem,
            });
            None
        }
        Err(_) => None,
    };
    sort(&mut problems);
    match scenario {
        Some(scenario) => {
            Ok(Loaded { scenario, root: readable, file: file.to_path_buf(), folder, warnings, mistakes: problems })
        }
        None => Err(problems),
    }
}

/// In the order of the files and their texts, each once.
pub(crate) fn sort(problems: &mut Vec<Problem>) {
    let position = |problem: &Problem| {
        problem.span().map_or_else(Default::default, |span| (span.source.name.clone(), span.range.start))
    };
    problems.sort_by_cached_key(position);
    let mut unique: Vec<Problem> = Vec::new();
    for problem in problems.drain(..) {
        let known = unique.iter().any(|known| known.message == problem.message && known.labels == problem.labels);
        if !known {
            unique.push(problem);
        }
    }
    *problems = unique;
}

/// Steps without holes are read into their types: that finds what a schema cannot say (a process that is none, a broken
/// pattern). serde stops at the first mistake, so each step is read by itself, and only where the schema found nothing.
fn untyped_steps(root: &Node, schema_fits: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !schema_fits {
        return problems;
    }
    for (_, steps) in examine::step_lists(root) {
        for step in steps {
            if step.span.text().contains("${") || step.to_json().to_string().contains("${") {
                continue;
            }
            if let Err(error) = from_node::<Step>(step) {
                let problem = Problem::error(Code::Form, error.message);
                problems.push(match error.span {
                    Some(span) => problem.at(span, ""),
                    None => problem,
                });
            }
        }
    }
    problems
}
