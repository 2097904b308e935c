//! What a schema cannot say: kinds of steps, names in expressions, regular expressions, holes in texts. Works on the tree,
//! so that everything has its place and one mistake does not hide the next.

mod names;
mod steps;

use confgen::document::{Node, Value as NodeValue};

use super::expression::Expression;
use super::problem::{Code, Problem};
use super::span;
use super::template::{Template, has_holes};
use names::Names;

/// Everything that is wrong or odd.
pub(super) fn examine(root: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let variants = root.get("variants").and_then(Node::as_map).map(|map| map.entries.as_slice()).unwrap_or_default();
    let patches: Vec<Option<&Node>> =
        if variants.is_empty() { vec![None] } else { variants.iter().map(|entry| Some(&entry.value)).collect() };
    for variant in patches {
        let own = |key: &str| variant.and_then(|variant| variant.get(key));
        let mut names = Names::new();
        for vars in [root.get("vars"), own("vars")].into_iter().flatten() {
            unfilled(vars, &mut problems);
            names.add_vars(vars);
        }
        if let Some(ports) = root.get("ports") {
            names.add_ports(ports);
        }
        let files = [root.get("files"), own("files")].into_iter().flatten();
        for entry in files.filter_map(Node::as_map).flat_map(|map| &map.entries) {
            let raw = entry.value.get("interpolate").is_some_and(|node| node.value == NodeValue::Bool(false));
            let text = entry.value.get("text").unwrap_or(&entry.value);
            if !raw {
                template(text, &names, &mut problems);
            }
        }
        for step in own("before").or_else(|| root.get("before")).and_then(Node::as_seq).unwrap_or_default() {
            steps::preparation(step, &mut problems);
            steps::step(step, &mut names, &mut problems);
        }
        for server in [root.get("server"), own("server")].into_iter().flatten() {
            templates(server, &names, &mut problems);
        }
        if let Some(list) = own("steps").or_else(|| root.get("steps")).and_then(Node::as_seq) {
            for step in list {
                steps::step(step, &mut names, &mut problems);
            }
        }
        for key in ["symptom", "healthy"] {
            if let Some(list) = own(key).or_else(|| root.get(key)).and_then(Node::as_seq) {
                for source in list {
                    expression(source, &names, None, &mut problems);
                }
            }
        }
        conditions(root, variant, &mut problems);
    }
    patterns(root, &mut problems);
    super::load::sort(&mut problems);
    problems
}

/// Values of `vars` are put into texts; nothing is put into them.
fn unfilled(node: &Node, problems: &mut Vec<Problem>) {
    match &node.value {
        NodeValue::String(text) if Template::parse(text).map_or(true, |template| !template.is_plain()) => {
            let problem =
                Problem::error(Code::OutOfPlace, "texts in `vars` are taken as they are: `${…}` is not replaced");
            problems.push(problem.at(node.span.clone(), "").help("write it where the value is used"));
        }
        NodeValue::Seq(items) => items.iter().for_each(|item| unfilled(item, problems)),
        NodeValue::Map(map) => map.entries.iter().for_each(|entry| unfilled(&entry.value, problems)),
        _ => {}
    }
}

/// The lists of steps of a scenario and its variants, with their pointers.
pub(super) fn step_lists(root: &Node) -> Vec<(String, &[Node])> {
    let mut lists: Vec<_> = ["before", "steps"]
        .iter()
        .filter_map(|key| root.get(key).and_then(Node::as_seq).map(|steps| (format!("/{key}"), steps)))
        .collect();
    for entry in root.get("variants").and_then(Node::as_map).into_iter().flat_map(|map| &map.entries) {
        for key in ["before", "steps"] {
            if let Some(steps) = entry.value.get(key).and_then(Node::as_seq) {
                lists.push((format!("/variants/{}/{key}", entry.key.replace('~', "~0").replace('/', "~1")), steps));
            }
        }
    }
    lists
}

/// A variant that expects a symptom needs a description of it. Each symptom needs an opposite that differs from it, as
/// otherwise a cell passes whatever the server does.
fn conditions(root: &Node, variant: Option<&Node>, problems: &mut Vec<Problem>) {
    let list = |key: &str| {
        let node = variant.and_then(|variant| variant.get(key)).or_else(|| root.get(key))?;
        let sources: Vec<String> =
            node.as_seq()?.iter().map(|source| source.as_str().unwrap_or_default().trim().to_owned()).collect();
        (!sources.is_empty()).then_some((node, sources))
    };
    let (symptom, healthy) = (list("symptom"), list("healthy"));
    if let Some(expect) = variant.and_then(|variant| variant.get("expect")) {
        let expects = match &expect.value {
            NodeValue::String(text) => text == "symptom",
            NodeValue::Map(map) => map.entries.iter().any(|entry| entry.value.as_str() == Some("symptom")),
            _ => false,
        };
        if expects && symptom.is_none() {
            let problem =
                Problem::error(Code::NoConditions, "the symptom is expected, but `symptom` does not say what it is");
            problems.push(
                problem.at(expect.span.clone(), "expected here").help("add a list of expressions under `symptom`"),
            );
        }
    }
    if root.get("vacuous").is_some() || variant.is_some_and(|variant| variant.get("vacuous").is_some()) {
        return;
    }
    let Some((symptom, symptom_sources)) = symptom else { return };
    match healthy {
        None => {
            let problem =
                Problem::error(Code::NoOpposite, "`symptom` has no opposite: the `healthy` list is missing or empty");
            problems.push(
                problem.at(symptom.span.clone(), "").help(
                    "add a list of expressions under `healthy`; if there is none, say why with `vacuous: REASON`",
                ),
            );
        }
        Some((healthy, sources)) if sources == symptom_sources => {
            let problem =
                Problem::error(Code::SameConditions, "`symptom` and `healthy` are equal: they tell nothing apart");
            problems.push(
                problem.at(healthy.span.clone(), "").at(symptom.span.clone(), "the symptom").help(
                    "write what differs when the problem is gone; if nothing does, say why with `vacuous: REASON`",
                ),
            );
        }
        Some(_) => {}
    }
}

/// Regular expressions outside of steps.
fn patterns(root: &Node, problems: &mut Vec<Problem>) {
    let variants =
        root.get("variants").and_then(Node::as_map).into_iter().flat_map(|map| &map.entries).map(|entry| &entry.value);
    for holder in std::iter::once(root).chain(variants) {
        for allowance in holder.get("allow-log").and_then(Node::as_seq).unwrap_or_default() {
            if let Some(pattern) = allowance.get("match") {
                regex(pattern, problems);
            }
        }
    }
}

/// Whether a text is a regular expression; one with holes is not looked at.
fn regex(node: &Node, problems: &mut Vec<Problem>) {
    let Some(pattern) = node.as_str().filter(|pattern| !has_holes(pattern)) else { return };
    if let Err(error) = regex::Regex::new(pattern) {
        // The library draws a caret of its own; its last line is the reason.
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        problems.push(Problem::error(Code::Regex, "this is no regular expression").at(node.span.clone(), reason));
    }
}

/// Examines an expression; `own` are the members of the step's own result that are names there.
fn expression(node: &Node, names: &Names, own: Option<&names::Shape>, problems: &mut Vec<Problem>) {
    let Some(source) = node.as_str() else { return };
    match Expression::parse(source) {
        Ok(expression) => names.check(&expression, own, &|part| span::of_part(node, part), problems),
        Err(error) => {
            let problem = Problem::error(Code::Expression, error.message).at(span::of_part(node, &error.span), "");
            problems.push(problem.maybe_help(error.help));
        }
    }
}

/// Examines the holes of a text.
fn template(node: &Node, names: &Names, problems: &mut Vec<Problem>) {
    let Some(text) = node.as_str().filter(|text| has_holes(text)) else { return };
    match Template::parse(text) {
        Ok(template) => {
            for (expression, start) in template.expressions() {
                let place =
                    |part: &std::ops::Range<usize>| span::of_part(node, &(start + part.start..start + part.end));
                names.check(expression, None, &place, problems);
            }
        }
        Err(errors) => {
            for error in errors {
                let code = if error.in_expression { Code::Expression } else { Code::Placeholder };
                let problem = Problem::error(code, error.message).at(span::of_part(node, &error.span), "");
                problems.push(problem.maybe_help(error.help));
            }
        }
    }
}

/// Examines the holes of all texts below a node.
fn templates(node: &Node, names: &Names, problems: &mut Vec<Problem>) {
    match &node.value {
        NodeValue::String(_) => template(node, names, problems),
        NodeValue::Seq(items) => items.iter().for_each(|item| templates(item, names, problems)),
        NodeValue::Map(map) => map.entries.iter().for_each(|entry| templates(&entry.value, names, problems)),
        _ => {}
    }
}
