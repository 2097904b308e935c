//! `harness explain`

use std::fmt::Write as _;
use std::io;

use clap::Args;
use confgen::diagnostic::closest;
use confgen::document::{Document, Format, Node, merge_patch};
use confgen::environment::Environment;
use confgen::render::{RenderOptions, render};
use confgen::spec::Spec;

use super::catalogue::{CatalogueArgs, Prepared};
use super::output::Output;
use crate::exit::Exit;
use crate::runner::plan::Cell;
use crate::scenario::problem::{Code, Problem};
use crate::scenario::quantity::Time;
use crate::scenario::template::Places;

/// Options of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// Leave out the rendered httpd.conf.
    #[arg(long)]
    no_config: bool,
}

pub(crate) fn explain(args: &ExplainArgs, environment: &Environment, output: &Output) -> io::Result<Exit> {
    if args.catalogue.what.is_empty() {
        output.complain("error: name the scenario to explain, by its id or its path, or a code such as HS203");
        return Ok(Exit::Scenario);
    }
    if let [word] = args.catalogue.what.as_slice()
        && is_code(word)
    {
        return code(word, output);
    }
    let prepared = match args.catalogue.prepare(environment, output) {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    let cells = &prepared.plan.cells;
    let mut text = String::new();
    let mut shown: Vec<&Cell> = Vec::new();
    let mut last = "";
    for cell in cells {
        if cell.id.scenario != last {
            last = &cell.id.scenario;
            heading(&mut text, cell, cells);
        }
        // Cells of a variant that differ only in the MPM have servers that differ only there.
        let known = shown.iter().any(|other| {
            other.id.scenario == cell.id.scenario
                && other.id.variant == cell.id.variant
                && other.module == cell.module
                && other.mode == cell.mode
        });
        if !known {
            shown.push(cell);
        }
    }
    let mut wrong = Vec::new();
    for cell in shown {
        wrong.extend(server(&mut text, cell, &prepared, args.no_config));
    }
    output.print(&text)?;
    output.problems(&wrong);
    Ok(if wrong.is_empty() { Exit::Expected } else { Exit::Scenario })
}

/// Whether a word has the form of a code, such as HS203.
fn is_code(word: &str) -> bool {
    let (letters, digits) = word.split_at_checked(2).unwrap_or_default();
    ["hs", "cg"].contains(&letters.to_ascii_lowercase().as_str())
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Explains a code of the harness or of confgen.
fn code(id: &str, output: &Output) -> io::Result<Exit> {
    let Some(code) = Code::find(id) else {
        let upper = id.to_uppercase();
        let meant = closest(&upper, Code::ids()).map(|word| format!(": did you mean `{word}`?")).unwrap_or_default();
        output.complain(&format!("error: there is no code `{upper}`{meant}"));
        return Ok(Exit::Scenario);
    };
    let info = code.info();
    output.print(&format!("{}: {}\n\nCause: {}\n\nFix: {}\n", info.id, info.title, info.cause, info.fix))?;
    Ok(Exit::Expected)
}

/// What a scenario is, and its cells.
fn heading(text: &mut String, first: &Cell, cells: &[Cell]) {
    let scenario = &first.scenario.scenario;
    let _ = writeln!(text, "{}: {}", scenario.id, scenario.title);
    let _ = writeln!(text, "  file    {}", first.scenario.file.display());
    if let Some(source) = &scenario.source {
        let _ = writeln!(text, "  source  {source}");
    }
    if !scenario.tags.is_empty() {
        let _ = writeln!(text, "  tags    {}", scenario.tags.join(", "));
    }
    if let Some(about) = &scenario.about {
        let _ = writeln!(text, "\n{}", about.trim_end());
    }
    let own: Vec<_> = cells.iter().filter(|cell| cell.id.scenario == scenario.id).collect();
    let width = own.iter().map(|cell| cell.id.to_string().len()).max().unwrap_or_default();
    let _ = writeln!(text, "\ncells:");
    for cell in own {
        let mut notes = vec![format!("at most {}", Time(cell.timeout))];
        if cell.exclusive {
            notes.push("runs alone".to_owned());
        }
        if let Some(reason) = &cell.skip {
            notes.push(format!("SKIP: {reason}"));
        }
        let _ =
            writeln!(text, "  {:width$}  expects {:8} {}", cell.id.to_string(), cell.expected.name(), notes.join(", "));
    }
    text.push('\n');
}

/// The merged spec of a cell and what it renders to, with stand-ins for what only a run knows.
fn server(text: &mut String, cell: &Cell, prepared: &Prepared, no_config: bool) -> Vec<Problem> {
    let places = Places {
        dir: "/tmp/CELL/app".to_owned(),
        port: 8000,
        https_port: cell.needs_https().then_some(8443),
        ports: cell.ports.iter().zip(8001..).map(|(name, port)| (name.clone(), port)).collect(),
        venv: prepared.machine.venv.as_ref().map(|venv| venv.display().to_string()),
    };
    let scope = cell.scope(&places, &prepared.machine);
    let node = match cell.server(&scope, &places) {
        Ok(node) => node,
        Err(failures) => {
            for failure in failures {
                let _ = writeln!(text, "{}: {}", cell.id, failure.message);
            }
            return Vec::new();
        }
    };
    let _ = writeln!(text, "server of {}, merged:\n{}", cell.id, yaml(&node.to_json(), 1));
    if no_config {
        return Vec::new();
    }
    if let Some(reason) = &cell.skip {
        let _ = writeln!(text, "httpd.conf of {}: cannot be rendered here: {reason}\n", cell.id);
        return Vec::new();
    }
    let spec = match Spec::from_node(patched(node)) {
        Ok(spec) => spec,
        Err(found) => return found,
    };
    let options =
        RenderOptions { server_root: Some("/tmp/CELL".into()), check_files: Some(false), ..RenderOptions::default() };
    match render(&spec, &prepared.facts, &options) {
        Ok(tree) => {
            let config = tree.text("httpd.conf").unwrap_or_default();
            let _ = writeln!(text, "httpd.conf of {}:", cell.id);
            for line in config.lines() {
                let _ = writeln!(text, "{}", format!("  {line}").trim_end());
            }
            text.push('\n');
            Vec::new()
        }
        Err(found) => found,
    }
}

/// The scenario's own `server` may leave out the version of the format.
fn patched(node: Node) -> Node {
    match Document::parse("the harness's defaults", "schema: confgen/1\n", Format::Yaml) {
        Ok(default) => merge_patch(default.root, &node),
        Err(_) => node,
    }
}

/// A value as YAML of its plain parts; texts are quoted where a reader could take them for something else.
fn yaml(value: &serde_json::Value, indent: usize) -> String {
    use serde_json::Value as Json;
    let pad = "  ".repeat(indent);
    let scalar = |value: &Json| match value {
        Json::String(text) => {
            let plain = !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
                && text.parse::<f64>().is_err()
                && !matches!(text.as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "~" | "-");
            if plain { text.clone() } else { value.to_string() }
        }
        Json::Array(items) if items.is_empty() => "[]".to_owned(),
        Json::Object(members) if members.is_empty() => "{}".to_owned(),
        other => other.to_string(),
    };
    let nested = |value: &Json| value.as_object().is_some_and(|members| !members.is_empty());
    match value {
        Json::Object(members) if !members.is_empty() => members
            .iter()
            .map(|(key, member)| {
                let key = scalar(&Json::from(key.as_str()));
                match nested(member) {
                    true => format!("{pad}{key}:\n{}", yaml(member, indent + 1)),
                    false => format!("{pad}{key}: {}\n", scalar(member)),
                }
            })
            .collect(),
        other => format!("{pad}{}\n", scalar(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_so_that_they_can_be_read_again() {
        let value = serde_json::json!({"a": {"b": "x y", "/": [1, "2"], "on": "no", "e": {}}, "n": null, "s": "8000"});
        let text = yaml(&value, 0);
        let read = Document::parse("t", text.clone(), Format::Yaml).unwrap().root.to_json();
        assert_eq!(read, value, "{text}");
    }
}
