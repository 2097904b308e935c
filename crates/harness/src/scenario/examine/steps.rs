//! Steps: their kinds, their contents, their checks.

use confgen::document::{Entry, Node, Span, Value, from_node};

use super::names::{DURATIONS, Names, Shape};
use super::{expression, regex, template, templates};
use crate::scenario::problem::{Code, Problem};
use crate::scenario::schema::{FileStep, Http, Operator, STEPS, StepDefinition, StepKind};

/// Keys of a check that are no members.
const CHECK_WORDS: &[&str] = &["header", "regex", "all", "any", "that"];

fn entries(node: &Node) -> &[Entry] {
    node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default()
}

/// Where to look for something that is wrong with a step as a whole: its first key.
fn first_key(step: &Node) -> Span {
    entries(step).first().map_or_else(|| step.span.clone(), |entry| entry.key_span.clone())
}

/// Examines a step and adds what it defines to the names of those that follow.
pub(super) fn step(step: &Node, names: &mut Names, problems: &mut Vec<Problem>) {
    let Some(shape) = contents(step, names, problems) else { return };
    // Those that a load does beside its requests are known afterwards; their mistakes have been found above.
    for inner in step.get("load").and_then(|load| load.get("during")).and_then(Node::as_seq).unwrap_or_default() {
        self::step(inner, names, &mut Vec::new());
    }
    // What the step inside a wait captures is known once the wait has succeeded.
    let mut waited = step.get("wait").and_then(|wait| wait.get("for"));
    while let Some(inner) = waited {
        for entry in inner.get("capture").map(entries).unwrap_or_default() {
            names.add_plain(&entry.key);
        }
        waited = inner.get("wait").and_then(|wait| wait.get("for"));
    }
    for entry in step.get("capture").map(entries).unwrap_or_default() {
        expression(&entry.value, names, Some(&shape), problems);
        if Names::is_reserved(&entry.key) || names.has_result(&entry.key) {
            let problem = Problem::error(Code::DuplicateName, format!("`{}` has a meaning already", entry.key));
            problems.push(problem.at(entry.key_span.clone(), "captured under this name"));
        }
    }
    for entry in step.get("capture").map(entries).unwrap_or_default() {
        names.add_plain(&entry.key);
    }
    if let Some(id) = step.get("id")
        && let Some(name) = id.as_str()
    {
        if Names::is_reserved(name) {
            problems.push(
                Problem::error(Code::DuplicateName, format!("`{name}` has a meaning already"))
                    .at(id.span.clone(), "not an id"),
            );
        } else if names.has_result(name) {
            problems.push(
                Problem::error(Code::DuplicateName, format!("two steps have the id `{name}`"))
                    .at(id.span.clone(), "the second one"),
            );
        }
        names.add_result(name, shape);
    }
}

/// Before the server starts there is nothing but files and programs.
pub(super) fn preparation(step: &Node, problems: &mut Vec<Problem>) {
    let foreign = |entry: &&Entry| {
        STEPS.iter().any(|kind| kind.name == entry.key && !matches!(kind.kind, StepKind::Exec | StepKind::File))
    };
    if let Some(entry) = entries(step).iter().find(foreign) {
        let problem =
            Problem::error(Code::StepKind, format!("there is no server yet for a step of kind `{}`", entry.key));
        problems.push(problem.at(entry.key_span.clone(), "").help("before the start, write exec or file"));
    }
}

/// Examines a step without defining anything; gives the members of its result.
fn contents(step: &Node, outer: &Names, problems: &mut Vec<Problem>) -> Option<Shape> {
    let kinds: Vec<(&StepDefinition, &Entry)> = entries(step)
        .iter()
        .filter_map(|entry| STEPS.iter().find(|kind| kind.name == entry.key).map(|kind| (kind, entry)))
        .collect();
    let Some((definition, own)) = kinds.first() else {
        let known: Vec<_> = STEPS.iter().map(|kind| kind.name).collect();
        // A key that is nearly a kind is reported as an unknown key already.
        let misspelt =
            entries(step).iter().any(|entry| confgen::diagnostic::closest(&entry.key, known.iter().copied()).is_some());
        if !misspelt {
            let problem = Problem::error(Code::StepKind, "the step does nothing");
            problems.push(problem.at(first_key(step), "").help(format!("give one of {}", known.join(", "))));
        }
        return None;
    };
    for (_, second) in &kinds[1..] {
        let problem =
            Problem::error(Code::StepKind, format!("a step is of one kind, not `{}` and `{}`", own.key, second.key));
        problems
            .push(problem.at(second.key_span.clone(), "the second kind").at(own.key_span.clone(), "the first kind"));
    }
    let mut names = outer.clone();
    let repeated = step.get("repeat").is_some() || step.get("for-each").is_some();
    if repeated {
        names = names.inside_repetition();
    }
    for entry in step.get("for-each").map(entries).unwrap_or_default() {
        names.add_plain(&entry.key);
    }
    if let Some(condition) = step.get("if") {
        expression(condition, outer, None, problems);
    }
    for key in ["title", "timeout"] {
        if let Some(node) = step.get(key) {
            templates(node, &names, problems);
        }
    }
    let mut nested = Vec::new();
    for entry in entries(&own.value) {
        if definition.kind == StepKind::Load && entry.key == "during" {
            let mut sequence = names.clone();
            entry
                .value
                .as_seq()
                .unwrap_or_default()
                .iter()
                .for_each(|inner| self::step(inner, &mut sequence, problems));
        } else if definition.nested.contains(&entry.key.as_str()) {
            let inner: Vec<&Node> =
                entry.value.as_seq().map_or_else(|| vec![&entry.value], |steps| steps.iter().collect());
            let own_names = match definition.kind {
                StepKind::Concurrent => names.clone().inside_concurrent(),
                _ => names.clone(),
            };
            nested.extend(inner.into_iter().filter_map(|inner| contents(inner, &own_names, problems)));
        } else {
            templates(&entry.value, &names, problems);
        }
    }
    details(definition.kind, own, &names, problems);
    let shape = Shape::new(definition.kind, &nested, repeated);
    if let Some(until) = step.get("repeat").and_then(|repeat| repeat.get("until")) {
        expression(until, &names, Some(&Shape::new(definition.kind, &nested, false)), problems);
    }
    if let Some(node) = step.get("check") {
        check(node, &names, &shape, problems);
    }
    Some(shape)
}

/// What the kinds demand beyond their schema.
fn details(kind: StepKind, own: &Entry, names: &Names, problems: &mut Vec<Problem>) {
    let key = own.key_span.clone();
    let node = &own.value;
    match kind {
        StepKind::Http => {
            let Ok(http) = from_node::<Http>(node) else { return };
            match http.methods().count() {
                1 => {}
                0 => {
                    let problem = Problem::error(Code::StepContent, "the request has no method");
                    problems
                        .push(problem.at(key.clone(), "").help("write `get: /path`, `post: /path` or another method"));
                }
                _ => problems.push(
                    Problem::error(Code::StepContent, "the request has more than one method").at(key.clone(), ""),
                ),
            }
            if http.payloads().count() > 1 {
                problems.push(Problem::error(Code::StepContent, "the request has more than one body").at(key, ""));
            }
        }
        StepKind::File => {
            let Ok(file) = from_node::<FileStep>(node) else { return };
            match file.actions().as_slice() {
                [(_, Ok(_))] => {}
                [(_, Err(reason))] => {
                    problems.push(Problem::error(Code::StepContent, format!("in the file step, {reason}")).at(key, ""))
                }
                [] => {
                    let problem = Problem::error(Code::StepContent, "the file step names no file").at(key, "");
                    problems
                        .push(problem.help(
                            "write one of touch, write, append, replace, chmod, remove, mkdir, read with a path",
                        ));
                }
                _ => problems
                    .push(Problem::error(Code::StepContent, "the file step does more than one thing").at(key, "")),
            }
            if let Some(pattern) = node.get("match") {
                regex(pattern, problems);
            }
        }
        StepKind::Log => {
            for list in ["matches", "absent"].iter().filter_map(|key| node.get(key)) {
                list.as_seq()
                    .map_or_else(|| vec![list], |items| items.iter().collect())
                    .into_iter()
                    .for_each(|pattern| regex(pattern, problems));
            }
            if let Some(since) = node.get("since")
                && let Some(id) = since.as_str()
                && !names.has_result(id)
            {
                let problem = Problem::error(Code::Reference, format!("no step before this one has the id `{id}`"));
                problems.push(problem.at(since.span.clone(), "").known(id, &names.result_ids()));
            }
            if let Some(count) = node.get("count") {
                matcher(count, problems);
            }
        }
        StepKind::Load => {
            if let Some(pattern) = node.get("matches") {
                regex(pattern, problems);
            }
            for request in
                node.get("requests").map(|node| node.as_seq().unwrap_or(std::slice::from_ref(node))).unwrap_or_default()
            {
                if from_node::<Http>(request).is_ok_and(|http| http.methods().count() != 1) {
                    let problem = Problem::error(Code::StepContent, "a request of a load has one method");
                    problems.push(problem.at(request.span.clone(), "").help("write {get: /path}"));
                }
            }
        }
        StepKind::Process => {
            for member in
                ["count", "zombies", "threads", "fds", "memory", "name"].iter().filter_map(|key| node.get(key))
            {
                matcher(member, problems);
            }
        }
        StepKind::Raw => {
            for pattern in node
                .get("exchange")
                .and_then(Node::as_seq)
                .unwrap_or_default()
                .iter()
                .filter_map(|act| act.get("expect"))
            {
                regex(pattern, problems);
            }
        }
        StepKind::Concurrent | StepKind::Signal | StepKind::Wait | StepKind::Exec | StepKind::Stop => {}
    }
}

/// Examines a check: its keys are members of the result, its patterns are patterns, its expressions are expressions.
fn check(node: &Node, names: &Names, shape: &Shape, problems: &mut Vec<Problem>) {
    for entry in entries(node) {
        let first = entry.key.split('.').next().unwrap_or_default();
        match entry.key.as_str() {
            "that" => entry
                .value
                .as_seq()
                .unwrap_or_default()
                .iter()
                .for_each(|source| expression(source, names, Some(shape), problems)),
            "all" | "any" => {
                check(&entry.value, names, &shape.of_one(), problems);
                if !shape.members.contains(&"results") {
                    let problem = Problem::error(
                        Code::UnknownMember,
                        format!("`{}` is for concurrent and repeated steps", entry.key),
                    );
                    problems.push(problem.at(entry.key_span.clone(), ""));
                }
            }
            "regex" => {
                template(&entry.value, names, problems);
                regex(&entry.value, problems);
            }
            "header" => entries(&entry.value).iter().for_each(|field| {
                templates(&field.value, names, problems);
                matcher(&field.value, problems);
            }),
            key => {
                templates(&entry.value, names, problems);
                matcher(&entry.value, problems);
                if key.rsplit('.').next().is_some_and(|last| DURATIONS.contains(&last)) && !key.starts_with("json.") {
                    durations(&entry.value, problems);
                }
            }
        }
        let needs = match entry.key.as_str() {
            "header" => Some("header"),
            "regex" => Some("body"),
            word if CHECK_WORDS.contains(&word) => None,
            _ => Some(first),
        };
        if let Some(member) = needs
            && !shape.members.contains(&member)
        {
            let mut known = shape.members.clone();
            known.extend(CHECK_WORDS.iter().filter(|word| !known.contains(word)).copied().collect::<Vec<_>>());
            let problem =
                Problem::error(Code::UnknownMember, format!("the result of {} has no `{member}` to check", shape.kind));
            problems.push(problem.at(entry.key_span.clone(), "").known(&entry.key, &known));
        }
    }
}

/// A matcher of a duration compares with times, not with numbers.
fn durations(node: &Node, problems: &mut Vec<Problem>) {
    let number = |text: &str| text.trim_start_matches(['<', '>', '=', '!', ' ']).parse::<f64>().is_ok();
    let wrong = match &node.value {
        Value::Int(_) | Value::Float(_) => true,
        Value::String(text) => number(text),
        _ => false,
    };
    if wrong {
        let problem = Problem::error(Code::Comparison, "a duration cannot be compared with a number");
        problems.push(problem.at(node.span.clone(), "").help("write the unit, as in `\"< 1000ms\"`"));
    }
    entries(node).iter().for_each(|entry| durations(&entry.value, problems));
}

/// Examines a matcher: operators and other keys are not mixed, patterns are patterns.
fn matcher(node: &Node, problems: &mut Vec<Problem>) {
    let entries = entries(node);
    let operators = entries.iter().filter(|entry| Operator::of_key(&entry.key).is_some()).count();
    if operators > 0 && operators < entries.len() {
        for entry in entries.iter().filter(|entry| Operator::of_key(&entry.key).is_none()) {
            let known: Vec<_> = crate::scenario::schema::OPERATORS.iter().map(|(key, ..)| *key).collect();
            let problem =
                Problem::error(Code::UnknownKey, format!("`{}` is no operator, but stands beside some", entry.key));
            problems.push(
                problem
                    .at(entry.key_span.clone(), "")
                    .known(&entry.key, &known)
                    .note("to compare with an object that has such members, write {eq: {…}}"),
            );
        }
        return;
    }
    for entry in entries {
        match Operator::of_key(&entry.key) {
            Some(Operator::Matches | Operator::NotMatches) => regex(&entry.value, problems),
            Some(Operator::Length) | None => matcher(&entry.value, problems),
            Some(_) => {}
        }
    }
}
