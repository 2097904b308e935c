//! Variants and axes become cells.

use std::path::Path;
use std::sync::Arc;

use harness::runner::filter::Filter;
use harness::runner::history::History;
use harness::runner::machine::Machine;
use harness::runner::plan::{Plan, Selection, plan};
use harness::scenario::load::load_text;
use harness::scenario::template::Places;

use crate::machine::machine;

const HEAD: &str = "schema: harness/1\nid: x\ntitle: t\nsteps: [{id: a, http: {get: /}}]\nsymptom: [a.ok]\nvacuous: only plans are made\n";

fn planned(text: &str, machine: &Machine, selection: &Selection) -> Plan {
    let text = format!("{HEAD}{text}");
    let scenario = load_text(Path::new("x.yaml"), text, None).unwrap_or_else(|problems| panic!("{problems:?}"));
    plan(&[Arc::new(scenario)], machine, selection, &History::default())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn names(text: &str) -> Vec<String> {
    planned(text, &machine(), &Selection::default())
        .cells
        .iter()
        .map(|cell| format!("{} {}", cell.id, cell.expected.name()))
        .collect()
}

fn skips(text: &str, machine: &Machine) -> Vec<String> {
    planned(text, machine, &Selection::default())
        .cells
        .iter()
        .map(|cell| cell.skip.clone().unwrap_or_default())
        .collect()
}

#[test]
fn variants_times_axes() {
    assert_eq!(names(""), ["x/default healthy"]);
    assert_eq!(
        names(
            "matrix: {mpm: [event, worker], exclude: [{mpm: worker}], include: [{mpm: prefork, mode: embedded}]}\nvariants: {p: {expect: symptom}, w: {expect: healthy}}\n"
        ),
        [
            "x/p[mpm=event] symptom",
            "x/p[mpm=prefork,mode=embedded] symptom",
            "x/w[mpm=event] healthy",
            "x/w[mpm=prefork,mode=embedded] healthy"
        ]
    );
}

#[test]
fn versions_of_python() {
    let text =
        "matrix: {module: [ours, mod_wsgi], python: ['3.11', '3.12', 3.13t]}\nneeds: {python-package: [flask]}\n";
    assert_eq!(
        names("matrix: {python: ['3.13t']}\nvariants: {p: {expect: {'python >=3.13': symptom, else: healthy}}}\n"),
        ["x/p[python=3.13t] symptom"]
    );
    let with_peer = Machine { peer: Some("/peer.so".into()), ..machine() };
    assert_eq!(
        skips(text, &with_peer),
        [
            "",
            "there is no engine for Python 3.12: run `make engine` with that Python",
            "the Python package flask is installed for Python 3.11 only",
            "",
            "C mod_wsgi is built for Python 3.11",
            "C mod_wsgi is built for Python 3.11",
        ]
    );
    let plan = planned("matrix: {python: [3.13t]}\n", &machine(), &Selection::default());
    let server = plan.cells[0].merged_server().to_json();
    assert_eq!(server["runtime"]["python"], serde_json::json!({"version": "3.13t"}));
}

#[test]
fn expectations_by_module_and_version() {
    let text = |map: &str| format!("matrix: {{module: [ours, mod_wsgi]}}\nvariants: {{p: {{expect: {map}}}}}\n");
    let expected = |map: &str| {
        names(&text(map)).iter().map(|name| name.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(expected("{mod_wsgi: symptom, ours: healthy}"), ["healthy", "symptom"]);
    assert_eq!(expected("{'ours python <3.12': symptom, else: healthy}"), ["symptom", "healthy"]);
    assert_eq!(expected("{'python >=3.12': symptom, else: healthy}"), ["healthy", "healthy"]);
}

#[test]
fn unmet_needs_are_named() {
    let machine = machine();
    assert_eq!(skips("needs: {python-package: [flask], root: true, module: ssl, locale: C.UTF-8}\n", &machine), [""]);
    for (needs, reason) in [
        ("python-package: [Django]", "the Python package Django is not installed: there is no environment (--venv)"),
        ("python: '>=3.12'", "Python is 3.11, not >=3.12"),
        ("non-root: true", "must run as an ordinary user"),
        ("module: mod_wsgi", "C mod_wsgi is not installed: run `make peer`"),
        ("module: [lua]", "httpd has no module lua"),
        ("zoneinfo: Asia/Tokyo", "there is no time zone Asia/Tokyo in /nowhere"),
        ("locale: de_DE.UTF-8", "the locale de_DE.UTF-8 is not installed"),
        ("command: [gdb]", "there is no program gdb"),
        ("cpus: 64", "needs 64 processors, there are 2"),
    ] {
        assert_eq!(skips(&format!("needs: {{{needs}}}\n"), &machine), [reason]);
    }
    assert_eq!(skips("needs: {root: true}\n", &Machine { root: false, ..machine.clone() }), ["must run as root"]);
    assert_eq!(
        skips("matrix: {module: [ours, mod_wsgi]}\n", &machine),
        ["", "C mod_wsgi is not installed: run `make peer`"]
    );
    assert_eq!(
        skips("matrix: {mpm: prefork}\n", &Machine { mpms: vec!["event".into()], ..machine }),
        ["httpd has no MPM prefork"]
    );
}

#[test]
fn servers_are_merged_from_defaults_scenario_variant_and_axes() {
    let text = r#"
server:
  daemons: {d: {threads: 4, python-path: ["${dir}"]}}
  sites: {main: {apps: {/: {script: "${dir}/a.wsgi", daemon: d}}}}
matrix: {mpm: [worker], mode: [daemon, embedded]}
variants: {p: {expect: symptom, server: {daemons: {d: {threads: 1}}}}}
"#;
    let machine = Machine { venv: Some("/venv".into()), ..machine() };
    let plan = planned(text, &machine, &Selection::default());
    let places = Places { dir: "/d".into(), port: 81, https_port: None, ports: Vec::new(), venv: None };
    let server =
        |cell: usize| plan.cells[cell].server(&plan.cells[cell].scope(&places, &machine), &places).unwrap().to_json();
    let daemon = server(0);
    assert_eq!(daemon["daemons"]["d"]["threads"], 1);
    assert_eq!(daemon["sites"]["main"]["apps"]["/"], serde_json::json!({"script": "/d/a.wsgi", "daemon": "d"}));
    assert_eq!(daemon["server"]["mpm"], "worker");
    assert_eq!(daemon["server"]["listen"]["http"], "127.0.0.1:81");
    assert_eq!(daemon["server"]["log"]["level"]["wsgi"], "info");
    assert_eq!(daemon["server"]["mpm-settings"]["start-servers"], 1);
    assert_eq!(daemon["runtime"]["python"]["venv"], "/venv");
    let embedded = server(1);
    assert_eq!(embedded["sites"]["main"]["apps"]["/"], serde_json::json!({"script": "/d/a.wsgi"}));
    assert_eq!(embedded.get("daemons"), None);
    assert_eq!(embedded["runtime"]["python"]["path"], serde_json::json!(["/d"]));
}

#[test]
fn cells_with_an_upper_time_bound_run_alone() {
    let exclusive = |text: &str| {
        planned(text, &machine(), &Selection::default()).cells.iter().map(|cell| cell.exclusive).collect::<Vec<_>>()
    };
    assert_eq!(
        exclusive("variants: {p: {expect: symptom}, w: {expect: healthy}}\nhealthy: [a.duration < 1s]\n"),
        [false, true]
    );
    assert_eq!(exclusive("exclusive: true\n"), [true]);
}

#[test]
fn long_cells_start_early_as_far_as_anything_is_known() {
    let text = "takes: 5s\nvariants: {short: {expect: healthy, takes: 1s}, long: {expect: healthy}, longest: {expect: healthy, takes: 9s}, alone: {expect: healthy, takes: 9s, healthy: [a.duration < 1s]}}\n";
    let planned = planned(text, &machine(), &Selection::default());
    let order: Vec<_> = planned.order.iter().map(|index| planned.cells[*index].id.variant.as_str()).collect();
    assert_eq!(order, ["longest", "long", "short", "alone"]);
}

#[test]
fn without_an_environment_only_cells_that_name_it_are_skipped() {
    let text =
        "variants: {a: {expect: symptom, server: {runtime: {python: {venv: \"${venv}\"}}}}, b: {expect: symptom}}\n";
    let machine = Machine { venv: None, ..machine() };
    let plan = planned(text, &machine, &Selection::default());
    let skips: Vec<_> = plan.cells.iter().map(|cell| cell.skip.is_some()).collect();
    assert_eq!(skips, [true, false]);
    assert_eq!(harness::runner::plan::check_servers(&plan, &machine), []);
}

#[test]
fn cells_are_selected() {
    let text = "tags: [a]\nmatrix: {mpm: [event, prefork]}\nvariants: {p: {expect: symptom}, w: {expect: healthy}}\n";
    let count = |selection: &Selection| planned(text, &machine(), selection).cells.len();
    let ids = |id: &str| Selection { ids: vec![id.to_owned()], ..Selection::default() };
    assert_eq!(
        count(&Selection { filter: Some(Filter::parse("tag(a) & expect(symptom)").unwrap()), ..Selection::default() }),
        2
    );
    assert_eq!(
        count(&Selection {
            cell: vec![("mpm".into(), "event".into())],
            variant: Some("w".into()),
            ..Selection::default()
        }),
        1
    );
    assert_eq!(count(&ids("x/p")), 2);
    assert_eq!(count(&ids("x*")), 4);
    let scenario = load_text(Path::new("x.yaml"), format!("{HEAD}{text}"), None).unwrap();
    assert!(plan(&[Arc::new(scenario)], &machine(), &ids("y"), &History::default()).is_err());
}
