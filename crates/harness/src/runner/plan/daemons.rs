//! Names of daemon groups, in the server and in steps.

use confgen::document::Node;
use serde_json::Value as Json;

use super::Cell;
use crate::scenario::prepared::PreparedStep;
use crate::scenario::problem::{Code, Problem};
use crate::scenario::schema::Mode;

/// Finds names of groups that the cell's server does not have. Groups that raw text defines are not known here, and embedded
/// mode has dropped all of them.
pub(super) fn check(cell: &Cell, problems: &mut Vec<Problem>) {
    let server = cell.merged_server();
    let text = server.to_json().to_string();
    if cell.mode == Some(Mode::Embedded) || text.contains("WSGIDaemonProcess") || text.contains("Include") {
        return;
    }
    let known: Vec<&str> = entries(server.get("daemons")).map(|(name, _)| name).collect();
    let mut unknown = |name: &str, problem: &dyn Fn(Problem) -> Problem| {
        if known.contains(&name) || name.contains("${") {
            return;
        }
        let found = Problem::error(Code::Daemon, format!("the server has no daemon group `{name}`"));
        let found = problem(found.known(name, &known));
        if problems.iter().all(|other| other.message != found.message || other.labels != found.labels) {
            problems.push(found.note(format!("in the cell {}", cell.id)));
        }
    };
    for (_, site) in entries(server.get("sites")) {
        for kind in ["apps", "handlers"] {
            for (_, served) in entries(site.get(kind)) {
                if let Some(daemon) = served.get("daemon")
                    && let Some(name) = daemon.as_str()
                {
                    unknown(name, &|problem| problem.at(daemon.span.clone(), ""));
                }
            }
        }
    }
    for step in &cell.steps {
        named(step, &mut |name, pointer| {
            unknown(name, &|problem| problem.at(cell.scenario.locate(pointer, None), ""));
        });
    }
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    node.and_then(Node::as_map).into_iter().flat_map(|map| &map.entries).map(|entry| (entry.key.as_str(), &entry.value))
}

/// The groups that a step and those inside speak of, with their places.
fn named(step: &PreparedStep, found: &mut dyn FnMut(&str, &str)) {
    let text = |pointer: &str| step.value().pointer(pointer).and_then(Json::as_str);
    if let Some(name) = text("/process/daemon") {
        found(name, &format!("{}/process/daemon", step.pointer));
    }
    if let Some(name) = text("/signal/to").and_then(|to| to.strip_prefix("daemon ")) {
        found(name.trim(), &format!("{}/signal/to", step.pointer));
    }
    step.nested.iter().for_each(|inner| named(inner, found));
}
