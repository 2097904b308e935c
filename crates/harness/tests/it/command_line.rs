//! The commands as a user calls them.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

/// The program, with nothing of the caller's settings.
pub(crate) fn harness() -> Command {
    let mut command = Command::cargo_bin("harness").unwrap();
    for variable in ["HARNESS_VENV", "HARNESS_PEER", "XDG_CACHE_HOME"] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent");
    command
}

fn out(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

const GOOD: &str =
    "schema: harness/1\nid: good\ntitle: Good\ntags: [x]\nsteps: [{id: a, http: {get: /}}]\nhealthy: [a.ok]\n";

#[test]
fn exit_statuses() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yaml");
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&good, GOOD).unwrap();
    fs::write(&wrong, GOOD.replace("title", "titel")).unwrap();
    assert!(out(harness().arg("lint").arg(&good), 0).contains("nothing to complain about"));
    assert!(out(harness().arg("lint").arg(&wrong), 2).contains("did you mean `title`?"));
    assert!(out(harness().arg("run").arg(&wrong), 2).contains("HS103"));
    assert!(out(harness().arg("list").arg(&good).args(["-E", "tag(y)"]), 4).contains("no cell is selected"));
    assert!(out(harness().arg("list").arg(&good).args(["-E", "tga(y)"]), 2).contains("did you mean `tag`?"));
    assert!(out(harness().arg("list").arg(&good).arg("goood"), 2).contains("did you mean `good`?"));
    assert!(
        out(harness().arg("list").arg(&good).args(["--httpd", "/nonexistent/httpd"]), 3).contains("/nonexistent/httpd")
    );
    assert!(out(harness().arg("run").arg(folder.path().join("none.yaml")), 2).contains("there is no"));
    assert!(out(harness().args(["list", "--cell", "mpm=evnt"]), 2).contains("none of event, worker, prefork"));
    assert!(out(harness().arg("--help"), 0).contains("130  interrupted"));
}

#[test]
fn paths_and_ids_together() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().join("catalogue");
    fs::create_dir(&catalogue).unwrap();
    let alone = folder.path().join("alone.yaml");
    fs::write(&alone, GOOD.replace("id: good", "id: alone")).unwrap();
    for id in ["good", "other"] {
        let variants = "variants: {p: {expect: symptom, symptom: [not a.ok]}, w: {expect: healthy}}\nsteps:";
        fs::write(
            catalogue.join(format!("{id}.yaml")),
            GOOD.replace("id: good", &format!("id: {id}")).replace("steps:", variants),
        )
        .unwrap();
    }
    let list = |arguments: &[&str], code| {
        let mut command = harness();
        command.args(["list", "--cells", "--catalogue"]).arg(&catalogue).args(arguments);
        out(&mut command, code)
    };
    let alone = alone.to_str().unwrap();
    let text = list(&[alone, "good/p"], 0);
    assert!(text.contains("alone/default") && text.contains("good/p"), "{text}");
    assert!(!text.contains("good/w") && !text.contains("other/"), "{text}");
    // A scenario that is named by its path and by its id is one scenario.
    assert!(list(&[catalogue.join("good.yaml").to_str().unwrap(), "good"], 0).contains("1 scenarios, 2 cells"));
    // All mistakes at once.
    let text = list(&[alone, "goood", "othr", "good/q", "x-*"], 2);
    for expected in [
        "error[HS407]: there is no scenario `goood`",
        "did you mean `good`?",
        "there is no scenario `othr`",
        "did you mean `other`?",
        "`good` has no variant `q`",
        "known are p, w",
        "there is no scenario `x-*`",
        "`harness list` shows all scenarios",
        "4 errors",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    assert!(list(&["good", "--variant", "defalt"], 2).contains("no selected scenario has a variant `defalt`"));
    assert!(list(&["good", "--cell", "variant=x"], 2).contains("no selected scenario has a variant `x`"));
    // Paths are paths, however they are mistyped.
    let text = list(&[catalogue.join("goood.yaml").to_str().unwrap(), "a/b/c"], 2);
    assert!(text.contains("did you mean `") && text.contains("/good.yaml`?"), "{text}");
    assert!(text.contains("there is no `a/b/c`"), "{text}");
}

#[test]
fn what_is_named_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.yaml");
    fs::write(&file, GOOD).unwrap();
    for (option, variable) in [("--peer", "HARNESS_PEER"), ("--venv", "HARNESS_VENV")] {
        let text = out(harness().arg("run").arg(&file).args([option, "/nonexistent/x"]), 3);
        assert!(text.contains(option) && text.contains("/nonexistent/x"), "{text}");
        let text = out(harness().arg("list").arg(&file).env(variable, "/nonexistent/x"), 3);
        assert!(text.contains(variable) && text.contains("/nonexistent/x"), "{text}");
    }
}

#[test]
fn a_run_in_which_nothing_is_tested_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skipped.yaml");
    fs::write(&file, GOOD.replace("steps:", "needs: {command: no-such-program}\nsteps:")).unwrap();
    let run = || {
        let mut command = harness();
        command.arg("run").arg(&file);
        command
    };
    let text = out(&mut run(), 4);
    assert!(
        text.contains("all 1 cells were skipped") && text.contains("there is no program no-such-program"),
        "{text}"
    );
    out(run().arg("--allow-empty"), 0);
    assert!(out(run().arg("--deny-skips"), 3).contains("1 cells were skipped"));
}

#[test]
fn every_file_is_read_before_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(folder.path().join(format!("{name}.yaml")), format!("schema: harness/1\nid: {name}\ntitel: x\n"))
            .unwrap();
    }
    fs::write(folder.path().join("other.yaml"), "not: a scenario\n").unwrap();
    let text = out(harness().arg("lint").arg(folder.path()), 2);
    assert!(text.contains("a.yaml:3:1") && text.contains("b.yaml:3:1") && text.contains("4 errors"), "{text}");
    let json = harness().arg("lint").arg(folder.path()).args(["--format", "json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), 4);
}

#[test]
fn a_wrong_file_does_not_hide_the_wrong_server_of_another() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "schema: harness/1\nid: a\ntitel: x\n").unwrap();
    fs::write(folder.path().join("b.yaml"), GOOD.replace("steps:", "server: {daemons: {d: {thraeds: 1}}}\nsteps:"))
        .unwrap();
    let text = out(harness().arg("lint").arg(folder.path()), 2);
    assert!(text.contains("a.yaml:3:1") && text.contains("did you mean `threads`?"), "{text}");
}

#[test]
fn two_scenarios_with_one_id() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), GOOD).unwrap();
    fs::write(folder.path().join("b.yaml"), GOOD).unwrap();
    assert!(out(harness().arg("lint").arg(folder.path()), 2).contains("two scenarios have the id `good`"));
}

#[test]
fn a_new_scenario_is_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().join("scenarios");
    let new = |id: &str| {
        let mut command = harness();
        command.args(["new", id, "--area", "signals", "--title", "It: \"breaks\""]).arg("--catalogue").arg(&catalogue);
        command
    };
    let text = out(&mut new("signal-lost"), 0);
    let file = catalogue.join("signals/signal-lost/scenario.yaml");
    assert!(text.starts_with(&file.display().to_string()), "{text}");
    assert!(fs::read_to_string(&file).unwrap().contains("title: \"It: \\\"breaks\\\"\""));
    out(harness().arg("lint").arg(&file), 0);
    let listed = out(harness().arg("list").arg(&file).arg("--cells"), 0);
    assert!(listed.contains("signal-lost/problem") && listed.contains("signal-lost/workaround"), "{listed}");
    let explained = out(harness().arg("explain").arg(&file).arg("--no-config"), 0);
    assert!(
        explained.contains("expects symptom") && explained.contains("script: /tmp/CELL/app/app.wsgi"),
        "{explained}"
    );
    assert!(out(&mut new("signal-lost"), 2).contains("exists already"));
    assert!(out(&mut new("../x"), 2).contains("is no id"));
}

#[test]
fn the_schema_in_the_catalogue_is_the_generated_one() {
    let generated = out(harness().arg("schema"), 0);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/schema.json");
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == generated,
        "scenarios/schema.json is out of date: run `harness schema --output scenarios/schema.json`"
    );
    let schema: serde_json::Value = serde_json::from_str(&generated).unwrap();
    assert_eq!(schema["properties"]["steps"]["items"]["$ref"], "#/$defs/Step");
    assert!(schema["$defs"]["confgen.Daemon"]["properties"]["threads"].is_object());
    assert!(schema["$defs"]["Http"]["properties"]["get"]["description"].is_string());
}

/// Every scenario that the loader accepts, checked with the published schema.
#[test]
fn the_schema_accepts_what_the_loader_accepts() {
    let schema = harness::scenario::schema::json_schema();
    let catalogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let files = harness::scenario::load::discover(&[catalogue]).unwrap();
    assert!(files.len() > 200);
    let mut refused = Vec::new();
    for file in files {
        let loaded = harness::scenario::load::load(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
        let found = confgen::document::schema::check(&schema, &loaded.root);
        refused.extend(found.into_iter().map(|diagnostic| format!("{}: {}", file.display(), diagnostic.message)));
    }
    assert!(refused.is_empty(), "{refused:#?}");
    let wrong = "schema: harness/1\nid: x\ntitle: t\nserver: {daemons: {d: {thraeds: 1}}}\nsteps: [{http: {get: /, timeout: 3}}]\n";
    let document = confgen::document::Document::parse("x.yaml", wrong, confgen::document::Format::Yaml).unwrap();
    assert_eq!(confgen::document::schema::check(&schema, &document.root).len(), 2, "it still finds mistakes");
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    fn visit(node: &serde_json::Value, root: &serde_json::Value) {
        match node {
            serde_json::Value::Object(members) => {
                for (key, member) in members {
                    if key == "$ref"
                        && let Some(pointer) = member.as_str().and_then(|reference| reference.strip_prefix('#'))
                    {
                        assert!(root.pointer(pointer).is_some(), "{pointer}");
                    }
                    visit(member, root);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| visit(item, root)),
            _ => {}
        }
    }
    let schema = harness::scenario::schema::json_schema();
    visit(&schema, &schema);
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(out(harness().args(["completions", shell]), 0).contains("fail-fast"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    out(harness().arg("man").arg("--to").arg(folder.path()), 0);
    for page in ["harness.1", "harness-run.1", "harness-explain.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}

/// One mistake of each kind: none hides another.
const WRONG: &str = r#"schema: harness/1
id: h20
title: lint
titel: x
vars: {where: "${dir}/x"}
server:
  daemons: {d: {processes: 1, thraeds: 2}}
  sites: {main: {apps: {/: {script: "${dir}/a.wsgi", daemon: e}}}}
steps:
  - {id: a, http: {get: "/${{ client }}"}, check: {statsu: 200, json.x: 1, nope: 2}}
  - {id: b, process: {daemon: e, count: 1}}
  - {id: c, http: {get: /}, check: {duration: "< 1000"}}
  - {id: d, log: {contains: x}, check: {lines: 2, foo: 1}}
healthy: [a.duration < 1000, a.statu == 200, d.zzz == 1]
"#;

#[test]
fn every_mistake_of_a_scenario_is_found_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yaml");
    fs::write(&file, WRONG).unwrap();
    for command in ["lint", "run"] {
        let text = out(harness().arg(command).arg(&file), 2);
        for (message, place) in [
            ("error[HS103]: unknown key `titel`", "4:1"),
            ("error[HS207]: texts in `vars` are taken as they are", "5:15"),
            ("error[CG103]: unknown key `thraeds`", "7:31"),
            ("error[HS305]: the server has no daemon group `e`", "8:62"),
            ("error[HS207]: `client` has a value only inside of concurrent steps", "10:31"),
            ("error[HS203]: the result of http has no `statsu` to check", "10:52"),
            ("error[HS305]: the server has no daemon group `e`", "11:31"),
            ("error[HS206]: a duration cannot be compared with a number", "12:47"),
            ("error[HS203]: the result of log has no `foo` to check", "13:51"),
            ("error[HS206]: a duration cannot be compared with a number", "14:11"),
            ("error[HS203]: the result of `d` (log) has no `zzz`", "14:48"),
        ] {
            let shown = format!("wrong.yaml:{place}");
            let found = text
                .match_indices(message)
                .any(|(at, _)| text[at..].lines().nth(1).is_some_and(|line| line.ends_with(&shown)));
            assert!(found, "no {message} at {place} in\n{text}");
        }
        assert!(text.contains("13 errors"), "{text}");
    }
}

#[test]
fn codes_of_both_programs_are_explained() {
    let text = out(harness().args(["explain", "hs203"]), 0);
    assert!(text.starts_with("HS203: unknown member\n\nCause: ") && text.contains("\n\nFix: "), "{text}");
    assert!(out(harness().args(["explain", "CG103"]), 0).starts_with("CG103: unknown key"));
    assert!(out(harness().args(["explain", "HS293"]), 2).contains("did you mean `HS203`?"));
}

#[test]
fn findings_as_sarif() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yaml");
    fs::write(&file, WRONG).unwrap();
    let output = harness().arg("lint").arg(&file).args(["--format", "sarif"]).output().unwrap();
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 13);
    for result in run["results"].as_array().unwrap() {
        let rule = &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], format!("file://{}", file.display()));
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1, "{place}");
    }
}
