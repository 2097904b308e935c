//! The program: its commands, what they print, and how they exit.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;

use crate::fixture::workspace;

fn confgen() -> Command {
    let mut command = Command::cargo_bin("confgen").unwrap();
    command.current_dir(workspace()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = confgen().args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

const FACTS: [&str; 2] = ["--facts", "examples/two-sites.facts.json"];

struct Spec {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Spec {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spec.yaml");
        // At the end, so that the lines of the text keep their numbers.
        let schema = if text.contains("schema:") { "" } else { "\nschema: confgen/1\n" };
        fs::write(&path, format!("{text}{schema}")).unwrap();
        Self { _directory: directory, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

#[test]
fn render_prints_the_tree() {
    let (code, out, err) = run(&["render", "examples/two-sites.yaml", FACTS[0], FACTS[1]]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("# sites.www.apps./:"));
    let (_, json, _) = run(&["render", "examples/two-sites.yaml", FACTS[0], FACTS[1], "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["choice"]["mpm"], "event");
    assert_eq!(json["files"][0]["path"], "httpd.conf");
}

#[test]
fn render_reads_standard_input_profiles_and_settings() {
    let text = fs::read_to_string(workspace().join("examples/two-sites.yaml")).unwrap();
    let arguments = [
        "render",
        "-",
        FACTS[0],
        FACTS[1],
        "--profile",
        "dev",
        "--set",
        "daemons.web.threads=7",
        "--set",
        "server.listen.http=9000",
    ];
    let output = confgen().args(arguments).write_stdin(text).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("Listen 9000\n") && out.contains("threads=\"7\""), "{out}");
    let (code, _, err) = run(&["render", "examples/two-sites.yaml", FACTS[0], FACTS[1], "--profile", "dve"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("did you mean `dev`?"), "{err}");
    let (code, _, err) =
        run(&["render", "examples/two-sites.yaml", FACTS[0], FACTS[1], "--set", "daemons.web.threads=many"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("<--set>:1:21"), "{err}");
}

#[test]
fn render_writes_into_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("tree");
    let output = output.to_str().unwrap();
    let spec = Spec::new("sites: {main: {apps: {/: {module: 'json:loads'}}}}");
    let (code, out, _) = run(&["render", spec.path(), FACTS[0], FACTS[1], "-o", output]);
    assert_eq!(code, Some(0));
    assert!(out.contains("wrote") && out.contains("httpd.conf"), "{out}");
    let (_, out, _) = run(&["render", spec.path(), FACTS[0], FACTS[1], "-o", output]);
    assert!(out.contains("unchanged") && !out.contains("wrote"), "{out}");
    fs::write(format!("{output}/httpd.conf"), "x").unwrap();
    let (code, _, err) = run(&["render", spec.path(), FACTS[0], FACTS[1], "-o", output]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("CG405"), "{err}");
}

#[test]
fn mistakes_are_shown_with_caret_code_and_help() {
    let spec = Spec::new(
        "server: {mpm: evnet}\ndaemons:\n  web: {thraeds: 3}\nsites:\n  main:\n    apps:\n      /: {script: /srv/app.wsgi, daemon: wbe}\n",
    );
    let (code, out, err) = run(&["render", spec.path(), FACTS[0], FACTS[1]]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let err = err.replace(spec.path(), "spec.yaml");
    insta::assert_snapshot!(err);
    let (code, out, err) = run(&["render", spec.path(), FACTS[0], FACTS[1], "--json"]);
    assert_eq!((code, err.as_str()), (Some(2), ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["exit"], 2);
    assert_eq!(json["diagnostics"][0]["code"], "CG106");
    assert_eq!(json["diagnostics"][0]["labels"][0]["start"], serde_json::json!({"line": 1, "column": 15, "byte": 14}));
}

#[test]
fn colours_only_when_asked_for() {
    let spec = Spec::new("server: {mpm: evnet}");
    let (_, _, plain) = run(&["render", spec.path(), FACTS[0], FACTS[1]]);
    let (_, _, coloured) = run(&["--color", "always", "render", spec.path(), FACTS[0], FACTS[1]]);
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
}

#[test]
fn a_spec_that_is_no_text_is_a_mistake_of_the_spec() {
    let spec = Spec::new("");
    fs::write(&spec.path, b"schema: confgen/1\nserver: {server-name: \xfc}\n").unwrap();
    let (code, _, err) = run(&["render", spec.path(), FACTS[0], FACTS[1]]);
    assert_eq!(code, Some(2));
    assert!(err.contains("error[CG101]") && err.contains("is not UTF-8 text: line 2 has other bytes"), "{err}");
}

#[test]
fn exit_codes() {
    assert_eq!(run(&["explain", "CG103"]).0, Some(0));
    assert_eq!(run(&["nonsense"]).0, Some(2));
    assert_eq!(run(&["render"]).0, Some(2));
    assert_eq!(run(&["render", "/nonexistent.yaml", FACTS[0], FACTS[1]]).0, Some(4));
    assert_eq!(run(&["facts", "--httpd", "/bin/true"]).0, Some(4));
    assert_eq!(run(&["explain", "CG999"]).0, Some(2));
    assert_eq!(run(&["--help"]).0, Some(0));
    assert_eq!(run(&["--version"]).0, Some(0));
    let (code, out, _) = run(&["render", "--json"]);
    assert_eq!(code, Some(2));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["exit"], 2);
}

#[test]
fn explain_knows_every_code() {
    let (_, list, _) = run(&["explain"]);
    for line in list.lines() {
        let code = line.split_whitespace().next().unwrap();
        let (exit, text, _) = run(&["explain", &code.to_lowercase()]);
        assert_eq!(exit, Some(0));
        assert!(text.starts_with(code) && text.contains("Cause:") && text.contains("Fix:"));
    }
}

#[test]
fn facts_can_be_taken_elsewhere() {
    let (code, facts, err) = run(&["facts"]);
    assert_eq!(code, Some(0), "{err}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("facts.json");
    let mut facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
    facts["wsgi"]["module"] = "/opt/mod_wsgi_rs.so".into();
    fs::write(&file, facts.to_string()).unwrap();
    let spec = Spec::new("sites: {main: {apps: {/: {script: /srv/app.wsgi}}}}");
    let (code, out, err) = run(&["render", spec.path(), "--facts", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("LoadModule wsgi_module \"/opt/mod_wsgi_rs.so\""));
    fs::write(&file, "{\"schema\": \"confgen-facts/1\", \"htpd\": {}}").unwrap();
    let (code, _, err) = run(&["render", spec.path(), "--facts", file.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("CG406"), "{err}");
}

#[test]
fn the_schema_describes_the_whole_spec() {
    let (code, text, _) = run(&["schema"]);
    assert_eq!(code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["server", "runtime", "daemons", "sites", "profiles", "raw", "lint"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    undescribed(&schema, "");
}

/// Every key of every map says what it is: the text that an editor shows.
fn undescribed(schema: &serde_json::Value, path: &str) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{path}.{name} has no description");
        }
    }
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        undescribed(definition, name);
    }
}

#[test]
fn completions_and_manuals() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, text, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(text.contains("render") && text.contains("explain"), "{shell}");
    }
    let (code, text, _) = run(&["man"]);
    assert_eq!(code, Some(0));
    assert!(text.contains(".TH confgen"), "{text}");
    let directory = tempfile::tempdir().unwrap();
    let (code, _, _) = run(&["man", "-o", directory.path().to_str().unwrap()]);
    assert_eq!(code, Some(0));
    assert!(directory.path().join("confgen-render.1").is_file());
}

#[test]
fn secrets_are_never_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, "planted-value\n").unwrap();
    let spec = Spec::new(&format!(
        "sites: {{main: {{}}}}\ndaemons: {{d: {{thraeds: 1, env: {{A: {{secret: {{file: {}}}}}, B: {{secret: {{env: PLANTED}}}}}}}}}}",
        file.display()
    ));
    let tree = directory.path().join("tree");
    for set in ["daemons.d.thraeds=1", "daemons.d.thraeds=null"] {
        let out = ["-o", tree.to_str().unwrap(), "--secrets", "now"];
        for more in [&["--json"][..], &[], &out, &[&["--json"][..], &out].concat()] {
            let mut arguments = vec!["render", spec.path(), FACTS[0], FACTS[1], "--set", set];
            arguments.extend(more);
            let output = confgen().env("PLANTED", "planted-variable").args(&arguments).output().unwrap();
            let all = [output.stdout, output.stderr].concat();
            assert!(!String::from_utf8(all).unwrap().contains("planted-"), "{arguments:?}");
        }
    }
    assert!(fs::read_to_string(tree.join("secrets/d.env")).unwrap().contains("planted-variable"));
}

#[test]
fn check_says_what_it_found() {
    let facts = crate::fixture::this_machine();
    let module = facts.wsgi.module.unwrap();
    let spec = Spec::new(&format!(
        "runtime: {{module: {}}}\nsites: {{main: {{apps: {{/: {{module: 'json:loads'}}}}}}}}",
        module.display()
    ));
    let (code, out, err) = run(&["check", spec.path()]);
    assert_eq!(code, Some(0), "{err}");
    for line in ["httpd    /", "MPM      ", "module   /", "engine   ", "user     ", "httpd accepts it"] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    let spec =
        Spec::new(&format!("runtime: {{module: {}}}\nraw: [{{at: server.end, text: Nonsense}}]", module.display()));
    let (code, out, err) = run(&["check", spec.path()]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert!(err.contains("error[CG401]") && err.contains("Invalid command 'Nonsense'"), "{err}");
    let (code, out, _) = run(&["check", spec.path(), "--no-httpd"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("httpd was not asked"), "{out}");
}

#[test]
fn a_spec_that_never_ends_is_refused() {
    let (code, out, err) = run(&["check", "/dev/zero"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("error[CG105]: /dev/zero is larger than 16 MiB"), "{err}");
}
